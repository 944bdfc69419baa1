//! A scenario of its name, or of the URL of a service: what is found out becomes one.

use std::fs;
use std::path::Path;

use super::discover_args::{ByUrlError, DiscoverArgs, found_at, is_url};
use super::error::CliError;
use super::load::load_scenario;
use super::output::say;
use super::rules::read_rules;
use super::scenario::OverrideArgs;
use crate::discover::Discovered;
use crate::init::file;
use crate::render::text::{plain, shell_word};
use crate::scenario::Experiment;
use crate::scenario::overrides::Override;

/// The scenario of this name, or what the URL of a service tells; on stderr stands what was found, unless `quiet`.
pub(super) fn scenario_or_url(
    name: &str,
    args: &DiscoverArgs,
    allow_remote: &[String],
    (flags, environment): (&OverrideArgs, &[Override]),
    quiet: bool,
) -> Result<Experiment, CliError> {
    if !is_url(name) {
        args.refuse_beside(name)?;
        return load_scenario(name, flags, environment);
    }
    let found = found_at(name, args.openapi.as_deref(), &args.asked, allow_remote)?;
    let file = args.save.clone().unwrap_or_else(|| format!("{}.toml", found.draft.name).into());
    let text = file::write(&found.draft, &shell_word(&file.display().to_string())).text;
    if let Some(path) = &args.save {
        fs::write(path, &text).map_err(|source| ByUrlError::Save { path: path.clone(), source })?;
    }
    let mut overrides = flags.on_top_of(environment)?;
    if args.change_data {
        overrides.insert(0, Override::from_set("load.allow_data_changes=true")?);
    }
    let scenario = Experiment::from_text(&file.display().to_string(), &text, &overrides)?;
    read_rules(scenario.gate(), &scenario)?;
    if !quiet {
        say(&mut std::io::stderr(), &reported(&found, args.change_data, args.save.as_deref()))?;
    }
    Ok(scenario)
}

/// What was found, in a few lines.
fn reported(found: &Discovered, change_data: bool, saved: Option<&Path>) -> String {
    let changing = found.draft.routes.iter().filter(|route| route.changes_data).count();
    let asked = found.draft.routes.len() - if change_data { 0 } else { changing };
    let mut lines = vec![format!("found {}: {}", plain(&found.draft.origin), file::counted(asked, "route"))];
    if changing > 0 && !change_data {
        lines.push(format!(
            "not asked: {} that may change data; `--change-data` asks",
            file::counted(changing, "route")
        ));
    }
    if let Some(login) = &found.login {
        lines.push(format!("logs in with {}", plain(login)));
    }
    for it in &found.left_out {
        let cure = it.cure.as_ref().map_or_else(String::new, |cure| format!("; add {cure}"));
        lines.push(format!("left out: {}: {}{cure}", plain(&it.route), plain(&it.why)));
    }
    if let Some(path) = saved {
        lines.push(format!("saved: {}", plain(&path.display().to_string())));
    }
    lines.join("\n") + "\n"
}
