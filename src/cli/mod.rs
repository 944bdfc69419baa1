//! How one asks: one file per subcommand.

pub mod scenario;
