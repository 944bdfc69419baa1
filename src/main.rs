//! The thin binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    rbac_bench::cli::main()
}
