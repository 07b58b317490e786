//! Products to measure with, the same at every run.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::figures::run;

/// How many files the large product has, beside a few of the factory's.
pub(crate) const FILES: usize = 50_000;
/// How many files a directory has.
const PER_DIRECTORY: usize = 100;

/// A directory with a product in it, and the factory's state beside it.
pub(crate) struct Product {
    dir: TempDir,
    /// How many bytes the generated files have together.
    pub(crate) bytes: usize,
}

impl Product {
    /// Makes an empty repository.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let product = Self { dir, bytes: 0 };
        fs::create_dir(product.root()).unwrap();
        run(product.git().args(["init", "--quiet", "--template=", "--initial-branch=main"]), &[0]);
        product
    }

    /// Makes a repository of [`FILES`] files, packed as after a clone, and checks it out.
    pub(crate) fn large() -> Self {
        let mut product = Self::new();
        let mut import = product
            .git()
            .args(["-c", "core.compression=1", "fast-import", "--quiet", "--depth=0"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut to = BufWriter::new(import.stdin.take().unwrap());
        writeln!(to, "commit refs/heads/main\ncommitter bench <bench@localhost> 0 +0000").unwrap();
        writeln!(to, "data 6\nBegin\n").unwrap();
        let mut numbers = Numbers(1);
        for file in 0..FILES {
            let text = source(&mut numbers);
            product.bytes += text.len();
            writeln!(to, "M 644 inline {}\ndata {}", path_of(file), text.len()).unwrap();
            to.write_all(text.as_bytes()).unwrap();
            writeln!(to).unwrap();
        }
        to.into_inner().unwrap();
        assert!(import.wait().unwrap().success());
        run(product.git().args(["reset", "--quiet", "--hard"]), &[0]);
        product
    }

    /// Returns the root of the product.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("product")
    }

    /// Returns a path beside the product.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of the product, or one beside it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits what was written.
    pub(crate) fn commit(&self) {
        run(self.git().args(["add", "--all"]), &[0]);
        run(self.git().args(["commit", "--quiet", "--message=Set up"]), &[0]);
    }

    /// Returns a call of git in the product, without the person's own settings.
    pub(crate) fn git(&self) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(self.root())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .args(["-c", "user.name=bench", "-c", "user.email=bench@localhost"]);
        command
    }

    /// Returns a call of one of the factory's binaries in the product, with its state beside it.
    pub(crate) fn factory(&self, binary: &str) -> Command {
        self.prepared(Command::new(binary))
    }

    /// Has a call of one of them, in whatever wrapped, run in the product.
    pub(crate) fn prepared(&self, mut command: Command) -> Command {
        command
            .current_dir(self.root())
            .env("XDG_STATE_HOME", self.beside("state"))
            .env("NO_COLOR", "1");
        command
    }
}

/// Returns the path of one of the generated files.
pub(crate) fn path_of(file: usize) -> String {
    let directory = file / PER_DIRECTORY;
    format!("src/part{:02}/module{directory:03}/file{file:05}.rs", directory / 50)
}

/// Returns the text of a scenario with this evaluation.
pub(crate) fn scenario(name: &str, evaluation: &str) -> String {
    format!(
        "# Scenario: {name}\n\n## Category\nbench\n\n## Behavioral Expectation\n{name} holds.\n\n\
         ## Evaluation Method\n```bash\n{evaluation}\n```\n\n## Pass Criteria\nIt exits 0.\n"
    )
}

/// Returns between 1,000 and 5,000 bytes that compress as source does.
fn source(numbers: &mut Numbers) -> String {
    const WORDS: [&str; 16] = [
        "let", "value", "fn", "return", "self", "record", "index", "match", "if", "buffer", "name",
        "total", "String", "else", "for", "path",
    ];
    let length = 1_000 + numbers.next() % 4_000;
    let mut text = String::with_capacity(length + 80);
    while text.len() < length {
        for _ in 0..6 {
            text.push_str(WORDS[numbers.next() % WORDS.len()]);
            text.push(' ');
        }
        text.push_str(&format!("= {};\n", numbers.next()));
    }
    text
}

/// Numbers that look like chance, and are the same at every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % 1_000_000
    }
}

/// Removes a directory; that it takes time is nobody's figure.
pub(crate) fn remove(path: &Path) {
    fs::remove_dir_all(path).unwrap();
}
