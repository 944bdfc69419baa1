//! One connection to PostgreSQL, driven by the calling thread or by the worker's event loop.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join;
use socket2::Socket;
use tokio_postgres::error::Severity;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row, Statement};

use super::DbError;
use super::polled::{PolledSocket, SocketWait, drive, polled};
use crate::settings::{Checkout, DatabaseHost, DatabaseRoute, DatabaseSettings};

/// Parameters of a statement.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

type PolledConnection = tokio_postgres::Connection<PolledSocket, tokio_postgres::tls::NoTlsStream>;

/// Position of a statement: it begins its transaction or is inside one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// `BEGIN` goes in the same packet, as psycopg sends it with the first statement.
    First,
    /// The transaction is open.
    No,
}

/// Connection settings of a session called `application_name`.
pub(crate) fn config(application_name: &str, settings: &DatabaseSettings) -> Config {
    let mut config = Config::new();
    match &settings.host {
        DatabaseHost::Socket(folder) => config.host_path(folder),
        DatabaseHost::Tcp(host) => config.host(host),
    };
    if let Some(password) = &settings.password {
        config.password(password);
    }
    config.port(settings.port).user(&settings.user).dbname(&settings.dbname).application_name(application_name);
    if settings.route == DatabaseRoute::Direct {
        config.options(format!(
            "-c statement_timeout={} -c idle_in_transaction_session_timeout={}",
            settings.statement_timeout.as_millis(),
            settings.idle_in_transaction_session_timeout.as_millis()
        ));
    }
    config
}

/// Makes connections of one worker.
pub struct Connector {
    config: Config,
    address: Address,
    checkout: Checkout,
    /// Parameter types by statement, where statements are not prepared by name.
    types: Option<Arc<ParameterTypes>>,
}

/// Server address that a thread connects to by itself.
enum Address {
    Socket(PathBuf),
    Tcp(String, u16),
}

impl Address {
    fn of(settings: &DatabaseSettings) -> Self {
        match &settings.host {
            DatabaseHost::Socket(folder) => Self::Socket(folder.join(format!(".s.PGSQL.{}", settings.port))),
            DatabaseHost::Tcp(host) => Self::Tcp(host.clone(), settings.port),
        }
    }

    fn connect(&self) -> io::Result<Socket> {
        match self {
            Self::Socket(path) => UnixStream::connect(path).map(Socket::from),
            Self::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port))?;
                stream.set_nodelay(true)?;
                Ok(Socket::from(stream))
            }
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(formatter),
            Self::Tcp(host, port) => write!(formatter, "{host}:{port}"),
        }
    }
}

impl Connector {
    pub(super) fn new(application_name: &str, settings: &DatabaseSettings, checkout: Checkout) -> Self {
        let types = (settings.route == DatabaseRoute::TransactionPooler).then(Arc::default);
        Self { config: config(application_name, settings), address: Address::of(settings), checkout, types }
    }

    pub(super) async fn connect(&self) -> Result<Connection, DbError> {
        match self.checkout {
            Checkout::Blocking => self.connect_blocking().map(|it| Connection::Blocking(Box::new(it))),
            Checkout::Async => self.connect_async().await.map(|it| Connection::Async(Box::new(it))),
        }
    }

    fn connect_blocking(&self) -> Result<BlockingConnection, DbError> {
        let unreachable = |source: io::Error| DbError::Unreachable { address: self.address.to_string(), source };
        let (socket, wait) = self.address.connect().and_then(polled).map_err(unreachable)?;
        let (client, connection) =
            drive(&wait, &mut None::<PolledConnection>, &mut None, self.config.connect_raw(socket, NoTls))
                .map_err(DbError::connect)?;
        Ok(BlockingConnection { session: self.statements(client), connection: Some(connection), end: None, wait })
    }

    fn statements(&self, client: Client) -> PreparedStatements {
        let known = match &self.types {
            Some(types) => KnownStatement::Types(Arc::clone(types)),
            None => KnownStatement::Prepared(HashMap::new()),
        };
        PreparedStatements { client, known }
    }

    async fn connect_async(&self) -> Result<AsyncConnection, DbError> {
        let (client, connection) = self.config.connect(NoTls).await.map_err(DbError::connect)?;
        let end = Arc::new(Mutex::new(None));
        let ended = Arc::clone(&end);
        // It ends when the client is dropped, that is, with the `AsyncConnection`.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                *ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
        Ok(AsyncConnection { session: self.statements(client), end })
    }
}

pub enum Connection {
    /// The calling thread does the I/O, and its event loop stands still meanwhile.
    Blocking(Box<BlockingConnection>),
    /// The event loop does the I/O, and only the caller waits.
    Async(Box<AsyncConnection>),
}

