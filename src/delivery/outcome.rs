//! What a delivery came to: accepted, unchanged or refused, and what was left out of it.
//!
//! Each reason has a class, one word for the record that never changes, and a sentence for people
//! and the agent.

use std::fmt;

use super::{Found, OtherKind};
use crate::text::{TreePath, one_line, show_count, show_size};

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

/// One path that is not applied, or a directory with all that is new in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Where.
    pub path: TreePath,
    /// Why.
    pub reason: DropReason,
}

impl Dropped {
    /// Returns the path as it is told, with a slash after a directory.
    pub fn shown_path(&self) -> String {
        match self.reason {
            DropReason::Generated { .. } => format!("{}/", self.path),
            _ => self.path.to_string(),
        }
    }

    /// Returns how many files the entry stands for, where it stands for more than its path says.
    pub fn files(&self) -> Option<usize> {
        match self.reason {
            DropReason::Generated { files, .. } | DropReason::Unlisted { files, .. } => Some(files),
            _ => None,
        }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.shown_path(), self.reason)
    }
}

/// Why one path is not applied while the rest of the turn is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DropReason {
    /// The policy protects the path, or a directory that holds protected paths would be replaced.
    Protected,
    /// The person named the paths that may be written, and this is none of them.
    NotInWriteList,
    /// The path lies outside of the product, in the repository that holds it, and the person did not name it.
    OutsideProduct {
        /// The product's directory.
        product: String,
    },
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
    /// The path lies in a submodule: its files are another repository's.
    InSubmodule {
        /// The submodule.
        module: TreePath,
    },
    /// A filter of the repository, a program, makes the file.
    Filtered,
    /// Git can't convert the file as its attributes ask.
    NotStored {
        /// What git says.
        why: String,
    },
    /// The path is new, and lies in what a set-up command makes.
    Output {
        /// The command's output.
        output: TreePath,
    },
    /// A symbolic link that leads out of the tree.
    LinkOutOfTree {
        /// What the link says.
        target: Vec<u8>,
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
    /// A new directory that looks like a tool's output, in a turn beyond a limit.
    Generated {
        /// How many new files it holds.
        files: usize,
    },
    /// A path beyond the number of those that a turn may bring.
    BeyondFiles {
        /// The most that it may.
        limit: usize,
    },
    /// A file that no longer fits in what a turn may bring.
    BeyondBytes {
        /// The most that it may.
        limit: u64,
    },
    /// Files beyond all of that, which are counted and not named.
    Unlisted {
        /// How many, the one at the path included.
        files: usize,
    },
    /// A removal that may be half a move, whose other half is left out.
    HalfAMove,
}

