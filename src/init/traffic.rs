//! Requests that were seen, by route: how often, how they ended, and with which values.

use std::collections::BTreeMap;

use super::known_paths::KnownPaths;
use super::observed_route::ObservedRoute;
use super::paths::split;
use super::words::together;

/// The most routes that are distinguished; more are not templates that anybody wrote.
const MOST_TEMPLATES: usize = 10_000;

/// One request, as it was written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) target: &'a str,
    pub(super) status: u16,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct ObservedTraffic {
    routes: BTreeMap<String, ObservedRoute>,
    /// Those that a document has.
    documented: BTreeMap<String, ObservedRoute>,
    known: KnownPaths,
    /// Requests of routes beyond the most.
    pub(super) beyond: u64,
}

impl ObservedTraffic {
    /// None yet; a document has these paths.
    pub(super) fn with(known: KnownPaths) -> Self {
        Self { known, ..Self::default() }
    }

    /// Counts a request.
    pub(super) fn see(&mut self, request: Request<'_>) {
        let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
        if let Some(split) = self.known.split(request.method, path) {
            let key = format!("{} {}", request.method, split.template);
            return self.documented.entry(key).or_default().see(request.status, &split.values, query);
        }
        let split = split(path);
        let key = format!("{} {}", request.method, split.template);
        if !self.routes.contains_key(&key) && self.routes.len() >= MOST_TEMPLATES {
            self.beyond += 1;
            return;
        }
        self.routes.entry(key).or_default().see(request.status, &split.values, query);
    }

    /// The routes, most frequent first.
    pub(super) fn by_count(self) -> Vec<(String, ObservedRoute)> {
        let mut routes: Vec<(String, ObservedRoute)> =
            together(self.routes).into_iter().chain(self.documented).collect();
        routes.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.count()));
        routes
    }
}
