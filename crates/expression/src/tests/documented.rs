//! Every example of the reference.

use muster_model::{Slot, Value};
use regex::Regex;

use super::outcome;
use crate::functions::{Expected, all};

#[test]
fn every_example_comes_to_what_it_says() {
    let mut examples = 0;
    for function in all() {
        for example in function.examples {
            examples += 1;
            let given: Vec<(&str, Slot)> = example
                .given
                .iter()
                .map(|(name, values)| match values {
                    [] => (*name, Slot::Null),
                    [value] => (*name, Slot::text(value)),
                    values => (*name, Slot::many(values.iter().map(|value| Value::text(value)).collect())),
                })
                .collect();
            let found = outcome(example.expression, &given);
            let inside = found.trim_matches('"').to_owned();
            match example.result {
                Expected::Text(text) => assert_eq!(found, format!("{text:?}"), "{}", example.expression),
                Expected::Values(values) => assert_eq!(found, format!("{values:?}"), "{}", example.expression),
                Expected::Null => assert_eq!(found, "null", "{}", example.expression),
                Expected::Nothing => assert_eq!(found, "nothing", "{}", example.expression),
                Expected::Like(shown, pattern) => {
                    let pattern = Regex::new(pattern).unwrap();
                    assert!(pattern.is_match(&inside), "{}: {inside}", example.expression);
                    assert!(pattern.is_match(shown), "{}: {shown}", example.expression);
                }
                Expected::Fails(problem) => {
                    assert!(
                        found.starts_with("failed: ") && found.contains(problem),
                        "{}: {found}",
                        example.expression
                    );
                }
            }
        }
    }
    assert!(examples > 80, "only {examples} examples");
}

#[test]
fn the_table_is_whole() {
    let names: Vec<&str> = all().map(|function| function.name).collect();
    // Microsoft's reference, and what other pages of it add.
    let expected = [
        "Append",
        "AppRoleAssignmentsComplex",
        "AssertiveAppRoleAssignmentsComplex",
        "SingleAppRoleAssignment",
        "BitAnd",
        "CBool",
        "CDate",
        "Coalesce",
        "ConvertToBase64",
        "ConvertToUTF8Hex",
        "Count",
        "CStr",
        "DateAdd",
        "DateDiff",
        "DateFromNum",
        "FormatDateTime",
        "Guid",
        "IgnoreFlowIfNullOrEmpty",
        "IIF",
        "InStr",
        "IsNull",
        "IsNullOrEmpty",
        "IsPresent",
        "IsString",
        "Item",
        "Join",
        "Left",
        "Mid",
        "NormalizeDiacritics",
        "Not",
        "Now",
        "NumFromDate",
        "PCase",
        "RandomString",
        "Redact",
        "RemoveDuplicates",
        "Replace",
        "SelectUniqueValue",
        "Split",
        "StripSpaces",
        "Switch",
        "ToLower",
        "ToUpper",
        "Word",
        "DefaultDomain",
        "ConvertFromBase64",
        "DNComponent",
        "Error",
        "StringFromSID",
        "Trim",
    ];
    for name in expected {
        assert_eq!(names.iter().filter(|known| **known == name).count(), 1, "{name}");
    }
    assert_eq!(names.len(), expected.len());
    for function in all() {
        assert!(!function.examples.is_empty(), "{} has no example", function.name);
        let takes_itself = function.examples.iter().any(|example| example.expression.contains(function.name));
        assert!(takes_itself, "no example of {} calls it", function.name);
    }
}
