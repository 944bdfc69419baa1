//! Log of a service: a file with a bound, without secrets, and its last lines at hand.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::redact::Redactor;

/// A file that is longer becomes the older one of two, so that at least so much is kept.
const LARGEST_FILE: u64 = 4 << 20;

/// A line that is longer is cut.
const LONGEST_LINE: usize = 16 << 10;

/// Lines that are reported when the service ends.
const LAST_LINES: usize = 12;

/// A line that is reported is not longer.
const LONGEST_SHOWN: usize = 400;

/// Lines that are held back at most because they end within a secret, of which the next may bring the rest.
const MOST_HELD: usize = 16;

/// A log that is being written.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    secrets: Redactor,
    /// Lines that may end within a secret.
    held: Vec<String>,
    last: Arc<Mutex<VecDeque<String>>>,
}

/// The log of a command that runs.
pub(super) struct ServiceLog {
    last: Arc<Mutex<VecDeque<String>>>,
    writer: JoinHandle<()>,
}

impl LogFile {
    /// A log at `path`, in which the secrets are redacted; what a command has written there before is kept.
    pub(super) fn create(path: &Path, secrets: &[String]) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        let secrets = Redactor::of(secrets);
        Ok(Self { path: path.to_owned(), file, size, secrets, held: Vec::new(), last: Arc::default() })
    }

    /// Takes everything that comes through `pipe`, on a thread of its own, until the last writer has closed it.
    pub(super) fn follow(mut self, pipe: impl Read + Send + 'static) -> ServiceLog {
        let last = Arc::clone(&self.last);
        // A full disk must not stop the service: the pipe is read on, and what came is lost.
        let mut failed = false;
        let writer = thread::spawn(move || {
            for_each_line(pipe, |line| {
                let written = self.take(line);
                failed |= written.is_err();
            });
            failed |= self.release().is_err();
            if failed {
                tracing::debug!("something of the log `{}` is lost", self.path.display());
            }
        });
        ServiceLog { last, writer }
    }

    fn take(&mut self, line: &[u8]) -> io::Result<()> {
        self.held.push(String::from_utf8_lossy(line).into_owned());
        if self.held.len() < MOST_HELD && self.secrets.ends_within_secret(&self.held.join("\n")) {
            return Ok(());
        }
        self.release()
    }

    /// Writes what was held back, redacted as one text.
    fn release(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let text = self.secrets.redact_cut(std::mem::take(&mut self.held).join("\n"));
        for line in text.split('\n').filter(|line| !line.trim().is_empty()) {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.truncate(LAST_LINES - 1);
            last.push_front(shortened(line));
        }
        if self.size >= LARGEST_FILE {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            self.file = File::create(&self.path)?;
            self.size = 0;
        }
        self.size += text.len() as u64 + 1;
        self.file.write_all(format!("{text}\n").as_bytes())
    }
}

impl ServiceLog {
    /// The last lines, oldest first, once the pipe has ended or `patience` has.
    pub(super) fn last_words(&self, patience: Duration) -> Vec<String> {
        let deadline = Instant::now() + patience;
        while !self.writer.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }
}

/// The last lines of a log, oldest first; none when it cannot be read.
pub(super) fn tail(path: &Path) -> Vec<String> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| shortened(line)).collect()
}

/// A line as it is reported: short.
fn shortened(line: &str) -> String {
    let line = line.trim_end();
    match line.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Hands on what comes, line by line, without the rest of lines that are too long.
fn for_each_line(pipe: impl Read, mut take: impl FnMut(&[u8])) {
    let mut line = Vec::new();
    for byte in BufReader::new(pipe).bytes() {
        match byte {
            Ok(b'\n') => {
                take(&line);
                line.clear();
            }
            Ok(byte) if line.len() < LONGEST_LINE => line.push(byte),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    if !line.is_empty() {
        take(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(secrets: &[&str], text: &str) -> (String, Vec<String>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("service.log");
        let log = LogFile::create(&path, &secrets.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        let lines = log.follow(io::Cursor::new(text.as_bytes().to_vec())).last_words(Duration::from_mins(1));
        (fs::read_to_string(&path).unwrap(), lines, folder)
    }

    #[test]
    fn a_secret_is_redacted_wherever_it_stands() {
        let text = "using s3cret-token and postgresql://app:pa:ss@127.0.0.1/shop, app:app\nlast";
        let (log, lines, _folder) = written(&["s3cret-token", "s3cret", "app"], text);
        assert_eq!(log, "using … and postgresql://app:…@127.0.0.1/shop, app:app\nlast\n");
        assert_eq!(lines, log.lines().collect::<Vec<_>>());
    }

    #[test]
    fn tokens_that_the_service_gave_out_itself_are_redacted_by_their_form() {
        let text =
            "Authorization: Bearer 0123456789abc, {\"access_token\":\"eyJhbGciOiJI.eyJzdWIi.c2ln\"}\nbearer of news";
        let (log, ..) = written(&[], text);
        assert_eq!(log, "Authorization: Bearer …, {\"access_token\":\"…\"}\nbearer of news\n");
    }

    #[test]
    fn a_secret_that_is_broken_over_lines_is_redacted() {
        let (log, ..) = written(&["s3cret-token-of-30-characters"], "a s3cret-tok\n  en-of-30-chara\n  cters b\nlast");
        assert_eq!(log, "a … b\nlast\n");
        let (log, ..) = written(&["s3cret-token-of-30-characters"], "ends in s3cret-tok");
        assert_eq!(log, "ends in …\n");
    }

    #[test]
    fn a_log_without_end_keeps_its_last_megabytes() {
        let line = "x".repeat(1000);
        let text = format!("{line}\n").repeat(10_000) + &"y".repeat(LONGEST_LINE + 9) + "\n\nend";
        let (log, lines, folder) = written(&[], &text);
        assert!(log.ends_with("\n\nend\n") && log.len() as u64 <= LARGEST_FILE + LONGEST_LINE as u64);
        let older = fs::metadata(folder.path().join("service.log.1")).unwrap().len();
        assert!((LARGEST_FILE..LARGEST_FILE + 2000).contains(&older), "{older}");
        assert_eq!((lines.len(), lines[LAST_LINES - 1].as_str()), (LAST_LINES, "end"));
        assert_eq!(lines[LAST_LINES - 2].chars().count(), LONGEST_SHOWN + 1);
    }
}
