//! Sets up the judge tree: the candidate's files, then the product's own set-up commands.
//!
//! A command is known by its text and the hash of its inputs, tracked files below its outputs among
//! them. What it made for a key is kept, and given to the judge's and the agent's trees as separate
//! copies; nothing that an agent built comes back. One that names no inputs is run for each
//! candidate, and what it made for the last one is given to the agent.

use std::io::Write as _;
use std::path::Path;

use regex::Regex;

use crate::config::PrepareSettings;
use crate::engine::outputs::{
    Made, are_there, disk, first_to_place, held_in_judge, in_the_way, inputs, keep_outputs, made,
    makes_tracked, place_outputs, read_held, remove_outputs, write_held,
};
use crate::engine::prepare_home::Home;
use crate::engine::{Failure, Halt, Handler, Run};
use crate::event::{Contact, Label, RunEvent, SetupNetwork};
use crate::git::Tree;
use crate::pipeline::{Node, NodeOutcome, Status};
use crate::process::{self, Call, Keep, Stream};
use crate::report::scenarios::excerpt;
use crate::verdict::{Ending, GateResult, GateStatus};
use crate::wall::confine::hand_over;
use crate::wall::way_out::{self, Exit};

use super::gates::{CI_OUTPUT, open_log};

/// See the module.
pub(super) struct Prepare;

/// How many lines are told of what a command wrote that failed. Package managers say the cause first, and much
/// behind it.
const LINES: usize = 30;

impl Handler<Run> for Prepare {
    fn kind(&self) -> &'static str {
        "prepare"
    }

    fn handle(&self, node: &Node, run: &mut Run) -> Result<NodeOutcome, Halt> {
        run.sync_judge()?;
        let frozen = run.frozen.clone();
        let steps = &frozen.prepare();
        let candidate = run.summary().candidate.0.clone();
        let tree = run.files_of(&candidate)?;
        let made = made(run)?;
        let (user, is_fresh) = (run.walls.judge_user(), run.is_fresh());
        let paths = run.versioned()?.paths.clone();
        let mut home =
            Home::begin([&paths.dir, &paths.judge_home], &candidate, &made, user, is_fresh)?;
        let held = held_in_judge(&paths.dir);
        // Tracked files among the outputs were just set to the candidate's.
        let first = first_to_place(steps, &made, &read_held(&held), |index| {
            are_there(&steps[index], &made[index].dir, &paths.judge)
                && !makes_tracked(&steps[index], &tree)
        });
        write_held(&held, &made[..first])?;
        for (step, made) in steps.iter().zip(&made).skip(first) {
            // What is kept as the work of its inputs holds nothing that another candidate's left.
            if made.lasts && !makes_tracked(step, &tree) {
                remove_outputs(step, &paths.judge)?;
            }
        }
        for (index, step) in steps.iter().enumerate() {
            let Made { dir, lasts, .. } = &made[index];
            if index < first {
                finish(node, run, index, None)?;
            } else if *lasts && !step.outputs.is_empty() && dir.is_dir() {
                place_outputs(step, dir, &paths.judge, user)?;
                home.take(&made[index]);
                finish(node, run, index, None)?;
            } else {
                home.begin_step(&made[..=index])?;
                match prepare(node, run, index, step, &made[index], &tree)? {
                    Done::Ready => {}
                    Done::Network => return Ok(NodeOutcome::of(Status::Retry)),
                    Done::Broken => return Ok(NodeOutcome::of(Status::Fail)),
                }
            }
            if index >= first {
                write_held(&held, &made[..=index])?;
            }
        }
        home.settle(&made)?;
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
    made: &Made,
    tree: &Tree,
) -> Result<Done, Halt> {
    let paths = run.versioned()?.paths.clone();
    let judge = &paths.judge;
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
    let in_the_way = in_the_way(step, judge).filter(|_| done.ending.is_success());
    if done.ending.is_success() && in_the_way.is_none() {
        if !step.outputs.is_empty() {
            let home = made.lasts.then_some(paths.judge_home.as_path());
            keep_outputs(step, judge, made, home)?;
        }
        return finish(node, run, index, Some((network, ms, text)));
    }
    if let Some(path) = in_the_way {
        let path = path.display();
        text.push_str(&format!(
            "\ndark-factory: `{path}`, on the way to an output, is no directory but a link or a file\n"
        ));
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
        status: match done.ending {
            // It left what it should not have.
            Ending::Exited { code: 0 } => GateStatus::Failed { code: 0 },
            ending => status_of(ending),
        },
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
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_is_away_is_told_from_a_broken_lock_file() {
        assert!(is_network_failure("curl: (6) Could not resolve host: registry"));
        assert!(is_network_failure("npm ERR! code EAI_AGAIN"));
        assert!(!is_network_failure("error: failed to select a version for `serde`"));
    }
}
