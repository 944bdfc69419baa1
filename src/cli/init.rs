//! `rbac-bench init`: a first scenario for an external service.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

use super::discover_args::{AskedArgs, ByUrlError, found_at};
use super::exit::Exit;
use super::output::say;
use crate::access::{AccessReader, LogFormat};
use crate::init::file::{Written, counted, write};
use crate::init::known_paths::KnownPaths;
use crate::init::openapi::{self, OpenApiSource};
use crate::init::{Draft, InitError, access_log, urls};
use crate::render::text::{plain, shell_word};
use crate::run::{FetchError, LONGEST_DOCUMENT, fetch};
use crate::scenario::service::BaseUrl;

/// Generate a scenario from OpenAPI, an access log or URLs
///
/// Of a service that is given by its URL, ids and routes are asked for; else nothing but its document. What cannot be known (which ids exist, what a body holds) is marked
/// with TODO in the file; `scenario check` names each place. Routes that may change data are there, and switched off.
#[derive(Clone, Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("from").required(true).multiple(true).args(["service", "openapi", "access_log", "url"])),
    after_help = "\
Examples:
  rbac-bench init http://127.0.0.1:8000 -o shop.toml               asks the service for its routes and ids
  rbac-bench init --openapi http://127.0.0.1:8000/openapi.json -o shop.toml
  rbac-bench init --openapi docs/openapi.yaml --target http://127.0.0.1:8000 -o shop.toml
  rbac-bench init --openapi docs/openapi.yaml --tag orders --method GET -o shop.toml
  rbac-bench init --access-log access.log --target http://127.0.0.1:8000 -o shop.toml
  rbac-bench init --access-log app.log --log-format '$request_method $request_uri $status $request_time' -o shop.toml
  rbac-bench init --access-log access.log.1.gz --openapi docs/openapi.yaml -o shop.toml
  kubectl logs deploy/shop | rbac-bench init --access-log - -o shop.toml
  rbac-bench init --url http://127.0.0.1:8000/reports/7 http://127.0.0.1:8000/search?q=tea

