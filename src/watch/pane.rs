//! The tables of the screen.

/// A table of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// Sessions in a transaction.
    Transactions,
    Statements,
    /// All sessions by application.
    Applications,
    /// Blockers and waiters.
    Blocking,
    Pools,
    Events,
}

impl Pane {
    /// All, in the order in which they are walked.
    pub const ALL: [Self; 6] =
        [Self::Transactions, Self::Statements, Self::Applications, Self::Blocking, Self::Pools, Self::Events];

    /// As it is titled.
    pub fn title(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::Statements => "by statement",
            Self::Applications => "by application",
            Self::Blocking => "blocking",
            Self::Pools => "pools",
            Self::Events => "events",
        }
    }

    /// The orders that it can be in; the first is the one to begin with.
    pub fn orders(self) -> &'static [&'static str] {
        match self {
            Self::Transactions => &["oldest", "longest in state", "application"],
            Self::Statements => &["sessions", "oldest"],
            Self::Applications => &["in transaction", "sessions", "name"],
            Self::Blocking => &["most behind", "oldest"],
            Self::Pools => &["number", "most out"],
            Self::Events => &["newest"],
        }
    }

    pub(super) fn index(self) -> usize {
        Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0)
    }
}
