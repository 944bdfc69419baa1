//! Subject of a record: the reference gateway under load, or something else that was watched.

use serde::de::{self, Deserialize, Deserializer};
use serde::{Deserialize as Derived, Serialize};

use super::gate::GateRule;
use super::{Pace, Reference, Scenario, ServiceScenario, SessionScope, VariantName, Workload};
use crate::units::{Count, Span};

/// A scenario of any kind. In files it is recognised by its keys: a `[gateway]`, a `[target]`, or a
/// `watched` database.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Experiment {
    /// The reference gateway under load.
    Gateway(Box<Scenario>),
    /// An external service under load.
    Service(Box<ServiceScenario>),
    /// A database, under a load that is not known.
    Watched(Watched),
}

/// A database that was watched.
#[derive(Clone, Debug, PartialEq, Serialize, Derived)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    /// The name: of the run folder.
    pub name: String,
    /// One line on what it shows.
    pub title: String,
    /// The database's URL, its password masked.
    pub watched: String,
    /// Name of the record's one variant.
    pub variant: VariantName,
    /// Time between two looks at `pg_stat_activity`.
    pub interval: Span,
    /// Sessions that the application may open, where that was stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_capacity: Option<u32>,
    /// Number of pools whose gauges were read.
    #[serde(default)]
    pub pools: u32,
}

impl Experiment {
    /// The name, which is also in the name of the run's folder.
    pub fn name(&self) -> &str {
        match self {
            Self::Gateway(scenario) => &scenario.name,
            Self::Service(scenario) => &scenario.name,
            Self::Watched(watched) => &watched.name,
        }
    }

    /// One line on what it shows.
    pub fn title(&self) -> &str {
        match self {
            Self::Gateway(scenario) => &scenario.title,
            Self::Service(scenario) => &scenario.title,
            Self::Watched(watched) => &watched.title,
        }
    }

    /// Lines printed under a table's head.
    pub fn notes(&self) -> &[String] {
        match self {
            Self::Gateway(scenario) => &scenario.notes,
            Self::Service(scenario) => &scenario.notes,
            Self::Watched(_) => &[],
        }
    }

    /// The published figures that it is held against.
    pub fn reference(&self) -> Option<Reference> {
        self.gateway().and_then(|scenario| scenario.reference)
    }

    /// The names of the variants, in the order in which they are run.
    pub fn variant_names(&self) -> Vec<VariantName> {
        match self {
            Self::Gateway(scenario) => scenario.variant_names(),
            Self::Service(scenario) => scenario.variant_names(),
            Self::Watched(watched) => vec![watched.variant],
        }
    }

    /// Time between two looks at `pg_stat_activity`.
    pub fn interval(&self) -> Span {
        match self {
            Self::Gateway(scenario) => scenario.monitor.interval,
            Self::Service(scenario) => scenario.monitor.interval,
            Self::Watched(watched) => watched.interval,
        }
    }

    /// Simulated users, the most at once; `None` of an open workload, and where the load is not ours.
    pub fn users(&self) -> Option<u32> {
        match self.pace()?.workload {
            Workload::Closed { users } => Some(users),
            Workload::Open { .. } => None,
        }
    }

    /// After this long a user gives a request up; `None` where the load is not ours.
    pub fn client_timeout(&self) -> Option<Span> {
        self.pace().map(|pace| pace.client_timeout)
    }

    /// Load over time; `None` where the load is not ours.
    pub fn pace(&self) -> Option<Pace> {
        match self {
            Self::Gateway(scenario) => Some(scenario.load.pace()),
            Self::Service(scenario) => Some(scenario.pace()),
            Self::Watched(_) => None,
        }
    }

    /// Sessions that all pools together may open; `None` where that is not known.
    pub fn pool_capacity(&self) -> Option<u32> {
        match self {
            Self::Gateway(scenario) => Some(scenario.gateway.pool_capacity()),
            Self::Service(scenario) => scenario.pool_capacity.map(Count::get),
            Self::Watched(watched) => watched.pool_capacity,
        }
    }

    /// Replicas whose pools or health are sampled.
    pub fn replicas(&self) -> u32 {
        match self {
            Self::Gateway(scenario) => scenario.gateway.replicas.get(),
            Self::Service(scenario) => scenario.replicas(),
            Self::Watched(watched) => watched.pools,
        }
    }

