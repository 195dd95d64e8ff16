//! Rows that the database refuses: a batch of many is undone as a whole, one alone is rejected with its reason.

use muster_connector::{Error, Outcome};
use muster_model::{Decimal, Key, Slot, Value};

use crate::on_each;
use crate::world::{World, batch, create, delete, id, is_applied, number, rejection, text, update};

const USER: [&str; 4] = ["employee_no", "full_name", "note", "dept_id"];

fn row(no: &str, name: Slot, note: Slot, dept: Slot) -> Vec<Slot> {
    vec![text(no), name, note, dept]
}

async fn rules_of_the_table(world: World) {
    let connection = world.connect();
    let good = create(row("1", text("ok"), Slot::Null, Slot::Null));
    let bad = [
        (row("2", text(""), Slot::Null, Slot::Null), (None, "named")),
        (row("3", Slot::Null, Slot::Null, Slot::Null), (Some("full_name"), "required")),
        (row("4", text("n"), Slot::Null, number(99)), (None, world.each("in_dept", "in_dept", "foreign_key"))),
    ];
    for (bad, expected) in bad {
        let many = batch("app_user", &USER, vec![good.clone(), create(bad.clone())]);
        assert!(matches!(connection.try_apply(&many).await, Err(Error::Refused { .. })), "{expected:?}");
        assert_eq!(world.rows("SELECT count(*) FROM app_user").await, [["0"]]);
        let alone = connection.send("app_user", &USER, vec![create(bad)]).await;
        assert_eq!(rejection(&alone[0]), expected);
    }
    assert!(is_applied(&connection.send("app_user", &USER, vec![good]).await[0]));
    // By an update, and by a delete of what others refer to.
    let key = world.rows("SELECT id FROM app_user").await[0][0].parse().unwrap();
    let outcomes = connection
        .send("app_user", &USER, vec![update(id(key), row("1", Slot::Unknown, Slot::Unknown, number(2)))])
        .await;
    assert!(is_applied(&outcomes[0]));
    let alone = connection.send("dept", &[], vec![delete(id(2))]).await;
    assert_eq!(rejection(&alone[0]).1, world.each("in_dept", "in_dept", "foreign_key"));
    let both = batch("dept", &[], vec![delete(id(1)), delete(id(2))]);
    assert!(matches!(connection.try_apply(&both).await, Err(Error::Refused { .. })));
    assert_eq!(world.rows("SELECT count(*) FROM dept").await, [["2"]]);
}

async fn a_unique_value_taken_by_another_row(world: World) {
    world.run("INSERT INTO person (no, mail) VALUES ('1', 'a@x'), ('2', 'b@x')").await;
    let connection = world.connect();
    let taking = update(Key::text("1"), vec![text("b@x")]);
    let many = batch("person", &["mail"], vec![taking.clone(), update(Key::text("2"), vec![Slot::Null])]);
    assert!(matches!(connection.try_apply(&many).await, Ok(_) | Err(Error::Refused { .. })));
    world.run("UPDATE person SET mail = 'a@x' WHERE no = '1'; UPDATE person SET mail = 'b@x' WHERE no = '2'").await;
    let alone = connection.send("person", &["mail"], vec![taking]).await;
    assert_eq!(rejection(&alone[0]), (Some("mail"), "unique"));
    assert_eq!(world.rows("SELECT mail FROM person ORDER BY no").await, [["a@x"], ["b@x"]]);
}

async fn what_no_column_can_hold(world: World) {
    // MySQL and MariaDB hold any letter.
    let nul = if world.sqlserver_or(false, world.each(false, true, false)) { "b" } else { "a\0b" };
    let outcomes = world
        .connect()
        .send(
            "person",
            &["no", "name"],
            vec![
                create(vec![text("1"), text(nul)]),
                create(vec![text("2"), Slot::Many(vec![Value::text("a"), Value::text("b")])]),
                create(vec![text("3"), Slot::Many(vec![Value::text("one")])]),
            ],
        )
        .await;
    if nul != "b" {
        assert_eq!(rejection(&outcomes[0]), (Some("name"), "nul_character"));
    }
    assert_eq!(rejection(&outcomes[1]), (Some("name"), "several_values"));
    assert!(is_applied(&outcomes[2]));
    assert_eq!(world.rows("SELECT no, name FROM person WHERE no <> '1'").await, [["3", "one"]]);
}

/// Rules and attributes reach logs and reports; what a trigger says there may be anybody's name.
async fn what_a_trigger_raises_names_no_rule(world: World) {
    let postgres = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not: %', \
                    NEW.name USING ERRCODE = NEW.mail, CONSTRAINT = NEW.name, COLUMN = NEW.name, TABLE = NEW.name; \
                    END $$; CREATE TRIGGER refuse BEFORE INSERT ON person FOR EACH ROW EXECUTE FUNCTION refuse()";
    let sqlite = "CREATE TRIGGER refuse BEFORE INSERT ON person BEGIN SELECT RAISE(ABORT, 'not: ' || NEW.name); END";
    let mariadb = "CREATE TRIGGER refuse BEFORE INSERT ON person FOR EACH ROW BEGIN \
                   DECLARE words varchar(100) DEFAULT concat('not: ', NEW.name); DECLARE who varchar(60) DEFAULT NEW.name; \
                   IF NEW.mail = 'unique_violation' THEN SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1062, \
                   MESSAGE_TEXT = words, CONSTRAINT_NAME = who, COLUMN_NAME = who; \
                   ELSEIF NEW.mail = 'check_violation' THEN SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 4025, \
                   MESSAGE_TEXT = words, CONSTRAINT_NAME = who; ELSE SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = words; \
                   END IF; END";
    let sqlserver = "CREATE TRIGGER refuse ON person AFTER INSERT AS BEGIN DECLARE @words nvarchar(100); \
                     SELECT @words = 'not: ' + name FROM inserted; THROW 50001, @words, 1; END";
    world.run(world.sqlserver_or(sqlserver, world.each(postgres, mariadb, sqlite))).await;
    let connection = world.connect();
    for (code, rule) in [("check_violation", "check"), ("raise_exception", "refused"), ("unique_violation", "unique")] {
        let operation = create(vec![text("1"), text("Ada Lovelace"), text(code)]);
        let outcomes = connection.send("person", &["no", "name", "mail"], vec![operation]).await;
        assert_eq!(rejection(&outcomes[0]), (None, world.sqlserver_or("refused", world.each(rule, rule, "refused"))));
        let Outcome::Rejected { message, .. } = &outcomes[0] else { unreachable!() };
        assert!(message.contains("not: Ada Lovelace"), "{message}");
    }
}

