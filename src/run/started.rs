//! The service that a scenario's command starts, from a free port to its last process.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::remote_guard::RemoteGuard;
use crate::scenario::service::{BaseUrl, ServiceCommand};
use crate::scenario::{ServiceScenario, VariantName};
use crate::testbed::command::{CommandError, CommandPlan, StartedCommand, last_words, log_file};
use crate::testbed::sweep_leftovers;

/// Interval of readiness checks.
const READY_POLL: Duration = Duration::from_millis(50);

/// Timeout of one readiness check.
const READY_ANSWER: Duration = Duration::from_secs(5);

/// Timeout of connecting to a port of this machine.
const CONNECT: Duration = Duration::from_secs(1);

/// Reasons why a service could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("something answers at `{url}` already, before `target.command` was started")]
    Taken { url: BaseUrl },
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("`{command}` did not serve within {} s: {last}; {}", within.as_secs_f64(), last_words(last_lines))]
    NotReady {
        command: String,
        /// `ready_within`.
        within: Duration,
        /// Last answer.
        last: String,
        /// The last lines that it wrote, oldest first.
        last_lines: Vec<String>,
    },
    #[error("cannot prepare to ask whether the service is ready")]
    Http(#[source] reqwest::Error),
}

impl StartError {
    /// True if the request itself is invalid.
    pub fn is_bad_request(&self) -> bool {
        match self {
            Self::Taken { .. } => true,
            Self::Command(error) => error.is_bad_request(),
            Self::NotReady { .. } | Self::Http(_) => false,
        }
    }

    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Taken { .. } => "stop it, or leave `command` out to load what runs there",
            Self::NotReady { .. } => {
                "`target.ready` is the path that tells, `target.ready_within` how long it may take"
            }
            Self::Command(CommandError::Start { .. }) => {
                "`target.command` is a list of words without a shell, and runs in `target.folder`"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// The service of a variant: one that was started for it, or one that was there before.
#[derive(Debug, Default)]
pub(crate) struct StartedService(Option<StartedCommand>);

impl StartedService {
    /// Starts the variant's command, if it has one, and waits until it serves. `None` when `stop` came before that.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub(crate) async fn start(
        scenario: &ServiceScenario,
        variant: VariantName,
        access: &Access,
        folder: &Path,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, StartError> {
        let Some(command) = scenario.command(variant) else { return Ok(Some(Self(None))) };
        // Otherwise a service that a killed run left there would occupy the port.
        sweep_leftovers().await;
        let urls = scenario.urls(variant);
        let ports = Ports::of(&urls, &access.guard);
        if let Some(url) = ports.first_that_accepts().await {
            return Err(StartError::Taken { url });
        }
        let starting = StartedCommand::start(&plan(&command, variant, access, folder), stop).await?;
        let Some(mut started) = starting else { return Ok(None) };
        let asking = ready(&command, &ports, access);
        let ready = tokio::select! {
            ready = asking => Some(ready),
            error = started.ended() => Some(Err(Unready::Start(error.into()))),
            () = stop.cancelled() => None,
        };
        let error = match ready {
            Some(Ok(())) => return Ok(Some(Self(Some(started)))),
            Some(Err(Unready::Silent(last))) => Some(StartError::NotReady {
                command: started.command().to_owned(),
                within: command.ready_within.duration(),
                last,
                last_lines: started.last_lines(),
            }),
            Some(Err(Unready::Start(error))) => Some(error),
            None => None,
        };
        started.stop().await;
        error.map_or(Ok(None), Err)
    }

    /// Waits until it has ended by itself, which it should not; for ever, when it is not ours to watch.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn died(&mut self) -> StartError {
        match &mut self.0 {
            Some(command) => command.ended().await.into(),
            None => std::future::pending().await,
        }
    }

    /// True if it was started here.
    pub(crate) fn is_ours(&self) -> bool {
        self.0.is_some()
    }

    /// Ends what was started, with its whole process group.
    pub(crate) async fn stop(self) {
        if let Some(command) = self.0 {
            command.stop().await;
        }
    }
}

fn plan(command: &ServiceCommand, variant: VariantName, access: &Access, folder: &Path) -> CommandPlan {
    CommandPlan {
        words: command.words.clone(),
        env: command.env.clone(),
        folder: command.folder.clone(),
        log: log_file(folder, variant.name()),
        secrets: access.secrets.known().to_vec(),
    }
}

/// Reasons why a service is not ready.
enum Unready {
    /// It is in time no more; what it reported last.
    Silent(String),
    /// It cannot be asked, or is gone.
    Start(StartError),
}

/// Waits until every replica serves.
async fn ready(command: &ServiceCommand, ports: &Ports, access: &Access) -> Result<(), Unready> {
    let patience = READY_ANSWER.min(command.ready_within.duration());
    let client = access.guard.client().timeout(patience).build();
    let client = client.map_err(|error| Unready::Start(StartError::Http(error)))?;
    let deadline = Instant::now() + command.ready_within.duration();
    for (url, addresses) in &ports.0 {
        loop {
            let answered = match &command.ready {
                Some(path) => ask(&client, url.with_path(path)).await,
                None if accepts(addresses).await => Ok(()),
                None => Err(format!("nothing accepts at `{url}`")),
            };
            match answered {
                Ok(()) => break,
                Err(last) if Instant::now() >= deadline => return Err(Unready::Silent(last)),
                Err(_) => tokio::time::sleep(READY_POLL).await,
            }
        }
    }
    Ok(())
}

async fn ask(client: &reqwest::Client, url: String) -> Result<(), String> {
    match client.get(&url).send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("`{url}` answers {}", answer.status())),
        Err(error) => Err(format!("`{url}`: {}", crate::tls::cause(&error))),
    }
}

/// The addresses of a variant's replicas.
pub(super) struct Ports(Vec<(BaseUrl, Vec<SocketAddr>)>);

impl Ports {
    pub(super) fn of(urls: &[BaseUrl], guard: &RemoteGuard) -> Self {
        Self(urls.iter().map(|url| (url.clone(), guard.addresses(url.host(), url.port()))).collect())
    }

    pub(super) async fn first_that_accepts(&self) -> Option<BaseUrl> {
        let mut asked = BTreeSet::new();
        for (url, addresses) in &self.0 {
            let new: Vec<SocketAddr> = addresses.iter().copied().filter(|address| asked.insert(*address)).collect();
            if accepts(&new).await {
                return Some(url.clone());
            }
        }
        None
    }
}

/// Checks that a running service answers, by its health path or else by its port.
pub(super) async fn answers(url: &BaseUrl, path: Option<&str>, access: &Access) -> Result<String, String> {
    let Some(path) = path else {
        let accepts = accepts(&access.guard.addresses(url.host(), url.port())).await;
        return if accepts { Ok(format!("`{url}` accepts")) } else { Err(format!("nothing accepts at `{url}`")) };
    };
    let client = access.guard.client().timeout(READY_ANSWER).build().map_err(|error| error.to_string())?;
    let url = url.with_path(path);
    ask(&client, url.clone()).await.map(|()| format!("`{url}` answers well"))
}

/// True if somebody takes connections at one of these addresses.
async fn accepts(addresses: &[SocketAddr]) -> bool {
    for address in addresses {
        if matches!(timeout(CONNECT, TcpStream::connect(address)).await, Ok(Ok(_))) {
            return true;
        }
    }
    false
}
