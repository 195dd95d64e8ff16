//! The only file that knows the driver: connecting, running statements, loading rows, and what its errors mean.

use std::borrow::Cow;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use muster_connector::settings::{ExposeSecret as _, SecretString};
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel, Row, SqlBrowser as _, TokenRow};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::codes::classify;
use super::loading::{Loaded, LoadedRow};
use crate::config::TlsMode;
use crate::database::Text;
use crate::error::{Class, Failure};

/// Where a database is, and who asks for it.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) instance: Option<String>,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) password: SecretString,
    pub(super) tls: TlsMode,
    pub(super) ca_file: Option<PathBuf>,
}

/// How long a server may take to answer the first time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a statement may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(280);

/// The port of a server, and that of the service that knows the ports of its named instances.
const PORT: u16 = 1433;
const BROWSER_PORT: u16 = 1434;

/// Bytes of one value that a bulk load carries, as the driver counts them.
const MOST_BYTES: usize = 65_534;

/// A connection. Once dropped it is closed, and the server undoes what was not committed.
pub(super) struct Connection {
    client: Client<Compat<TcpStream>>,
}

impl Address {
    /// Where it is, for messages.
    fn place(&self) -> String {
        match (&self.instance, self.port) {
            (Some(instance), _) => format!("{}\\{instance}", self.host),
            (None, port) => format!("{}:{}", self.host, port.unwrap_or(PORT)),
        }
    }

    fn config(&self) -> Result<Config, Failure> {
        let mut config = Config::new();
        config.host(&self.host);
        match &self.instance {
            Some(instance) => {
                config.instance_name(instance);
                config.port(self.port.unwrap_or(BROWSER_PORT));
            }
            None => config.port(self.port.unwrap_or(PORT)),
        }
        config.database(&self.database);
        config.application_name("muster");
        config.authentication(AuthMethod::sql_server(&self.user, self.password.expose_secret()));
        // Never the levels between, which encrypt the sign-in alone or let the server choose.
        config.encryption(match self.tls {
            TlsMode::Verify => EncryptionLevel::Required,
            TlsMode::Off => EncryptionLevel::NotSupported,
        });
        if let Some(path) = &self.ca_file {
            let read = std::fs::read(path);
            let bundle = read.map_err(|error| {
                Failure::new(Class::Insecure, format!("{} cannot be read: {error}", path.display()))
            })?;
            config.trust_cert_ca_bundle(bundle);
        }
        config.command_timeout(Some(STATEMENT_TIMEOUT));
        // One text that is none must not hide its neighbours.
        config.lossy_utf16_decoding(true);
        Ok(config)
    }
}

/// The driver writes the server's messages to the log, and those repeat values.
async fn quietly<T>(work: impl Future<Output = T>) -> T {
    work.with_subscriber(NoSubscriber::default()).await
}

impl Connection {
    pub(super) async fn open(address: &Address) -> Result<Self, Failure> {
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, quietly(Self::try_to_open(address))).await;
        let failure = match opened {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(Class::Unreachable, format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
        };
        if failure.class != Class::Unreachable {
            return Err(failure);
        }
        Err(Failure { message: format!("{}: {}", address.place(), failure.message), ..failure })
    }

    async fn try_to_open(address: &Address) -> Result<Self, Failure> {
        let mut config = address.config()?;
        for _ in 0..MOST_ROUTES {
            let connected = match address.instance {
                Some(_) => TcpStream::connect_named(&config).await.map_err(|error| unreachable(&error))?,
                None => {
                    let stream = TcpStream::connect(config.get_addr()).await;
                    stream.map_err(|error| Failure::new(Class::Unreachable, error.to_string()))?
                }
            };
            // Statements wait for answers, never for more of the same packet.
            connected.set_nodelay(true).map_err(|error| Failure::new(Class::Unreachable, error.to_string()))?;
            match Box::pin(Client::connect(config.clone(), connected.compat_write())).await {
                Ok(client) => return Ok(Self { client }),
                // A gateway names the server behind it.
                Err(tiberius::error::Error::Routing { host, port }) => {
                    config.host(host);
                    config.port(port);
                }
                Err(error) => return Err(while_connecting(&error)),
            }
        }
        Err(Failure::new(Class::Unreachable, "every server that answers names another one"))
    }

