//! What is going on right now? A database in trouble, live in a terminal, for scripts, or into a run record.
//!
//! What the monitor samples and what each poll of the sessions shows goes to one owner, in [`live`]: it folds it into
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
pub mod panes;
mod recording;
pub mod screen;
#[cfg(test)]
mod simulated;
pub mod ui;
pub mod view;

pub use model::{WatchModel, WatchTarget};
pub use ui::Ui;