impl Connection {
    /// Runs one prepared statement and gives its rows.
    pub(super) async fn query(
        &mut self,
        begin: Begin,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, DbError> {
        let result = match self {
            Self::Blocking(it) => it.block_on(begin, sql, params),
            Self::Async(it) => it.session.query(begin, sql, params).await,
        };
        result.map_err(|error| self.explain(error))
    }

    /// Runs `COMMIT`, `ROLLBACK` and the like.
    pub(super) async fn command(&mut self, sql: &'static str) -> Result<(), DbError> {
        let result = match self {
            Self::Blocking(it) => {
                drive(&it.wait, &mut it.connection, &mut it.end, it.session.client.batch_execute(sql))
            }
            Self::Async(it) => it.session.client.batch_execute(sql).await,
        };
        result.map_err(|error| self.explain(error))
    }

    /// True if the server has gone from the other end.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Blocking(it) => it.connection.is_none() || it.session.client.is_closed(),
            Self::Async(it) => it.session.client.is_closed(),
        }
    }

    /// True if `error` was the end of this connection: it is closed, or the server has reported that it closes it and the
    /// end of the stream is yet to be read.
    pub(super) fn is_lost_with(&self, error: &DbError) -> bool {
        self.is_closed() || error.is_fatal()
    }

    /// "Connection closed" helps nobody: when the server reported why it closed, that is the error.
    fn explain(&mut self, error: tokio_postgres::Error) -> DbError {
        let said_why = if error.is_closed() {
            match self {
                Self::Blocking(it) => it.end.take(),
                Self::Async(it) => it.end.lock().unwrap_or_else(PoisonError::into_inner).take(),
            }
        } else {
            None
        };
        DbError::statement(said_why.unwrap_or(error))
    }
}

/// A connection that the calling thread drives.
pub struct BlockingConnection {
    session: PreparedStatements,
    /// `None` once the server has closed it.
    connection: Option<PolledConnection>,
    /// Error that closed it, when the driver reported one.
    end: Option<tokio_postgres::Error>,
    wait: SocketWait,
}

impl BlockingConnection {
    fn block_on(
        &mut self,
        begin: Begin,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        drive(&self.wait, &mut self.connection, &mut self.end, self.session.query(begin, sql, params))
    }
}

/// A connection that the event loop drives.
pub struct AsyncConnection {
    session: PreparedStatements,
    end: Arc<Mutex<Option<tokio_postgres::Error>>>,
}

/// A client, and what it knows of the statements that it repeats.
struct PreparedStatements {
    client: Client,
    known: KnownStatement,
}

enum KnownStatement {
    /// The statements it has prepared by name, since psycopg prepares what it repeats.
    Prepared(HashMap<&'static str, Statement>),
    /// The types of their parameters, with which a statement needs no name.
    Types(Arc<ParameterTypes>),
}

/// The types of statements' parameters, by statement.
type ParameterTypes = Mutex<HashMap<&'static str, Arc<[Type]>>>;

impl PreparedStatements {
    async fn query(
        &mut self,
        begin: Begin,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let Self { client, known } = self;
        let client = &*client;
        let rows = async {
            match known {
                KnownStatement::Prepared(statements) => {
                    let statement = if let Some(known) = statements.get(sql) {
                        known.clone()
                    } else {
                        let prepared = client.prepare(sql).await?;
                        statements.entry(sql).or_insert(prepared).clone()
                    };
                    client.query(&statement, params).await
                }
                KnownStatement::Types(known) => {
                    let types = types_of(client, known, sql, params).await?;
                    let with_types: Vec<_> = params.iter().copied().zip(types.iter().cloned()).collect();
                    client.query_typed(sql, &with_types).await
                }
            }
        };
        match begin {
            Begin::No => rows.await,
            // `join` polls in order, so that `BEGIN` is sent first, and a statement that the server refuses to prepare
            // is refused inside the transaction, as every other one is.
            Begin::First => {
                let (begin, rows) = join(client.batch_execute("BEGIN"), rows).await;
                begin.and(rows)
            }
        }
    }
}

/// The types of a statement's parameters. Anyone who runs it first asks the server, by a name that is given up before the
/// transaction ends: until then the pooler leaves it the same session of the server.
async fn types_of(
    client: &Client,
    types: &ParameterTypes,
    sql: &'static str,
    params: Params<'_>,
) -> Result<Arc<[Type]>, tokio_postgres::Error> {
    if params.is_empty() {
        return Ok(Arc::default());
    }
    let known = types.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
    if let Some(known) = known {
        return Ok(known);
    }
    // Dropped, and so given up, at the end of this statement.
    let asked: Arc<[Type]> = client.prepare(sql).await?.params().into();
    types.lock().unwrap_or_else(PoisonError::into_inner).insert(sql, Arc::clone(&asked));
    Ok(asked)
}

impl DbError {
    fn connect(source: tokio_postgres::Error) -> Self {
        Self::Connect { text: server_text(&source), source }
    }

    fn statement(source: tokio_postgres::Error) -> Self {
        Self::Statement { text: server_text(&source), source }
    }

    /// True if the server ended the session with it.
    fn is_fatal(&self) -> bool {
        let Self::Statement { source, .. } = self else { return false };
        let severity = source.as_db_error().and_then(tokio_postgres::error::DbError::parsed_severity);
        matches!(severity, Some(Severity::Fatal | Severity::Panic))
    }
}

/// The server's own message where there is one.
fn server_text(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned())
}
