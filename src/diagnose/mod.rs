//! Diagnosis of a run: from a record and its samples to findings, most harmful first.
//!
//! Pure, as everything behind the record. Which route holds is read from the load and the database side by side
//! (`attribute`), from a scan's own verdicts (`scanned`), or, exactly, from the routes that an application writes into its statements (`statements`); which
//! mistake it is, from its fingerprint (`pattern`); what comes of it, from pools, probes and error texts
//! (`mechanism`). `docs/DIAGNOSIS.md` says how sure each of these is.

mod advice;
mod attribute;
#[cfg(test)]
mod background_tests;
mod beginnings;
mod blocking;
pub mod concurrent;
mod findings;
mod gauges;
mod held;
mod interval;
mod mechanism;
mod nnls;
mod observations;
mod outside;
mod pattern;
mod regression;
mod scanned;
mod server;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod simulated_tests;
mod spanning;
mod stack;
mod statements;
mod timeline;
mod titles;
mod watched;
pub mod what_if;

use std::collections::BTreeMap;

use serde::Serialize;

pub use interval::HoldInterval;
pub use pattern::HoldPattern;
pub use statements::normalise;

use crate::record::{RunRecord, ScanRecord, Stamped, VariantRecord};
use crate::scenario::{Experiment, PgBouncer, VariantName};
use crate::texts::PatternCounts;
use observations::Observations;

/// Kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A route holds a session across slow work.
    HeldSession,
    /// Sessions are held in transactions that no request begins: a job's, or another application's.
    HeldOutsideRequests,
    /// Sessions stay in a transaction after their request.
    LeakedSession,
    /// Checkouts gave up waiting for a full pool.
    PoolExhausted,
    /// Nobody holds too long: the pool is too small for the load.
    PoolTooSmall,
    EventLoopBlocked,
    /// Sessions wait for a lock behind an idle holder.
    LockConvoy,
    /// Sessions are busy, not idle.
    SlowQuery,
    /// `PgBouncer` ended sessions or refused them.
    PgbouncerTimeout,
    /// The server refused or ended sessions, or an application says so.
    ServerError,
    /// A prepared transaction that nobody has ended.
    PreparedTransaction,
    Healthy,
    /// The evidence does not suffice.
    CannotTell,
}

/// A figure of the record that a finding rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// Place in the record, such as `summary.pool_timeouts`, or what it is computed from, such as
    /// `samples.activity`.
    pub figure: String,
    pub value: f64,
    pub text: String,
}

/// Most of something, as a share.
const MOSTLY: f64 = 0.5;

/// The finding that another one is an effect of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cause {
    pub kind: FindingKind,
    pub route: Option<String>,
}

/// One thing that is wrong, or a statement that none is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub kind: FindingKind,
    /// Method, path template, JSON-RPC method; `None` when it is about no single route.
    pub route: Option<String>,
    /// The hold pattern, by its id in `docs/HOLD-PATTERNS.md`; `None` when none can be reported.
    pub pattern: Option<HoldPattern>,
    /// Confidence in the pattern, 0–1; `None` without one.
    pub pattern_confidence: Option<f64>,
    /// Idle-in-transaction seconds for each request of the route, with the 95 % interval; `None` when not one finished.
    pub held_s_per_request: Option<HoldInterval>,
    /// Share of all idle-in-transaction time, 0–1.
    pub share: Option<f64>,
    /// The last statement of most of these sessions, values replaced by `?`.
    pub statement: Option<String>,
    /// The application that most of them are of.
    pub application_name: Option<String>,
    /// 0–1.
    pub confidence: f64,
    /// The finding in a sentence.
    pub title: String,
    /// Advice in a sentence.
    pub fix: String,
    /// The same in code, by stack.
    pub fix_by_stack: BTreeMap<&'static str, &'static str>,
    /// The stack of the service, one of these; `None` where nothing shows it.
    pub stack: Option<&'static str>,
    pub evidence: Vec<Evidence>,
    /// What causes it, where it is no second thing that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect_of: Option<Cause>,
    /// Session seconds that it costs, by which findings of a rank are sorted.
    #[serde(skip)]
    harm_s: f64,
    /// True if it goes away with the hold that causes it, where there is one.
    #[serde(skip)]
    follows_hold: bool,
}

