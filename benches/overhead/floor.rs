//! The floor in C, and the measuring of programs as the system counts them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// What running a program took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// From its start to its end.
    pub(crate) wall: Duration,
    /// What it and all that it waited for used, in user code and in the kernel.
    pub(crate) cpu: Duration,
    /// The bytes of the largest process among them.
    pub(crate) peak: u64,
}

/// The compiled floor.
pub(crate) struct Floor {
    dir: TempDir,
}

/// What the runner gives to the shell of a scenario, as the shell itself saw it.
pub(crate) struct Shell {
    /// The path of bash.
    pub(crate) bash: OsString,
    /// A file with the variables, a NUL after each.
    pub(crate) environment: PathBuf,
    /// The directory.
    pub(crate) root: PathBuf,
}

impl Floor {
    /// Compiles it; none where there is no C compiler.
    pub(crate) fn compile() -> Option<Self> {
        let floor = Self { dir: tempfile::tempdir().unwrap() };
        let source = floor.dir.path().join("floor.c");
        fs::write(&source, include_str!("floor.c")).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-pthread", "-o"]).arg(floor.program()).arg(&source);
        cc.status().is_ok_and(|status| status.success()).then_some(floor)
    }

    /// Returns a call of `program` that is measured; arguments and the rest can be added to it.
    pub(crate) fn measured(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(self.program());
        command.arg("measure").arg(self.report()).arg(program.as_ref());
        command
    }

    /// Returns a call of the floor itself, measured.
    pub(crate) fn spawn(&self, shell: &Shell, script: &str, number: usize, jobs: usize) -> Command {
        let mut command = self.measured(self.program());
        command.arg("spawn").arg(&shell.bash).arg(&shell.environment).arg(script);
        command.args([number.to_string(), jobs.to_string()]).current_dir(&shell.root);
        command
    }

    /// Runs a measured call to its end; it must exit with 0.
    pub(crate) fn cost(&self, command: Command) -> Cost {
        self.try_cost(command).unwrap_or_else(|said| panic!("{said}"))
    }

    /// Runs a measured call to its end; returns what it said where it does not exit with 0.
    pub(crate) fn try_cost(&self, mut command: Command) -> Result<Cost, String> {
        let said = self.dir.path().join("said");
        let _ = fs::remove_file(self.report());
        let file = File::create(&said).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let status = command.status().unwrap();
        let report = fs::read_to_string(self.report()).unwrap_or_default();
        let figures: Vec<u64> =
            report.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
        let &[wall, cpu, kilobytes, 0] = figures.as_slice() else {
            let said = fs::read(&said).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            return Err(format!("{command:?}: {status}, `{}`\n{said}", report.trim()));
        };
        Ok(Cost {
            wall: Duration::from_micros(wall),
            cpu: Duration::from_micros(cpu),
            peak: kilobytes * 1024,
        })
    }

    fn report(&self) -> PathBuf {
        self.dir.path().join("report")
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("floor")
    }
}
