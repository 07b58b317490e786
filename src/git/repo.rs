//! A repository: where it is, what its head and refs are.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::{self, Answer, Settings};
use super::{GitError, ObjectFormat, Oid};
use crate::process::{Call, Variables};
use crate::text::{Subtree, one_line};

/// A repository with a checkout; a linked worktree and a shallow clone will do.
#[derive(Debug, Clone)]
pub struct Repo {
    root: PathBuf,
    git_dir: PathBuf,
    common_dir: PathBuf,
    format: ObjectFormat,
    shallow: bool,
    env: Variables,
}

/// A directory in the git directory that goes when this is dropped.
#[derive(Debug)]
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// Returns where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// What a checkout stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// A branch.
    Branch {
        /// Its full name, `refs/heads/main`.
        name: String,
        /// Its commit.
        commit: Oid,
    },
    /// A commit, and no branch.
    Detached {
        /// The commit.
        commit: Oid,
    },
    /// A branch without a commit.
    Unborn {
        /// Its full name.
        name: String,
    },
}

impl Head {
    /// Returns the commit; none where there is none yet.
    pub fn commit(&self) -> Option<&Oid> {
        match self {
            Self::Branch { commit, .. } | Self::Detached { commit } => Some(commit),
            Self::Unborn { .. } => None,
        }
    }
}

/// Returns the version of git; `env` as in [`Repo::discover`].
///
/// # Errors
/// git can't be started.
pub fn version(env: &Variables) -> Result<String, GitError> {
    let call = command::call(env, Settings::Plumbing, Path::new("/")).arg("version");
    let said = command::answer(&call, "version")?;
    Ok(one_line(&String::from_utf8_lossy(&said.stdout), 60).trim().to_owned())
}

impl Repo {
    /// Finds the repository whose checkout holds `dir`.
    ///
    /// `env` is what git gets of the environment: `PATH`, `HOME`. Its `GIT_` variables are left
    /// out.
    ///
    /// # Errors
    /// git can't be started, or `dir` lies in no checkout of a repository.
    pub fn discover(dir: &Path, env: Variables) -> Result<Self, GitError> {
        if !dir.is_dir() {
            return Err(GitError::NotARepository { dir: dir.to_owned() });
        }
        let ask = |args: &[&str]| {
            let call = command::call(&env, Settings::Plumbing, dir).arg("rev-parse").args(args);
            command::answer(&call, "rev-parse")
        };
        let facts = ask(&[
            "--is-bare-repository",
            "--is-inside-git-dir",
            "--is-shallow-repository",
            "--show-object-format",
        ])?;
        if facts.code != 0 {
            return Err(if facts.stderr.contains("not a git repository") {
                GitError::NotARepository { dir: dir.to_owned() }
            } else {
                facts.into_error("rev-parse")
            });
        }
        let text = String::from_utf8_lossy(&facts.stdout).into_owned();
        let (shallow, format) = match text.lines().collect::<Vec<_>>().as_slice() {
            ["false", "false", shallow, format] => (
                *shallow == "true",
                parse_format(format).ok_or_else(|| unread("rev-parse", &text))?,
            ),
            [_, _, _, _] => return Err(GitError::NoCheckout { dir: dir.to_owned() }),
            _ => return Err(unread("rev-parse", &text)),
        };
        // One call for each path: a name may hold a line feed.
        let path = |args: &[&str]| -> Result<PathBuf, GitError> {
            let answer = ask(args)?;
            if answer.code == 0 {
                path_line(answer.stdout)
            } else {
                Err(answer.into_error("rev-parse"))
            }
        };
        Ok(Self {
            root: path(&["--show-toplevel"])?,
            git_dir: path(&["--absolute-git-dir"])?,
            common_dir: path(&["--path-format=absolute", "--git-common-dir"])?,
            format,
            shallow,
            env,
        })
    }

    /// Returns the top directory of the checkout, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns where in the checkout the product at `dir` lies.
    ///
    /// # Errors
    /// It does not lie there, or its name is no UTF-8.
    pub fn subtree(&self, dir: &Path) -> Result<Subtree, GitError> {
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        Subtree::between(&self.root, &dir).ok_or(GitError::NoSubtree { dir })
    }

