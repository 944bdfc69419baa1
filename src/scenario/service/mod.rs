//! The scenario of an external service: its address, routes and database.
//!
//! A scenario with a `[target]` is one of these. No secret is ever in it: a password or a token is named by the variable
//! or the file that holds it.

mod check;
mod command;
mod identity;
mod journey;
mod load;
pub(in crate::scenario) mod metrics;
mod request;
pub(in crate::scenario) mod route;
mod secret;
mod syntax;
pub mod todo;
mod trust;
pub(in crate::scenario) mod url;
mod written_secrets;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::ServiceCommand;
pub use identity::{IdentitySource, Login};
pub use journey::Journey;
pub use load::{LoadStage, ServiceLoad};
pub use metrics::{GaugeName, GaugeNameError, Metrics};
pub use request::{McpCall, ServiceRoute};
pub use route::{RouteName, RouteNameError, Scalar, Values};
pub use secret::{is_secret_name, is_token};
pub use trust::{PgBouncerAccess, TlsFiles};
pub use url::{BaseUrl, BaseUrlError, holds_password};

use super::gate::GateRule;
use super::key::KeyPath;
use super::locate::Locator;
use super::schema;
use super::source::{Readable, deserialize, leaf_keys};
use super::{Health, MonitorConfig, Pace, VariantName};
use crate::units::{Count, Span};

/// One experiment with an external service. Every key of its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceScenario {
    /// The name: of the run folder.
    pub name: String,
    /// One line on what it shows.
    #[serde(default)]
    pub title: String,
    /// Lines printed under the table's head.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Names of the `variants` that are run, in order; all, as the file has them, by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "route::one_or_more")]
    #[schemars(with = "schema::OneOrMore<VariantName>")]
    pub run: Vec<VariantName>,
    /// Sessions that the service's pools may open, all together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_capacity: Option<Count>,
    /// Address of the service.
    pub target: Target,
    /// The database under it.
    #[serde(default)]
    pub database: DatabaseAccess,
    /// The `PgBouncer` on the way to it, to be watched, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pgbouncer: Option<PgBouncerAccess>,
    /// Load over time.
    #[serde(default)]
    pub load: ServiceLoad,
    /// Health checks of the service, where the target has a `health` path.
    #[serde(default)]
    pub health: Health,
    /// Monitoring of the database.
    #[serde(default)]
    pub monitor: MonitorConfig,
    /// Identities of the users, in turn; nobody in particular without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identity: Vec<IdentitySource>,
    /// Requests of the users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<ServiceRoute>,
    /// Journeys: requests in a row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub journey: Vec<Journey>,
    /// Differences between the variants, by name; without any there is one, called `service`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variants: BTreeMap<VariantName, ServiceVariant>,
    /// Rules of the gate, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gate: Vec<GateRule>,
    /// The folder of the file: files that it names lie there.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Address of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its base URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<BaseUrl>,
    /// The base URLs of its replicas, in place of `url`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<BaseUrl>,
    /// The path of its health check: a replica is up while that answers with a status of 200 to 299.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// The program that starts the service before each variant, and its arguments; without it, it runs already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Variables added to the environment that the command inherits: no secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The command's working folder, relative to the scenario's file; the file's own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// The path that answers with a status of 200 to 299 once the service serves; `health` by default, and
    /// without that either, its port accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Longest time for that; 60 s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_within: Option<Span>,
    /// Gauges of its pool: address and names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Certificates of your own, where the base URL is of HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFiles>,
}

/// Access to the database: by one of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseAccess {
    /// Its URL, without a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The environment variable that holds its URL. `DATABASE_URL` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_env: Option<String>,
    /// The file that holds its URL, for nobody else to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// The `application_name`s whose sessions are the service's; one that ends with `*` stands for all that begin so.
    /// All, when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<String>,
    /// The roles whose sessions are the service's; all, when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// True if the routes use sessions of this database. Where none of them ran a query while requests were answered,
    /// nothing is concluded, since the service's sessions may be elsewhere. `false` for routes that need no database.
    #[serde(default = "expects", skip_serializing_if = "Clone::clone")]
    pub expect_sessions: bool,
}

