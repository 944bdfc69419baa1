//! Names and ports of a private cluster.

/// The superuser, of the server and of `PgBouncer`.
pub(super) const SUPERUSER: &str = "postgres";

/// The database that is made in each cluster.
pub const DATABASE: &str = "rbac";

/// The port in the name of the server's socket. Nothing listens on it: the folder alone makes the socket unique.
pub(super) const PORT: u16 = 5432;

/// The number in the name of `PgBouncer`'s socket.
pub(super) const POOLER_PORT: u16 = 6432;

/// The database that is `PgBouncer`'s console.
pub(super) const CONSOLE: &str = "pgbouncer";
