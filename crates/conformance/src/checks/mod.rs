//! The checks, a file for each subject.

mod faults;
mod identity;
mod limits;
mod order;
mod outcomes;
mod reading;
mod references;
mod secrecy;
mod shape;
mod trip;
mod values;

use crate::check::Check;

pub(crate) const GROUPS: &[&[Check]] = &[
    shape::CHECKS,
    trip::CHECKS,
    values::CHECKS,
    identity::CHECKS,
    references::CHECKS,
    order::CHECKS,
    outcomes::CHECKS,
    reading::CHECKS,
    faults::CHECKS,
    limits::CHECKS,
    secrecy::CHECKS,
];
