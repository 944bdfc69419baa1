//! The processes that the server's sessions belong to, and which of them serve the target's URLs, where both run on this machine.

use std::collections::HashMap;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::pooler::refuse_pooler;
use super::pooler_process::pooler_at;
use super::remote_guard::{is_loopback, on_loopback};
use super::{RunError, processes};
use crate::database::Database;
use crate::monitor::{self, Elsewhere};
use crate::record::{SessionProcess, SessionsElsewhere};
use crate::scenario::service::BaseUrl;

/// Groups of sessions, each with the process of the target that one of them belongs to. `target_ports`: where it listens;
/// `database_ports`: where the server does.
pub(super) fn attributed(
    groups: Vec<Elsewhere>,
    target_ports: &[u16],
    database_ports: &[u16],
) -> Vec<SessionsElsewhere> {
    let clients = processes::of_clients(&with_poolers(target_ports), database_ports);
    let named = |group: Elsewhere| {
        let process = group.client_ports.iter().find_map(|port| clients.get(port).copied());
        let Elsewhere { database, application_name, user, sessions, client_ports: _ } = group;
        SessionsElsewhere { database, application_name, user, sessions, process }
    };
    groups.into_iter().map(named).collect()
}

/// The sessions of the server that a database is of, by group, each with the process of the service at this URL that has one; no
/// process where the service runs on another machine.
///
/// # Errors
/// When the database cannot be asked.
pub async fn sessions_of(service: &BaseUrl, database: &Database) -> Result<Vec<SessionsElsewhere>, RunError> {
    refuse_pooler(database).await?;
    let groups = monitor::elsewhere(database, None).await?;
    let ports = on_loopback(service.host()).map(|_| service.port());
    Ok(attributed(groups, ports.as_slice(), &database.ports()))
}

/// These ports, and those of the poolers of this machine to which the processes behind them are connected: their sessions are the
/// target's, too.
fn with_poolers(ports: &[u16]) -> Vec<u16> {
    let connections = processes::connections_of(ports).into_iter().map(|(_, address)| address);
    let pooled = connections.filter(|it| is_loopback(it.ip()) && pooler_at(*it).is_some());
    ports.iter().copied().chain(pooled.map(|it| it.port())).collect()
}

/// The processes on this machine that have sessions, looked up once a second on a thread of its own while it lives.
pub(super) struct SessionProcesses {
    known: Arc<Mutex<HashMap<u16, SessionProcess>>>,
    /// Dropped with this: then the thread ends.
    _lives: Sender<()>,
}

/// A pooler between target and server is looked for every so many look-ups, while the target has no session of its own.
const LOOKS_FOR_POOLERS: u32 = 10;

/// Time between two look-ups.
const LOOKED_UP_EVERY: Duration = Duration::from_secs(1);

impl SessionProcesses {
    pub(super) fn watch(target_ports: Vec<u16>, database_ports: Vec<u16>) -> Self {
        let (lives, ended) = channel();
        let known: Arc<Mutex<HashMap<u16, SessionProcess>>> = Arc::default();
        let found = Arc::clone(&known);
        let look = move || {
            let mut serving = target_ports.clone();
            for look in 0_u32.. {
                let clients = processes::with_sessions(&serving, &database_ports);
                if look % LOOKS_FOR_POOLERS == 0 && clients.values().all(|it| !it.serves_target) {
                    serving = with_poolers(&target_ports);
                }
                // A port is kept when its connection is gone: who asks may ask late.
                found.lock().unwrap_or_else(PoisonError::into_inner).extend(clients);
                if ended.recv_timeout(LOOKED_UP_EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        // Without the thread nothing is known.
        let started = std::thread::Builder::new().name("processes".to_owned()).spawn(look);
        started.map_or_else(|error| tracing::debug!("no look-up of processes: {error}"), drop);
        Self { known, _lives: lives }
    }

    /// The process with a session from this port.
    pub(super) fn of(&self, client_port: u16) -> Option<SessionProcess> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&client_port).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_session_belongs_to_the_process_that_listens_at_the_target() {
        use std::net::{TcpListener, TcpStream};
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        let database = TcpListener::bind("127.0.0.1:0").unwrap();
        let session = TcpStream::connect(database.local_addr().unwrap()).unwrap();
        let group = |port| Elsewhere { client_ports: vec![port], sessions: 1, ..Elsewhere::default() };
        let port = session.local_addr().unwrap().port();
        let (at, to) = ([service.local_addr().unwrap().port()], [database.local_addr().unwrap().port()]);
        let own = attributed(vec![group(port), group(1)], &at, &to);
        assert_eq!((own[0].process, own[1].process), (Some(std::process::id()), None));
        let other = attributed(vec![group(port)], &[1], &to);
        assert_eq!(other[0].process, None, "no process listens there");
        assert_eq!(attributed(vec![group(port)], &at, &[1])[0].process, None, "a connection to another server");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_process_with_a_session_is_known_by_its_name_and_does_not_serve_the_target() {
        use std::net::{TcpListener, TcpStream};
        use std::os::fd::OwnedFd;
        use std::os::unix::process::CommandExt;
        use std::process::{Command, Stdio};
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        let database = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, to) = (vec![service.local_addr().unwrap().port()], vec![database.local_addr().unwrap().port()]);
        let session = TcpStream::connect(database.local_addr().unwrap()).unwrap();
        let port = session.local_addr().unwrap().port();
        // The connection goes over to a process of another group.
        let mut other = Command::new("sleep");
        let mut other = other.arg("60").stdin(Stdio::from(OwnedFd::from(session))).process_group(0).spawn().unwrap();
        let known = processes::with_sessions(&at, &to);
        let found = known.get(&port).cloned();
        let child = processes::with_sessions(&[1], &to).get(&port).cloned();
        other.kill().unwrap();
        other.wait().unwrap();
        let found = found.unwrap();
        assert_eq!((found.name.as_str(), found.pid, found.serves_target), ("sleep", other.id(), true), "our child");
        assert!(!child.unwrap().serves_target, "nobody listens there");
    }
}
