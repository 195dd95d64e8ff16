//! Functions of numbers.

use super::{Expected, Function, Takes, example, function, required};
use crate::evaluate::{Call, Stop};
use crate::value::{Datum, Scalar};

pub(super) const FUNCTIONS: &[Function] = &[Function {
    notes: &["Numbers of 64 bits; hexadecimal ones are written &HF7. Null gives null."],
    examples: &[
        example("BitAnd(&HF, &HF7)", &[], Expected::Text("7")),
        example("CBool(BitAnd([userAccountControl], 2))", &[("userAccountControl", &["514"])], Expected::Text("True")),
    ],
    ..function(
        "BitAnd",
        &[required("value1", Takes::Number), required("value2", Takes::Number)],
        "The bits that are set in both numbers.",
        bit_and,
    )
}];

fn bit_and<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let (Some(one), Some(other)) = (call.integer(0)?, call.integer(1)?) else { return Ok(Datum::Null) };
    Ok(Datum::One(Scalar::Integer(one & other)))
}
