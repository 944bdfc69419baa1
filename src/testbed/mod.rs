//! Where an experiment runs: a private PostgreSQL cluster, gateway replicas, the slow backend.
