//! Takes what the workspace holds, as far as the policy lets it in, as the next candidate.

use std::collections::BTreeSet;

use crate::convergence::TurnClass;
use crate::delivery::{Candidate, Delivery, Dropped, Found, Policy, Refusal, Scan, What, decide};
use crate::engine::handlers::agent::turn_paths;
use crate::engine::keeping::{Kept, keep};
use crate::engine::outputs::without_outputs;
use crate::engine::receipt;
use crate::engine::run::{git, oid, tree_failure};
use crate::engine::{Failure, Halt, Handler, Run};
use crate::event::{DeliveryDetail, DroppedEntry, DroppedKind, Label, RunEvent, TurnDelivery};
use crate::git::{Change, Conversions, Mode, Oid, Repo, ToStore, Tree, blob_id};
use crate::pipeline::{Node, NodeOutcome};
use crate::text::{TreePath, plural};
use crate::wall::{ManagedTree, ScanLimits};

/// See the module.
pub(super) struct Deliver;

/// The longest question that is passed on, in bytes.
const QUESTION_LIMIT: u64 = 20_000;

impl Handler<Run> for Deliver {
    fn kind(&self) -> &'static str {
        "deliver"
    }

    fn handle(&self, node: &Node, run: &mut Run) -> Result<NodeOutcome, Halt> {
        let turn = run.summary().turns.last().map_or(0, |turn| turn.turn);
        let known = run.summary().turns.last().and_then(|turn| turn.delivery.clone());
        let delivery = match known {
            Some(delivery) => {
                // The event was written, and the branch perhaps not moved.
                let before = run.parent_of_tip()?;
                run.sync_branch(&before)?;
                delivery
            }
            None => deliver(node, run, turn)?,
        };
        Ok(NodeOutcome::labelled(match delivery {
            TurnDelivery::Accepted { .. } => "changed",
            TurnDelivery::Unchanged { .. } | TurnDelivery::Refused { .. } => "unchanged",
        }))
    }
}

fn deliver(node: &Node, run: &mut Run, turn: u32) -> Result<TurnDelivery, Halt> {
    let workspace = open_workspace(run)?;
    take_question(node, run, &workspace, turn)?;
    let class = run.summary().turns.last().and_then(|turn| turn.class.clone());
    let class = class.as_deref().and_then(TurnClass::parse);
    if !class.is_some_and(TurnClass::delivers) {
        end_receipt(node, run, &[])?;
        return not_taken(node, run, turn);
    }
    let conversions = conversions(run)?;
    let conversions = conversions.as_ref();
    let (scan, candidate) = scan(run, &workspace, conversions)?;
    let decided = decide(&run.policy()?, &scan, &candidate);
    let contents = contents(&workspace, decided.changes())?;
    let contaminated = end_receipt(node, run, &contents)?;
    let kept = keep(run, &workspace, &scan.found, &decided, contaminated, conversions)?;
    let mut detail = detail(&decided, &scan, kept);
    if contaminated {
        return self::contaminated(node, run, turn, detail);
    }
    match decided {
        Delivery::Refused { refusal, .. } => {
            detail.refused = Some(refusal.to_string());
            refused_as(node, run, turn, refusal.class(), &detail)
        }
        Delivery::Unchanged { dropped } => unchanged(node, run, turn, dropped.len(), &detail),
        Delivery::Accepted { changes, dropped } => {
            let before = run.summary().tip.clone();
            let (commit, tree) = commit(run, turn, &changes, &contents, conversions)?;
            let blob = run.recorder.put_json(Label::Internal, &detail)?;
            run.recorder.record(
                Some(&node.id),
                RunEvent::DeliveryAccepted {
                    turn,
                    commit: commit.as_str().to_owned(),
                    tree: tree.as_str().to_owned(),
                    files: changes.len(),
                    dropped: dropped.len(),
                    detail: blob.clone(),
                },
            )?;
            run.sync_branch(&before)?;
            Ok(TurnDelivery::Accepted {
                commit: commit.as_str().to_owned(),
                files: changes.len(),
                dropped: dropped.len(),
                detail: blob,
            })
        }
    }
}

/// Ends the turn's receipt; returns whether the exam was found in what the agent said or brought.
fn end_receipt(node: &Node, run: &mut Run, delivered: &[(String, Vec<u8>)]) -> Result<bool, Halt> {
    let Some(turn) = run.summary().turns.last().cloned() else { return Ok(false) };
    let paths = turn_paths(run, turn.turn, turn.attempts)?;
    let streams = [paths.stdout_file(), paths.stderr_file()];
    let receipt = receipt::end(node, run, streams.each_ref().map(AsRef::as_ref), delivered)?;
    Ok(receipt.is_some_and(|receipt| receipt.contamination().is_some()))
}

