//! Sets up the judge tree: the candidate's files, then the product's own set-up commands.
//!
//! A command is known by its text and the hash of its inputs, tracked files below its outputs among
//! them. What it made for a key is kept, and given to the judge's and the agent's trees as separate
//! copies; nothing that an agent built comes back. One that names no inputs is run for each
//! candidate, and what it made for the last one is given to the agent.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::config::PrepareSettings;
use crate::delivery::{Found, What};
use crate::engine::run::{applied_in_judge, private_dir};
use crate::engine::{Failure, Halt, Handler, Run, RunPaths};
use crate::event::{Contact, Label, RunEvent, SetupNetwork};
use crate::git::{ObjectFormat, Tree, blob_id, blob_id_of};
use crate::id::Digest;
use crate::journal::write_durably;
use crate::pipeline::{Node, NodeOutcome, Status};
use crate::process::{self, Call, Keep, Stream};
use crate::report::scenarios::excerpt;
use crate::text::TreePath;
use crate::verdict::{Ending, GateResult, GateStatus};
use crate::wall::confine::hand_over;
use crate::wall::way_out::{self, Exit};
use crate::wall::{copy_entry, copy_tree, remove_tree};

use super::gates::{CI_OUTPUT, open_log};

/// See the module.
pub(super) struct Prepare;

/// How many lines are told of what a command wrote that failed. Package managers say the cause first, and much
/// behind it.
const LINES: usize = 30;

/// Which key of each step a tree holds, by the step's name.
type Applied = BTreeMap<String, String>;

impl Handler<Run> for Prepare {
    fn kind(&self) -> &'static str {
        "prepare"
    }

    fn handle(&self, node: &Node, run: &mut Run) -> Result<NodeOutcome, Halt> {
        run.sync_judge()?;
        let frozen = run.frozen.clone();
        let candidate = run.summary().candidate.0.clone();
        let tree = run.files_of(&candidate)?;
        for (index, step) in frozen.prepare().iter().enumerate() {
            match prepare(node, run, index, step, &tree)? {
                Done::Ready => {}
                Done::Network => return Ok(NodeOutcome::of(Status::Retry)),
                Done::Broken => return Ok(NodeOutcome::of(Status::Fail)),
            }
        }
        Ok(NodeOutcome::of(Status::Success))
    }
}

/// What came of one step.
enum Done {
    /// Its outputs are in the judge tree.
    Ready,
    /// The network failed, and attempts are left.
    Network,
    /// The agent changed its inputs, and now it fails: the agent is told as of a failed gate.
    Broken,
}

