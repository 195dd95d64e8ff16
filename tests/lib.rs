//! Whole-program tests against real servers; each file beside this one is a target of its own.
