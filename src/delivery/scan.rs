//! The difference between a workspace and the candidate that it was set to.

use crate::text::TreePath;

/// Everything that differs, sorted by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Changed, new and removed paths; of floods of new ones a [`What::Directory`] or a
    /// [`What::Unlisted`] stands for what is not listed one by one.
    pub found: Vec<Found>,
    /// New paths that the workspace's `.gitignore` files name; a directory stands for all that it
    /// holds. They are not delivered.
    pub ignored: Vec<TreePath>,
    /// Whether there was more than the scan was told to look at; `found` is then incomplete.
    pub truncated: bool,
}

/// One path that differs from the candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: TreePath,
    /// What is there now.
    pub what: What,
}

/// What stands at a path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A regular file with other bytes or another mode than the candidate's, or a new one.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Its size.
        bytes: u64,
        /// Its git blob id, as hexadecimal digits.
        blob: String,
    },
    /// A symbolic link.
    Symlink {
        /// What it points to, as stored.
        target: Vec<u8>,
        /// Its git blob id, as hexadecimal digits.
        blob: String,
    },
    /// A new directory that holds more new files than are listed one by one.
    Directory {
        /// How many, at any depth.
        files: usize,
        /// What they hold together.
        bytes: u64,
    },
    /// A new file, and more of them in the rest of the tree, which are counted and not listed.
    Unlisted {
        /// How many, this one included.
        files: usize,
    },
    /// Nothing: the candidate's file is gone.
    Removed,
    /// Something that git can't hold.
    Other(OtherKind),
}

/// Kinds of things that git can't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherKind {
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
    /// A file or directory that could not be read.
    Unreadable,
}