impl Cause {
    /// True if it is this finding.
    pub fn is(&self, finding: &Finding) -> bool {
        (self.kind, &self.route) == (finding.kind, &finding.route)
    }
}

impl Finding {
    fn new(kind: FindingKind, pattern: Option<HoldPattern>, confidence: f64, title: String) -> Self {
        Self {
            kind,
            route: None,
            pattern,
            pattern_confidence: None,
            held_s_per_request: None,
            share: None,
            statement: None,
            application_name: None,
            confidence,
            title,
            fix: advice::fix(kind, pattern).to_owned(),
            fix_by_stack: advice::by_stack(kind),
            stack: None,
            evidence: Vec::new(),
            effect_of: None,
            harm_s: 0.0,
            follows_hold: matches!(
                kind,
                FindingKind::PoolExhausted | FindingKind::EventLoopBlocked | FindingKind::PgbouncerTimeout
            ),
        }
    }

    fn with(mut self, figure: impl Into<String>, value: f64, text: impl Into<String>) -> Self {
        self.evidence.push(Evidence { figure: figure.into(), value, text: text.into() });
        self
    }

    /// True if it names something that is wrong.
    pub fn is_trouble(&self) -> bool {
        !matches!(self.kind, FindingKind::Healthy | FindingKind::CannotTell)
    }

    /// Advice in code for the stack that is there; empty where it is not known.
    pub fn fix_in_code(&self) -> Option<&'static str> {
        self.fix_by_stack.get(self.stack?).copied()
    }

    /// Causes before their effects, and what is known before what is not.
    fn rank(&self) -> u8 {
        match self.kind {
            FindingKind::HeldSession
            | FindingKind::HeldOutsideRequests
            | FindingKind::LeakedSession
            | FindingKind::SlowQuery
            | FindingKind::LockConvoy
            | FindingKind::PoolTooSmall
            | FindingKind::PreparedTransaction => 0,
            FindingKind::PoolExhausted
            | FindingKind::EventLoopBlocked
            | FindingKind::PgbouncerTimeout
            | FindingKind::ServerError => 1,
            FindingKind::CannotTell => 2,
            FindingKind::Healthy => 3,
        }
    }
}

/// Input of a diagnosis.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    record: &'a RunRecord,
    scope: VariantName,
    variant: &'a VariantRecord,
    samples: &'a [Stamped],
    texts: &'a PatternCounts,
}

impl<'a> Case<'a> {
    /// One variant of a run; `None` when the run has no such variant. `samples` may hold other variants' too, and must be
    /// ascending in time; `logs` are texts from log files.
    pub fn of(
        record: &'a RunRecord,
        scope: VariantName,
        samples: &'a [Stamped],
        logs: &'a PatternCounts,
    ) -> Option<Self> {
        record.variants.get(&scope).map(|variant| Self { record, scope, variant, samples, texts: logs })
    }

    /// True if nobody knows the load: a database was watched.
    fn is_watched(&self) -> bool {
        matches!(self.record.scenario, Experiment::Watched(_))
    }

    /// Sessions that may be open: as many as the pools allow, or `PgBouncer` behind them; `None` where nobody says.
    fn capacity(&self) -> Option<u32> {
        let pools = self.variant.summary.pool_capacity;
        let pooler = self.record.scenario.gateway().and_then(|it| it.pgbouncer.as_ref());
        pools.into_iter().chain(pooler.map(PgBouncer::server_connections)).min()
    }

    /// The variant.
    pub fn scope(&self) -> VariantName {
        self.scope
    }
}

