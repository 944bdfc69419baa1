//! Databases with orders, for services of the tests' own.

use tokio_postgres::NoTls;

use crate::support::postgres::cluster;

/// Makes a database of this name with a thousand orders; gives its URL.
pub(crate) async fn database(name: &str) -> String {
    let (cluster, config) = (cluster().await, cluster().await.config());
    let execute = async |database: &str, statements: &str| {
        let mut config = config.clone();
        config.dbname(database);
        let (client, connection) = config.connect(NoTls).await.expect("a connection");
        let server = tokio::spawn(connection);
        client.batch_execute(statements).await.expect("an answer");
        drop(client);
        server.await.expect("it ends").expect("in peace");
    };
    execute("postgres", &format!("CREATE DATABASE {name}")).await;
    let rows = "CREATE TABLE orders (id int PRIMARY KEY, town text); \
                INSERT INTO orders SELECT i, 'town ' || i FROM generate_series(1, 1000) AS i";
    execute(name, rows).await;
    let socket = cluster.socket_dir().display().to_string().replace('/', "%2F");
    format!("postgresql://{}@/{name}?host={socket}&port={}", config.get_user().expect("a user"), cluster.port())
}
