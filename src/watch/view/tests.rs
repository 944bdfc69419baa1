//! Look of the screen, and that nothing makes it panic.

use insta::assert_snapshot;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::draw;
use crate::monitor::activity::SessionState;
use crate::monitor::sessions::{PollEvent, Session, SessionSnapshot};
use crate::record::{ActivitySample, Event, Sample};
use crate::watch::model::{Recording, WatchModel};
use crate::watch::simulated::{model, pool, session};
use crate::watch::ui::Ui;

fn screen(width: u16, height: u16, model: &WatchModel, ui: &Ui) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, ui)).unwrap();
    terminal
}

fn shown(width: u16, height: u16, model: &WatchModel, ui: &Ui) -> String {
    screen(width, height, model, ui).backend().to_string()
}

fn press(ui: &mut Ui, model: &WatchModel, codes: &[KeyCode]) {
    for code in codes {
        ui.key(KeyEvent::new(*code, KeyModifiers::NONE), model);
    }
}

fn lost() -> WatchModel {
    let mut model = model(50);
    model.see(59.6, PollEvent::Lost("cannot read pg_stat_activity: connection closed".to_owned()));
    model.advance(83.0);
    model
}

#[test]
fn no_session_at_80_by_24() {
    assert_snapshot!(shown(80, 24, &model(0), &Ui::new(false)));
}

#[test]
fn fifty_sessions_at_80_by_24() {
    assert_snapshot!(shown(80, 24, &model(50), &Ui::new(false)));
}

#[test]
fn a_thousand_sessions_at_80_by_24() {
    assert_snapshot!(shown(80, 24, &model(1_000), &Ui::new(false)));
}

#[test]
fn no_session_at_200_by_60() {
    assert_snapshot!(shown(200, 60, &model(0), &Ui::new(false)));
}

#[test]
fn fifty_sessions_at_200_by_60() {
    assert_snapshot!(shown(200, 60, &model(50), &Ui::new(false)));
}

#[test]
fn a_thousand_sessions_at_200_by_60() {
    assert_snapshot!(shown(200, 60, &model(1_000), &Ui::new(false)));
}

#[test]
fn a_lost_server_at_80_by_24() {
    assert_snapshot!(shown(80, 24, &lost(), &Ui::new(false)));
}

#[test]
fn hardly_any_room() {
    assert_snapshot!(shown(20, 5, &model(50), &Ui::new(false)));
}

#[test]
fn each_pane_at_80_by_24() {
    let mut model = lost();
    model.recording = Some(Recording { folder: "reports/incident".to_owned(), samples: 1_234 });
    let mut ui = Ui::new(false);
    let mut screens = String::new();
    for _ in 0..5 {
        press(&mut ui, &model, &[KeyCode::Tab]);
        screens += &shown(80, 20, &model, &ui);
    }
    assert_snapshot!(screens);
}

#[test]
fn help_and_a_rows_whole_text() {
    let model = model(50);
    let mut ui = Ui::new(false);
    press(&mut ui, &model, &[KeyCode::Down, KeyCode::Enter, KeyCode::Char('p')]);
    let detail = shown(80, 24, &model, &ui);
    press(&mut ui, &model, &[KeyCode::Char('?')]);
    assert_snapshot!(detail + &shown(80, 24, &model, &ui));
}

#[test]
fn states_have_colours_and_without_colours_there_is_none() {
    let colours = |ui: &Ui| {
        let terminal = screen(200, 60, &lost(), ui);
        let cells = terminal.backend().buffer().content();
        cells.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert!(colours(&Ui::new(true)) > 100);
    assert_eq!(colours(&Ui::new(false)), 0);
}

fn any_session() -> impl Strategy<Value = Session> {
    let texts = ("\\PC{0,40}", any::<String>(), prop::option::of(any::<String>()));
    let figures = (prop::option::of(any::<f64>()), prop::option::of(any::<f64>()));
    (any::<i32>(), 0..5_usize, texts, figures, any::<bool>(), prop::collection::vec(any::<i32>(), 0..4)).prop_map(
        |(pid, state, (name, statement, user), (transaction_s, state_s), waits_for_lock, blocked_by)| Session {
            application_name: name,
            statement: Some(statement),
            user,
            state_s,
            waits_for_lock,
            blocked_by,
            ..session(pid, STATES[state], transaction_s)
        },
    )
}

const STATES: [SessionState; 5] = [
    SessionState::Active,
    SessionState::Idle,
    SessionState::IdleInTransaction,
    SessionState::IdleInTransactionAborted,
    SessionState::Other,
];

const KEYS: [KeyCode; 12] = [
    KeyCode::Tab,
    KeyCode::BackTab,
    KeyCode::Up,
    KeyCode::Down,
    KeyCode::PageDown,
    KeyCode::End,
    KeyCode::Enter,
    KeyCode::Esc,
    KeyCode::Char('s'),
    KeyCode::Char('-'),
    KeyCode::Char('?'),
    KeyCode::Char('p'),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_size_no_session_and_no_key_makes_it_panic(
        (width, height) in (0..220_u16, 0..80_u16),
        sessions in prop::collection::vec(any_session(), 0..30),
        keys in prop::collection::vec(0..KEYS.len(), 0..12),
        (idle, oldest, at_s) in (any::<u32>(), prop::option::of(any::<f64>()), any::<f64>()),
        what in 0..4_u8,
        color in any::<bool>(),
    ) {
        let mut model = model(3);
        let activity = ActivitySample { idle_in_transaction: idle, oldest_transaction_s: oldest, ..ActivitySample::default() };
        model.take(at_s, &Sample::Activity(activity));
        model.take(at_s, &Sample::Pools(pool(idle, Some(idle))));
        model.take(at_s, &Sample::Event(Event::PollFailed { error: format!("\u{1b}{idle}") }));
        model.see(at_s, PollEvent::Poll(SessionSnapshot { sessions, took_ms: at_s }));
        if what == 0 {
            model.see(at_s, PollEvent::Lost("why\n".to_owned()));
        }
        model.advance(at_s);
        let mut ui = Ui::new(color);
        for key in keys {
            press(&mut ui, &model, &[KEYS[key]]);
            let terminal = screen(width, height, &model, &ui);
            let cells = terminal.backend().buffer().content();
            prop_assert!(!cells.iter().any(|cell| cell.symbol().chars().any(char::is_control)));
        }
        screen(width, height, &model, &ui);
    }
}
