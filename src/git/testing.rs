//! Repositories for tests.

use std::path::Path;

use super::command::{self, Settings};
use super::{Change, Mode, ObjectFormat, Oid, Repo, Signature};
use crate::clock::Timestamp;
use crate::config::Environment;
use crate::process::Variables;
use crate::text::TreePath;

/// A repository in a directory that goes with it.
pub(crate) struct Fixture {
    pub(crate) repo: Repo,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn env() -> Variables {
    Environment::read().unwrap().for_tools()
}

pub(crate) fn path(bytes: impl AsRef<[u8]>) -> TreePath {
    TreePath::parse(bytes.as_ref()).unwrap()
}

/// Runs git in `dir` as a person would.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let identity =
        ["-c", "user.name=P", "-c", "user.email=p@example.com", "-c", "protocol.file.allow=always"];
    let call = command::call(&env(), Settings::Person, dir).args(identity).args(args);
    let output = command::output(&call, args[0]).unwrap();
    String::from_utf8_lossy(&output).trim_end().to_owned()
}

/// Makes a repository at `dir/repo` with one empty commit.
pub(crate) fn fixture(format: ObjectFormat) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("repo");
    std::fs::create_dir(&root).unwrap();
    let object_format = format!("--object-format={}", format.as_str());
    git(&root, &["init", "--quiet", "--initial-branch=main", &object_format]);
    git(&root, &["commit", "--quiet", "--allow-empty", "-m", "Begin"]);
    Fixture { repo: Repo::discover(&root, env()).unwrap(), dir }
}

impl Fixture {
    pub(crate) fn set(&self, at: impl AsRef<[u8]>, mode: Mode, bytes: &[u8]) -> Change {
        let oid = self.repo.write_blobs(&[bytes]).unwrap().remove(0);
        Change::Set { path: path(at), mode, oid }
    }

    /// Writes a tree of plain files.
    pub(crate) fn tree(&self, files: &[(&str, &str)]) -> Oid {
        let changes: Vec<_> =
            files.iter().map(|(at, text)| self.set(at, Mode::File, text.as_bytes())).collect();
        self.repo.write_tree(None, &changes).unwrap()
    }

    pub(crate) fn commit(&self, tree: &Oid, parents: &[&Oid]) -> Oid {
        let parents: Vec<Oid> = parents.iter().map(|oid| (*oid).clone()).collect();
        let author = Signature { name: "The Factory".into(), email: "factory@localhost".into() };
        let at = Timestamp::from_unix_millis(1_795_166_100_250);
        self.repo.commit(tree, &parents, "Do it\n\nTrailer: yes\n", &author, at).unwrap()
    }

    pub(crate) fn head(&self) -> Oid {
        self.repo.resolve("HEAD").unwrap().unwrap()
    }
}
