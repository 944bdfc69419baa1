//! A terminal: what it shows, and what is typed.

use std::fs::File;
use std::io::{self, IsTerminal, Stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::style;
use ratatui::crossterm::terminal::EnterAlternateScreen;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use super::bounded::Bounded;
use super::model::WatchModel;
use super::plan::{Display, Happenings, WatchEvent};
use super::ui::{Ui, UserAction};
use super::view::draw;

/// Between two pictures, when nothing else asks for one.
const REDRAW: Duration = Duration::from_millis(250);

/// Time within which the thread that reads keys sees that it should end, or that the terminal is gone.
const LISTEN: Duration = Duration::from_millis(100);

/// The terminal, in its alternate screen. It is given back as it was: by `drop`, and by a hook in a panic.
pub struct Screen {
    terminal: Terminal<Bounded<CrosstermBackend<Stdout>>>,
    ui: Ui,
    /// Model that is shown while the view stands still.
    paused: Option<WatchModel>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it is none.
    pub fn take(color: bool) -> io::Result<Self> {
        // This terminal is only for what it sets up: raw mode and the panic hook.
        let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, 1, 1)) };
        drop(ratatui::try_init_with_options(options)?);
        execute!(io::stdout(), EnterAlternateScreen)?;
        let terminal = Terminal::new(Bounded(CrosstermBackend::new(io::stdout())))?;
        // `--color` has the last word, and has heard `NO_COLOR`.
        style::force_color_output(color);
        Ok(Self { terminal, ui: Ui::new(color), paused: None })
    }

    fn draw(&mut self, model: &WatchModel) -> io::Result<()> {
        let shown = self.paused.as_ref().unwrap_or(model);
        self.terminal.draw(|frame| draw(frame, shown, &self.ui))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _gone = ratatui::try_restore();
    }
}

impl Display for Screen {
    fn interval(&self) -> Duration {
        REDRAW
    }

    fn show(&mut self, model: &WatchModel) -> io::Result<()> {
        self.draw(model)
    }

    fn take(&mut self, event: &Event, model: &WatchModel) -> io::Result<UserAction> {
        if let Event::Key(key) = event {
            let shown = self.paused.as_ref().unwrap_or(model);
            if self.ui.key(*key, shown) == UserAction::Quit {
                return Ok(UserAction::Quit);
            }
            match (self.ui.paused, &self.paused) {
                (true, None) => self.paused = Some(model.clone()),
                (false, Some(_)) => self.paused = None,
                _ => {}
            }
        }
        self.draw(model)?;
        Ok(UserAction::Nothing)
    }
}

/// The thread that reads the terminal; it ends when this is dropped.
pub(super) struct Keys {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keys {
    /// Starts to read.
    ///
    /// # Errors
    /// When there is no terminal to read.
    pub(super) fn read(send: Happenings) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let terminal = Input::open()?;
        let listen = move || {
            while !stopped.load(Ordering::Relaxed) {
                let Some(heard) = next(&terminal) else { continue };
                let last = matches!(heard, WatchEvent::TerminalGone);
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

/// Report of the terminal within [`LISTEN`]; `None` when there is none.
fn next(terminal: &Input) -> Option<WatchEvent> {
    // Reading a terminal that has hung up gives an end of file again and again, without an error.
    if terminal.is_gone() {
        return Some(WatchEvent::TerminalGone);
    }
    match event::poll(LISTEN) {
        Ok(false) => None,
        Ok(true) => Some(event::read().map_or(WatchEvent::TerminalGone, WatchEvent::Terminal)),
        Err(_) => Some(WatchEvent::TerminalGone),
    }
}

/// The terminal that keys come from: standard input, or else the one that controls this process, as `crossterm` has it.
enum Input {
    Standard(io::Stdin),
    Controlling(File),
}

impl Input {
    fn open() -> io::Result<Self> {
        let stdin = io::stdin();
        if stdin.is_terminal() { Ok(Self::Standard(stdin)) } else { File::open("/dev/tty").map(Self::Controlling) }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Standard(stdin) => stdin.as_fd(),
            Self::Controlling(file) => file.as_fd(),
        }
    }

    fn is_gone(&self) -> bool {
        let mut polled = [PollFd::new(self.fd(), PollFlags::empty())];
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        poll(&mut polled, PollTimeout::ZERO).is_ok_and(|_| polled[0].revents().is_some_and(|it| it.intersects(gone)))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + 3 * LISTEN;
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(LISTEN / 20);
        }
        // One that sits in a read goes with the process.
        if thread.is_finished() {
            // Its panic has been reported by the hook.
            drop(thread.join());
        }
    }
}
