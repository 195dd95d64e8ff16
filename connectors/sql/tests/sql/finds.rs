//! Looking rows up in bulk.

use muster_model::{Key, Slot, Value};

use crate::on_each;
use crate::world::{World, text};

async fn by_key_and_by_value(world: World) {
    world.run("INSERT INTO person (no, mail, name, state) VALUES ('1', 'a@x', 'twin', 1), ('2', 'b@x', 'twin', NULL), ('3', 'c@x', 'twin', 3)").await;
    let connection = world.connect();
    let keys = [Key::text("3"), Key::text("none"), Key::text("1"), Key::text("it's"), Key::text("far too long a key")];
    let rows = connection.get("person", &["name", "no"], &keys).await;
    assert_eq!(rows[0].as_ref().unwrap().0, [text("twin"), text("3")]);
    assert_eq!(rows[2].as_ref().unwrap().0, [text("twin"), text("1")]);
    assert!([1, 3, 4].iter().all(|i| rows[*i].is_none()));
    let values = ["twin", "b@x", "nobody"].map(|name| vec![Value::text(name)]).to_vec();
    let found = connection.find("person", &["state"], &["name"], values.clone()).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 0]);
    let found = connection.find("person", &["state"], &["mail"], values).await;
    assert_eq!(found[1], [(Key::text("2"), muster_model::Row(vec![Slot::Null]))]);
    let pair = |name: &str, mail: &str| vec![Value::text(name), Value::text(mail)];
    let found = connection.find("person", &[], &["name", "mail"], vec![pair("twin", "a@x"), pair("twin", "z@x")]).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
    // A null equals nothing, and the other half of the tuple does not make up for it.
    world.run("INSERT INTO person (no, name) VALUES ('4', 'alone')").await;
    let found =
        connection.find("person", &[], &["mail", "name"], vec![pair("a@x", "alone"), pair("a@x", "twin")]).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1]);
    assert!(connection.find("person", &[], &["name"], Vec::new()).await.is_empty());
}

async fn values_that_no_row_can_have_hide_no_others(world: World) {
    world.run("INSERT INTO badge (site, number) VALUES ('A', 1), ('A', 2)").await;
    world.run("INSERT INTO person (no) VALUES ('abc')").await;
    let connection = world.connect();
    let numbers = [1, i64::MAX, 2, i64::MIN].map(|number| vec![Value::Integer(number)]).to_vec();
    let found = connection.find("badge", &[], &["number"], numbers).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1, 0]);
    let texts = ["nul\0", "abc", "abc ", &"x".repeat(500)].map(|no| vec![Value::text(no)]).to_vec();
    let found = connection.find("person", &[], &["no"], texts).await;
    // To SQL Server blanks at the end make no difference.
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, world.sqlserver_or(1, 0), 0]);
}

async fn thousands_at_once(world: World) {
    let others = world.each(
        ("generate_series(1, 20000)", "i"),
        ("seq_1_to_20000", "seq"),
        ("json_each('[' || substr(replace(hex(zeroblob(20000)), '00', ',1'), 2) || ']')", "(key + 1)"),
    );
    let own = "(SELECT TOP 20000 row_number() OVER (ORDER BY (SELECT NULL)) AS i FROM sys.all_columns AS a CROSS JOIN sys.all_columns AS b)";
    let (series, value) = world.sqlserver_or((own, "i"), others);
    world
        .run(&format!(
            "INSERT INTO person (no, mail, name) SELECT {value}, concat({value}, '@x'), 'same' FROM {series} AS s{}",
            world.either("(i)", "")
        ))
        .await;
    let connection = world.connect();
    let wanted = (1..=5_000).map(|i| vec![Value::text(&format!("{}@x", i * 5))]).collect();
    let found = connection.find("person", &["no"], &["mail"], wanted).await;
    assert_eq!(found.iter().filter(|some| some.len() == 1).count(), 4_000);
    assert_eq!(found[3_999][0].0, Key::text("20000"));
    let found = connection.find("person", &["no"], &["name"], vec![vec![Value::text("same")]; 2]).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
}

