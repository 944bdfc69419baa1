//! Which of the server's sessions belong to the processes that serve the target's URLs, where both run on this machine.

use crate::database::Database;
use crate::monitor::Elsewhere;
use crate::record::SessionsElsewhere;

/// Groups of sessions, each with the process of the target that one of them belongs to. `target_ports`: where it listens;
/// `database_ports`: where the server does.
pub(super) fn attributed(
    groups: Vec<Elsewhere>,
    target_ports: &[u16],
    database_ports: &[u16],
) -> Vec<SessionsElsewhere> {
    let clients = processes::of_clients(target_ports, database_ports);
    let named = |group: Elsewhere| {
        let process = group.client_ports.iter().find_map(|port| clients.get(port).copied());
        let Elsewhere { database, application_name, user, sessions, client_ports: _ } = group;
        SessionsElsewhere { database, application_name, user, sessions, process }
    };
    groups.into_iter().map(named).collect()
}

/// The ports at which a database is reached.
pub(super) fn database_ports(database: &Database) -> Vec<u16> {
    match database.config().get_ports() {
        [] => vec![5432],
        ports => ports.to_vec(),
    }
}

#[cfg(target_os = "linux")]
mod processes {
    use std::collections::{BTreeMap, BTreeSet, HashMap};

    use procfs::net::{TcpNetEntry, TcpState};
    use procfs::process::{FDTarget, Process};

    /// The local ports of connections to one of `servers` that processes have which listen on one of `ports`, each with its
    /// process.
    pub(super) fn of_clients(ports: &[u16], servers: &[u16]) -> BTreeMap<u16, u32> {
        let sockets: Vec<TcpNetEntry> =
            [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten().collect();
        let listens = |it: &&TcpNetEntry| it.state == TcpState::Listen && ports.contains(&it.local_address.port());
        let listening: BTreeSet<u64> = sockets.iter().filter(listens).map(|it| it.inode).collect();
        let connected: HashMap<u64, u16> = sockets
            .iter()
            .filter(|it| it.state == TcpState::Established && servers.contains(&it.remote_address.port()))
            .map(|it| (it.inode, it.local_address.port()))
            .collect();
        let mut clients = BTreeMap::new();
        let processes = procfs::process::all_processes().into_iter().flatten().flatten();
        for (pid, inodes) in processes.filter_map(|process| sockets_of(&process)) {
            if inodes.iter().any(|inode| listening.contains(inode)) {
                clients.extend(inodes.iter().filter_map(|inode| Some((*connected.get(inode)?, pid))));
            }
        }
        clients
    }

    /// The sockets of a process; `None` of one that is not ours to look at.
    fn sockets_of(process: &Process) -> Option<(u32, Vec<u64>)> {
        let sockets = process.fd().ok()?.flatten().filter_map(|it| match it.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        });
        Some((u32::try_from(process.pid()).ok()?, sockets.collect()))
    }
}

#[cfg(not(target_os = "linux"))]
mod processes {
    use std::collections::BTreeMap;

    /// Unknown on this system.
    pub(super) fn of_clients(_ports: &[u16], _servers: &[u16]) -> BTreeMap<u16, u32> {
        BTreeMap::new()
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
}
