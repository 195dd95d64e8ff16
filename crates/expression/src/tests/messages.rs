//! What is wrong with an expression, and where.

use super::outcome;
use crate::Expression;

fn problems(text: &str) -> Vec<String> {
    Expression::parse(text).map_or_else(
        |errors| errors.iter().map(|error| format!("{}+{} {}", error.at + 1, error.length, error.problem)).collect(),
        |_| Vec::new(),
    )
}

#[test]
fn a_format_that_leaves_the_year_to_the_day_of_the_evaluation_is_refused() {
    let told = |format: &str| {
        let text = format!("FormatDateTime([t], , \"{format}\", \"HH:mm\")");
        let resolved = Expression::parse(&text).and_then(|expression| expression.resolve(&["t"]));
        resolved.map_or_else(|errors| format!("{}: {}", errors[0].at, errors[0].problem), |_| String::new())
    };
    for format in ["HH:mm", "dd.MM. HH:mm", "'yyyy' t"] {
        assert!(told(format).starts_with("22: the input format has no year"), "{format}: {}", told(format));
    }
    for format in ["", "yyyy", "dd.MM.yy HH:mm"] {
        assert_eq!(told(format), "", "{format}");
    }
}

#[test]
fn says_what_is_wrong_and_where() {
    const EXPECTED: &str = "expected a function, [attribute], or a constant in double quotes";
    let cases: Vec<(&str, Vec<String>)> = vec![
        ("", vec![format!("1+1 the expression is empty; {EXPECTED}")]),
        ("mail", vec![format!("1+4 {EXPECTED}; write [mail] for the attribute or \"mail\" for the text")]),
        ("[mail", vec!["1+1 the attribute's closing ] is missing".into()]),
        ("[]", vec!["2+1 the attribute's name is missing".into()]),
        ("[a] b", vec!["5+1 nothing was expected after the end, but found \"b\"".into()]),
        ("\"å\" b", vec!["5+1 nothing was expected after the end, but found \"b\"".into()]),
        ("\"a", vec!["1+1 the text's closing double quote is missing".into()]),
        ("Left([a]", vec![
            "1+9 the arguments are Left(String, NumChars), but 1 stands here".into(),
            "5+1 the closing ) of Left is missing".into(),
        ]),
        ("Jion(\" \", [a])", vec!["1+4 there is no function Jion; did you mean Join?".into()]),
        ("Frobnicate([a])", vec!["1+10 there is no function Frobnicate; docs/expressions.md lists those there are".into()]),
        // Several at once.
        ("Join(\" \", ToUper([a]), [b)", vec![
            "11+6 there is no function ToUper; did you mean ToUpper?".into(),
            "24+1 the attribute's closing ] is missing".into(),
        ]),
        ("Join(\" \", a, b)", vec![
            format!("11+1 {EXPECTED}; write [a] for the attribute or \"a\" for the text"),
            format!("14+1 {EXPECTED}; write [b] for the attribute or \"b\" for the text"),
        ]),
        ("Left([a], \"x\")", vec!["11+3 NumChars must be a whole number: Left(String, NumChars)".into()]),
        ("Left(, 1)", vec!["6+1 String is missing: Left(String, NumChars)".into()]),
        ("Left([a], 1, 2)", vec!["1+15 the arguments are Left(String, NumChars), but 3 stand here".into()]),
        ("ToLower()", vec!["1+9 the arguments are ToLower(source, [culture]), but none stands here".into()]),
        ("ToLower([a], \"klingon, please\")", vec!["14+17 \"klingon, please\" is no name of a culture, such as \"en-US\"".into()]),
        ("Now", vec!["1+3 Now is a function; write Now()".into()]),
        ("[a] = \"x\"", vec!["1+9 a comparison stands only in the first argument of IIF or CBool".into()]),
        ("Not([a] = \"x\")", vec!["5+9 a comparison stands only in the first argument of IIF or CBool".into()]),
        ("IIF([a] = \"x\" AND [b] = \"y\", 1, 2)", vec!["15+3 AND is not part of the language; nest one IIF in another".into()]),
        ("IIF([a] == \"x\", 1, 2)", vec!["9+2 equality is written with one =".into()]),
        ("“x”", vec!["1+3 texts stand in straight double quotes (\"), not in “".into()]),
        ("Join('-', [a], [b])", vec!["6+3 texts stand in straight double quotes (\"), not in '".into()]),
        ("[a] & [b]", vec![
            "5+1 texts are joined by Join or Append, not by &".into(),
            "7+3 nothing was expected after the end, but found \"[b]\"".into(),
        ]),
        ("1x", vec!["1+2 \"1x\" is no number; texts stand in double quotes".into()]),
        ("Coalesce([a], null)", vec!["15+4 there is no word for null; leave the argument empty".into()]),
        ("vbTextCompare", vec![]),
        ("Append([a], vbTextCompare)", vec!["13+13 vbTextCompare belongs to InStr".into()]),
        ("InStr([a], \"b\", 1, \"c\")", vec!["20+3 compareType must be vbBinaryCompare or vbTextCompare".into()]),
        ("Switch([a], \"d\", \"k\", 1, \"l\")", vec!["26+3 Switch takes keys and values in pairs, and this one has no partner".into()]),
        ("DateAdd(\"x\", 1, [a])", vec!["9+3 \"x\" is no interval; expected yyyy, q, m, y, d, w, ww, h, n or s".into()]),
        ("Replace([a], , \"(?=x)\", , \"y\", , )", vec![
            "16+7 the look-ahead (?=…) is not supported: patterns are matched in linear time, without look-around, back-references and atomic groups".into(),
        ]),
        ("Replace([a], , [p], , \"y\", , )", vec!["16+3 regexPattern must be a text in quotes, so that it can be examined beforehand".into()]),
        ("Replace([a], , \"(x)\", \"g\", \"y\", , )", vec!["23+3 the pattern has no group \"g\"; it is written (?<g>…)".into()]),
        ("RandomString(2, 3, 0, 0, 0)", vec!["14+1 Length is 2, but the minimums need 3".into()]),
        ("RandomString(257, 0, 0, 0, 0)", vec!["14+3 Length is 257, and at most 256 is possible".into()]),
        ("Append(SelectUniqueValue([a], [b]), \"x\")", vec!["8+27 SelectUniqueValue must be the outermost function".into()]),
        ("Left([a] 1)", vec![
            "1+11 the arguments are Left(String, NumChars), but 1 stands here".into(),
            "10+1 expected a comma or the closing ) of Left".into(),
        ]),
        ("(", vec![format!("1+1 {EXPECTED}")]),
        ("§", vec!["1+1 '§' has no meaning here".into(), format!("2+1 something is missing here; {EXPECTED}")]),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(text), expected, "{text}");
    }
    assert!(problems("Replace([a], , , , \"x\")")[0].contains("do not belong together"));
    assert!(problems(&"x".repeat(10_001))[0].contains("longer than 10000"));
    assert!(problems(&format!("{}1{}", "Not(".repeat(65), ")".repeat(65)))[0].contains("more than 64 deep"));
}