async fn as_the_column_compares_texts(world: World) {
    let insensitive =
        world.each("text COLLATE any_case", "varchar(190) COLLATE utf8mb4_general_nopad_ci", "text COLLATE NOCASE");
    let insensitive = world.sqlserver_or("varchar(190) COLLATE Latin1_General_CI_AS", insensitive);
    let sensitive = world.sqlserver_or("varchar(190) COLLATE Latin1_General_CS_AS", "text");
    if world.is_postgres() {
        world
            .run("CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
            .await;
    }
    world.run(&format!("CREATE TABLE account (login {insensitive} PRIMARY KEY, name {sensitive})")).await;
    world.run("INSERT INTO account VALUES ('Eva', 'x')").await;
    let connection = world.connect();
    let schema = connection.0.schema().await.unwrap();
    let case = |name: &str| schema.object_type("account").unwrap().attribute(name).unwrap().case;
    assert_eq!((case("login"), case("name")), (muster_model::CaseRule::Insensitive, muster_model::CaseRule::Sensitive));
    let texts = |texts: [&str; 2]| texts.map(|text| vec![Value::text(text)]).to_vec();
    let found = connection.find("account", &[], &["login"], texts(["EVA", "ev"])).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
    // Each attribute of a combination by its own rule.
    let pairs = [["EVA", "x"], ["EVA", "X"]].map(|pair| pair.map(Value::text).to_vec()).to_vec();
    let found = connection.find("account", &[], &["login", "name"], pairs).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
    let found = connection.find("account", &[], &["name"], texts(["X", "x"])).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1]);
    let outcomes = connection.send("account", &["login"], vec![crate::world::create(vec![text("eVa")])]).await;
    assert_eq!(outcomes[0], muster_connector::Outcome::Exists { key: Key::text("Eva") });
}

/// Every row once, in pages, by keys of one and of two columns.
async fn all_of_them_page_by_page(world: World) {
    let others = world.each(
        ("generate_series(1, 12000)", "i"),
        ("seq_1_to_12000", "seq"),
        ("json_each('[' || substr(replace(hex(zeroblob(12000)), '00', ',1'), 2) || ']')", "(key + 1)"),
    );
    let own = "(SELECT TOP 12000 row_number() OVER (ORDER BY (SELECT NULL)) AS i FROM sys.all_columns AS a CROSS JOIN sys.all_columns AS b)";
    let (series, value) = world.sqlserver_or((own, "i"), others);
    let alias = world.either("(i)", "");
    world
        .run(&format!(
            "INSERT INTO badge (site, number) SELECT concat('S', {value} % 7), {value} FROM {series} AS s{alias}"
        ))
        .await;
    let connection = world.connect();
    let request = muster_connector::ReadRequest {
        object_type: "badge".into(),
        attributes: vec!["site".to_owned()].into(),
        named: Default::default(),
    };
    let target = connection.0.target().unwrap();
    let mut keys = std::collections::BTreeSet::new();
    let mut cursor = None;
    let mut pages = 0;
    loop {
        let page = target.list(&request, cursor.as_ref()).await.unwrap();
        pages += 1;
        for object in page.objects {
            assert_eq!(object.row.0[0], Slot::One(object.key.0[0].clone()));
            assert!(keys.insert(object.key), "a row came twice");
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!((keys.len(), pages), (12_000, 3));
    let request = muster_connector::ReadRequest {
        object_type: "person".into(),
        attributes: Vec::new().into(),
        named: Default::default(),
    };
    assert!(target.list(&request, None).await.unwrap().objects.is_empty());
}

on_each!(
    all_of_them_page_by_page,
    by_key_and_by_value,
    values_that_no_row_can_have_hide_no_others,
    thousands_at_once,
    as_the_column_compares_texts
);
