//! What can go wrong between the factory and git.

use std::io;
use std::path::{Path, PathBuf};

use super::Oid;
use crate::text::plural;

/// Why git did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// git itself could not be started.
    #[error("git could not be started: {why}{}", if *is_missing { "; install git 2.31 or newer" } else { "" })]
    NotStarted {
        /// What the system said.
        why: String,
        /// Whether there is no git, rather than something that keeps it from starting.
        is_missing: bool,
    },
    /// The directory lies in no repository.
    #[error("`{}` is not in a git repository; go to the product's checkout, or run `git init`", dir.display())]
    NotARepository {
        /// The directory.
        dir: PathBuf,
    },
    /// The repository has no checkout.
    #[error("`{}` is in a bare repository or a git directory; the factory needs a checkout", dir.display())]
    NoCheckout {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory of a product is none of the checkout that it should lie in, or has a name that is no text.
    #[error("`{}` is no directory of the repository that could be named; give its own path, without links, in UTF-8", dir.display())]
    NoSubtree {
        /// The directory.
        dir: PathBuf,
    },
    /// git exited with a failure.
    #[error("`git {command}` {ending}: {stderr}")]
    Failed {
        /// The subcommand.
        command: String,
        /// How it ended.
        ending: String,
        /// What it said on stderr, shortened.
        stderr: String,
    },
    /// git printed something that could not be read.
    #[error("`git {command}` answered `{answer}`, which makes no sense here")]
    Answer {
        /// The subcommand.
        command: String,
        /// What it printed, shortened.
        answer: String,
    },
    /// An object is not there: a shallow or partial clone, or a damaged repository.
    #[error(
        "object {oid} is not in this repository; a partial clone is made whole by `git fetch --refetch --no-filter`, a shallow one by `git fetch --unshallow`, and `git fsck` tells of damage"
    )]
    Missing {
        /// The object.
        oid: String,
    },
    /// Objects of a partial clone could not be had from where they are.
    #[error(
        "{} of commit {commit} {} still at the remote `{remote}`, for this is a partial clone, and can't be fetched from there: {why}; fetch everything with `git fetch --refetch --no-filter`",
        plural(*count, "object"),
        if *count == 1 { "is" } else { "are" }
    )]
    Promised {
        /// How many.
        count: usize,
        /// The commit, shortened.
        commit: String,
        /// Where they are.
        remote: String,
        /// What git said.
        why: String,
    },
    /// A branch has the name of a directory of branches.
    #[error(
        "the branch `{name}` is in the way of `{name}/...`, the branches of runs; rename it, for example with `git branch -m {name} old-{name}`"
    )]
    InTheWay {
        /// The branch.
        name: &'static str,
    },
    /// A ref is not where it was expected, and was left alone.
    #[error(
        "`{name}` is at {}, not at {} as expected; something else moved it",
        shown(found),
        shown(expected)
    )]
    Moved {
        /// The ref.
        name: String,
        /// Where it should have been; none if it should not have existed.
        expected: Option<Oid>,
        /// Where it is; none if it does not exist.
        found: Option<Oid>,
    },
    /// A fast-forward was refused, and the checkout is as it was.
    #[error("the checkout can't be fast-forwarded to {to}: {why}")]
    NotFastForwarded {
        /// The commit.
        to: Oid,
        /// What git said.
        why: String,
    },
    /// Reading or writing beside git failed.
    #[error("can't {doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl GitError {
    /// Returns what makes an error of one that came of writing at `path`.
    pub(super) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let doing = format!("write `{}`", path.display());
        move |source| Self::Io { doing, source }
    }

    /// Returns whether what was asked for makes no sense, rather than git or the disk failing.
    pub fn is_request(&self) -> bool {
        matches!(
            self,
            Self::NotARepository { .. }
                | Self::NoCheckout { .. }
                | Self::NoSubtree { .. }
                | Self::InTheWay { .. }
        )
    }
}

fn shown(oid: &Option<Oid>) -> &str {
    oid.as_ref().map_or("nothing", Oid::short)
}
