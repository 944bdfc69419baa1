//! Flags of discovery: the URL of a service in place of a scenario.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::header::HeaderName;

use super::env_file::{self, EnvFileError};
use crate::discover::{DiscoverError, Discovered, Given, Who, discover};
use crate::redact;
use crate::render::text::plain;
use crate::run::{DatabaseUrl, FetchError, LONGEST_DOCUMENT, TargetDatabase, databases_of, fetch};
use crate::scenario::service::{BaseUrl, BaseUrlError, RouteName};

/// What a URL alone does not tell.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "A service by its URL")]
pub struct DiscoverArgs {
    /// Its API document, a file or a URL on localhost; else the usual places are asked
    #[arg(long, value_name = "URL|FILE")]
    pub openapi: Option<String>,
    /// Who asks, and with which values.
    #[command(flatten)]
    pub asked: AskedArgs,
    /// A file of variables (`.env`) that names the database, where the environment does not
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Also ask for routes that change data
    #[arg(long)]
    pub change_data: bool,
    /// Write the scenario that was made up into this file
    #[arg(long, value_name = "FILE.toml")]
    pub save: Option<PathBuf>,
}

/// Who asks, and with which values.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "A service by its URL")]
pub struct AskedArgs {
    /// Log in under this name
    #[arg(long, value_name = "NAME", requires = "password_env", conflicts_with_all = ["bearer_env", "header_env"])]
    pub user: Option<String>,
    /// The environment variable with the password
    #[arg(long, value_name = "VARIABLE", requires = "user")]
    pub password_env: Option<String>,
    /// The route that logs in, such as 'POST /login'; else it is looked for in the document
    #[arg(long, value_name = "ROUTE", requires = "user")]
    pub login: Option<RouteName>,
    /// The environment variable with a bearer token
    #[arg(long, value_name = "VARIABLE", conflicts_with = "header_env")]
    pub bearer_env: Option<String>,
    /// A header that says who asks, and the environment variable with its value, such as X-Api-Key=SHOP_KEY
    #[arg(long, value_name = "NAME=VARIABLE", value_parser = header_from)]
    pub header_env: Option<(HeaderName, String)>,
    /// Values of a parameter, such as `order_id=7,8`; may be repeated
    #[arg(long, value_name = "NAME=VALUE,…", value_parser = values_of)]
    pub param: Vec<(String, Vec<String>)>,
}

fn header_from(text: &str) -> Result<(HeaderName, String), String> {
    let refused = || format!("invalid header `{text}`: expected a name and a variable, such as X-Api-Key=SHOP_KEY");
    let (name, variable) = text.split_once('=').ok_or_else(refused)?;
    let name = name.trim().parse().map_err(|_invalid| refused())?;
    let variable = variable.trim();
    if variable.is_empty() { Err(refused()) } else { Ok((name, variable.to_owned())) }
}

