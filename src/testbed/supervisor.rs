//! The supervisor: the process that PostgreSQL is a child of, so that it cannot outlive the run.
//!
//! A destructor does not run after SIGKILL, but a pipe is closed by the system in any case. The run starts this
//! same program with [`SUBCOMMAND`] in a process group of its own and holds its stdin open. The supervisor reads one
//! line, a [`SupervisorPlan`]; makes the folder, the cluster, the server and what is wanted in front of it; answers with one
//! line, a [`SupervisorReport`]; and waits. When its stdin ends, or it is asked to terminate, it stops what it has started
//! and removes the folder.
//!
//! Leftovers of a killed supervisor are removed by [`super::sweep::sweep_stale`].

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::account::{AccountError, ServerAccount};
use super::child::{ChildError, ChildEvent, FAST_TICK, POOLER_STOP_STEPS, RunningChild, StopSignal};
use super::folder::ClusterFolder;
use super::names::{PORT, SUPERUSER};
use super::pgbouncer::{self, PgBouncerPlan};
use super::server_log::{log_reason, log_tail};

/// The hidden subcommand under which the program is the supervisor.
pub const SUBCOMMAND: &str = "supervise-postgres";

/// Interval of looking at the server while it serves: long, so that watching does not disturb what is measured.
const SLOW_TICK: Duration = Duration::from_millis(200);

/// Order to the supervisor: one line of JSON on its stdin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorPlan {
    /// The program `initdb`.
    pub initdb: PathBuf,
    /// The program `postgres`.
    pub postgres: PathBuf,
    /// The folder in which the cluster's own is made.
    pub temp_dir: PathBuf,
    /// The server's settings, by name.
    pub settings: BTreeMap<String, String>,
    /// The pooler in front of the server.
    #[serde(default)]
    pub pgbouncer: Option<PgBouncerPlan>,
}

