//! Settings of a private cluster.

use std::collections::BTreeMap;

use super::pgbouncer::PgBouncerPlan;

/// Settings of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPlan {
    /// `max_connections`; the server keeps `superuser_reserved_connections` (3) of them for superusers.
    pub max_connections: u32,
    /// `shared_buffers`, in megabytes.
    pub shared_buffers_mb: u32,
    /// Further settings by name, which win over those of the testbed.
    pub settings: BTreeMap<String, String>,
    /// The pooler in front of the server.
    pub pgbouncer: Option<PgBouncerPlan>,
}

impl ClusterPlan {
    /// A cluster for this many connections, otherwise with the testbed's settings.
    #[must_use]
    pub fn for_connections(max_connections: u32) -> Self {
        Self { max_connections, shared_buffers_mb: 128, settings: BTreeMap::new(), pgbouncer: None }
    }

    /// All settings of the server, by name.
    pub(super) fn all_settings(&self) -> BTreeMap<String, String> {
        let mut settings: BTreeMap<String, String> =
            TESTBED_SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        settings.insert("max_connections".to_owned(), self.max_connections.to_string());
        settings.insert("shared_buffers".to_owned(), format!("{}MB", self.shared_buffers_mb));
        settings.extend(self.settings.clone());
        settings
    }
}

/// Settings of every private cluster.
const TESTBED_SETTINGS: [(&str, &str); 13] = [
    // Nothing in it outlives the run, so nothing needs to reach the disk.
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    // No checkpoint in the middle of a measurement.
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "1h"),
    // Room for the statement that held a session, which is looked up by its text.
    ("track_activity_query_size", "4096"),
    // Compiling a query in one run and not in the next is noise.
    ("jit", "off"),
    // Only the owner and root: anyone who reaches the socket is superuser.
    ("unix_socket_permissions", "0700"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_checkpoints", "off"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_the_plan_wins_over_the_testbeds() {
        let mut plan = ClusterPlan::for_connections(7);
        plan.settings.insert("fsync".to_owned(), "on".to_owned());
        let settings = plan.all_settings();
        assert_eq!(settings["fsync"], "on");
        assert_eq!(settings["max_connections"], "7");
        assert_eq!(settings["synchronous_commit"], "off");
    }
}
