//! Keeps what of a turn is not taken, as a patch for people: nothing that was paid for is lost.
//!
//! A patch holds what the agent wrote beside what it was given, and nothing of the candidate that
//! was kept from it. What is taken is `delivery`'s to decide.

use std::collections::BTreeSet;

use crate::delivery::{Delivery, DropReason, Found, What};
use crate::engine::run::{git, tree_failure};
use crate::engine::{Halt, Run};
use crate::event::{BlobRef, Label};
use crate::git::{Change, Conversions, Mode, Oid, Repo, ToStore};
use crate::text::{TreePath, one_line, show_count, visible};
use crate::wall::{ManagedTree, files_of_submodules};

/// The most bytes of files that a patch holds.
const PATCH_BYTES: u64 = 10_000_000;
/// The most bytes of a patch, with what stood there before.
const PATCH_LIMIT: usize = 40_000_000;
/// How many of the paths that a patch leaves out it names.
const NAMED: usize = 50;

/// What git is asked for here.
const KEEPING: &str = "keeping what is not taken";

/// What was kept.
pub(super) struct Kept {
    /// The patch; none where nothing could be kept.
    pub(super) patch: Option<BlobRef>,
    /// How many files it leaves out.
    pub(super) left_out: usize,
}

/// Keeps all of `found` that `decided` does not take; with `all` what it takes as well.
///
/// # Errors
/// git or the journal failed.
pub(super) fn keep(
    run: &mut Run,
    workspace: &ManagedTree,
    found: &[Found],
    decided: &Delivery,
    all: bool,
    conversions: Option<&Conversions>,
) -> Result<Kept, Halt> {
    let taken: BTreeSet<&TreePath> = decided.changes().iter().map(|one| &one.path).collect();
    let never: BTreeSet<&TreePath> = decided
        .dropped()
        .iter()
        .filter(|one| matches!(one.reason, DropReason::GitInternals | DropReason::Question))
        .map(|one| &one.path)
        .collect();
    let tip = run.summary().tip.clone();
    let before = run.files_of(&tip)?;
    let is_wanted =
        |one: &&Found| !never.contains(&one.path) && (all || !taken.contains(&one.path));
    let mut wanted: Vec<&Found> = found.iter().filter(is_wanted).collect();
    // As far as there is room: what would have been taken, then changes of what was there.
    wanted.sort_by_key(|one| (!taken.contains(&one.path), !before.contains_key(&one.path)));

    let repo = run.versioned()?.repo.clone();
    let modules = workspace.submodules();
    let in_modules: Vec<TreePath> = wanted
        .iter()
        .filter(|one| modules.iter().any(|module| one.path.is_within(module)))
        .map(|one| one.path.clone())
        .collect();
    let theirs =
        files_of_submodules(&repo, &before, &in_modules).map_err(tree_failure("the submodules"))?;
    let mut part = Part::default();
    let mut room = PATCH_BYTES;
    for one in wanted {
        let old = before.get(&one.path).filter(|entry| entry.mode != Mode::Submodule);
        let old = match (old, theirs.get(&one.path)) {
            (Some(old), _) => Some((old.mode, old.oid.clone())),
            (None, Some((mode, bytes))) => {
                let oids = repo.write_blobs(&[bytes.as_slice()]).map_err(git(KEEPING))?;
                oids.into_iter().next().map(|oid| (*mode, oid))
            }
            (None, None) => None,
        };
        // What the agent was not given it does not replace either: the patch would show it.
        if old.is_some() && !workspace.was_given(&one.path) {
            part.leave_out(one);
            continue;
        }
        let (mode, bytes) = match &one.what {
            What::File { executable, bytes, .. } if *bytes <= room => {
                let Ok(bytes) = workspace.read(&one.path, room) else {
                    part.leave_out(one);
                    continue;
                };
                (if *executable { Mode::Executable } else { Mode::File }, Some(bytes))
            }
            What::Symlink { target, .. } => (Mode::Symlink, Some(target.clone())),
            What::Removed if old.is_some() => (Mode::File, None),
            _ => {
                part.leave_out(one);
                continue;
            }
        };
        room = room.saturating_sub(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64));
        part.files.push(File { path: one.path.clone(), old, mode, bytes });
    }
    if part.files.is_empty() {
        return Ok(Kept { patch: None, left_out: part.left_out });
    }
    let mut patch = part.patch(&repo, conversions).map_err(git(KEEPING))?;
    if patch.len() > PATCH_LIMIT {
        // What is long is what stood there before.
        for file in part.files.extract_if(.., |file| file.old.is_some()) {
            part.left_out += 1;
            part.named.push(file.path);
        }
        patch = part.patch(&repo, conversions).map_err(git(KEEPING))?;
    }
    let holdout = run.frozen.holdout();
    let is_exam = |file: &File| file.bytes.as_ref().is_some_and(|b| holdout.find(b).is_some());
    let label = if part.files.iter().any(is_exam) { Label::Holdout } else { Label::Internal };
    let text = [part.head().into_bytes(), patch].concat();
    let patch = run.recorder.put(label, text)?;
    Ok(Kept { patch: Some(patch), left_out: part.left_out })
}