/// Reports of the supervisor: one line of JSON on its stdout, and a second one when the server ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum SupervisorReport {
    /// The server's process exists; it may not answer yet.
    Started(StartedServer),
    /// There is no server, or no longer one, and its folder is gone.
    Failed {
        /// Error with its causes.
        reason: String,
        /// The last lines of the server's log, oldest first.
        log: Vec<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedServer {
    /// The folder of the cluster, removed at the end.
    pub folder: PathBuf,
    /// The folder of its socket.
    pub socket_dir: PathBuf,
    /// The port in the socket's name.
    pub port: u16,
    /// The file it logs to.
    pub log: PathBuf,
    /// The process of the server.
    pub postmaster: u32,
    /// Log of `PgBouncer`, where there is one.
    #[serde(default)]
    pub pgbouncer_log: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    #[error("reading the plan of the cluster from stdin")]
    Plan(#[source] io::Error),
    #[error("setting the signal handler of the supervisor")]
    Signals(#[source] ctrlc::Error),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("making a folder for the cluster in `{}`", .temp_dir.display())]
    Folder {
        /// Parent of the folder.
        temp_dir: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error("`{}` ended by itself ({status}), its log says `{}`", .program.display(), log_reason(.log))]
    Ended {
        program: PathBuf,
        status: ExitStatus,
        /// The last lines of its log, oldest first.
        log: Vec<String>,
    },
    #[error("writing the files of PgBouncer")]
    PoolerFiles(#[source] io::Error),
}

/// Runs the supervisor on this process's stdin and stdout, until it is asked to stop.
///
/// # Errors
/// When the cluster cannot be made or its server ends by itself; the reason is also reported on stdout.
pub fn keep() -> Result<(), SupervisorError> {
    let mut stdin = BufReader::new(io::stdin());
    let (sender, orders) = mpsc::channel();
    listen_for_signals(sender.clone())?;
    let Some(plan) = read_plan(&mut stdin)? else { return Ok(()) };
    listen_for_end(stdin, sender);
    let outcome = run(&plan, &orders);
    if let Err(error) = &outcome {
        report(&SupervisorReport::Failed { reason: chain(error), log: error.log().to_vec() });
    }
    outcome
}

fn listen_for_signals(sender: Sender<StopSignal>) -> Result<(), SupervisorError> {
    // A failed send means that the supervisor is stopping already.
    ctrlc::set_handler(move || drop(sender.send(StopSignal))).map_err(SupervisorError::Signals)
}

/// The plan; `None` when the run ended before it wrote one.
fn read_plan(stdin: &mut impl BufRead) -> Result<Option<SupervisorPlan>, SupervisorError> {
    let mut line = String::new();
    stdin.read_line(&mut line).map_err(SupervisorError::Plan)?;
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(|error| SupervisorError::Plan(error.into()))
}

fn listen_for_end(mut stdin: impl Read + Send + 'static, sender: Sender<StopSignal>) {
    // The thread is not joined: it may sit in its read when the supervisor ends for another reason.
    thread::spawn(move || {
        let end = io::copy(&mut stdin, &mut io::sink());
        tracing::debug!("the lifeline ended: {end:?}");
        drop(sender.send(StopSignal));
    });
}

/// Writes a report. A run that is gone cannot read it, and its end arrives by stdin; so a failure is ignored.
fn report(report: &SupervisorReport) {
    let mut stdout = io::stdout().lock();
    let written = serde_json::to_string(report)
        .map_err(io::Error::from)
        .and_then(|line| writeln!(stdout, "{line}"))
        .and_then(|()| stdout.flush());
    if let Err(error) = written {
        tracing::debug!("nobody reads the supervisor's report: {error}");
    }
}

fn chain(error: &SupervisorError) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl SupervisorError {
    fn log(&self) -> &[String] {
        match self {
            Self::Ended { log, .. } => log,
            _ => &[],
        }
    }
}

fn run(plan: &SupervisorPlan, orders: &Receiver<StopSignal>) -> Result<(), SupervisorError> {
    let account = ServerAccount::choose()?;
    let folder = ClusterFolder::create(&plan.temp_dir, account)
        .map_err(|source| SupervisorError::Folder { temp_dir: plan.temp_dir.clone(), source })?;
    let house = ClusterSupervisor { plan, folder, account };
    house.check_reachable()?;
    match house.init(orders)? {
        ControlFlow::Continue(()) => house.serve(orders),
        ControlFlow::Break(()) => Ok(()),
    }
}

/// A folder, the plan of its cluster, and the account to run it.
struct ClusterSupervisor<'a> {
    plan: &'a SupervisorPlan,
    folder: ClusterFolder,
    account: Option<ServerAccount>,
}

impl ClusterSupervisor<'_> {
    fn check_reachable(&self) -> Result<(), AccountError> {
        let Some(account) = self.account else { return Ok(()) };
        account.can_enter(self.folder.path())?;
        let pooler = self.plan.pgbouncer.as_ref().map(|it| &it.program);
        let bins = [Some(&self.plan.postgres), pooler].into_iter().flatten().filter_map(|program| program.parent());
        bins.into_iter().try_for_each(|bin| account.can_enter(bin))
    }

    /// Makes the data folder; breaks when the run ended meanwhile.
    fn init(&self, orders: &Receiver<StopSignal>) -> Result<ControlFlow<()>, SupervisorError> {
        let mut command = self.command(&self.plan.initdb);
        command.args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        command.arg(format!("--username={SUPERUSER}")).arg("--pgdata").arg(self.folder.data());
        let mut initdb = RunningChild::start(command, &self.folder.log())?;
        match initdb.wait_or_order(orders, FAST_TICK)? {
            ChildEvent::Ended(status) if status.success() => Ok(ControlFlow::Continue(())),
            ChildEvent::Ended(status) => Err(ended(&self.plan.initdb, status, &self.folder.log())),
            ChildEvent::Stopped => {
                initdb.stop()?;
                Ok(ControlFlow::Break(()))
            }
        }
    }

    fn serve(&self, orders: &Receiver<StopSignal>) -> Result<(), SupervisorError> {
        let mut postgres = RunningChild::start(self.server_command(), &self.folder.log())?;
        // Dropped before the server when something fails.
        let mut pooler = self.plan.pgbouncer.as_ref().map(|plan| self.start_pooler(plan)).transpose()?;
        report(&SupervisorReport::Started(StartedServer {
            folder: self.folder.path().to_owned(),
            socket_dir: self.folder.socket_dir(),
            port: PORT,
            log: self.folder.log(),
            postmaster: postgres.id(),
            pgbouncer_log: self.plan.pgbouncer.as_ref().map(|plan| plan.log_in(self.folder.path())),
        }));
        loop {
            if let Some(status) = postgres.try_wait()? {
                return Err(ended(&self.plan.postgres, status, &self.folder.log()));
            }
            if let (Some(pooler), Some(plan)) = (&mut pooler, &self.plan.pgbouncer)
                && let Some(status) = pooler.try_wait()?
            {
                return Err(ended(&plan.program, status, &plan.log_in(self.folder.path())));
            }
            match orders.recv_timeout(SLOW_TICK) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(StopSignal) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Whatever becomes of it, the server is stopped.
        let stopped = pooler.as_mut().map_or(Ok(()), RunningChild::stop);
        postgres.stop()?;
        Ok(stopped?)
    }

    /// Starts `PgBouncer`, and writes down which process it is, for anyone who has to clear up after this one.
    fn start_pooler(&self, plan: &PgBouncerPlan) -> Result<RunningChild, SupervisorError> {
        let folder = self.folder.path();
        let ini = plan.write_files(folder, &self.folder.socket_dir()).map_err(SupervisorError::PoolerFiles)?;
        let mut command = self.command(&plan.program);
        command.arg(ini);
        let pooler = RunningChild::start_to_stop_by(&POOLER_STOP_STEPS, command, &plan.log_in(folder))?;
        fs::write(pgbouncer::pid_in(folder), pooler.id().to_string()).map_err(SupervisorError::PoolerFiles)?;
        Ok(pooler)
    }

    fn server_command(&self) -> Command {
        let mut command = self.command(&self.plan.postgres);
        command.arg("-D").arg(self.folder.data());
        for (name, value) in &self.plan.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // Last, so that no setting opens a port or moves the socket.
        command.arg("-k").arg(self.folder.socket_dir()).args(["-c", "listen_addresses=", "-p"]).arg(PORT.to_string());
        command
    }

    /// A program of the server: as the account, in the folder, untouched by the user's own PostgreSQL settings.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).process_group(0);
        for name in postgres_variables(env::vars_os().map(|(name, _)| name)) {
            command.env_remove(name);
        }
        // A fixed time zone also spares initdb its search through the time zone database.
        command.env("LC_ALL", "C").env("TZ", "UTC");
        if let Some(account) = self.account {
            command.uid(account.uid()).gid(account.gid());
        }
        command
    }
}

fn ended(program: &Path, status: ExitStatus, log: &Path) -> SupervisorError {
    SupervisorError::Ended { program: program.to_owned(), status, log: log_tail(log) }
}

/// The names that PostgreSQL's programs read: `PGDATA`, `PGHOST`, `PGOPTIONS` and the like.
fn postgres_variables(names: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    names.filter(|name| name.as_encoded_bytes().starts_with(b"PG"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_reason_is_the_last_fatal_line_without_its_time() {
        let log = lines("2026-01-01 UTC [7] LOG:  starting\n2026-01-01 UTC [7] FATAL:  no room\n[7] LOG:  down");
        assert_eq!(log_reason(&log), "FATAL:  no room");
        assert_eq!(log_reason(&lines("initdb: error: no\ninitdb: removing")), "initdb: error: no");
        let pooler = lines("2026-01-01 UTC [7] FATAL unix_listen failed\n2026-01-01 UTC [7] LOG down");
        assert_eq!(log_reason(&pooler), "FATAL unix_listen failed");
        assert_eq!(log_reason(&lines("only this")), "only this");
        assert_eq!(log_reason(&[]), "nothing");
    }

    #[test]
    fn a_run_that_ends_before_its_plan_is_no_error() {
        assert!(matches!(read_plan(&mut io::empty()), Ok(None)));
        assert!(read_plan(&mut &b"nonsense\n"[..]).is_err());
    }

    #[test]
    fn variables_of_the_users_own_postgresql_are_recognised() {
        let names = ["PATH", "PGDATA", "PGOPTIONS", "XPG"].map(OsString::from);
        let found: Vec<OsString> = postgres_variables(names.into_iter()).collect();
        assert_eq!(found, ["PGDATA", "PGOPTIONS"]);
    }

    #[test]
    fn a_report_is_one_line() {
        let report = SupervisorReport::Failed { reason: "two\nlines".to_owned(), log: Vec::new() };
        let line = serde_json::to_string(&report).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<SupervisorReport>(&line).unwrap(), report);
    }
}
