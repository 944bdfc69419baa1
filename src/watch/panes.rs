//! Tables of the screen: rows in the chosen order, and a row's cells.
//!
//! A row borrows from the model, so that a thousand of them cost nothing until they are drawn. Texts of others are made
//! harmless here.

use std::cmp::Reverse;

use super::figures::{age, count};
use super::groups::{ApplicationGroup, RootSession, StatementGroup, Waiter};
use super::model::{PoolView, WatchModel};
use super::pane::Pane;
use crate::monitor::activity::SessionState;
use crate::monitor::sessions::Session;
use crate::render::text::plain;

/// Deeper waiters are indented no further.
const DEEPEST: u32 = 6;

/// A row before it is written.
#[derive(Clone, Copy, Debug)]
pub enum PaneRow<'a> {
    /// A session in a transaction.
    Session(&'a Session),
    Statement(&'a StatementGroup),
    Application(&'a ApplicationGroup),
    Root(&'a RootSession),
    Waiter(&'a Waiter),
    /// A pool, its number and its name.
    Pool(u32, &'a str, &'a PoolView),
    /// Something that happened, and how long ago.
    Event(f64, &'a str),
}

/// Look of a row, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// It holds a transaction and does nothing.
    Holds,
    Bad,
    Works,
    /// It waits for a lock.
    Waits,
}

/// The whole text of a row, and what it is about. Both harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaneDetail {
    pub title: String,
    pub text: String,
}

/// All rows of a pane, in the order of this place among its [`Pane::orders`].
pub fn rows(pane: Pane, model: &WatchModel, order: usize) -> Vec<PaneRow<'_>> {
    let poll = model.poll.as_ref().map(|(_, poll)| poll);
    match pane {
        Pane::Transactions => {
            let mut sessions: Vec<&Session> = poll.into_iter().flat_map(|poll| &poll.transactions).collect();
            match order {
                1 => sessions.sort_by(|a, b| b.state_s.unwrap_or(0.0).total_cmp(&a.state_s.unwrap_or(0.0))),
                2 => sessions.sort_by(|a, b| a.application_name.cmp(&b.application_name)),
                _ => {}
            }
            sessions.into_iter().map(PaneRow::Session).collect()
        }
        Pane::Statements => {
            let mut groups: Vec<_> = poll.into_iter().flat_map(|poll| &poll.statements).collect();
            if order == 1 {
                groups.sort_by(|a, b| b.oldest_s.total_cmp(&a.oldest_s));
            }
            groups.into_iter().map(PaneRow::Statement).collect()
        }
        Pane::Applications => {
            let mut groups: Vec<_> = poll.into_iter().flat_map(|poll| &poll.applications).collect();
            match order {
                1 => groups.sort_by_key(|group| Reverse(group.counts.sessions)),
                2 => groups.sort_by(|a, b| a.application_name.cmp(&b.application_name)),
                _ => {}
            }
            groups.into_iter().map(PaneRow::Application).collect()
        }
        Pane::Blocking => {
            let mut roots: Vec<&RootSession> = poll.into_iter().flat_map(|poll| &poll.roots).collect();
            if order == 1 {
                roots.sort_by(|a, b| transaction_s(b).total_cmp(&transaction_s(a)));
            }
            roots
                .into_iter()
                .flat_map(|root| std::iter::once(PaneRow::Root(root)).chain(root.behind.iter().map(PaneRow::Waiter)))
                .collect()
        }
        Pane::Pools => {
            let mut pools: Vec<(&u32, &PoolView)> = model.pools.iter().collect();
            if order == 1 {
                pools.sort_by_key(|(_, pool)| Reverse(pool.sample.checked_out));
            }
            pools.into_iter().map(|(number, pool)| PaneRow::Pool(*number, pool_name(model, *number), pool)).collect()
        }
        Pane::Events => {
            model.happenings.iter().rev().map(|(at_s, text)| PaneRow::Event(model.now_s - at_s, text)).collect()
        }
    }
}

fn transaction_s(root: &RootSession) -> f64 {
    root.session.as_ref().and_then(|session| session.transaction_s).unwrap_or(0.0)
}

fn pool_name(model: &WatchModel, number: u32) -> &str {
    let index = (number as usize).wrapping_sub(1);
    model.target.pools.get(index).map_or("", String::as_str)
}

/// The heads of a pane's columns and how wide each is; the last column takes what is left.
pub fn columns(pane: Pane) -> &'static [(&'static str, u16)] {
    match pane {
        Pane::Transactions => {
            &[("pid", 8), ("age", 8), ("in state", 8), ("state", 10), ("application", 14), ("last statement", 0)]
        }
        Pane::Statements => &[("sessions", 8), ("idle", 5), ("oldest", 8), ("application", 14), ("statement", 0)],
        Pane::Applications => &[
            ("sessions", 8),
            ("idle in tx", 10),
            ("active", 6),
            ("waiting", 7),
            ("idle", 5),
            ("oldest", 8),
            ("application", 0),
        ],
        Pane::Blocking => {
            &[("pid", 14), ("behind", 6), ("state", 10), ("age", 8), ("application", 14), ("last statement", 0)]
        }
        Pane::Pools => &[("out", 5), ("peak", 5), ("waiting", 7), ("gave up", 8), ("stalled", 7), ("pool", 0)],
        Pane::Events => &[("ago", 8), ("what", 0)],
    }
}