fn prepare(
    node: &Node,
    run: &mut Run,
    index: usize,
    step: &PrepareSettings,
    tree: &Tree,
) -> Result<Done, Halt> {
    let key = key(step, tree, &run.frozen.at.clone().under(&run.judged_at()?));
    let paths = run.versioned()?.paths.clone();
    let judge = paths.judge.clone();
    let applied_file = applied_in_judge(&paths.dir);
    let mut applied = read_applied(&applied_file);
    let cached = run.versioned()?.state.prepare_cache().join(&key);
    // Tracked files among the outputs were just set to the candidate's.
    if !step.inputs.is_empty()
        && applied.get(&step.name) == Some(&key)
        && are_there(step, &cached, &judge)
        && !makes_tracked(step, tree)
    {
        return finish(node, run, index, None);
    }
    if !step.inputs.is_empty() && !step.outputs.is_empty() && cached.is_dir() {
        let user = run.walls.judge_user();
        place_outputs(step, &cached, &judge, user)?;
        place_home(&cached, &paths, &key, user)?;
        applied.insert(step.name.clone(), key);
        write_applied(&applied_file, &applied)?;
        return finish(node, run, index, None);
    }
    let place = run.place()?;
    run.lay_judge_repository()?;
    let call = Call::new("bash", &place.seen)
        .args(["-c", step.run.as_str()])
        .env(place.env)
        .limit(step.timeout.0)
        .keep(Keep { head: 0, tail: 20_000 });
    let mut output = Vec::new();
    let mut take = |bytes: &[u8]| {
        output.extend_from_slice(bytes);
        let excess = output.len().saturating_sub(20_000);
        output.drain(..excess);
    };
    let mut streams = [place.redaction.stream(), place.redaction.stream()];
    let mut live = |stream: Stream, bytes: &[u8]| take(&streams[stream as usize].push(bytes));
    let changed = inputs_changed(run, step, tree)?;
    let asked = match (run.frozen.config.network.prepare, changed) {
        (Some(asked), _) => asked,
        (None, false) => SetupNetwork::Open,
        // What is fetched and run is the agent's choice now.
        (None, true) => SetupNetwork::Registries,
    };
    let (mut network, mut contacted) = (SetupNetwork::Open, Vec::new());
    let done = match run.confined_prepare(&call.env, asked)? {
        Some((confined, way_out)) => {
            let confine = |error| Failure::of("isolation", "confining a step failed", error);
            // It installs as the factory's user does, into a tree that is that user's meanwhile.
            let all = [&paths.judge, &paths.judge_home, &paths.judge_tmp];
            let hand = |user: Option<(u32, u32)>| match user {
                Some(user) => all.iter().try_for_each(|path| hand_over(path, user)),
                None => Ok(()),
            };
            let user = run.walls.judge_user();
            hand(user.map(|_| (0, 0))).map_err(confine)?;
            let (call, confined, exit) = match &way_out {
                Some(way_out) => {
                    let dir = paths.dir.join("preparing");
                    let opened = way_out::open(way_out, &dir, call, &confined);
                    let (call, confined, exit) = opened.map_err(confine)?;
                    (call, confined, Some(exit))
                }
                None => (call, confined, None),
            };
            let call = confined.wrap(call).map_err(confine)?;
            let done = confined.tell(process::run(&call, &run.cancel, &mut live));
            network = asked;
            contacted = exit.map(Exit::close).unwrap_or_default();
            hand(user).map_err(confine)?;
            done
        }
        None => process::run(&call, &run.cancel, &mut live),
    };
    run.check_cancel()?;
    streams.iter_mut().for_each(|stream| take(&stream.finish()));
    let mut text = String::from_utf8_lossy(&output).into_owned();
    let ms = u64::try_from(done.duration.as_millis()).unwrap_or(u64::MAX);
    if done.ending.is_success() {
        if !step.outputs.is_empty() && step.inputs.is_empty() {
            let last = last_outputs(&paths.dir, index);
            remove_tree(&last).map_err(disk("removing", &last))?;
            keep_outputs(step, &judge, &last, None)?;
        } else if !step.outputs.is_empty() {
            keep_outputs(step, &judge, &cached, Some(&paths.judge_home))?;
            has_home(&paths.dir, &key)?;
        }
        applied.insert(step.name.clone(), key);
        write_applied(&applied_file, &applied)?;
        return finish(node, run, index, Some((network, ms, text)));
    }
    let narrow = narrowed(network, &contacted, &text);
    if let Some(narrow) = &narrow {
        let feed = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        text.push_str(&format!("{feed}dark-factory: {narrow}\n"));
    }
    open_log(&run.root).and_then(|mut log| {
        log.write_all(text.as_bytes()).map_err(disk("writing", Path::new(CI_OUTPUT)))
    })?;
    let failure = describe(step, &done.ending, &text);
    let retries_left = run.summary().walk.positions.iter().any(|position| {
        matches!(position.phase, crate::pipeline::Phase::Started { attempt }
            if position.node == node.id && attempt <= node.max_retries())
    });
    if narrow.is_none() && is_network_failure(&text) {
        return if retries_left { Ok(Done::Network) } else { Err(failure) };
    }
    // Of a step that names none nobody knows that it was the agent's doing.
    if !changed || step.inputs.is_empty() {
        return Err(failure);
    }
    let result = GateResult {
        name: format!("prepare: {}", step.name),
        status: status_of(done.ending),
        duration: done.duration,
        output_bytes: done.stdout.total + done.stderr.total,
        output: text,
    };
    let output = run.recorder.put_json(Label::Internal, &result)?;
    run.recorder.record(
        Some(&node.id),
        RunEvent::PrepareFinished {
            step: index,
            cached: false,
            passed: false,
            ms,
            output: Some(output),
            network: Some(network),
        },
    )?;
    Ok(Done::Broken)
}

/// Records a step whose outputs are there: what it had of the network, how long it took and what it wrote
/// where it was `ran`, else that they were kept.
fn finish(
    node: &Node,
    run: &mut Run,
    step: usize,
    ran: Option<(SetupNetwork, u64, String)>,
) -> Result<Done, Halt> {
    let (mut network, mut ms, mut output) = (None, 0, None);
    if let Some((had, took, text)) = ran {
        output = Some(run.recorder.put(Label::Internal, text)?);
        (network, ms) = (Some(had), took);
    }
    let cached = network.is_none();
    run.recorder.record(
        Some(&node.id),
        RunEvent::PrepareFinished { step, cached, passed: true, ms, output, network },
    )?;
    Ok(Done::Ready)
}

