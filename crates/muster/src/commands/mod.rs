//! The commands, one file each.

pub(crate) mod approve;
pub(crate) mod check;
pub(crate) mod connector;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod expression;
pub(crate) mod held;
pub(crate) mod ignore;
pub(crate) mod init;
pub(crate) mod link;
pub(crate) mod parked;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod retry;
pub(crate) mod sandbox;
pub(crate) mod schema;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod unlink;
