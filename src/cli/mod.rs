//! The command line: one file per subcommand.
//!
//! Data goes to stdout, everything else to stderr. An error is printed once, here, with its causes and at most one
//! hint, and becomes one of the exit codes of [`exit`].

mod by_url;
pub mod calibrate;
mod causes;
mod ci;
pub mod compare;
pub mod completions;
pub mod diagnose;
pub mod discover_args;
pub mod doctor;
mod dry;
mod env_file;
mod error;
#[cfg(test)]
mod examples_tests;
pub mod exit;
pub mod gate;
pub mod gate_args;
pub mod gateway;
pub mod init;
mod learn;
mod load;
mod logs;
pub mod measure_args;
mod output;
mod paired;
pub mod pairs;
mod progress;
mod redacted;
pub mod report;
mod route_lines;
mod rules;
pub mod run;
pub mod scan;
pub mod scenario;
pub mod service_args;
mod signals;
mod subject;
pub mod watch;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

use crate::redact;
use crate::render::text::plain;
use crate::scenario::overrides::{self, Override};
use crate::testbed::{BACKEND_SUBCOMMAND, REPLICA_SUBCOMMAND, command, supervisor};
use error::CliError;
use exit::Exit;
use redacted::Redacted;

/// Finds the route, the statement and the mistake that hold your PostgreSQL sessions idle in transaction, under load
#[derive(Clone, Debug, Parser)]
#[command(
    name = "rbac-bench",
    version,
    propagate_version = true,
    after_help = "\
Examples:
  rbac-bench scan http://127.0.0.1:8000   which route of your service holds a session
  rbac-bench run                          see ContextForge issue #2318 happen, and go away
  rbac-bench run --users 50 --duration 10s
  rbac-bench run collapse --variant held
  rbac-bench report reports/2026-…-issue-2318 --open
  rbac-bench gate issue-2318 --variant scoped --rule 'idle_in_transaction.max<60'
  rbac-bench diagnose reports/…           name the route and statement that hold sessions
  rbac-bench watch --database-url …       watch the sessions of a database, live
  rbac-bench init --openapi http://127.0.0.1:8000/openapi.json -o shop.toml
  rbac-bench scenario list
  rbac-bench doctor                       check this machine

Exit codes: 0 success · 1 measurement failed · 2 invalid input · 3 inconclusive · 99 gate failed ·
129/130/143 interrupted"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Print errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Use colours; `NO_COLOR` is respected
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Let tables have all their columns, however narrow the terminal is
    #[arg(long, global = true)]
    pub wide: bool,
}

/// The subcommands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Load a service and monitor its PostgreSQL sessions
    Run(run::RunArgs),
    /// Find the routes that hold database sessions
    Scan(Box<scan::ScanArgs>),
    /// Write a self-contained HTML report
    Report(report::ReportArgs),
    /// Compare two runs, or two variants of one run
    Compare(compare::CompareArgs),
    /// Name the route and statement that hold sessions
    Diagnose(diagnose::DiagnoseArgs),
    /// Judge a run, or run a scenario and judge it
    Gate(Box<gate_args::GateArgs>),
    /// Measure the false-alarm rate of `gate --paired`
    Calibrate(Box<calibrate::CalibrateArgs>),
    /// Serve the reference gateway: read routes, JSON-RPC, MCP
    Gateway(gateway::GatewayArgs),
    /// Generate a scenario from OpenAPI, an access log or URLs
    Init(init::InitArgs),
    /// Watch the sessions and transactions of a database, live
    Watch(watch::WatchArgs),
    /// List the built-in scenarios, check a scenario file
    Scenario(scenario::ScenarioArgs),
    /// Check this machine for missing requirements
    Doctor(doctor::DoctorArgs),
    /// Print the completion script of a shell
    Completions(completions::CompletionArgs),
    /// Print the manual page
    Man,
    /// A gateway replica, with settings on standard input
    #[command(name = REPLICA_SUBCOMMAND, hide = true)]
    ServeReplica,
    /// The slow service behind the gateway, with settings on standard input
    #[command(name = BACKEND_SUBCOMMAND, hide = true)]
    ServeBackend,
    /// The supervisor of the private PostgreSQL, with its plan on standard input
    #[command(name = supervisor::SUBCOMMAND, hide = true)]
    SupervisePostgres,
    /// The supervisor of a service that a scenario's command starts, with its plan on standard input
    #[command(name = command::supervisor::SUBCOMMAND, hide = true)]
    SuperviseService,
}

/// Runs the program with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    redact::learn(&given_secrets());
    start_log(&cli);
    let exit = match dispatch(&cli) {
        Ok(exit) => exit,
        // Anyone who read us has heard enough.
        Err(error) if error.is_closed_pipe() => Exit::Ok,
        Err(error) => {
            report(&error, cli.color);
            error.exit()
        }
    };
    exit.into()
}