    /// Returns the git directory of this checkout, absolute.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Returns the git directory that all worktrees of the repository share, absolute.
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// Returns the hash that names the objects.
    pub fn format(&self) -> ObjectFormat {
        self.format
    }

    /// Returns whether the repository lacks the history before some commits.
    pub fn is_shallow(&self) -> bool {
        self.shallow
    }

    /// Returns what the checkout stands on.
    ///
    /// # Errors
    /// git failed.
    pub fn head(&self) -> Result<Head, GitError> {
        let answer = self.ask("symbolic-ref", ["--quiet", "HEAD"])?;
        let commit = self.resolve("HEAD")?;
        if answer.code != 0 {
            let commit = commit.ok_or_else(|| GitError::Missing { oid: "HEAD".to_owned() })?;
            return Ok(Head::Detached { commit });
        }
        let name = text_line(&answer.stdout);
        Ok(match commit {
            Some(commit) => Head::Branch { name, commit },
            None => Head::Unborn { name },
        })
    }

    /// Returns the commit that `revision` names; none if it names none.
    ///
    /// # Errors
    /// git can't be started or was ended.
    pub fn resolve(&self, revision: &str) -> Result<Option<Oid>, GitError> {
        if revision.is_empty() || revision.starts_with('-') || revision.contains('\0') {
            return Ok(None);
        }
        let wanted = format!("{revision}^{{commit}}");
        let answer = self.ask("rev-parse", ["--verify", "--quiet", &wanted])?;
        Ok((answer.code == 0).then(|| Oid::parse(&text_line(&answer.stdout)).ok()).flatten())
    }

    /// Points the ref `name` at `new`.
    ///
    /// `expected` is where it must be now; none says that it must not exist. `reason` is for the
    /// reflog.
    ///
    /// # Errors
    /// [`GitError::Moved`] if the ref is elsewhere; it is then left alone. Otherwise git failed,
    /// as where `refs/heads/factory` is in the way of `refs/heads/factory/x`.
    pub fn update_ref(
        &self,
        name: &str,
        new: &Oid,
        expected: Option<&Oid>,
        reason: &str,
    ) -> Result<(), GitError> {
        let old = expected.map_or(self.format.zero(), Oid::as_str);
        self.free_own(name)?;
        // git takes no empty reason.
        let reason: &[&str] = if reason.is_empty() { &[] } else { &["-m", reason] };
        let args = [&["--no-deref"], reason, &["--end-of-options", name, new.as_str(), old]];
        let answer = self.ask("update-ref", args.concat())?;
        self.moved_or(answer, name, expected)
    }

    /// Takes the ref `name` away, which must be at `expected`.
    ///
    /// # Errors
    /// [`GitError::Moved`] if it is elsewhere or gone; otherwise git failed.
    pub fn delete_ref(&self, name: &str, expected: &Oid) -> Result<(), GitError> {
        let args = ["--no-deref", "-d", "--end-of-options", name, expected.as_str()];
        let answer = self.ask("update-ref", args)?;
        self.moved_or(answer, name, Some(expected))
    }

