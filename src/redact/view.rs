//! A text as a reader would decode it, byte for byte with the place in the text that each byte came from.

use std::borrow::Cow;
use std::ops::Range;

/// A text, or what it decodes to.
#[derive(Debug)]
pub(super) struct View<'a> {
    bytes: Cow<'a, [u8]>,
    /// Source of each byte; `None`: its own place.
    sources: Option<Vec<(u32, u32)>>,
}

impl<'a> View<'a> {
    /// The text itself.
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { bytes: Cow::Borrowed(text), sources: None }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The part of the text that a part of this comes from.
    pub(super) fn source(&self, range: Range<usize>) -> Option<Range<usize>> {
        let last = range.end.checked_sub(1)?;
        Some(self.source_of(range.start)?.0..self.source_of(last)?.1)
    }

    fn source_of(&self, at: usize) -> Option<(usize, usize)> {
        match &self.sources {
            None => (at < self.bytes.len()).then_some((at, at + 1)),
            Some(sources) => sources.get(at).map(|(from, to)| (*from as usize, *to as usize)),
        }
    }

    /// Percent signs, backslashes and HTML's character references read once; `None` where there is nothing to read.
    pub(super) fn decoded(&self) -> Option<View<'a>> {
        if !self.bytes.iter().any(|byte| matches!(byte, b'%' | b'\\' | b'&')) {
            return None;
        }
        let mut decoded = ViewBuilder::default();
        let mut at = 0;
        let mut changed = false;
        while at < self.bytes.len() {
            let (length, unit) = unit(&self.bytes[at..]);
            changed |= unit.is_some();
            let source = self.source(at..at + length)?;
            match unit {
                Some(unit) => decoded.push(unit.bytes(), &source),
                None => decoded.push(&self.bytes[at..at + length], &source),
            }
            at += length;
        }
        changed.then(|| decoded.view())
    }

    /// Without line breaks and the blanks around them; `None` without any.
    pub(super) fn joined(&self) -> Option<View<'a>> {
        if !self.bytes.contains(&b'\n') {
            return None;
        }
        let mut joined = ViewBuilder::default();
        let is_blank = |byte: &u8| byte.is_ascii_whitespace();
        let mut at = 0;
        while at < self.bytes.len() {
            let blanks = self.bytes[at..].iter().take_while(|byte| is_blank(byte)).count();
            if self.bytes[at..at + blanks].contains(&b'\n') {
                at += blanks;
                continue;
            }
            let length = blanks.max(1);
            joined.push_each(&self.bytes[at..at + length], |index| self.source_of(at + index));
            at += length;
        }
        Some(joined.view())
    }
}

#[derive(Default)]
struct ViewBuilder {
    bytes: Vec<u8>,
    sources: Vec<(u32, u32)>,
}

impl ViewBuilder {
    /// Bytes that all come from one place.
    fn push(&mut self, bytes: &[u8], source: &Range<usize>) {
        let source = (short(source.start), short(source.end));
        self.bytes.extend_from_slice(bytes);
        self.sources.extend(std::iter::repeat_n(source, bytes.len()));
    }

    fn push_each(&mut self, bytes: &[u8], source: impl Fn(usize) -> Option<(usize, usize)>) {
        for (index, byte) in bytes.iter().enumerate() {
            let (from, to) = source(index).unwrap_or_default();
            self.push(&[*byte], &(from..to));
        }
    }

    fn view<'a>(self) -> View<'a> {
        View { bytes: Cow::Owned(self.bytes), sources: Some(self.sources) }
    }
}

/// No text that is written is longer than 4 GiB.
fn short(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Value of one escape: up to four bytes of UTF-8.
#[derive(Clone, Copy)]
struct EscapedUnit {
    bytes: [u8; 4],
    length: usize,
}

impl EscapedUnit {
    fn byte(byte: u8) -> Self {
        Self { bytes: [byte, 0, 0, 0], length: 1 }
    }

    fn char(c: char) -> Self {
        let mut bytes = [0; 4];
        let length = c.encode_utf8(&mut bytes).len();
        Self { bytes, length }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The escape at the beginning: its length, and what it stands for. One byte that stands for itself, otherwise.
fn unit(rest: &[u8]) -> (usize, Option<EscapedUnit>) {
    let read = match rest {
        [b'%', ..] => hex(rest, 1, 2).map(|byte| (3, byte_of(byte))),
        [b'\\', b'u', ..] => unicode(rest),
        [b'\\', b'x', ..] => hex(rest, 2, 2).map(|byte| (4, byte_of(byte))),
        [b'\\', b'n', ..] => Some((2, EscapedUnit::byte(b'\n'))),
        [b'\\', b'r', ..] => Some((2, EscapedUnit::byte(b'\r'))),
        [b'\\', b't', ..] => Some((2, EscapedUnit::byte(b'\t'))),
        [b'\\', quoted @ (b'\\' | b'/' | b'"' | b'\''), ..] => Some((2, EscapedUnit::byte(*quoted))),
        [b'&', ..] => reference(rest),
        _ => None,
    };
    read.map_or((1, None), |(length, unit)| (length, Some(unit)))
}

#[expect(clippy::cast_possible_truncation, reason = "two digits are a byte")]
fn byte_of(value: u32) -> EscapedUnit {
    EscapedUnit::byte(value as u8)
}

/// So many hexadecimal digits.
fn hex(rest: &[u8], from: usize, digits: usize) -> Option<u32> {
    let digits = rest.get(from..from + digits)?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

/// `\u0041`, and two of them for what lies beyond.
fn unicode(rest: &[u8]) -> Option<(usize, EscapedUnit)> {
    let first = hex(rest, 2, 4)?;
    if let Some(c) = char::from_u32(first) {
        return Some((6, EscapedUnit::char(c)));
    }
    let second = rest[6..].starts_with(b"\\u").then(|| hex(rest, 8, 4)).flatten()?;
    let pair = 0x1_0000 + (first.checked_sub(0xd800)? << 10) + second.checked_sub(0xdc00)?;
    char::from_u32(pair).map(|c| (12, EscapedUnit::char(c)))
}

/// `&amp;`, `&#38;`, `&#x26;`.
fn reference(rest: &[u8]) -> Option<(usize, EscapedUnit)> {
    let end = rest.iter().take(12).position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(&rest[1..end]).ok()?;
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "sol" => '/',
        "equals" => '=',
        "colon" => ':',
        "plus" => '+',
        "commat" => '@',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((end + 1, EscapedUnit::char(c)))
}
