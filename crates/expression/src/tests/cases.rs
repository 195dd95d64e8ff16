//! Each function with null, empty, several, foreign and wrong values, as a table.

use chrono::NaiveDate;
use muster_model::{Decimal, Slot, Value};
use uuid::Uuid;

use super::outcome;
use crate::functions::all;

/// What the cases read.
fn attributes() -> Vec<(&'static str, Slot)> {
    let one = Slot::One;
    vec![
        ("null", Slot::Null),
        ("empty", Slot::text("")),
        ("text", Slot::text("John")),
        ("åäö", Slot::text("Åsa 東京 😀")),
        ("many", Slot::many(vec![Value::text("a"), Value::text("b")])),
        ("single", Slot::many(vec![Value::text("a")])),
        ("number", one(Value::Integer(7))),
        ("decimal", one(Value::Decimal(Decimal::parse("1.50").unwrap()))),
        ("on", one(Value::Boolean(true))),
        ("off", one(Value::Boolean(false))),
        ("instant", one(Value::Instant(crate::parse_instant("2020-03-16T07:05:09Z").unwrap()))),
        ("date", one(Value::Date(NaiveDate::from_ymd_opt(2020, 3, 16).unwrap()))),
        ("uuid", one(Value::Uuid(Uuid::nil()))),
        ("bytes", one(Value::Binary([0, 255].into()))),
        ("unknown", Slot::Unknown),
    ]
}

