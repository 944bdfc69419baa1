//! Sessions for tests.

use super::model::{WatchModel, WatchTarget};
use crate::monitor::activity::SessionState;
use crate::monitor::sessions::{PollEvent, ServerLimits, Session, SessionSnapshot};
use crate::record::{ActivitySample, PoolSample, Sample};

/// A session in `state`, with a transaction of this age.
pub(super) fn session(pid: i32, state: SessionState, transaction_s: Option<f64>) -> Session {
    let in_transaction = transaction_s.is_some();
    Session {
        pid,
        user: Some("app".to_owned()),
        application_name: format!("gw-{}", pid % 3 + 1),
        client: Some("10.0.0.7".to_owned()),
        state,
        wait: None,
        waits_for_lock: false,
        transaction_s,
        state_s: transaction_s.map(|age| age / 2.0),
        statement: in_transaction
            .then(|| format!("SELECT role_id FROM user_roles WHERE user_email = 'user-{pid}@example.com'")),
        blocked_by: Vec::new(),
    }
}

/// `count` sessions: most idle in transaction, some active, some waiting behind the first, the rest idle.
pub(super) fn poll(count: u32) -> SessionSnapshot {
    let sessions = (0..count).map(|index| {
        let pid = 1_000 + i32::try_from(index).unwrap_or(0);
        let age = Some(f64::from(count - index) * 0.25);
        match index % 10 {
            0..6 => session(pid, SessionState::IdleInTransaction, age),
            6 => session(pid, SessionState::IdleInTransactionAborted, age),
            7 => session(pid, SessionState::Active, age),
            8 => Session {
                wait: Some("Lock:transactionid".to_owned()),
                waits_for_lock: true,
                statement: Some("UPDATE usage_counters SET calls = calls + 1 WHERE id = 1".to_owned()),
                blocked_by: vec![1_000],
                ..session(pid, SessionState::Active, age)
            },
            _ => session(pid, SessionState::Idle, None),
        }
    });
    SessionSnapshot { sessions: sessions.collect(), took_ms: 3.2 }
}

/// A pool with so many connections out.
pub(super) fn pool(replica: u32, checked_out: Option<u32>) -> PoolSample {
    PoolSample {
        replica,
        checked_out,
        pending: checked_out.map(|out| out / 2),
        timeouts: checked_out.map(u64::from),
        stalled_workers: checked_out.map(|_| 0),
        errors: std::collections::BTreeMap::new(),
        held_s: None,
        ..PoolSample::default()
    }
}

/// A minute of watching, with `count` sessions at its end.
pub(super) fn model(count: u32) -> WatchModel {
    let target = WatchTarget {
        url: "postgresql://watcher@db.example:5432/app".to_owned(),
        pools: vec!["http://gw-1:9100/metrics".to_owned(), "http://gw-2:9100/metrics".to_owned()],
        interval_s: 1.0,
        counts_interval_s: 0.1,
        started_unix_s: 1_795_000_000.0,
    };
    let server = ServerLimits { version: "15.18".to_owned(), max_connections: 1_100, database: "app".to_owned() };
    let mut model = WatchModel::new(target, server);
    for second in 0..60_u32 {
        // Between 20 and 24 seconds nothing was seen.
        if (20..24).contains(&second) {
            continue;
        }
        let grown = count * second / 59;
        let activity = ActivitySample {
            sessions: grown,
            active: grown / 5,
            idle: grown / 10,
            idle_in_transaction: grown * 6 / 10,
            idle_in_transaction_aborted: grown / 10,
            waiting_for_lock: grown / 10,
            waiting_for_client: Some(0),
            just_idle: None,
            oldest_transaction_s: (grown > 0).then(|| f64::from(grown) * 0.25),
            poll_ms: 1.5,
        };
        model.take(f64::from(second), &Sample::Activity(activity));
    }
    model.see(59.2, PollEvent::Poll(poll(count)));
    model.take(59.3, &Sample::Pools(pool(1, Some(30))));
    model.take(59.3, &Sample::Pools(pool(2, None)));
    model.advance(59.5);
    model
}