    /// Pages of pools' gauges that are sampled.
    pub fn pool_pages(&self) -> u32 {
        match self {
            Self::Gateway(scenario) => scenario.gateway.replicas.get(),
            Self::Service(scenario) => scenario.pool_pages(),
            Self::Watched(watched) => watched.pools,
        }
    }

    /// Rules of its gate.
    pub fn gate(&self) -> &[GateRule] {
        match self {
            Self::Gateway(scenario) => &scenario.gate,
            Self::Service(scenario) => &scenario.gate,
            Self::Watched(_) => &[],
        }
    }

    /// One variant of it alone, with a steady phase of `measured` after `settle`; another `turn` has other random
    /// choices. A database that was watched stays as it is: its load is not ours.
    #[must_use]
    pub fn window(&self, variant: VariantName, settle: Span, measured: Span, turn: u64) -> Self {
        let mut window = self.clone();
        match &mut window {
            Self::Gateway(scenario) => {
                scenario.variants = variant.scope().into_iter().collect();
                let load = &mut scenario.load;
                (load.settle, load.duration, load.seed) = (settle, measured, load.seed.wrapping_add(turn));
            }
            Self::Service(scenario) => {
                scenario.run = if scenario.variants.is_empty() { Vec::new() } else { vec![variant] };
                let load = &mut scenario.load;
                (load.settle, load.seed) = (settle, load.seed.wrapping_add(turn));
                // Stages have a length of their own.
                load.duration = load.stages.is_empty().then_some(measured);
            }
            Self::Watched(_) => {}
        }
        window
    }

    /// The variants that it may run, run or not: every session scope of the reference gateway.
    pub fn possible_variants(&self) -> Vec<VariantName> {
        match self {
            Self::Gateway(_) => SessionScope::ALL.map(VariantName::from).to_vec(),
            Self::Service(scenario) => scenario.all_variant_names(),
            Self::Watched(watched) => vec![watched.variant],
        }
    }

    /// The scenario, where it is the reference gateway's.
    pub fn gateway(&self) -> Option<&Scenario> {
        match self {
            Self::Gateway(scenario) => Some(scenario),
            Self::Service(_) | Self::Watched(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn gateway_mut(&mut self) -> Option<&mut Scenario> {
        match self {
            Self::Gateway(scenario) => Some(scenario),
            Self::Service(_) | Self::Watched(_) => None,
        }
    }
}

impl From<Scenario> for Experiment {
    fn from(scenario: Scenario) -> Self {
        Self::Gateway(Box::new(scenario))
    }
}

impl<'de> Deserialize<'de> for Experiment {
    /// By its keys, and then as what it is: an untagged enum would not say what is wrong.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if value.get("watched").is_some() {
            serde_json::from_value(value).map(Self::Watched).map_err(de::Error::custom)
        } else if value.get("target").is_some() {
            serde_json::from_value(value).map(Self::Service).map_err(de::Error::custom)
        } else {
            serde_json::from_value(value).map(Self::Gateway).map_err(de::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::builtin;

    #[test]
    fn an_experiment_is_reported_by_its_keys_and_read_back_as_it_was() {
        let scenario = builtin::find("collapse").unwrap();
        let scenario = Scenario::from_text(scenario.name, scenario.text, &[]).unwrap();
        let watched = Watched {
            name: "watch".to_owned(),
            title: "a database".to_owned(),
            watched: "postgresql://me@127.0.0.1/shop".to_owned(),
            variant: "watched".parse().unwrap(),
            interval: Span::from_millis(100),
            pool_capacity: None,
            pools: 2,
        };
        for experiment in [Experiment::from(scenario), Experiment::Watched(watched)] {
            let text = serde_json::to_string(&experiment).unwrap();
            assert_eq!(serde_json::from_str::<Experiment>(&text).unwrap(), experiment);
        }
    }

    #[test]
    fn what_is_wrong_with_a_recorded_scenario_is_stated() {
        let error = serde_json::from_str::<Experiment>(r#"{"watched": "x", "name": "y"}"#).unwrap_err().to_string();
        assert!(error.contains("missing field `title`"), "{error}");
    }
}
