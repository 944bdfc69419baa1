//! From a text to a resolved scenario, of the reference gateway or of an external service.
//!
//! Precedence: defaults < scenario file < environment < flags. The file is read on its own first, so that its
//! mistakes are reported with line and column; then again with the overrides merged in, so that theirs are reported by the
//! flag or variable that made them. Last comes the check of the whole ([`check`]). Only [`resolve`] touches the disk.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml_edit::DocumentMut;

use super::builtin;
use super::check::{Problem, ProblemSeverity, check};
use super::error::{KeyFault, LocatedProblem, ScenarioError, Site};
use super::fault::Fault;
use super::key::{KeyPath, nearest};
use super::locate::{Locator, PathPart, SourcePosition};
use super::overrides::{self, Override};
use super::route::Tool;
use super::toml_value::TomlValue;
use super::{Experiment, Scenario, ServiceScenario};
use crate::units::Count;

/// The longest file that is read as a scenario; a longer one is none.
const LONGEST_FILE: u64 = 1 << 20;

/// The most problems of a severity that are reported.
const MOST_PROBLEMS: usize = 500;

/// A scenario's text, and the name by which messages speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioText {
    /// The built-in's file name, or the path as it was given.
    pub name: String,
    pub text: Cow<'static, str>,
}

/// Finds a scenario by the name of a built-in or the path of a file, in this order: a file that is called as a
/// built-in is reached as `./collapse`.
///
/// # Errors
/// When it is neither, or the file cannot be read or holds no text.
pub fn resolve(name_or_path: &str) -> Result<ScenarioText, ScenarioError> {
    if let Some(builtin) = builtin::find(name_or_path) {
        return Ok(ScenarioText { name: builtin.name.to_owned(), text: Cow::Borrowed(builtin.text) });
    }
    let path = Path::new(name_or_path);
    if !path.exists() && !looks_like_a_path(name_or_path) {
        return Err(ScenarioError::Unknown { name: name_or_path.to_owned() });
    }
    Ok(ScenarioText { name: name_or_path.to_owned(), text: Cow::Owned(read_text(path)?) })
}

/// True if a missing file, rather than an unknown name, is what should be complained of.
fn looks_like_a_path(text: &str) -> bool {
    text.contains(std::path::MAIN_SEPARATOR) || Path::new(text).extension().is_some()
}

