//! Log files that were named on the command line.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::error::CliError;
use crate::logs::{LogReport, read};

/// Reads all of them, one after the other, with a bar on a terminal.
pub(super) fn read_all(paths: &[PathBuf]) -> Result<LogReport, CliError> {
    let mut report = LogReport::default();
    for path in paths {
        let bar = bar(path);
        report = read(path, report, &mut |bytes| bar.set_position(bytes)).map_err(CliError::Log)?;
        bar.finish_and_clear();
    }
    Ok(report)
}

/// Shown from the first megabytes on; hidden without a terminal.
fn bar(path: &Path) -> ProgressBar {
    let length = std::fs::metadata(path).map_or(0, |it| it.len());
    if length < SHOWN_FROM || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes} of {total_bytes}, {eta} left");
    let bar = ProgressBar::new(length).with_message(crate::render::text::plain(&path.display().to_string()));
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

/// Bytes of a file that take longer than a moment.
const SHOWN_FROM: u64 = 20 << 20;
