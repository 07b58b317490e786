//! Partial clones: which objects of a commit are still at the remote, and having them sent.

use std::time::Duration;

use super::command::{Answer, answer_until, fed};
use super::{GitError, Oid, Repo};
use crate::process::Cancel;
use crate::text::one_line;

/// How long a remote is asked whether it is there.
const A_LOOK: Duration = Duration::from_secs(20);
/// How long it may take to send what is missing.
const A_FETCH: Duration = Duration::from_secs(60 * 60);

impl Repo {
    /// Returns the objects of a commit and its tree that are not here, in git's order: in a partial clone
    /// those that its filter left at the remote. Of a tree that is missing, what is below is not known.
    ///
    /// # Errors
    /// The commit is missing, or git failed.
    pub fn missing_of(&self, commit: &Oid) -> Result<Vec<Oid>, GitError> {
        let args = ["--objects", "--no-walk", "--missing=print", commit.as_str()];
        let text = String::from_utf8_lossy(&self.run("rev-list", args)?).into_owned();
        Ok(text.lines().filter_map(|line| Oid::parse(line.strip_prefix('?')?).ok()).collect())
    }

    /// Returns the remote that a partial clone has the rest of its objects at; none where this is none.
    ///
    /// # Errors
    /// git can't be started or was ended.
    pub fn promisor(&self) -> Result<Option<String>, GitError> {
        let args = ["--null", "--type=bool", "--get-regexp", r"^remote\..*\.promisor$"];
        let said = String::from_utf8_lossy(&self.ask("config", args)?.stdout).into_owned();
        let promises = said.split('\0').filter_map(|one| one.strip_suffix("\ntrue"));
        let name =
            |key: &str| key.strip_prefix("remote.")?.strip_suffix(".promisor").map(str::to_owned);
        Ok(promises.filter_map(name).next())
    }

    /// Has what is missing of `commit` sent by the remote that promises it, and returns how many objects that
    /// were, and the remote; none where nothing was missing. No ref moves, and no file of the checkout.
    ///
    /// # Errors
    /// [`GitError::Missing`] where nobody promises them, [`GitError::Promised`] where they were not sent.
    pub fn fetch_promised(
        &self,
        commit: &Oid,
        cancel: &Cancel,
    ) -> Result<Option<(usize, String)>, GitError> {
        let missing = self.missing_of(commit)?;
        let Some(first) = missing.first() else { return Ok(None) };
        let Some(remote) = self.promisor()? else {
            return Err(GitError::Missing { oid: first.to_string() });
        };
        let wanted: String = missing.iter().map(|oid| format!("{oid}\n")).collect();
        // What is here proves nothing to the remote: it would think that the rest is here as well.
        let call = self.in_checkout("-c").args(["fetch.negotiationAlgorithm=noop", "fetch"]);
        let call = call
            .args(["--quiet", "--no-tags", "--no-prune", "--no-write-fetch-head", "--no-filter"])
            .args(["--no-auto-maintenance", "--recurse-submodules=no", "--stdin"])
            .args(["--end-of-options", remote.as_str()])
            .limit(A_FETCH);
        let said = answer_until(&fed(call, wanted.into_bytes()), "fetch", cancel)?;
        let left = self.missing_of(commit)?.len();
        if left == 0 {
            return Ok(Some((missing.len(), remote)));
        }
        let why = match said.code {
            0 => "it does not send them".to_owned(),
            _ => shown(&said),
        };
        Err(GitError::Promised { count: left, commit: commit.short().to_owned(), remote, why })
    }

    /// Asks a remote whether it is there, and answers what it says where it is not.
    ///
    /// # Errors
    /// git can't be started or was ended, as it is when the remote takes its time.
    pub fn reaches(&self, remote: &str) -> Result<Result<(), String>, GitError> {
        let call = self.in_checkout("ls-remote").args(["--quiet", "--end-of-options", remote]);
        let said = answer_until(&call.arg("HEAD").limit(A_LOOK), "ls-remote", &Cancel::never())?;
        Ok(if said.code == 0 { Ok(()) } else { Err(shown(&said)) })
    }
}

