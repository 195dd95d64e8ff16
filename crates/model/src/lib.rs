//! What every part of Muster agrees on: values, keys, rows, schemas, and how they are packed at rest.
//!
//! This crate is pure: no I/O, no clock, no async, and no panic on any input.
//! Start reading at [`value::Value`], then [`row::Row`] and [`schema::ObjectType`].

mod json;
pub mod key;
pub mod name;
pub mod pack;
pub mod row;
pub mod schema;
pub mod value;

pub use key::Key;
pub use name::nearest;
pub use pack::{AttributeId, PackError};
pub use row::{Row, Slot};
pub use schema::{
    Anchor, AssignedBy, Attribute, CaseRule, Changes, Enabling, Inverse, Multiplicity, ObjectType, Once, Precision,
    Schema, SourceCapabilities, TargetCapabilities,
};
pub use value::{Decimal, Reference, Value, ValueType};
