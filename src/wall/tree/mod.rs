//! A tree of the factory's own on disk, kept for the run and set to each candidate by difference.
//!
//! Files are as a checkout of the person's has them: from blobs, and where attributes or settings convert them, by way of
//! a directory of git's. No hook or index of git takes part, and git never runs in the tree. What an agent or a product left there is met as hostile: no symbolic link is
//! followed, a file is replaced and never written through, whatever is in the way goes. Whoever
//! calls has ended every process that could still write there.
//!
//! What may come back from the tree is not decided here; see `delivery`.

mod ignored;
mod manifest;
mod scan;
mod source;
mod sync;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use self::manifest::{Manifest, with_suffix};
use super::at::{self, Dirs, Kind, MAX_DEPTH, Owner, Trash};
use crate::git::GitError;
use crate::journal::make_private_dir;
use crate::text::TreePath;

pub use scan::ScanLimits;
pub use source::{files_of_submodules, missing_large_files, missing_submodules};
pub use sync::SyncReport;

/// A directory whose tracked files are those of a git tree.
#[derive(Debug)]
pub struct ManagedTree {
    root: PathBuf,
    manifest_path: PathBuf,
    /// Stands while a sync is under way.
    marker: PathBuf,
    trash: Trash,
    manifest: Option<Manifest>,
    /// Untracked paths that stay, though no pattern names them.
    kept: Vec<TreePath>,
    /// Whom it is written for.
    owner: Owner,
}

