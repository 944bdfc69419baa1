//! Where an experiment runs: a private PostgreSQL cluster, gateway replicas, the slow backend.
//!
//! PostgreSQL comes from [`binaries`] (found, or fetched by [`download`]), lives in a temporary [`folder`] as an
//! unprivileged account, is the child of a [`keeper`], and is seen by the run as a [`cluster`].

mod account;
pub mod binaries;
mod child;
pub mod cluster;
pub mod download;
pub mod folder;
pub mod keeper;
mod lifeline;

pub use account::AccountError;
