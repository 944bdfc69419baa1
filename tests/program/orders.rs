//! Databases with orders, for services of the tests' own.

use tokio_postgres::{Config, NoTls};

use crate::support::postgres::cluster;

/// Makes a database of this name with a thousand orders; gives its URL.
pub(crate) async fn database(name: &str) -> String {
    let (cluster, mut config) = (cluster().await, cluster().await.config());
    execute(config.dbname("postgres"), &format!("CREATE DATABASE {name}")).await;
    fill(config.dbname(name)).await;
    let socket = cluster.socket_dir().display().to_string().replace('/', "%2F");
    format!("postgresql://{}@/{name}?host={socket}&port={}", config.get_user().expect("a user"), cluster.port())
}

/// Puts a thousand orders into a database.
pub(crate) async fn fill(config: &Config) {
    let rows = "CREATE TABLE orders (id int PRIMARY KEY, town text); \
                INSERT INTO orders SELECT i, 'town ' || i FROM generate_series(1, 1000) AS i";
    execute(config, rows).await;
}

async fn execute(config: &Config, statements: &str) {
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    let server = tokio::spawn(connection);
    client.batch_execute(statements).await.expect("an answer");
    drop(client);
    server.await.expect("it ends").expect("in peace");
}
