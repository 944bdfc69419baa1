//! State of the keyboard: pane, order, zoom.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::WatchModel;
use super::pane::Pane;
use super::panes::{self, PaneDetail};

/// Seconds a column of the charts, in bins.
const ZOOMS: [usize; 6] = [1, 2, 5, 10, 30, 60];

/// Rows that a page is, whatever the height: a key must mean the same everywhere.
const PAGE: usize = 10;

/// Choices at the keyboard.
#[derive(Clone, Debug)]
pub struct Ui {
    /// The pane that keys go to.
    pub pane: Pane,
    /// True if colours are used.
    pub color: bool,
    /// True if the view stands still.
    pub paused: bool,
    /// True if the help is shown.
    pub help: bool,
    /// The row whose whole text is shown.
    pub detail: Option<PaneDetail>,
    selected: [usize; Pane::ALL.len()],
    order: [usize; Pane::ALL.len()],
    zoom: usize,
}

/// Result of a key for the view's loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserAction {
    /// Nothing more than to draw again.
    Nothing,
    Quit,
}

impl Ui {
    /// At the beginning.
    pub fn new(color: bool) -> Self {
        Self {
            pane: Pane::Transactions,
            color,
            paused: false,
            help: false,
            detail: None,
            selected: [0; Pane::ALL.len()],
            order: [0; Pane::ALL.len()],
            zoom: 0,
        }
    }

    /// The selected row of a pane with so many rows.
    pub fn selected(&self, pane: Pane, rows: usize) -> usize {
        self.selected[pane.index()].min(rows.saturating_sub(1))
    }

    /// The order that a pane is in, as an index into its [`Pane::orders`].
    pub fn order(&self, pane: Pane) -> usize {
        self.order[pane.index()]
    }

    /// Bins that a column of the charts stands for.
    pub fn bins_each(&self) -> usize {
        ZOOMS[self.zoom]
    }

    /// Takes a key. `model` is what the person sees.
    pub fn key(&mut self, key: KeyEvent, model: &WatchModel) -> UserAction {
        if key.kind == KeyEventKind::Release {
            return UserAction::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return UserAction::Quit,
            // A terminal whose other end closes sends a NUL, which reads as Ctrl-Space.
            _ if control => {}
            KeyCode::Char('q') => return UserAction::Quit,
            // It closes what lies on top first; any key closes the help, Enter what it has opened.
            KeyCode::Esc if !self.help && self.detail.is_none() => return UserAction::Quit,
            code if self.help || code == KeyCode::Esc => self.close(),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => {
                self.detail = None;
                self.help = true;
            }
            KeyCode::Enter => self.toggle_detail(model),
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('s') => self.sort(),
            KeyCode::Char('+' | '=') => self.zoom = self.zoom.saturating_sub(1),
            KeyCode::Char('-') => self.zoom = (self.zoom + 1).min(ZOOMS.len() - 1),
            code => self.walk(code, model),
        }
        UserAction::Nothing
    }

    fn walk(&mut self, code: KeyCode, model: &WatchModel) {
        let count = Pane::ALL.len();
        let rows = panes::rows(self.pane, model, self.order(self.pane)).len();
        let at = self.selected(self.pane, rows);
        let last = rows.saturating_sub(1);
        let to = match code {
            KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => return self.go(self.pane.index() + 1),
            KeyCode::BackTab | KeyCode::Left => return self.go(self.pane.index() + count - 1),
            KeyCode::Char(digit @ '1'..='6') => return self.go(digit as usize - '1' as usize),
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => at + 1,
            KeyCode::PageUp => at.saturating_sub(PAGE),
            KeyCode::PageDown => at + PAGE,
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => last,
            _ => return,
        };
        self.selected[self.pane.index()] = to.min(last);
    }

    fn toggle_detail(&mut self, model: &WatchModel) {
        let rows = panes::rows(self.pane, model, self.order(self.pane));
        let row = rows.get(self.selected(self.pane, rows.len()));
        self.detail = row.filter(|_| self.detail.is_none()).map(panes::PaneRow::detail);
    }

    fn go(&mut self, index: usize) {
        self.pane = Pane::ALL[index % Pane::ALL.len()];
        self.detail = None;
    }

    fn sort(&mut self) {
        let order = &mut self.order[self.pane.index()];
        *order = (*order + 1) % self.pane.orders().len();
    }

    fn close(&mut self) {
        self.help = false;
        self.detail = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::simulated::model;

    fn press(ui: &mut Ui, code: KeyCode) -> UserAction {
        ui.key(KeyEvent::new(code, KeyModifiers::NONE), &model(50))
    }

    #[test]
    fn q_escape_and_control_c_quit_but_escape_closes_what_lies_on_top_first() {
        let mut ui = Ui::new(false);
        assert_eq!(press(&mut ui, KeyCode::Char('q')), UserAction::Quit);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(ui.key(control_c, &model(0)), UserAction::Quit);
        let nul = KeyEvent::new(KeyCode::Char(' '), KeyModifiers::CONTROL);
        assert_eq!((ui.key(nul, &model(0)), ui.paused), (UserAction::Nothing, false));
        press(&mut ui, KeyCode::Char('?'));
        assert!(ui.help);
        assert_eq!(press(&mut ui, KeyCode::Esc), UserAction::Nothing);
        assert!(!ui.help);
        press(&mut ui, KeyCode::Enter);
        assert!(ui.detail.is_some());
        assert_eq!(press(&mut ui, KeyCode::Esc), UserAction::Nothing);
        assert_eq!((press(&mut ui, KeyCode::Esc), ui.detail.is_none()), (UserAction::Quit, true));
    }

    #[test]
    fn panes_are_walked_in_a_circle_and_rows_end_at_the_last() {
        let mut ui = Ui::new(false);
        press(&mut ui, KeyCode::BackTab);
        assert_eq!(ui.pane, Pane::Events);
        press(&mut ui, KeyCode::Tab);
        assert_eq!(ui.pane, Pane::Transactions);
        press(&mut ui, KeyCode::End);
        press(&mut ui, KeyCode::Down);
        let rows = panes::rows(Pane::Transactions, &model(50), ui.order(Pane::Transactions)).len();
        assert_eq!(ui.selected(Pane::Transactions, rows), rows - 1);
        press(&mut ui, KeyCode::Home);
        press(&mut ui, KeyCode::PageDown);
        assert_eq!(ui.selected(Pane::Transactions, rows), PAGE);
        assert_eq!(ui.selected(Pane::Transactions, 3), 2, "fewer rows than before");
    }

    #[test]
    fn each_pane_is_sorted_by_itself() {
        let mut ui = Ui::new(false);
        press(&mut ui, KeyCode::Char('s'));
        press(&mut ui, KeyCode::Tab);
        assert_eq!((ui.order(Pane::Transactions), ui.order(Pane::Statements)), (1, 0));
        press(&mut ui, KeyCode::Char('s'));
        press(&mut ui, KeyCode::Char('s'));
        assert_eq!(ui.order(Pane::Statements), 0);
    }
}
