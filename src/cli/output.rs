//! Output: writing it, and its width.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes text. A reader who has gone is no error, and changes no verdict.
pub(super) fn say(out: &mut dyn Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// True once nobody wants tables that fit.
static WIDE: AtomicBool = AtomicBool::new(false);

/// From now on tables have all their columns, however narrow the terminal is.
pub(super) fn let_tables_be_wide() {
    WIDE.store(true, Ordering::Relaxed);
}

/// Columns of the terminal that reads us; `None` when it is none, so that nothing is cut in a file.
pub(super) fn output_width() -> Option<usize> {
    if WIDE.load(Ordering::Relaxed) || !std::io::stdout().is_terminal() {
        return None;
    }
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.or_else(|| terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)))
}

/// Writes a line of progress. A closed standard error changes nothing.
pub(super) fn show_progress(line: &str) {
    let _closed = writeln!(io::stderr(), "{line}");
}
