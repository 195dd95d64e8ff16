//! The whole program against real servers and the sandbox tenant: what is typed, what is printed, what the
//! database holds afterwards.

mod demo;
mod kills;
mod messages;
mod postgresql;
mod support;
