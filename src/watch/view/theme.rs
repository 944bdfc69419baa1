//! Styles by meaning. Without colours the words say it, and bold, dim and reversed text helps.

use ratatui::style::{Color, Modifier, Style};

use crate::watch::panes::Tone;

/// Styles, with colours or without.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    color: bool,
}

impl Theme {
    pub(super) fn of(color: bool) -> Self {
        Self { color }
    }

    fn in_color(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    pub(super) fn strong() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn dim(self) -> Style {
        self.in_color(Color::DarkGray)
    }

    pub(super) fn holds(self) -> Style {
        self.in_color(Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.in_color(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn works(self) -> Style {
        self.in_color(Color::Green)
    }

    pub(super) fn waits(self) -> Style {
        self.in_color(Color::Magenta)
    }

    /// Style of what must not be overlooked.
    pub(super) fn alarm(self) -> Style {
        self.bad().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn selected() -> Style {
        Self::strong().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn tone(self, tone: Tone) -> Style {
        match tone {
            Tone::Plain => Style::new(),
            Tone::Holds => self.holds(),
            Tone::Bad => self.bad(),
            Tone::Works => self.works(),
            Tone::Waits => self.waits(),
        }
    }
}
