//! A database that was watched: no load is known, so statements and applications are named, and routes only where the
//! application writes them into its statements.

use super::findings::{FEWEST_POLLS, WATCHED};
use super::observations::Observations;
use super::statements::StatementHold;
use super::timeline::TimelineRow;
use super::titles::{percent, seconds};
use super::{Finding, FindingKind, mechanism, server};

/// A statement that holds fewer sessions at the mean, for a shorter time than the next, is how any application works.
const HELD: f64 = 1.0;
const LONG_S: f64 = 10.0;

/// Share of the breakdowns below which something seen is an accident.
const LASTS: f64 = 0.2;

/// Statements that are named, at most.
const NAMED: usize = 5;

pub(super) fn findings(seen: &Observations<'_>) -> Vec<Finding> {
    let polls = seen.timeline.rows.len();
    if polls < FEWEST_POLLS {
        let title = format!("Cannot tell: there are {polls} polls of the database, and {FEWEST_POLLS} are needed.");
        return vec![Finding::new(FindingKind::CannotTell, None, 1.0, title).with(
            "summary.polls",
            polls as f64,
            "polls",
        )];
    }
    let mut findings: Vec<Finding> = seen.statements.iter().filter_map(|hold| held(seen, hold)).take(NAMED).collect();
    findings.extend(mechanism::convoy(seen));
    findings.extend(mechanism::slow(seen));
    findings.extend(mechanism::pool(seen, &findings));
    findings.extend(mechanism::pgbouncer(seen));
    findings.extend(server::forgotten(seen));
    findings.extend(server::errors(seen));
    let watched = seen.share_watched();
    if watched < WATCHED {
        let title = format!("Cannot tell the whole: the database was seen for {} of the time.", percent(watched));
        let text = "share of the time without a gap between polls";
        findings.push(Finding::new(FindingKind::CannotTell, None, 1.0, title).with("samples.activity", watched, text));
    }
    if findings.is_empty() {
        findings.push(nothing_held(seen));
    }
    findings
}

/// Sessions that stay idle in transaction after a statement.
fn held(seen: &Observations<'_>, hold: &StatementHold) -> Option<Finding> {
    let breakdowns = hold.series.len().max(1) as f64;
    let mean = hold.series.iter().map(|(_, sessions)| sessions).sum::<f64>() / breakdowns;
    let lasting = hold.series.iter().filter(|(_, sessions)| *sessions > 0.0).count() as f64 / breakdowns;
    if (mean < HELD && hold.oldest_s < LONG_S) || lasting < LASTS {
        return None;
    }
    let of = hold.application_name.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
    let title = format!(
        "Sessions{of} stay idle in transaction after one statement: {mean:.1} at the mean, up to {} old, {} of all idle-in-transaction time. \
         The load is not known, so no route is named.",
        seconds(hold.oldest_s),
        percent(hold.share),
    );
    let found = Finding {
        route: seen.route_of(&hold.statement),
        share: Some(hold.share),
        statement: Some(hold.statement.clone()),
        application_name: hold.application_name.clone(),
        harm_s: hold.share * seen.idle_s(),
        ..Finding::new(FindingKind::HeldSession, None, 0.9, title)
    };
    Some(found.with("samples.breakdown", mean, "sessions idle in transaction after it, at the mean").with(
        "samples.breakdown",
        hold.oldest_s,
        "the oldest of their transactions in seconds",
    ))
}