const fn expects() -> bool {
    true
}

impl Default for DatabaseAccess {
    fn default() -> Self {
        Self {
            url: None,
            url_env: None,
            url_file: None,
            applications: Vec::new(),
            users: Vec::new(),
            expect_sessions: expects(),
        }
    }
}

/// Differences of a variant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceVariant {
    /// Its base URL, in place of the target's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<BaseUrl>,
    /// The base URLs of its replicas, in place of the target's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<BaseUrl>,
    /// The command that starts it, in place of the target's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Variables beside the target's, or in place of those of the same names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The command's working folder, in place of the target's: such as another worktree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

/// Name of the one variant where there are none.
pub const ONLY_VARIANT: &str = "service";

impl ServiceScenario {
    /// The names of the variants, in the order in which they are run.
    #[must_use]
    pub fn variant_names(&self) -> Vec<VariantName> {
        if self.run.is_empty() { self.all_variant_names() } else { self.run.clone() }
    }

    /// The names of all variants, run or not.
    pub(super) fn all_variant_names(&self) -> Vec<VariantName> {
        if self.variants.is_empty() {
            return vec![ONLY_VARIANT.parse().expect("it is a name")];
        }
        self.variants.keys().copied().collect()
    }

    /// The base URLs of a variant's replicas.
    #[must_use]
    pub fn urls(&self, variant: VariantName) -> Vec<BaseUrl> {
        let own = self.variants.get(&variant);
        let own: Vec<BaseUrl> = own.into_iter().flat_map(|it| it.url.iter().chain(&it.urls)).cloned().collect();
        if own.is_empty() { self.target.url.iter().chain(&self.target.urls).cloned().collect() } else { own }
    }

    /// Load over time.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.load.pace()
    }

    /// Pages of pools' gauges, of the variant with the most.
    #[must_use]
    pub fn pool_pages(&self) -> u32 {
        let Some(metrics) = &self.target.metrics else { return 0 };
        let most = self.variant_names().into_iter().map(|name| metrics.pages(&self.urls(name)).len()).max();
        most.and_then(|most| u32::try_from(most).ok()).unwrap_or(0)
    }

    /// Replicas that are probed, of the variant with the most: its base URLs. 0 without a health path.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        if self.target.health.is_none() {
            return 0;
        }
        let most = self.variant_names().into_iter().map(|name| self.urls(name).len()).max();
        most.and_then(|most| u32::try_from(most).ok()).unwrap_or(0)
    }
}

impl Readable for ServiceScenario {
    fn problems(&self) -> Vec<super::check::Problem> {
        check::check(self)
    }

    fn known_keys() -> Vec<KeyPath> {
        deserialize::<Self>(EVERY_KEY).map(|scenario| leaf_keys(&scenario)).unwrap_or_default()
    }

    /// The variants are run in the order of the file.
    fn completed(mut self, text: &Locator<'_>) -> Self {
        self.load = self.load.completed();
        let both = self.run.len() == 1 && self.run[0].name() == "both";
        if self.run.is_empty() || both {
            let written = text.names_under("variants");
            self.run = written.iter().filter_map(|name| name.parse().ok()).collect();
        }
        self
    }
}

/// A scenario with the keys that are worth a hint when they are set at the wrong level.
const EVERY_KEY: &str = r#"
name = "x"
pool_capacity = 1
target = { url = "http://127.0.0.1", health = "/", command = ["x"], folder = "x", ready = "/", ready_within = "1s", metrics = { path = "/x", checked_out = "x" }, tls = { ca_file = "x" } }
pgbouncer = { url_env = "X" }
database = { url_env = "X", url_file = "x", url = "x", applications = ["x"], users = ["x"], expect_sessions = false }
load = { users = 1, arrival_rate = 1, max_rate = 1, duration = "1s" }
"#;

#[cfg(test)]
pub(crate) mod tests;