/// Returns what the files hold that are to be accepted, and what the links say, each with its path.
fn contents(workspace: &ManagedTree, changes: &[Found]) -> Result<Vec<(String, Vec<u8>)>, Halt> {
    let read = |found: &Found| match &found.what {
        What::File { bytes, .. } => {
            Some(workspace.read(&found.path, *bytes).map(|bytes| (found.path.to_string(), bytes)))
        }
        What::Symlink { target, .. } => Some(Ok((found.path.to_string(), target.clone()))),
        What::Directory { .. } | What::Unlisted { .. } | What::Removed | What::Other(_) => None,
    };
    let contents: Result<_, _> = changes.iter().filter_map(read).collect();
    contents.map_err(tree_failure("reading a delivered file"))
}

/// Refuses a turn whose agent knew the exam.
fn contaminated(
    node: &Node,
    run: &mut Run,
    turn: u32,
    detail: DeliveryDetail,
) -> Result<TurnDelivery, Halt> {
    let refusal = Refusal::Contaminated;
    let refused = Some(refusal.to_string());
    let detail = DeliveryDetail { accepted: Vec::new(), refused, ..detail };
    refused_as(node, run, turn, refusal.class(), &detail)
}

fn refused_as(
    node: &Node,
    run: &mut Run,
    turn: u32,
    class: &str,
    detail: &DeliveryDetail,
) -> Result<TurnDelivery, Halt> {
    let detail = run.recorder.put_json(Label::Internal, detail)?;
    let class = class.to_owned();
    run.recorder.record(
        Some(&node.id),
        RunEvent::DeliveryRefused { turn, class: class.clone(), detail: detail.clone() },
    )?;
    Ok(TurnDelivery::Refused { class, detail })
}

fn unchanged(
    node: &Node,
    run: &mut Run,
    turn: u32,
    dropped: usize,
    detail: &DeliveryDetail,
) -> Result<TurnDelivery, Halt> {
    let detail = run.recorder.put_json(Label::Internal, detail)?;
    run.recorder.record(
        Some(&node.id),
        RunEvent::DeliveryUnchanged { turn, dropped, detail: detail.clone() },
    )?;
    Ok(TurnDelivery::Unchanged { dropped, detail })
}

/// Accepts nothing of a turn that did not end by itself and well; what it had changed is kept as a
/// patch for people.
fn not_taken(node: &Node, run: &mut Run, turn: u32) -> Result<TurnDelivery, Halt> {
    let Kept { patch, left_out } = workspace_patch(run)?;
    let detail = DeliveryDetail { patch, patch_leaves_out: left_out, ..DeliveryDetail::default() };
    unchanged(node, run, turn, 0, &detail)
}

fn open_workspace(run: &mut Run) -> Result<ManagedTree, Halt> {
    let paths = &run.versioned()?.paths;
    ManagedTree::open(&paths.workspace, &paths.workspace_manifest)
        .map_err(tree_failure("the agent's workspace"))
}

/// Records the question that the agent left; the file itself is never delivered.
fn take_question(
    node: &Node,
    run: &mut Run,
    workspace: &ManagedTree,
    turn: u32,
) -> Result<(), Halt> {
    let path = TreePath::parse(run.frozen.at.path(Policy::QUESTION))
        .map_err(|error| Failure::of("question", "naming the question failed", error))?;
    if run.summary().question.is_some() || path.under(workspace.root()).symlink_metadata().is_err()
    {
        return Ok(());
    }
    let bytes = match workspace.read(&path, QUESTION_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) => {
            format!("The agent left a question that can't be read: {error}.").into_bytes()
        }
    };
    let question = run.recorder.put(Label::Internal, bytes)?;
    run.recorder.record(Some(&node.id), RunEvent::QuestionAsked { turn, question })
}

/// Returns how the files of the branch's tip are converted.
fn conversions(run: &mut Run) -> Result<Option<Conversions>, Halt> {
    let tip = run.summary().tip.clone();
    let files = run.files_of(&tip)?;
    run.versioned()?.repo.conversions(&files).map_err(git("reading the attributes"))
}

