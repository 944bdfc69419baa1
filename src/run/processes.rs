//! Processes of this machine: whose connections lead where, and how long they have waited for a core.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, Process, Stat};

use crate::record::SessionProcess;

/// A process with sockets.
struct Owner {
    process: Process,
    stat: Stat,
    sockets: Vec<u64>,
}

/// The local ports of connections to one of `servers` that processes have which listen on one of `ports`, each with its
/// process.
pub(super) fn of_clients(ports: &[u16], servers: &[u16]) -> BTreeMap<u16, u32> {
    let (owners, listening, connected) = (owners(), listening(ports), connected(servers));
    let listeners = owners.iter().filter(|it| it.sockets.iter().any(|inode| listening.contains(inode)));
    let mut clients = BTreeMap::new();
    for owner in listeners {
        let Ok(pid) = u32::try_from(owner.stat.pid) else { continue };
        clients.extend(owner.sockets.iter().filter_map(|inode| connected.get(inode)).map(|port| (*port, pid)));
    }
    clients
}

/// The local ports of all connections to one of `servers`, each with its process.
pub(super) fn with_sessions(ports: &[u16], servers: &[u16]) -> HashMap<u16, SessionProcess> {
    let (owners, listening, connected) = (owners(), listening(ports), connected(servers));
    let serving = serving(&owners, &listening);
    let mut known = HashMap::new();
    for owner in &owners {
        let own: Vec<u16> = owner.sockets.iter().filter_map(|inode| connected.get(inode)).copied().collect();
        if own.is_empty() {
            continue;
        }
        let Ok(pid) = u32::try_from(owner.stat.pid) else { continue };
        let process = SessionProcess { pid, name: name(owner), serves_target: serving.contains(&owner.stat.pid) };
        known.extend(own.into_iter().map(|port| (port, process.clone())));
    }
    known
}

/// The process that is reached at this address: of several, the first that was started.
pub(super) fn listener(address: SocketAddr) -> Option<String> {
    let reached = |it: &TcpNetEntry| {
        let (ip, wanted) = (it.local_address.ip().to_canonical(), address.ip().to_canonical());
        it.state == TcpState::Listen
            && it.local_address.port() == address.port()
            && (ip == wanted || ip.is_unspecified())
    };
    let listening: BTreeSet<u64> = sockets().into_iter().filter(reached).map(|it| it.inode).collect();
    let owners = owners();
    let listeners = owners.iter().filter(|it| it.sockets.iter().any(|inode| listening.contains(inode)));
    listeners.min_by_key(|it| it.stat.starttime).map(name)
}

/// Where the processes that serve one of `ports` have connections to, each once, with a process that has one.
pub(super) fn connections_of(ports: &[u16]) -> Vec<(SessionProcess, SocketAddr)> {
    let (owners, listening) = (owners(), listening(ports));
    let serving = serving(&owners, &listening);
    let leads_out = |it: &TcpNetEntry| it.state == TcpState::Established && !ports.contains(&it.local_address.port());
    let remotes: HashMap<u64, SocketAddr> =
        sockets().into_iter().filter(leads_out).map(|it| (it.inode, it.remote_address)).collect();
    let mut found: Vec<(SessionProcess, SocketAddr)> = Vec::new();
    for owner in owners.iter().filter(|it| serving.contains(&it.stat.pid)) {
        let Ok(pid) = u32::try_from(owner.stat.pid) else { continue };
        for remote in owner.sockets.iter().filter_map(|inode| remotes.get(inode)) {
            if found.iter().all(|(_, known)| known != remote) {
                found.push((SessionProcess { pid, name: name(owner), serves_target: true }, *remote));
            }
        }
    }
    found
}

/// The processes that serve these sockets: those that listen, and those below them. A process group is no sign: a script's
/// service, jobs and load may all be in one.
fn serving(owners: &[Owner], listening: &BTreeSet<u64>) -> BTreeSet<i32> {
    let listens = |it: &&Owner| it.sockets.iter().any(|inode| listening.contains(inode));
    let pids: BTreeSet<i32> = owners.iter().filter(listens).map(|it| it.stat.pid).collect();
    let parents: HashMap<i32, i32> = owners.iter().map(|it| (it.stat.pid, it.stat.ppid)).collect();
    let is_below = |pid: i32| {
        let above = std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
        above.take(64).any(|pid| pids.contains(&pid))
    };
    owners.iter().map(|it| it.stat.pid).filter(|pid| is_below(*pid)).collect()
}

/// Nanoseconds that their threads have waited for a core: of each process that serves one of `ports`, and of each backend of a
/// PostgreSQL server.
pub(super) fn waited_for_cpu(ports: &[u16]) -> (HashMap<i32, u64>, HashMap<i32, u64>) {
    let owners = owners();
    let serving = serving(&owners, &listening(ports));
    let of_target = owners.iter().filter(|it| serving.contains(&it.stat.pid));
    let target = of_target.filter_map(|it| Some((it.stat.pid, waited_ns(&it.process)?))).collect();
    // Another user's process shows no sockets, but its times.
    let backend = |process: Process| {
        let stat = process.stat().ok().filter(|stat| stat.comm == "postgres")?;
        Some((stat.pid, waited_ns(&process)?))
    };
    (target, procfs::process::all_processes().into_iter().flatten().flatten().filter_map(backend).collect())
}

fn waited_ns(process: &Process) -> Option<u64> {
    let threads = process.tasks().ok()?.flatten();
    threads.filter_map(|thread| thread.schedstat().ok()).map(|it| it.run_delay).reduce(|all, one| all + one)
}

/// The program, and its first argument that is a file: `python3 worker.py`.
fn name(owner: &Owner) -> String {
    let words = owner.process.cmdline().unwrap_or_default();
    let folder = owner.process.cwd().unwrap_or_default();
    let script = words.iter().skip(1).find(|word| !word.starts_with('-')).filter(|word| folder.join(word).is_file());
    let file = |word: &String| std::path::Path::new(word).file_name().map(|it| it.to_string_lossy().into_owned());
    match script.and_then(file).filter(|script| *script != owner.stat.comm) {
        Some(script) => format!("{} {script}", owner.stat.comm),
        None => owner.stat.comm.clone(),
    }
}

fn sockets() -> Vec<TcpNetEntry> {
    [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten().collect()
}

/// Sockets that listen on one of these ports.
fn listening(ports: &[u16]) -> BTreeSet<u64> {
    let listens = |it: &TcpNetEntry| it.state == TcpState::Listen && ports.contains(&it.local_address.port());
    sockets().into_iter().filter(listens).map(|it| it.inode).collect()
}

/// Local ports of connections to one of `servers`, by their sockets.
fn connected(servers: &[u16]) -> HashMap<u64, u16> {
    let is_session =
        |it: &TcpNetEntry| it.state == TcpState::Established && servers.contains(&it.remote_address.port());
    sockets().into_iter().filter(is_session).map(|it| (it.inode, it.local_address.port())).collect()
}

/// All processes that are ours to look at.
fn owners() -> Vec<Owner> {
    let owner = |process: Process| {
        let of = |it: procfs::process::FDInfo| match it.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        };
        let sockets = process.fd().ok()?.flatten().filter_map(of).collect();
        Some(Owner { stat: process.stat().ok()?, sockets, process })
    };
    procfs::process::all_processes().into_iter().flatten().flatten().filter_map(owner).collect()
}
