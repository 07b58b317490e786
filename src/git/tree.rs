//! Trees as values: paths with modes and object ids.

use std::collections::BTreeMap;

use super::{GitError, Oid};
use crate::text::TreePath;

/// What a tree has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// A file.
    File,
    /// A file that its owner may execute.
    Executable,
    /// A symbolic link; the blob is what it points to.
    Symlink,
    /// A commit of another repository.
    Submodule,
}

impl Mode {
    /// Returns whether it is a file, executable or not.
    pub fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Executable)
    }

    /// Returns git's six digits.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
            Self::Submodule => "160000",
        }
    }

    /// Reads git's digits; old repositories have 100664 too.
    pub(super) fn from_digits(digits: &[u8]) -> Option<Self> {
        match digits {
            b"100755" => Some(Self::Executable),
            b"120000" => Some(Self::Symlink),
            b"160000" => Some(Self::Submodule),
            _ if digits.starts_with(b"100") => Some(Self::File),
            _ => None,
        }
    }
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// What it is.
    pub mode: Mode,
    /// Its blob; for a submodule its commit.
    pub oid: Oid,
}

/// A whole tree, directories flattened, sorted by the bytes of the paths.
pub type Tree = BTreeMap<TreePath, TreeEntry>;

/// One difference to apply to a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Puts an entry at a path; a directory or file that is in its way goes.
    Set {
        /// Where.
        path: TreePath,
        /// What it is.
        mode: Mode,
        /// Its blob; for a submodule its commit.
        oid: Oid,
    },
    /// Takes the entry at a path away; nothing happens where there is none.
    Remove {
        /// Where.
        path: TreePath,
    },
}

/// Reads what `ls-tree -r -z --full-tree` prints.
pub(super) fn parse_listing(bytes: &[u8]) -> Result<Tree, GitError> {
    let mut tree = Tree::new();
    for record in bytes.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
        let (path, entry) = parse_record(record).ok_or_else(|| GitError::Answer {
            command: "ls-tree".into(),
            answer: crate::text::one_line(&String::from_utf8_lossy(record), 120),
        })?;
        tree.insert(path, entry);
    }
    Ok(tree)
}

fn parse_record(record: &[u8]) -> Option<(TreePath, TreeEntry)> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let (head, path) = (&record[..tab], &record[tab + 1..]);
    let mut words = head.split(|byte| *byte == b' ');
    let mode = Mode::from_digits(words.next()?)?;
    let _kind = words.next()?;
    let oid = Oid::parse(std::str::from_utf8(words.next()?).ok()?).ok()?;
    Some((TreePath::parse(path).ok()?, TreeEntry { mode, oid }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_keeps_tabs_and_line_feeds_in_names() {
        let oid = "a".repeat(40);
        let listing = format!("100644 blob {oid}\ta\tb\nc\x00120000 blob {oid}\td/e\0");
        let tree = parse_listing(listing.as_bytes()).unwrap();
        let modes: Vec<_> = tree.iter().map(|(path, e)| (path.as_bytes(), e.mode)).collect();
        assert_eq!(modes, [(&b"a\tb\nc"[..], Mode::File), (b"d/e", Mode::Symlink)]);
    }

    #[test]
    fn a_hand_made_tree_that_climbs_out_is_refused() {
        let listing = format!("100644 blob {}\ta/../../b\0", "a".repeat(40));
        assert!(parse_listing(listing.as_bytes()).is_err());
    }
}
