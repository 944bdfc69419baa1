//! The scenario: one experiment, as data.
//!
//! The first stage of the flow. A [`Scenario`] is read from TOML, overridden by the environment and by flags
//! ([`overrides`], [`source`]), and checked as a whole ([`check`]); everything later only reads it. What is built in
//! lies in `scenarios/` and is compiled into the program ([`builtin`]).

pub mod builtin;
pub mod check;
pub mod error;
mod experiment;
pub mod fault;
pub mod gate;
pub mod key;
pub mod locate;
pub mod overrides;
mod pace;
pub mod pgbouncer;
pub mod route;
pub mod schema;
pub mod service;
pub mod source;
mod toml_value;
mod tool_prefix;
mod variant_name;
mod variants;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use gateway_under_test::settings::{Audit, Checkout, Masks, SessionScope};

use crate::units::{Count, Share, Span};

pub use self::experiment::{Experiment, Watched};
pub use self::pace::{Pace, Stage, Workload};
pub use self::pgbouncer::{PgBouncer, ServerResetQuery};
pub use self::service::ServiceScenario;
pub use self::tool_prefix::ToolPrefix;
pub use self::variant_name::{NotAVariantName, VariantName};

use self::route::TaskRoute;

/// One experiment: who loads which gateway, how, and with which limits. Every key of a scenario file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The name: of the run folder, and of the built-in when it is one.
    pub name: String,
    /// One line on what it shows.
    pub title: String,
    /// Lines printed under the table's head, such as what the durations stand for.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The published figures printed beside the measured ones.
    #[serde(default)]
    pub reference: Option<Reference>,
    /// The variants to run, in order, each on a fresh testbed. A file may also say `"held"`, `"scoped"` or `"both"`.
    #[serde(default = "variants::both_scopes", deserialize_with = "variants::deserialize")]
    #[schemars(with = "schema::Variants")]
    pub variants: Vec<SessionScope>,
    /// Users of the gateway.
    pub load: Load,
    /// Mix of users.
    #[serde(default)]
    pub identities: Identities,
    /// The gateway that is loaded.
    pub gateway: Gateway,
    /// The slow service behind the gateway.
    #[serde(default)]
    pub backend: Backend,
    /// The PostgreSQL server under the gateway.
    #[serde(default)]
    pub database: Database,
    /// The `PgBouncer` between the gateway and PostgreSQL, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pgbouncer: Option<PgBouncer>,
    /// The health probe that stands for the container's.
    #[serde(default)]
    pub health: Health,
    /// Monitoring of the database.
    #[serde(default)]
    pub monitor: MonitorConfig,
    /// Rules of the gate, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gate: Vec<gate::GateRule>,
}

impl Scenario {
    /// The names of the variants, in the order in which they are run.
    #[must_use]
    pub fn variant_names(&self) -> Vec<VariantName> {
        self.variants.iter().copied().map(VariantName::from).collect()
    }
}

/// Published figures that a scenario is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reference {
    /// ContextForge issue #2318: 4000 users, during the failure and before it.
    #[serde(rename = "issue-2318")]
    Issue2318,
}

/// A closed workload: users who wait for each answer, think, and ask again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Simulated users.
    pub users: Count,
    /// Time over which the users start, evenly. Not part of the steady figures.
    pub ramp_up: Span,
    /// Time with all users before the steady phase. Not part of the steady figures either.
    #[serde(default)]
    pub settle: Span,
    /// Steady phase per variant, after the ramp.
    pub duration: Span,
    /// After this long a user gives the request up and counts it as failed.
    pub client_timeout: Span,
    /// Each class's think time is multiplied by this.
    #[serde(default = "one")]
    pub think_scale: f64,
    /// Which replica a request goes to.
    #[serde(default)]
    pub balance: Balance,
    /// Seed of every random choice of the users.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The user classes, by name.
    pub classes: BTreeMap<String, UserClass>,
}

impl Load {
    /// Load over time.
    #[must_use]
    pub fn pace(&self) -> Pace {
        let Self { users, ramp_up, settle, duration, client_timeout, balance, seed, .. } = *self;
        let workload = Workload::Closed { users: users.get() };
        Pace { workload, stages: Vec::new(), max_rate: None, ramp_up, settle, duration, client_timeout, balance, seed }
    }
}

const fn one() -> f64 {
    1.0
}

const fn default_seed() -> u64 {
    2318
}

/// Which replica a request goes to, among those that the health probe calls up (all, when none is).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The one with the fewest requests in flight, as nginx's `least_conn`.
    #[default]
    LeastConn,
    /// The user's own, until it is down.
    Bound,
}

/// One kind of user: how many, how fast, doing what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserClass {
    /// Share of the users, relative to the other classes.
    pub weight: Count,
    /// Shortest and longest think time, uniform between; before `think_scale`.
    pub think_time: [Span; 2],
    /// Tasks by route name (`GET /tools`, `POST /rpc tools/call slow-search`), with relative weights.
    pub tasks: BTreeMap<TaskRoute, Count>,
}

/// Mix of users; relative weights, every user an identity of its own as far as the fixtures reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identities {
    /// The configured platform administrator, who passes the permission check without a query.
    pub platform_admin: u32,
    /// Users whose row says `is_admin`: one query.
    pub database_admin: u32,
    /// Everybody else: the user's row, then their roles.
    pub regular: u32,
}

