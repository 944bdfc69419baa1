//! Command lines of the documents and of the help: each is one that the program takes.

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use regex::Regex;

use crate::cli::Cli;

/// README, CONTRIBUTING and everything under `docs`.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of = |folder: &str| fs::read_dir(root.join(folder)).expect("a folder").map(|entry| entry.expect("one").path());
    let all = of(".").chain(of("docs")).chain(of("docs/guides"));
    all.filter(|path| path.extension().is_some_and(|it| it == "md")).collect()
}

/// The command lines of a text, each from the program's name on: those of a shell's lines, and those in backquotes.
fn commands(text: &str) -> Vec<String> {
    let continued = Regex::new(r"\s*\\\n\s*").expect("a pattern");
    let text = continued.replace_all(text, " ");
    let shell = Regex::new(r"(?m)^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:.* \| )?(rbac-bench [^`]*?)(?:  .*| [>|#&].*|;.*)?$");
    let quoted = Regex::new(r"`(?:[A-Z_]+=\S+ )*(rbac-bench [^`]+?)(?: [>|&].*?)?`");
    let found = |pattern: Result<Regex, regex::Error>| {
        let pattern = pattern.expect("a pattern");
        pattern.captures_iter(&text).map(|found| found[1].replace('\n', " ")).collect::<Vec<_>>()
    };
    [found(shell), found(quoted)].concat()
}

/// Error of a command line; `None` when the program takes it.
fn refused(command: &str) -> Option<String> {
    let mut words = shlex::split(command).unwrap_or_else(|| panic!("words: {command}"));
    if words.get(1).is_some_and(|it| it == "watch") && !words.iter().any(|it| it == "--database-url") {
        // The documents have it in `DATABASE_URL`.
        words.extend(["--database-url", "postgresql://app@127.0.0.1/app"].map(str::to_owned));
    }
    // A subcommand alone is mentioned, not called.
    let mentioned = words.len() == 2;
    let fine = |kind| match kind {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument => mentioned,
        _ => false,
    };
    Cli::try_parse_from(words).err().filter(|error| !fine(error.kind())).map(|error| format!("{command}\n{error}"))
}

#[test]
fn commands_are_found_with_what_belongs_to_them_and_no_more() {
    let text = "    rbac-bench run --users 50     a healthy system\n$ HOLD=1 rbac-bench gate a.toml; echo $?\n\
                zcat a.gz | rbac-bench init --access-log - -o b.toml\n    rbac-bench watch --once \\\n        --json\n\
                as `A=b rbac-bench scan c.toml > d` says, `rbac-bench` is it\n   ├─ rbac-bench serve  the server\n";
    let found = commands(text);
    let all = ["run --users 50", "gate a.toml", "init --access-log - -o b.toml", "watch --once --json", "scan c.toml"];
    let words = |it: &String| it.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    assert_eq!(found.iter().map(words).collect::<Vec<_>>(), all);
    assert!(refused("rbac-bench run --user 50").is_some());
}

#[test]
fn every_command_line_of_the_documents_is_taken() {
    let texts = documents().into_iter().map(|path| (fs::read_to_string(&path).expect("a text"), path));
    let commands: Vec<(String, PathBuf)> =
        texts.flat_map(|(text, path)| commands(&text).into_iter().map(move |it| (it, path.clone()))).collect();
    assert!(commands.len() > 60, "{commands:?}");
    let wrong = commands.iter().filter_map(|(it, path)| Some(format!("{}: {}", path.display(), refused(it)?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_example_of_the_help_is_taken() {
    fn helps(command: &clap::Command) -> Vec<String> {
        let own = command.get_after_help().map(ToString::to_string);
        own.into_iter().chain(command.get_subcommands().flat_map(helps)).collect()
    }
    let examples: Vec<String> = helps(&Cli::command()).iter().flat_map(|help| commands(help)).collect();
    assert!(examples.len() > 30, "{examples:?}");
    let wrong: Vec<String> = examples.iter().filter_map(|example| refused(example)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
