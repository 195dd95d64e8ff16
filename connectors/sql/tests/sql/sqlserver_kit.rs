//! A database on a SQL Server that somebody runs.
//!
//! No package brings a SQL Server, so the tests take one that somebody runs: `MUSTER_TEST_SQLSERVER_URL` names it, as
//! `sqlserver://user:password@host:port/master`, with a login that may create databases. Each test has a database of
//! its own there, which is gone afterwards.

use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};
use url::Url;
use uuid::Uuid;

/// Names the server.
pub(crate) const VARIABLE: &str = "MUSTER_TEST_SQLSERVER_URL";

/// A database of its own on the server that the environment names.
pub(crate) struct Server {
    address: Url,
    database: String,
}

async fn connect(address: &Url, database: &str) -> Client<Compat<TcpStream>> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut config = Config::new();
    config.host(address.host_str().unwrap());
    config.port(address.port().unwrap_or(1433));
    config.database(database);
    let password = decoded(address.password().unwrap_or_default());
    config.authentication(AuthMethod::sql_server(decoded(address.username()), password));
    config.encryption(EncryptionLevel::NotSupported);
    let stream = TcpStream::connect(config.get_addr()).await;
    let stream = stream.unwrap_or_else(|error| panic!("{VARIABLE}: no connection: {error}"));
    let client = Box::pin(Client::connect(config, stream.compat_write())).await;
    client.unwrap_or_else(|error| panic!("{VARIABLE}: no sign-in: {error}"))
}

async fn run(client: &mut Client<Compat<TcpStream>>, sql: &str) -> Vec<Vec<String>> {
    let answered = match client.simple_query(sql).await {
        Ok(stream) => stream.into_results().await,
        Err(error) => Err(error),
    };
    let mut answers = answered.unwrap_or_else(|error| panic!("{error}\nfor: {sql}"));
    let rows = answers.pop().unwrap_or_default();
    rows.into_iter().map(|row| row.into_iter().map(shown).collect()).collect()
}

fn shown(value: ColumnData<'static>) -> String {
    let day =
        |days: u32| chrono::NaiveDate::from_num_days_from_ce_opt(i32::try_from(days).unwrap() + 1).unwrap().to_string();
    let text = match value {
        ColumnData::String(text) => text.map(|text| text.into_owned()),
        ColumnData::U8(number) => number.map(|number| number.to_string()),
        ColumnData::I16(number) => number.map(|number| number.to_string()),
        ColumnData::I32(number) => number.map(|number| number.to_string()),
        ColumnData::I64(number) => number.map(|number| number.to_string()),
        ColumnData::F64(number) => number.map(|number| number.to_string()),
        ColumnData::Bit(bit) => bit.map(|bit| i32::from(bit).to_string()),
        ColumnData::Guid(uuid) => uuid.map(|uuid| uuid.to_string()),
        ColumnData::Numeric(number) => number.map(|number| number.to_string()),
        ColumnData::Date(date) => date.map(|date| day(date.days())),
        ColumnData::DateTime2(moment) => moment.map(|moment| day(moment.date().days())),
        other => panic!("a value of another kind: {other:?}"),
    };
    text.unwrap_or_else(|| muster_testkit::NULL.to_owned())
}

impl Server {
    pub(crate) async fn start() -> Self {
        let named = std::env::var(VARIABLE).unwrap_or_else(|_| panic!("SQL Server is not covered: set {VARIABLE}"));
        let address = Url::parse(&named).unwrap_or_else(|error| panic!("{VARIABLE}: {error}"));
        let database = format!("muster_{}", Uuid::new_v4().simple());
        run(&mut connect(&address, "master").await, &format!("CREATE DATABASE {database}")).await;
        Self { address, database }
    }

    /// Without the password, which an address in the open must not hold.
    pub(crate) fn url(&self) -> String {
        let mut address = self.address.clone();
        address.set_path(&self.database);
        address.set_password(None).unwrap();
        address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port().unwrap_or(1433)
    }

    pub(crate) fn password(&self) -> String {
        let password = self.address.password().unwrap_or_default();
        percent_encoding::percent_decode_str(password).decode_utf8_lossy().into_owned()
    }

    /// A connection of another program.
    pub(crate) async fn other(&self) -> Other {
        Other(connect(&self.address, &self.database).await)
    }

    pub(crate) async fn sql(&self, sql: &str) -> Vec<Vec<String>> {
        run(&mut connect(&self.address, &self.database).await, &translated(sql)).await
    }
}