impl Default for Identities {
    fn default() -> Self {
        Self { platform_admin: 1, database_admin: 1, regular: 8 }
    }
}

/// The gateway: replicas of workers, each worker with a pool of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Processes.
    pub replicas: Count,
    /// Single-threaded event loops per process.
    pub workers: Count,
    /// Execution mode of waits: does one stop the worker's loop?
    #[serde(default)]
    pub checkout: Checkout,
    /// Each worker's `QueuePool`.
    pub pool: QueuePoolConfig,
    /// The shared row that some tool calls update.
    #[serde(default)]
    pub usage_counter: UsageCounter,
    /// Delay of a plugin before each tool call; it stands for a moderation service.
    #[serde(default)]
    pub hook_delay: Span,
    /// Delay of a page beside its rendering; it stands for a slow template.
    #[serde(default)]
    pub render_delay: Span,
    /// Audit of permission checks: each is written and committed, which lets go of a held session.
    #[serde(default)]
    pub audit: Audit,
    /// Which failures of the database reach the client under another name: `off`, `protocol`, `on`.
    #[serde(default)]
    pub masks: Masks,
    /// Mistakes that each variant makes beside its own, on the routes that each is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<SessionScope>,
    /// The backend's tools are offered under each of these prefixes as well, as ContextForge names federated tools:
    /// with `fast-time-`, `fast-time-echo` calls `echo`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_prefixes: Vec<ToolPrefix>,
    /// After this long a session that nobody closed is found by the garbage collector.
    #[serde(default = "default_garbage_after")]
    pub garbage_after: Span,
    /// A connection whose next request has not reported its whole head after this long is closed.
    #[serde(default = "default_header_timeout")]
    pub header_timeout: Span,
}

const fn default_garbage_after() -> Span {
    Span::from_secs(60)
}

/// Longer than the users' connections wait for their next request, which is 90 s.
const fn default_header_timeout() -> Span {
    Span::from_secs(120)
}

impl Gateway {
    /// Sessions that all pools together may open: replicas × workers × (size + overflow).
    #[must_use]
    pub fn pool_capacity(&self) -> u32 {
        // Saturating, because the figure is also asked for before the scenario has been checked.
        let per_worker = self.pool.size.get().saturating_add(self.pool.max_overflow);
        self.replicas.get().saturating_mul(self.workers.get()).saturating_mul(per_worker)
    }
}

/// SQLAlchemy's `QueuePool`, by its own names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueuePoolConfig {
    /// Connections kept.
    pub size: Count,
    /// Connections beyond `size` under load.
    pub max_overflow: u32,
    /// Timeout of a checkout, after which it fails with `QueuePool limit …`.
    pub timeout: Span,
}

/// A row that a share of the tool calls update in their transaction (hold pattern H14, the lock convoy).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageCounter {
    /// Share of the tool calls that update it; 0 switches it off.
    #[serde(default)]
    pub share: Share,
    /// Number of such rows; each call draws one. A resolved scenario with a share has them: 1 by default.
    #[serde(default)]
    pub rows: Option<Count>,
}

/// The slow service behind the gateway: an MCP server with these tools.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Delay of each tool; a tool that is not named answers at once.
    #[serde(default)]
    pub delays: BTreeMap<String, Delay>,
}

/// `min` + an exponential of mean `exponential_mean`, cut at `max`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// The shortest delay.
    pub min: Span,
    /// Mean of the exponential part; 0 makes the delay constant.
    #[serde(default)]
    pub exponential_mean: Span,
    /// The longest delay; larger draws are cut to it.
    pub max: Span,
}

/// Settings of the PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `statement_timeout` of the gateway's sessions; `0s` is off.
    #[serde(default)]
    pub statement_timeout: Span,
    /// `idle_in_transaction_session_timeout` of the gateway's sessions; `0s` is off.
    #[serde(default)]
    pub idle_in_transaction_session_timeout: Span,
    /// Regular users in the fixture, each with a role in a team.
    #[serde(default = "default_fixture_users")]
    pub fixture_users: Count,
}

const fn default_fixture_users() -> Count {
    Count::of(4000)
}

impl Default for Database {
    fn default() -> Self {
        Self {
            statement_timeout: Span::ZERO,
            idle_in_transaction_session_timeout: Span::ZERO,
            fixture_users: default_fixture_users(),
        }
    }
}

/// The probe of `GET /health`, a fresh connection each time, as a container's health check makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Time between two probes of a replica.
    pub interval: Span,
    /// A probe without an answer after this long has failed.
    pub timeout: Span,
    /// A replica is down after this many failed probes in a row, and up again after one good one.
    pub retries: Count,
}

impl Default for Health {
    fn default() -> Self {
        Self { interval: Span::from_secs(1), timeout: Span::from_secs(2), retries: Count::of(3) }
    }
}

/// Monitoring of the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MonitorConfig {
    /// Time between two looks at `pg_stat_activity`.
    pub interval: Span,
    /// Time between two counts of open transactions, which are cheaper.
    pub pulse: Span,
    /// Watch as this role, as an operator's tools would, and not as the server's superuser. A private cluster makes it,
    /// and grants it nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self { interval: Span::from_millis(100), pulse: Span::from_millis(50), role: None }
    }
}

#[cfg(test)]
mod mutation_tests;
