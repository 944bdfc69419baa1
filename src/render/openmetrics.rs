//! The summary of a run in the OpenMetrics text format, for a push gateway or a file that a collector reads.
//!
//! Each figure of the summary is a gauge `rbac_bench_<figure>` in its base unit (seconds, ratios), labelled with the
//! scenario and the variant. A figure that could not be had is left out: the format has no word for it.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

use super::text::plain;
use crate::compare::FIGURES;
use crate::record::RunRecord;
use crate::units::Unit;

type Labels = Vec<(&'static str, String)>;

/// The document.
///
/// # Errors
/// When it cannot be written, which would be a mistake of ours.
pub fn document(record: &RunRecord) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("rbac_bench");
    for figure in &FIGURES {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (scope, variant) in &record.variants {
            let Some(value) = (figure.value)(&variant.summary) else { continue };
            let value = if figure.unit == Unit::Milliseconds { value / 1e3 } else { value };
            let labels = vec![
                ("scenario", plain(record.scenario.name())),
                ("variant", scope.name().to_owned()),
                ("postgresql", plain(&variant.postgres_version)),
            ];
            family.get_or_create(&labels).set(value);
        }
        registry.register(name(figure.name, figure.unit), figure.name.replace('_', " "), family);
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// The figure's name with its base unit at the end.
fn name(key: &str, unit: Unit) -> String {
    match unit {
        Unit::Milliseconds => format!("{}_seconds", key.trim_end_matches("_ms")),
        Unit::Seconds | Unit::SessionSeconds => format!("{}_seconds", key.trim_end_matches("_s")),
        Unit::Count | Unit::Ratio | Unit::PerSecond => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Summary;

    fn fixture() -> RunRecord {
        serde_json::from_str(include_str!("../../fixtures/records/issue-2318.json")).unwrap()
    }

    #[test]
    fn figures_are_gauges_in_base_units() {
        let text = document(&fixture()).unwrap();
        assert!(text.contains("# TYPE rbac_bench_latency_p95_seconds gauge"), "{text}");
        let labels = "{scenario=\"issue-2318\",variant=\"scoped\",postgresql=\"15.18\"}";
        assert!(text.contains(&format!("rbac_bench_latency_p95_seconds{labels} 1.866751\n")), "{text}");
        assert!(text.contains(&format!("rbac_bench_idle_in_transaction_peak{labels} 31.0\n")), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_could_not_be_had_is_left_out_and_hostile_names_stay_labels() {
        let mut record = fixture();
        record.scenario.gateway_mut().unwrap().name = "x\"} 1\nowned 2\\".to_owned();
        for variant in record.variants.values_mut() {
            variant.summary = Summary::default();
        }
        let text = document(&record).unwrap();
        assert!(!text.contains("rbac_bench_throughput_rps{"), "{text}");
        assert!(text.lines().all(|line| line.starts_with('#') || line.starts_with("rbac_bench_")), "{text}");
    }
}
