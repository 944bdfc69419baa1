//! How a source's transactions last: longer than pauses between statements, in how many of its requests, and while the service moved.

use std::ops::AddAssign;

use super::Beginning;

/// Fewer transactions, of those during which answers are to be expected, do not tell whether the service moved.
const FEWEST: f64 = 3.0;

/// Answers are to be expected where a gap between them usually takes no more than this share of the time.
const TELLS: f64 = 0.8;

/// From this share of what a gap could take beyond the usual, the service stood still.
const STANDS_STILL: f64 = 0.5;

/// A route that holds in this share of its requests, or in more, holds whatever else goes on: it may be what the service stands still for.
const MOSTLY_HOLDS: f64 = 0.5;

/// Sums over the transactions of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::diagnose) struct Lasting {
    idle_s: f64,
    /// In transactions older than a pause between two statements.
    aged_s: f64,
    /// Transactions that became older than that.
    aged: f64,
    /// Transactions during which answers are to be expected; seconds of the longest gap in each beyond what is usual, and of what these
    /// could be at most.
    told: f64,
    beyond_s: f64,
    most_s: f64,
}

impl Lasting {
    /// Of beginnings that are a source's with these probabilities.
    pub(super) fn of(beginnings: &[Beginning], parts: &[f64]) -> Self {
        let mut all = Self::default();
        for (it, part) in beginnings.iter().zip(parts) {
            let weight = part * it.weight;
            all.idle_s += weight * it.idle_s;
            all.aged_s += weight * it.aged_s;
            // Of those shorter than the time between two polls some are unseen; who is seen stands for them.
            let stands_for = (it.idle_s / it.lasted_s.max(f64::MIN_POSITIVE)).max(1.0);
            all.aged += if it.aged_s > 0.0 { weight * stands_for } else { 0.0 };
            if let Some(gap) = it.answer_gap.filter(|gap| gap.usual_s <= TELLS * gap.of_s) {
                all.told += part;
                all.beyond_s += part * (gap.longest_s - gap.usual_s);
                all.most_s += part * (gap.of_s - gap.usual_s);
            }
        }
        all
    }

    /// Share of its idle time in transactions older than a pause, 0–1.
    pub(in crate::diagnose) fn share_aged(&self) -> f64 {
        if self.idle_s > 0.0 { (self.aged_s / self.idle_s).min(1.0) } else { 1.0 }
    }

    /// True if these transactions last because the service stands still: hardly anything is answered meanwhile, and most of the
    /// route's requests, of which so many finished, hold nothing for long.
    pub(in crate::diagnose) fn is_held_up(&self, finished: f64) -> bool {
        self.told >= FEWEST && self.beyond_s >= STANDS_STILL * self.most_s && self.aged < MOSTLY_HOLDS * finished
    }
}

impl AddAssign for Lasting {
    fn add_assign(&mut self, other: Self) {
        self.idle_s += other.idle_s;
        self.aged_s += other.aged_s;
        self.aged += other.aged;
        self.told += other.told;
        self.beyond_s += other.beyond_s;
        self.most_s += other.most_s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::AnswerGap;

    /// A transaction that polls 0.1 s apart have seen once.
    fn transaction(lasted_s: f64, answer_gap: AnswerGap) -> Beginning {
        Beginning {
            at_s: 1.0,
            present: Vec::new(),
            spanning: Vec::new(),
            statement: 0,
            process: None,
            lasted_s,
            idle_s: 0.1,
            aged_s: 0.09,
            weight: 1.0,
            answer_gap: Some(answer_gap),
        }
    }

    /// A hundred transactions of 0.1 s each, in which so many seconds pass without an answer.
    fn lasting(longest_s: f64, usual_s: f64) -> Lasting {
        Lasting::of(&vec![transaction(0.1, AnswerGap { longest_s, usual_s, of_s: 0.1 }); 100], &[1.0; 100])
    }

    #[test]
    fn a_route_of_which_few_requests_hold_is_held_up_by_a_service_that_stands_still() {
        assert!(lasting(0.1, 0.05).is_held_up(1000.0));
        assert!(!lasting(0.06, 0.05).is_held_up(1000.0), "others are answered meanwhile");
        assert!(!lasting(0.1, 0.05).is_held_up(110.0), "nearly all of its requests hold: it may stop the service");
        assert!(!lasting(0.1, 0.09).is_held_up(1000.0), "so long a gap is usual, and tells nothing");
    }

    #[test]
    fn a_transaction_shorter_than_the_time_between_two_polls_stands_for_those_that_none_has_seen() {
        let short = transaction(0.025, AnswerGap { longest_s: 0.0, usual_s: 0.0, of_s: 0.0 });
        let of_it = Lasting::of(&[short], &[0.5]);
        assert!((of_it.aged - 2.0).abs() < 1e-9 && (of_it.share_aged() - 0.9).abs() < 1e-9, "{of_it:?}");
    }
}
