//! The live view: a database in trouble, in a terminal, for scripts, or into a run record.
//!
//! Samples of the monitor and polls of the sessions go to one owner, in [`live`]: it folds them into
//! the [`WatchModel`], appends it to the record if one is kept, and shows it. Model and view are pure. Everything here only
//! reads: no session is ended, and nothing is set on the server.

mod bounded;
pub mod document;
mod figures;
pub mod groups;
pub mod history;
pub mod lines;
pub mod live;
pub mod model;
mod pane;
pub mod panes;
pub mod plan;
mod recording;
pub mod screen;
#[cfg(test)]
mod simulated;
pub mod ui;
pub mod view;

pub use model::{WatchModel, WatchTarget};
pub use pane::Pane;
pub use ui::Ui;