fn shown(said: &Answer) -> String {
    one_line(said.stderr.trim(), 200)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ObjectFormat;
    use super::super::testing::{Fixture, env, fixture, git};
    use super::*;

    /// A server with two commits, and a partial clone of it without a checkout.
    fn clone(filter: &str) -> (Fixture, Repo) {
        let fixture = fixture(ObjectFormat::Sha1);
        let root = fixture.repo.root();
        git(root, &["config", "uploadpack.allowFilter", "true"]);
        git(root, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        for text in ["1", "2"] {
            std::fs::create_dir_all(root.join("a/b")).unwrap();
            std::fs::write(root.join("a/b/c"), text).unwrap();
            std::fs::write(root.join("d"), "d").unwrap();
            git(root, &["add", "--all"]);
            git(root, &["commit", "--quiet", "-m", text]);
        }
        let clone = fixture.dir.path().join("clone");
        let (url, filter) = (format!("file://{}", root.display()), format!("--filter={filter}"));
        let to = clone.to_str().unwrap();
        git(root, &["clone", "--quiet", "--no-checkout", &filter, &url, to]);
        let repo = Repo::discover(&clone, env()).unwrap();
        (fixture, repo)
    }

    fn head(repo: &Repo) -> Oid {
        repo.resolve("HEAD").unwrap().unwrap()
    }

    #[test]
    fn what_a_filter_left_at_the_remote_is_found_and_sent() {
        for filter in ["blob:none", "blob:limit=0", "tree:0"] {
            let (_server, repo) = clone(filter);
            let head = head(&repo);
            let missing = repo.missing_of(&head).unwrap().len();
            assert!(missing > 0, "{filter}");
            assert_eq!(repo.reaches("origin").unwrap(), Ok(()));
            let (refs, never) = (repo.refs("refs").unwrap(), Cancel::never());
            let sent = repo.fetch_promised(&head, &never).unwrap();
            assert_eq!(sent, Some((missing, "origin".to_owned())), "{filter}");
            assert_eq!(repo.fetch_promised(&head, &never).unwrap(), None, "{filter}");
            assert_eq!(repo.list(&head).unwrap().len(), 2, "{filter}");
            assert_eq!(repo.refs("refs").unwrap(), refs, "{filter}");
            assert!(!repo.git_dir().join("FETCH_HEAD").exists(), "{filter}");
        }
    }

    #[test]
    fn a_remote_that_is_gone_is_named_with_a_command_that_helps() {
        let (server, repo) = clone("blob:none");
        let (root, away) = (server.repo.root(), server.dir.path().join("away"));
        std::fs::rename(root, &away).unwrap();
        assert!(repo.reaches("origin").unwrap().is_err());
        let error = repo.fetch_promised(&head(&repo), &Cancel::never()).unwrap_err().to_string();
        for part in ["2 objects of commit", "`origin`", "git fetch --refetch --no-filter"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        std::fs::rename(&away, root).unwrap();
        git(repo.root(), &["fetch", "--quiet", "--refetch", "--no-filter"]);
        assert_eq!(repo.missing_of(&head(&repo)).unwrap(), []);
    }

    #[test]
    fn what_nobody_promises_is_missing() {
        let fixture = fixture(ObjectFormat::Sha1);
        let head = fixture.commit(&fixture.tree(&[("a", "1")]), &[&fixture.head()]);
        let never = Cancel::never();
        assert_eq!(fixture.repo.fetch_promised(&head, &never).unwrap(), None);
        let blob = fixture.repo.list(&head).unwrap().into_values().next().unwrap().oid;
        let (dir, file) = blob.as_str().split_at(2);
        std::fs::remove_file(fixture.repo.git_dir().join("objects").join(dir).join(file)).unwrap();
        let error = fixture.repo.fetch_promised(&head, &never).unwrap_err();
        assert!(matches!(&error, GitError::Missing { oid } if oid == blob.as_str()), "{error}");
    }

    #[test]
    fn a_hook_of_the_repository_is_not_run_by_a_fetch() {
        let (_server, repo) = clone("blob:none");
        let hook = repo.git_dir().join("hooks/reference-transaction");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, "#!/bin/sh\ntouch ran\n").unwrap();
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        repo.fetch_promised(&head(&repo), &Cancel::never()).unwrap();
        let ran = |dir: &Path| dir.join("ran").exists();
        assert!(!ran(repo.root()) && !ran(repo.git_dir()));
    }
}