/// Returns what the workspace holds beyond the branch's tip and the outputs of set-up commands that the factory
/// itself put there, and what it is compared with.
fn scan(
    run: &mut Run,
    workspace: &ManagedTree,
    conversions: Option<&Conversions>,
) -> Result<(Scan, Candidate), Halt> {
    let limits = run.frozen.config.delivery.limits();
    let least = ScanLimits::default();
    // What a turn may bring is looked at, and as much again to say what it may not.
    let limits = ScanLimits {
        differing: least.differing.max(limits.files.saturating_mul(2)),
        directory: least.directory.max(limits.files),
        file_bytes: least.file_bytes.max(limits.file_bytes),
        total_bytes: least.total_bytes.max(limits.total_bytes.saturating_mul(2)),
        ..least
    };
    let mut scan = workspace
        .scan(&run.versioned()?.repo, limits)
        .map_err(tree_failure("reading the agent's workspace"))?;
    let outputs = run.frozen.outputs();
    scan.ignored.retain(|path| !outputs.iter().any(|output| path.is_within(output)));
    without_outputs(run, &mut scan.found)?;
    let tip = run.summary().tip.clone();
    let paths = run.files_of(&tip)?.keys().cloned().collect();
    let mut candidate =
        Candidate { paths, outputs, submodules: workspace.submodules(), ..Candidate::default() };
    if let Some(conversions) = conversions {
        convert(run, workspace, conversions, &mut scan.found, &mut candidate)?;
    }
    Ok((scan, candidate))
}

/// Takes out of `found` what git would store as it is in the branch's tip, as a file with other line endings, and tells
/// the candidate which of the files can't be stored here.
fn convert(
    run: &mut Run,
    workspace: &ManagedTree,
    conversions: &Conversions,
    found: &mut Vec<Found>,
    candidate: &mut Candidate,
) -> Result<(), Halt> {
    let (tip, limit) = (run.summary().tip.clone(), run.frozen.config.delivery.limits().file_bytes);
    let before = run.files_of(&tip)?;
    let known = conversions.of(found.iter().map(|one| one.path.as_bytes()));
    let known = known.map_err(git("reading the attributes"))?;
    let mut contents = Vec::new();
    for (one, known) in found.iter().zip(known) {
        let What::File { executable, bytes, .. } = &one.what else { continue };
        if known.is_large {
            candidate.large.insert(one.path.clone());
        } else if known.is_filtered {
            candidate.filtered.insert(one.path.clone());
        } else if known.on_add && *bytes <= limit {
            let mode = if *executable { Mode::Executable } else { Mode::File };
            let bytes = workspace.read(&one.path, *bytes);
            contents.push((&one.path, mode, bytes.map_err(tree_failure("reading a file"))?));
        }
    }
    let old = |path: &TreePath| before.get(path).filter(|entry| entry.mode.is_file());
    let to_store = contents.iter().map(|(path, mode, bytes)| ToStore {
        path,
        mode: *mode,
        before: old(path).map(|entry| &entry.oid),
        bytes,
    });
    let stored = run.versioned()?.repo.store(Some(conversions), &to_store.collect::<Vec<_>>());
    let mut same = BTreeSet::new();
    for ((path, mode, _), stored) in
        contents.iter().zip(stored.map_err(git("converting the delivery"))?)
    {
        match stored {
            Ok(oid) if old(path).is_some_and(|old| old.oid == oid && old.mode == *mode) => {
                same.insert((*path).clone());
            }
            Ok(_) => {}
            Err(why) => drop(candidate.not_stored.insert((*path).clone(), why)),
        }
    }
    found.retain(|one| !same.contains(&one.path));
    Ok(())
}

fn detail(decided: &Delivery, scan: &Scan, kept: Kept) -> DeliveryDetail {
    DeliveryDetail {
        accepted: decided.changes().iter().map(|found| found.path.to_string()).collect(),
        dropped: decided
            .dropped()
            .iter()
            .map(|dropped| (dropped.shown_path(), dropped.reason.to_string()))
            .collect(),
        kinds: kinds(decided.dropped()),
        ignored: scan.ignored.iter().map(ToString::to_string).collect(),
        refused: None,
        patch: kept.patch,
        patch_leaves_out: kept.left_out,
    }
}

