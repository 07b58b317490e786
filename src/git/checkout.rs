//! The person's own checkout: is it dirty, and bringing it forward.

use super::command::{answer, output};
use super::repo::unread;
use super::{GitError, Oid, Repo};
use crate::text::TreePath;

/// The factory's own state, which never counts as the person's.
const OWN: &str = "artifacts/factory";

impl Repo {
    /// Returns the paths in the checkout that differ from its head, untracked files among them,
    /// sorted; ignored files and the factory's own under `artifacts/factory` are left out. Changes
    /// inside a submodule are not looked for.
    ///
    /// # Errors
    /// git failed.
    pub fn dirty_paths(&self) -> Result<Vec<TreePath>, GitError> {
        let call = self.in_checkout("status").args([
            "--porcelain=v1",
            "-z",
            "--no-renames",
            "--untracked-files=all",
            "--ignore-submodules=dirty",
        ]);
        let listing = output(&call, "status")?;
        let own = TreePath::parse(OWN).map_err(|error| unread("status", &error.to_string()))?;
        let mut paths = Vec::new();
        for record in listing.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
            let path = record.get(3..).unwrap_or_default();
            // A directory that is a repository of its own ends in a slash.
            let path = TreePath::parse(path.strip_suffix(b"/").unwrap_or(path))
                .map_err(|error| unread("status", &error.to_string()))?;
            if !path.is_within(&own) {
                paths.push(path);
            }
        }
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// Returns the paths that git tracks in the checkout, sorted, whatever became of their files.
    ///
    /// # Errors
    /// git failed.
    pub fn tracked_paths(&self) -> Result<Vec<TreePath>, GitError> {
        let call = self.in_checkout("ls-files").args(["--cached", "-z", "--full-name"]);
        let listing = output(&call, "ls-files")?;
        let mut paths = Vec::new();
        for path in listing.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
            let path =
                TreePath::parse(path).map_err(|error| unread("ls-files", &error.to_string()))?;
            paths.push(path);
        }
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// Moves the checkout's branch and files forward to `to`, with hooks off.
    ///
    /// # Errors
    /// [`GitError::NotFastForwarded`] where the branch has commits that `to` has not, or a changed,
    /// untracked or ignored file would be overwritten; nothing has then changed.
    pub fn fast_forward(&self, to: &Oid) -> Result<(), GitError> {
        let call = self.in_checkout("merge").args([
            "--ff-only",
            "--no-autostash",
            "--no-overwrite-ignore",
            "--no-verify-signatures",
            "--no-stat",
            "--quiet",
            to.as_str(),
        ]);
        let answer = answer(&call, "merge")?;
        if answer.code == 0 {
            return Ok(());
        }
        let why = answer.stderr.trim();
        let why = crate::text::one_line(why.strip_prefix("fatal: ").unwrap_or(why), 400);
        Err(GitError::NotFastForwarded { to: to.clone(), why })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::{Fixture, fixture, git};
    use super::super::{ObjectFormat, testing};
    use super::*;

    /// A checkout with `a`, and a commit ahead of it with `a` changed and `new` added.
    fn behind() -> (Fixture, Oid) {
        let fixture = fixture(ObjectFormat::Sha1);
        let first = fixture.commit(&fixture.tree(&[("a", "1\n")]), &[&fixture.head()]);
        let second = fixture.tree(&[("a", "2\n"), ("new", "n\n")]);
        let second = fixture.commit(&second, &[&first]);
        git(fixture.repo.root(), &["reset", "--quiet", "--hard", first.as_str()]);
        (fixture, second)
    }

    #[test]
    fn what_differs_from_the_head_is_dirty() {
        let (fixture, _) = behind();
        let root = fixture.repo.root();
        assert_eq!(fixture.repo.dirty_paths().unwrap(), []);
        for at in ["artifacts/factory", "artifacts/other", "ignored", "odd\n name"] {
            fs::create_dir_all(root.join(at)).unwrap();
            fs::write(root.join(at).join("x"), "x").unwrap();
        }
        fs::write(root.join(".git/info/exclude"), "ignored\n").unwrap();
        fs::remove_file(root.join("a")).unwrap();
        let dirty = fixture.repo.dirty_paths().unwrap();
        assert_eq!(dirty, ["a", "artifacts/other/x", "odd\n name/x"].map(testing::path));
    }

    #[test]
    fn what_git_tracks_is_listed_and_nothing_else() {
        let (fixture, _) = behind();
        fs::write(fixture.repo.root().join("untracked"), "x").unwrap();
        let tracked = fixture.repo.tracked_paths().unwrap();
        assert_eq!(
            tracked,
            fixture.repo.list(&fixture.head()).unwrap().into_keys().collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_clean_checkout_moves_forward_without_hooks() {
        let (fixture, second) = behind();
        let root = fixture.repo.root();
        let hook = root.join(".git/hooks/post-merge");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        fs::write(&hook, "#!/bin/sh\ntouch ran\n").unwrap();
        fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fixture.repo.fast_forward(&second).unwrap();
        assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "2\n");
        assert_eq!(fixture.head(), second);
        assert_eq!(fixture.repo.dirty_paths().unwrap(), []);
        assert!(!root.join("ran").exists());
    }

    #[test]
    fn nothing_of_the_person_is_overwritten() {
        for (at, exclude) in [("a", ""), ("new", ""), ("new", "new\n")] {
            let (fixture, second) = behind();
            let root = fixture.repo.root();
            let head = fixture.head();
            fs::write(root.join(".git/info/exclude"), exclude).unwrap();
            fs::write(root.join(at), "mine\n").unwrap();
            let error = fixture.repo.fast_forward(&second).unwrap_err();
            assert!(matches!(error, GitError::NotFastForwarded { .. }), "{error}");
            assert!(error.to_string().contains(at), "{error}");
            assert_eq!(fs::read_to_string(root.join(at)).unwrap(), "mine\n");
            assert_eq!(fixture.head(), head);
        }
    }

    #[test]
    fn a_branch_with_commits_of_its_own_stays() {
        let (fixture, second) = behind();
        git(fixture.repo.root(), &["commit", "--quiet", "--allow-empty", "-m", "Mine"]);
        let error = fixture.repo.fast_forward(&second).unwrap_err().to_string();
        assert!(error.to_lowercase().contains("fast-forward"), "{error}");
    }
}