/// Says that a step which failed was kept from the network by the settings, and what to do about it; none
/// where it does not look so.
fn narrowed(network: SetupNetwork, contacted: &[Contact], output: &str) -> Option<String> {
    let denied = contacted.iter().find(|contact| contact.outcome == "denied");
    match (network, denied) {
        (SetupNetwork::Registries, Some(Contact { host, port, .. })) => Some(format!(
            "it asked for {host}:{port}, and has registries alone; name the host in `network.allow`, or set `network.prepare: open`"
        )),
        (SetupNetwork::None, _) if is_network_failure(output) => Some(
            "it has no network, since `network.prepare` is `none`; `registries` and `open` give it one".to_owned(),
        ),
        _ => None,
    }
}

fn status_of(ending: Ending) -> GateStatus {
    match ending {
        Ending::Exited { code: 0 } => GateStatus::Passed,
        Ending::Exited { code } => GateStatus::Failed { code },
        Ending::Signalled { signal } => GateStatus::Signalled { signal },
        Ending::TimedOut { limit } | Ending::Idle { limit } => GateStatus::TimedOut { limit },
        Ending::Interrupted => GateStatus::Interrupted,
        Ending::CouldNotStart { why } => GateStatus::CouldNotStart { why },
    }
}

fn describe(step: &PrepareSettings, ending: &Ending, output: &str) -> Halt {
    let how = match ending {
        Ending::Exited { code } => format!("exited with {code}"),
        Ending::Signalled { signal } => format!("was ended by signal {signal}"),
        Ending::TimedOut { limit } | Ending::Idle { limit } => {
            format!("was ended after {}", crate::clock::human(*limit))
        }
        Ending::Interrupted => "was interrupted".to_owned(),
        Ending::CouldNotStart { why } => format!("could not be started: {why}"),
    };
    let mut message = format!("the set-up command `{}` {how}", step.name);
    let lines = excerpt("", output, LINES);
    match lines.is_empty() {
        true => message.push_str(", and wrote nothing"),
        false => message.push_str(&format!("; it wrote ({CI_OUTPUT}):\n{}", lines.join("\n"))),
    }
    Failure::plain("prepare", message).into()
}

/// Returns the key under which a step's outputs are kept: the command, the path and blob of each tracked file
/// that its inputs name or that lies below an output, and where the command sees its tree, which outputs may
/// have written down.
fn key(step: &PrepareSettings, tree: &Tree, at: &Path) -> String {
    let mut text = format!("{}\0{}\0{}\0", step.run, std::env::consts::OS, std::env::consts::ARCH);
    text.push_str(&format!("{}\0", at.display()));
    for (path, oid) in inputs(step, tree) {
        text.push_str(&format!("{path}\0{oid}\0"));
    }
    for output in &step.outputs {
        text.push_str(&format!("-> {output}\0"));
    }
    Digest::of(text.as_bytes()).as_str()[..32].to_owned()
}

fn inputs(step: &PrepareSettings, tree: &Tree) -> Vec<(String, String)> {
    let mut set = globset::GlobSetBuilder::new();
    for glob in &step.inputs {
        if let Ok(glob) = globset::GlobBuilder::new(glob).literal_separator(true).build() {
            set.add(glob);
        }
    }
    let Ok(set) = set.build() else { return Vec::new() };
    tree.iter()
        .filter(|(path, _)| set.is_match(path.as_path()) || is_output(step, path))
        .map(|(path, entry)| (path.to_string(), entry.oid.as_str().to_owned()))
        .collect()
}

/// Returns whether tracked files lie among the step's outputs.
fn makes_tracked(step: &PrepareSettings, tree: &Tree) -> bool {
    tree.keys().any(|path| is_output(step, path))
}

/// Returns whether a path is one of the step's outputs or lies in one.
fn is_output(step: &PrepareSettings, path: &TreePath) -> bool {
    let path = path.as_path();
    step.outputs.iter().any(|output| path.starts_with(output))
}

/// Returns whether the agent changed what the step reads, which is any file where it names none.
fn inputs_changed(run: &mut Run, step: &PrepareSettings, tree: &Tree) -> Result<bool, Halt> {
    let base = run.summary().started.base.clone();
    let base = run.files_of(&base)?;
    Ok(match step.inputs.is_empty() {
        true => *base != *tree,
        false => inputs(step, &base) != inputs(step, tree),
    })
}

