//! SQL Server for [`super::apply`]: a database of our own on a server that somebody runs, since none can be installed, and
//! its raw load: everything in bulk into `#temp` tables, then one statement over all rows for each thing that is done.

use std::borrow::Cow;

use anyhow::Context as _;
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel, TokenRow};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};
use url::Url;
use uuid::Uuid;

/// Names the server, as it does for the tests: `sqlserver://user:password@host:port/master`.
pub(super) const VARIABLE: &str = "MUSTER_TEST_SQLSERVER_URL";

/// A database that is there as long as this.
pub(super) struct Server {
    address: Url,
    database: String,
}

/// One connection of the raw side.
pub(super) struct Raw(Client<Compat<TcpStream>>);

fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}

async fn connect(address: &Url, database: &str) -> anyhow::Result<Raw> {
    let mut config = Config::new();
    config.host(address.host_str().context("the address names no host")?);
    config.port(address.port().unwrap_or(1433));
    config.database(database);
    let password = decoded(address.password().unwrap_or_default());
    config.authentication(AuthMethod::sql_server(decoded(address.username()), password));
    config.encryption(EncryptionLevel::NotSupported);
    let stream = TcpStream::connect(config.get_addr()).await.context("no connection to the SQL Server")?;
    stream.set_nodelay(true)?;
    let client = Box::pin(Client::connect(config, stream.compat_write())).await;
    Ok(Raw(client.context("no sign-in to the SQL Server")?))
}

impl Server {
    /// `None` where the environment names none.
    pub(super) async fn named() -> anyhow::Result<Option<Self>> {
        let Ok(named) = std::env::var(VARIABLE) else { return Ok(None) };
        let address = Url::parse(&named).with_context(|| format!("{VARIABLE} is no address"))?;
        let database = format!("muster_bench_{}", Uuid::new_v4().simple());
        connect(&address, "master").await?.run(&format!("CREATE DATABASE {database}")).await?;
        Ok(Some(Self { address, database }))
    }

    /// Without the password, which an address in the open must not hold.
    pub(super) fn url(&self) -> anyhow::Result<String> {
        let mut address = self.address.clone();
        address.set_path(&self.database);
        address.set_password(None).map_err(|()| anyhow::anyhow!("{VARIABLE} names no host"))?;
        Ok(address.to_string())
    }

    pub(super) fn password(&self) -> String {
        decoded(self.address.password().unwrap_or_default())
    }

    pub(super) async fn raw(&self) -> anyhow::Result<Raw> {
        connect(&self.address, &self.database).await
    }

    /// What answers, for a figure says nothing without it.
    pub(super) async fn version(&self) -> anyhow::Result<String> {
        let mut raw = self.raw().await?;
        let rows = raw.0.simple_query("SELECT CONVERT(nvarchar(300), @@VERSION)").await?.into_first_result().await?;
        let said: Option<&str> = rows.first().and_then(|row| row.get(0));
        Ok(said.unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned())
    }

    /// Takes the database away again.
    pub(super) async fn remove(&self) -> anyhow::Result<()> {
        let mut master = connect(&self.address, "master").await?;
        // The connector's connections may still be open; a server that only speaks the protocol may not know this.
        let alone = format!("ALTER DATABASE {} SET SINGLE_USER WITH ROLLBACK IMMEDIATE", self.database);
        drop(master.run(&alone).await);
        master.run(&format!("DROP DATABASE {}", self.database)).await
    }
}

impl Raw {
    pub(super) async fn run(&mut self, sql: &str) -> anyhow::Result<()> {
        self.0.simple_query(sql).await?.into_results().await?;
        Ok(())
    }

    pub(super) async fn number(&mut self, sql: &str) -> anyhow::Result<i64> {
        let rows = self.0.simple_query(sql).await?.into_first_result().await?;
        let number: Option<i64> = rows.first().and_then(|row| row.get(0));
        number.context("no number")
    }

    async fn bulk<'a>(&mut self, table: &str, rows: impl Iterator<Item = &'a [String]>) -> anyhow::Result<()> {
        let mut request = self.0.bulk_insert(table).await?;
        for row in rows {
            let mut sent = TokenRow::with_capacity(row.len());
            row.iter().for_each(|value| sent.push(ColumnData::String(Some(Cow::Borrowed(value)))));
            request.send(sent).await?;
        }
        request.finalize().await?;
        Ok(())
    }

    /// All rows and their values. `columns` are those beside the login.
    pub(super) async fn load(
        &mut self,
        columns: &[String],
        people: &[Vec<String>],
        values: &[[String; 2]],
    ) -> anyhow::Result<()> {
        let stage: Vec<String> = columns.iter().map(|name| format!("{name} nvarchar(60)")).collect();
        let updates: Vec<String> = columns.iter().map(|name| format!("{name} = s.{name}")).collect();
        let (names, stage, updates) = (columns.join(", "), stage.join(", "), updates.join(", "));
        self.run("BEGIN TRANSACTION").await?;
        self.run(&format!(
            "CREATE TABLE #user_stage (login nvarchar(40) NOT NULL, {stage}) \
             CREATE TABLE #phone_stage (login nvarchar(40) NOT NULL, phone nvarchar(40) NOT NULL)"
        ))
        .await?;
        self.bulk("#user_stage", people.iter().map(Vec::as_slice)).await?;
        self.run(&format!("UPDATE t SET {updates} FROM raw_user AS t JOIN #user_stage AS s ON t.login = s.login"))
            .await?;
        self.run(&format!(
            "INSERT INTO raw_user (login, {names}) SELECT login, {names} FROM #user_stage AS s \
             WHERE NOT EXISTS (SELECT 1 FROM raw_user AS t WHERE t.login = s.login)"
        ))
        .await?;
        self.bulk("#phone_stage", values.iter().map(|value| value.as_slice())).await?;
        self.run("DELETE t FROM raw_phone AS t JOIN #phone_stage AS s ON t.login = s.login").await?;
        self.run("INSERT INTO raw_phone (login, phone) SELECT login, phone FROM #phone_stage").await?;
        self.run("DROP TABLE #user_stage DROP TABLE #phone_stage").await?;
        self.run("COMMIT TRANSACTION").await
    }
}

/// Says that a server was left out, where nobody can overlook it.
pub(super) fn left_out() -> String {
    format!("SQL SERVER WAS NOT MEASURED: {VARIABLE} names none (docs/sql.md says how a server is named)")
}
