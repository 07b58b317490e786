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