fn read_text(path: &Path) -> Result<String, ScenarioError> {
    let bytes = read_bytes(path)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        let place = SourcePosition::of(&before, valid);
        ScenarioError::NotText { path: path.to_owned(), place, source: error.utf8_error() }
    })
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, ScenarioError> {
    if path.is_dir() {
        return Err(ScenarioError::Folder { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, to tell a file that ends there from one that goes on, such as a device.
    File::open(path)
        .and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(|source| ScenarioError::Unreadable { path: path.to_owned(), source })?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(ScenarioError::TooLong { path: path.to_owned(), limit: LONGEST_FILE });
    }
    Ok(bytes)
}

/// A document that can be read from a text, with overrides beside it.
pub(super) trait Readable: Serialize + DeserializeOwned {
    /// Problems of the whole.
    fn problems(&self) -> Vec<Problem>;

    /// Keys that exist, for hints on a key at the wrong level.
    fn known_keys() -> Vec<KeyPath>;

    /// The entry that an override was meant for, when it has made a new one, which lacks the rest.
    fn entry_meant(&self, _key: &KeyPath) -> Option<String> {
        None
    }

    /// Fills in what depends on another setting, or on the text's order.
    #[must_use]
    fn completed(self, _text: &Locator<'_>) -> Self {
        self
    }
}

impl Readable for Scenario {
    fn problems(&self) -> Vec<Problem> {
        check(self)
    }

    /// Those of the built-in scenario that sets them all.
    fn known_keys() -> Vec<KeyPath> {
        deserialize::<Self>(builtin::DEFAULT.text).map(|scenario| leaf_keys(&scenario)).unwrap_or_default()
    }

    /// The override of `load.classes.realstic.weight` makes a class.
    fn entry_meant(&self, key: &KeyPath) -> Option<String> {
        let holder = key.parent();
        let name = key.names().last()?;
        let names: Vec<&str> = match holder.to_string().as_str() {
            "load.classes" => self.load.classes.keys().map(String::as_str).collect(),
            "backend.delays" => Tool::ALL.map(Tool::name).to_vec(),
            _ => return None,
        };
        if names.contains(&name.as_str()) {
            return None;
        }
        nearest(name, names).map(|name| holder.child(name).to_string())
    }

    /// A shared row is wanted, so there is one.
    fn completed(mut self, _text: &Locator<'_>) -> Self {
        let counter = &mut self.gateway.usage_counter;
        if counter.share.get() > 0.0 {
            counter.rows.get_or_insert(Count::of(1));
        }
        self
    }
}

impl Scenario {
    /// Reads a scenario, with what is set beside it.
    ///
    /// Warnings do not stop it; [`problems`] has them.
    ///
    /// ```
    /// use rbac_bench::scenario::{Scenario, builtin, overrides::Override};
    /// let few = Override::from_set("load.users=50").unwrap();
    /// let scenario = Scenario::from_text("collapse", builtin::find("collapse").unwrap().text, &[few]).unwrap();
    /// assert_eq!(scenario.load.users.get(), 50);
    /// ```
    ///
    /// # Errors
    /// When the text, an override or the whole is refused: with the place, or the flag, at fault.
    pub fn from_text(name: &str, text: &str, overrides: &[Override]) -> Result<Self, ScenarioError> {
        accepted(read(name, text, overrides)?)
    }
}

impl ServiceScenario {
    /// Reads a scenario of an external service, as [`Scenario::from_text`] does the gateway's. `name` is its path:
    /// files that it names lie beside it.
    ///
    /// # Errors
    /// As there.
    pub fn from_text(name: &str, text: &str, overrides: &[Override]) -> Result<Self, ScenarioError> {
        let scenario: Self = accepted(read(name, text, &choosing_variants(overrides))?)?;
        Ok(Self { folder: Path::new(name).parent().unwrap_or(Path::new("")).to_owned(), ..scenario })
    }
}

impl Experiment {
    /// Reads a scenario of either kind, recognised by its keys: one with a `target` is of an external service.
    ///
    /// # Errors
    /// As [`Scenario::from_text`].
    pub fn from_text(name: &str, text: &str, overrides: &[Override]) -> Result<Self, ScenarioError> {
        if is_of_service(name, text)? {
            ServiceScenario::from_text(name, text, overrides).map(Box::new).map(Self::Service)
        } else {
            Scenario::from_text(name, text, overrides).map(Self::from)
        }
    }
}

fn is_of_service(name: &str, text: &str) -> Result<bool, ScenarioError> {
    locator(name, text).map(|locator| locator.has("target"))
}

/// `--variant` names what of a service's variants is run, which is a key of its own there.
fn choosing_variants(overrides: &[Override]) -> Vec<Override> {
    let chosen = |it: &Override| match it.key.names() {
        [key] if key == "variants" => Override { key: KeyPath::of(["run"]), ..it.clone() },
        _ => it.clone(),
    };
    overrides.iter().map(chosen).collect()
}

fn accepted<T>((read, mut problems): (T, Vec<LocatedProblem>)) -> Result<T, ScenarioError> {
    problems.retain(|it| it.problem.severity == ProblemSeverity::Error);
    if problems.is_empty() { Ok(read) } else { Err(ScenarioError::Refused { problems }) }
}

/// Everything that the check says of a scenario of either kind, each with its place; in the order of the check.
///
/// # Errors
/// When there is no whole to check, because the text or an override is refused by itself.
pub fn problems(name: &str, text: &str, overrides: &[Override]) -> Result<Vec<LocatedProblem>, ScenarioError> {
    if is_of_service(name, text)? {
        read::<ServiceScenario>(name, text, &choosing_variants(overrides)).map(|(_, problems)| problems)
    } else {
        read::<Scenario>(name, text, overrides).map(|(_, problems)| problems)
    }
}

fn read<T: Readable>(
    name: &str,
    text: &str,
    overrides: &[Override],
) -> Result<(T, Vec<LocatedProblem>), ScenarioError> {
    let source = GivenText { name, text, locator: locator(name, text)?, overrides: overrides::in_order(overrides) };
    let alone: T = source.read_alone()?;
    let whole = source.read_merged(&alone)?.completed(&source.locator);
    let of_text: HashSet<Problem> = alone.problems().into_iter().collect();
    let problems = fewest(whole.problems()).map(|problem| source.locate(problem, &of_text)).collect();
    Ok((whole, problems))
}

/// The first of each severity: a file with a mistake in each of its thousand lines has one mistake that matters.
fn fewest(problems: Vec<Problem>) -> impl Iterator<Item = Problem> {
    let mut seen = [0; 2];
    problems.into_iter().filter(move |problem| {
        let seen = &mut seen[usize::from(problem.severity == ProblemSeverity::Error)];
        *seen += 1;
        *seen <= MOST_PROBLEMS
    })
}

fn locator<'a>(name: &str, text: &'a str) -> Result<Locator<'a>, ScenarioError> {
    Locator::new(text).map_err(|error| {
        let offset = error.span().map_or(text.len(), |span| span.start);
        let site = Site::Text { name: name.to_owned(), place: SourcePosition::of(text, offset) };
        ScenarioError::Syntax { site, reason: error.message().replace('\n', ", ") }
    })
}

