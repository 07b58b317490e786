//! What a delivery came to: accepted, unchanged or refused, and what was left out of it.
//!
//! Each reason has a class, one word for the record that never changes, and a sentence for people
//! and the agent.

use std::fmt;

use super::{Found, OtherKind};
use crate::text::TreePath;

/// What comes of one agent turn. All lists are sorted by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing is left to apply.
    Unchanged {
        /// What the agent did change, and why it does not count.
        dropped: Vec<Dropped>,
    },
    /// There is something to apply.
    Accepted {
        /// What becomes the next candidate; never empty. Files and symbolic links with their
        /// blobs, and removals.
        changes: Vec<Found>,
        /// What is left out.
        dropped: Vec<Dropped>,
    },
    /// The whole turn is refused; the candidate stays as it was.
    Refused {
        /// Why.
        refusal: Refusal,
        /// What would have been left out anyway.
        dropped: Vec<Dropped>,
    },
}

impl Delivery {
    /// Returns what was left out, sorted by path.
    pub fn dropped(&self) -> &[Dropped] {
        match self {
            Self::Unchanged { dropped }
            | Self::Accepted { dropped, .. }
            | Self::Refused { dropped, .. } => dropped,
        }
    }

    /// Returns what is to be applied, sorted by path; empty unless the delivery is accepted.
    pub fn changes(&self) -> &[Found] {
        match self {
            Self::Accepted { changes, .. } => changes,
            Self::Unchanged { .. } | Self::Refused { .. } => &[],
        }
    }

    /// Returns the class: `unchanged`, `accepted` or `refused`.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unchanged { .. } => "unchanged",
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
        }
    }
}

/// One path that is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Where.
    pub path: TreePath,
    /// Why.
    pub reason: DropReason,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path, self.reason)
    }
}

/// Why one path is not applied while the rest of the turn is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DropReason {
    /// The policy protects the path, or a directory that holds protected paths would be replaced.
    Protected,
    /// The person named the paths that may be written, and this is none of them.
    NotInWriteList,
    /// Some component of the path is git's own directory, on this or another file system.
    GitInternals,
    /// The file is too large.
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The most that a file may have.
        limit: u64,
    },
    /// Git can't hold what is there.
    NotAFile {
        /// What it is.
        kind: OtherKind,
    },
    /// A new path that differs from another only by what some file systems ignore.
    CaseCollision {
        /// The path that stays.
        with: TreePath,
    },
    /// A new path that can't stand in a tree beside another: one is a file where the other needs
    /// a directory.
    Blocked {
        /// The path that stays: a file, a link or a submodule.
        by: TreePath,
    },
    /// A symbolic link to a protected path, to one below it or to a directory that holds one.
    LinkToProtected {
        /// What the link says.
        target: Vec<u8>,
    },
    /// A symbolic link with `..` after a name: where it leads depends on other links.
    WindingLink {
        /// What the link says.
        target: Vec<u8>,
    },
    /// The agent's question to a person: it is read, not delivered.
    Question,
    /// The base keeps this file in git's large file storage, where the factory can't write.
    LargeFileStorage,
}

impl DropReason {
    /// Returns the class, one word in snake case that never changes.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::NotInWriteList => "not_in_write_list",
            Self::GitInternals => "git_internals",
            Self::TooLarge { .. } => "too_large",
            Self::NotAFile { .. } => "not_a_file",
            Self::CaseCollision { .. } => "case_collision",
            Self::Blocked { .. } => "blocked",
            Self::LinkToProtected { .. } => "link_to_protected",
            Self::WindingLink { .. } => "winding_link",
            Self::Question => "question",
            Self::LargeFileStorage => "large_file_storage",
        }
    }
}