impl Server {
    /// Whether errors come with SQL Server's own numbers, by which the connector tells them apart. Servers that only speak
    /// the protocol may have one number for whatever they know none for; it is said what is then not covered.
    pub(crate) async fn numbers_errors(&self, not_covered: &str) -> bool {
        const NO_SUCH_OBJECT: u32 = 208;
        let mut client = connect(&self.address, &self.database).await;
        let answered = match client.simple_query("SELECT 1 FROM muster_nowhere").await {
            Ok(stream) => stream.into_results().await.map(drop),
            Err(error) => Err(error),
        };
        let Err(tiberius::error::Error::Server(said)) = answered else { panic!("{answered:?}") };
        if said.code() != NO_SUCH_OBJECT {
            // Past the test harness, which would keep it to itself.
            let told = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!(
                    "NOT COVERED ON THIS SERVER: {not_covered}; it says {} where SQL Server says {NO_SUCH_OBJECT}\n",
                    said.code()
                ),
            );
            told.unwrap();
        }
        said.code() == NO_SUCH_OBJECT
    }
}

/// Another program's connection, with transactions of its own.
pub(crate) struct Other(Client<Compat<TcpStream>>);

impl Other {
    pub(crate) async fn run(&mut self, sql: &str) -> Vec<Vec<String>> {
        run(&mut self.0, sql).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let (address, database) = (self.address.clone(), self.database.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut client = connect(&address, "master").await;
                // A connection of the test may still be open.
                let alone = format!("ALTER DATABASE {database} SET SINGLE_USER WITH ROLLBACK IMMEDIATE");
                if let Ok(stream) = client.simple_query(alone).await {
                    drop(stream.into_results().await);
                }
                if let Ok(stream) = client.simple_query(format!("DROP DATABASE {database}")).await {
                    drop(stream.into_results().await);
                }
            });
        });
        drop(dropping.join());
    }
}

/// The scenarios' SQL with this engine's words: its names of types and functions, and texts of any letters.
fn translated(sql: &str) -> String {
    const WORDS: [(&str, &str); 10] = [
        ("boolean", "bit"),
        ("text", "nvarchar(max)"),
        ("uuid", "uniqueidentifier"),
        ("varchar", "nvarchar"),
        ("char", "nchar"),
        ("numeric(40, 10)", "numeric(38, 8)"),
        ("substr", "substring"),
        ("length", "len"),
        ("CURRENT_TIMESTAMP", "SYSUTCDATETIME()"),
        ("||", "+"),
    ];
    let is_letter = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    let mut translated = String::new();
    let mut rest = sql;
    while let Some(letter) = rest.chars().next() {
        let before = translated.chars().next_back();
        if let Some(end) = ['\'', '[', '"'].contains(&letter).then(|| end_of_quotes(rest, letter)) {
            if letter == '\'' && !is_letter(before) {
                translated.push('N');
            }
            let (quoted, after) = rest.split_at(end);
            translated.push_str(quoted);
            rest = after;
            continue;
        }
        let word = WORDS.iter().find(|(word, _)| {
            let follows = rest.strip_prefix(word).map(|rest| rest.chars().next());
            let starts = !word.starts_with(char::is_alphabetic) || !is_letter(before);
            starts && follows.is_some_and(|next| !word.ends_with(char::is_alphabetic) || !is_letter(next))
        });
        match word {
            Some((word, meaning)) => {
                translated.push_str(meaning);
                rest = rest.split_at(word.len()).1;
            }
            None => {
                translated.push(letter);
                rest = rest.split_at(letter.len_utf8()).1;
            }
        }
    }
    translated
}

/// Where a text or name in quotes ends; one that is doubled goes on.
fn end_of_quotes(sql: &str, open: char) -> usize {
    let close = if open == '[' { ']' } else { open };
    let mut letters = sql.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == close && letters.next_if(|(_, next)| *next == close).is_none() {
            return at + 1;
        }
    }
    sql.len()
}

#[test]
fn scenarios_are_translated() {
    let cases = [
        (
            "CREATE TABLE t (a text, text_b varchar(9) DEFAULT 'a text', c boolean)",
            "CREATE TABLE t (a nvarchar(max), text_b nvarchar(9) DEFAULT N'a text', c bit)",
        ),
        ("SELECT [text]]'x], 'it''s' || \"uuid\"", "SELECT [text]]'x], N'it''s' + \"uuid\""),
        ("VALUES (N'x', substr(name, 1, 1))", "VALUES (N'x', substring(name, 1, 1))"),
    ];
    for (sql, expected) in cases {
        assert_eq!(translated(sql), expected);
    }
}
