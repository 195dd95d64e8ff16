//! From bytes to requests and back: `entry` receives, `request` parses, `reply` answers.

pub(crate) mod entry;
pub(crate) mod reply;
pub(crate) mod request;
