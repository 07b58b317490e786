//! Other runners, each with as many cases that start a shell which does nothing.
//!
//! One that is not installed is named with what installs it. Those that run one case at a time are
//! compared with the floor of two at a time like the others: that is what they make of two cores.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::floor::{Floor, Shell};
use super::runner::line;

/// How many cases the runners get that take long for each; the crate of nextest's has as many.
const CASES: usize = 200;
/// How many the others get.
const MANY: usize = 1_000;
const ROUNDS: usize = 3;

/// One other runner.
struct Peer {
    name: &'static str,
    /// What has to be there, by which of `names` it may go.
    program: &'static str,
    cases: usize,
    /// Writes the cases into a new directory and sets the arguments.
    prepare: fn(&Setting<'_>, &mut Command),
}

/// Where a peer's cases go, and what they run.
struct Setting<'a> {
    dir: &'a Path,
    cases: usize,
    bash: &'a Path,
}

/// In the order of the table.
const PEERS: [Peer; 8] = [
    Peer { name: "Python, a loop in 2 threads", program: "python3", cases: MANY, prepare: python },
    Peer { name: "trycmd, 2 threads", program: "trycmd-cases", cases: MANY, prepare: trycmd },
    Peer { name: "prysk, a file each", program: "prysk", cases: CASES, prepare: prysk },
    Peer { name: "nextest, 2 threads", program: "cargo-nextest", cases: CASES, prepare: nextest },
    Peer { name: "scrut, a file each", program: "scrut", cases: CASES, prepare: scrut },
    Peer { name: "scrut, one file", program: "scrut", cases: CASES, prepare: scrut_in_one },
    Peer { name: "bats, a file each", program: "bats", cases: CASES, prepare: bats },
    Peer { name: "bats, one file", program: "bats", cases: CASES, prepare: bats_in_one },
];

/// Measures those that are installed, beside the floor of two at a time.
pub(crate) fn measure(floor: &Floor, shell: &Shell) {
    println!(
        "  others; walls beside the floor of 2 at a time, medians of {ROUNDS} rounds in turns"
    );
    for peer in PEERS {
        let Some(program) = find(peer.program) else {
            println!(
                "  {:<36} not installed; `make bench-peers` puts it into target/peers",
                peer.name
            );
            continue;
        };
        let dir = tempfile::tempdir().unwrap();
        let setting = Setting { dir: dir.path(), cases: peer.cases, bash: Path::new(&shell.bash) };
        let prepared = || {
            let mut command = floor.measured(&program);
            command.current_dir(dir.path()).env_clear().envs(variables(shell));
            (peer.prepare)(&setting, &mut command);
            command
        };
        let pair = |_| {
            let cost = floor.cost(prepared());
            (cost, floor.cost(floor.spawn(shell, "true", peer.cases, 2)))
        };
        if let Err(said) = floor.try_cost(prepared()) {
            let last = said.trim_end().lines().last().unwrap_or_default();
            println!("  {:<36} can't run its cases: {last}", peer.name);
            continue;
        }
        let pairs: Vec<_> = (0..ROUNDS).map(pair).collect();
        line(&format!("{}, {} cases", peer.name, peer.cases), &pairs, peer.cases, [None, None]);
    }
}

fn python(setting: &Setting<'_>, command: &mut Command) {
    let script = setting.dir.join("loop.py");
    fs::write(&script, include_str!("peers/loop.py")).unwrap();
    command.arg(script).arg(setting.bash).arg("true").args([&setting.cases.to_string(), "2"]);
}

fn trycmd(setting: &Setting<'_>, command: &mut Command) {
    setting.files("toml", |_| "bin.name = \"bash\"\nargs = [\"-c\", \"true\"]\n".to_owned());
    command.env("RAYON_NUM_THREADS", "2").arg(setting.dir.join("*.toml")).arg(setting.bash);
}

fn prysk(setting: &Setting<'_>, command: &mut Command) {
    setting.files("t", |_| "  $ true\n".to_owned());
    command.arg(format!("--shell={}", setting.bash.display())).arg(setting.dir);
}

fn nextest(_: &Setting<'_>, command: &mut Command) {
    let [manifest, target] = ["nextest/Cargo.toml", "build"].map(|path| installed().join(path));
    command.args(["nextest", "run", "--offline", "--test-threads=2", "--manifest-path"]);
    command.arg(manifest).arg("--target-dir").arg(target);
}

fn scrut(setting: &Setting<'_>, command: &mut Command) {
    setting.files("md", scrut_case);
    command.arg("test").arg("--shell").arg(setting.bash).arg(setting.dir);
}

fn scrut_in_one(setting: &Setting<'_>, command: &mut Command) {
    setting.file("all.md", &(0..setting.cases).map(scrut_case).collect::<String>());
    command.arg("test").arg("--shell").arg(setting.bash).arg(setting.dir);
}

fn scrut_case(number: usize) -> String {
    format!("# Case {number}\n\n```scrut\n$ true\n```\n\n")
}

fn bats(setting: &Setting<'_>, command: &mut Command) {
    setting.files("bats", bats_case);
    command.arg(setting.dir);
}

fn bats_in_one(setting: &Setting<'_>, command: &mut Command) {
    setting.file("all.bats", &(0..setting.cases).map(bats_case).collect::<String>());
    command.arg(setting.dir);
}

fn bats_case(number: usize) -> String {
    format!("@test \"case {number}\" {{\n    bash -c true\n}}\n")
}

impl Setting<'_> {
    fn files(&self, extension: &str, text: impl Fn(usize) -> String) {
        for number in 0..self.cases {
            self.file(&format!("case{number:05}.{extension}"), &text(number));
        }
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).unwrap();
    }
}

/// Returns where `make bench-peers` puts them.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers")
}

/// Returns the path of a program: there, or on the PATH.
fn find(program: &str) -> Option<PathBuf> {
    let own = ["bin", "venv/bin", "node_modules/bats/bin"].map(|dir| installed().join(dir));
    let path = std::env::var_os("PATH").unwrap_or_default();
    own.into_iter()
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Returns the environment that the runner gives: what a shell costs depends on it.
fn variables(shell: &Shell) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let text = fs::read(&shell.environment).unwrap();
    text.split(|byte| *byte == 0)
        .filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let word = |bytes| std::ffi::OsStr::from_bytes(bytes).to_owned();
            Some((word(&pair[..at]), word(&pair[at + 1..])))
        })
        .collect()
}
