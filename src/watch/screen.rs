//! A terminal: what it shows, and what is typed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::style;

use super::live::{Display, Happened, Happenings};
use super::model::Model;
use super::ui::{Asked, Ui};
use super::view::draw;

/// Between two pictures, when nothing else asks for one.
const REDRAW: Duration = Duration::from_millis(250);

/// How soon the thread that reads keys sees that it should end.
const LISTEN: Duration = Duration::from_millis(100);

/// The terminal, in its alternate screen. It is given back as it was: by `drop`, and by a hook in a panic.
pub struct Screen {
    terminal: DefaultTerminal,
    ui: Ui,
    /// What is shown while the view stands still.
    paused: Option<Model>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it is none.
    pub fn take(color: bool) -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        // `--color` has the last word, and has heard `NO_COLOR`.
        style::force_color_output(color);
        Ok(Self { terminal, ui: Ui::new(color), paused: None })
    }

    fn draw(&mut self, model: &Model) -> io::Result<()> {
        let shown = self.paused.as_ref().unwrap_or(model);
        self.terminal.draw(|frame| draw(frame, shown, &self.ui))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

impl Display for Screen {
    fn interval(&self) -> Duration {
        REDRAW
    }

    fn show(&mut self, model: &Model) -> io::Result<()> {
        self.draw(model)
    }

    fn take(&mut self, event: &Event, model: &Model) -> io::Result<Asked> {
        if let Event::Key(key) = event {
            let shown = self.paused.as_ref().unwrap_or(model);
            if self.ui.key(*key, shown) == Asked::Quit {
                return Ok(Asked::Quit);
            }
            match (self.ui.paused, &self.paused) {
                (true, None) => self.paused = Some(model.clone()),
                (false, Some(_)) => self.paused = None,
                _ => {}
            }
        }
        self.draw(model)?;
        Ok(Asked::Nothing)
    }
}

/// The thread that reads the terminal; it ends when this is dropped.
pub(super) struct Keys {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keys {
    /// Starts to read.
    pub(super) fn read(send: Happenings) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let listen = move || {
            while !stopped.load(Ordering::Relaxed) {
                let heard = match event::poll(LISTEN) {
                    Ok(false) => continue,
                    Ok(true) => event::read().map_or_else(Happened::TerminalGone, Happened::Terminal),
                    Err(error) => Happened::TerminalGone(error),
                };
                let last = matches!(heard, Happened::TerminalGone(_));
                // A full queue loses a key, which can be pressed again.
                if send.blocking_send((Instant::now(), heard)).is_err() || last {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("keys".to_owned()).spawn(listen)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It waits for nothing longer than a moment, and its panic has been reported by the hook.
        drop(self.thread.take().map(JoinHandle::join));
    }
}
