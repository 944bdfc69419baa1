//! Processes of a system whose processes are not looked up.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use crate::record::SessionProcess;

/// Unknown on this system.
pub(super) fn of_clients(_ports: &[u16], _servers: &[u16]) -> BTreeMap<u16, u32> {
    BTreeMap::new()
}

/// Unknown on this system.
pub(super) fn with_sessions(_ports: &[u16], _servers: &[u16]) -> HashMap<u16, SessionProcess> {
    HashMap::new()
}

/// Unknown on this system.
pub(super) fn connections_of(_ports: &[u16]) -> Vec<(SessionProcess, SocketAddr)> {
    Vec::new()
}

/// Unknown on this system.
pub(super) fn listener(_address: SocketAddr) -> Option<String> {
    None
}

/// Unknown on this system.
pub(super) fn waited_for_cpu(_ports: &[u16]) -> (HashMap<i32, u64>, HashMap<i32, u64>) {
    (HashMap::new(), HashMap::new())
}
