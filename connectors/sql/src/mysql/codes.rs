//! What the error numbers of MySQL and MariaDB mean (MySQL 8 Error Reference; MariaDB Error Codes). The number tells
//! the kind, the text only where, in the server's own exact words: a trigger may say anything.

use sqlx::mysql::MySqlDatabaseError;

use crate::error::Class;

pub(crate) fn classify(error: &MySqlDatabaseError) -> Class {
    let message = error.message();
    let row = |rule, constraint| Class::Row { rule, column: column(message), constraint, staged: None };
    let ruled = |rule, constraint| Class::Row { rule, column: None, constraint, staged: None };
    match error.number() {
        1022 | 1062 | 1169 | 1586 | 1859 => Class::Unique { constraint: key(message) },
        1048 | 1263 | 1364 | 1423 => row("required", None),
        1216 | 1217 | 1451 | 1452 => ruled("foreign_key", constraint(message)),
        // 4025 is something else in MySQL, which has another state then.
        3819 => ruled("check", check(message)),
        4025 if error.code() == Some("23000") => ruled("check", check(message)),
        1369 => ruled("check", None),
        1406 | 1153 => row("too_long", None),
        1264 | 1690 => row("out_of_range", None),
        1265 | 1292 | 1366 | 1367 | 1411 => row("refused", None),
        // A trigger's own words, which may hold anybody's values.
        1644 => ruled("refused", None),
        // Lock wait, deadlock, interrupted, out of time.
        1205 | 1213 | 1317 | 1689 | 1969 | 3024 | 3572 => Class::Busy,
        1045 | 1130 | 1251 | 1524 | 1698 | 1820 | 1862 | 3118 => Class::SignIn,
        1044 | 1142 | 1143 | 1227 | 1370 | 1410 => Class::Forbidden,
        3159 => Class::Insecure,
        1049 | 1051 | 1054 | 1146 => Class::NotThere,
        // Read-only, as a replica is; full; too many connections; on its way down; cut.
        1290
        | 1792
        | 1836
        | 1021
        | 1037
        | 1038
        | 1041
        | 1114
        | 1040
        | 1203
        | 1226
        | 1129
        | 1053
        | 1077
        | 1079
        | 1152
        | 1158..=1161
        | 1184
        | 1927
        | 1047 => Class::Unreachable,
        _ => match error.code().and_then(|state| state.get(..2)) {
            Some("22" | "23" | "44" | "45") => ruled("refused", None),
            Some("28") => Class::SignIn,
            Some("08") => Class::Unreachable,
            _ => Class::Bug,
        },
    }
}

/// The column in "Column 'x' cannot be null", "Field 'x' doesn't have a default value" and "… for column 'x' at row 1",
/// where MariaDB may write `` `database`.`table`.`x` ``. What stands before the last "for column" may be a value.
fn column(message: &str) -> Option<String> {
    let simple = message
        .strip_prefix("Column '")
        .and_then(|rest| rest.strip_suffix("' cannot be null"))
        .or_else(|| message.strip_prefix("Field '")?.strip_suffix("' doesn't have a default value"));
    if let Some(name) = simple {
        return Some(name.to_owned());
    }
    let (_, rest) = message.rsplit_once(" for column ")?;
    let (name, row) = rest.rsplit_once(" at row ")?;
    row.parse::<u64>().ok()?;
    if let Some(name) = name.strip_prefix('\'') {
        return name.strip_suffix('\'').map(str::to_owned);
    }
    let name = name.strip_prefix('`')?.strip_suffix('`')?;
    let name = name.rsplit_once("`.`").map_or(name, |(_, column)| column);
    Some(name.replace("``", "`"))
}

/// The key in "Duplicate entry '…' for key 'app_user.login'".
fn key(message: &str) -> Option<String> {
    let (_, name) = message.strip_prefix("Duplicate entry '")?.rsplit_once("' for key '")?;
    let name = name.strip_suffix('\'')?;
    Some(name.rsplit_once('.').map_or(name, |(_, key)| key).to_owned())
}

/// The name in "Cannot add or update a child row: a foreign key constraint fails (…, CONSTRAINT `name` FOREIGN KEY …)".
fn constraint(message: &str) -> Option<String> {
    let (_, rest) = message.strip_prefix("Cannot ")?.split_once(", CONSTRAINT `")?;
    rest.split_once("` FOREIGN KEY (").map(|(name, _)| name.replace("``", "`"))
}

/// The name in "CONSTRAINT `name` failed for `database`.`table`" or "Check constraint 'name' is violated.".
fn check(message: &str) -> Option<String> {
    if let Some(rest) = message.strip_prefix("Check constraint '") {
        return rest.strip_suffix("' is violated.").map(str::to_owned);
    }
    let (name, table) = message.strip_prefix("CONSTRAINT `")?.split_once("` failed for `")?;
    // One that belongs to a column is called after it, with the table's name in front.
    let (_, table) = table.strip_suffix('`')?.rsplit_once("`.`")?;
    let name = name.strip_prefix(table).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
    Some(name.replace("``", "`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_tell_where() {
        let cases = [
            ("Column 'full_name' cannot be null", Some("full_name")),
            ("Field 'must' doesn't have a default value", Some("must")),
            ("Data too long for column 'note' at row 2", Some("note")),
            ("Incorrect integer value: ' for column 'x' at row 1' for column `app`.`t`.`a``b` at row 1", Some("a`b")),
            ("Incorrect integer value: 'x' for column 'must' at row 1", Some("must")),
            ("not: Ada Lovelace", None),
            ("Data too long for column 'Ada' in my row", None),
        ];
        for (message, expected) in cases {
            assert_eq!(column(message).as_deref(), expected, "{message}");
        }
        assert_eq!(key("Duplicate entry 'x' for key 'y' for key 'app_user.login'").as_deref(), Some("login"));
        assert_eq!(key("Duplicate entry 'x' for key 'login'").as_deref(), Some("login"));
        assert_eq!(key("Ada"), None);
        let child = "Cannot add or update a child row: a foreign key constraint fails (`app`.`app_user`, CONSTRAINT \
                     `in_dept` FOREIGN KEY (`dept_id`) REFERENCES `dept` (`id`))";
        assert_eq!(constraint(child).as_deref(), Some("in_dept"));
        assert_eq!(check("CONSTRAINT `named` failed for `app`.`app_user`").as_deref(), Some("named"));
        assert_eq!(check("CONSTRAINT `app_user.state` failed for `app`.`app_user`").as_deref(), Some("state"));
        assert_eq!(check("Check constraint 'named' is violated.").as_deref(), Some("named"));
    }
}