on_each!(
    rules_of_the_table,
    a_unique_value_taken_by_another_row,
    what_no_column_can_hold,
    what_a_trigger_raises_names_no_rule,
);

#[tokio::test]
async fn values_that_do_not_fit_a_column_of_postgresql() {
    let world = World::postgres().await;
    world
        .run(
            "CREATE TYPE mood AS ENUM ('happy', 'it''s \"so\" so'); CREATE DOMAIN short AS varchar(5) NOT NULL; \
             CREATE DOMAIN shorter AS short CHECK (value <> 'no'); CREATE TABLE odd (id int PRIMARY KEY, mood mood, \
             short shorter DEFAULT 'x', small smallint, money numeric(5,2), code char(3), CHECK (small <> 13))",
        )
        .await;
    let connection = world.connect();
    let attributes = ["id", "mood", "short", "small", "money", "code"];
    let row = |position: usize, slot: Slot| {
        let mut row = vec![Slot::Unknown; attributes.len()];
        row[0] = number(1);
        row[position] = slot;
        create(row)
    };
    let cases = [
        (row(1, text("sad")), (Some("mood"), "refused")),
        (row(2, text("too long")), (Some("short"), "too_long")),
        (row(2, text("no")), (None, "shorter_check")),
        (row(3, number(70_000)), (Some("small"), "out_of_range")),
        (row(3, number(13)), (None, "odd_small_check")),
        (row(4, Slot::One(Value::Decimal(Decimal::parse("1000").unwrap()))), (None, "out_of_range")),
        (row(5, text("four")), (Some("code"), "too_long")),
    ];
    for (operation, expected) in cases {
        let outcomes = connection.send("odd", &attributes, vec![operation]).await;
        assert_eq!(rejection(&outcomes[0]), expected);
    }
    let fits = vec![number(2), text("it's \"so\" so"), text("12345"), number(-32768), Slot::Unknown, text("ab")];
    assert!(is_applied(&connection.send("odd", &attributes, vec![create(fits)]).await[0]));
    let nothing = connection.send("odd", &attributes, vec![row(2, Slot::Null)]).await;
    assert_eq!(rejection(&nothing[0]).1, "required");
    assert_eq!(
        world.rows("SELECT mood, short, small, code FROM odd").await,
        [["it's \"so\" so", "12345", "-32768", "ab "]]
    );
}

#[tokio::test]
async fn what_only_the_commit_refuses() {
    let world = World::postgres().await;
    world.run("CREATE TABLE late (id int PRIMARY KEY, name text UNIQUE DEFERRABLE INITIALLY DEFERRED)").await;
    world.run("INSERT INTO late VALUES (1, 'a')").await;
    let connection = world.connect();
    let row = |id: i64, name: &str| create(vec![number(id), text(name)]);
    let many = batch("late", &["id", "name"], vec![row(2, "b"), row(3, "a")]);
    assert!(matches!(connection.try_apply(&many).await, Err(Error::Refused { .. })));
    let alone = connection.send("late", &["id", "name"], vec![row(3, "a")]).await;
    assert_eq!(rejection(&alone[0]), (Some("name"), "unique"));
    assert_eq!(world.rows("SELECT count(*) FROM late").await, [["1"]]);
    // A partial unique index is known to the database alone.
    world.run("CREATE UNIQUE INDEX only_long ON late (length(name)) WHERE length(name) > 3").await;
    world.run("INSERT INTO late VALUES (5, 'long')").await;
    let alone = connection.send("late", &["id", "name"], vec![row(6, "lang")]).await;
    assert!(matches!(&alone[0], Outcome::Rejected { rule, .. } if rule == "only_long"), "{alone:?}");
}

#[tokio::test]
async fn decimals_that_sqlite_would_round() {
    let world = World::sqlite().await;
    world.run("CREATE TABLE pay (id INTEGER PRIMARY KEY, amount DECIMAL(30, 10))").await;
    let amount = |text: &str| Slot::One(Value::Decimal(Decimal::parse(text).unwrap()));
    let connection = world.connect();
    let rows = ["1234.5678", "0.1", "123456789012345.678", "-9223372036854775808"];
    let outcomes =
        connection.send("pay", &["amount"], rows.iter().map(|text| create(vec![amount(text)])).collect()).await;
    assert!([0, 1, 3].iter().all(|i| is_applied(&outcomes[*i])), "{outcomes:?}");
    assert_eq!(rejection(&outcomes[2]), (Some("amount"), "too_precise"));
    let found = connection.get("pay", &["amount"], &[id(1), id(2), id(3)]).await;
    let found: Vec<Slot> = found.into_iter().map(|row| row.unwrap().0.remove(0)).collect();
    assert_eq!(found, [amount("1234.5678"), amount("0.1"), amount("-9223372036854775808")]);
}
