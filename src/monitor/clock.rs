//! The server's clock against ours.
//!
//! The server tells when something began on its own clock, which somebody may set while we watch. What the record holds
//! is on our monotonic clock, so each answer's time of the server is put beside the instant at which it came, and a step
//! between two of them is a jump: ages that span it are corrected by as much.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, private::BytesMut};

use crate::record::Event;

/// A `timestamptz` as PostgreSQL keeps it: microseconds since 2000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ServerTime(pub(super) i64);

impl ServerTime {
    /// `-infinity`.
    pub(super) const EVER: Self = Self(i64::MIN);
}

type Failed = Box<dyn std::error::Error + Sync + Send>;

impl<'a> FromSql<'a> for ServerTime {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Failed> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

impl ToSql for ServerTime {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failed> {
        out.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A step is a jump when it is larger than this and than what the answers' travel explains.
const JUMP_US: i64 = 250_000;

/// A step that is larger than this, and than what the answers' travel explains, is no drift.
const STEP_US: i64 = 3_000;

/// Jumps that are remembered: transactions that span more are rare.
const JUMPS_MAX: usize = 16;

/// When an answer came, on all clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockReading {
    pub(super) server: ServerTime,
    /// Microseconds of our monotonic clock, since whenever.
    pub(super) here_us: i64,
    /// Microseconds of this machine's clock.
    pub(super) local_us: i64,
    /// Round trip of the answer: the server's time may be off by as much.
    pub(super) took_us: i64,
}

impl ClockReading {
    /// An answer to what was asked at `asked` and came just now.
    pub(super) fn now(server: ServerTime, epoch: Instant, asked: Instant) -> Self {
        let took = asked.elapsed();
        let local = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { server, here_us: micros(epoch.elapsed()), local_us: micros(local), took_us: micros(took) }
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[derive(Clone, Copy, Debug)]
struct Jump {
    /// Up to here, on the clock before the jump, a time is surely from before it.
    before: i64,
    by_us: i64,
}

/// The best reading is that of the shortest round trip, for so long: clocks drift by less than a millisecond meanwhile.
const BEST_FOR_US: i64 = 10_000_000;

/// Offset between the server's clock and ours.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    last: Option<ClockReading>,
    best: Option<ClockReading>,
    jumps: Vec<Jump>,
}

impl Clocks {
    /// Takes a reading; gives an event for each clock that jumped since the last one.
    pub(super) fn observe(&mut self, now: ClockReading) -> Vec<Event> {
        let is_better = |best: &ClockReading| now.took_us <= best.took_us || now.here_us - best.here_us > BEST_FOR_US;
        if self.best.as_ref().is_none_or(is_better) {
            self.best = Some(now);
        }
        let Some(last) = self.last.replace(now) else { return Vec::new() };
        let elapsed = now.here_us - last.here_us;
        let slack = JUMP_US + now.took_us + last.took_us;
        let server = now.server.0.saturating_sub(last.server.0).saturating_sub(elapsed);
        let local = now.local_us - last.local_us - elapsed;
        let mut events = Vec::new();
        if server.abs() > STEP_US + now.took_us + last.took_us {
            // It was set, if by little.
            self.best = Some(now);
        }
        if server.abs() > slack {
            self.jumps.truncate(JUMPS_MAX - 1);
            // The latest first. What began between the two readings is from before a jump forward: see `age_s`.
            self.jumps
                .insert(0, Jump { before: last.server.0 + if server > 0 { elapsed } else { server }, by_us: server });
            events.push(jumped("server", server));
        }
        if local.abs() > JUMP_US {
            events.push(jumped("local", local));
        }
        events
    }

    /// A time of the server on our clock, in seconds since its beginning, with its largest error; `None` before the first
    /// reading.
    pub(super) fn located(&self, time: ServerTime) -> Option<(f64, f64)> {
        let best = self.best?;
        let half_us = best.took_us as f64 / 2.0;
        let behind_us = best.server.0.saturating_sub(time.0);
        // A time after the reading has no age.
        let age_s = if behind_us < 0 { behind_us as f64 / 1e6 } else { self.age_s(best.server, time) };
        Some(((best.here_us as f64 - half_us) / 1e6 - age_s, half_us / 1e6))
    }

    /// The age at `now` of what began at `since`, in seconds, both as the server says; never negative. What began
    /// within a jump back may be taken for younger than it is.
    pub(super) fn age_s(&self, now: ServerTime, since: ServerTime) -> f64 {
        let mut age_us = now.0.saturating_sub(since.0);
        for jump in &self.jumps {
            if since.0 > jump.before && since.0 <= now.0 {
                break;
            }
            age_us = age_us.saturating_sub(jump.by_us);
        }
        age_us.max(0) as f64 / 1e6
    }
}

fn jumped(clock: &str, by_us: i64) -> Event {
    Event::ClockJumped { clock: clock.to_owned(), by_ms: by_us / 1000 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A server whose clock is `ahead` of ours.
    fn reading(here_s: f64, ahead_s: f64) -> ClockReading {
        #[expect(clippy::cast_possible_truncation, reason = "small")]
        let us = |seconds: f64| (seconds * 1e6).round() as i64;
        let server = ServerTime(us(1e9 + here_s + ahead_s));
        ClockReading { server, here_us: us(here_s), local_us: us(here_s), took_us: 1000 }
    }

    #[test]
    fn a_clock_that_drifts_or_answers_late_has_not_jumped() {
        let mut clocks = Clocks::default();
        for tick in 0..1000 {
            let at = f64::from(tick) * 0.05;
            assert_eq!(clocks.observe(reading(at, at * 5e-4)), []);
        }
        let late = ClockReading { took_us: 900_000, ..reading(51.0, -0.8) };
        assert_eq!(clocks.observe(late), [], "it was read a second before the answer came");
    }

    #[test]
    fn ages_across_a_jump_are_corrected_and_those_after_it_are_not() {
        for by in [3600.0, -3600.0, 2.0, -2.0] {
            let mut clocks = Clocks::default();
            let old = reading(10.0, 0.0).server;
            clocks.observe(reading(20.0, 0.0));
            let events = clocks.observe(reading(20.1, by));
            assert!(matches!(&events[..], [Event::ClockJumped { clock, .. }] if clock == "server"), "{events:?}");
            let young = reading(20.5, by).server;
            let now = reading(21.0, by);
            assert_eq!(clocks.observe(now), []);
            assert!((clocks.age_s(now.server, old) - 11.0).abs() < 0.01, "{by}: {}", clocks.age_s(now.server, old));
            assert!((clocks.age_s(now.server, young) - 0.5).abs() < 0.01, "{by}: {}", clocks.age_s(now.server, young));
        }
    }

    proptest! {
        #[test]
        fn no_clock_makes_an_age_negative(steps in prop::collection::vec(-1e5..1e5f64, 1..40), since in -1e6..1e6f64) {
            let mut clocks = Clocks::default();
            for (tick, ahead) in steps.iter().enumerate() {
                let now = reading(tick as f64, *ahead);
                clocks.observe(now);
                prop_assert!(clocks.age_s(now.server, reading(since, 0.0).server) >= 0.0);
                prop_assert!(clocks.age_s(now.server, ServerTime::EVER) >= 0.0);
            }
            prop_assert!(clocks.jumps.len() <= JUMPS_MAX);
        }
    }
}
