//! Commits: making them, relating them, showing what lies between two.

use std::path::Path;

use super::command::{fed, output};
use super::objects::batch_answer;
use super::oid::commit_id;
use super::repo::{oid_line, unread};
use super::{GitError, Oid, Repo};
use crate::clock::Timestamp;

/// Who a commit says that it is by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name; git leaves out `<`, `>` and line feeds.
    pub name: String,
    /// The address.
    pub email: String,
}

/// A commit as the repository keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCommit {
    /// Its message, decoded leniently.
    pub message: String,
    /// Whether its bytes are those that its id is the digest of.
    pub is_whole: bool,
}

impl Repo {
    /// Makes a commit, with `author` as committer too, and returns its id. No ref moves, nothing
    /// is signed.
    ///
    /// # Errors
    /// The tree or a parent is missing, the name is empty, or git failed.
    pub fn commit(
        &self,
        tree: &Oid,
        parents: &[Oid],
        message: &str,
        author: &Signature,
        at: Timestamp,
    ) -> Result<Oid, GitError> {
        let mut call = self.plumbing("commit-tree").arg(tree.as_str());
        for parent in parents {
            call = call.args(["-p", parent.as_str()]);
        }
        let date = format!("@{} +0000", at.unix_millis().div_euclid(1000));
        for role in ["AUTHOR", "COMMITTER"] {
            let parts =
                [("NAME", author.name.as_str()), ("EMAIL", author.email.as_str()), ("DATE", &date)];
            call = call.envs(parts.map(|(what, value)| (format!("GIT_{role}_{what}"), value)));
        }
        let call = fed(call.args(["-F", "-"]), message.as_bytes().to_vec());
        oid_line("commit-tree", &output(&call, "commit-tree")?)
    }

    /// Returns whether `ancestor` is `of` or lies in its history.
    ///
    /// # Errors
    /// A commit is missing, or git failed.
    pub fn is_ancestor(&self, ancestor: &Oid, of: &Oid) -> Result<bool, GitError> {
        let answer = self.ask("merge-base", ["--is-ancestor", ancestor.as_str(), of.as_str()])?;
        match answer.code {
            0 => Ok(true),
            1 => Ok(false),
            _ => Err(answer.into_error("merge-base")),
        }
    }

    /// Returns the best common ancestor of two commits; none if they share no history.
    ///
    /// # Errors
    /// A commit is missing, or git failed.
    pub fn merge_base(&self, a: &Oid, b: &Oid) -> Result<Option<Oid>, GitError> {
        let answer = self.ask("merge-base", [a.as_str(), b.as_str()])?;
        match answer.code {
            0 => oid_line("merge-base", &answer.stdout).map(Some),
            1 => Ok(None),
            _ => Err(answer.into_error("merge-base")),
        }
    }

