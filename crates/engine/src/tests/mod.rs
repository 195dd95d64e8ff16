//! The cycle against a source and a target in memory, with faults and with a kill at every commit point.

mod chaos;
mod kills;
mod scenarios;
mod service;
mod world;
