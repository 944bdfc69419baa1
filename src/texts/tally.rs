//! Recognised texts, counted.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{PoolLimits, Recognised, TextKind, recognise};

/// Count of one kind of text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PatternCount {
    /// Number of occurrences.
    pub count: u64,
    /// The limits it reported last.
    pub limits: PoolLimits,
}

/// Source of an error. `PgBouncer` logs the end of one session up to three times: what it reported to the client, that it
/// closes the client, and that it closes the server connection; or the server's refusal of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LogSource {
    Any,
    PoolerError,
    ClosesClient,
    ClosesServer,
    ServerLogin,
}

impl LogSource {
    fn of(text: &str) -> Self {
        if text.contains("server login failed:") {
            return Self::ServerLogin;
        }
        if text.contains("pooler error:") || text.contains("Pooler Error:") {
            return Self::PoolerError;
        }
        // `… LOG S-0x55d0: rbac/postgres@unix(8):5432 closing because: …`
        match text.split_once("closing because:") {
            Some((before, _)) if before.contains("S-0x") => Self::ClosesServer,
            Some(_) => Self::ClosesClient,
            None => Self::Any,
        }
    }
}

/// Recognised texts, counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PatternCounts {
    counts: BTreeMap<(TextKind, &'static str), PatternCount>,
    voices: BTreeMap<(TextKind, &'static str, LogSource), u64>,
}

impl PatternCounts {
    /// Counts a text that was met `count` times, if it is known. What several voices tell of the same happened as often
    /// as the one says that says it most often.
    pub fn add(&mut self, text: &str, count: u64) {
        if let Some(recognised) = recognise(text) {
            self.add_recognised(recognised, text, count);
        }
    }

    /// The same of a text that was recognised.
    pub(crate) fn add_recognised(&mut self, recognised: Recognised, text: &str, count: u64) {
        let Recognised { kind, library, limits } = recognised;
        let voice = self.voices.entry((kind, library, LogSource::of(text))).or_default();
        *voice += count;
        let counts = self.counts.entry((kind, library)).or_insert(PatternCount { count: 0, limits });
        counts.count = counts.count.max(*voice);
        counts.limits = limits;
    }

    /// Counts one that was of a kind as of another: its pool has taken back what it said.
    pub(crate) fn take_back(&mut self, from: TextKind, to: TextKind, library: &'static str) {
        if let Some(said) = self.counts.get_mut(&(from, library)) {
            said.count = said.count.saturating_sub(1);
            if said.count == 0 {
                self.counts.remove(&(from, library));
            }
            if let Some(voice) = self.voices.get_mut(&(from, library, LogSource::Any)) {
                *voice = voice.saturating_sub(1);
            }
        }
        let limits = PoolLimits::default();
        self.counts.entry((to, library)).or_insert(PatternCount { count: 0, limits }).count += 1;
        *self.voices.entry((to, library, LogSource::Any)).or_default() += 1;
    }

    /// True if nothing was recognised.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Takes in what somebody else met of the same errors: of each the higher count, since both may have met the same.
    pub fn also_seen(&mut self, other: Self) {
        for (key, theirs) in other.counts {
            let ours = self.counts.entry(key).or_insert_with(|| theirs.clone());
            ours.count = ours.count.max(theirs.count);
        }
    }

    /// Counts by kind and library.
    pub fn iter(&self) -> impl Iterator<Item = (TextKind, &'static str, &PatternCount)> {
        self.counts.iter().map(|((kind, library), counts)| (*kind, *library, counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tally: &PatternCounts) -> Vec<(TextKind, u64)> {
        tally.iter().map(|(kind, _, counts)| (kind, counts.count)).collect()
    }

    #[test]
    fn one_end_of_a_session_in_the_log_of_pgbouncer_is_counted_once() {
        let mut tally = PatternCounts::default();
        for line in [
            "2026-11-24 23:37:59.517 UTC [7] LOG C-0x56: rbac/postgres@unix(9):6432 closing because: idle transaction timeout (age=2s)",
            "2026-11-24 23:37:59.517 UTC [7] WARNING C-0x56: rbac/postgres@unix(9):6432 pooler error: idle transaction timeout",
            "2026-11-24 23:37:59.517 UTC [7] LOG S-0x57: rbac/postgres@unix(8):5432 closing because: idle transaction timeout (age=2s)",
            "2026-11-24 23:38:01.001 UTC [7] LOG S-0x58: rbac/postgres@unix(8):5432 closing because: idle transaction timeout (age=2s)",
        ] {
            tally.add(line, 1);
        }
        assert_eq!(counts(&tally), [(TextKind::PgbouncerIdleTransaction, 2)]);
    }

    #[test]
    fn whoever_else_met_the_same_errors_does_not_make_them_more() {
        let (mut ours, mut theirs) = (PatternCounts::default(), PatternCounts::default());
        ours.add("timed out waiting for connection", 3);
        theirs.add("timed out waiting for connection", 5);
        ours.also_seen(theirs);
        assert_eq!(counts(&ours), [(TextKind::PoolTimeout, 5)]);
    }
}
