//! Standard output and error, without secrets.

use std::io::{self, Write};

use crate::redact;

/// Once so much is held back, whole lines of it are written.
const MOST_HELD: usize = 1 << 16;

/// A writer that redacts what it passes on. It writes when it is flushed or dropped, and whole lines when there is much, so
/// that a secret is seen whole.
pub(super) struct Redacted<W: Write> {
    to: W,
    held: Vec<u8>,
}

impl<W: Write> Redacted<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, held: Vec::new() }
    }

    fn release(&mut self, up_to: usize) -> io::Result<()> {
        let rest = self.held.split_off(up_to);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.held, rest)).into_owned();
        self.to.write_all(redact::of_process().redact(text).as_bytes())
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
        // Whoever wants to know whether it was written flushes it.
        let _unheard = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_pieces_is_redacted_as_a_whole() {
        let mut out = Vec::new();
        let mut redacted = Redacted::new(&mut out);
        for piece in ["to postgresql://app:pa", "55@host/shop\n", "done"] {
            redacted.write_all(piece.as_bytes()).unwrap();
        }
        drop(redacted);
        assert_eq!(String::from_utf8(out).unwrap(), "to postgresql://app:…@host/shop\ndone");
    }
}
