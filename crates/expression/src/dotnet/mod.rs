//! Where the language leans on .NET: dates, casing and patterns, in the invariant culture.

pub(crate) mod casing;
pub(crate) mod dates;
pub(crate) mod format;
pub(crate) mod intervals;
pub(crate) mod pattern;
pub(crate) mod reading;
