//! Standard output and error, without secrets.

use std::io::{self, Write};

use crate::redact;

/// Once so much is held back, whole lines of it are written.
const MOST_HELD: usize = 1 << 16;

/// A writer that redacts what it passes on. It writes when it is flushed or dropped, and whole lines when there is much, so
/// that a secret is seen whole.
pub(super) struct Redacted<W: Write> {
    to: W,
    what: What,
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Secrets that are known.
    Known,
    /// These, and what has the form of a secret.
    AnySecret,
}

impl<W: Write> Redacted<W> {
    /// For data, which may hold a token that was asked for.
    pub(super) fn data(to: W) -> Self {
        Self { to, what: What::Known, held: Vec::new() }
    }

    pub(super) fn messages(to: W) -> Self {
        Self { to, what: What::AnySecret, held: Vec::new() }
    }

    fn release(&mut self, up_to: usize) -> io::Result<()> {
        let rest = self.held.split_off(up_to);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.held, rest)).into_owned();
        let redactor = redact::of_process();
        let text = match self.what {
            What::Known => redactor.redact_known(text),
            What::AnySecret => redactor.redact(text),
        };
        self.to.write_all(text.as_bytes())
    }
}

impl<W: Write> Write for Redacted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= MOST_HELD
            && let Some(line) = self.held.iter().rposition(|byte| *byte == b'\n')
        {
            self.release(line + 1)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.release(self.held.len())?;
        self.to.flush()
    }
}

impl<W: Write> Drop for Redacted<W> {
    fn drop(&mut self) {
        // A caller that needs the error flushes before.
        let _ignored = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_pieces_is_redacted_as_a_whole() {
        let mut out = Vec::new();
        let mut redacted = Redacted::messages(&mut out);
        for piece in ["to postgresql://app:pa", "55@host/shop\n", "done"] {
            redacted.write_all(piece.as_bytes()).unwrap();
        }
        drop(redacted);
        assert_eq!(String::from_utf8(out).unwrap(), "to postgresql://app:…@host/shop\ndone");
    }
}
