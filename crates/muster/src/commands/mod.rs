//! The commands, one file each.

pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod init;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod sandbox;
pub(crate) mod schema;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod sync;
