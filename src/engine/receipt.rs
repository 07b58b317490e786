//! The receipt of a turn: begun when what the agent is handed has been searched for the exam, ended
//! when what it said and brought back has been.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::agent::{Launch, is_secret};
use crate::event::{BlobRef, Digests, Label, Leak, Mechanism, Place, Receipt, RunEvent, Searched};
use crate::id::{Digest, ScenarioId};
use crate::pipeline::Node;
use crate::process::{Variables, is_private, resolve};
use crate::scenario::{Entry, Visibility};

use super::{Failure, Halt, Run};

/// What an agent is handed beside the prompt.
pub(super) struct Handed<'a> {
    pub(super) prompt: &'a str,
    pub(super) launch: &'a Launch,
    pub(super) env: &'a Variables,
    /// The variables that the agent gets by name.
    pub(super) names: &'a [String],
    /// How many files its workspace has, and how many were left out of it.
    pub(super) files: usize,
    pub(super) withheld: usize,
    /// How many files of the base the repository in it has.
    pub(super) of_base: usize,
}

/// Begins the receipt of an attempt.
///
/// # Errors
/// What is to be handed over holds an evaluation, or the journal can't be written.
pub(super) fn begin(
    node: &Node,
    run: &mut Run,
    (turn, attempt): (u32, u32),
    handed: &Handed<'_>,
) -> Result<(), Halt> {
    let holdout = run.frozen.holdout();
    let name = run.summary().run.clone();
    let mut enforced = run.walls.mechanisms(run.frozen.config.network.access);
    if is_private() {
        enforced.push(Mechanism::PrivateMemory);
    }
    let mut receipt =
        Receipt::begin(name, run.walls.agent, (turn, attempt), enforced, digests(run, handed)?);
    receipt.withheld = handed.withheld;
    receipt.held = held(run, handed);
    // Its files were searched as they were put there, each blob once in a run.
    for (place, items) in [(Place::Workspace, handed.files), (Place::Repository, handed.of_base)] {
        receipt.searched.push(Searched { place, items, bytes: None, found: Vec::new() });
    }
    let prompt = [("prompt".to_owned(), handed.prompt.as_bytes())];
    let arguments = handed.launch.args.iter().zip(1..);
    let arguments = arguments.map(|(text, at)| (format!("argument {at}"), text.as_bytes()));
    let variables = handed.env.iter().chain(&handed.launch.env_extra);
    let variables =
        variables.map(|(name, value)| (name.to_string_lossy().into_owned(), value.as_bytes()));
    let find = |bytes: &[u8]| holdout.find(bytes).cloned();
    receipt.searched.push(search(Place::Prompt, prompt, find));
    receipt.searched.push(search(Place::Arguments, arguments, find));
    receipt.searched.push(search(Place::Environment, variables, find));
    if let Some((place, Leak { scenario, item })) = receipt.contamination() {
        let message = format!(
            "the agent's {place} ({item}) would hold the evaluation of scenario `{scenario}`, which \
             it must not see; take it out of there, or make the scenario `visibility: public`"
        );
        return Err(Failure::plain("holdout", message).into());
    }
    let receipt = run.recorder.put_json(Label::Internal, &receipt)?;
    run.recorder.record(Some(&node.id), RunEvent::ReceiptBegun { turn, attempt, receipt })
}

/// Ends the receipt of the last turn, once, and returns it; none for a turn that an earlier version
/// began.
///
/// # Errors
/// The journal can't be read or written.
pub(super) fn end(
    node: &Node,
    run: &mut Run,
    streams: [&Path; 2],
    delivered: &[(String, Vec<u8>)],
) -> Result<Option<Receipt>, Halt> {
    let Some(turn) = run.summary().turns.last().cloned() else { return Ok(None) };
    if let Some(known) = &turn.receipt {
        return run.recorder.get_json(known).map(Some);
    }
    let Some(begun) = &turn.begun else { return Ok(None) };
    let mut receipt: Receipt = run.recorder.get_json(begun)?;
    let holdout = run.frozen.holdout();
    // What is not there was not written.
    let [stdout, stderr] = streams.map(|path| fs::read(path).unwrap_or_default());
    let streams = [("stdout".to_owned(), &*stdout), ("stderr".to_owned(), &*stderr)];
    receipt
        .searched
        .push(search(Place::Stream, streams, |bytes| holdout.find_in_stream(bytes).cloned()));
    let delivered = delivered.iter().map(|(path, bytes)| (path.clone(), bytes.as_slice()));
    receipt.searched.push(search(Place::Delivery, delivered, |bytes| holdout.find(bytes).cloned()));
    receipt.reaped = Some(turn.reaped);
    if let Some(contacted) = &turn.contacted {
        receipt.contacted = run.recorder.get_json(contacted)?;
    }
    let contaminated = receipt.contamination().is_some();
    let blob: BlobRef = run.recorder.put_json(Label::Internal, &receipt)?;
    run.recorder.record(
        Some(&node.id),
        RunEvent::ReceiptWritten { turn: turn.turn, contaminated, receipt: blob },
    )?;
    Ok(Some(receipt))
}

/// Returns the logins that the agent is given: no broker adds them for it.
fn held(run: &Run, handed: &Handed<'_>) -> Vec<String> {
    let settings = &run.frozen.config.agent;
    let names = handed.names.iter().filter(|name| {
        is_secret(name) && handed.env.contains_key(std::ffi::OsStr::new(name.as_str()))
    });
    names.chain(&settings.home).cloned().collect()
}

fn search<'a>(
    place: Place,
    items: impl IntoIterator<Item = (String, &'a [u8])>,
    find: impl Fn(&[u8]) -> Option<ScenarioId>,
) -> Searched {
    let mut searched = Searched { place, items: 0, bytes: Some(0), found: Vec::new() };
    for (item, bytes) in items {
        searched.items += 1;
        searched.bytes = searched.bytes.map(|sum| sum + bytes.len() as u64);
        if let Some(scenario) = find(bytes) {
            searched.found.push(Leak { scenario, item });
        }
    }
    searched
}

fn digests(run: &mut Run, handed: &Handed<'_>) -> Result<Digests, Halt> {
    let frozen = run.frozen.clone();
    let kept: Vec<&Entry> = frozen
        .set
        .entries
        .iter()
        .filter(|entry| entry.visibility() == Visibility::Holdout)
        .collect();
    let json = |value: serde_json::Result<Vec<u8>>| {
        value
            .map(|bytes| Digest::of(&bytes))
            .map_err(|error| Failure::of("receipt", "writing the turn's receipt failed", error))
    };
    let factory = fs::read(&run.settings.factory).map_err(|error| {
        let what =
            format!("reading {} for the turn's receipt failed", run.settings.factory.display());
        Failure::of("receipt", what, error)
    })?;
    let workspace = frozen.at.under(&run.versioned()?.paths.workspace);
    let program = resolve(&handed.launch.program, &workspace, handed.env);
    Ok(Digests {
        frozen: run.summary().started.frozen.digest.clone(),
        holdout: json(serde_json::to_vec(&kept))?,
        settings: json(serde_json::to_vec(&frozen.config))?,
        prompt: Digest::of(handed.prompt.as_bytes()),
        factory: Digest::of(&factory),
        agent: program.and_then(|path| fs::read(path).ok()).map(|bytes| Digest::of(&bytes)),
    })
}