/// Finds what is wrong: never an empty list. Causes come before effects, the costly before the cheap.
pub fn diagnose(case: Case<'_>) -> Vec<Finding> {
    let seen = Observations::of(case);
    let mut findings = match &case.variant.scan {
        Some(scan) => of_scan(&seen, scan),
        None if case.is_watched() => watched::findings(&seen),
        None => under_load(&seen),
    };
    findings.sort_by(|a, b| a.rank().cmp(&b.rank()).then(b.harm_s.total_cmp(&a.harm_s)));
    joined(&mut findings);
    let stack = stack::of(&seen).map(advice::Stack::name);
    for finding in &mut findings {
        finding.stack = stack.filter(|stack| finding.fix_by_stack.contains_key(stack));
    }
    if let Some(first) = findings.first_mut() {
        first.evidence.extend(server::other_sessions(&seen));
        first.evidence.extend(server::earlier(&seen));
    }
    findings
}

/// Lays effects to the costliest hold of a request. A neighbour's sessions, or a slow statement, fill no pool with idle ones.
fn joined(findings: &mut [Finding]) {
    let holds = |it: &&Finding| {
        matches!(it.kind, FindingKind::HeldSession | FindingKind::LeakedSession) && it.confidence >= SURE_CAUSE
    };
    let Some(cause) = findings.iter().find(holds) else { return };
    let cause = Cause { kind: cause.kind, route: cause.route.clone() };
    for effect in findings.iter_mut().filter(|it| it.follows_hold) {
        effect.effect_of = Some(cause.clone());
    }
}

/// Less sure causes have no effects.
const SURE_CAUSE: f64 = 0.6;

/// A scan's own verdicts, and what the server says.
fn of_scan(seen: &Observations<'_>, scan: &ScanRecord) -> Vec<Finding> {
    let mut findings = scanned::findings(seen, scan);
    findings.extend(mechanism::pgbouncer(seen));
    findings.extend(server::forgotten(seen));
    findings.extend(server::errors(seen));
    if findings.is_empty() {
        findings.push(scanned::healthy(scan));
    }
    findings
}

fn under_load(seen: &Observations<'_>) -> Vec<Finding> {
    let mut findings = held::held(seen);
    findings.extend(held::held_by_none(seen));
    findings.extend(outside::kept(seen));
    findings.extend(findings::leaked(seen));
    findings.extend(mechanism::convoy(seen));
    findings.extend(mechanism::slow(seen));
    findings.extend(mechanism::loops(seen));
    findings.extend(mechanism::pool(seen, &findings));
    findings.extend(mechanism::pgbouncer(seen));
    findings.extend(server::forgotten(seen));
    findings.extend(server::errors(seen));
    findings.extend(findings::cannot_tell(seen, &findings));
    if findings.is_empty() {
        findings.push(findings::healthy(seen));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pool_is_an_effect_of_the_route_that_holds_and_of_nobody_elses_sessions() {
        let finding = |kind, route: Option<&str>| Finding {
            route: route.map(str::to_owned),
            ..Finding::new(kind, None, 0.9, String::new())
        };
        let effect_of = |causes: Vec<Finding>| {
            let mut findings = [causes, vec![finding(FindingKind::PoolExhausted, None)]].concat();
            joined(&mut findings);
            findings.pop().and_then(|it| it.effect_of)
        };
        let held = finding(FindingKind::HeldSession, Some("GET /a"));
        let of_held = effect_of(vec![held.clone(), finding(FindingKind::HeldSession, Some("GET /b"))]);
        assert!(of_held.is_some_and(|cause| cause.is(&held)), "the first is the costliest");
        assert_eq!(effect_of(vec![finding(FindingKind::HeldOutsideRequests, None)]), None);
        assert_eq!(effect_of(vec![finding(FindingKind::SlowQuery, Some("GET /a"))]), None);
        assert_eq!(effect_of(vec![Finding { confidence: 0.5, ..held }]), None, "who is hardly sure has no effects");
    }
}
