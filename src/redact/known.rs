//! Finds secrets that are known, and what base64 and hex make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::SHORTEST_SECRET;
use super::view::View;

/// Length of a secret's beginning that is searched for. The rest is compared.
const ANCHOR: usize = 32;

/// Less than this of a secret, at an end of a text, gives nothing away.
const FRAGMENT: usize = 6;

/// So much of a secret at the end of a text is reason enough to wait for the rest.
const BEGINNING: usize = 3;

/// A secret of digits alone is one from this length on.
const SHORTEST_NUMBER: usize = 8;

/// A line of a secret of several lines is one itself from this length on.
const SHORTEST_LINE: usize = 8;

pub(super) struct KnownSecrets {
    secrets: Vec<Vec<u8>>,
    plain: Anchors,
    encoded: Anchors,
    heads: Anchors,
    tails: Anchors,
}

/// Texts to look for, each with the secrets that it is a part of.
struct Anchors {
    automaton: Option<AhoCorasick>,
    secrets: Vec<Vec<usize>>,
}

impl Anchors {
    fn of(anchors: impl IntoIterator<Item = (Vec<u8>, usize)>) -> Self {
        let mut grouped = BTreeMap::<Vec<u8>, Vec<usize>>::new();
        for (anchor, secret) in anchors {
            grouped.entry(anchor).or_default().push(secret);
        }
        let (texts, secrets): (Vec<_>, Vec<_>) = grouped.into_iter().unzip();
        let build = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&texts);
        // Only more text than fits into memory makes this fail; then there is no telling what a text repeats.
        Self { automaton: (!texts.is_empty()).then(|| build.expect("the secrets fit into memory")), secrets }
    }

    /// Every place of every anchor, with the secrets that it is of.
    fn find<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (Range<usize>, &'a [usize])> {
        let matches = self.automaton.iter().flat_map(move |automaton| automaton.find_overlapping_iter(text));
        matches.map(|it| (it.range(), self.secrets[it.pattern().as_usize()].as_slice()))
    }
}

impl KnownSecrets {
    pub(super) fn of(secrets: &[String]) -> Self {
        let all: BTreeSet<Vec<u8>> = secrets.iter().flat_map(|secret| spellings(secret)).collect();
        // A short number is a count somewhere, and redacting it would be read as a missing figure.
        let is_secret = |secret: &Vec<u8>| {
            secret.len() >= SHORTEST_NUMBER || secret.len() >= SHORTEST_SECRET && !secret.iter().all(u8::is_ascii_digit)
        };
        let secrets: Vec<Vec<u8>> = all.into_iter().filter(is_secret).collect();
        let numbered = || secrets.iter().enumerate();
        let fragment = |secret: &[u8]| FRAGMENT.min(secret.len());
        Self {
            plain: Anchors::of(numbered().map(|(index, it)| (it[..ANCHOR.min(it.len())].to_vec(), index))),
            encoded: Anchors::of(
                numbered().flat_map(|(index, it)| encodings(it).into_iter().map(move |it| (it, index))),
            ),
            heads: Anchors::of(numbered().map(|(index, it)| (it[..BEGINNING].to_vec(), index))),
            tails: Anchors::of(numbered().map(|(index, it)| (it[it.len() - fragment(it)..].to_vec(), index))),
            secrets,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Places of secrets.
    pub(super) fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let plain = self.plain.find(text).map(|(anchor, secrets)| {
            let longest = secrets.iter().map(|it| common(&text[anchor.start..], &self.secrets[*it])).max();
            anchor.start..anchor.start + longest.unwrap_or(0).max(anchor.len())
        });
        let encoded = self.encoded.find(text).map(|(anchor, _)| run_around(text, &anchor));
        plain.chain(encoded).collect()
    }

    /// Parts of secrets with which the text begins and ends.
    pub(super) fn at_ends(&self, text: &[u8]) -> impl Iterator<Item = Range<usize>> {
        let head = self.head_at_end(text).filter(|range| range.len() >= FRAGMENT);
        head.into_iter().chain(self.tail_at_start(text))
    }

    /// The beginning of a secret with which the text ends; the longest.
    pub(super) fn head_at_end(&self, text: &[u8]) -> Option<Range<usize>> {
        let reach = self.secrets.iter().map(Vec::len).max()?;
        let from = text.len().saturating_sub(reach);
        let heads = self.heads.find(&text[from..]).filter(|(anchor, secrets)| {
            let rest = &text[from + anchor.start..];
            secrets.iter().any(|it| self.secrets[*it].starts_with(rest) && self.secrets[*it].len() > rest.len())
        });
        heads.map(|(anchor, _)| from + anchor.start..text.len()).min_by_key(|range| range.start)
    }

    /// The end of a secret with which the text begins; the longest.
    fn tail_at_start(&self, text: &[u8]) -> Option<Range<usize>> {
        let reach = self.secrets.iter().map(Vec::len).max()?;
        let tails = self.tails.find(&text[..reach.min(text.len())]).filter(|(anchor, secrets)| {
            let before = &text[..anchor.end];
            secrets.iter().any(|it| self.secrets[*it].ends_with(before) && self.secrets[*it].len() > before.len())
        });
        tails.map(|(anchor, _)| 0..anchor.end).max_by_key(|range| range.end)
    }
}

/// A secret as it may stand in a decoded text: itself, decoded, with blanks as `+`, and each of its lines.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let mut spellings = vec![secret.as_bytes().to_vec()];
    let mut decoded = View::of(secret.as_bytes()).decoded();
    while let Some(view) = decoded {
        spellings.push(view.bytes().to_vec());
        decoded = view.decoded();
    }
    if secret.contains(' ') {
        spellings.push(secret.replace(' ', "+").into_bytes());
    }
    if secret.contains(char::is_whitespace) {
        // Where a line breaks at a blank, that is taken with the break.
        spellings.push(secret.split_whitespace().collect::<String>().into_bytes());
    }
    if secret.contains('\n') {
        let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
        spellings.extend(lines.map(|line| line.as_bytes().to_vec()));
    }
    spellings
}

/// The beginnings of what base64 and hex make of a secret: base64 at each of three places in a group of three bytes, without
/// the characters in which the neighbours of the secret have a share.
fn encodings(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for before in 0..3_usize {
        let shifted = [&vec![0; before][..], secret].concat();
        // Six bits a character: the first that is wholly the secret's, and as many as are.
        let first = (before * 8).div_ceil(6);
        let whole = shifted.len() * 8 / 6;
        for text in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            let own = &text.as_bytes()[first..whole.max(first)];
            all.push(own[..ANCHOR.min(own.len())].to_vec());
        }
    }
    let digits = secret.iter().take(ANCHOR / 2).flat_map(|byte| [byte >> 4, byte & 15]);
    let hex: String = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect();
    all.push(hex.to_uppercase().into_bytes());
    all.push(hex.into_bytes());
    all.retain(|anchor| anchor.len() >= SHORTEST_SECRET);
    all.sort();
    all.dedup();
    all
}

/// Number of bytes that two texts have in common at their beginning.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// The run of characters of base64 around a part of one: its ends hold a share of the secret.
fn run_around(text: &[u8], part: &Range<usize>) -> Range<usize> {
    let is_encoded = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    let before = text[..part.start].iter().rev().take_while(|byte| is_encoded(byte)).count();
    let behind = text[part.end..].iter().take_while(|byte| is_encoded(byte)).count();
    part.start - before..part.end + behind
}
