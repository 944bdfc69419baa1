//! TLS to databases and to services, against servers with certificates of the test's own: good, of another authority,
//! for another name, expired.

mod certificates;
mod database;
mod target;
