//! The thin binary.

use std::process::ExitCode;

use rbac_bench::testbed::keeper;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(keeper::SUBCOMMAND) if keeper::keep().is_err() => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}
