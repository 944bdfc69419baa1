//! Exactness of the monitor, against sessions that know how long they held and against the server's own counter.

use std::time::{Duration, Instant};

use rand::RngExt;
use rbac_bench::monitor::{self, ServerCounters};
use rbac_bench::record::{EpisodeEnd, MonitorRecord, Sample};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, SimpleQueryMessage};

use crate::watching::{HANG, Watching, server, session};

/// So many sessions that open a transaction, hold it, and end it, again and again.
struct Load {
    sessions: u32,
    hold: Duration,
    gap_ms: std::ops::Range<u64>,
    lasts: Duration,
}

/// The server's clock, at the end of the statements before the hold and at the beginning of those after it: what a
/// client's own clock says lacks the way to the server and back.
const NOW: &str = "SELECT extract(epoch FROM clock_timestamp())";

/// Executes; gives what [`NOW`] reported, which is the last row.
async fn at(client: &Client, statements: &str) -> f64 {
    let messages = client.simple_query(statements).await.unwrap();
    let rows = messages.iter().rev().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    rows.into_iter().next().unwrap().parse().unwrap()
}

impl Load {
    /// Runs it; gives how long its sessions held, in seconds, as they know.
    async fn run(&self, database: &Config) -> f64 {
        let mut sessions = JoinSet::new();
        let until = Instant::now() + self.lasts;
        for _ in 0..self.sessions {
            let client = session(database, "load").await;
            let (hold, gap_ms) = (self.hold, self.gap_ms.clone());
            sessions.spawn(async move {
                let mut held_s = 0.0;
                while Instant::now() < until {
                    let gap = rand::rng().random_range(gap_ms.clone());
                    tokio::time::sleep(Duration::from_millis(gap)).await;
                    let began =
                        at(&client, &format!("BEGIN; SELECT count(*) FROM pg_class WHERE oid = 1; {NOW}")).await;
                    tokio::time::sleep(hold).await;
                    held_s += at(&client, &format!("{NOW}; COMMIT")).await - began;
                }
                held_s
            });
        }
        sessions.join_all().await.into_iter().sum()
    }
}

/// Session seconds that were sampled, that were counted by the server, and that were true.
#[derive(Debug)]
#[expect(dead_code, reason = "they are printed")]
struct Figures {
    sampled_s: f64,
    error_s: f64,
    counted_s: f64,
    truth_s: f64,
    record: MonitorRecord,
}

async fn measured(load: Load) -> Figures {
    let mut server = server().await;
    let database = server.config();
    let before = monitor::read_counters(&database).await.unwrap();
    let watching = Watching::start(&database).await;
    let truth_s = load.run(&database).await;
    let seen = watching.stop().await;
    let counted = counted_at_rest(&database, &before).await;
    let summary = seen.summary();
    let (sampled_s, error_s) =
        (summary.idle_in_transaction_sampled_s.unwrap(), summary.idle_in_transaction_sampled_error_s.unwrap());
    let counted_s = counted.idle_in_transaction_s.unwrap();
    // What a poll may add itself is stated, too, and grows with the time that the machine takes for it: chance alone is judged.
    let by_chance_s = (error_s.powi(2) - (seen.share_just_idle() * sampled_s / 2.0).powi(2)).max(0.0).sqrt();
    assert!(by_chance_s < 0.03 * sampled_s, "the stated error is no use: {by_chance_s} s of {sampled_s} s");
    assert_eq!(counted.lost.map(|lost| lost.total()), Some(0));
    server.stop().await.unwrap();
    Figures { sampled_s, error_s, counted_s, truth_s, record: seen.watched.record }
}

/// Count of the server since `before`, once all sessions that closed have reported: when nothing new comes.
async fn counted_at_rest(database: &Config, before: &ServerCounters) -> ServerCounters {
    let deadline = Instant::now() + HANG;
    let mut last = f64::NAN;
    loop {
        let counted = monitor::read_counters(database).await.unwrap().since(before);
        let now = counted.idle_in_transaction_s.unwrap();
        // Equal to the last digit: nobody has reported since.
        if now.to_bits() == last.to_bits() {
            return counted;
        }
        assert!(Instant::now() < deadline, "the counter never came to rest: {last} s, then {now} s");
        last = now;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn off(measured: f64, truth: f64) -> f64 {
    (measured / truth - 1.0).abs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_time_of_100_ms_holds_is_within_1_percent_of_the_truth() {
    let load = Load { sessions: 160, hold: Duration::from_millis(100), gap_ms: 5..70, lasts: Duration::from_secs(9) };
    let figures = measured(load).await;
    println!("{figures:#?}");
    let Figures { sampled_s, counted_s, truth_s, .. } = figures;
    assert!(off(sampled_s, truth_s) < 0.01, "sampled {sampled_s} s, true {truth_s} s");
    assert!(off(sampled_s, counted_s) < 0.01, "sampled {sampled_s} s, counted {counted_s} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_time_of_10_ms_holds_is_within_5_percent_of_the_truth() {
    let load = Load { sessions: 160, hold: Duration::from_millis(10), gap_ms: 30..90, lasts: Duration::from_secs(12) };
    let figures = measured(load).await;
    println!("{figures:#?}");
    let Figures { sampled_s, counted_s, truth_s, .. } = figures;
    assert!(off(sampled_s, truth_s) < 0.05, "sampled {sampled_s} s, true {truth_s} s");
    assert!(off(sampled_s, counted_s) < 0.05, "sampled {sampled_s} s, counted {counted_s} s");
}

#[tokio::test]
async fn the_oldest_age_is_within_an_interval_and_episodes_are_whole() {
    let mut server = server().await;
    let watching = Watching::start(&server.config()).await;
    let client = session(&server.config(), "GET /tools").await;
    let began = Instant::now();
    client.batch_execute("BEGIN; SELECT 7 AS held").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_530)).await;
    let truth_s = began.elapsed().as_secs_f64();
    client.batch_execute("COMMIT").await.unwrap();
    let at_most_s = began.elapsed().as_secs_f64();
    let episode = watching
        .wait_for("the episode", |sample| match sample {
            Sample::Episode(episode) => Some(episode.clone()),
            _ => None,
        })
        .await;
    let seen = watching.stop().await;
    let age_s = seen.summary().transaction_age_max_s.unwrap();
    assert!((truth_s - 0.05..=at_most_s + 0.05).contains(&age_s), "{age_s} s for {truth_s} s");
    let length_s = episode.ended_s - episode.began_s;
    assert!((truth_s - 0.05..=at_most_s + 0.02).contains(&length_s), "{episode:?} for {truth_s} s");
    assert_eq!(episode.application_name, "GET /tools");
    assert_eq!(episode.statement.as_deref(), Some("BEGIN; SELECT 7 AS held"));
    assert_eq!((episode.end, episode.aborted), (EpisodeEnd::Committed, false));
    assert!(episode.user.is_some());
    // And by statement: the breakdowns add up to the same.
    let idle_s: f64 = seen
        .of(|sample| match sample {
            Sample::Breakdown(breakdown) => Some(breakdown.groups.iter().filter_map(|it| it.idle_s).sum::<f64>()),
            _ => None,
        })
        .into_iter()
        .sum();
    assert!((truth_s - 0.1..=truth_s + 0.1).contains(&idle_s), "{idle_s} s for {truth_s} s");
    server.stop().await.unwrap();
}