/// Returns whether the output speaks of a network that did not answer.
fn is_network_failure(output: &str) -> bool {
    const SIGNS: &str = r"(?i)could not resolve host|couldn't resolve host|temporary failure in name resolution|name or service not known|connection (timed out|refused|reset)|network is unreachable|operation timed out|tls handshake timeout|ETIMEDOUT|ECONNRESET|ECONNREFUSED|EAI_AGAIN|getaddrinfo|\b50[234] (bad gateway|service unavailable|gateway time-?out)|spurious network error|max retries exceeded with url";
    Regex::new(SIGNS).is_ok_and(|signs| signs.is_match(output))
}

/// What a step made for the candidate, where it is kept.
struct KeptOutputs {
    /// Tells what is there from what was there for another candidate.
    key: String,
    dir: PathBuf,
}

/// Returns what each step made for the candidate, in their order.
fn kept_outputs(run: &mut Run) -> Result<Vec<KeptOutputs>, Halt> {
    let frozen = run.frozen.clone();
    let candidate = run.summary().candidate.0.clone();
    let (tree, at) = (run.files_of(&candidate)?, frozen.at.under(&run.judged_at()?));
    let versioned = run.versioned()?;
    let (run_dir, cache) = (&versioned.paths.dir, versioned.state.prepare_cache());
    let steps = frozen.prepare();
    let kept = steps.iter().enumerate().map(|(index, step)| {
        let key = key(step, &tree, &at);
        match step.inputs.is_empty() {
            false => KeptOutputs { dir: cache.join(&key), key },
            true => KeptOutputs { key: key + &candidate, dir: last_outputs(run_dir, index) },
        }
    });
    Ok(kept.collect())
}

/// Puts the kept outputs of each step into the agent's workspace, where they are not there yet.
pub(super) fn place_in_workspace(run: &mut Run) -> Result<(), Halt> {
    let frozen = run.frozen.clone();
    let kept = kept_outputs(run)?;
    let tree = run.files_of(&run.summary().candidate.0.clone())?;
    let owner = run.walls.agent_user();
    let versioned = run.versioned()?;
    let file = versioned.paths.dir.join("prepare-workspace.json");
    let mut applied = read_applied(&file);
    for (step, KeptOutputs { key, dir }) in frozen.prepare().iter().zip(kept) {
        let workspace = &versioned.paths.workspace;
        let placed = applied.get(&step.name) == Some(&key)
            && are_there(step, &dir, workspace)
            && !makes_tracked(step, &tree);
        if step.outputs.is_empty() || placed || !dir.is_dir() {
            continue;
        }
        place_outputs(step, &dir, workspace, owner)?;
        applied.insert(step.name.clone(), key);
    }
    write_applied(&file, &applied)
}

/// Takes out of `found` what [`place_in_workspace`] put there and is as it was.
pub(super) fn without_outputs(run: &mut Run, found: &mut Vec<Found>) -> Result<(), Halt> {
    let frozen = run.frozen.clone();
    if frozen.outputs().is_empty() {
        return Ok(());
    }
    let kept = kept_outputs(run)?;
    let format = run.versioned()?.repo.format();
    let steps = frozen.prepare();
    found.retain(|one| {
        let mut steps = steps.iter().zip(&kept);
        !steps.any(|(step, kept)| is_output(step, &one.path) && is_as_kept(&kept.dir, format, one))
    });
    Ok(())
}

/// Returns whether what was found is what a step's kept outputs have there. What is told as a whole is: too much
/// of it is new for anybody's edits.
fn is_as_kept(kept: &Path, format: ObjectFormat, found: &Found) -> bool {
    let at = found.path.under(kept);
    let there = at.symlink_metadata();
    match (&found.what, there) {
        (What::File { blob, executable, bytes }, Ok(there)) if there.is_file() => {
            let id = std::fs::File::open(&at)
                .and_then(|mut file| blob_id_of(format, there.len(), &mut file));
            let same_mode = (there.permissions().mode() & 0o100 != 0) == *executable;
            same_mode && there.len() == *bytes && id.is_ok_and(|id| id.as_str() == blob)
        }
        (What::Symlink { blob, .. }, Ok(there)) if there.is_symlink() => std::fs::read_link(&at)
            .is_ok_and(|target| {
                blob_id(format, target.as_os_str().as_encoded_bytes()).as_str() == blob
            }),
        (What::Removed, there) => kept.is_dir() && there.is_err(),
        (What::Directory { .. } | What::Unlisted { .. }, _) => kept.is_dir(),
        _ => false,
    }
}

