//! Findings from the server's own words: sessions that it refused or ended, transactions that nobody is left to end, and sessions
//! that do not count.

use super::observations::Observations;
use super::titles::seconds;
use super::{Evidence, Finding, FindingKind};
use crate::record::{CountersSample, Sample};
use crate::texts::TextKind;

/// A prepared transaction is for the time between two phases of a commit. One that is older has been forgotten.
const FORGOTTEN_S: f64 = 10.0;

/// Texts of the server's errors, and their titles.
const ERRORS: [(TextKind, &str, &str); 10] = [
    (TextKind::TooManyConnections, "53300", "had no connection left: together the pools open more than it allows"),
    (TextKind::IdleInTransactionTimeout, "25P03", "ended sessions that were idle in transaction for too long"),
    (TextKind::TransactionTimeout, "25P04", "ended transactions that took too long"),
    (TextKind::StatementTimeout, "57014", "cancelled statements that took too long, or that somebody gave up"),
    (TextKind::LockTimeout, "55P03", "gave up locks that were not had in time"),
    (TextKind::AdminShutdown, "57P01", "ended sessions because an operator asked for it, or because it was stopped"),
    (
        TextKind::PendingRollback,
        "pending rollback",
        "was used again by sessions that had failed and were not rolled back",
    ),
    (TextKind::LeakSuspected, "leak", "is thought to have sessions that were never given back"),
    (TextKind::HeldLong, "held", "had connections kept for longer than their limit, which came back"),
    (TextKind::ReturnedInTransaction, "open transaction", "got connections back with their transaction open"),
];

/// Those of them that a shorter hold would spare.
const FOLLOW_HOLDS: [TextKind; 6] = [
    TextKind::IdleInTransactionTimeout,
    TextKind::TransactionTimeout,
    TextKind::LockTimeout,
    TextKind::LeakSuspected,
    TextKind::HeldLong,
    TextKind::ReturnedInTransaction,
];

/// Errors of the server, a finding for each kind.
pub(super) fn errors(seen: &Observations<'_>) -> Vec<Finding> {
    let met = |wanted: TextKind| {
        let of_it = seen.texts.iter().filter(|(kind, _, _)| *kind == wanted);
        of_it.max_by_key(|(_, _, reported)| reported.count).map(|(_, library, reported)| (library, reported.count))
    };
    let reported = ERRORS.iter().filter_map(|(kind, code, does)| met(*kind).map(|met| (kind, met, code, does)));
    reported
        .map(|(kind, (library, count), code, does)| {
            let who = if library == "PostgreSQL" { library.to_owned() } else { format!("By {library}, the database") };
            let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
            let title = format!("{who} {does}, {times} ({code}).");
            let finding = Finding::new(FindingKind::ServerError, None, 0.95, title);
            let follows_hold = FOLLOW_HOLDS.contains(kind);
            Finding { harm_s: count as f64, follows_hold, ..finding }.with(
                "errors",
                count as f64,
                format!("errors of this kind from {library}"),
            )
        })
        .collect()
}

/// Prepared transactions that nobody has ended.
pub(super) fn forgotten(seen: &Observations<'_>) -> Option<Finding> {
    let old = |it: &&CountersSample| it.prepared_oldest_s.is_some_and(|age| age >= FORGOTTEN_S);
    let looks: Vec<&CountersSample> = counters(seen).filter(old).collect();
    let oldest_s = looks.iter().filter_map(|it| it.prepared_oldest_s).max_by(f64::total_cmp)?;
    let most = looks.iter().filter_map(|it| it.prepared_transactions).max().unwrap_or(1);
    let (who, they) = if most == 1 {
        ("A prepared transaction is", "it holds its")
    } else {
        ("Prepared transactions are", "they hold their")
    };
    let title = format!("{who} up to {} old: {they} locks until somebody ends each by its name.", seconds(oldest_s));
    let finding = Finding::new(FindingKind::PreparedTransaction, None, 0.95, title);
    Some(
        // The server was asked once a second.
        Finding { harm_s: looks.len() as f64 * f64::from(most), ..finding }
            .with("samples.counters.prepared_oldest_s", oldest_s, "the oldest of them in seconds")
            .with("samples.counters.prepared_transactions", f64::from(most), "most of them at one time"),
    )
}

/// Sessions of the same database that do not count: what they hold is nobody's finding, but worth knowing.
pub(super) fn other_sessions(seen: &Observations<'_>) -> Option<Evidence> {
    let others: Vec<u32> = counters(seen).map(|it| it.others.idle_in_transaction).collect();
    let mean = others.iter().map(|it| f64::from(*it)).sum::<f64>() / others.len().max(1) as f64;
    let text = "sessions idle in transaction, at the mean, of applications or users that do not count";
    let figure = "samples.counters.others.idle_in_transaction".to_owned();
    (mean > 0.0).then(|| Evidence { figure, value: mean, text: text.to_owned() })
}

/// Sessions that were in their transactions before the load began: none of its requests holds them.
pub(super) fn earlier(seen: &Observations<'_>) -> Option<Evidence> {
    let most = seen.earlier();
    let text = "sessions idle in transaction since before the load began, at most: it does not hold them";
    (most > 0.0).then(|| Evidence { figure: "samples.breakdown".to_owned(), value: most, text: text.to_owned() })
}

fn counters<'a>(seen: &Observations<'a>) -> impl Iterator<Item = &'a CountersSample> + use<'a> {
    let (scope, until_s) = (seen.case.scope, seen.case.variant.phases.steady_to_s);
    let own = seen.case.samples.iter().filter(move |it| it.variant == scope && it.at_s <= until_s);
    own.filter_map(|stamped| match &stamped.sample {
        Sample::Counters(counters) => Some(counters),
        _ => None,
    })
}