/// Text of a pane without a row.
pub fn nothing(pane: Pane, model: &WatchModel) -> &'static str {
    match pane {
        Pane::Pools if model.target.pools.is_empty() => "--metrics-url shows the pools of an application here",
        Pane::Events => "nothing happened so far",
        _ if model.poll.is_none() => "not polled yet",
        Pane::Transactions | Pane::Statements => "no session is in a transaction",
        Pane::Applications => "no session",
        Pane::Blocking => "nobody waits for a lock",
        Pane::Pools => "not read yet",
    }
}

impl PaneRow<'_> {
    /// The cells, as many as the pane has columns.
    pub fn cells(&self) -> Vec<String> {
        match self {
            Self::Session(it) => vec![
                it.pid.to_string(),
                age(it.transaction_s),
                age(it.state_s),
                state(it),
                name(&it.application_name),
                statement(it),
            ],
            Self::Statement(it) => vec![
                count(Some(it.sessions)),
                count(Some(it.idle_in_transaction)),
                age(Some(it.oldest_s)),
                name(&it.application_name),
                line(&it.statement),
            ],
            Self::Application(it) => vec![
                count(Some(it.counts.sessions)),
                count(Some(it.counts.idle_in_transaction_total())),
                count(Some(it.counts.active)),
                count(Some(it.counts.waiting_for_lock)),
                count(Some(it.counts.idle)),
                age(it.oldest_s),
                name(&it.application_name),
            ],
            Self::Root(it) => root(it),
            Self::Waiter(it) => vec![
                format!("{}└ {}", "  ".repeat(it.depth.min(DEEPEST) as usize - 1), it.session.pid),
                String::new(),
                state(&it.session),
                age(it.session.state_s),
                name(&it.session.application_name),
                statement(&it.session),
            ],
            Self::Pool(number, url, it) => vec![
                count(it.sample.checked_out),
                count(it.peak),
                count(it.sample.pending),
                it.sample.timeouts.map_or_else(|| "–".to_owned(), |count| count.to_string()),
                count(it.sample.stalled_workers),
                format!("{number} {}", plain(url)),
            ],
            Self::Event(ago_s, what) => vec![age(Some(*ago_s)), line(what)],
        }
    }

    pub fn tone(&self) -> Tone {
        match self {
            Self::Session(it) => tone(it),
            Self::Statement(it) if it.idle_in_transaction > 0 => Tone::Holds,
            Self::Application(it) if it.counts.idle_in_transaction_total() > 0 => Tone::Holds,
            Self::Root(it) => it.session.as_ref().map_or(Tone::Bad, tone),
            Self::Waiter(_) => Tone::Waits,
            Self::Pool(_, _, it) if it.sample.checked_out.is_none() => Tone::Bad,
            Self::Pool(_, _, it) if it.sample.pending.is_some_and(|pending| pending > 0) => Tone::Holds,
            _ => Tone::Plain,
        }
    }

    /// Everything that is known of it.
    pub fn detail(&self) -> PaneDetail {
        match self {
            Self::Session(it) => session_detail(it, ""),
            Self::Root(RootSession { session: Some(it), behind, .. }) => {
                session_detail(it, &format!("{} sessions wait behind it\n", behind.len()))
            }
            Self::Root(it) => PaneDetail { title: root(it)[0].clone(), text: root(it)[5].clone() },
            Self::Waiter(it) => session_detail(&it.session, ""),
            Self::Statement(it) => {
                let title = format!("{} sessions, {} of them idle in transaction", it.sessions, it.idle_in_transaction);
                PaneDetail { title, text: line(&it.statement) }
            }
            Self::Application(it) => {
                PaneDetail { title: "application_name".to_owned(), text: plain(&it.application_name) }
            }
            Self::Pool(number, url, it) => {
                let errors = it.sample.errors.iter().map(|(text, count)| format!("{count} × {}", plain(text)));
                let lines: Vec<String> = std::iter::once(plain(url)).chain(errors).collect();
                PaneDetail { title: format!("pool {number}"), text: lines.join("\n") }
            }
            Self::Event(ago_s, what) => {
                PaneDetail { title: format!("{} ago", age(Some(*ago_s)).trim()), text: line(what) }
            }
        }
    }
}

fn root(root: &RootSession) -> Vec<String> {
    let behind = root.behind.len().to_string();
    if let Some(it) = &root.session {
        let (pid, application) = (it.pid.to_string(), name(&it.application_name));
        return vec![pid, behind, state(it), age(it.transaction_s), application, statement(it)];
    }
    let (pid, what) = match root.pid {
        0 => ("prepared".to_owned(), "a prepared transaction: see pg_prepared_xacts"),
        pid => (pid.to_string(), "no client session of this database: see pg_stat_activity"),
    };
    vec![pid, behind, "–".to_owned(), age(None), String::new(), what.to_owned()]
}

