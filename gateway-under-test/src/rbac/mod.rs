//! The RBAC model: roles, their assignments to users, and what PostgreSQL is asked about them.

pub mod queries;
