//! The LDAP connector against OpenLDAP, 389 Directory Server and Samba's Active Directory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod conformance;
mod deltas;
mod faults;
mod groups;
mod life;
mod logs;
mod reading;
mod referrals;
mod refusals;
mod world;