Then fill in what is marked, and:
  rbac-bench scenario check shop.toml
  rbac-bench scan shop.toml                which route holds a session?
  rbac-bench run shop.toml                 docs/SERVICE.md"
)]
pub struct InitArgs {
    /// The URL of a service that runs: its document, its ids and its login are found out by asking it (`GET` alone)
    #[arg(value_name = "SERVICE", conflicts_with_all = ["access_log", "url", "target"])]
    pub service: Option<BaseUrl>,
    /// An OpenAPI document (3.0 to 3.2) or one of Swagger 2.0, JSON or YAML: a file, or a URL on localhost; beside an access log it says
    /// which parts of the paths are ids
    #[arg(long, value_name = "URL|FILE")]
    pub openapi: Option<String>,
    /// An access log of any form: common, combined, uvicorn, JSON, …, also compressed (gzip, zstd); - for standard input
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<PathBuf>,
    /// The form of the access log, as nginx' `log_format` or Apache's `LogFormat` describes it
    #[arg(long, value_name = "FORMAT", requires = "access_log")]
    pub log_format: Option<LogFormat>,
    /// URLs of the service; those that differ only in an id become one route
    #[arg(long, value_name = "URL", num_args = 1.., conflicts_with_all = ["openapi", "access_log"])]
    pub url: Vec<String>,
    /// Only operations with this tag of the OpenAPI document; may be repeated
    #[arg(long, value_name = "TAG", requires = "openapi", conflicts_with = "access_log")]
    pub tag: Vec<String>,
    /// Only paths of the OpenAPI document that begin so; may be repeated
    #[arg(long, value_name = "PREFIX", requires = "openapi", conflicts_with = "access_log")]
    pub path: Vec<String>,
    /// Only this method of the OpenAPI document; may be repeated
    #[arg(long, value_name = "METHOD", requires = "openapi", conflicts_with = "access_log")]
    pub method: Vec<String>,
    /// So many routes at most: of each tag in turn, GET first
    #[arg(long, value_name = "N", requires = "openapi", conflicts_with = "access_log", value_parser = clap::value_parser!(u16).range(1..))]
    pub limit: Option<u16>,
    /// Base URL of the service, instead of the one in the document
    #[arg(long, value_name = "URL")]
    pub target: Option<BaseUrl>,
    /// Who asks, and with which values.
    #[command(flatten)]
    pub asked: AskedArgs,
    /// Write this file; standard output without it
    #[arg(short, long, value_name = "FILE.toml")]
    pub output: Option<PathBuf>,
    /// Replace the file when it is there
    #[arg(long, requires = "output")]
    pub force: bool,
    /// A host other than this machine that may be asked for the document; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_remote: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum InitCommandError {
    #[error(transparent)]
    Init(#[from] InitError),
    #[error(transparent)]
    ByUrl(#[from] Box<ByUrlError>),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` exists: `--force` replaces it", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot start")]
    Start(#[source] io::Error),
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

impl InitCommandError {
    pub(super) fn is_bad_request(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_bad_request(),
            Self::ByUrl(error) => error.is_bad_request(),
            Self::Init(_) | Self::Read { .. } | Self::Exists { .. } | Self::Write { .. } => true,
            Self::Start(_) | Self::Output(_) => false,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Fetch(error) => error.hint(),
            Self::ByUrl(error) => error.hint(),
            _ => None,
        }
    }
}

/// Makes a draft, and writes it to the file, or to `out`.
pub(super) fn run(args: &InitArgs, quiet: bool, out: &mut dyn Write) -> Result<Exit, InitCommandError> {
    if let Some(path) = args.output.as_ref().filter(|path| path.exists() && !args.force) {
        return Err(InitCommandError::Exists { path: path.clone() });
    }
    let draft = draft(args)?;
    let file = args.output.as_ref().map_or_else(|| format!("{}.toml", draft.name), |path| path.display().to_string());
    let written = write(&draft, &shell_word(&file));
    match &args.output {
        Some(path) => save(path, &written.text, args.force)?,
        None => say(out, &written.text)?,
    }
    if !quiet {
        say(&mut io::stderr(), &reported(&draft, &written, &file, args.output.is_some()))?;
    }
    Ok(Exit::Ok)
}

fn draft(args: &InitArgs) -> Result<Draft, InitCommandError> {
    if let Some(url) = &args.service {
        let found = found_at(&url.to_string(), args.openapi.as_deref(), &args.asked, &args.allow_remote);
        return Ok(found.map_err(Box::new)?.draft);
    }
    args.asked.refuse().map_err(Box::new)?;
    let document = args.openapi.as_ref().map(|from| document(from, args)).transpose()?;
    let made = if let Some(path) = &args.access_log {
        let routes = document.map(|(text, source)| openapi::routes(&text, &source.origin)).transpose();
        let known = KnownPaths::of(routes.map_err(InitCommandError::Init)?.unwrap_or_default());
        let origin = if path == Path::new("-") { "standard input".to_owned() } else { format!("`{}`", path.display()) };
        let reader = args.log_format.clone().map_or_else(AccessReader::default, AccessReader::of);
        access_log::draft(&mut *log(path)?, &origin, args.target.as_ref(), reader, known).map(|(draft, _)| draft)
    } else if let Some((text, source)) = document {
        openapi::draft(&text, &source)
    } else {
        urls::draft(&args.url, args.target.as_ref())
    };
    made.map_err(InitCommandError::Init)
}

fn wanted(args: &InitArgs) -> openapi::Wanted {
    openapi::Wanted {
        tags: args.tag.clone(),
        paths: args.path.clone(),
        methods: args.method.clone(),
        limit: args.limit.map(usize::from),
    }
}

fn document(from: &str, args: &InitArgs) -> Result<(String, OpenApiSource), InitCommandError> {
    let target = args.target.clone();
    if !from.starts_with("http://") && !from.starts_with("https://") {
        let text = read(Path::new(from))?;
        return Ok((text, OpenApiSource { origin: format!("`{from}`"), target, found_at: None, wanted: wanted(args) }));
    }
    let url: BaseUrl = from.parse().map_err(|error: crate::scenario::service::BaseUrlError| {
        InitCommandError::Init(InitError::Url(error.to_string()))
    })?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(InitCommandError::Start)?;
    let text = runtime.block_on(fetch(&url, &args.allow_remote)).map_err(InitCommandError::Fetch)?;
    let found_at = url.url().join("/").ok().and_then(|root| root.as_str().parse().ok());
    Ok((text, OpenApiSource { origin: format!("`{url}`"), target, found_at, wanted: wanted(args) }))
}

fn read(path: &Path) -> Result<String, InitCommandError> {
    let failed = |source| InitCommandError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(LONGEST_DOCUMENT).read_to_string(&mut text)).map_err(failed)?;
    Ok(text)
}

fn log(path: &Path) -> Result<Box<dyn BufRead>, InitCommandError> {
    crate::logs::open(path).map_err(|source| InitCommandError::Read { path: path.to_owned(), source })
}

/// A file that was not asked about is not written over, even if it appeared in between.
fn save(path: &Path, text: &str, force: bool) -> Result<(), InitCommandError> {
    let failed = |source: io::Error| InitCommandError::Write { path: path.to_owned(), source };
    if force {
        return fs::write(path, text).map_err(failed);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

/// Report on a draft: what was made, what was not, and what comes next.
fn reported(draft: &Draft, written: &Written, file: &str, saved: bool) -> String {
    let mut lines = Vec::new();
    let off = draft.routes.iter().filter(|route| route.changes_data).count();
    let switched_off =
        if off == 0 { String::new() } else { format!(", {off} of them switched off: they may change data") };
    let name = if saved { format!("{}: ", plain(file)) } else { String::new() };
    lines.push(format!("{name}{}{switched_off}", counted(draft.routes.len(), "route")));
    lines.push(format!("from: {}", plain(&draft.origin)));
    lines.extend(draft.notes.iter().map(|note| format!("left out: {}", plain(note))));
    let word = shell_word(file);
    match written.gaps.len() {
        0 => lines.push(format!("next: rbac-bench scenario check {word}")),
        gaps => lines
            .push(format!("next: fill in {}, which `rbac-bench scenario check {word}` names", counted(gaps, "place"))),
    }
    lines.join("\n") + "\n"
}