const CASES: &[(&str, &str)] = &[
    // What an attribute is by itself.
    ("[null]", "null"),
    ("[empty]", r#""""#),
    ("[many]", r#"["a", "b"]"#),
    ("[on]", r#""True""#),
    ("[instant]", r#""3/16/2020 7:05:09 AM""#),
    ("[date]", r#""3/16/2020 12:00:00 AM""#),
    ("[bytes]", r#""AP8=""#),
    ("[unknown]", "unknown"),
    ("\"text\"", r#""text""#),
    ("-1.50", r#""-1.5""#),
    ("&hf7", r#""247""#),
    ("true", r#""True""#),
    // Text.
    (r#"Append([null], "x")"#, "null"),
    (r#"Append([empty], "x")"#, r#""x""#),
    ("Append([text], [null])", r#""John""#),
    ("Append([åäö], [number])", r#""Åsa 東京 😀7""#),
    (
        r#"Append([many], "x")"#,
        "failed: Append: source has 2 values; choose one with Item, or put them together with Join",
    ),
    (r#"Append([single], "x")"#, r#""ax""#),
    (r#"Append([unknown], "x")"#, "unknown"),
    ("ToLower([null])", "null"),
    ("ToLower([empty])", r#""""#),
    ("ToLower([åäö])", r#""åsa 東京 😀""#),
    ("ToLower([on])", r#""true""#),
    ("ToLower([many])", "failed: ToLower: source has 2 values; choose one with Item, or put them together with Join"),
    ("toupper([åäö], [empty])", r#""ÅSA 東京 😀""#),
    ("ToUpper([text], [number])", r#"failed: ToUpper: "7" is no name of a culture, such as "en-US""#),
    ("ToUpper([null])", "null"),
    ("PCase([null])", "null"),
    ("PCase([empty])", r#""""#),
    ("PCase([åäö])", r#""Åsa 東京 😀""#),
    (r#"PCase("ÉCOLE D'ÎLE", "' ")"#, r#""École D'Île""#),
    ("PCase([many])", "failed: PCase: source has 2 values; choose one with Item, or put them together with Join"),
    ("StripSpaces([null])", "null"),
    ("StripSpaces([empty])", r#""""#),
    ("StripSpaces([åäö])", r#""Åsa東京😀""#),
    ("StripSpaces([number])", r#""7""#),
    (
        "StripSpaces([many])",
        "failed: StripSpaces: source has 2 values; choose one with Item, or put them together with Join",
    ),
    ("Trim([null])", "null"),
    ("Trim([empty])", r#""""#),
    ("Trim(\"\u{3000}東京 \")", r#""東京""#),
    ("Trim([many])", "failed: Trim: value has 2 values; choose one with Item, or put them together with Join"),
    ("NormalizeDiacritics([null])", "null"),
    ("NormalizeDiacritics([empty])", r#""""#),
    ("NormalizeDiacritics([åäö])", r#""Asa 東京 😀""#),
    (
        "NormalizeDiacritics([many])",
        "failed: NormalizeDiacritics: source has 2 values; choose one with Item, or put them together with Join",
    ),
    ("NormalizeDiacritics([on])", r#""True""#),
    ("Redact([null])", "null"),
    ("Redact([empty])", r#""""#),
    ("Redact([many])", r#"["a", "b"]"#),
    ("Redact([åäö])", r#""Åsa 東京 😀""#),
    ("CStr([null])", "null"),
    ("CStr([empty])", r#""""#),
    ("CStr([number])", r#""7""#),
    ("CStr([decimal])", r#""1.5""#),
    ("CStr([off])", r#""False""#),
    ("CStr([uuid])", r#""00000000-0000-0000-0000-000000000000""#),
    ("CStr([many])", "failed: CStr: value has 2 values; choose one with Item, or put them together with Join"),
    ("ConvertToBase64([null])", "null"),
    ("ConvertToBase64([empty])", r#""""#),
    (r#"ConvertToBase64("😀")"#, r#""PdgA3g==""#),
    ("ConvertFromBase64(ConvertToBase64([åäö]))", r#""Åsa 東京 😀""#),
    ("ConvertFromBase64([null])", "null"),
    ("ConvertFromBase64([empty])", r#""""#),
    ("ConvertFromBase64([bytes])", r#""\u{ff00}""#),
    (r#"ConvertFromBase64("QQ==")"#, "failed: ConvertFromBase64: the source is no UTF-16 in base64"),
    ("ConvertToUTF8Hex([null])", "null"),
    ("ConvertToUTF8Hex([empty])", r#""""#),
    (r#"ConvertToUTF8Hex("å")"#, r#""C3A5""#),
    (
        "ConvertToUTF8Hex([many])",
        "failed: ConvertToUTF8Hex: source has 2 values; choose one with Item, or put them together with Join",
    ),
    ("StringFromSID([null])", "null"),
    ("StringFromSID([bytes])", r#"failed: StringFromSID: objectSid is "AP8=", no security identifier"#),
    ("StringFromSID([åäö])", r#"failed: StringFromSID: objectSid is "Åsa 東京 😀", no security identifier"#),
    ("StringFromSID([empty])", "null"),
    ("DNComponent([null], 1)", "null"),
    ("DNComponent([empty], 1)", r#""""#),
    (r#"DNComponent("cn=\"Doe, å\",ou=x", 1)"#, r#""Doe, å""#),
    (r#"DNComponent("cn=x", 0)"#, "failed: DNComponent: components are counted from 1"),
    (r#"DNComponent("cn=x", [text])"#, r#"failed: DNComponent: ComponentNumber is "John", no whole number"#),
    // Parts.
    ("Left([null], 2)", r#""""#),
    ("Left([åäö], 2)", r#""Ås""#),
    ("Left([åäö], 99)", r#""Åsa 東京 😀""#),
    ("Left([text], [null])", "null"),
    ("Left([text], \"2\")", r#""Jo""#),
    ("Left([text], [åäö])", r#"failed: Left: NumChars is "Åsa 東京 😀", no whole number"#),
    ("Left([many], 2)", "failed: Left: String has 2 values; choose one with Item, or put them together with Join"),
    ("Left([number], 2)", r#""7""#),
    ("Mid([null], 1, 2)", r#""""#),
    ("Mid([empty], 1, 2)", r#""""#),
    ("Mid([åäö], 5, 2)", r#""東京""#),
    ("Mid([åäö], 8, 99)", r#""😀""#),
    ("Mid([åäö], 9, 1)", r#""""#),
    ("Mid([text], 2, 0)", r#""""#),
    ("Mid([text], 0, 1)", "refused: characters are counted from 1 at character 13"),
    ("Mid([text], Count([null]), 1)", "failed: Mid: characters are counted from 1"),
    ("Mid([many], 1, 1)", "failed: Mid: source has 2 values; choose one with Item, or put them together with Join"),
    ("InStr([null], [text])", r#""0""#),
    (r#"InStr([empty], "x")"#, r#""0""#),
    ("InStr([text], [empty])", r#""1""#),
    (r#"InStr([åäö], "京")"#, r#""6""#),
    (r#"InStr([åäö], "ÅSA", 1, vbTextCompare)"#, r#""1""#),
    (r#"InStr([text], "J", 99)"#, r#""0""#),
    (r#"InStr([text], "J", 0)"#, "failed: InStr: start must be at least 1"),
    (
        r#"InStr([many], "J")"#,
        "failed: InStr: value1 has 2 values; choose one with Item, or put them together with Join",
    ),
    (r#"Word([null], 1, " ")"#, r#""""#),
    (r#"Word([empty], 1, " ")"#, r#""""#),
    (r#"Word([åäö], 2, " ")"#, r#""東京""#),
    (r#"Word("  a  b", 2, " ")"#, r#""b""#),
    (r#"Word([text], [null], " ")"#, r#""""#),
    (r#"Word([text], 1, [empty])"#, r#""John""#),
    (
        r#"Word([text], "x", " ")"#,
        "refused: WordNumber must be a whole number: Word(String, WordNumber, Delimiters) at character 14",
    ),
    (
        r#"Word([many], 1, " ")"#,
        "failed: Word: String has 2 values; choose one with Item, or put them together with Join",
    ),
    (r#"Split([null], ",")"#, "null"),
    (r#"Split([empty], ",")"#, "null"),
    (r#"Split([åäö], " ")"#, r#"["Åsa", "東京", "😀"]"#),
    (r#"Split("a,,b,", ",")"#, r#"["a", "b"]"#),
    ("Split([text], [empty])", "failed: Split: the delimiter is empty"),
    (
        r#"Split([many], ",")"#,
        "failed: Split: source has 2 values; choose one with Item, or put them together with Join",
    ),
    (r#"Join("-", [null], [empty])"#, "null"),
    (r#"Join("-", [many], [null], [number], [åäö])"#, r#""a-b-7-Åsa 東京 😀""#),
    (r#"Join([null], [text], [on])"#, r#""JohnTrue""#),
    (r#"Join(, [text], "x", )"#, r#""Johnx""#),
    (
        r#"Join([many], [text])"#,
        "failed: Join: separator has 2 values; choose one with Item, or put them together with Join",
    ),
    (r#"Join("-", [text], [unknown])"#, "unknown"),
    // Choices.
    (r#"IIF([null] = "", 1, 2)"#, r#""2""#),
    (r#"IIF([empty] = "", 1, 2)"#, r#""2""#),
    (r#"IIF([null] <> "x", 1, 2)"#, r#""2""#),
    ("IIF(IsNullOrEmpty([null]), 1, 2)", r#""2""#),
    ("IIF(Not(IsPresent([null])), 1, 2)", r#""2""#),
    (r#"IIF(Coalesce([null], [text]) = "John", 1, 2)"#, r#""1""#),
    (r#"IIF(Coalesce([null], "x") = "x", 1, 2)"#, r#""1""#),
    (r#"IIF([text] = "john", 1, 2)"#, r#""2""#),
    (r#"IIF([åäö] = "Åsa 東京 😀", [many], 2)"#, r#"["a", "b"]"#),
    ("IIF([on], 1, 2)", r#""1""#),
    (r#"IIF([on] = "true", 1, 2)"#, r#""1""#),
    ("IIF([off], 1, 2)", r#""2""#),
    ("IIF([number] > 6.5, 1, 2)", r#""1""#),
    (r#"IIF("10" > "9", 1, 2)"#, r#""1""#),
    (r#"IIF([decimal] = 1.5, 1, 2)"#, r#""1""#),
    (r#"IIF([decimal] <= [number], 1, 2)"#, r#""1""#),
    (r#"IIF([instant] >= "2020-03-16", 1, 2)"#, r#""1""#),
    (r#"IIF([instant] = "2020-03-16T07:05:09Z", 1, 2)"#, r#""1""#),
    (r#"IIF("b" < "a", 1, 2)"#, r#""2""#),
    (r#"IIF([text] = "John", , 2)"#, "null"),
    (r#"IIF([text] = "John", 1, [unknown])"#, r#""1""#),
    (r#"IIF([unknown] = "John", 1, 2)"#, "unknown"),
    ("IIF([text], 1, 2)", r#"failed: IIF: condition is "John", neither true nor false"#),
    (r#"IIF([many] = "a", 1, 2)"#, "failed: a comparison is of one value, and here are several; choose one with Item"),
    (r#"IIF([text] = "x", Error("never"), 2)"#, r#""2""#),
    (r#"Switch([null], "d", "x", 1)"#, r#""d""#),
    (r#"Switch([empty], "d", "", 1)"#, r#""1""#),
    (r#"Switch([on], , "False", "True", "True", "False")"#, r#""False""#),
    (r#"Switch([number], , 7, [many])"#, r#"["a", "b"]"#),
    (r#"Switch([text], "d", "john", 1)"#, r#""d""#),
    (r#"Switch("東京", "d", "東京", "ja")"#, r#""ja""#),
    (r#"Switch(IsPresent([text]), [null], "True", [text])"#, r#""John""#),
    (
        r#"Switch([many], "d", "x", 1)"#,
        "failed: Switch: source has 2 values; choose one with Item, or put them together with Join",
    ),
    (r#"Switch([text], "d", "x", [unknown])"#, r#""d""#),
    ("Coalesce([null], [empty], [text])", r#""""#),
    ("Coalesce([null], [many])", r#"["a", "b"]"#),
    ("Coalesce([åäö], [unknown])", r#""Åsa 東京 😀""#),
    ("Coalesce([unknown], [text])", "unknown"),
    ("Coalesce([null])", "null"),
    ("IsNull([null])", r#""True""#),
    ("IsString([null])", r#""False""#),
    ("IsNull([many])", r#""False""#),
    ("IsNull([unknown])", "unknown"),
    ("IsNullOrEmpty([null])", r#""True""#),
    ("IsNullOrEmpty([many])", r#""False""#),
    ("IsNullOrEmpty([åäö])", r#""False""#),
    ("IsPresent([null])", r#""False""#),
    ("IsPresent([many])", r#""True""#),
    ("IsPresent([off])", r#""True""#),
    ("IsString([number])", r#""True""#),
    ("IsString([many])", r#""False""#),
    ("IsString([bytes])", r#""False""#),
    ("IsString([empty])", r#""True""#),
    ("Not([null])", r#""True""#),
    ("Not([empty])", r#""True""#),
    ("Not([on])", r#""False""#),
    ("Not([off])", r#""True""#),
    ("Not([åäö])", r#""True""#),
    ("Not([many])", "failed: Not: source has 2 values; choose one with Item, or put them together with Join"),
    ("CBool([null])", r#""False""#),
    ("CBool([empty])", r#""False""#),
    ("CBool([null] = [empty])", r#""True""#),
    ("CBool([decimal])", r#""True""#),
    ("CBool(\"0.0\")", r#""False""#),
    ("CBool([åäö])", r#"failed: CBool: Expression is "Åsa 東京 😀", neither true nor false"#),
    ("CBool([many])", "failed: CBool: Expression has 2 values; choose one with Item, or put them together with Join"),
    ("CBool([instant])", r#"failed: CBool: Expression is "3/16/2020 7:05:09 AM", neither true nor false"#),
    ("IgnoreFlowIfNullOrEmpty([null])", "nothing"),
    ("IgnoreFlowIfNullOrEmpty([many])", r#"["a", "b"]"#),
    (r#"Join("-", [text], IgnoreFlowIfNullOrEmpty([empty]))"#, "nothing"),
    ("IgnoreFlowIfNullOrEmpty([åäö])", r#""Åsa 東京 😀""#),
    ("Error([null])", "failed: Error: "),
    ("Error([åäö])", "failed: Error: Åsa 東京 😀"),
    // Several values.
    ("Count([null])", r#""0""#),
    ("Count([text])", r#""1""#),
    ("Count([empty])", r#""1""#),
    ("Count([unknown])", "unknown"),
    ("Item([null], 1)", "null"),
    ("Item([text], 1)", r#""John""#),
    ("Item([text], 2)", "null"),
    ("Item([many], [number])", "null"),
    ("Item([many], 0)", "refused: values are counted from 1 at character 14"),
    ("Item([many], Count([null]))", "failed: Item: values are counted from 1"),
    ("Item([many], [text])", r#"failed: Item: index is "John", no whole number"#),
    ("RemoveDuplicates([null])", "null"),
    ("RemoveDuplicates([empty])", r#""""#),
    (r#"RemoveDuplicates(Split("å,Å,å", ","))"#, r#"["å", "Å"]"#),
    ("RemoveDuplicates([number])", r#""7""#),
    // Numbers.
    ("BitAnd([null], 1)", "null"),
    ("BitAnd([empty], 1)", "null"),
    ("BitAnd([number], \"3\")", r#""3""#),
    ("BitAnd(-1, &H7FFFFFFFFFFFFFFF)", r#""9223372036854775807""#),
    ("BitAnd([text], 1)", r#"failed: BitAnd: value1 is "John", no whole number"#),
    ("BitAnd([many], 1)", "failed: BitAnd: value1 has 2 values; choose one with Item, or put them together with Join"),
    ("BitAnd([on], 1)", r#"failed: BitAnd: value1 is "True", no whole number"#),
    // Times.
    ("CDate([null])", "null"),
    ("CDate([empty])", "null"),
    ("CDate([date])", r#""3/16/2020 12:00:00 AM""#),
    ("CDate([instant])", r#""3/16/2020 7:05:09 AM""#),
    ("CDate([number])", r#"failed: CDate: expression is "7", no date or time that can be read"#),
    ("CDate([åäö])", r#"failed: CDate: expression is "Åsa 東京 😀", no date or time that can be read"#),
    ("CDate([many])", "failed: CDate: expression has 2 values; choose one with Item, or put them together with Join"),
    (r#"DateAdd("d", 1, [null])"#, "null"),
    (r#"DateAdd("d", [empty], [date])"#, "null"),
    (r#"DateAdd("m", -1, "2021-03-31")"#, r#""2/28/2021 12:00:00 AM""#),
    (r#"DateAdd("q", 1, [date])"#, r#""6/16/2020 12:00:00 AM""#),
    (r#"DateAdd("s", 1, "9999-12-31T23:59:59Z")"#, "failed: DateAdd: no calendar reaches that far"),
    (r#"DateAdd("yyyy", 9223372036854775807, [date])"#, "failed: DateAdd: no calendar reaches that far"),
    (
        r#"DateAdd([åäö], 1, [date])"#,
        "failed: DateAdd: \"Åsa 東京 😀\" is no interval; expected yyyy, q, m, y, d, w, ww, h, n or s",
    ),
    (
        r#"DateAdd("d", 1, [many])"#,
        "failed: DateAdd: dateTime has 2 values; choose one with Item, or put them together with Join",
    ),
    (r#"DateDiff("d", [null], [date])"#, "null"),
    (r#"DateDiff("d", [empty], [date])"#, "null"),
    (r#"DateDiff("q", "2020-12-31", "2021-01-01")"#, r#""1""#),
    (r#"DateDiff("ww", "2021-08-21", "2021-08-22")"#, r#""1""#),
    (r#"DateDiff("w", "2021-08-21", "2021-08-22")"#, r#""0""#),
    (r#"DateDiff("h", [instant], [date])"#, r#""-7""#),
    (r#"DateDiff("d", [text], [date])"#, r#"failed: DateDiff: date1 is "John", no date or time that can be read"#),
    (
        r#"DateDiff("d", [many], [date])"#,
        "failed: DateDiff: date1 has 2 values; choose one with Item, or put them together with Join",
    ),
    ("DateFromNum([null])", "null"),
    ("DateFromNum([empty])", "null"),
    ("DateFromNum(9223372036854775807)", "failed: DateFromNum: 9223372036854775807 is the file time of no date"),
    ("DateFromNum([åäö])", r#"failed: DateFromNum: value is "Åsa 東京 😀", no whole number"#),
    (
        "DateFromNum([many])",
        "failed: DateFromNum: value has 2 values; choose one with Item, or put them together with Join",
    ),
    ("NumFromDate([null])", "null"),
    ("NumFromDate([empty])", "null"),
    ("NumFromDate(DateFromNum(129699324000000000))", r#""129699324000000000""#),
    ("NumFromDate([text])", r#"failed: NumFromDate: value is "John", no date or time that can be read"#),
    (
        "NumFromDate([many])",
        "failed: NumFromDate: value has 2 values; choose one with Item, or put them together with Join",
    ),
    (r#"FormatDateTime([null], , "d", "D")"#, "null"),
    (r#"FormatDateTime([empty], , "d", "D")"#, "null"),
    (r#"FormatDateTime([instant], , "yyyy", "yyyy-MM-ddTHH:mm:ssK")"#, r#""2020-03-16T07:05:09Z""#),
    (r#"FormatDateTime([date], , , "dd MMM")"#, r#""16 Mar""#),
    (r#"FormatDateTime(Now(), , "M/d/yyyy h:mm:ss tt", "yyyy")"#, r#""2021""#),
    (
        r#"FormatDateTime([text], , , "d")"#,
        r#"failed: FormatDateTime: source is "John", no date or time that can be read"#,
    ),
    (r#"FormatDateTime([text], , "d", "x")"#, "refused: 'x' is no standard format of .NET at character 31"),
    (r#"FormatDateTime([text], , "d", [åäö])"#, r#"failed: FormatDateTime: source is "John", not of the format "d""#),
    (
        r#"FormatDateTime([many], , "d", "d")"#,
        "failed: FormatDateTime: source has 2 values; choose one with Item, or put them together with Join",
    ),
    (r#"FormatDateTime("2020", , "yyyy", "'å' yyyy")"#, r#""å 2020""#),
    ("Now()", r#""7/2/2021 3:33:38 PM""#),
    ("Now( )", r#""7/2/2021 3:33:38 PM""#),
    // Replace.
    (r#"Replace([text], , "h", , "<$_|$`|$'>", , )"#, r#""Jo<John|Jo|n>n""#),
    (r#"Replace([text], , "(J)(o)|h", , "<$+>", , )"#, r#""<o><>n""#),
    (r#"Replace([null], "a", , , "b", , )"#, "null"),
    (r#"Replace([empty], "a", , , "b", , )"#, r#""""#),
    (r#"Replace([åäö], "東", , , "西", , )"#, r#""Åsa 西京 😀""#),
    (r#"Replace([text], "john", , , "x", , )"#, r#""John""#),
    (r#"Replace([text], "o", , , [null], , )"#, r#""Jhn""#),
    (r#"Replace([text], [empty], , , "x", , )"#, "failed: Replace: oldValue is empty"),
    (
        r#"Replace([many], "a", , , "b", , )"#,
        "failed: Replace: source has 2 values; choose one with Item, or put them together with Join",
    ),
    (r#"Replace([number], "7", , , "8", , )"#, r#""8""#),
    (r#"Replace([null], "<u>", , , , , "x<u>")"#, "null"),
    (r#"Replace("abc", , ".*", , "x", , )"#, r#""xx""#),
    (r#"Replace("åb", , "x?", , "-", , )"#, r#""-å-b-""#),
    (r#"Replace("abab", , "(?<n>a)(b)", , "$1${n}$2$$$&$9${x}", , )"#, r#""baa$ab$9${x}baa$ab$9${x}""#),
    (r#"Replace("ab", , "(?<n>x)?ab", "n", "-", , )"#, r#""ab""#),
    (r#"Replace([text], , "(?<n>.)", "n", , [null], )"#, r#""John""#),
    (r#"Replace([null], , "(?<n>x)", "n", , [text], )"#, "null"),
    (r#"Replace([null], , "(?<n>x)", "n", , [null], )"#, "null"),
    // Out of nothing.
    ("RandomString(0, 0, 0, 0, 0)", r#""""#),
    ("RandomString([null], 0, 0, 0, 0)", "failed: RandomString: a length is missing"),
    ("RandomString([text], 0, 0, 0, 0)", r#"failed: RandomString: Length is "John", no whole number"#),
    ("RandomString([number], [number], [number], 0, 0)", "failed: RandomString: Length is 7, but the minimums need 14"),
    (
        r#"RandomString(1, 1, 0, 0, 0, "0123456789")"#,
        "failed: RandomString: no characters are left that are not to be avoided",
    ),
    (r#"RandomString(2, 2, 0, 0, 0, "012345678å")"#, r#""99""#),
    ("SelectUniqueValue([null], [empty], [åäö])", r#""Åsa 東京 😀""#),
    ("SelectUniqueValue([null], [empty])", "failed: SelectUniqueValue: all candidates are taken"),
    (
        "SelectUniqueValue([many], [text])",
        "failed: SelectUniqueValue: rule1 has 2 values; choose one with Item, or put them together with Join",
    ),
    ("DefaultDomain()", r#""contoso.com""#),
    ("SingleAppRoleAssignment([null])", "null"),
    ("SingleAppRoleAssignment([many])", r#""a""#),
    ("SingleAppRoleAssignment([åäö])", r#""Åsa 東京 😀""#),
    ("AppRoleAssignmentsComplex([null])", "null"),
    (
        "AppRoleAssignmentsComplex([single])",
        r#"["{display: a, primary: false, type: WindowsAzureActiveDirectoryRole, value: a}"]"#,
    ),
    ("AssertiveAppRoleAssignmentsComplex([null])", "null"),
    (
        "AssertiveAppRoleAssignmentsComplex([single])",
        r#"["{display: a, primary: false, type: WindowsAzureActiveDirectoryRole, value: a}"]"#,
    ),
];

#[test]
fn each_function_knows_its_edges() {
    let attributes = attributes();
    let mut wrong = Vec::new();
    for (expression, expected) in CASES {
        let found = outcome(expression, &attributes);
        if found != *expected {
            wrong.push(format!("{expression}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn each_function_has_cases_of_every_kind() {
    for function in all().filter(|function| !function.parameters.is_empty()) {
        let own: Vec<&str> = CASES
            .iter()
            .map(|(expression, _)| *expression)
            .filter(|expression| {
                let call = format!("{}(", function.name).to_lowercase();
                expression.to_lowercase().starts_with(&call)
            })
            .collect();
        assert!(own.len() >= 2, "{} has {} cases", function.name, own.len());
        assert!(own.iter().any(|case| case.contains("[null]")), "{} has no case with null", function.name);
    }
}

#[test]
fn typed_results_stay_what_they_are() {
    use crate::{Expression, Flow};
    let cases = [
        ("[on]", Value::Boolean(true)),
        ("Not([on])", Value::Boolean(false)),
        ("Count([many])", Value::Integer(2)),
        ("[date]", Value::Date(NaiveDate::from_ymd_opt(2020, 3, 16).unwrap())),
        ("CDate(\"2020-03-16\")", Value::Instant(crate::parse_instant("2020-03-16").unwrap())),
        ("Coalesce([null], [uuid])", Value::Uuid(Uuid::nil())),
        ("CStr([on])", Value::text("True")),
    ];
    let attributes = attributes();
    let names: Vec<&str> = attributes.iter().map(|(name, _)| *name).collect();
    let row = muster_model::Row(attributes.iter().map(|(_, slot)| slot.clone()).collect());
    for (text, expected) in cases {
        let program = Expression::parse(text).unwrap().resolve(&names).unwrap();
        assert_eq!(program.evaluate(&row, &super::context()), Ok(Flow::Value(Slot::One(expected))), "{text}");
    }
}