fn session_detail(session: &Session, more: &str) -> PaneDetail {
    let labelled =
        |what: &str, value: Option<&str>| value.map_or_else(String::new, |it| format!("{what} {}\n", plain(it)));
    let blocked_by: Vec<String> = session.blocked_by.iter().map(ToString::to_string).collect();
    let text = format!(
        "{}, for {}; transaction open for {}\n{}{}{}{}{}{more}\n{}",
        session.state.name(),
        age(session.state_s).trim(),
        age(session.transaction_s).trim(),
        labelled("application_name", Some(&session.application_name)),
        labelled("user", session.user.as_deref()),
        labelled("client", session.client.as_deref()),
        labelled("waits for", session.wait.as_deref()),
        labelled("behind", (!blocked_by.is_empty()).then(|| blocked_by.join(", ")).as_deref()),
        statement(session),
    );
    PaneDetail { title: format!("process {}", session.pid), text }
}

fn tone(session: &Session) -> Tone {
    match session.state {
        _ if session.waits_for_lock => Tone::Waits,
        SessionState::IdleInTransaction => Tone::Holds,
        SessionState::IdleInTransactionAborted => Tone::Bad,
        SessionState::Active => Tone::Works,
        SessionState::Idle | SessionState::Other => Tone::Plain,
    }
}

fn state(session: &Session) -> String {
    let short = match session.state {
        _ if session.waits_for_lock => "waits lock",
        SessionState::Active => "active",
        SessionState::Idle => "idle",
        SessionState::IdleInTransaction => "idle in tx",
        SessionState::IdleInTransactionAborted => "aborted tx",
        SessionState::Other => "other",
    };
    short.to_owned()
}

fn statement(session: &Session) -> String {
    session.statement.as_deref().map_or_else(|| "–".to_owned(), line)
}

fn name(application_name: &str) -> String {
    if application_name.is_empty() { "–".to_owned() } else { plain(application_name) }
}

/// A text in one line, white space put together.
pub(super) fn line(text: &str) -> String {
    // What is beyond is not shown anyway, and splitting it would take its time.
    let bounded: String = text.chars().take(4_000).collect();
    plain(&bounded.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Ui;
    use crate::watch::simulated::{model, poll, session};
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    #[test]
    fn each_row_has_a_cell_for_each_column() {
        let mut model = model(50);
        model.see(60.0, crate::monitor::sessions::PollEvent::Lost("gone".to_owned()));
        let ui = Ui::new(false);
        for pane in Pane::ALL {
            let rows = rows(pane, &model, ui.order(pane));
            assert!(!rows.is_empty(), "{pane:?}");
            assert!(rows.iter().all(|row| row.cells().len() == columns(pane).len()), "{pane:?}");
        }
    }

    #[test]
    fn transactions_come_in_the_order_that_was_asked_for() {
        let model = model(50);
        let mut ui = Ui::new(false);
        let ages = |ui: &Ui| -> Vec<f64> {
            let of = |row: &PaneRow| if let PaneRow::Session(it) = row { it.transaction_s } else { None };
            rows(Pane::Transactions, &model, ui.order(Pane::Transactions)).iter().filter_map(of).collect()
        };
        assert!(ages(&ui).is_sorted_by(|a, b| a >= b));
        for _ in 0..2 {
            ui.key(KeyEvent::new(KeyCode::Char('s'), KeyModifiers::NONE), &model);
        }
        assert!(!ages(&ui).is_sorted_by(|a, b| a >= b), "by application now");
    }

    #[test]
    fn what_a_client_sent_moves_no_cursor() {
        let hostile = Session {
            application_name: "\u{1b}]0;pwned\u{7}gpj.\u{202e}exe".to_owned(),
            statement: Some(format!("SELECT '\u{1b}[2J'\n\n-- {}", "x".repeat(1_000_000))),
            user: Some("a\u{0}b".to_owned()),
            ..session(7, SessionState::IdleInTransaction, Some(1.0))
        };
        let row = PaneRow::Session(&hostile);
        let shown = [row.cells().concat(), row.detail().text.replace('\n', "")].concat();
        assert!(!shown.chars().any(char::is_control) && !shown.contains('\u{202e}'), "{shown}");
        assert!(shown.len() < 20_000);
    }

    #[test]
    fn a_prepared_transaction_in_the_way_is_named() {
        let mut sessions = poll(10).sessions;
        sessions[8].blocked_by = vec![0];
        let arranged =
            crate::watch::groups::Arranged::of(crate::monitor::sessions::SessionSnapshot { sessions, took_ms: 1.0 });
        let cells = PaneRow::Root(&arranged.roots[0]).cells();
        assert_eq!((cells[0].as_str(), cells[1].as_str()), ("prepared", "1"));
        assert!(cells[5].contains("pg_prepared_xacts"));
    }
}
