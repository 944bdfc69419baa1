//! The PostgreSQL servers that the target's own processes are connected to, where both run on this machine.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pooler_process::pooler_at;
use super::processes;
use super::remote_guard::is_loopback;
use crate::record::SessionProcess;
use crate::scenario::service::BaseUrl;

/// A server, and a process of the target that is connected to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetDatabase {
    pub address: SocketAddr,
    pub process: SessionProcess,
    /// The pooler between them, and where it listens.
    pub pooler: Option<(String, SocketAddr)>,
}

/// `SSLRequest`, which each PostgreSQL server and pooler answers with one letter: the protocol's documentation, 55.7.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Longest time for that.
const TIMEOUT: Duration = Duration::from_secs(1);

/// PostgreSQL's port, by which a server of another machine is recognised: it is not asked.
const PORT: u16 = 5432;

/// The servers that the processes behind a URL are connected to, also through a pooler of this machine; none where nobody can tell.
pub async fn databases_of(target: &BaseUrl) -> Vec<TargetDatabase> {
    let mut found = Vec::new();
    for (process, address) in servers_behind(&[target.port()]).await {
        let pooler = pooler_at(address).filter(|_| is_loopback(address.ip()));
        let Some(pooler) = pooler else {
            found.push(TargetDatabase { address, process, pooler: None });
            continue;
        };
        for (_, server) in servers_behind(&[address.port()]).await {
            found.push(TargetDatabase {
                address: server,
                process: process.clone(),
                pooler: Some((pooler.clone(), address)),
            });
        }
    }
    found
}

/// What speaks PostgreSQL of that to which the processes are connected which serve these ports.
pub(super) async fn servers_behind(ports: &[u16]) -> Vec<(SessionProcess, SocketAddr)> {
    let mut found = Vec::new();
    for (process, address) in processes::connections_of(ports) {
        let is_server = if is_loopback(address.ip()) {
            matches!(tokio::time::timeout(TIMEOUT, speaks_postgresql(address)).await, Ok(Ok(true)))
        } else {
            address.port() == PORT
        };
        if is_server {
            found.push((process, address));
        }
    }
    found
}

async fn speaks_postgresql(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&SSL_REQUEST).await?;
    Ok(matches!(stream.read_u8().await?, b'S' | b'N'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_answers_as_a_server_does_is_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            for answer in [b"N", b"H"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 8];
                stream.read_exact(&mut asked).await.unwrap();
                stream.write_all(answer).await.unwrap();
            }
        });
        assert!(speaks_postgresql(address).await.unwrap());
        assert!(!speaks_postgresql(address).await.unwrap(), "it speaks HTTP");
        serving.await.unwrap();
        assert!(speaks_postgresql(address).await.is_err());
    }
}