fn dispatch(cli: &Cli) -> Result<Exit, CliError> {
    let mut out = Redacted::data(io::stdout().lock());
    let exit = run(cli, &mut out)?;
    match out.flush() {
        // A reader that has closed meanwhile does not change the result.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe && !is_hung_up(&error) => Err(error.into()),
        Ok(()) | Err(_) => Ok(exit),
    }
}

/// True if a terminal has hung up.
fn is_hung_up(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::EIO as i32)
}

fn run(cli: &Cli, out: &mut dyn Write) -> Result<Exit, CliError> {
    let environment = environment();
    if cli.wide {
        output::let_tables_be_wide();
    }
    match &cli.command {
        Command::Run(args) => run::run(args, &environment, cli.quiet, out),
        Command::Scan(args) => scan::run(args, &environment, cli.quiet, out),
        Command::Report(args) => report::run(args, out),
        Command::Compare(args) => compare::run(args, out),
        Command::Diagnose(args) => diagnose::run(args, out),
        Command::Gate(args) => gate::run(args, &environment, cli.quiet, out),
        Command::Calibrate(args) => calibrate::run(args, &environment, cli.quiet, out),
        Command::Gateway(args) => gateway::run(args, &environment, out),
        Command::Init(args) => Ok(init::run(args, cli.quiet, out)?),
        Command::Watch(args) => watch::run(args, cli.color, out),
        Command::Scenario(args) => Ok(scenario::run(args, &environment, out)?.into()),
        Command::Doctor(args) => doctor::run(args, &environment, out),
        Command::Completions(args) => completions::run(args, &mut Cli::command(), out),
        Command::Man => completions::man(Cli::command(), out),
        Command::ServeReplica => Ok(gateway_under_test::replica::serve_until_stdin_closes().map(|()| Exit::Ok)?),
        Command::ServeBackend => Ok(gateway_under_test::backend::serve_until_stdin_closes().map(|()| Exit::Ok)?),
        // It has reported to its parent what went wrong, on its standard output.
        Command::SupervisePostgres => Ok(supervisor::keep().map_or(Exit::CouldNotMeasure, |()| Exit::Ok)),
        Command::SuperviseService => Ok(command::supervisor::keep().map_or(Exit::CouldNotMeasure, |()| Exit::Ok)),
    }
}

/// Overrides from the environment. Variables that are no UTF-8 are none of ours.
fn environment() -> Vec<Override> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    overrides::from_environment(std::env::vars_os().filter_map(text))
}

/// Logs go to stderr; `RUST_LOG` overrides the flags.
fn start_log(cli: &Cli) {
    let level = match (cli.quiet, cli.verbose) {
        // A line in between would lie across the screen.
        _ if watch::fills_the_screen(&cli.command) && io::stderr().is_terminal() => "off",
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "rbac_bench=info,gateway_under_test=info,warn",
        _ => "rbac_bench=debug,gateway_under_test=debug,info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new(level));
    let ansi = use_color(cli.color);
    let writer = || Redacted::messages(io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(ansi).without_time().init();
}

/// Prints what clap makes of the arguments (help, the version, or what is wrong with them), redacted.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        ci::refuse_junit(&error.render().to_string());
    }
    let styled = error.render();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    let text = |ansi: bool| if ansi && !no_color { styled.ansi().to_string() } else { styled.to_string() };
    // A closed output changes nothing.
    let _closed = if error.use_stderr() {
        let text = redact::of_process().redact_arguments(text(io::stderr().is_terminal()));
        io::stderr().write_all(text.as_bytes())
    } else {
        io::stdout().write_all(text(io::stdout().is_terminal()).as_bytes())
    };
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Passwords in the URLs of the arguments and of our own variables: they are secret from the first line on.
fn given_secrets() -> Vec<String> {
    let arguments = std::env::args_os().filter_map(|it| it.into_string().ok());
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("RBAC_BENCH_") || name == "DATABASE_URL");
    arguments.chain(variables.map(|(_, value)| value)).flat_map(|text| redact::passwords_of_urls(&text)).collect()
}

/// True if stderr takes colours.
fn use_color(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()),
    }
}

/// `error:`, each `caused by:`, at most one `hint:`.
fn report(error: &CliError, color: ColorChoice) {
    let (on, off) = if use_color(color) { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    let mut lines = vec![format!("{on}error:{off} {}", plain(&error.to_string()))];
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        lines.push(format!("  caused by: {}", plain(&inner.to_string())));
        cause = inner.source();
    }
    lines.extend(error.hint().map(|hint| format!("  hint: {}", plain(&hint))));
    let text = redact::of_process().redact_arguments(lines.join("\n") + "\n");
    // With stderr gone there is nobody to tell.
    let _nobody = io::stderr().write_all(text.as_bytes());
}
