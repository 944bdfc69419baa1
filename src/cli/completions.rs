//! `rbac-bench completions SHELL` and `rbac-bench man`.

use std::io::Write;

use clap_complete::Shell;

use super::error::CliError;
use super::exit::Exit;

/// Print the completion script of a shell
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rbac-bench completions bash > /etc/bash_completion.d/rbac-bench
  rbac-bench completions zsh > ~/.zfunc/_rbac-bench
  rbac-bench completions fish > ~/.config/fish/completions/rbac-bench.fish")]
pub struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

pub(super) fn run(args: &CompletionArgs, command: &mut clap::Command, out: &mut dyn Write) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "rbac-bench", &mut script);
    out.write_all(&script)?;
    Ok(Exit::Ok)
}

pub(super) fn man(command: clap::Command, out: &mut dyn Write) -> Result<Exit, CliError> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    out.write_all(&page)?;
    Ok(Exit::Ok)
}
