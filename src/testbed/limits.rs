//! File descriptors: thousands of users want thousands of sockets, and the usual soft limit is 1024.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

#[derive(Debug, thiserror::Error)]
#[error("{who} need {needed} file descriptors, the limit is {allowed}")]
pub struct DescriptorError {
    /// Users of the descriptors, and their number: `4000 users`.
    pub who: String,
    /// Descriptors that they need.
    pub needed: u64,
    /// The hard limit of this process.
    pub allowed: u64,
}

impl DescriptorError {
    /// The command that raises the limit.
    pub fn hint(&self) -> String {
        format!("raise it with `ulimit -n {}` (as root, or in /etc/security/limits.conf)", self.needed)
    }
}

/// Descriptors beside the users' sockets: files, pipes, probes, the monitor, event loops.
const OTHERS: u64 = 256;

/// Raises the soft limit for this process, and so for its children, to what `users` need, or to the hard limit.
///
/// # Errors
/// [`DescriptorError`] when the hard limit is too low.
pub fn raise_descriptor_limit(users: u32) -> Result<(), DescriptorError> {
    // Twice the users: a socket that timed out lingers while its successor is already open.
    raise_to(u64::from(users) * 2 + OTHERS, || format!("{users} users"))
}

/// The same for an open workload, which has no users.
///
/// # Errors
/// As [`raise_descriptor_limit`].
pub fn raise_for_requests(in_flight: u32) -> Result<(), DescriptorError> {
    raise_to(u64::from(in_flight) * 2 + OTHERS, || format!("{in_flight} requests in flight"))
}

/// The same for `PgBouncer`, which would otherwise take fewer clients than it is set to, and say so in its log only.
///
/// # Errors
/// As [`raise_descriptor_limit`].
pub fn raise_for_pgbouncer(clients: u32, servers: u32) -> Result<(), DescriptorError> {
    raise_to(u64::from(clients) + u64::from(servers) + OTHERS, || format!("{clients} clients of PgBouncer"))
}

fn raise_to(needed: u64, who: impl Fn() -> String) -> Result<(), DescriptorError> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    if needed > hard {
        return Err(DescriptorError { who: who(), needed, allowed: hard });
    }
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() && soft < needed {
        return Err(DescriptorError { who: who(), needed, allowed: soft });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_users_than_descriptors_is_one_clear_error_with_its_cure() {
        let error = raise_descriptor_limit(u32::MAX).expect_err("no system allows thousands of millions");
        assert!(error.to_string().contains("file descriptors, the limit is"), "{error}");
        assert!(error.hint().contains("ulimit -n"), "{}", error.hint());
    }
}
