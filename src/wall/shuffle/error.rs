//! What can keep the scenarios from being hidden or put back.

use std::io;
use std::path::PathBuf;

use super::Owner;
use crate::clock::Timestamp;

/// Why the scenarios were not hidden or not put back. Whatever it is, a complete copy exists: in
/// its place, or in the vault.
#[derive(Debug, thiserror::Error)]
pub enum ShuffleError {
    /// There is no directory to hide.
    #[error("there is no scenarios directory `{}` to hide", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A symbolic link stands in the directory's place.
    #[error(
        "`{}` is a symbolic link; name the directory that it leads to with --scenarios-dir",
        path.display()
    )]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// Something else stands there.
    #[error("`{}` is no directory", path.display())]
    NotADirectory {
        /// What was named.
        path: PathBuf,
    },
    /// The directory holds the checkout, or is it.
    #[error(
        "`{}` holds the whole checkout; scenarios need a directory of their own",
        path.display()
    )]
    HoldsCheckout {
        /// What was named.
        path: PathBuf,
    },
    /// The vault would lie where the agent works.
    #[error(
        "the vault `{}` lies inside `{}`; set XDG_STATE_HOME to a place outside",
        vault.display(), of.display()
    )]
    VaultInside {
        /// The vault.
        vault: PathBuf,
        /// The checkout or the scenarios' directory.
        of: PathBuf,
    },
    /// The directory holds something that can't be hidden.
    #[error("`{}` {why}, and can't be hidden; move it elsewhere", path.display())]
    Unsupported {
        /// What.
        path: PathBuf,
        /// What is the matter with it.
        why: &'static str,
    },
    /// Nothing is hidden.
    #[error("nothing is hidden from `{}`", path.display())]
    NotHidden {
        /// The place of the scenarios.
        path: PathBuf,
    },
    /// They are hidden already.
    #[error(
        "`{}` is already hidden by process {} since {since}; restore it first",
        path.display(), owner.pid()
    )]
    AlreadyHidden {
        /// The place of the scenarios.
        path: PathBuf,
        /// On whose behalf.
        owner: Owner,
        /// Since when.
        since: Timestamp,
    },
    /// They are hidden, and whoever hid them is dead.
    #[error(
        "`{}` was hidden at {since} by process {}, which is dead; run `shuffle-scenarios recover`",
        path.display(), owner.pid()
    )]
    Unrecovered {
        /// The place of the scenarios.
        path: PathBuf,
        /// On whose behalf.
        owner: Owner,
        /// Since when.
        since: Timestamp,
    },
    /// They are hidden by someone who still runs, so that it is not time to recover.
    #[error(
        "`{}` is hidden by process {}, which still runs (since {since}); `restore` puts it back \
         all the same",
        path.display(), owner.pid()
    )]
    Held {
        /// The place of the scenarios.
        path: PathBuf,
        /// On whose behalf.
        owner: Owner,
        /// Since when.
        since: Timestamp,
    },
    /// Another call is at work on the same checkout.
    #[error("another shuffle is at work on this checkout (it holds `{}`); try again", lock.display())]
    Busy {
        /// The lock.
        lock: PathBuf,
    },
    /// The scenarios were written to meanwhile.
    #[error("`{}` changed while it was being hidden, and stays; try again", path.display())]
    Changed {
        /// The place of the scenarios.
        path: PathBuf,
    },
    /// The place was hidden, and something of it could not be removed from the checkout.
    #[error("`{}` could not be removed; the vault holds all of it, `restore` puts it back", path.display())]
    StillThere {
        /// What is left, with holdout text in it.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The vault's copy is not what was hidden.
    #[error(
        "the hidden copy `{}` is not what was hidden, and nothing was touched; put what is right \
         of it, or git's, to `{}`, and remove that copy and `{}`",
        copy.display(), place.display(), journal.display()
    )]
    Damaged {
        /// The copy.
        copy: PathBuf,
        /// Where the scenarios belong.
        place: PathBuf,
        /// What says that they are hidden.
        journal: PathBuf,
    },
    /// The vault holds a copy, and nothing says of what.
    #[error(
        "the journal of `{}` is gone, so that nothing says whether that copy is whole; nothing was \
         touched: look at it, and move it to `{}`, or away",
        copy.display(), place.display()
    )]
    JournalLost {
        /// The copy.
        copy: PathBuf,
        /// Where the scenarios belong by the settings.
        place: PathBuf,
    },
    /// The directory above the scenarios is now reached by a link.
    #[error(
        "`{}` is now reached through a symbolic link, and nothing was touched; put the directory \
         back, then restore",
        parent.display()
    )]
    ParentMoved {
        /// The directory above.
        parent: PathBuf,
    },
    /// The journal can't be read, or is not what was written.
    #[error(
        "the shuffle's journal `{}` can't be used, and nothing was touched; look at the copy \
         beside it, move that to its place, and remove the journal",
        path.display()
    )]
    Journal {
        /// The journal.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The system said no.
    #[error("can't {doing} `{}`", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

impl ShuffleError {
    /// Returns whether the request made no sense, rather than that something failed or stands in
    /// the way.
    pub fn is_request(&self) -> bool {
        match self {
            Self::Missing { .. }
            | Self::Link { .. }
            | Self::NotADirectory { .. }
            | Self::HoldsCheckout { .. }
            | Self::VaultInside { .. }
            | Self::Unsupported { .. }
            | Self::NotHidden { .. } => true,
            Self::AlreadyHidden { .. }
            | Self::Unrecovered { .. }
            | Self::Held { .. }
            | Self::Busy { .. }
            | Self::Changed { .. }
            | Self::StillThere { .. }
            | Self::Damaged { .. }
            | Self::JournalLost { .. }
            | Self::ParentMoved { .. }
            | Self::Journal { .. }
            | Self::Io { .. } => false,
        }
    }
}