impl fmt::Display for DropReason {
    /// Writes a sentence that tells the agent why, and what to do instead if there is something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protected => f.write_str("The path is protected; leave it as it is."),
            Self::NotInWriteList => {
                f.write_str("The path is none of those that may be written; put the change there.")
            }
            Self::GitInternals => f.write_str("Git's own files are not delivered."),
            Self::TooLarge { bytes, limit } => {
                write!(f, "The file has {bytes} bytes, and {limit} is the limit; make it smaller.")
            }
            Self::NotAFile { kind } => {
                let kind = match kind {
                    OtherKind::Fifo => "a named pipe",
                    OtherKind::Socket => "a socket",
                    OtherKind::Device => "a device",
                    OtherKind::Unreadable => "unreadable",
                };
                write!(f, "It is {kind}; only files and symbolic links are delivered.")
            }
            Self::CaseCollision { with } => write!(
                f,
                "On some file systems the name is the same as `{with}`; choose another name."
            ),
            Self::Blocked { by } => {
                write!(f, "`{by}` stays, and both can't exist; choose another path.")
            }
            Self::LinkToProtected { target } => {
                write!(f, "The link leads to protected files (`{}`).", shown(target))
            }
            Self::WindingLink { target } => write!(
                f,
                "Where the link leads can't be told (`{}`); put `..` at its beginning only.",
                shown(target)
            ),
            Self::Question => f.write_str("The question was read; it is not part of the product."),
            Self::LargeFileStorage => f.write_str(
                "The file is kept in large file storage, which the factory can't write; leave it \
                 as it is.",
            ),
        }
    }
}

/// Why a whole turn is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A symbolic link that leads out of the tree.
    LinkOutOfTree {
        /// The link.
        path: TreePath,
        /// What it says.
        target: Vec<u8>,
    },
    /// More paths are written, or more are removed, than a turn may; a move counts once.
    TooManyFiles {
        /// How many.
        count: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// The files are too large together.
    TooManyBytes {
        /// How much they hold.
        bytes: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// The workspace holds more than the factory looks at.
    ScanTruncated,
    /// What the agent said or brought back holds text of the exam.
    Contaminated,
}

impl Refusal {
    /// Returns the class, one word in snake case that never changes.
    pub fn class(&self) -> &'static str {
        match self {
            Self::LinkOutOfTree { .. } => "link_out_of_tree",
            Self::TooManyFiles { .. } => "too_many_files",
            Self::TooManyBytes { .. } => "too_many_bytes",
            Self::ScanTruncated => "scan_truncated",
            Self::Contaminated => "contaminated",
        }
    }
}

impl fmt::Display for Refusal {
    /// Writes a sentence that tells the agent why, and the next move.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkOutOfTree { path, target } => write!(
                f,
                "The link `{path}` leads out of the tree (`{}`); remove it, or name it in \
                 `.gitignore` if it belongs to a tool.",
                shown(target)
            ),
            Self::TooManyFiles { count, limit } => write!(
                f,
                "The turn changes {count} files, and {limit} is the limit; work in smaller steps, \
                 and name what tools generate in `.gitignore`."
            ),
            Self::TooManyBytes { bytes, limit } => write!(
                f,
                "The turn brings {bytes} bytes, and {limit} is the limit; leave large files out, \
                 and name what tools generate in `.gitignore`."
            ),
            Self::ScanTruncated => f.write_str(
                "The workspace holds more changed files than are looked at; remove what does not \
                 belong to the product, and name what tools generate in `.gitignore`.",
            ),
            Self::Contaminated => f.write_str(
                "What was said or brought back in this turn holds text by which the product is \
                 judged, and which is not to be known; work from the specs and the feedback alone.",
            ),
        }
    }
}

/// Shows a link's target as text that is safe on a terminal, cut where it is long.
fn shown(target: &[u8]) -> String {
    crate::text::one_line(&String::from_utf8_lossy(target), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_reads_as_a_sentence_beside_its_path() {
        let dropped = Dropped {
            path: TreePath::parse("big.bin").unwrap(),
            reason: DropReason::TooLarge { bytes: 9, limit: 5 },
        };
        assert_eq!(
            dropped.to_string(),
            "`big.bin`: The file has 9 bytes, and 5 is the limit; make it smaller."
        );
    }

    #[test]
    fn a_target_cannot_command_the_terminal() {
        let refusal = Refusal::LinkOutOfTree {
            path: TreePath::parse("l").unwrap(),
            target: b"/\x1b[2J\xff".to_vec(),
        };
        assert!(!refusal.to_string().contains('\u{1b}'));
    }
}