#[test]
fn an_unknown_attribute_names_the_nearest() {
    let attributes = [("displayName", muster_model::Slot::Null), ("mail", muster_model::Slot::Null)];
    let found = outcome("IIF([dispalyName] = \"x\", [mail], [zzz])", &attributes);
    assert_eq!(found, "unresolved: there is no attribute [dispalyName]; did you mean [displayName]? at character 5");
    let errors = Expression::parse("Join([zzz], [mial], [mail])").unwrap().resolve(&["mail"]).unwrap_err();
    assert_eq!(errors.len(), 2);
}

#[test]
fn useless_conditions_are_named() {
    let cautions = |text: &str| Expression::parse(text).unwrap().cautions().len();
    assert_eq!(cautions("IIF(IsNullOrEmpty([a]), 1, 2)"), 1);
    assert_eq!(cautions("Append(IIF([a] = \"\", 1, 2), \"x\")"), 1);
    assert_eq!(cautions("IIF([a] = \"x\", 1, 2)"), 0);
}

#[test]
fn what_it_is_can_be_asked() {
    let expression = Expression::parse("Join(\" \", [b], ToLower([a]), [b], Guid())").unwrap();
    assert_eq!(expression.attributes(), ["b", "a"]);
    let names: Vec<&str> = expression.functions().iter().map(|function| function.name).collect();
    assert_eq!(names, ["Join", "ToLower", "Guid"]);
    assert!(expression.is_volatile() && !expression.is_redacted() && expression.direct().is_none());
    assert_eq!(Expression::parse(" [ urn:x:2.0:User:Job ] ").unwrap().direct(), Some("urn:x:2.0:User:Job"));
    assert_eq!(
        Expression::parse("[emails[type eq \"work\"].value]").unwrap().direct(),
        Some("emails[type eq \"work\"].value")
    );
    let printed = Expression::parse(r#"REPLACE([a],,"\d\\.",,"\"x",,)"#).unwrap().to_string();
    assert_eq!(printed, r#"Replace([a], , "\\d\\.", , "\"x", , )"#);
}

#[test]
fn a_trace_shows_each_step_and_nothing_redacted() {
    let names = ["givenName", "surname"];
    let row = muster_model::Row(vec![muster_model::Slot::text("Åsa"), muster_model::Slot::Null]);
    let traced = |text: &str| {
        let program = Expression::parse(text).unwrap().resolve(&names).unwrap();
        let steps = program.trace(&row, &super::context()).1;
        steps.into_iter().map(|step| format!("{} = {}", step.expression, step.value)).collect::<Vec<_>>()
    };
    assert_eq!(
        traced("ToUpper(Join(\" \", [givenName], [surname]))"),
        [
            "[givenName] = \"Åsa\"",
            "[surname] = null",
            "Join(\" \", [givenName], [surname]) = \"Åsa\"",
            "ToUpper(Join(\" \", [givenName], [surname])) = \"ÅSA\"",
        ]
    );
    assert!(traced("ToUpper(Redact([givenName]))").iter().all(|step| step.ends_with("= [Redact]")));
}