    /// Runs statements and returns the rows of each query among them.
    pub(super) async fn run(&mut self, sql: &str) -> Result<Vec<Vec<Vec<Text>>>, Failure> {
        let ran = quietly(async { self.client.simple_query(sql).await?.into_results().await }).await;
        let queries = ran.map_err(|error| failure(&error))?;
        Ok(queries.into_iter().map(|rows| rows.into_iter().map(texts).collect()).collect())
    }

    /// The same for statements with values, called `@P1`, `@P2` and so on. None of them is null, which would need a type.
    pub(super) async fn run_with(&mut self, sql: &str, values: &[Loaded<'_>]) -> Result<Vec<Vec<Vec<Text>>>, Failure> {
        let values: Vec<&dyn tiberius::ToSql> = values.iter().filter_map(bound).collect();
        let ran = quietly(async { self.client.query(sql, &values).await?.into_results().await }).await;
        let queries = ran.map_err(|error| failure(&error))?;
        Ok(queries.into_iter().map(|rows| rows.into_iter().map(texts).collect()).collect())
    }

    /// Loads rows into a table of our own, with whole numbers `n` and `g` in front.
    pub(super) async fn load(&mut self, table: &str, rows: &[LoadedRow<'_>]) -> Result<(), Failure> {
        let (long, short): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.values.iter().any(is_long));
        quietly(self.load_in_bulk(table, &short)).await.map_err(|error| failure(&error))?;
        for row in long {
            quietly(self.load_alone(table, row)).await.map_err(|error| failure(&error))?;
        }
        Ok(())
    }

    async fn load_in_bulk(&mut self, table: &str, rows: &[&LoadedRow<'_>]) -> tiberius::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut request = self.client.bulk_insert(table).await?;
        for row in rows {
            let mut sent = TokenRow::with_capacity(row.values.len() + 2);
            sent.push(ColumnData::I32(Some(row.number)));
            sent.push(ColumnData::I32(Some(row.group)));
            for value in &row.values {
                sent.push(sendable(value));
            }
            request.send(sent).await?;
        }
        request.finalize().await?;
        Ok(())
    }

    async fn load_alone(&mut self, table: &str, row: &LoadedRow<'_>) -> tiberius::Result<()> {
        // A null is written as one: a parameter would need a type.
        let mut terms = format!("{}, {}", row.number, row.group);
        let mut values: Vec<&dyn tiberius::ToSql> = Vec::new();
        for value in &row.values {
            match bound(value) {
                Some(value) => {
                    values.push(value);
                    terms.push_str(&format!(", @P{}", values.len()));
                }
                None => terms.push_str(", NULL"),
            }
        }
        self.client.execute(format!("INSERT INTO {table} VALUES ({terms})"), &values).await?;
        Ok(())
    }
}

fn sendable<'a>(value: &'a Loaded<'_>) -> ColumnData<'a> {
    match value {
        Loaded::Text(text) => ColumnData::String(text.as_deref().map(Cow::Borrowed)),
        Loaded::Bytes(bytes) => ColumnData::Binary(bytes.as_deref().map(Cow::Borrowed)),
    }
}

fn bound<'a>(value: &'a Loaded<'_>) -> Option<&'a dyn tiberius::ToSql> {
    match value {
        Loaded::Text(text) => text.as_ref().map(|text| text as &dyn tiberius::ToSql),
        Loaded::Bytes(bytes) => bytes.as_ref().map(|bytes| bytes as &dyn tiberius::ToSql),
    }
}

fn is_long(value: &Loaded<'_>) -> bool {
    match value {
        Loaded::Text(Some(text)) => text.len() > MOST_BYTES / 2 && text.encode_utf16().count() * 2 > MOST_BYTES,
        Loaded::Bytes(Some(bytes)) => bytes.len() > MOST_BYTES,
        _ => false,
    }
}

/// How often one gateway may name another.
const MOST_ROUTES: usize = 3;

fn texts(row: Row) -> Vec<Text> {
    row.into_iter().map(text).collect()
}

/// A value as text. Most are read as texts already, but for what the server has no exact words for, and for bytes.
fn text(value: ColumnData<'static>) -> Text {
    let text = match value {
        ColumnData::String(text) => return text.map(|text| text.as_ref().into()),
        ColumnData::F64(number) => number.map(|number| number.to_string()),
        ColumnData::F32(number) => number.map(|number| number.to_string()),
        ColumnData::U8(number) => number.map(|number| number.to_string()),
        ColumnData::I16(number) => number.map(|number| number.to_string()),
        ColumnData::I32(number) => number.map(|number| number.to_string()),
        ColumnData::I64(number) => number.map(|number| number.to_string()),
        ColumnData::Bit(bit) => bit.map(|bit| i32::from(bit).to_string()),
        ColumnData::Binary(bytes) => bytes.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        ColumnData::Numeric(number) => number.map(|number| decimal(number.value(), number.scale().into())),
        ColumnData::Guid(uuid) => uuid.map(|uuid| uuid.to_string()),
        _ => None,
    };
    text.map(Into::into)
}

fn decimal(value: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at_checked(digits.len() - scale).unwrap_or((&digits, ""));
    let sign = if value < 0 { "-" } else { "" };
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

/// What a failure of a statement means. Whatever the server did not say itself leaves the connection unfit.
fn failure(error: &tiberius::error::Error) -> Failure {
    use tiberius::error::Error;
    match error {
        Error::Server(said) => {
            Failure::new(classify(said.code(), said.class(), said.message()), said.message().to_owned())
        }
        Error::BulkInput(why) | Error::Encoding(why) | Error::Conversion(why) => {
            Failure::new(Class::Bug, why.to_string())
        }
        other => unreachable(other),
    }
}

/// A server that dies or starts answers with anything at all.
fn unreachable(error: &tiberius::error::Error) -> Failure {
    Failure::new(Class::Unreachable, error.to_string())
}

fn while_connecting(error: &tiberius::error::Error) -> Failure {
    use std::io::ErrorKind;
    use tiberius::error::Error;
    match error {
        Error::Server(_) => failure(error),
        // The driver goes on about its own functions.
        Error::Tls(why) => {
            let why = why.split(" To connect anyway").next().unwrap_or(why);
            Failure::new(Class::Insecure, why.to_owned())
        }
        // A file of authorities without any, or no authorities at all.
        Error::Io { kind: ErrorKind::InvalidData | ErrorKind::NotFound | ErrorKind::InvalidInput, message } => {
            Failure::new(Class::Insecure, message.clone())
        }
        Error::Protocol(why) if why.contains("encryption level") => {
            Failure::new(Class::Insecure, "the server does not encrypt its connections")
        }
        other => unreachable(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_with_all_their_digits() {
        for (value, scale, expected) in [(77, 0, "77"), (-1, 2, "-0.01"), (1234, 2, "12.34"), (0, 3, "0.000")] {
            assert_eq!(decimal(value, scale), expected);
        }
    }

    #[test]
    fn a_failed_connection_says_what_to_look_at() {
        use std::io::ErrorKind;
        use tiberius::error::Error;
        let io = |kind| Error::Io { kind, message: "m".to_owned() };
        let cases = [
            (
                Error::Tls("bad certificate: UnknownIssuer. To connect anyway you can: (1) trust_cert".into()),
                Class::Insecure,
            ),
            (io(ErrorKind::NotFound), Class::Insecure),
            (io(ErrorKind::ConnectionReset), Class::Unreachable),
            (Error::Protocol("Server does not allow the requested encryption level.".into()), Class::Insecure),
            (Error::Protocol("garbage".into()), Class::Unreachable),
            (Error::Utf16, Class::Unreachable),
        ];
        for (error, class) in cases {
            let failure = while_connecting(&error);
            assert_eq!(failure.class, class, "{error}");
            assert!(!failure.message.contains("trust_cert"), "{}", failure.message);
        }
    }
}
