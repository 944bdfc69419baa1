//! The monitor against a real PostgreSQL and sessions of which everything is known.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as loudly as the test itself")]

mod exact;
mod faults;
mod hanging;
mod sessions;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod versions;
mod watching;
