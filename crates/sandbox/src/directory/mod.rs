//! The tenant's contents: who is in it, how it changes, and how objects look as JSON.
//!
//! Start reading at `tenant`; `person` is where generated users come from, `users` and `groups` hold what was
//! changed since and the logs from which delta rounds are made.

pub(crate) mod applications;
mod calendar;
pub(crate) mod churn;
pub(crate) mod entity;
pub(crate) mod groups;
mod handle;
pub(crate) mod identity;
mod names;
pub(crate) mod person;
pub(crate) mod property;
pub(crate) mod tenant;
pub(crate) mod users;
mod validation;

pub use handle::Directory;