/// Returns what was dropped by the rule it was dropped by, in the order of the first paths.
fn kinds(dropped: &[Dropped]) -> Vec<DroppedKind> {
    let mut kinds: Vec<DroppedKind> = Vec::new();
    for one in dropped {
        let class = one.reason.class();
        let entry =
            DroppedEntry { path: one.shown_path(), fact: one.reason.fact(), files: one.files() };
        match kinds.iter_mut().find(|kind| kind.class == class) {
            Some(kind) => kind.entries.push(entry),
            None => kinds.push(DroppedKind {
                class: class.to_owned(),
                rule: one.reason.rule(),
                entries: vec![entry],
            }),
        }
    }
    kinds
}

/// Writes the accepted changes as a child of the branch's tip; returns the commit and its tree.
fn commit(
    run: &mut Run,
    turn: u32,
    changes: &[Found],
    contents: &[(String, Vec<u8>)],
    conversions: Option<&Conversions>,
) -> Result<(Oid, Oid), Halt> {
    let (tip, at) = (run.summary().tip.clone(), run.summary().last_at);
    let iteration = run.summary().started.first_iteration + turn;
    let agent = run.summary().started.agent.clone().unwrap_or_default();
    let author = Run::author();
    let trailers = run.trailers(iteration, &format!("Factory-Agent: {agent}\n"));
    let parent = oid(&tip)?;
    let repo = run.versioned()?.repo.clone();
    let before = run.files_of(&tip)?;
    let changes = to_changes(&repo, changes, contents, &before, conversions)?;
    let base = repo.tree_of(&parent).map_err(git("reading the run's branch"))?;
    let tree = repo.write_tree(Some(&base), &changes).map_err(git("writing the delivery"))?;
    let message = format!("Turn {turn}: {}\n\n{trailers}", plural(changes.len(), "file"));
    let commit = repo
        .commit(&tree, &[parent], &message, &author, at)
        .map_err(git("committing the delivery"))?;
    Ok((commit, tree))
}

/// Writes the contents of the changed files and links as blobs, as `git add` would.
fn to_changes(
    repo: &Repo,
    found: &[Found],
    contents: &[(String, Vec<u8>)],
    before: &Tree,
    conversions: Option<&Conversions>,
) -> Result<Vec<Change>, Halt> {
    let written = found.iter().filter_map(|one| match &one.what {
        What::File { blob, executable, .. } => {
            Some((one, blob, if *executable { Mode::Executable } else { Mode::File }))
        }
        What::Symlink { blob, .. } => Some((one, blob, Mode::Symlink)),
        What::Directory { .. } | What::Unlisted { .. } | What::Removed | What::Other(_) => None,
    });
    let mut to_store = Vec::new();
    for ((one, blob, mode), (_, bytes)) in written.zip(contents) {
        // A file that changed between the scan and now was changed by something that should be dead.
        if blob_id(repo.format(), bytes).as_str() != blob {
            return Err(Failure::plain(
                "delivery",
                "a file of the workspace changed while it was being delivered; something of the agent is still alive",
            )
            .into());
        }
        let old = before.get(&one.path).filter(|entry| entry.mode.is_file());
        let old = old.map(|entry| &entry.oid);
        to_store.push(ToStore { path: &one.path, mode, before: old, bytes });
    }
    let written = repo.store(conversions, &to_store).map_err(git("writing the delivery"))?;
    let written: Result<Vec<Oid>, String> = written.into_iter().collect();
    let written = written
        .map_err(|why| Failure::plain("delivery", format!("git can't store a file: {why}")))?;
    let mut oids = written.into_iter();
    let mut changes = Vec::new();
    for one in found {
        let mode = match &one.what {
            What::File { executable: true, .. } => Mode::Executable,
            What::File { .. } => Mode::File,
            What::Symlink { .. } => Mode::Symlink,
            What::Removed => {
                changes.push(Change::Remove { path: one.path.clone() });
                continue;
            }
            What::Directory { .. } | What::Unlisted { .. } | What::Other(_) => continue,
        };
        if let Some(oid) = oids.next() {
            changes.push(Change::Set { path: one.path.clone(), mode, oid });
        }
    }
    Ok(changes)
}

/// Keeps all that the workspace holds beyond the branch's tip as a patch.
pub(super) fn workspace_patch(run: &mut Run) -> Result<Kept, Halt> {
    let workspace = open_workspace(run)?;
    let conversions = conversions(run)?;
    let conversions = conversions.as_ref();
    let Ok((scan, candidate)) = scan(run, &workspace, conversions) else {
        return Ok(Kept { patch: None, left_out: 0 });
    };
    let decided = decide(&run.policy()?, &scan, &candidate);
    keep(run, &workspace, &scan.found, &decided, true, conversions)
}
