//! Session filter: other sessions in the database must not be blamed on the application.

use std::collections::HashMap;

use super::MonitorError;

/// Filter of the main figures: sessions of one of the applications and of one of the users. Where no
/// application is named any will do, and so for the users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Names as sessions give them (`application_name`); one that ends with `*` stands for all that begin so.
    pub applications: Vec<String>,
    pub users: Vec<String>,
}

impl SessionFilter {
    /// All client sessions of the database.
    #[must_use]
    pub fn everybody() -> Self {
        Self::default()
    }

    /// True if nobody is left out.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        self.applications.is_empty() && self.users.is_empty()
    }

    /// The applications as patterns for `LIKE`; `None` where any will do.
    pub(super) fn patterns(&self) -> Option<Vec<String>> {
        (!self.applications.is_empty()).then(|| self.applications.iter().map(|name| pattern(name)).collect())
    }

    /// The same as the server knows them.
    pub(super) fn wanted(&self, roles: &HashMap<u32, String>) -> Result<Wanted, MonitorError> {
        let oid = |user: &String| {
            let of_it = roles.iter().find(|(_, name)| *name == user);
            of_it.map(|(oid, _)| *oid).ok_or_else(|| MonitorError::NoSuchRole { role: user.clone() })
        };
        let users = self.users.iter().map(oid).collect::<Result<Vec<u32>, _>>()?;
        Ok(Wanted { users: (!users.is_empty()).then_some(users), applications: self.patterns() })
    }
}

/// A name as a pattern for `LIKE`, in which `%`, `_` and `\` mean themselves.
fn pattern(name: &str) -> String {
    let (name, rest) = name.strip_suffix('*').map_or((name, ""), |start| (start, "%"));
    let mut pattern = String::with_capacity(name.len() + 1);
    for c in name.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + rest
}

/// Wanted sessions as a poll asks for them; `None`: any.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Oids of roles.
    pub(super) users: Option<Vec<u32>>,
    /// Patterns.
    pub(super) applications: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_itself_and_a_star_at_its_end_whatever_follows() {
        for (name, like) in [("shop", "shop"), ("shop*", "shop%"), ("my_shop 100%", r"my\_shop 100\%"), ("*", "%")] {
            assert_eq!(pattern(name), like);
        }
    }

    #[test]
    fn a_role_that_is_not_there_is_no_filter_that_lets_nobody_through() {
        let roles = HashMap::from([(10, "app".to_owned())]);
        let of =
            |user: &str| SessionFilter { users: vec![user.to_owned()], ..SessionFilter::everybody() }.wanted(&roles);
        assert_eq!(of("app").unwrap().users, Some(vec![10]));
        assert!(matches!(of("ap"), Err(MonitorError::NoSuchRole { role }) if role == "ap"));
        assert_eq!(SessionFilter::everybody().wanted(&roles).unwrap().users, None);
    }
}