impl DropReason {
    /// Returns the class, one word in snake case that never changes.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::NotInWriteList => "not_in_write_list",
            Self::OutsideProduct { .. } => "outside_product",
            Self::GitInternals => "git_internals",
            Self::TooLarge { .. } => "too_large",
            Self::NotAFile { .. } => "not_a_file",
            Self::CaseCollision { .. } => "case_collision",
            Self::Blocked { .. } => "blocked",
            Self::InSubmodule { .. } => "in_submodule",
            Self::Filtered => "filtered",
            Self::NotStored { .. } => "not_stored",
            Self::Output { .. } => "output",
            Self::LinkOutOfTree { .. } => "link_out_of_tree",
            Self::LinkToProtected { .. } => "link_to_protected",
            Self::WindingLink { .. } => "winding_link",
            Self::Question => "question",
            Self::LargeFileStorage => "large_file_storage",
            Self::Generated { .. } => "generated",
            Self::BeyondFiles { .. } => "too_many_files",
            Self::BeyondBytes { .. } => "too_many_bytes",
            Self::Unlisted { .. } => "unlisted",
            Self::HalfAMove => "half_a_move",
        }
    }

    /// Returns what all paths of this class in a turn have in common, and what to do instead if
    /// there is something, in whole sentences.
    pub fn rule(&self) -> String {
        match self {
            Self::Protected => "The path is protected; leave it as it is.".to_owned(),
            Self::NotInWriteList => {
                "The path is none of those that may be written; put the change there.".to_owned()
            }
            Self::OutsideProduct { product } => format!(
                "The path lies outside of the product `{product}`; leave it as it is, and do \
                 without the change. Only a person can allow it, by `write` in the product's \
                 settings."
            ),
            Self::GitInternals => "Git's own files are not delivered.".to_owned(),
            Self::TooLarge { limit, .. } => format!(
                "A file may have at most {} (`delivery.max_file_size`); make it smaller, or name \
                 it in `.gitignore` if a tool makes it.",
                show_size(*limit)
            ),
            Self::NotAFile { .. } => "Only files and symbolic links are delivered.".to_owned(),
            Self::CaseCollision { .. } => {
                "On some file systems the name is the same as another; choose another name."
                    .to_owned()
            }
            Self::Blocked { .. } => {
                "A file stands in the way of the other, and both can't exist; choose another path."
                    .to_owned()
            }
            Self::InSubmodule { .. } => {
                "The path lies in a submodule, which is a repository of its own and not delivered; \
                 do without the change, or ask a person for it in `QUESTION.md`."
                    .to_owned()
            }
            Self::Filtered => {
                "A filter of git's, a program of the repository's people, makes the file, and is not \
                 run on what an agent wrote; leave it as it is, or ask for the change in `QUESTION.md`."
                    .to_owned()
            }
            Self::NotStored { .. } => {
                "Git can't store the file as `.gitattributes` asks; write it in the encoding that \
                 is named there."
                    .to_owned()
            }
            Self::Output { .. } => {
                "A set-up command (`prepare`) makes what is there, and makes it anew; put the \
                 change elsewhere, or into what the command reads."
                    .to_owned()
            }
            Self::LinkOutOfTree { .. } => {
                "The link leads out of the tree; let it lead to a file of the tree by a relative \
                 path, or name it in `.gitignore` if a tool made it."
                    .to_owned()
            }
            Self::LinkToProtected { .. } => {
                "The link leads to protected files; use a copy, or do without it.".to_owned()
            }
            Self::WindingLink { .. } => {
                "Where the link leads can't be told; put `..` at its beginning only.".to_owned()
            }
            Self::Question => "The question was read; it is not part of the product.".to_owned(),
            Self::LargeFileStorage => {
                "The file is kept in large file storage, which the factory can't write; leave it \
                 as it is."
                    .to_owned()
            }
            Self::Generated { .. } => {
                "The turn is beyond a limit, and the new directory looks like a tool's output; \
                 add it to `.gitignore`, or bring it in several turns if it is the product's own."
                    .to_owned()
            }
            Self::BeyondFiles { limit } => format!(
                "A turn brings at most {} files (`delivery.max_files`): changes of known files \
                 first, then new ones by path; name in `.gitignore` what tools make, and bring \
                 the rest in the next turn.",
                show_count(*limit)
            ),
            Self::BeyondBytes { limit } => format!(
                "A turn brings at most {} (`delivery.max_total_size`): changes of known files \
                 first, then what new ones fit; name in `.gitignore` what tools make, and bring \
                 the rest in the next turn.",
                show_size(*limit)
            ),
            Self::Unlisted { .. } => {
                "There are more new files than are listed; name in `.gitignore` what tools make."
                    .to_owned()
            }
            Self::HalfAMove => {
                "A new file of this name was left out, and the file may have been moved there; \
                 remove it in the turn that brings the other."
                    .to_owned()
            }
        }
    }

    /// Returns what is to be said of this path alone, in a sentence; none where the rule says all.
    pub fn fact(&self) -> Option<String> {
        match self {
            Self::TooLarge { bytes, .. } => Some(format!("It has {}.", show_size(*bytes))),
            Self::NotAFile { kind } => {
                let kind = match kind {
                    OtherKind::Fifo => "a named pipe",
                    OtherKind::Socket => "a socket",
                    OtherKind::Device => "a device",
                    OtherKind::Unreadable => "unreadable",
                };
                Some(format!("It is {kind}."))
            }
            Self::CaseCollision { with: other } | Self::Blocked { by: other } => {
                Some(format!("`{other}` stays."))
            }
            Self::InSubmodule { module } => Some(format!("The submodule is `{module}`.")),
            Self::NotStored { why } => Some(format!("Git says: {}.", one_line(why, 200))),
            Self::Output { output } => Some(format!("The output is `{output}`.")),
            Self::LinkOutOfTree { target }
            | Self::LinkToProtected { target }
            | Self::WindingLink { target } => Some(format!("It leads to `{}`.", shown(target))),
            Self::Generated { files } => Some(format!("{} in it are new.", files_of(*files))),
            Self::Unlisted { files } => Some(format!("With it {} are left out.", files_of(*files))),
            Self::Protected
            | Self::NotInWriteList
            | Self::OutsideProduct { .. }
            | Self::GitInternals
            | Self::Question
            | Self::LargeFileStorage
            | Self::Filtered
            | Self::BeyondFiles { .. }
            | Self::BeyondBytes { .. }
            | Self::HalfAMove => None,
        }
    }
}

