//! The command that starts a service: the target's, with what a variant has in place of it or beside it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ServiceScenario;
use super::secret::{holds_secret, in_words};
use super::syntax::check_path;
use super::url::holds_password;
use crate::scenario::VariantName;
use crate::scenario::check::Problems;
use crate::units::Span;

/// Default time for a service to become ready.
const READY_WITHIN: Span = Span::from_secs(60);

/// Command that starts the service of a variant, and its readiness check.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceCommand {
    pub words: Vec<String>,
    /// Variables added to the environment.
    pub env: BTreeMap<String, String>,
    pub folder: PathBuf,
    /// The path that answers with 200 to 299 once it serves; `None`: that its port accepts is all that is known.
    pub ready: Option<String>,
    /// Longest time for that.
    pub ready_within: Span,
}

impl ServiceScenario {
    /// Command that starts the service of a variant; `None` when it runs already.
    #[must_use]
    pub fn command(&self, variant: VariantName) -> Option<ServiceCommand> {
        let (target, own) = (&self.target, self.variants.get(&variant).cloned().unwrap_or_default());
        let words = if own.command.is_empty() { target.command.clone() } else { own.command };
        if words.is_empty() {
            return None;
        }
        let mut env = target.env.clone();
        env.extend(own.env);
        let mut folder = self.folder.clone();
        folder.extend(own.folder.as_ref().or(target.folder.as_ref()));
        if folder.as_os_str().is_empty() {
            folder.push(".");
        }
        let ready = target.ready.as_ref().or(target.health.as_ref()).cloned();
        Some(ServiceCommand { words, env, folder, ready, ready_within: target.ready_within.unwrap_or(READY_WITHIN) })
    }
}

/// Checks the commands of target and variants.
pub(super) fn check(scenario: &ServiceScenario, found: &mut Problems) {
    let target = &scenario.target;
    check_words(&["target", "command"], &target.command, found);
    check_env(&["target"], &target.env, found);
    check_path(&["target", "ready"], target.ready.as_deref(), found);
    if let Some(within) = target.ready_within {
        found.refuse_zero(&["target", "ready_within"], within);
    }
    let started = !target.command.is_empty() || scenario.variants.values().any(|it| !it.command.is_empty());
    let given = [
        ("env", !target.env.is_empty()),
        ("folder", target.folder.is_some()),
        ("ready", target.ready.is_some()),
        ("ready_within", target.ready_within.is_some()),
    ];
    for (name, _) in given.into_iter().filter(|(_, given)| *given && !started) {
        found.error(&["target", name], "is for a `command` that starts the service, and there is none");
    }
    for (name, variant) in &scenario.variants {
        let place = ["variants", name.name()];
        check_words(&["variants", name.name(), "command"], &variant.command, found);
        check_env(&place, &variant.env, found);
        let given = [("env", !variant.env.is_empty()), ("folder", variant.folder.is_some())];
        for (key, _) in given.into_iter().filter(|(_, given)| *given && scenario.command(*name).is_none()) {
            found.error(&["variants", name.name(), key], "is for a `command`, and neither target nor variant has one");
        }
    }
}

fn check_words(key: &[&str], words: &[String], found: &mut Problems) {
    if words.first().is_some_and(|program| program.trim().is_empty()) {
        found.error(key, "has no program: the first text names it");
    }
    if words.iter().any(|word| word.contains('\0')) {
        found.error(key, "has a NUL character, which no argument may have");
    }
    if words.iter().any(|word| holds_password(word)) {
        found.error(key, "holds a password, which would be in every copy of the scenario: the service inherits the environment, where it belongs");
    } else if let Some(variable) = in_words(words) {
        let message = format!(
            "holds a secret, which would be in every copy of the scenario and in every list of processes: let the service \
             read it from its environment, such as {variable}, which it inherits"
        );
        found.error(key, message);
    }
}

fn check_env(place: &[&str], env: &BTreeMap<String, String>, found: &mut Problems) {
    for (name, value) in env {
        let key = [place, &["env", name.as_str()]].concat();
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            found.error(&key, "cannot be a variable: expected a name without `=`, and neither with a NUL character");
        }
        // The value is not repeated.
        if holds_password(value) {
            found.error(
                &key,
                "holds a password, which would be in every copy of the scenario: leave it out, since the service inherits the environment",
            );
        } else if holds_secret(name, value) {
            found.error(
                &key,
                "holds a secret by its name, which would be in every copy of the scenario: leave it out, since the service inherits the environment",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = r#"name = "shop"
[target]
url = "http://127.0.0.1:8000"
command = ["serve", "--port", "8000"]
env = { POOL_SIZE = "20", BUG = "0" }
folder = "../shop"
health = "/health"
[[route]]
route = "GET /"
[variants.before]
env = { BUG = "1" }
[variants.after]
command = ["./serve"]
folder = "/srv/fixed"
"#;

    fn command(text: &str, variant: &str) -> Option<ServiceCommand> {
        let scenario =
            ServiceScenario::from_text("here/shop.toml", text, &[]).unwrap_or_else(|error| panic!("{error}"));
        scenario.command(variant.parse().unwrap())
    }

    #[test]
    fn a_variant_has_the_targets_command_but_for_what_it_says_itself() {
        let before = command(SHOP, "before").unwrap();
        assert_eq!(before.words, ["serve", "--port", "8000"]);
        assert_eq!((before.env["BUG"].as_str(), before.env["POOL_SIZE"].as_str()), ("1", "20"));
        assert_eq!(before.folder, std::path::Path::new("here/../shop"));
        assert_eq!((before.ready.as_deref(), before.ready_within), (Some("/health"), READY_WITHIN));
        let after = command(SHOP, "after").unwrap();
        assert_eq!((after.words, after.env["BUG"].as_str()), (vec!["./serve".to_owned()], "0"));
        assert_eq!(after.folder, std::path::Path::new("/srv/fixed"));
        let running = SHOP.split("command").next().unwrap().to_owned() + "[[route]]\nroute = \"GET /\"\n";
        assert_eq!(command(&running, "service"), None);
    }
}
