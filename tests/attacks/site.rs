//! A place to be attacked: a product with its state, its person's home and secrets, for one user.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dark_factory::id::Digest;
use rustix::process::geteuid;
use tempfile::TempDir;

use crate::deputies::Deputies;

/// No program of the suite may take longer.
const PATIENCE: Duration = Duration::from_secs(120);
const NOBODY: &str = "65534";

/// What keeps the exam from the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    Move,
    Copy,
    Sandbox,
}

impl Tier {
    pub(crate) const ALL: [Self; 3] = [Self::Move, Self::Copy, Self::Sandbox];
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Sandbox => "sandbox",
        })
    }
}

/// Who runs the factory, and with it what it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum User {
    Root,
    Plain,
}

impl User {
    pub(crate) const ALL: [Self; 2] = [Self::Root, Self::Plain];
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Plain => "user",
        })
    }
}

/// The programs of the toolkit, where every user can run them.
#[derive(Debug, Clone)]
pub(crate) struct Toolkit(Arc<TempDir>);

impl Toolkit {
    /// Puts them there.
    pub(crate) fn install() -> Self {
        let dir = tempfile::Builder::new().prefix("factory-attacks-bin-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for binary in [
            env!("CARGO_BIN_EXE_iterate"),
            env!("CARGO_BIN_EXE_run-scenarios"),
            env!("CARGO_BIN_EXE_shuffle-scenarios"),
            env!("CARGO_BIN_EXE_factory"),
        ] {
            let place = dir.path().join(Path::new(binary).file_name().unwrap());
            if fs::hard_link(binary, &place).is_err() {
                fs::copy(binary, &place).unwrap();
            }
        }
        Self(Arc::new(dir))
    }

    /// Returns where one is.
    pub(crate) fn program(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

/// What a program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; minus the signal's number where a signal ended it.
    pub(crate) code: i32,
    /// Both streams, as a terminal would get them.
    pub(crate) said: String,
}

/// A product with a person's files around it.
pub(crate) struct Site {
    base: TempDir,
    user: User,
    toolkit: Toolkit,
    pub(crate) deputies: Deputies,
}

impl Site {
    /// Makes the files, without a commit.
    pub(crate) fn new(user: User, toolkit: &Toolkit) -> Self {
        let base = tempfile::Builder::new().prefix("factory-attacks-").tempdir().unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for dir in ["product", "home", "state", "tmp", "drop", "tools", "planted"] {
            fs::create_dir(base.path().join(dir)).unwrap();
        }
        let name = base.path().file_name().unwrap().to_str().unwrap().to_owned();
        let planted = base.path().join("planted");
        let deputies = Deputies::start(&planted, &base.path().join("drop/deputy"), name);
        let site = Self { base, user, toolkit: toolkit.clone(), deputies };
        for secret in ["descriptor", "pathname", "abstract", "network"] {
            let path = planted.join(secret);
            fs::write(&path, format!("{}\n", site.secret(secret))).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(site.path("home/notes"), format!("{}\n", site.secret("home"))).unwrap();
        let login = site.secret("login");
        for (file, text) in [
            (".cargo/credentials.toml", format!("[registries.own]\ntoken = \"{login}\"\n")),
            (".cargo/config.toml", format!("[registries.own]\ntoken = \"{login}\"\n")),
            (
                ".cargo/git/db/own/FETCH_HEAD",
                format!("branch of https://me:{login}@git.example/\n"),
            ),
            (".nvm/versions/node/v1/etc/npmrc", format!("//npm.example/:_authToken={login}\n")),
        ] {
            let path = site.path("home").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks");
        for file in ["turn.sh", "mover.sh", "ancestry.sh"] {
            site.write(&format!("hostile/{file}"), fs::read_to_string(here.join(file)).unwrap());
        }
        for entry in fs::read_dir(here.join("programs")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            site.write(&format!("hostile/programs/{name}"), fs::read_to_string(&path).unwrap());
        }
        site.write("app.sh", fs::read_to_string(here.join("app.sh")).unwrap());
        site.write("tests/run.sh", fs::read_to_string(here.join("run_tests.sh")).unwrap());
        site.write(
            "hostile/where",
            format!(
                "export base={} port={} abstract={}\n",
                site.base.path().display(),
                site.deputies.port,
                site.deputies.name
            ),
        );
        site.write(".gitignore", "/loot/\n/ignored/\n/artifacts/factory/*.json\n");
        site.write("specs/product.md", "# The product\n\nIt works.\n");
        site.write("Makefile", "all:\n\t@true\n");
        // By this name its descendants know it.
        let mover = site.path("planted/mover");
        fs::copy(here.join("mover.sh"), &mover).unwrap();
        fs::set_permissions(&mover, fs::Permissions::from_mode(0o755)).unwrap();
        site
    }

    /// Commits what is there, and hands everything to the user.
    pub(crate) fn begin(&self) {
        if self.user == User::Plain && geteuid().is_root() {
            let whom = format!("{NOBODY}:{NOBODY}");
            let ran = Command::new("/bin/chown").args(["-R", &whom]).arg(self.base.path()).status();
            assert!(ran.unwrap().success());
        }
        self.git(&["init", "-q", "--template=", "-b", "main"]);
        self.commit("Begin");
    }

    /// Commits everything, as the person.
    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
    }

    /// Returns a random word that stands in one place alone.
    pub(crate) fn secret(&self, place: &str) -> String {
        let mark = format!("{place} {}", self.base.path().display());
        format!("kanari-{place}-{}", &Digest::of(mark.as_bytes()).as_str()[..24])
    }

    /// Returns a path below the site.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.base.path().join(path)
    }