/// One text with what is set beside it.
struct GivenText<'a> {
    name: &'a str,
    text: &'a str,
    locator: Locator<'a>,
    overrides: Vec<&'a Override>,
}

impl GivenText<'_> {
    fn read_alone<T: Readable>(&self) -> Result<T, ScenarioError> {
        deserialize(self.text).map_err(|(key, fault)| {
            let meant = fault.meant(&key, &T::known_keys());
            ScenarioError::Key(Box::new(KeyFault {
                site: self.site_in_text(&key, fault.part(&key)),
                key,
                fault,
                meant,
            }))
        })
    }

    fn read_merged<T: Readable>(&self, alone: &T) -> Result<T, ScenarioError> {
        let mut document = document_of(alone);
        self.overrides.iter().for_each(|it| overrides::merge(&mut document, it));
        deserialize(&document.to_string()).map_err(|(key, fault)| {
            let meant = fault.meant(&key, &T::known_keys()).or_else(|| alone.entry_meant(&key));
            ScenarioError::Key(Box::new(KeyFault { site: self.site(&key, PathPart::Value), key, fault, meant }))
        })
    }

    /// A problem that the text has by itself is not blamed on an override, which may concern a neighbouring key.
    fn locate(&self, problem: Problem, of_text: &HashSet<Problem>) -> LocatedProblem {
        let site = if of_text.contains(&problem) {
            self.site_in_text(&problem.key, PathPart::Value)
        } else {
            self.site(&problem.key, PathPart::Value)
        };
        LocatedProblem { site, problem }
    }

    /// The override that has the last word on `key`; else its place in the text.
    fn site(&self, key: &KeyPath, part: PathPart) -> Site {
        let last_word = self.overrides.iter().rev().find(|it| it.key.overlaps(key));
        last_word.map_or_else(|| self.site_in_text(key, part), |it| Site::Override(it.to_string()))
    }

    fn site_in_text(&self, key: &KeyPath, part: PathPart) -> Site {
        Site::Text { name: self.name.to_owned(), place: self.locator.place(key, part) }
    }
}

/// A scenario with all its defaults, as a document to merge overrides into: an override of one key of a table that the
/// file leaves out changes that key alone.
fn document_of(scenario: &impl Serialize) -> DocumentMut {
    let text = toml::to_string(scenario).expect("what has been read from TOML can be written as TOML");
    text.parse().expect("what has been written as TOML can be read as TOML")
}

pub(super) fn deserialize<T: DeserializeOwned>(text: &str) -> Result<T, (KeyPath, Fault)> {
    let refused = |error: toml::de::Error| Fault::Refused { reason: error.message().to_owned() };
    let table: toml::Table = toml::from_str(text).map_err(|error| (KeyPath::default(), refused(error)))?;
    let value = TomlValue(toml::Value::Table(table));
    serde_path_to_error::deserialize(value).map_err(|error| (key_of(error.path()), error.into_inner()))
}

/// The key at fault. A place in a list is kept where the list is one of tables; else the list is what a person sets.
fn key_of(path: &serde_path_to_error::Path) -> KeyPath {
    let mut key = KeyPath::default();
    let mut place = None;
    for segment in path {
        match segment {
            Segment::Map { key: name } => {
                key = place.take().map_or_else(|| key.clone(), |place| key.item(place)).child(name);
            }
            Segment::Seq { index } => place = Some(*index),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    key
}

/// Every key of `scenario` that holds a value, in the order of the types; a list is one value.
pub fn leaf_keys(scenario: &impl Serialize) -> Vec<KeyPath> {
    let mut keys = Vec::new();
    if let Ok(table) = toml::Table::try_from(scenario) {
        collect_leaves(&KeyPath::default(), &table, &mut keys);
    }
    keys
}

fn collect_leaves(within: &KeyPath, table: &toml::Table, keys: &mut Vec<KeyPath>) {
    for (name, value) in table {
        let key = within.child(name);
        match value {
            toml::Value::Table(inner) => collect_leaves(&key, inner, keys),
            _ => keys.push(key),
        }
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
