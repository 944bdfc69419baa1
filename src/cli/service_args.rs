//! The flags that point a service's scenario elsewhere: another target, another database.

use crate::database::Database;
use crate::run::DatabaseUrl;
use crate::scenario::service::BaseUrl;
use crate::scenario::{Experiment, ServiceScenario};

use super::error::CliError;

/// The variable of the database's URL.
const DATABASE_VARIABLE: &str = "RBAC_BENCH_DATABASE_URL";

/// Address of an external service, in place of what its scenario says.
#[derive(Clone, Default, clap::Args)]
#[command(next_help_heading = "Service")]
pub struct ServiceArgs {
    /// Base URL of the service, in place of the scenario's `target.url`; once for each replica. Variants with a URL of
    /// their own keep it
    #[arg(long, value_name = "URL")]
    pub target: Vec<BaseUrl>,
    /// The database under the service, in place of the scenario's `[database]`; with a password in it, the variable keeps
    /// it out of `ps`
    #[arg(long, value_name = "URL", env = DATABASE_VARIABLE, hide_env_values = true)]
    pub database_url: Option<String>,
}

impl std::fmt::Debug for ServiceArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceArgs").field("target", &self.target).finish_non_exhaustive()
    }
}

impl ServiceArgs {
    /// Points a scenario to what the flags say; gives the URL of the database when they say one. The scenario then holds
    /// it without its password.
    pub(super) fn apply(&self, experiment: &mut Experiment) -> Result<Option<DatabaseUrl>, CliError> {
        let from_environment =
            self.database_url.is_some() && self.database_url == std::env::var(DATABASE_VARIABLE).ok();
        let Experiment::Service(scenario) = experiment else {
            return match (self.target.is_empty(), &self.database_url) {
                (false, _) => Err(CliError::ServiceOnly { flag: "--target" }),
                // The variable may be there for `watch`.
                (true, Some(_)) if !from_environment => Err(CliError::ServiceOnly { flag: "--database-url" }),
                (true, _) => Ok(None),
            };
        };
        match self.target.as_slice() {
            [] => {}
            [url] => (scenario.target.url, scenario.target.urls) = (Some(url.clone()), Vec::new()),
            urls => (scenario.target.url, scenario.target.urls) = (None, urls.to_vec()),
        }
        self.database_url.as_deref().map(|url| point_database(scenario, url, from_environment)).transpose()
    }
}

fn point_database(scenario: &mut ServiceScenario, url: &str, from_environment: bool) -> Result<DatabaseUrl, CliError> {
    let from = if from_environment { DATABASE_VARIABLE } else { "--database-url" };
    let database: Database = url.parse().map_err(|source| CliError::DatabaseUrl { from, source })?;
    if !from_environment && database.config().get_password().is_some() {
        tracing::warn!(
            "anyone who lists processes reads the password in `--database-url`: {DATABASE_VARIABLE} hides it"
        );
    }
    let access = &mut scenario.database;
    (access.url, access.url_env, access.url_file) = (None, None, None);
    if from_environment {
        access.url_env = Some(DATABASE_VARIABLE.to_owned());
    } else {
        access.url = Some(database.masked_url());
    }
    Ok(DatabaseUrl::new(url, from))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct ServiceFlags {
        #[command(flatten)]
        service: ServiceArgs,
    }

    fn asked(words: &[&str]) -> ServiceArgs {
        ServiceFlags::parse_from([&["x"], words].concat()).service
    }

    fn shop() -> Experiment {
        let text = "name = \"x\"\n[target]\nurl = \"http://127.0.0.1:1\"\n[database]\nurl_file = \"url\"\n\
                    applications = [\"shop\"]\n[[route]]\nroute = \"GET /\"\n";
        Experiment::from_text("x.toml", text, &[]).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn flags_win_over_the_file_and_the_scenario_has_no_password() {
        let mut experiment = shop();
        let flags = ["--target", "http://127.0.0.1:2", "--target", "http://127.0.0.1:3"];
        let database = ["--database-url", "postgresql://app:s3cret@127.0.0.1/shop?sslmode=require"];
        let url =
            asked(&[&flags[..], &database[..]].concat()).apply(&mut experiment).unwrap_or_else(|it| panic!("{it}"));
        assert!(url.is_some_and(|url| !format!("{url:?}").contains("s3cret")));
        let Experiment::Service(scenario) = experiment else { panic!("it is a service's") };
        assert_eq!((scenario.target.url, scenario.target.urls.len()), (None, 2));
        assert_eq!(scenario.database.url.as_deref(), Some("postgresql://app@127.0.0.1:5432/shop"));
        assert_eq!((scenario.database.url_file, scenario.database.applications.len()), (None, 1));
    }

    #[test]
    fn a_gateway_s_scenario_has_neither() {
        let builtin = crate::scenario::builtin::DEFAULT;
        let mut experiment = Experiment::from_text(builtin.name, builtin.text, &[]).unwrap_or_else(|it| panic!("{it}"));
        assert!(asked(&["--target", "http://127.0.0.1:2"]).apply(&mut experiment).is_err());
        let refused = asked(&["--database-url", "postgresql://a:s3cret@h/d"]).apply(&mut experiment);
        assert!(refused.is_err_and(|error| !error.to_string().contains("s3cret")));
        assert!(asked(&[]).apply(&mut experiment).is_ok_and(|url| url.is_none()));
    }
}