/// What a patch is made of.
#[derive(Default)]
struct Part {
    files: Vec<File>,
    left_out: usize,
    named: Vec<TreePath>,
}

/// One path of a patch.
struct File {
    path: TreePath,
    /// What the candidate has there.
    old: Option<(Mode, Oid)>,
    mode: Mode,
    /// What is there now; none where it is gone.
    bytes: Option<Vec<u8>>,
}

impl Part {
    fn leave_out(&mut self, found: &Found) {
        self.left_out += match found.what {
            What::Directory { files, .. } | What::Unlisted { files } => files,
            _ => 1,
        };
        self.named.push(found.path.clone());
    }

    /// Returns the lines before the patch that say what it leaves out, which git passes over.
    fn head(&self) -> String {
        if self.left_out == 0 {
            return String::new();
        }
        let mut head = format!(
            "# Not in this patch, which can't hold it or would be too large: {} of the agent's files.\n",
            show_count(self.left_out)
        );
        for path in self.named.iter().take(NAMED) {
            head.push_str(&format!("#   {}\n", one_line(&visible(&path.to_string()), 200)));
        }
        if self.named.len() > NAMED {
            head.push_str("#   ...\n");
        }
        head.push('\n');
        head
    }

    /// Returns the patch between two trees that hold these paths alone.
    fn patch(
        &self,
        repo: &Repo,
        conversions: Option<&Conversions>,
    ) -> Result<Vec<u8>, crate::git::GitError> {
        let to_store = self.files.iter().filter_map(|file| {
            let before = file.old.as_ref().filter(|(mode, _)| mode.is_file()).map(|(_, oid)| oid);
            Some(ToStore {
                path: &file.path,
                mode: file.mode,
                before,
                bytes: file.bytes.as_deref()?,
            })
        });
        let to_store: Vec<ToStore<'_>> = to_store.collect();
        let mut written = Vec::new();
        for (one, stored) in to_store.iter().zip(repo.store(conversions, &to_store)?) {
            // What git can't convert is kept as it is.
            written.extend(match stored {
                Ok(oid) => vec![oid],
                Err(_) => repo.write_blobs(&[one.bytes])?,
            });
        }
        let mut written = written.into_iter();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for file in &self.files {
            let path = || file.path.clone();
            if let Some((mode, oid)) = &file.old {
                before.push(Change::Set { path: path(), mode: *mode, oid: oid.clone() });
            }
            if file.bytes.is_some()
                && let Some(oid) = written.next()
            {
                after.push(Change::Set { path: path(), mode: file.mode, oid });
            }
        }
        let before = repo.write_tree(None, &before)?;
        let after = repo.write_tree(None, &after)?;
        repo.patch(&before, &after)
    }
}
