//! Starting the program, and finding what it has started.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// The scenario of these tests.
pub(crate) const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/small.toml");

/// Only a hang takes this long.
pub(crate) const HANG: Duration = Duration::from_mins(1);

/// The variable by which a test knows the processes of its own program again: every child inherits it.
const MARK: &str = "RBAC_BENCH_TEST_MARK";

/// A place of its own for one start of the program.
pub(crate) struct Place {
    folder: TempDir,
    mark: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Only its owner may enter a `tempfile` folder, but the database runs as somebody else.
        let everybody = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        fs::set_permissions(folder.path(), everybody).expect("permissions of our own folder");
        fs::create_dir(folder.path().join("tmp")).expect("a folder in it");
        let mark = folder.path().display().to_string();
        Self { folder, mark }
    }

    /// The folder in which the program makes its temporary ones.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    pub(crate) fn reports(&self) -> PathBuf {
        self.folder.path().join("reports")
    }

    /// The program, ready to be started here.
    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rbac-bench"));
        command.env("TMPDIR", self.tmp()).env(MARK, &self.mark).env("RBAC_BENCH_OUT", self.reports());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RBAC_BENCH_") && name != MARK) {
            if name != "RBAC_BENCH_OUT" {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.program().args(arguments).output().expect("the program starts")
    }

    /// Starts the program and lets it run.
    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        let mut program = self.program();
        program.args(arguments);
        Self::started(program)
    }

    /// The same, with more reported to it.
    pub(crate) fn started(mut program: Command) -> Started {
        let mut child = program.spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (printed, heard) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| printed.send(line)));
        Started { child, stderr: heard }
    }

    /// The folder of the only run that was made here.
    pub(crate) fn run_folder(&self) -> PathBuf {
        let mut folders: Vec<_> = fs::read_dir(self.reports())
            .expect("a folder of runs")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert_eq!(folders.len(), 1, "{folders:?}");
        folders.remove(0)
    }

    /// Processes of this place that still run: (pid, command line).
    pub(crate) fn processes(&self) -> Vec<(i32, String)> {
        let wanted = format!("{MARK}={}", self.mark);
        let pids =
            fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(|pid: i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let ours = environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
            let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            // A zombie has neither environment nor command line.
            (ours && !command.is_empty()).then(|| (pid, String::from_utf8_lossy(&command).replace('\0', " ")))
        })
        .collect()
    }

    /// Waits until no process and no temporary folder of this place is left.
    pub(crate) fn assert_nothing_is_left(&self, within: Duration) {
        let left = || (self.processes(), fs::read_dir(self.tmp()).expect("our folder").count());
        let deadline = Instant::now() + within;
        while left() != (Vec::new(), 0) {
            assert!(Instant::now() < deadline, "left after {within:?}: {:?} in {}", left(), self.tmp().display());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A program that runs.
pub(crate) struct Started {
    pub(crate) child: Child,
    stderr: Receiver<String>,
}

impl Started {
    /// Reads what it says on stderr until a line holds `text`; gives everything that was stated.
    pub(crate) fn wait_for_line(&mut self, text: &str) -> String {
        let mut printed = String::new();
        loop {
            match self.stderr.recv_timeout(HANG) {
                Ok(line) => {
                    printed += &line;
                    printed.push('\n');
                    if line.contains(text) {
                        return printed;
                    }
                }
                Err(why) => panic!("{why} before it printed `{text}`:\n{printed}"),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("our own child can be signalled");
    }

    /// Waits for its end; gives the exit code (`None` after a signal).
    pub(crate) fn wait(mut self) -> Option<i32> {
        let deadline = Instant::now() + HANG;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "did not end within {HANG:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The JSON on stdout of a program that ended well.
pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}: {}\n{}", output.status, text(&output.stderr), text(&output.stdout));
    serde_json::from_slice(&output.stdout).expect("JSON on stdout")
}

pub(crate) fn record(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("record.json")).expect("a record")).expect("JSON in it")
}
