//! The thin binary.

use std::process::ExitCode;

/// Generator and gateway allocate for every request and share two cores with the database: glibc's allocator took a
/// quarter of a replica's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rbac_bench::cli::main()
}
