//! Sessions that are not the load's: what else there is on the server must not be blamed on the application.

use std::collections::HashSet;

use super::rows::SessionRow;
use crate::record::OtherSessions;

/// Whose sessions the main figures are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// All client sessions of the database: for a database that only the application has.
    #[default]
    Everybody,
    /// Those of users, applications and addresses that were not there when the monitor started, superusers apart.
    Newcomers,
}

/// A user, an application and a client address.
type Group = (u32, String, Option<String>);

/// Tells the load's sessions from others.
#[derive(Debug, Default)]
pub(super) struct Others {
    whose: Whose,
    superusers: HashSet<u32>,
    before: HashSet<Group>,
}

/// Why a session is not the load's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Maintenance,
    BeforeLoad,
}

impl Others {
    /// `there` is what was there before the load began.
    pub(super) fn new(whose: Whose, superusers: HashSet<u32>, there: &[SessionRow]) -> Self {
        Self { whose, superusers, before: there.iter().map(group).collect() }
    }

    /// Whether all sessions must be told, and not only those that do something.
    pub(super) fn needs_all(&self) -> bool {
        self.whose == Whose::Newcomers
    }

    /// `None`: the load's.
    pub(super) fn kind(&self, row: &SessionRow) -> Option<Kind> {
        match self.whose {
            Whose::Everybody => None,
            Whose::Newcomers if self.superusers.contains(&row.user) => Some(Kind::Maintenance),
            Whose::Newcomers => self.before.contains(&group(row)).then_some(Kind::BeforeLoad),
        }
    }

    /// Takes the others out of the rows, and counts them.
    pub(super) fn separate(&self, rows: &mut Vec<SessionRow>) -> OtherSessions {
        let mut others = OtherSessions::default();
        rows.retain(|row| {
            let Some(kind) = self.kind(row) else { return true };
            match kind {
                Kind::Maintenance => others.maintenance += 1,
                Kind::BeforeLoad => others.before_load += 1,
            }
            others.idle_in_transaction += u32::from(row.state.is_idle_in_transaction());
            false
        });
        others
    }
}

fn group(row: &SessionRow) -> Group {
    (row.user, row.application_name.clone(), row.client.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::rows::State;

    fn row(user: u32, application: &str, client: &str) -> SessionRow {
        SessionRow {
            user,
            application_name: application.to_owned(),
            client: Some(client.to_owned()),
            state: State::IdleInTransaction,
            ..SessionRow::default()
        }
    }

    #[test]
    fn whoever_was_there_before_and_every_superuser_is_not_the_load() {
        let there = [row(1, "reports", "10.0.0.9")];
        let others = Others::new(Whose::Newcomers, HashSet::from([10]), &there);
        let mut rows = vec![
            row(1, "reports", "10.0.0.9"),
            row(1, "app", "10.0.0.9"),
            row(1, "reports", "10.0.0.8"),
            row(2, "reports", "10.0.0.9"),
            row(10, "psql", "10.0.0.9"),
        ];
        let counted = others.separate(&mut rows);
        assert_eq!(rows.len(), 3);
        assert_eq!((counted.before_load, counted.maintenance, counted.idle_in_transaction), (1, 1, 2));
    }

    #[test]
    fn in_a_database_of_the_applications_own_everybody_is_the_load() {
        let others = Others::new(Whose::Everybody, HashSet::from([10]), &[row(10, "gw-1", "")]);
        let mut rows = vec![row(10, "gw-1", "")];
        assert_eq!(others.separate(&mut rows), OtherSessions::default());
        assert_eq!(rows.len(), 1);
    }
}