    /// Removes the lock of a branch of the factory's own that a git left which was killed: one run at a time moves it, and
    /// git holds a lock for a moment.
    fn free_own(&self, name: &str) -> Result<(), GitError> {
        const MOMENT: Duration = Duration::from_secs(5);
        let lock = self.common_dir.join(format!("{name}.lock"));
        if !name.starts_with("refs/heads/factory/") {
            return Ok(());
        }
        let age = |found: std::fs::Metadata| found.modified().ok()?.elapsed().ok();
        for _ in 0..25 {
            match std::fs::metadata(&lock).map(age) {
                Err(_) => return Ok(()),
                Ok(Some(age)) if age >= MOMENT => break,
                Ok(_) => std::thread::sleep(MOMENT / 25),
            }
        }
        match std::fs::remove_file(&lock) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(GitError::writing(&lock)(error))
            }
            _ => Ok(()),
        }
    }

    fn moved_or(&self, answer: Answer, name: &str, expected: Option<&Oid>) -> Result<(), GitError> {
        if answer.code == 0 {
            return Ok(());
        }
        let found =
            self.refs(name)?.into_iter().find_map(|(found, oid)| (found == name).then_some(oid));
        if found.as_ref() == expected {
            return Err(answer.into_error("update-ref"));
        }
        Err(GitError::Moved { name: name.to_owned(), expected: expected.cloned(), found })
    }

    /// Returns the refs that are `prefix` or lie below it (`refs/heads/factory`), with their
    /// objects, sorted by name.
    ///
    /// # Errors
    /// git failed.
    pub fn refs(&self, prefix: &str) -> Result<Vec<(String, Oid)>, GitError> {
        let args = ["--format=%(objectname) %(refname)", "--sort=refname", prefix];
        let text = String::from_utf8_lossy(&self.run("for-each-ref", args)?).into_owned();
        text.lines()
            .map(|line| {
                let (oid, name) = line.split_once(' ').unwrap_or((line, ""));
                let oid = Oid::parse(oid).map_err(|_| unread("for-each-ref", line))?;
                Ok((name.to_owned(), oid))
            })
            .collect()
    }

    /// Checks that a branch `name/...` could be made: that there is no branch `name`.
    ///
    /// # Errors
    /// [`GitError::InTheWay`] where there is one; otherwise git failed.
    pub fn has_room_for(&self, name: &'static str) -> Result<(), GitError> {
        let branch = format!("refs/heads/{name}");
        match self.refs(&branch)?.iter().any(|(found, _)| *found == branch) {
            true => Err(GitError::InTheWay { name }),
            false => Ok(()),
        }
    }

    /// Returns the remotes of which this repository knows a branch `name`, sorted.
    ///
    /// # Errors
    /// git failed.
    pub fn remotes_with(&self, name: &str) -> Result<Vec<String>, GitError> {
        let end = format!("/{name}");
        let refs = self.refs(&format!("refs/remotes/*/{name}"))?;
        let names = refs.iter().filter_map(|(found, _)| {
            found.strip_prefix("refs/remotes/")?.strip_suffix(end.as_str())
        });
        Ok(names.map(str::to_owned).collect())
    }

    /// Opens the repository whose git directory is `git_dir`, to read objects only: a submodule's,
    /// for which there may be no checkout. It gets this repository's environment.
    ///
    /// # Errors
    /// There is no repository at `git_dir`, or git can't be started.
    pub fn beside(&self, git_dir: &Path) -> Result<Self, GitError> {
        let missing = || GitError::NotARepository { dir: git_dir.to_owned() };
        if !git_dir.is_dir() {
            return Err(missing());
        }
        let mut repo = Self {
            root: git_dir.to_owned(),
            git_dir: git_dir.to_owned(),
            common_dir: git_dir.to_owned(),
            format: ObjectFormat::Sha1,
            shallow: false,
            env: self.env.clone(),
        };
        let answer = repo.ask("rev-parse", ["--show-object-format"])?;
        if answer.code != 0 {
            return Err(missing());
        }
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        repo.format = parse_format(text.trim()).ok_or_else(|| unread("rev-parse", &text))?;
        let answer = repo.ask("rev-parse", ["--path-format=absolute", "--git-common-dir"])?;
        repo.common_dir = path_line(answer.stdout)?;
        Ok(repo)
    }

    /// Removes what a killed process of the factory left in the git directory. For the holder of
    /// the run's lock.
    pub fn remove_leftovers(&self) {
        let Ok(entries) = std::fs::read_dir(&self.git_dir) else { return };
        for entry in entries.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(SCRATCH.as_bytes()) {
                // What can't be removed does no harm; the next run tries again.
                let _ = std::fs::remove_dir_all(entry.path())
                    .or_else(|_| std::fs::remove_file(entry.path()));
            }
        }
    }

    /// Makes a private directory in the git directory, for what lies in the repository anyway. It goes when it is
    /// dropped, and what a kill leaves [`Repo::remove_leftovers`] removes.
    ///
    /// # Errors
    /// The git directory can't be written.
    pub fn private_place(&self) -> Result<Scratch, GitError> {
        self.scratch().map(Scratch)
    }

    /// Makes a private directory that goes when it is dropped.
    pub(super) fn scratch(&self) -> Result<tempfile::TempDir, GitError> {
        tempfile::Builder::new().prefix(SCRATCH).tempdir_in(&self.git_dir).map_err(|source| {
            GitError::Io { doing: format!("write in `{}`", self.git_dir.display()), source }
        })
    }

    /// Begins a plumbing call of `command` that sees objects and refs, and no work tree.
    pub(super) fn plumbing(&self, command: &str) -> Call {
        let mut git_dir = OsString::from("--git-dir=");
        git_dir.push(&self.git_dir);
        command::call(&self.env, Settings::Plumbing, &self.git_dir).arg(git_dir).arg(command)
    }

    /// Begins a call of `command` in the person's checkout, with the person's settings.
    pub(super) fn in_checkout(&self, command: &str) -> Call {
        self.as_person([], &self.root).arg(command)
    }

    /// Begins a call in `dir` with the person's settings, and with `more` options before its command.
    pub(super) fn as_person<'a>(
        &self,
        more: impl IntoIterator<Item = &'a str>,
        dir: &Path,
    ) -> Call {
        command::call(&self.env, Settings::Person, dir).args(more)
    }

    /// Returns whether there is a checkout, and not a git directory alone.
    pub(super) fn has_checkout(&self) -> bool {
        self.root != self.git_dir
    }

    /// Returns what git gets of the environment.
    pub(super) fn env(&self) -> &Variables {
        &self.env
    }

    pub(super) fn ask<I>(&self, command: &str, args: I) -> Result<Answer, GitError>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        command::answer(&self.plumbing(command).args(args), command)
    }

    pub(super) fn run<I>(&self, command: &str, args: I) -> Result<Vec<u8>, GitError>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        command::output(&self.plumbing(command).args(args), command)
    }
}

