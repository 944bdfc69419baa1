//! Blocking: chains of sessions that wait for a lock, walked to those that wait for nobody.
//!
//! `pg_blocking_pids` gives a session's predecessors in the queue: of a hundred that wait for one row, only the first
//! waits for the transaction that has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tokio_postgres::{Client, Statement};

use super::activity::ServerText;
use super::clock::ServerTime;
use crate::record::BlockingRoot;
use crate::redact::without_literals;

/// Sessions whose predecessors are asked for: the function stops all locking for a moment.
const WAITERS_MAX: usize = 256;

/// Roots that are reported.
const ROOTS_MAX: usize = 20;

/// $1: pids of waiters.
pub(super) const BLOCKERS: &str = "SELECT pid, pg_blocking_pids(pid) FROM unnest($1::int4[]) AS waits(pid)";

/// $1: roots. Their statement, which the rows tell only of new episodes.
pub(super) const ROOT_DETAILS: &str = "\
SELECT s.pid, s.state, s.query, s.application_name, clock_timestamp(),
       coalesce(s.xact_start, CASE WHEN s.state = 'idle in transaction (aborted)' THEN s.state_change END)
FROM unnest($1::int4[]) AS roots(pid), LATERAL pg_stat_get_activity(roots.pid) AS s";

/// Blockers of each waiter, by pid.
pub(super) type Edges = BTreeMap<i32, Vec<i32>>;

pub(super) struct Walked {
    pub(super) roots: Vec<BlockingRoot>,
    /// The server's clock, to age them by.
    pub(super) since: BTreeMap<i32, (ServerTime, ServerTime)>,
    pub(super) asked: Instant,
}

/// Asks for the predecessors of `waiters`; of none, nothing is asked.
pub(super) async fn edges(
    client: &Client,
    blockers: &Statement,
    waiters: &[i32],
) -> Result<Edges, tokio_postgres::Error> {
    let mut edges = Edges::new();
    if waiters.is_empty() {
        return Ok(edges);
    }
    for row in client.query(blockers, &[&waiters]).await? {
        edges.insert(row.try_get(0)?, row.try_get::<_, Option<_>>(1)?.unwrap_or_default());
    }
    Ok(edges)
}

/// Asks for the predecessors of `waiters`, walks, and asks for details of the roots.
pub(super) async fn walk(
    client: &Client,
    (blockers, details): (&Statement, &Statement),
    waiters: &[i32],
) -> Result<Walked, tokio_postgres::Error> {
    let asked = Instant::now();
    let waiters = &waiters[..waiters.len().min(WAITERS_MAX)];
    let edges = edges(client, blockers, waiters).await?;
    let mut roots: BTreeMap<i32, BlockingRoot> = BTreeMap::new();
    let most = roots_of(&edges);
    for (pid, blocked) in most.iter().take(ROOTS_MAX) {
        roots.insert(*pid, BlockingRoot { pid: *pid, blocked: *blocked, ..BlockingRoot::default() });
    }
    let pids: Vec<i32> = roots.keys().copied().filter(|pid| *pid != 0).collect();
    let mut since = BTreeMap::new();
    for row in client.query(details, &[&pids]).await? {
        let pid: i32 = row.try_get(0)?;
        let Some(root) = roots.get_mut(&pid) else { continue };
        root.state = row.try_get(1)?;
        root.statement = row.try_get::<_, Option<ServerText>>(2)?.map(|it| without_literals(&it.0));
        root.application_name = row.try_get::<_, Option<ServerText>>(3)?.map(|it| it.0);
        if let Some(began) = row.try_get(5)? {
            since.insert(pid, (row.try_get(4)?, began));
        }
    }
    let order = most.into_iter().filter_map(|(pid, _)| roots.remove(&pid)).collect();
    Ok(Walked { roots: order, since, asked })
}

/// Roots: sessions that wait for nobody and that others wait for, with how many wait behind each; most first. In a circle, which
/// the server breaks by itself, there is none.
pub(super) fn roots_of(edges: &Edges) -> Vec<(i32, u32)> {
    let mut behind = BTreeMap::<i32, Vec<i32>>::new();
    for (waiter, blockers) in edges {
        for blocker in blockers {
            behind.entry(*blocker).or_default().push(*waiter);
        }
    }
    let waits = |pid: &i32| edges.get(pid).is_some_and(|blockers| !blockers.is_empty());
    let mut roots: Vec<(i32, u32)> = behind
        .keys()
        .filter(|pid| !waits(pid))
        .map(|root| (*root, u32::try_from(all_behind(*root, &behind)).unwrap_or(u32::MAX)))
        .collect();
    roots.sort_by_key(|(pid, blocked)| (std::cmp::Reverse(*blocked), *pid));
    roots
}

fn all_behind(root: i32, behind: &BTreeMap<i32, Vec<i32>>) -> usize {
    let mut seen = BTreeSet::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        next.extend(behind.get(&pid).into_iter().flatten().copied().filter(|waiter| seen.insert(*waiter)));
    }
    seen.remove(&root);
    seen.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edges(of: &[(i32, &[i32])]) -> Edges {
        of.iter().map(|(waiter, blockers)| (*waiter, blockers.to_vec())).collect()
    }

    #[test]
    fn a_queue_of_three_has_one_root_and_that_is_who_waits_for_nobody() {
        assert_eq!(roots_of(&edges(&[(2, &[1]), (3, &[2]), (4, &[2, 3])])), [(1, 3)]);
    }

    #[test]
    fn two_roots_share_a_waiter_and_a_prepared_transaction_is_one() {
        assert_eq!(roots_of(&edges(&[(2, &[1]), (3, &[2, 9]), (4, &[0])])), [(1, 2), (0, 1), (9, 1)]);
    }

    #[test]
    fn a_circle_has_no_root_and_those_behind_one_end_the_walk() {
        assert_eq!(roots_of(&edges(&[(1, &[2]), (2, &[1]), (3, &[1])])), []);
        assert_eq!(roots_of(&edges(&[(1, &[2]), (2, &[1, 5])])), [(5, 2)]);
        assert_eq!(roots_of(&edges(&[(1, &[1]), (2, &[])])), []);
    }

    proptest! {
        #[test]
        fn every_root_waits_for_nobody_and_blocks_somebody(
            of in prop::collection::btree_map(0..30i32, prop::collection::vec(0..30i32, 0..4), 0..30),
        ) {
            for (root, blocked) in roots_of(&of) {
                prop_assert!(of.get(&root).is_none_or(Vec::is_empty));
                prop_assert!(blocked >= 1 && blocked as usize <= of.len());
            }
        }
    }
}