impl fmt::Display for DropReason {
    /// Writes sentences that tell the agent why, and what to do instead if there is something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fact) = self.fact() {
            write!(f, "{fact} ")?;
        }
        f.write_str(&self.rule())
    }
}

/// Why a whole turn is refused: it can't be told from an attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The workspace holds more than the factory looks at, so that nobody knows what else is there.
    ScanTruncated,
    /// What the agent said or brought back holds text of the exam.
    Contaminated,
}

impl Refusal {
    /// Returns the class, one word in snake case that never changes.
    pub fn class(&self) -> &'static str {
        match self {
            Self::ScanTruncated => "scan_truncated",
            Self::Contaminated => "contaminated",
        }
    }
}

impl fmt::Display for Refusal {
    /// Writes a sentence that tells the agent why, and the next move.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ScanTruncated => {
                "The workspace holds more than is looked at; remove what does not belong to the \
                 product, and name what tools generate in `.gitignore`."
            }
            Self::Contaminated => {
                "What was said or brought back in this turn holds text by which the product is \
                 judged, and which is not to be known; work from the specs and the feedback alone."
            }
        })
    }
}

fn files_of(count: usize) -> String {
    format!("{} {}", show_count(count), if count == 1 { "file" } else { "files" })
}

/// Shows a link's target as text that is safe on a terminal, cut where it is long.
fn shown(target: &[u8]) -> String {
    crate::text::one_line(&String::from_utf8_lossy(target), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(path: &str, reason: DropReason) -> Dropped {
        Dropped { path: TreePath::parse(path).unwrap(), reason }
    }

    #[test]
    fn a_reason_reads_as_sentences_beside_its_path() {
        assert_eq!(
            dropped("big.bin", DropReason::TooLarge { bytes: 9_000_000, limit: 5_000_000 })
                .to_string(),
            "`big.bin`: It has 9 MB. A file may have at most 5 MB (`delivery.max_file_size`); make \
             it smaller, or name it in `.gitignore` if a tool makes it."
        );
    }

    #[test]
    fn a_directory_is_one_entry_that_says_how_much_it_holds() {
        let venv = dropped("venv", DropReason::Generated { files: 1_204 });
        assert!(venv.to_string().starts_with("`venv/`: 1,204 files in it are new. "), "{venv}");
        assert_eq!(venv.files(), Some(1_204));
    }

    #[test]
    fn a_target_cannot_command_the_terminal() {
        let reason = DropReason::LinkOutOfTree { target: b"/\x1b[2J\xff".to_vec() };
        assert!(!reason.to_string().contains('\u{1b}'));
    }
}
