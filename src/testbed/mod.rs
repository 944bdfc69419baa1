//! Where an experiment runs: a private PostgreSQL cluster, gateway replicas, the slow backend.
//!
//! PostgreSQL comes from [`binaries`]: found, or fetched by [`download`].

pub mod binaries;
pub mod download;
