//! LDAPv3 on the wire (RFC 4511): pure, without I/O, and total: no bytes of a server make it panic, recurse without
//! bound or allocate more than the message that it was given.

pub(crate) mod ber;
pub(crate) mod control;
pub(crate) mod dn;
pub(crate) mod filter;
pub(crate) mod message;
pub(crate) mod request;
pub(crate) mod sync;
