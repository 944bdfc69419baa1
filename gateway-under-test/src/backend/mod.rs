//! The slow service behind the gateway: a real MCP server, so that a hold across a tool call is a hold across a
//! real call.
//!
//! It runs in a process of its own, answers any MCP client at `/mcp` (streamable HTTP), and takes as long for each
//! tool as the scenario says. It knows nothing of users, permissions or PostgreSQL.

mod clock;
mod delay;
mod server;
#[cfg(test)]
mod tests;
mod tools;

use std::io::{self, Write};

use tokio::net::TcpListener;
use tokio::runtime;

use crate::lifeline::{self, Lifeline, LifelineError};
use crate::settings::{BackendSettings, Listening};

/// Errors that end the backend before its parent does.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error("the backend cannot talk to the process that started it")]
    Lifeline(#[from] LifelineError),
    #[error("cannot start the runtime of the backend")]
    Runtime(#[source] io::Error),
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port asked for; 0 if the system was to choose.
        port: u16,
        source: io::Error,
    },
    #[error("the backend stopped serving")]
    Serve(#[source] io::Error),
}

/// Reads [`BackendSettings`] from standard input, prints [`Listening`] on standard output, and serves until standard
/// input closes. Then it returns at once: calls in flight are dropped, as their callers are gone too.
///
/// # Errors
///
/// When the settings do not come, or the port cannot be had.
pub fn serve_until_stdin_closes() -> Result<(), BackendError> {
    let (settings, lifeline) = lifeline::read_settings()?;
    run(&settings, &lifeline, &mut io::stdout())
}

/// One thread: the service sleeps and copies, and a second thread would cost more in wake-ups than it carries.
fn run(settings: &BackendSettings, lifeline: &Lifeline, out: &mut impl Write) -> Result<(), BackendError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(BackendError::Runtime)?;
    runtime.block_on(serve_until_closed(settings, lifeline, out))
}

async fn serve_until_closed(
    settings: &BackendSettings,
    lifeline: &Lifeline,
    out: &mut impl Write,
) -> Result<(), BackendError> {
    let (listener, listening) = bind(settings.port)?;
    lifeline::announce(out, &listening)?;
    tokio::select! {
        ended = server::serve(listener, settings) => ended.map_err(BackendError::Serve),
        () = lifeline.closed() => Ok(()),
    }
}

fn bind(port: u16) -> Result<(TcpListener, Listening), BackendError> {
    let failed = |source| BackendError::Listen { port, source };
    let listener = server::listen(port).map_err(failed)?;
    let url = format!("http://{}", listener.local_addr().map_err(failed)?);
    Ok((listener, Listening { url, gauges_url: None }))
}
