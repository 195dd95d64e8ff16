//! The cycle against a source and a target in memory, with faults and with a kill at every commit point.

mod accepted;
mod chaos;
mod chaos_ties;
mod closing;
mod dates;
mod expressions;
mod fleet;
mod gone;
mod groups;
mod guard;
mod identity;
mod kills;
mod leavers;
mod matching;
mod nulls;
mod operator;
mod passwords;
mod quarantine;
mod references;
mod renamed;
mod scenarios;
mod scope;
mod service;
mod target;
mod unique;
mod world;