    /// Writes a file of the product.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path("product").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a scenario of the product.
    pub(crate) fn scenario(&self, name: &str, evaluation: &str) {
        let text = format!(
            "# Scenario: The {name}\n\n## Category\ncore\n\n## Behavioral Expectation\nIt works.\n\n\
             ## Evaluation Method\n```bash\n{evaluation}\n```\n"
        );
        self.write(&format!("scenarios/{name}.md"), text);
    }

    /// Runs git in the checkout as the person would, with what stands there in force.
    pub(crate) fn git(&self, args: &[&str]) -> Ran {
        self.run(
            "git",
            &[&["-c", "user.name=person", "-c", "user.email=a@localhost"], args].concat(),
        )
    }

    /// Runs a program of the toolkit.
    pub(crate) fn toolkit(&self, name: &str, args: &[&str]) -> Ran {
        self.run(&self.program(name), args)
    }

    /// Returns where a program of the toolkit is.
    pub(crate) fn program(&self, name: &str) -> String {
        self.toolkit.program(name)
    }

    /// Runs a program in the checkout as the user, with a token among the variables and a planted
    /// file open.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Ran {
        let said = self.base.path().join("said");
        let out = File::create(&said).unwrap();
        let mut command = Command::new("/bin/bash");
        command
            .args(["-c", "exec 9< \"$0\"; exec \"$@\""])
            .arg(self.path("planted/descriptor"))
            .current_dir(self.path("product"))
            .env_clear()
            .env(
                "PATH",
                format!("bin:{}:/usr/local/bin:/usr/bin:/bin", self.path("tools").display()),
            )
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("SUITE_TOKEN", self.secret("token"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        if self.user == User::Plain && geteuid().is_root() {
            command.args([
                "/usr/bin/setpriv",
                "--reuid",
                NOBODY,
                "--regid",
                NOBODY,
                "--clear-groups",
            ]);
        }
        let mut child = command.arg(program).args(args).spawn().unwrap();
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{program} {args:?} does not end: {}", read(&said));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
        Ran { code, said: read(&said) }
    }

    /// Returns the directory in which the agent worked: the checkout, or the newest run's workspace.
    pub(crate) fn workspace(&self) -> PathBuf {
        let state = self.path("state/dark-factory");
        let runs = fs::read_dir(state).into_iter().flatten().flatten();
        runs.flat_map(|product| fs::read_dir(product.path().join("runs")).into_iter().flatten())
            .flatten()
            .map(|run| run.path().join("workspace"))
            .filter(|path| path.is_dir())
            .max()
            .unwrap_or_else(|| self.path("product"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What an attack left running may write while this removes; it ends once the site is gone.
        for _ in 0..50 {
            if fs::remove_dir_all(self.base.path()).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Returns the text of a file; nothing where it can't be read.
pub(crate) fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Returns the names of all files below `root`, as lossy text; links are not followed.
pub(crate) fn names(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
            found.push(String::from_utf8_lossy(relative).into_owned());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && relative != b".git" {
                left.push(path);
            }
        }
    }
    found
}
