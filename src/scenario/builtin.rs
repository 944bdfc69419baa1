//! The scenarios that are compiled in, so that the program shows something without any file.

/// One built-in scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Builtin {
    /// Its name, which is also the `name` in its text.
    pub name: &'static str,
    /// Its TOML, as it lies in `scenarios/`.
    pub text: &'static str,
}

/// The default scenario.
pub const DEFAULT: Builtin = Builtin { name: "issue-2318", text: include_str!("../../scenarios/issue-2318.toml") };

/// Every built-in, the default first.
pub const BUILTINS: [Builtin; 4] = [
    DEFAULT,
    Builtin { name: "collapse", text: include_str!("../../scenarios/collapse.toml") },
    Builtin { name: "collapse-full", text: include_str!("../../scenarios/collapse-full.toml") },
    Builtin { name: "issue-2318-pgbouncer", text: include_str!("../../scenarios/issue-2318-pgbouncer.toml") },
];

impl Builtin {
    /// The `title` in its text.
    #[must_use]
    pub fn title(&self) -> String {
        let table: toml::Table = self.text.parse().unwrap_or_default();
        table.get("title").and_then(toml::Value::as_str).unwrap_or_default().to_owned()
    }
}

/// The built-in of this name.
#[must_use]
pub fn find(name: &str) -> Option<Builtin> {
    BUILTINS.into_iter().find(|builtin| builtin.name == name)
}

/// The names for a message: `` `a`, `b` ``.
pub(super) fn quoted_names() -> String {
    BUILTINS.map(|builtin| format!("`{}`", builtin.name)).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::key::KeyPath;
    use crate::scenario::source::{leaf_keys, problems};
    use crate::scenario::{Load, Scenario, UserClass};

    fn read(builtin: Builtin) -> Scenario {
        Scenario::from_text(builtin.name, builtin.text, &[]).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn every_built_in_passes_its_own_check_without_a_warning() {
        for builtin in BUILTINS {
            let scenario = read(builtin);
            assert_eq!(scenario.name, builtin.name);
            assert_eq!(scenario.title, builtin.title());
            assert_eq!(problems(builtin.name, builtin.text, &[]).unwrap(), []);
        }
    }

    #[test]
    fn all_built_ins_have_the_same_users() {
        let classes = |load: Load| -> Vec<(String, UserClass)> { load.classes.into_iter().collect() };
        let expected = classes(read(DEFAULT).load);
        for builtin in BUILTINS {
            assert_eq!(classes(read(builtin).load), expected, "{}", builtin.name);
        }
    }

    #[test]
    fn the_plain_case_is_as_it_was_calibrated() {
        let collapse = read(find("collapse").unwrap());
        assert_eq!(collapse.gateway.pool_capacity(), 450);
        assert_eq!(u64::from(collapse.load.users.get()), 400 * collapse.load.ramp_up.duration().as_secs());
        assert!(collapse.gateway.usage_counter.share.get() == 0.0);
    }

    #[test]
    fn the_default_knows_the_keys_that_others_leave_out() {
        let keys = leaf_keys(&read(DEFAULT));
        for key in ["reference", "gateway.usage_counter.rows", "load.seed", "monitor.interval"] {
            assert!(keys.contains(&KeyPath::parse(key).unwrap()), "{key}");
        }
    }
}
