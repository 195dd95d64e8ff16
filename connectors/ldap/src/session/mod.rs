//! Conversations with servers: `connect` dials, encrypts and signs in, `connection` carries many operations at a time,
//! `directory` keeps a few connections to the first server that answers, `referral` reads what servers name in their
//! place and `following` and `forwarding` go there (`above` where servers do not say so), `failure` says what went wrong.

mod above;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod directory;
pub(crate) mod failure;
pub(crate) mod following;
mod forwarding;
pub(crate) mod referral;
