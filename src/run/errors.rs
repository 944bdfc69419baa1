//! The errors of a variant that its samples tell of.

use std::collections::BTreeMap;

use crate::record::{ErrorRecord, Sample, SeenBy, Stamped};
use crate::texts::{TextKind, recognise};

/// Errors that the gateway raised: each replica's last count, summed.
pub(super) fn of_gateway(samples: &[Stamped]) -> Vec<ErrorRecord> {
    let mut last = BTreeMap::new();
    for stamped in samples {
        if let Sample::Pools(pools) = &stamped.sample
            && !pools.errors.is_empty()
        {
            last.insert(pools.replica, &pools.errors);
        }
    }
    let mut merged = BTreeMap::<&String, u64>::new();
    for (text, count) in last.values().flat_map(|errors| errors.iter()) {
        *merged.entry(text).or_default() += count;
    }
    most_frequent_first(SeenBy::Gateway, merged)
}

/// Errors that `PgBouncer` reported to its clients, by the last poll of its log.
pub(super) fn of_pgbouncer(samples: &[Stamped]) -> Vec<ErrorRecord> {
    let errors_at = last_of_pgbouncer(samples).into_iter().flatten();
    most_frequent_first(SeenBy::PgBouncer, errors_at.map(|(text, count)| (text, *count)))
}

/// Sessions that `PgBouncer` has ended in a transaction; `None` when its log could not be read to the end.
pub(super) fn ended_by_pgbouncer(samples: &[Stamped]) -> Option<i64> {
    let idle = |text: &str| recognise(text).is_some_and(|it| it.kind == TextKind::PgbouncerIdleTransaction);
    let mut looks = samples.iter().rev().filter_map(|stamped| match &stamped.sample {
        Sample::PgBouncer(pgbouncer) => Some(pgbouncer.errors.as_ref()),
        _ => None,
    });
    // Without a PgBouncer it has ended nothing.
    let Some(last) = looks.next() else { return Some(0) };
    let ended: u64 = last?.iter().filter(|(text, _)| idle(text)).map(|(_, count)| count).sum();
    Some(i64::try_from(ended).unwrap_or(i64::MAX))
}

fn last_of_pgbouncer(samples: &[Stamped]) -> Option<&BTreeMap<String, u64>> {
    samples.iter().rev().find_map(|stamped| match &stamped.sample {
        Sample::PgBouncer(pgbouncer) => pgbouncer.errors.as_ref(),
        _ => None,
    })
}

fn most_frequent_first<'a>(seen_by: SeenBy, counted: impl IntoIterator<Item = (&'a String, u64)>) -> Vec<ErrorRecord> {
    let counted = counted.into_iter();
    let mut errors: Vec<_> = counted.map(|(text, count)| ErrorRecord { seen_by, text: text.clone(), count }).collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::PgBouncerSample;
    use crate::scenario::SessionScope;

    fn errors_at(at_s: f64, errors: Option<&[(&str, u64)]>) -> Stamped {
        let errors = errors.map(|errors| errors.iter().map(|(text, count)| ((*text).to_owned(), *count)).collect());
        let sample = Sample::PgBouncer(PgBouncerSample { errors, ..PgBouncerSample::default() });
        Stamped { variant: SessionScope::Held.into(), at_s, sample }
    }

    #[test]
    fn the_last_look_at_the_log_counts_and_a_failed_one_does_not() {
        let samples = [
            errors_at(1.0, Some(&[("idle transaction timeout", 2)])),
            errors_at(2.0, Some(&[("idle transaction timeout", 5), ("query_wait_timeout", 7)])),
            errors_at(3.0, None),
        ];
        let errors = of_pgbouncer(&samples);
        let texts: Vec<_> = errors.iter().map(|it| (it.text.as_str(), it.count)).collect();
        assert_eq!(texts, [("query_wait_timeout", 7), ("idle transaction timeout", 5)]);
        assert_eq!(ended_by_pgbouncer(&samples[..2]), Some(5));
        assert_eq!(ended_by_pgbouncer(&samples), None, "what was logged since is not known");
        assert_eq!((of_pgbouncer(&[]).len(), ended_by_pgbouncer(&[])), (0, Some(0)));
    }
}
