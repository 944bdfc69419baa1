//! Each major version of PostgreSQL, as `.ci/deps` has installed them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rbac_bench::record::{EpisodeEnd, Event, Sample};

use crate::watching::{Watching, server_of, session};

/// The server's folder. Started as root it runs as somebody else, who may not be let into ours: then it is a copy.
fn folder(major: u32, copy: &Path) -> PathBuf {
    let place = format!("{}/tests/postgres/node_modules/postgres-{major}/native", env!("CARGO_MANIFEST_DIR"));
    let place = PathBuf::from(place);
    assert!(place.join("bin/postgres").exists(), "`{}` is missing: .ci/deps brings it", place.display());
    let open = |folder: &Path| folder.metadata().unwrap().permissions().mode() & 0o005 == 0o005;
    if place.ancestors().all(open) {
        return place;
    }
    std::fs::set_permissions(copy, PermissionsExt::from_mode(0o755)).unwrap();
    assert!(Command::new("cp").arg("-r").arg(&place).arg(copy).status().unwrap().success());
    copy.join("native")
}

/// A hold of which everything is known, and what was seen of it.
async fn sees_a_known_hold(major: u32) {
    let copy = tempfile::tempdir().unwrap();
    let mut server = server_of(Some(&folder(major, copy.path()).join("bin"))).await;
    assert!(server.version().starts_with(&format!("{major}.")), "{}", server.version());
    let watching = Watching::start(&server.config()).await;
    let client = session(&server.config(), "GET /tools").await;
    let began = Instant::now();
    client.batch_execute("BEGIN; SELECT count(*) FROM pg_class").await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    client.batch_execute("COMMIT").await.unwrap();
    let at_most_s = began.elapsed().as_secs_f64();
    let episode = watching
        .wait_for("the episode", |sample| match sample {
            Sample::Episode(episode) => Some(episode.clone()),
            _ => None,
        })
        .await;
    // A session that closes reports what it has counted.
    drop(client);
    let counts = major >= 14;
    watching
        .wait_for("the server's count, where there is one", |sample| match sample {
            Sample::Counters(it) if counts => it.idle_in_transaction_counted_s.filter(|seconds| *seconds > 0.69),
            Sample::Counters(it) => it.idle_in_transaction_counted_s.is_none().then_some(0.0),
            _ => None,
        })
        .await;
    let seen = watching.stop().await;
    let length_s = episode.ended_s - episode.began_s;
    assert!((0.69..=at_most_s + 0.02).contains(&length_s), "{episode:?}");
    assert_eq!((episode.end, &*episode.application_name), (EpisodeEnd::Committed, "GET /tools"));
    assert!(episode.statement.unwrap().ends_with("FROM pg_class"));
    let sampled_s = seen.summary().idle_in_transaction_sampled_s.unwrap();
    assert!((sampled_s - length_s).abs() < 0.3, "sampled {sampled_s} s of {length_s} s");
    // A busy machine may slow the looks down, and nothing else happens.
    let events = seen.events();
    let others: Vec<_> = events.iter().filter(|it| !matches!(it, Event::BackedOff { .. })).collect();
    assert_eq!((seen.watched.record.counts_idle_time, others.len()), (counts, 0), "{others:?}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn postgresql_12_is_watched_without_its_counters() {
    sees_a_known_hold(12).await;
}

#[tokio::test]
async fn postgresql_13_is_watched_without_its_counters() {
    sees_a_known_hold(13).await;
}

#[tokio::test]
async fn postgresql_14_is_watched() {
    sees_a_known_hold(14).await;
}

#[tokio::test]
async fn postgresql_15_is_watched() {
    sees_a_known_hold(15).await;
}

#[tokio::test]
async fn postgresql_16_is_watched() {
    sees_a_known_hold(16).await;
}

#[tokio::test]
async fn postgresql_17_is_watched() {
    sees_a_known_hold(17).await;
}

#[tokio::test]
async fn postgresql_18_is_watched() {
    sees_a_known_hold(18).await;
}
