//! Sessions of every kind, and what the monitor makes of them.

use std::time::Duration;

use rbac_bench::monitor::{self, SessionFilter};
use rbac_bench::record::{EpisodeEnd, Sample};

use crate::watching::{Watching, server, session};

#[tokio::test]
async fn a_transaction_that_failed_is_idle_too_and_ages() {
    let mut server = server().await;
    let watching = Watching::start(&server.config()).await;
    let client = session(&server.config(), "app").await;
    client.batch_execute("BEGIN; SELECT 1 / 0").await.unwrap_err();
    let age_s = watching
        .wait_for("an aborted transaction a second old", |sample| match sample {
            Sample::Activity(it) if it.idle_in_transaction_aborted == 1 && it.idle_in_transaction == 0 => {
                it.oldest_transaction_s.filter(|age| *age > 1.0)
            }
            _ => None,
        })
        .await;
    assert!(age_s < 2.0, "{age_s}");
    client.batch_execute("ROLLBACK").await.unwrap();
    let episode = watching
        .wait_for("its episode", |sample| match sample {
            Sample::Episode(episode) => Some(episode.clone()),
            _ => None,
        })
        .await;
    assert!(episode.aborted && episode.end == EpisodeEnd::Committed, "{episode:?}");
    let sampled_s = watching.stop().await.summary().idle_in_transaction_sampled_s.unwrap();
    assert!((sampled_s - (episode.ended_s - episode.began_s)).abs() < 0.15, "{sampled_s} s of {episode:?}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn killed_sessions_are_gone_and_make_the_servers_count_a_lower_bound() {
    let mut server = server().await;
    let before = monitor::read_counters(&server.config()).await.unwrap();
    let watching = Watching::start(&server.config()).await;
    let killer = session(&server.config(), "operator").await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let client = session(&server.config(), "app").await;
        client.batch_execute("BEGIN; SELECT 1").await.unwrap();
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    killer
        .batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'app'")
        .await
        .unwrap();
    watching
        .wait_for("five lost sessions", |sample| match sample {
            Sample::Counters(counters) => counters.sessions_lost.filter(|lost| *lost == 5),
            _ => None,
        })
        .await;
    let seen = watching.stop().await;
    let ends = seen.of(|sample| match sample {
        Sample::Episode(episode) => Some(episode.end),
        _ => None,
    });
    assert_eq!(ends, [EpisodeEnd::SessionGone; 5]);
    let counted = monitor::read_counters(&server.config()).await.unwrap().since(&before);
    let sampled_s = seen.summary().idle_in_transaction_sampled_s.unwrap();
    assert_eq!(counted.lost.unwrap().total(), 5, "the monitor itself is not lost");
    let counted_s = counted.idle_in_transaction_s.unwrap();
    assert!(counted_s < 0.2 * sampled_s && sampled_s > 4.9, "counted {counted_s} s, sampled {sampled_s} s");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn prepared_transactions_and_other_databases_are_counted_apart() {
    let mut server = server().await;
    let config = server.config();
    let client = session(&config, "app").await;
    client.batch_execute("CREATE DATABASE another").await.unwrap();
    let watching = Watching::start(&config).await;
    client.batch_execute("BEGIN; CREATE TABLE t (x int); PREPARE TRANSACTION 'half'").await.unwrap();
    let mut elsewhere = config.clone();
    elsewhere.dbname("another");
    let stranger = session(&elsewhere, "app").await;
    stranger.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let from_s = watching.now_s();
    watching
        .wait_for_after("both", from_s, |sample| match sample {
            Sample::Counters(it) if it.prepared_transactions == Some(1) && it.others.other_database == 1 => Some(()),
            _ => None,
        })
        .await;
    client.batch_execute("ROLLBACK PREPARED 'half'").await.unwrap();
    let seen = watching.stop().await;
    let figures = seen.of(|sample| match sample {
        Sample::Activity(it) => Some((it.sessions, it.idle_in_transaction_total())),
        Sample::Pulse(it) => Some((1, it.idle_in_transaction)),
        _ => None,
    });
    assert!(figures.iter().all(|it| *it == (1, 0)), "another database is none of our business: {figures:?}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn only_sessions_of_named_applications_and_users_count() {
    let mut server = server().await;
    let config = server.config();
    let admin = session(&config, "psql").await;
    admin.batch_execute("CREATE ROLE app LOGIN; CREATE ROLE reports LOGIN").await.unwrap();
    let user = |name: &str| {
        let mut config = config.clone();
        config.user(name);
        config
    };
    let mut held = Vec::new();
    // Another role, another application, and one whose name only looks alike.
    for (role, application) in [("reports", "shop/1"), ("app", "psql"), ("app", "shopping"), ("app", "shop/1")] {
        let client = session(&user(role), application).await;
        client.batch_execute("BEGIN; SELECT 1").await.unwrap();
        held.push(client);
    }
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let whose = SessionFilter { applications: named(&["shop", "shop/*"]), users: named(&["app"]) };
    let watching = Watching::start_for(&config, whose).await;
    let from_s = watching.now_s();
    watching
        .wait_for_after("the others apart", from_s, |sample| match sample {
            Sample::Counters(it) => {
                // The administrator is one of them, and idle.
                ((it.others.same_database, it.others.idle_in_transaction) == (4, 3)).then_some(())
            }
            _ => None,
        })
        .await;
    // The three kinds of looks do not come in one moment.
    watching
        .wait_for_after("the load alone in the rows", from_s, |sample| match sample {
            Sample::Activity(it) => ((it.sessions, it.idle_in_transaction) == (1, 1)).then_some(()),
            _ => None,
        })
        .await;
    watching
        .wait_for_after("the load alone in the pulses", from_s, |sample| match sample {
            Sample::Pulse(it) => ((it.in_transaction, it.idle_in_transaction) == (1, 1)).then_some(()),
            _ => None,
        })
        .await;
    drop(watching.stop().await);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn other_sessions_that_come_and_go_between_two_polls_are_in_no_pulse() {
    let mut server = server().await;
    let whose = SessionFilter { applications: vec!["shop".to_owned()], ..SessionFilter::everybody() };
    let watching = Watching::start_for(&server.config(), whose).await;
    // One of the watched application works without holding anything.
    let own = session(&server.config(), "shop").await;
    let mut came = 0;
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        own.batch_execute("SELECT 1").await.unwrap();
        // It connects anew each time, so that no earlier poll of the rows knows it.
        let other = session(&server.config(), "reports").await;
        other.batch_execute("BEGIN; SELECT 1").await.unwrap();
        tokio::time::sleep(Duration::from_millis(80)).await;
        came += 1;
    }
    let seen = watching.stop().await;
    let pulses = seen.samples.iter().filter_map(|it| match &it.sample {
        Sample::Pulse(pulse) => Some(pulse.idle_in_transaction),
        _ => None,
    });
    let pulses: Vec<u32> = pulses.collect();
    assert!(came > 10 && pulses.len() > 20, "{came} sessions, {} pulses", pulses.len());
    assert_eq!(pulses.iter().max(), Some(&0), "{pulses:?}");
    assert_eq!(seen.summary().idle_in_transaction_peak, Some(0));
    assert_eq!(seen.watched.record.sessions_with_activity, Some(1), "the one that worked");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_root_of_a_chain_of_waiters_waits_for_nobody() {
    let mut server = server().await;
    let config = server.config();
    let holder = session(&config, "POST /tools").await;
    holder
        .batch_execute("CREATE TABLE shared (id int PRIMARY KEY, n int); INSERT INTO shared VALUES (1, 0)")
        .await
        .unwrap();
    holder.batch_execute("BEGIN; UPDATE shared SET n = 1 WHERE id = 1").await.unwrap();
    let watching = Watching::start(&config).await;
    let mut waiters = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let waiter = session(&config, "app").await;
        waiters.spawn(async move { waiter.batch_execute("UPDATE shared SET n = n + 1 WHERE id = 1").await });
    }
    let root = watching
        .wait_for("three behind one", |sample| match sample {
            Sample::Blocking(it) if it.waiting == 3 && it.roots.len() == 1 => Some(it.roots[0].clone()),
            _ => None,
        })
        .await;
    assert_eq!((root.blocked, root.application_name.as_deref()), (3, Some("POST /tools")));
    assert_eq!(root.state.as_deref(), Some("idle in transaction"));
    assert!(root.statement.as_deref().unwrap().contains("UPDATE shared SET n = 1") && root.age_s.unwrap() > 0.0);
    holder.batch_execute("COMMIT").await.unwrap();
    while let Some(waited) = waiters.join_next().await {
        waited.unwrap().unwrap();
    }
    watching.stop().await;
    server.stop().await.unwrap();
}