    /// Returns a line for each file that differs between two commits or trees, and a total; empty
    /// where nothing differs.
    ///
    /// # Errors
    /// An object is missing, or git failed.
    pub fn diff_stat(&self, a: &Oid, b: &Oid) -> Result<String, GitError> {
        let bytes = self.diff_tree(&["--stat=100", "--summary"], a, b)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the patch from `a` to `b`, commits or trees; binary files are named, not shown.
    ///
    /// # Errors
    /// An object is missing, or git failed.
    pub fn diff(&self, a: &Oid, b: &Oid) -> Result<Vec<u8>, GitError> {
        self.diff_tree(&["-p"], a, b)
    }

    /// Returns the patch from `a` to `b`, commits or trees, binary files included: `git apply` makes
    /// the one of the other.
    ///
    /// # Errors
    /// An object is missing, or git failed.
    pub fn patch(&self, a: &Oid, b: &Oid) -> Result<Vec<u8>, GitError> {
        self.diff_tree(&["-p", "--binary", "--full-index"], a, b)
    }

    fn diff_tree(&self, show: &[&str], a: &Oid, b: &Oid) -> Result<Vec<u8>, GitError> {
        let safe = [
            "-r",
            "-M",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--ignore-submodules=none",
        ];
        let args = safe.iter().chain(show).copied().chain([a.as_str(), b.as_str()]);
        self.run("diff-tree", args)
    }

    /// Returns when a commit says that it was made.
    ///
    /// # Errors
    /// It is missing, or git failed.
    pub fn committed_at(&self, commit: &Oid) -> Result<Timestamp, GitError> {
        let args = ["--no-color", "--no-decorate", "-1", "--format=%ct", commit.as_str()];
        let text = String::from_utf8_lossy(&self.run("log", args)?).into_owned();
        let seconds: i64 = text.trim().parse().map_err(|_| unread("log", &text))?;
        Ok(Timestamp::from_unix_millis(seconds.saturating_mul(1_000)))
    }

    /// Returns the commits that `to` has and `from` has not, newest first, with the first lines of
    /// their messages.
    ///
    /// # Errors
    /// A commit is missing, or git failed.
    pub fn log(&self, from: &Oid, to: &Oid) -> Result<Vec<(Oid, String)>, GitError> {
        let range = format!("{from}..{to}");
        let bytes = self.run("log", ["--no-color", "--no-decorate", "--format=%H %s", &range])?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines()
            .map(|line| {
                let (oid, subject) = line.split_once(' ').unwrap_or((line, ""));
                let oid = Oid::parse(oid).map_err(|_| unread("log", line))?;
                Ok((oid, subject.to_owned()))
            })
            .collect()
    }

    /// Returns the commits that any ref leads to whose messages hold `text`, newest first.
    ///
    /// # Errors
    /// A commit is missing, or git failed.
    pub fn commits_saying(&self, text: &str) -> Result<Vec<Oid>, GitError> {
        let grep = format!("--grep={text}");
        let bytes = self.run("rev-list", ["--all", "--fixed-strings", &grep])?;
        String::from_utf8_lossy(&bytes)
            .lines()
            .map(|line| Oid::parse(line).map_err(|_| unread("rev-list", line)))
            .collect()
    }

    /// Reads commits with one process, in the order asked; none for one that is not there.
    ///
    /// # Errors
    /// git failed.
    pub fn stored_commits(&self, commits: &[Oid]) -> Result<Vec<Option<StoredCommit>>, GitError> {
        let asked: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
        let call = fed(self.plumbing("cat-file").arg("--batch"), asked.into_bytes());
        let bytes = output(&call, "cat-file")?;
        let mut rest = bytes.as_slice();
        commits.iter().map(|commit| self.next_stored(commit, &mut rest)).collect()
    }

    /// Takes one answer of `cat-file --batch` off `rest`.
    fn next_stored(
        &self,
        commit: &Oid,
        rest: &mut &[u8],
    ) -> Result<Option<StoredCommit>, GitError> {
        let cut_short = || unread("cat-file", &format!("{commit}: an answer cut short"));
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(cut_short)?;
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        *rest = &rest[end + 1..];
        let Ok((kind, size)) = batch_answer(&line)? else { return Ok(None) };
        let size = usize::try_from(size).map_err(|_| cut_short())?;
        let object = rest.get(..size).ok_or_else(cut_short)?;
        // A line feed ends the object.
        *rest = rest.get(size + 1..).ok_or_else(cut_short)?;
        if kind != "commit" {
            return Ok(None);
        }
        let body = object.windows(2).position(|two| two == b"\n\n").map_or(size, |at| at + 2);
        Ok(Some(StoredCommit {
            message: String::from_utf8_lossy(&object[body..]).into_owned(),
            is_whole: commit_id(self.format(), object) == *commit,
        }))
    }

    /// Writes a bundle at `path` (absolute) with `refs` and what they need beyond `known` commits.
    ///
    /// # Errors
    /// A ref does not exist or adds nothing to `known`, or the file can't be written.
    pub fn bundle(&self, path: &Path, refs: &[&str], known: &[Oid]) -> Result<(), GitError> {
        let mut call = self.plumbing("bundle").args(["create", "--quiet"]).arg(path).args(refs);
        for oid in known {
            call = call.arg(format!("^{oid}"));
        }
        output(&call, "bundle").map(drop)
    }

    /// Takes the objects of the bundle at `path` (absolute) in, and returns the refs that it
    /// names; no ref of this repository moves.
    ///
    /// # Errors
    /// The file is no bundle, or the commits that it builds on are not here.
    pub fn fetch_bundle(&self, path: &Path) -> Result<Vec<(String, Oid)>, GitError> {
        let call = self.plumbing("bundle").arg("unbundle").arg(path);
        let text = String::from_utf8_lossy(&output(&call, "bundle")?).into_owned();
        text.lines()
            .map(|line| {
                let (oid, name) = line.split_once(' ').unwrap_or((line, ""));
                Ok((name.to_owned(), Oid::parse(oid).map_err(|_| unread("bundle", line))?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ObjectFormat;
    use super::super::testing::{Fixture, fixture, git};
    use super::*;

    fn two_commits() -> (Fixture, Oid, Oid) {
        let fixture = fixture(ObjectFormat::Sha1);
        let base = fixture.head();
        let one = fixture.commit(&fixture.tree(&[("a", "1\n")]), &[&base]);
        let two = fixture.commit(&fixture.tree(&[("a", "2\n")]), &[&one]);
        (fixture, one, two)
    }

    #[test]
    fn a_commit_is_the_same_bytes_each_time() {
        let (fixture, one, two) = two_commits();
        let again = fixture.commit(&fixture.repo.tree_of(&two).unwrap(), &[&one]);
        assert_eq!(again, two);
        let shown = git(
            fixture.repo.root(),
            &["log", "-1", "--date=raw", "--format=%an <%ae> %ad %cn %s|%(trailers)", two.as_str()],
        );
        assert_eq!(
            shown.trim_end(),
            "The Factory <factory@localhost> 1795166100 +0000 The Factory Do it|Trailer: yes"
        );
    }

    #[test]
    fn history_is_told() {
        let (fixture, one, two) = two_commits();
        let repo = &fixture.repo;
        assert!(repo.is_ancestor(&one, &two).unwrap());
        assert!(!repo.is_ancestor(&two, &one).unwrap());
        assert_eq!(repo.merge_base(&two, &one).unwrap(), Some(one.clone()));
        let stranger = fixture.commit(&repo.tree_of(&one).unwrap(), &[]);
        assert_eq!(repo.merge_base(&two, &stranger).unwrap(), None);
        assert!(repo.is_ancestor(&Oid::parse(&"1".repeat(40)).unwrap(), &two).is_err());
        assert_eq!(repo.log(&one, &two).unwrap(), [(two.clone(), "Do it".to_owned())]);
        assert_eq!(repo.log(&two, &two).unwrap(), []);
        let patch = String::from_utf8(repo.diff(&one, &two).unwrap()).unwrap();
        assert!(patch.ends_with("@@ -1 +1 @@\n-1\n+2\n"), "{patch}");
        assert!(repo.diff_stat(&one, &two).unwrap().contains("a | 2 +-"));
        assert_eq!(repo.diff_stat(&two, &two).unwrap(), "");
    }

    #[test]
    fn a_bundle_carries_a_branch_to_another_clone() {
        let (fixture, one, two) = two_commits();
        let base = fixture.head();
        let repo = &fixture.repo;
        let clone = fixture.dir.path().join("clone");
        git(repo.root(), &["clone", "--quiet", ".", clone.to_str().unwrap()]);
        let clone = Repo::discover(&clone, super::super::testing::env()).unwrap();
        repo.update_ref("refs/heads/factory/x", &two, None, "").unwrap();
        let file = fixture.dir.path().join("x.bundle");
        repo.bundle(&file, &["refs/heads/factory/x"], &[base]).unwrap();
        let refs = clone.fetch_bundle(&file).unwrap();
        assert_eq!(refs, [("refs/heads/factory/x".to_owned(), two.clone())]);
        assert_eq!(clone.resolve(two.as_str()).unwrap(), Some(two));
        assert_eq!(clone.refs("refs/heads/factory").unwrap(), []);

        repo.bundle(&file, &["refs/heads/factory/x"], &[one]).unwrap();
        let elsewhere = super::super::testing::fixture(ObjectFormat::Sha1);
        assert!(elsewhere.repo.fetch_bundle(&file).is_err(), "its base is not there");
    }

    #[test]
    fn commits_are_read_as_they_are_stored_and_found_by_what_they_say() {
        for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
            let fixture = fixture(format);
            let (repo, head) = (&fixture.repo, fixture.head());
            let tree = fixture.tree(&[("a", "1\n")]);
            let one = fixture.commit(&tree, &[&head]);
            let nobody = Oid::parse(&"1".repeat(one.as_str().len())).unwrap();
            let asked = [one, nobody, tree, head];
            let one = asked[0].clone();
            let stored = repo.stored_commits(&asked).unwrap();
            let whole =
                |message: &str| Some(StoredCommit { message: message.to_owned(), is_whole: true });
            let expected = [whole("Do it\n\nTrailer: yes\n"), None, None, whole("Begin\n")];
            assert_eq!(stored, expected);
            assert_eq!(repo.commits_saying("Trailer: yes").unwrap(), []);
            repo.update_ref("refs/heads/other", &one, None, "test").unwrap();
            assert_eq!(repo.commits_saying("Trailer: yes").unwrap(), asked[..1]);
            assert_eq!(repo.commits_saying("Trailer: no").unwrap(), []);
            assert_eq!(repo.stored_commits(&[]).unwrap(), []);
        }
    }
}