const SCRATCH: &str = "dark-factory-tmp-";

fn parse_format(text: &str) -> Option<ObjectFormat> {
    match text {
        "sha1" => Some(ObjectFormat::Sha1),
        "sha256" => Some(ObjectFormat::Sha256),
        _ => None,
    }
}

pub(super) fn unread(command: &str, answer: &str) -> GitError {
    GitError::Answer { command: command.to_owned(), answer: one_line(answer, 120) }
}

/// Reads an id that stands alone in an answer.
pub(super) fn oid_line(command: &str, bytes: &[u8]) -> Result<Oid, GitError> {
    let text = text_line(bytes);
    Oid::parse(&text).map_err(|_| unread(command, &text))
}

fn text_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned()
}

fn path_line(mut bytes: Vec<u8>) -> Result<PathBuf, GitError> {
    if bytes.pop() != Some(b'\n') || bytes.is_empty() {
        let source = io::Error::other("git printed no path");
        return Err(GitError::Io { doing: "find the repository's directories".into(), source });
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{env, fixture, git};
    use super::*;

    fn refused(dir: &Path) -> String {
        Repo::discover(dir, env()).unwrap_err().to_string()
    }

    #[test]
    fn a_directory_below_the_root_belongs_to_the_checkout() {
        let fixture = fixture(ObjectFormat::Sha256);
        let sub = fixture.repo.root().join("a b\nc");
        std::fs::create_dir(&sub).unwrap();
        let repo = Repo::discover(&sub, env()).unwrap();
        assert_eq!(repo.root(), fixture.dir.path().canonicalize().unwrap().join("repo"));
        assert_eq!(repo.format(), ObjectFormat::Sha256);
        assert!(!repo.is_shallow());
    }

    #[test]
    fn a_line_feed_in_the_path_of_a_repository_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("a\nb ");
        std::fs::create_dir(&root).unwrap();
        git(&root, &["init", "--quiet"]);
        let repo = Repo::discover(&root, env()).unwrap();
        assert_eq!((repo.root(), repo.common_dir()), (&*root, &*root.join(".git")));
    }

    #[test]
    fn no_repository_no_checkout_and_no_git_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refused(dir.path()).contains("not in a git repository"));
        assert!(refused(&dir.path().join("missing")).contains("not in a git repository"));
        git(dir.path(), &["init", "--quiet", "--bare", "bare.git"]);
        assert!(refused(&dir.path().join("bare.git")).contains("bare"));
        git(dir.path(), &["init", "--quiet", "plain"]);
        assert!(refused(&dir.path().join("plain/.git")).contains("git directory"));
        let nowhere = [("PATH".into(), dir.path().into())].into();
        let error = Repo::discover(&dir.path().join("plain"), nowhere).unwrap_err();
        assert!(matches!(error, GitError::NotStarted { is_missing: true, .. }), "{error}");
        assert!(error.to_string().ends_with("install git 2.31 or newer"), "{error}");
    }

    #[test]
    fn variables_of_the_person_point_git_nowhere_else() {
        let fixture = fixture(ObjectFormat::Sha1);
        let mut env = env();
        env.insert("GIT_DIR".into(), "/nowhere".into());
        env.insert("GIT_INDEX_FILE".into(), "/nowhere".into());
        assert!(Repo::discover(fixture.repo.root(), env).is_ok());
    }

    #[test]
    fn a_head_is_a_branch_or_detached_or_unborn() {
        let fixture = fixture(ObjectFormat::Sha1);
        let commit = fixture.head();
        let branch = Head::Branch { name: "refs/heads/main".into(), commit: commit.clone() };
        assert_eq!(fixture.repo.head().unwrap(), branch);
        git(fixture.repo.root(), &["checkout", "--quiet", "--detach"]);
        assert_eq!(fixture.repo.head().unwrap(), Head::Detached { commit });
        git(fixture.repo.root(), &["checkout", "--quiet", "--orphan", "new"]);
        let unborn = Head::Unborn { name: "refs/heads/new".into() };
        assert_eq!(fixture.repo.head().unwrap(), unborn);
        assert_eq!(unborn.commit(), None);
    }

    #[test]
    fn a_revision_that_names_nothing_is_none() {
        let repo = fixture(ObjectFormat::Sha1).repo;
        for bad in ["", "nope", "--help", "HEAD~9", "a b", "\0"] {
            assert_eq!(repo.resolve(bad).ok().flatten(), None, "{bad}");
        }
    }

    #[test]
    fn a_lock_that_a_killed_git_left_of_a_runs_branch_is_no_lock() {
        let fixture = fixture(ObjectFormat::Sha1);
        let (head, repo) = (fixture.head(), &fixture.repo);
        for (name, is_own) in [("refs/heads/factory/r", true), ("refs/heads/other", false)] {
            repo.update_ref(name, &head, None, "").unwrap();
            let lock = repo.common_dir().join(format!("{name}.lock"));
            std::fs::write(&lock, "").unwrap();
            assert_eq!(repo.update_ref(name, &head, Some(&head), "").is_ok(), is_own);
            assert_eq!(lock.exists(), !is_own);
        }
    }

    #[test]
    fn a_ref_moves_only_from_where_it_was_expected() {
        let fixture = fixture(ObjectFormat::Sha1);
        let repo = &fixture.repo;
        let (first, tree) = (fixture.head(), fixture.tree(&[("a", "1")]));
        let second = fixture.commit(&tree, &[&first]);
        let name = "refs/heads/factory/run";
        repo.update_ref(name, &first, None, "begin").unwrap();
        let error = repo.update_ref(name, &second, None, "again").unwrap_err();
        assert!(matches!(error, GitError::Moved { expected: None, .. }), "{error}");
        repo.update_ref(name, &second, Some(&first), "go on").unwrap();
        let error = repo.update_ref(name, &second, Some(&first), "go on").unwrap_err();
        assert!(matches!(&error, GitError::Moved { found, .. } if found.as_ref() == Some(&second)));
        assert_eq!(repo.refs("refs/heads/factory").unwrap(), [(name.to_owned(), second.clone())]);
        assert!(repo.delete_ref(name, &first).is_err());
        repo.delete_ref(name, &second).unwrap();
        let error = repo.delete_ref(name, &second).unwrap_err();
        assert!(matches!(error, GitError::Moved { found: None, .. }), "{error}");
    }

    #[test]
    fn a_git_that_may_not_be_executed_is_not_to_be_installed() {
        let fixture = fixture(ObjectFormat::Sha1);
        let git = fixture.dir.path().join("git");
        std::fs::write(&git, "").unwrap();
        let env = [("PATH".into(), fixture.dir.path().into())].into();
        let error = Repo::discover(fixture.repo.root(), env).unwrap_err().to_string();
        assert!(error.contains(git.to_str().unwrap()), "{error}");
        assert!(!error.contains("install"), "{error}");
    }

    #[test]
    fn a_branch_in_the_place_of_those_of_runs_is_found_here_and_at_remotes() {
        let fixture = fixture(ObjectFormat::Sha1);
        let (repo, commit) = (&fixture.repo, fixture.head());
        repo.update_ref("refs/heads/factory/x", &commit, None, "").unwrap();
        repo.update_ref("refs/heads/other/factory", &commit, None, "").unwrap();
        repo.has_room_for("factory").unwrap();
        repo.delete_ref("refs/heads/factory/x", &commit).unwrap();
        repo.update_ref("refs/heads/factory", &commit, None, "").unwrap();
        let error = repo.has_room_for("factory").unwrap_err();
        assert!(error.is_request() && error.to_string().contains("git branch -m factory "));
        assert!(repo.remotes_with("factory").unwrap().is_empty());
        for name in ["refs/remotes/origin/factory", "refs/remotes/up/factory/x"] {
            repo.update_ref(name, &commit, None, "").unwrap();
        }
        assert_eq!(repo.remotes_with("factory").unwrap(), ["origin"]);
    }

    #[test]
    fn a_branch_that_is_in_the_way_of_another_is_named() {
        let fixture = fixture(ObjectFormat::Sha1);
        let commit = fixture.head();
        fixture.repo.update_ref("refs/heads/factory", &commit, None, "").unwrap();
        let error = fixture.repo.update_ref("refs/heads/factory/x", &commit, None, "").unwrap_err();
        assert!(error.to_string().contains("'refs/heads/factory' exists"), "{error}");
    }

    #[test]
    fn linked_worktrees_and_shallow_clones_work() {
        let fixture = fixture(ObjectFormat::Sha1);
        let root = fixture.repo.root();
        let (linked, shallow) = (fixture.dir.path().join("linked"), fixture.dir.path().join("s"));
        git(root, &["worktree", "add", "--quiet", "-b", "other", linked.to_str().unwrap()]);
        let repo = Repo::discover(&linked, env()).unwrap();
        assert_eq!(repo.common_dir(), fixture.repo.common_dir());
        assert_ne!(repo.git_dir(), repo.common_dir());
        let head = fixture.head();
        let other = Head::Branch { name: "refs/heads/other".into(), commit: head.clone() };
        assert_eq!(repo.head().unwrap(), other);
        let blob = repo.write_blobs(&["x"]).unwrap().remove(0);
        assert_eq!(fixture.repo.read_blob(&blob).unwrap(), b"x");

        git(root, &["commit", "--quiet", "--allow-empty", "-m", "More"]);
        let url = format!("file://{}", root.display());
        git(root, &["clone", "--quiet", "--depth=1", &url, shallow.to_str().unwrap()]);
        let repo = Repo::discover(&shallow, env()).unwrap();
        assert!(repo.is_shallow());
        assert_eq!(repo.resolve(head.as_str()).unwrap(), None);
        let here = repo.resolve("HEAD").unwrap().unwrap();
        assert!(repo.list(&repo.tree_of(&here).unwrap()).unwrap().is_empty());
    }
}
