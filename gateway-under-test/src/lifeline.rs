//! Protocol between a child process and its parent: settings in, one line out, and the end.
//!
//! The parent writes one JSON line and keeps the pipe open for as long as the child shall live. The kernel closes
//! it when the parent ends, however it ends: a child that stops when its standard input does cannot outlive its
//! parent, not even after SIGKILL.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::thread;

use serde::de::DeserializeOwned;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::settings::Listening;

#[derive(Debug, thiserror::Error)]
pub enum LifelineError {
    #[error("cannot read the settings from standard input")]
    Read(#[source] io::Error),
    #[error("standard input ended before the settings came")]
    NoSettings,
    #[error("cannot understand the settings on standard input")]
    Parse(#[source] serde_json::Error),
    #[error("cannot start the thread that watches standard input")]
    Watch(#[source] io::Error),
    #[error("cannot say on standard output where this process listens")]
    Announce(#[source] io::Error),
}

/// The parent's end of standard input, for as long as the parent holds it.
#[derive(Clone, Debug)]
pub struct Lifeline(CancellationToken);

impl Lifeline {
    /// Completes once the parent has closed standard input or has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when this is dropped; every later call completes too.
    pub async fn closed(&self) {
        self.0.cancelled().await;
    }

    /// The same moment as a token, for those who pass tokens on.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}

/// Reads the settings from standard input, and keeps watching it from a thread of its own.
///
/// # Errors
///
/// When the line cannot be read or understood, or the watching thread cannot be started.
pub fn read_settings<T: DeserializeOwned>() -> Result<(T, Lifeline), LifelineError> {
    read_settings_from(io::stdin())
}

pub(crate) fn read_settings_from<T, R>(input: R) -> Result<(T, Lifeline), LifelineError>
where
    T: DeserializeOwned,
    R: Read + Send + 'static,
{
    let mut input = BufReader::new(input);
    let settings = parse_first_line(&mut input)?;
    let token = CancellationToken::new();
    watch(input, token.clone().drop_guard())?;
    Ok((settings, Lifeline(token)))
}

fn parse_first_line<T: DeserializeOwned>(input: &mut impl BufRead) -> Result<T, LifelineError> {
    let mut line = String::new();
    match input.read_line(&mut line).map_err(LifelineError::Read)? {
        0 => Err(LifelineError::NoSettings),
        _ => serde_json::from_str(&line).map_err(LifelineError::Parse),
    }
}

/// Reads until the end on a plain thread: Tokio's standard input would keep the process alive until EOF whatever
/// else ends it. Nobody joins the thread, because a read that blocks cannot be called back; an error ends the
/// watch as EOF does, since a parent that cannot be heard any more cannot stop us either.
fn watch(mut input: impl Read + Send + 'static, alive: DropGuard) -> Result<(), LifelineError> {
    let until_eof = move || {
        let _alive = alive;
        let _ended = io::copy(&mut input, &mut io::sink());
    };
    thread::Builder::new().name("lifeline".into()).spawn(until_eof).map(drop).map_err(LifelineError::Watch)
}

/// Says where this process listens, on `out`, which is standard output except in tests.
///
/// # Errors
///
/// When nobody reads `out`.
pub fn announce(out: &mut impl Write, listening: &Listening) -> Result<(), LifelineError> {
    let mut line = serde_json::to_vec(listening).map_err(|error| LifelineError::Announce(error.into()))?;
    line.push(b'\n');
    out.write_all(&line).and_then(|()| out.flush()).map_err(LifelineError::Announce)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use tokio::time::timeout;

    #[tokio::test]
    async fn the_lifeline_closes_when_the_parent_closes_its_end_and_not_before() {
        let (reader, mut parent) = io::pipe().unwrap();
        parent.write_all(b"[1, 2]\nwhatever else the parent says\n").unwrap();
        let (settings, lifeline) = read_settings_from::<Vec<u32>, _>(reader).unwrap();
        assert_eq!(settings, [1, 2]);
        assert!(timeout(Duration::from_millis(50), lifeline.closed()).await.is_err(), "closed too early");
        drop(parent);
        timeout(Duration::from_secs(5), lifeline.closed()).await.expect("closes at EOF");
        assert!(lifeline.token().is_cancelled());
    }

    #[test]
    fn a_parent_that_says_nothing_or_nonsense_is_an_error() {
        assert!(matches!(read_settings_from::<u32, _>(io::empty()), Err(LifelineError::NoSettings)));
        assert!(matches!(read_settings_from::<u32, _>(&b"{}\n"[..]), Err(LifelineError::Parse(_))));
    }

    #[test]
    fn the_announcement_is_one_line_of_json() {
        let listening = Listening { url: "http://127.0.0.1:1".into(), gauges_url: None };
        let mut out = Vec::new();
        announce(&mut out, &listening).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.ends_with('\n'), "a reader waits for the end of the line");
        assert_eq!(serde_json::from_str::<Listening>(&text).unwrap(), listening);
    }
}
