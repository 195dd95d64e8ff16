//! What SQL Server's error numbers mean (Database Engine events and errors). The number tells the kind, the text only
//! where, in the server's own words: a trigger may say anything.

use crate::error::Class;

/// The least severity of an error that is the server's own: out of resources, broken, gone.
const OF_THE_SERVER: u8 = 17;

pub(super) fn classify(number: u32, severity: u8, message: &str) -> Class {
    let row = |rule, column, constraint| Class::Row { rule, column, constraint, staged: None };
    let ruled = |rule| row(rule, None, None);
    match number {
        2627 | 2601 => Class::Unique { constraint: named(message, &["constraint", "unique index"]) },
        515 => row("required", named(message, &["column"]), None),
        547 => {
            let rule = if is_check(message) { "check" } else { "foreign_key" };
            row(rule, None, named(message, &["constraint"]))
        }
        2628 => in_the_stage(named(message, &["column"]), "too_long"),
        8152 => ruled("too_long"),
        220 | 232 | 242 | 244 | 248 | 8115 | 8727 => ruled("out_of_range"),
        550 => ruled("check"),
        // A transaction that lost against another one: deadlock, lock time-out, out of locks, snapshot, in memory.
        1204 | 1205 | 1222 | 3960 | 41301 | 41302 | 41305 | 41325 | 41839 => Class::Busy,
        18_450 | 18_452 | 18_456 | 18_458 | 18_459 | 18_460 | 18_461 | 18_470 | 18_486..=18_488 | 4064 => Class::SignIn,
        229 | 230 | 262 | 297 | 300 | 916 | 10_011 | 15_247 => Class::Forbidden,
        17_835 => Class::Insecure,
        207 | 208 | 911 | 1088 | 2812 | 3701 | 4060 | 4902 => Class::NotThere,
        // Read-only or another replica, as after a fail-over; not up yet, or on its way down; full; too many at once;
        // Azure's own words for these.
        3906
        | 3908
        | 976
        | 978
        | 979
        | 982
        | 983
        | 615
        | 596
        | 921..=924
        | 927
        | 942
        | 945
        | 946
        | 952
        | 6001..=6006
        | 701
        | 1101
        | 1105
        | 9001
        | 9002
        | 17_142
        | 17_188..=17_198
        | 18_401
        | 10_928
        | 10_929
        | 10_936
        | 40_143
        | 40_197
        | 40_501
        | 40_540
        | 40_544
        | 40_549
        | 40_550
        | 40_551
        | 40_552
        | 40_553
        | 40_613
        | 40_615
        | 42_108
        | 42_109
        | 49_918..=49_920 => Class::Unreachable,
        // A statement that should not have been sent.
        102 | 103 | 105 | 107 | 110 | 120 | 121 | 128 | 137 | 145 | 156 | 170 | 174 | 195 | 201 | 205 | 206 | 209
        | 213 | 306 | 319 | 334 | 402 | 2714 | 2715 | 4104 | 4145 | 8120 | 8155 | 10_739 => Class::Bug,
        _ if severity >= OF_THE_SERVER => Class::Unreachable,
        // Whatever else: a conversion, a trigger's own words, an application's own error numbers.
        _ => ruled("refused"),
    }
}

/// The name in quotation marks after one of these words, such as `'x'` in "column 'x'". Values stand behind names.
fn named(message: &str, words: &[&str]) -> Option<String> {
    words.iter().find_map(|word| {
        let (_, quoted) = after(message, word)?;
        let mark = quoted.chars().next()?;
        let (name, _) = quoted.get(1..)?.split_once(mark)?;
        Some(name.to_owned())
    })
}

/// What stands before and after a word that a quotation mark follows.
fn after<'a>(message: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    message.match_indices(word).find_map(|(start, _)| {
        let rest = message.get(start + word.len()..)?.strip_prefix(' ')?;
        rest.starts_with(['\'', '"']).then_some((message.get(..start)?, rest))
    })
}

fn is_check(message: &str) -> bool {
    after(message, "constraint").is_some_and(|(before, _)| before.trim_end().to_ascii_lowercase().ends_with("check"))
}