/// Why a tree could not be set, compared or read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Something else stands where the tree's directory should.
    #[error("`{}` is no directory of the factory's; move it away", root.display())]
    NotADirectory {
        /// The tree's directory.
        root: PathBuf,
    },
    /// The tree was never set, or setting it was cut short.
    #[error("`{}` does not hold a whole tree; it has to be set to a candidate first", root.display())]
    NotSynced {
        /// The tree's directory.
        root: PathBuf,
    },
    /// A path that must not be written.
    #[error("the tree has `{path}`: {why}")]
    Forbidden {
        /// The path.
        path: TreePath,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two paths that are one file here.
    #[error(
        "`{first}` and `{second}` differ only in case, and `{}` lies on a file system that does not tell them apart; use one that does, or rename one of them",
        root.display()
    )]
    CaseCollision {
        /// The tree's directory.
        root: PathBuf,
        /// The path that sorts first.
        first: TreePath,
        /// The other.
        second: TreePath,
    },
    /// No regular file is there to read.
    #[error("`{path}` is no regular file in the tree")]
    NotAFile {
        /// The path.
        path: TreePath,
    },
    /// A file is larger than the reader takes.
    #[error("`{path}` is larger than {limit} bytes")]
    TooLarge {
        /// The path.
        path: TreePath,
        /// The reader's limit.
        limit: u64,
    },
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The file system refused.
    #[error("can't {doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ManagedTree {
    /// Opens the tree at `root`, with what is known of it in the file `manifest`, on the same file
    /// system and outside the tree. Makes the directory, for its owner alone, if it is missing.
    ///
    /// # Errors
    /// A symbolic link or a file stands at `root`, or the directory can't be made or read.
    pub fn open(root: &Path, manifest: &Path) -> Result<Self, TreeError> {
        let fail = |doing: &str, path: &Path| {
            let doing = format!("{doing} `{}`", path.display());
            move |source| TreeError::Io { doing, source }
        };
        for parent in [root.parent(), manifest.parent()].into_iter().flatten() {
            make_private_dir(parent).map_err(fail("make", parent))?;
        }
        prepare_root(root)?;
        Ok(Self {
            root: root.to_owned(),
            manifest_path: manifest.to_owned(),
            marker: with_suffix(manifest, ".syncing"),
            trash: Trash::at(with_suffix(manifest, ".trash")),
            manifest: Manifest::load(manifest).map_err(fail("read", manifest))?,
            kept: Vec::new(),
            owner: None,
        })
    }

    /// Lets [`ManagedTree::sync`] leave what is untracked at and below `paths`, as if a pattern
    /// named it.
    #[must_use]
    pub fn keeping(self, paths: Vec<TreePath>) -> Self {
        Self { kept: paths, ..self }
    }

    /// Gives what [`ManagedTree::sync`] writes, and the directory itself, to a user and a group; none
    /// leaves it this user's.
    #[must_use]
    pub fn owned_by(self, owner: Option<(u32, u32)>) -> Self {
        Self { owner, ..self }
    }

    /// Returns the directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns where the tree has commits of other repositories, sorted. What a scan finds at or
    /// below such a path can't be delivered: this repository does not hold those files.
    pub fn submodules(&self) -> Vec<TreePath> {
        let known = self.manifest.iter().flat_map(|manifest| &manifest.submodules);
        known.filter_map(|path| TreePath::parse(path.as_slice()).ok()).collect()
    }

    /// Returns whether the tree was set to something at `path`; what stands there now is another
    /// question.
    pub fn was_given(&self, path: &TreePath) -> bool {
        let known = |manifest: &Manifest| manifest.entries.find(path.as_bytes()).is_some();
        self.manifest.as_ref().is_some_and(known)
    }

    /// Returns the bytes of the regular file at `path`.
    ///
    /// # Errors
    /// Something else, or nothing, stands there; a symbolic link is on the way; or the file has
    /// more than `limit` bytes.
    pub fn read(&self, path: &TreePath, limit: u64) -> Result<Vec<u8>, TreeError> {
        let not_a_file = || TreeError::NotAFile { path: path.clone() };
        let fail = |source| TreeError::Io { doing: format!("read `{path}`"), source };
        if path.components().count() > MAX_DEPTH {
            return Err(not_a_file());
        }
        let mut dirs = Dirs::new(self.open_root()?);
        let (parent, name) = dirs.find(path.as_bytes()).map_err(fail)?.ok_or_else(not_a_file)?;
        match at::stat(parent, name).map_err(fail)? {
            Some(stat) if stat.kind == Kind::File => {}
            _ => return Err(not_a_file()),
        }
        let file = at::open_file(parent, name).map_err(fail)?;
        if at::stat_open(&file).map_err(fail)?.kind != Kind::File {
            return Err(not_a_file());
        }
        let bytes = at::read_up_to(file, limit.saturating_add(1)).map_err(fail)?;
        if bytes.len() as u64 > limit {
            return Err(TreeError::TooLarge { path: path.clone(), limit });
        }
        Ok(bytes)
    }

    /// Opens the directory, made again and unlocked if an agent took it away or locked it.
    fn open_root(&self) -> Result<OwnedFd, TreeError> {
        prepare_root(&self.root)?;
        at::open_root(&self.root).map_err(|source| TreeError::Io {
            doing: format!("open `{}`", self.root.display()),
            source,
        })
    }
}

fn prepare_root(root: &Path) -> Result<(), TreeError> {
    let fail = |doing: &str, source| {
        Err(TreeError::Io { doing: format!("{doing} `{}`", root.display()), source })
    };
    match fs::symlink_metadata(root) {
        Ok(found) if found.is_dir() => {
            if found.permissions().mode() & 0o700 == 0o700 {
                return Ok(());
            }
            fs::set_permissions(root, fs::Permissions::from_mode(0o700))
                .or_else(|source| fail("unlock", source))
        }
        Ok(_) => Err(TreeError::NotADirectory { root: root.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = fs::DirBuilder::new().mode(0o700).create(root);
            made.or_else(|source| fail("make", source))
        }
        Err(source) => fail("look at", source),
    }
}

/// Whether git would take `name` for a git directory on some system.
fn is_git_directory(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b".git")
}

/// Shows the bytes of a path in a message.
fn shown(path: &[u8]) -> String {
    TreePath::parse(path).map_or_else(|error| error.to_string(), |path| path.to_string())
}

#[cfg(test)]
mod tests;
