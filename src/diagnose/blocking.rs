//! Lock queues: the roots of the blocking graph, over time.

use std::collections::BTreeMap;

use super::statements::normalise;
use crate::record::{BlockingRoot, Sample, Stamped};
use crate::scenario::VariantName;

/// Two polls of the graph further apart than this are of two queues; while a queue lasts, the monitor polls each second.
const GAP_S: f64 = 2.5;

/// Time that the last poll of a queue stands for: half of the time until the next one that found none.
const LAST_LOOK_S: f64 = 0.5;

/// Activity of the root of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RootState {
    /// Nothing: it sat idle in its transaction.
    Idle,
    /// It had no transaction: what it holds, it holds for the session, as an advisory lock.
    NoTransaction,
    /// It ran a statement.
    Active,
    /// It had no session: a prepared transaction.
    Prepared,
}

/// Sessions that waited behind roots with one last statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WaitQueue {
    pub(super) state: RootState,
    /// Normalised; empty for a prepared transaction.
    pub(super) statement: String,
    pub(super) application_name: Option<String>,
    /// Session seconds of those that waited behind it.
    pub(super) blocked_s: f64,
    /// Most of them at one time.
    pub(super) most: u32,
    /// The oldest that its transaction was seen.
    pub(super) oldest_s: f64,
    /// Polls that saw it.
    pub(super) polls: u32,
}

/// All roots from `from_s` to `to_s`, most waiting behind them first. `samples` ascending in time.
pub(super) fn roots(samples: &[Stamped], from_s: f64, to_s: f64, of: VariantName) -> Vec<WaitQueue> {
    let wanted = |stamped: &&Stamped| stamped.variant == of && (from_s..=to_s).contains(&stamped.at_s);
    let polls: Vec<_> = samples
        .iter()
        .filter(wanted)
        .filter_map(|stamped| match &stamped.sample {
            Sample::Blocking(blocking) => Some((stamped.at_s, blocking)),
            _ => None,
        })
        .collect();
    let mut found = BTreeMap::<(RootState, String), WaitQueue>::new();
    for (index, (at_s, blocking)) in polls.iter().enumerate() {
        let until_next = polls.get(index + 1).map_or(f64::INFINITY, |(next_s, _)| next_s - at_s);
        let lasts_s = if until_next < GAP_S { until_next } else { LAST_LOOK_S };
        // Who is gone between two questions, and a process without a state, says nothing of itself.
        for root in blocking.roots.iter().filter(|root| root.state.is_some() || root.pid == 0) {
            let state = state_of(root);
            // The last statement of a session without a transaction is anybody's who had it before.
            let last = root.statement.as_deref().filter(|_| state != RootState::NoTransaction);
            let statement = normalise(last.unwrap_or_default());
            let known = found.entry((state, statement.clone())).or_insert_with(|| WaitQueue {
                state,
                statement,
                application_name: root.application_name.clone().filter(|name| !name.is_empty()),
                blocked_s: 0.0,
                most: 0,
                oldest_s: 0.0,
                polls: 0,
            });
            known.blocked_s += f64::from(root.blocked) * lasts_s;
            known.most = known.most.max(root.blocked);
            known.oldest_s = known.oldest_s.max(root.age_s.unwrap_or(0.0));
            known.polls += 1;
        }
    }
    let mut roots: Vec<WaitQueue> = found.into_values().collect();
    roots.sort_by(|a, b| b.blocked_s.total_cmp(&a.blocked_s));
    roots
}

fn state_of(root: &BlockingRoot) -> RootState {
    match root.state.as_deref() {
        None => RootState::Prepared,
        Some(state) if state.starts_with("idle in transaction") => RootState::Idle,
        Some("idle") => RootState::NoTransaction,
        Some(_) => RootState::Active,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::BlockingSample;

    fn poll(at_s: f64, state: Option<&str>, statement: &str, blocked: u32) -> Stamped {
        let root = BlockingRoot {
            pid: if state.is_some() { 7 } else { 0 },
            state: state.map(str::to_owned),
            statement: state.map(|_| statement.to_owned()),
            application_name: state.map(|_| "gw-1".to_owned()),
            age_s: state.map(|_| at_s),
            blocked,
        };
        let sample = Sample::Blocking(BlockingSample { roots: vec![root], waiting: blocked });
        Stamped { variant: VariantName::HELD, at_s, sample }
    }

    #[test]
    fn who_makes_the_most_wait_comes_first() {
        let samples = [
            poll(1.0, Some("idle in transaction"), "UPDATE t SET n = 1 WHERE id = 5", 10),
            poll(2.0, Some("idle in transaction"), "UPDATE t SET n = 2 WHERE id = 6", 20),
            poll(4.0, Some("active"), "VACUUM t", 4),
            poll(7.0, None, "", 1),
            poll(9.0, Some("active"), "VACUUM t", 400),
        ];
        let roots = roots(&samples, 0.0, 8.0, VariantName::HELD);
        let seen: Vec<_> = roots.iter().map(|it| (it.state, it.statement.as_str(), it.most, it.polls)).collect();
        assert_eq!(
            seen,
            [
                (RootState::Idle, "UPDATE t SET n = ? WHERE id = ?", 20, 2),
                (RootState::Active, "VACUUM t", 4, 1),
                (RootState::Prepared, "", 1, 1),
            ]
        );
        // 10 for 1 s, then 20 for 2 s; the last poll of a queue counts for half a second.
        assert!((roots[0].blocked_s - 50.0).abs() < 1e-9, "{roots:?}");
        assert!((roots[1].blocked_s - 2.0).abs() < 1e-9, "{roots:?}");
        assert!((roots[0].oldest_s - 2.0).abs() < 1e-9);
    }
}