/// The stage's columns are called `v0`, `v1` and so on.
fn in_the_stage(column: Option<String>, rule: &'static str) -> Class {
    let staged = column.as_deref().and_then(|name| name.strip_prefix('v')?.parse().ok());
    let column = column.filter(|_| staged.is_none());
    Class::Row { rule, column, constraint: None, staged }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rule: &'static str, column: Option<&str>, constraint: Option<&str>) -> Class {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Class::Row { rule, column: owned(column), constraint: owned(constraint), staged: None }
    }

    #[test]
    fn numbers_tell_the_kind_and_texts_where() {
        let unique = |name: &str| Class::Unique { constraint: Some(name.to_owned()) };
        let cases = [
            (
                2627,
                "Violation of UNIQUE KEY constraint 'UQ__app_user__7838F272'. Cannot insert duplicate key in object \
                 'dbo.app_user'. The duplicate key value is (constraint 'x').",
                unique("UQ__app_user__7838F272"),
            ),
            (
                2601,
                "Cannot insert duplicate key row in object 'dbo.app_user' with unique index 'one_login'. The duplicate \
                 key value is (ada).",
                unique("one_login"),
            ),
            (
                515,
                "Cannot insert the value NULL into column 'full_name', table 'hr.dbo.app_user'; column does not allow \
                 nulls. INSERT fails.",
                row("required", Some("full_name"), None),
            ),
            (
                547,
                "The INSERT statement conflicted with the FOREIGN KEY constraint \"in_dept\". The conflict occurred in \
                 database \"hr\", table \"dbo.dept\", column 'id'.",
                row("foreign_key", None, Some("in_dept")),
            ),
            (
                547,
                "The DELETE statement conflicted with the REFERENCE constraint \"in_dept\". The conflict occurred in \
                 database \"hr\", table \"dbo.app_user\", column 'dept_id'.",
                row("foreign_key", None, Some("in_dept")),
            ),
            (
                547,
                "The UPDATE statement conflicted with the CHECK constraint \"named\". The conflict occurred in \
                 database \"hr\", table \"dbo.app_user\", column 'full_name'.",
                row("check", None, Some("named")),
            ),
            (
                2628,
                "String or binary data would be truncated in table 'hr.dbo.app_user', column 'note'. Truncated value: \
                 'column 'v3''.",
                row("too_long", Some("note"), None),
            ),
            (
                2628,
                "String or binary data would be truncated in table 'tempdb.dbo.#muster_stage___1', column 'v3'. \
                 Truncated value: 'x'.",
                Class::Row { rule: "too_long", column: None, constraint: None, staged: Some(3) },
            ),
            (8152, "String or binary data would be truncated.", row("too_long", None, None)),
            (
                8115,
                "Arithmetic overflow error converting expression to data type int.",
                row("out_of_range", None, None),
            ),
            (50_000, "no constraint 'x' for column 'Ada Lovelace'", row("refused", None, None)),
            (3609, "The transaction ended in the trigger. The batch has been aborted.", row("refused", None, None)),
            (1205, "Transaction (Process ID 52) was deadlocked", Class::Busy),
            (1222, "Lock request time out period exceeded.", Class::Busy),
            (18_456, "Login failed for user 'sync'.", Class::SignIn),
            (229, "The INSERT permission was denied on the object 'app_user'", Class::Forbidden),
            (208, "Invalid object name 'dbo.gone'.", Class::NotThere),
            (4060, "Cannot open database \"gone\" requested by the login. The login failed.", Class::NotThere),
            (3906, "Failed to update database \"hr\" because the database is read-only.", Class::Unreachable),
            (40_613, "Database 'hr' on server 'x' is not currently available.", Class::Unreachable),
            (102, "Incorrect syntax near ','.", Class::Bug),
        ];
        for (number, message, expected) in cases {
            assert_eq!(classify(number, 16, message), expected, "{number} {message}");
        }
        assert_eq!(classify(99_999, 20, "I die"), Class::Unreachable);
    }

    #[test]
    fn a_message_without_its_marks_names_nothing() {
        assert_eq!(classify(2627, 14, "constraint"), Class::Unique { constraint: None });
        assert_eq!(classify(515, 16, "column 'open"), row("required", None, None));
        assert_eq!(classify(547, 16, ""), row("foreign_key", None, None));
    }
}