fn read_applied(file: &Path) -> Applied {
    // Without it the outputs are placed once more.
    std::fs::read(file)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn write_applied(file: &Path, applied: &Applied) -> Result<(), Halt> {
    let bytes = serde_json::to_vec(applied).unwrap_or_default();
    write_durably(file, &bytes).map_err(disk("writing", file))
}

/// Returns where the outputs of a step without inputs are kept, as the last candidate's set-up made them, in a
/// run's directory.
fn last_outputs(dir: &Path, step: usize) -> PathBuf {
    dir.join("prepared").join(step.to_string())
}

/// Where among kept outputs that stands which a step and those before it left in their home: no output is there.
const KEPT_HOME: &str = ".git/home";

/// Copies a step's outputs out of the judge tree, and with them a home, all of them or none.
fn keep_outputs(
    step: &PrepareSettings,
    from: &Path,
    to: &Path,
    home: Option<&Path>,
) -> Result<(), Halt> {
    let parent = to.parent().unwrap_or(to);
    private_dir(parent)?;
    let stage = tempfile::Builder::new()
        .prefix("new-")
        .tempdir_in(parent)
        .map_err(disk("making a directory in", parent))?;
    for output in &step.outputs {
        let (source, target) = (from.join(output), stage.path().join(output));
        if source.symlink_metadata().is_ok() {
            copy(&source, &target)?;
        }
    }
    if let Some(home) = home.filter(|home| home.is_dir()) {
        let place = stage.path().join(KEPT_HOME);
        private_dir(place.parent().unwrap_or(&place))?;
        copy_tree(home, &place).map_err(disk("copying to", &place))?;
    }
    match std::fs::rename(stage.path(), to) {
        Ok(()) => {
            let _ = stage.keep();
            Ok(())
        }
        // Another run has kept the same in the meantime.
        Err(_) if to.is_dir() => Ok(()),
        Err(error) => Err(disk("making", to)(error)),
    }
}

/// Puts into the judge's home what a step that is not run left there: gates may need of it what the outputs don't
/// hold, as packages in a cache. What is there stays.
fn place_home(
    kept: &Path,
    paths: &RunPaths,
    key: &str,
    owner: Option<(u32, u32)>,
) -> Result<(), Halt> {
    let (from, to) = (kept.join(KEPT_HOME), &paths.judge_home);
    if from.is_dir() && !paths.dir.join(HOMES).join(key).exists() {
        private_dir(to)?;
        fill(&from, to)?;
        if let Some(owner) = owner {
            hand_over(to, owner).map_err(disk("handing over", to))?;
        }
        has_home(&paths.dir, key)?;
    }
    Ok(())
}

/// The directory of a run that has a file for each key whose home is in the judge's.
const HOMES: &str = "prepare-homes";

fn has_home(run_dir: &Path, key: &str) -> Result<(), Halt> {
    let dir = run_dir.join(HOMES);
    private_dir(&dir)?;
    std::fs::write(dir.join(key), "").map_err(disk("writing", &dir))
}

/// Copies what `to` has not, directory by directory; a link is never followed.
fn fill(from: &Path, to: &Path) -> Result<(), Halt> {
    for entry in std::fs::read_dir(from).map_err(disk("reading", from))? {
        let name = entry.map_err(disk("reading", from))?.file_name();
        let (source, target) = (from.join(&name), to.join(&name));
        let is_dir = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
        if target.symlink_metadata().is_err() {
            copy(&source, &target)?;
        } else if is_dir(&source) && is_dir(&target) {
            fill(&source, &target)?;
        }
    }
    Ok(())
}

/// Returns whether no output is missing in a tree that was given them: what runs there may have
/// removed one.
fn are_there(step: &PrepareSettings, kept: &Path, tree: &Path) -> bool {
    let is_there = |dir: &Path, output| dir.join(output).symlink_metadata().is_ok();
    let may_lack = |output| kept.is_dir() && !is_there(kept, output);
    step.outputs.iter().all(|output| is_there(tree, output) || may_lack(output))
}

/// Replaces a step's outputs in a tree by copies of the kept ones.
fn place_outputs(
    step: &PrepareSettings,
    from: &Path,
    to: &Path,
    owner: Option<(u32, u32)>,
) -> Result<(), Halt> {
    for output in &step.outputs {
        let (source, target) = (from.join(output), to.join(output));
        remove(&target)?;
        let on_the_way = Path::new(output).ancestors();
        let missing = on_the_way.take_while(|path| !to.join(path).exists()).last();
        if source.symlink_metadata().is_ok() {
            copy(&source, &target)?;
            // With the directories that were made on the way to it.
            let first = missing.map(|first| to.join(first));
            if let (Some(owner), Some(first)) = (owner, first) {
                hand_over(&first, owner).map_err(disk("handing over", &first))?;
            }
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Halt> {
    let (Some(source), Some(target), Some(name)) = (from.parent(), to.parent(), from.file_name())
    else {
        return Ok(());
    };
    std::fs::create_dir_all(target).map_err(disk("making", target))?;
    copy_entry(source, target, name).map(|_| ()).map_err(disk("copying to", to))
}

fn remove(path: &Path) -> Result<(), Halt> {
    let removed = match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    };
    removed.map_err(disk("removing", path))
}

fn disk(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Halt {
    let path = path.display().to_string();
    move |error| Failure::of("disk", format!("{doing} {path} failed"), error).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;
    use crate::git::{Mode, Oid, TreeEntry};
    use crate::text::TreePath;

    fn step() -> PrepareSettings {
        PrepareSettings {
            name: "deps".into(),
            run: "npm ci".into(),
            inputs: vec!["package*.json".into()],
            outputs: vec!["node_modules".into()],
            timeout: Span::seconds(1),
        }
    }

    fn tree(files: &[(&str, char)]) -> Tree {
        files
            .iter()
            .map(|(path, digit)| {
                let oid = Oid::parse(&digit.to_string().repeat(40)).unwrap();
                (TreePath::parse(*path).unwrap(), TreeEntry { mode: Mode::File, oid })
            })
            .collect()
    }

    #[test]
    fn only_the_command_and_its_inputs_make_the_key() {
        let before =
            key(&step(), &tree(&[("package.json", 'a'), ("src/a.js", 'a')]), Path::new("/p"));
        assert_eq!(
            key(&step(), &tree(&[("package.json", 'a'), ("src/a.js", 'b')]), Path::new("/p")),
            before
        );
        assert_ne!(
            key(&step(), &tree(&[("package.json", 'b'), ("src/a.js", 'a')]), Path::new("/p")),
            before
        );
        let other = PrepareSettings { run: "npm install".into(), ..step() };
        assert_ne!(
            key(&other, &tree(&[("package.json", 'a')]), Path::new("/p")),
            key(&step(), &tree(&[("package.json", 'a')]), Path::new("/p"))
        );
    }

    #[test]
    fn a_network_that_is_away_is_told_from_a_broken_lock_file() {
        assert!(is_network_failure("curl: (6) Could not resolve host: registry"));
        assert!(is_network_failure("npm ERR! code EAI_AGAIN"));
        assert!(!is_network_failure("error: failed to select a version for `serde`"));
    }

    #[test]
    fn a_file_and_a_link_are_outputs_too() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("cache/key"));
        std::fs::create_dir_all(tree.join("out")).unwrap();
        std::fs::write(tree.join("out/got"), "1").unwrap();
        std::os::unix::fs::symlink("out/got", tree.join("link")).unwrap();
        let step = PrepareSettings { outputs: vec!["out/got".into(), "link".into()], ..step() };
        keep_outputs(&step, &tree, &kept, None).unwrap();
        let to = dir.path().join("to");
        std::fs::create_dir(&to).unwrap();
        place_outputs(&step, &kept, &to, None).unwrap();
        assert_eq!(std::fs::read_to_string(to.join("link")).unwrap(), "1");
        assert!(to.join("link").is_symlink());
    }

    #[test]
    fn outputs_are_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("cache/key"));
        std::fs::create_dir_all(tree.join("node_modules/a")).unwrap();
        std::fs::write(tree.join("node_modules/a/x"), "1").unwrap();
        keep_outputs(&step(), &tree, &kept, None).unwrap();
        std::fs::write(tree.join("node_modules/a/x"), "spoilt").unwrap();
        std::fs::write(tree.join("node_modules/stray"), "2").unwrap();
        place_outputs(&step(), &kept, &tree, None).unwrap();
        assert_eq!(std::fs::read(tree.join("node_modules/a/x")).unwrap(), b"1");
        assert!(!tree.join("node_modules/stray").exists());
    }
}