fn values_of(text: &str) -> Result<(String, Vec<String>), String> {
    let refused = || format!("invalid parameter `{text}`: expected a name and values, such as order_id=7,8");
    let (name, values) = text.split_once('=').ok_or_else(refused)?;
    let values: Vec<String> = values.split(',').filter(|value| !value.is_empty()).map(str::to_owned).collect();
    if name.is_empty() || values.is_empty() { Err(refused()) } else { Ok((name.to_owned(), values)) }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ByUrlError {
    #[error("invalid service URL `{0}`")]
    Url(String, #[source] BaseUrlError),
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write `{}`", path.display())]
    Save {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    EnvFile(#[from] EnvFileError),
    #[error("the variable `{variable}` is not set: `{flag}` needs it")]
    Variable { variable: String, flag: &'static str },
    #[error("`{flag}` is for the URL of a service, which is asked: expected one")]
    NothingIsAsked { flag: &'static str },
    #[error("cannot start")]
    Start(#[source] std::io::Error),
    #[error("no database is given{}", connected(found))]
    NoDatabase { found: Vec<TargetDatabase> },
    #[error("`{flag}` is for the URL of a service: expected one in place of `{scenario}`")]
    NoUrl { flag: &'static str, scenario: String },
}

impl ByUrlError {
    pub(super) fn is_bad_request(&self) -> bool {
        match self {
            Self::Discover(error) => error.is_bad_request(),
            Self::Fetch(error) => error.is_bad_request(),
            Self::NothingIsAsked { .. }
            | Self::Url(..)
            | Self::Read { .. }
            | Self::Variable { .. }
            | Self::NoUrl { .. }
            | Self::EnvFile(_)
            | Self::NoDatabase { .. } => true,
            Self::Save { .. } | Self::Start(_) => false,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Discover(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::NoDatabase { found } => {
                let address = found.first().map_or_else(|| "127.0.0.1:5432".to_owned(), |it| it.address.to_string());
                Some(format!("export DATABASE_URL=postgresql://USER:PASSWORD@{address}/DATABASE"))
            }
            _ => None,
        }
    }
}

/// Where the service is connected to.
fn connected(found: &[TargetDatabase]) -> String {
    let one = |it: &TargetDatabase| {
        let through =
            it.pooler.as_ref().map_or_else(String::new, |(pooler, at)| format!(" through `{pooler}` at {at}"));
        format!(
            "process {} (`{}`) is connected to PostgreSQL at {}{through}",
            it.process.pid,
            plain(&it.process.name),
            it.address
        )
    };
    if found.is_empty() { String::new() } else { format!(": {}", found.iter().map(one).collect::<Vec<_>>().join(", ")) }
}

/// Variables from which libpq makes a connection, and its words for them.
const LIBPQ: [(&str, &str); 6] = [
    ("PGHOST", "host"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGDATABASE", "dbname"),
    ("PGSSLMODE", "sslmode"),
];

/// The database of a service that is given by its URL, where no flag has one: `DATABASE_URL` is the scenario's, and libpq's variables come after it.
///
/// # Errors
/// When there is neither.
pub(super) fn database_of(scenario: &str, args: &DiscoverArgs) -> Result<Option<DatabaseUrl>, ByUrlError> {
    if !is_url(scenario) || variable("DATABASE_URL").is_some() {
        return Ok(None);
    }
    let service: BaseUrl = scenario.parse().map_err(|source| ByUrlError::Url(plain(scenario), source))?;
    match (given_by(&variable), &args.env_file) {
        (Some(given), _) => Ok(Some(given)),
        (None, Some(path)) => of_file(path).map(Some),
        (None, None) => Err(no_database(Some(&service))?),
    }
}

/// The database that a file names.
fn of_file(path: &Path) -> Result<DatabaseUrl, ByUrlError> {
    let variables = env_file::variables(path)?;
    let read = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
    let url = read("DATABASE_URL").map(|url| {
        redact::learn(&redact::passwords_of_urls(&url));
        DatabaseUrl::new(&url, "--env-file")
    });
    let given = url.or_else(|| given_by(&read));
    given.ok_or_else(|| EnvFileError::Nothing { path: path.to_owned() }.into())
}

/// The database of libpq's variables.
///
/// # Errors
/// When there are none: with the server that the service is connected to, where that shows.
pub(super) fn database_given(service: Option<&BaseUrl>) -> Result<DatabaseUrl, ByUrlError> {
    match given_by(&variable) {
        Some(given) => Ok(given),
        None => Err(no_database(service)?),
    }
}

/// The database of libpq's variables, as `variable` has them.
fn given_by(variable: &dyn Fn(&str) -> Option<String>) -> Option<DatabaseUrl> {
    if ["PGHOST", "PGDATABASE", "PGUSER"].iter().all(|name| variable(name).is_none()) {
        return None;
    }
    redact::learn(&variable("PGPASSWORD").into_iter().collect::<Vec<_>>());
    let words = LIBPQ.iter().filter_map(|(name, word)| {
        let value = variable(name)?.replace('\\', "\\\\").replace('\'', "\\'");
        Some(format!("{word}='{value}'"))
    });
    Some(DatabaseUrl::new(&words.collect::<Vec<_>>().join(" "), "PGHOST and its like"))
}

/// The error that no database is given, with the server that the service is connected to.
fn no_database(service: Option<&BaseUrl>) -> Result<ByUrlError, ByUrlError> {
    let Some(service) = service else { return Ok(ByUrlError::NoDatabase { found: Vec::new() }) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ByUrlError::Start)?;
    Ok(ByUrlError::NoDatabase { found: runtime.block_on(databases_of(service)) })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// True if a command was given the URL of a service in place of a scenario.
pub(super) fn is_url(scenario: &str) -> bool {
    let scheme = scenario.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

impl DiscoverArgs {
    /// Refuses what only a URL needs.
    ///
    /// # Errors
    /// When one is given.
    pub(super) fn refuse_beside(&self, scenario: &str) -> Result<(), ByUrlError> {
        let given = [
            ("--openapi", self.openapi.is_some()),
            ("--env-file", self.env_file.is_some()),
            ("--change-data", self.change_data),
            ("--save", self.save.is_some()),
        ];
        match given.into_iter().chain(self.asked.given()).find(|(_, given)| *given) {
            Some((flag, _)) => Err(ByUrlError::NoUrl { flag, scenario: scenario.to_owned() }),
            None => Ok(()),
        }
    }
}

impl DiscoverArgs {
    /// The flags with values that were given, to be written into a command again.
    pub(super) fn words(&self) -> Vec<(&'static str, String)> {
        let asked = &self.asked;
        let single = [
            ("--openapi", self.openapi.clone()),
            ("--env-file", self.env_file.as_ref().map(|path| path.display().to_string())),
            ("--user", asked.user.clone()),
            ("--password-env", asked.password_env.clone()),
            ("--login", asked.login.as_ref().map(ToString::to_string)),
            ("--bearer-env", asked.bearer_env.clone()),
            ("--header-env", asked.header_env.as_ref().map(|(name, variable)| format!("{name}={variable}"))),
        ];
        let given = single.into_iter().filter_map(|(flag, value)| Some((flag, value?)));
        let values = asked.param.iter().map(|(name, values)| ("--param", format!("{name}={}", values.join(","))));
        given.chain(values).collect()
    }
}

impl AskedArgs {
    fn given(&self) -> [(&'static str, bool); 4] {
        [
            ("--user", self.user.is_some()),
            ("--bearer-env", self.bearer_env.is_some()),
            ("--header-env", self.header_env.is_some()),
            ("--param", !self.param.is_empty()),
        ]
    }

    /// Refuses them where nothing is asked.
    ///
    /// # Errors
    /// When one is given.
    pub(super) fn refuse(&self) -> Result<(), ByUrlError> {
        match self.given().into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(ByUrlError::NothingIsAsked { flag }),
            None => Ok(()),
        }
    }

    fn who(&self) -> Result<Who, ByUrlError> {
        if let (Some(user), Some(variable)) = (&self.user, &self.password_env) {
            let password = secret(variable, "--password-env")?;
            let (user, variable, login) = (user.clone(), variable.clone(), self.login.clone());
            return Ok(Who::Password { user, variable, password, login });
        }
        if let Some(variable) = &self.bearer_env {
            return Ok(Who::Bearer { variable: variable.clone(), token: secret(variable, "--bearer-env")? });
        }
        if let Some((name, variable)) = &self.header_env {
            let value = secret(variable, "--header-env")?;
            return Ok(Who::Header { name: name.clone(), variable: variable.clone(), value });
        }
        Ok(Who::Nobody)
    }
}

/// A secret from the environment; from now on it is redacted.
fn secret(variable: &str, flag: &'static str) -> Result<String, ByUrlError> {
    let value = self::variable(variable);
    let value = value.ok_or_else(|| ByUrlError::Variable { variable: variable.to_owned(), flag })?;
    redact::learn(std::slice::from_ref(&value));
    Ok(value)
}

/// What the URL of a service tells.
pub(super) fn found_at(
    url: &str,
    openapi: Option<&str>,
    asked: &AskedArgs,
    allow_remote: &[String],
) -> Result<Discovered, ByUrlError> {
    let base: BaseUrl = url.parse().map_err(|source| ByUrlError::Url(plain(url), source))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ByUrlError::Start)?;
    runtime.block_on(async {
        let document = match openapi {
            Some(from) => Some((document(from, allow_remote).await?, format!("`{from}`"))),
            None => None,
        };
        let (who, values) = (asked.who()?, asked.param.clone());
        let given = Given { document, who, values, allow_remote: allow_remote.to_vec() };
        Ok(discover(&base, &given).await?)
    })
}

async fn document(from: &str, allow_remote: &[String]) -> Result<String, ByUrlError> {
    if is_url(from) {
        let url: BaseUrl = from.parse().map_err(|source| ByUrlError::Url(plain(from), source))?;
        return Ok(fetch(&url, allow_remote).await?);
    }
    let path = Path::new(from);
    let failed = |source| ByUrlError::Read { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > LONGEST_DOCUMENT {
        return Err(failed(std::io::Error::other(format!("it is longer than {} MB", LONGEST_DOCUMENT >> 20))));
    }
    fs::read_to_string(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_and_a_scenario_are_told_apart() {
        for (text, url) in
            [("http://127.0.0.1:8000", true), ("HTTPS://shop.localhost", true), ("shop.toml", false), ("http", false)]
        {
            assert_eq!(is_url(text), url, "{text}");
        }
    }

    #[test]
    fn values_and_headers_are_read_or_refused_with_an_example() {
        assert_eq!(values_of("order_id=7,8"), Ok(("order_id".to_owned(), vec!["7".to_owned(), "8".to_owned()])));
        assert!(values_of("order_id=").is_err_and(|error| error.contains("such as order_id=7,8")));
        assert!(header_from("X-Api-Key=SHOP_KEY").is_ok());
        assert!(header_from("X Api=KEY").is_err() && header_from("X-Api-Key=").is_err());
    }
}
