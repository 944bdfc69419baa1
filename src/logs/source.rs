//! Files as they lie there: plain, compressed, or standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, stdin};
use std::path::{Path, PathBuf};

use super::{LONGEST_LINE, LogReader, LogReport};

/// Bytes read at a time.
const BUFFER: usize = 1 << 18;

/// Beginnings of compressed files.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Share of a file's first bytes that may be zeros or other control characters in a text.
const MOST_BINARY: f64 = 0.1;

/// Reasons why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogSourceError {
    #[error("cannot read the log `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read the log `{}`: it is empty", path.display())]
    Empty { path: PathBuf },
    #[error("cannot read the log `{}`: expected text, also compressed with gzip or zstd", path.display())]
    Binary { path: PathBuf },
}

/// Reads a log from a file, or from standard input for `-`, on from what others reported; `progress` gets the bytes that were read
/// of the file.
///
/// # Errors
/// [`LogSourceError`].
pub fn read(path: &Path, others: LogReport, progress: &mut dyn FnMut(u64)) -> Result<LogReport, LogSourceError> {
    let failed = |source| LogSourceError::Read { path: path.to_owned(), source };
    let raw: Box<dyn Read> =
        if path == Path::new("-") { Box::new(stdin().lock()) } else { Box::new(File::open(path).map_err(failed)?) };
    let mut lines = unpacked(Counted { inner: raw, read: 0, progress }).map_err(failed)?;
    let first = lines.fill_buf().map_err(failed)?;
    if first.is_empty() {
        return Err(LogSourceError::Empty { path: path.to_owned() });
    }
    if is_binary(first) {
        return Err(LogSourceError::Binary { path: path.to_owned() });
    }
    let mut reader = LogReader::of(path.display().to_string(), others);
    let mut line = Vec::new();
    while next_line(&mut lines, &mut line).map_err(failed)? {
        reader.line(&String::from_utf8_lossy(&line));
    }
    Ok(reader.end())
}

/// Opens a log, unpacked; `-` is standard input.
///
/// # Errors
/// When it cannot be read.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    unpacked(if path == Path::new("-") { Box::new(stdin()) } else { Box::new(File::open(path)?) as Box<dyn Read> })
}

/// Tells how many bytes of the file were read.
struct Counted<'a> {
    inner: Box<dyn Read>,
    read: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        (self.progress)(self.read);
        Ok(read)
    }
}

fn unpacked<'a>(raw: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut raw = BufReader::with_capacity(BUFFER, raw);
    let first = raw.fill_buf()?;
    if first.starts_with(&GZIP) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(raw))));
    }
    if first.starts_with(&ZSTD) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(raw).map_err(io::Error::other)?;
        return Ok(Box::new(BufReader::with_capacity(BUFFER, decoder)));
    }
    Ok(Box::new(raw))
}

fn is_binary(first: &[u8]) -> bool {
    let strange = first.iter().filter(|it| **it < b' ' && !matches!(it, b'\n' | b'\r' | b'\t' | 0x1b)).count();
    strange as f64 > MOST_BINARY * first.len() as f64
}

/// The next line without what is longer than [`LONGEST_LINE`]; false at the end.
fn next_line(lines: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let buffer = lines.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = memchr::memchr(b'\n', buffer);
        let taken = end.map_or(buffer.len(), |end| end + 1);
        let room = LONGEST_LINE.saturating_sub(line.len());
        line.extend_from_slice(&buffer[..taken.min(room)]);
        lines.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
    }
}
