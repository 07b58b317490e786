//! Makes products, runs the toolkit's binaries in them, and looks at what is left.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// No program of these tests may take longer; one that does has hung.
const PATIENCE: Duration = Duration::from_secs(300);

/// A machine that has something else to do: four threads that compute, until this is dropped.
pub(crate) struct Busy(Arc<AtomicBool>);

impl Busy {
    pub(crate) fn begin() -> Self {
        let over = Arc::<AtomicBool>::default();
        for _ in 0..4 {
            let over = over.clone();
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A product in a temporary directory, with a home and a state directory of its own beside it.
pub(crate) struct Product {
    base: TempDir,
    outputs: AtomicU32,
}

/// What a program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; minus the signal's number where a signal ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Returns itself, if the exit code is `expected`.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, expected, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Returns itself, if one of the streams says `text`.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(said, "nothing says `{text}`:\n{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// A program that is running.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ran {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("it does not end:\n{}\n{}", read(&self.stdout), read(&self.stderr));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Ran {
            code: status.code().unwrap_or_else(|| -status.signal().unwrap_or_default()),
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

impl Product {
    /// Makes an empty directory that is no repository yet.
    pub(crate) fn bare() -> Self {
        let base = tempfile::Builder::new().prefix("factory-it-").tempdir().unwrap();
        for dir in ["product", "home", "state", "outputs", "tmp"] {
            fs::create_dir(base.path().join(dir)).unwrap();
        }
        Self { base, outputs: AtomicU32::new(0) }
    }

    /// Makes an empty repository on branch `main`, without a commit.
    pub(crate) fn new() -> Self {
        let product = Self::bare();
        product.git(&["init", "-q", "--template=", "-b", "main"]);
        product
    }

    /// Makes the product of the demo, with its recording beside it, committed.
    pub(crate) fn tally() -> Self {
        let product = Self::new();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        copy(&examples.join("tally"), &product.root());
        copy(&examples.join("recording"), &product.recording());
        product.commit("Begin tally");
        product
    }

    /// Returns the directory that holds everything.
    pub(crate) fn base(&self) -> &Path {
        self.base.path()
    }

    /// Returns the product's own root.
    pub(crate) fn root(&self) -> PathBuf {
        self.base().join("product")
    }

    /// Returns the recording of the `replay` backend, which the settings call `../recording`.
    pub(crate) fn recording(&self) -> PathBuf {
        self.base().join("recording")
    }

    /// Returns the directory of the factory's state.
    pub(crate) fn state(&self) -> PathBuf {
        self.base().join("state")
    }

    /// Returns `path` below the product's root.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Writes a file below the product's root.
    pub(crate) fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        self.write(path, contents);
        self
    }

    /// Writes a file that can be executed.
    pub(crate) fn executable(self, path: &str, contents: &str) -> Self {
        self.write(path, contents);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Writes `dark-factory.yaml`. Where that says nothing of isolation neither the agent nor what is
    /// judged is confined, so that both can write beside the product what a test looks at.
    pub(crate) fn config(self, yaml: &str) -> Self {
        let open = "isolation: {agent: copy, judge: copy}\n";
        let more = if yaml.contains("isolation:") { "" } else { open };
        self.file("dark-factory.yaml", format!("{yaml}{more}"))
    }

    /// Writes `scenarios/NAME.md` with the bash text of its evaluation.
    pub(crate) fn scenario(self, name: &str, evaluation: &str) -> Self {
        let text = format!(
            "# Scenario: The {name}\n\n## Category\ncore\n\n## Behavioral Expectation\n\
             It works: {name}.\n\n## Evaluation Method\n```bash\n{evaluation}\n```\n\n\
             ## Pass Criteria\nThe exit code of {name} is 0.\n\n## Evidence Required\n- Exit code\n"
        );
        self.file(&format!("scenarios/{name}.md"), text)
    }

    /// Records a turn of the `replay` backend: its files, and what `turn-N.yaml` says.
    pub(crate) fn turn(self, number: u32, files: &[(&str, &str)], yaml: &str) -> Self {
        let dir = self.recording().join(format!("turn-{number}"));
        for (path, text) in files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir_all(self.recording()).unwrap();
        fs::write(self.recording().join(format!("turn-{number}.yaml")), yaml).unwrap();
        self
    }

    /// Commits everything.
    pub(crate) fn committed(self) -> Self {
        self.commit("Begin");
        self
    }

    /// Writes a file below the product's root.
    pub(crate) fn write(&self, path: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    /// Reads a file below the product's root.
    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> String {
        let path = self.path(path);
        let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Commits everything that is there, and returns the commit.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in the product, without hooks, without anybody's settings and without touching the
    /// index by a look; returns what it prints, trimmed.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = self
            .clean("git")
            .args(["-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0"])
            .args(["-c", "user.name=person", "-c", "user.email=person@localhost"])
            .args(args)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Returns a command in the product's root with an environment that holds nothing of whoever
    /// runs the tests but `PATH`.
    pub(crate) fn clean(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.base().join("home"))
            .env("TMPDIR", self.base().join("tmp"))
            .env("XDG_STATE_HOME", self.state())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Starts a command whose output goes to files.
    pub(crate) fn start(&self, mut command: Command) -> Running {
        let number = self.outputs.fetch_add(1, Ordering::SeqCst);
        let out = |stream: &str| self.base().join(format!("outputs/{number}.{stream}"));
        let (stdout, stderr) = (out("out"), out("err"));
        let child = command
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Running { child, stdout, stderr }
    }

    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Ran {
        let mut command = self.clean(program);
        command.args(args);
        self.start(command).wait()
    }

    /// Runs `iterate`.
    pub(crate) fn iterate(&self, args: &[&str]) -> Ran {
        self.run(ITERATE, args)
    }

    /// Runs `iterate` with variables beside those of [`Product::clean`].
    pub(crate) fn iterate_with(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        self.start_iterate(args, env).wait()
    }

    /// Starts `iterate` and does not wait for it.
    pub(crate) fn start_iterate(&self, args: &[&str], env: &[(&str, &str)]) -> Running {
        let mut command = self.clean(ITERATE);
        command.args(args).envs(env.iter().copied());
        self.start(command)
    }

    /// Runs `run-scenarios`.
    pub(crate) fn run_scenarios(&self, args: &[&str]) -> Ran {
        self.run(RUN_SCENARIOS, args)
    }

    /// Runs `compile-feedback`.
    pub(crate) fn compile_feedback(&self, args: &[&str]) -> Ran {
        self.run(env!("CARGO_BIN_EXE_compile-feedback"), args)
    }

    /// Runs `shuffle-scenarios`.
    pub(crate) fn shuffle_scenarios(&self, args: &[&str]) -> Ran {
        self.run(env!("CARGO_BIN_EXE_shuffle-scenarios"), args)
    }

    /// Runs `factory`.
    pub(crate) fn factory(&self, args: &[&str]) -> Ran {
        self.run(env!("CARGO_BIN_EXE_factory"), args)
    }

    /// Returns the runs' directories, oldest first.
    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path("artifacts/factory/runs")) else {
            return Vec::new();
        };
        let mut runs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        runs.sort();
        runs
    }

    /// Returns the events of the newest run.
    pub(crate) fn events(&self) -> Vec<Value> {
        let run = self.runs().pop().expect("a run");
        let text = fs::read_to_string(run.join("events.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the newest run's events of one name.
    pub(crate) fn events_named(&self, name: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == name).collect()
    }

    /// Returns the text of a blob of the newest run, which `reference` points to.
    #[track_caller]
    pub(crate) fn blob(&self, reference: &Value) -> String {
        let digest = reference["digest"].as_str().expect("a blob");
        let path = self.runs().pop().expect("a run").join("blobs").join(digest);
        String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
    }

    /// Returns the newest run's directory in the factory's state.
    pub(crate) fn run_state(&self) -> PathBuf {
        let run = self.runs().pop().expect("a run");
        let states: Vec<PathBuf> = fs::read_dir(self.state().join("dark-factory"))
            .unwrap()
            .map(|entry| entry.unwrap().path().join("runs").join(run.file_name().unwrap()))
            .filter(|path| path.is_dir())
            .collect();
        assert_eq!(states.len(), 1, "{states:?}");
        states[0].clone()
    }

    /// Returns the agent's workspace of the newest run.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.run_state().join("workspace")
    }

    /// Returns the name of the newest run's branch.
    pub(crate) fn branch(&self) -> String {
        self.events()[0]["data"]["branch"].as_str().unwrap().to_owned()
    }

    /// Returns everything of the person's that the factory must leave alone, by path: files with
    /// mode, time and content, links, the whole git directory. Left out is what the factory says
    /// that it writes: ignored files under `artifacts/factory/`, objects, its branches, its lock.
    pub(crate) fn checkout(&self) -> BTreeMap<PathBuf, String> {
        const OURS: [&str; 6] = [
            "artifacts/factory",
            ".git/objects",
            ".git/refs/heads/factory",
            ".git/logs/refs/heads/factory",
            ".git/dark-factory.lock",
            "artifacts",
        ];
        let mut found = BTreeMap::new();
        walk(&self.root(), &mut |path, metadata| {
            let relative = path.strip_prefix(self.root()).unwrap();
            if OURS.iter().any(|ours| relative == Path::new(ours)) {
                return relative == Path::new("artifacts");
            }
            let what = if metadata.is_symlink() {
                format!("link to {}", fs::read_link(path).unwrap().display())
            } else if metadata.is_file() {
                let (mode, time) = (metadata.mode(), (metadata.mtime(), metadata.mtime_nsec()));
                format!(
                    "{mode:o} {time:?} {}",
                    dark_factory::id::Digest::of(&fs::read(path).unwrap())
                )
            } else {
                format!("{:o}", metadata.mode())
            };
            found.insert(relative.to_owned(), what);
            true
        });
        found
    }

    /// Fails if git sees a change in the checkout, or if it is not what it was.
    #[track_caller]
    pub(crate) fn assert_untouched(&self, before: &BTreeMap<PathBuf, String>) {
        let now = self.checkout();
        for (path, what) in before {
            assert_eq!(now.get(path), Some(what), "{} has changed", path.display());
        }
        let new: Vec<_> = now.keys().filter(|path| !before.contains_key(*path)).collect();
        assert!(new.is_empty(), "new in the checkout: {new:?}");
        assert_eq!(self.git(&["status", "--porcelain"]), "");
    }

    /// Returns the processes that belong to this product: whose environment, arguments or current
    /// directory name its directory. Zombies have none of these.
    pub(crate) fn processes(&self) -> Vec<String> {
        let mark = self.base().as_os_str().as_bytes();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let (environ, cmdline) = (file("environ"), file("cmdline"));
            if contains(&environ, mark) || contains(&cmdline, mark) || cwd.starts_with(self.base())
            {
                found.push(format!("{pid}: {}", String::from_utf8_lossy(&cmdline)));
            }
        }
        found
    }

    /// Fails if a process of this product is alive.
    #[track_caller]
    pub(crate) fn assert_nothing_alive(&self) {
        assert_eq!(self.processes(), Vec::<String>::new());
    }
}

/// The binary of the scenario runner.
pub(crate) const RUN_SCENARIOS: &str = env!("CARGO_BIN_EXE_run-scenarios");
/// The binary of the loop.
pub(crate) const ITERATE: &str = env!("CARGO_BIN_EXE_iterate");

/// Returns whether `bytes` holds `part`.
pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Calls `look` for everything below `root`, in order; a directory is gone into where it says so.
pub(crate) fn walk(root: &Path, look: &mut dyn FnMut(&Path, &fs::Metadata) -> bool) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if look(&path, &metadata) && metadata.is_dir() {
            walk(&path, look);
        }
    }
}

/// Copies a directory.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Waits until `what` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