/// Nobody is named: because nobody holds, or because nothing went on.
fn nothing_held(seen: &Observations<'_>) -> Finding {
    let idle = seen.timeline.mean(TimelineRow::idle).unwrap_or(0.0);
    let open = |row: &TimelineRow| row.activity.oldest_transaction_s.is_some() || row.activity.active > 0;
    let busy = seen.timeline.rows.iter().filter(|row| open(row)).count();
    let polls = seen.timeline.rows.len() as f64;
    let finding = if busy == 0 {
        let title = "Cannot tell: no session did anything while the database was watched.".to_owned();
        Finding::new(FindingKind::CannotTell, None, 1.0, title)
    } else if idle >= HELD {
        let title = format!("Inconclusive: no statement accounts for {idle:.1} held sessions (mean).");
        Finding::new(FindingKind::CannotTell, None, 0.8, title)
    } else {
        let title = format!(
            "Nobody holds a session for long: {idle:.1} sessions are idle in transaction at the mean. What the load was is not \
             known."
        );
        Finding::new(FindingKind::Healthy, None, 0.7, title)
    };
    finding.with("samples.activity", idle, "sessions idle in transaction at the mean").with(
        "samples.activity",
        busy as f64 / polls,
        "share of the polls with a transaction",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::{Case, diagnose};
    use crate::record::{
        ActivitySample, BreakdownSample, GeneratorRecord, HoldGroup, Machine, Outcome, Phases, RunRecord, Sample,
        Stamped, Summary, VariantRecord,
    };
    use crate::scenario::{Experiment, VariantName, Watched};
    use crate::texts::PatternCounts;
    use crate::units::Span;

    fn record(variant: VariantName) -> RunRecord {
        let watched = Watched {
            name: "incident".to_owned(),
            title: "watching".to_owned(),
            watched: "postgresql://me@db/app".to_owned(),
            variant,
            interval: Span::from_millis(100),
            pool_capacity: None,
            pools: 0,
        };
        let machine = Machine { os: String::new(), arch: String::new(), cores: None, cpu: None, id: None };
        let measured = VariantRecord {
            postgres_version: "15.18".to_owned(),
            pgbouncer_version: None,
            complete: true,
            startup_s: 0.0,
            phases: Phases { steady_from_s: 0.0, steady_to_s: 10.0, ended_s: 10.0 },
            summary: Summary::default(),
            routes: Vec::new(),
            errors: Vec::new(),
            sessions_lost: None,
            generator: GeneratorRecord::default(),
            latency_distribution: Vec::new(),
            scan: None,
            sessions_elsewhere: Vec::new(),
            software: None,
            machine_load: None,
            monitor: None,
        };
        RunRecord {
            format: crate::record::Format::default(),
            tool_version: String::new(),
            started_unix_s: 0.0,
            outcome: Outcome::Finished,
            scenario: Experiment::Watched(watched),
            machine,
            variants: std::collections::BTreeMap::from([(variant, measured)]),
        }
    }

    /// Ten seconds with so many sessions idle in transaction after a statement, and one session active.
    fn diagnosed(idle: u32, active: u32, polls: u32) -> Vec<Finding> {
        let groups = [("SELECT * FROM user_roles WHERE id = 7", "gw-1", idle)];
        diagnosed_with(&groups, active, polls, &PatternCounts::default())
    }

    /// The same with groups of (statement, application, sessions), and with texts of logs.
    fn diagnosed_with(held: &[(&str, &str, u32)], active: u32, polls: u32, logs: &PatternCounts) -> Vec<Finding> {
        let variant: VariantName = "watched".parse().unwrap();
        let record = record(variant);
        let idle = held.iter().map(|(_, _, sessions)| sessions).sum::<u32>();
        let mut samples = Vec::new();
        for poll in 0..polls {
            let at_s = f64::from(poll) * 0.1;
            let activity = ActivitySample {
                sessions: 20,
                active,
                idle_in_transaction: idle,
                oldest_transaction_s: (idle > 0).then_some(at_s),
                ..ActivitySample::default()
            };
            samples.push(Stamped { variant, at_s, sample: Sample::Activity(activity) });
            if poll % 10 == 0 {
                let group = |(statement, application, sessions): &(&str, &str, u32)| HoldGroup {
                    statement: (*statement).to_owned(),
                    application_name: (*application).to_owned(),
                    sessions: *sessions,
                    oldest_s: at_s,
                    idle_s: None,
                    earlier: false,
                };
                let groups = held.iter().filter(|it| it.2 > 0).map(group).collect();
                let breakdown = BreakdownSample { groups, left_out_s: None };
                samples.push(Stamped { variant, at_s, sample: Sample::Breakdown(breakdown) });
            }
        }
        diagnose(Case::of(&record, variant, &samples, logs).unwrap())
    }

    #[test]
    fn the_statement_and_its_application_are_named_without_any_load() {
        let findings = diagnosed(4, 1, 100);
        assert_eq!((findings.len(), findings[0].kind), (1, FindingKind::HeldSession), "{findings:#?}");
        assert_eq!(findings[0].statement.as_deref(), Some("SELECT * FROM user_roles WHERE id = ?"));
        assert_eq!(findings[0].application_name.as_deref(), Some("gw-1"));
        assert_eq!((findings[0].route.as_ref(), findings[0].share), (None, Some(1.0)));
    }

    #[test]
    fn each_statement_has_the_route_that_the_application_names_beside_it() {
        let groups = [
            ("SELECT 1 FROM orders /*route='%2Forders'*/", "shop", 5),
            ("SELECT 1 FROM carts /*route='%2Fcarts'*/", "shop", 4),
            ("SELECT 1 FROM reports", "GET /reports", 2),
            ("SELECT 1 FROM nothing", "psql", 1),
        ];
        let findings = diagnosed_with(&groups, 1, 100, &PatternCounts::default());
        let routes: Vec<_> = findings.iter().map(|it| it.route.as_deref()).collect();
        assert_eq!(routes, [Some("/orders"), Some("/carts"), Some("GET /reports"), None], "{findings:#?}");
    }

    #[test]
    fn nothing_is_healthy_of_which_a_log_tells_errors() {
        for (text, kind) in [
            (
                "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00",
                FindingKind::PoolExhausted,
            ),
            ("FATAL:  sorry, too many clients already", FindingKind::ServerError),
            ("FATAL:  terminating connection due to idle-in-transaction timeout", FindingKind::ServerError),
            ("FATAL:  terminating connection due to administrator command", FindingKind::ServerError),
            ("ERROR:  canceling statement due to statement timeout", FindingKind::ServerError),
            ("pooler error: query_wait_timeout", FindingKind::PgbouncerTimeout),
        ] {
            let mut logs = PatternCounts::default();
            logs.add(text, 3);
            let findings = diagnosed_with(&[], 1, 100, &logs);
            assert_eq!((findings.len(), findings[0].kind), (1, kind), "{findings:#?}");
            assert!(findings[0].title.contains('3'), "{findings:#?}");
        }
    }

    #[test]
    fn nobody_is_named_where_nobody_holds_or_nothing_was_seen() {
        assert_eq!(diagnosed(0, 1, 100)[0].kind, FindingKind::Healthy);
        assert_eq!(diagnosed(0, 0, 100)[0].kind, FindingKind::CannotTell, "nothing went on");
        assert_eq!(diagnosed(4, 1, 5)[0].kind, FindingKind::CannotTell, "too few polls");
    }
}
