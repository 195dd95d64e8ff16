//! What a directory says of itself: `root` recognises it and its abilities, `subschema` reads its classes and
//! attributes, `form` turns values into bytes and back.

pub(crate) mod form;
pub(crate) mod root;
pub(crate) mod subschema;
