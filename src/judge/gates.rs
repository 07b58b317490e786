//! Runs gates and quality checks: all of them, in order, their output written as it comes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use crate::clock::human;
use crate::config::GateSettings;
use crate::process::{Cancel, Keep, Stream};
use crate::text::{one_line, tail};
use crate::verdict::{Ending, GateResult, GateStatus};
use crate::wall::confine::Network;

use super::Place;
use super::bash::Limits;
use super::makefile::{Targets, gone_target};

/// How many characters of a gate's output are kept.
const KEPT: usize = 20_000;
/// As many bytes as those characters can have.
const KEPT_BYTES: usize = KEPT * 4;
const GRACE: Duration = Duration::from_secs(2);

/// What goes on while gates run.
#[derive(Debug)]
pub enum GateProgress<'a> {
    /// The gate is about to run.
    Started(&'a GateSettings),
    /// It wrote something.
    Output(&'a GateSettings, &'a [u8]),
    /// It is over; comes once for every gate, one that was not run included.
    Finished(&'a GateResult),
}

/// Runs the gates in order, each of them whatever came of those before, and returns their results
/// in this order.
///
/// Both streams of each go to `log` as they come, between a line that names the gate and one that
/// says what came of it. A gate whose make target the candidate no longer has (`targets`) fails
/// without being run. Once the token is tripped the rest is `Interrupted`.
///
/// # Errors
/// `log` can't be written; the gate that was running is waited for.
pub fn run_gates(
    gates: &[GateSettings],
    targets: Option<&Targets>,
    place: &Place,
    log: &mut dyn Write,
    cancel: &Cancel,
    progress: &mut dyn FnMut(GateProgress<'_>),
) -> io::Result<Vec<GateResult>> {
    let mut results = Vec::with_capacity(gates.len());
    for gate in gates {
        let result = if cancel.tripped().is_some() {
            not_run(gate, GateStatus::Interrupted)
        } else if let Some(target) =
            targets.and_then(|targets| gone_target(gate, &targets.base, &targets.candidate))
        {
            not_run(gate, GateStatus::TargetGone { target })
        } else {
            run_gate(gate, place, log, cancel, progress)?
        };
        writeln!(log, "=== gate {} {}", gate.name, said(&result))?;
        log.flush()?;
        progress(GateProgress::Finished(&result));
        results.push(result);
    }
    Ok(results)
}

fn not_run(gate: &GateSettings, status: GateStatus) -> GateResult {
    GateResult {
        name: gate.name.clone(),
        status,
        duration: Duration::ZERO,
        output: String::new(),
        output_bytes: 0,
    }
}

fn run_gate(
    gate: &GateSettings,
    place: &Place,
    log: &mut dyn Write,
    cancel: &Cancel,
    progress: &mut dyn FnMut(GateProgress<'_>),
) -> io::Result<GateResult> {
    writeln!(log, "=== gate {}: {}", gate.name, one_line(&gate.run, 200))?;
    log.flush()?;
    progress(GateProgress::Started(gate));
    let network = if gate.network { Network::Open } else { Network::Own };
    let keep = Keep { head: 0, tail: 0 };
    let limits = Limits { time: gate.timeout.0, grace: GRACE, keep, network, shown: Vec::new() };
    let mut kept: Vec<u8> = Vec::new();
    let mut written = Ok(());
    let mut take = |bytes: &[u8]| {
        if bytes.is_empty() {
            return;
        }
        kept.extend_from_slice(bytes);
        if kept.len() > 2 * KEPT_BYTES {
            kept.drain(..kept.len() - KEPT_BYTES);
        }
        if written.is_ok() {
            written = log.write_all(bytes).and_then(|()| log.flush());
        }
        progress(GateProgress::Output(gate, bytes));
    };
    let mut streams = [place.redaction.stream(), place.redaction.stream()];
    let mut live = |stream: Stream, bytes: &[u8]| take(&streams[stream as usize].push(bytes));
    let finished = place.bash(&gate.run, &BTreeMap::new(), limits, cancel, &mut live);
    for stream in &mut streams {
        take(&stream.finish());
    }
    written?;
    if kept.last().is_some_and(|last| *last != b'\n') {
        writeln!(log)?;
    }
    let status = match finished.ending {
        Ending::Exited { code: 0 } => GateStatus::Passed,
        Ending::Exited { code } => GateStatus::Failed { code },
        Ending::Signalled { signal } => GateStatus::Signalled { signal },
        Ending::TimedOut { limit } | Ending::Idle { limit } => GateStatus::TimedOut { limit },
        Ending::Interrupted => GateStatus::Interrupted,
        Ending::CouldNotStart { why } => GateStatus::CouldNotStart { why },
    };
    Ok(GateResult {
        name: gate.name.clone(),
        status,
        duration: finished.duration,
        output: tail(&String::from_utf8_lossy(&kept), KEPT).0.to_owned(),
        output_bytes: finished.stdout.total + finished.stderr.total,
    })
}

/// Returns what came of a gate, as the end of a sentence that its name begins.
/// Returns how a gate, or what is run as one, ended: `failed with exit code 7 after 0.1 s`.
pub fn said(result: &GateResult) -> String {
    let time = human(result.duration);
    match &result.status {
        GateStatus::Passed => format!("passed in {time}"),
        GateStatus::Failed { code } => format!("failed with exit code {code} after {time}"),
        GateStatus::Signalled { signal } => format!("was ended by signal {signal} after {time}"),
        GateStatus::TimedOut { limit } => format!("was ended at its limit of {}", human(*limit)),
        GateStatus::TargetGone { target } => {
            format!("failed: the Makefile has no target `{target}` any more")
        }
        GateStatus::CouldNotStart { why } => format!("could not start: {why}"),
        GateStatus::Interrupted => "was interrupted".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;
    use crate::process::Signal;

    fn gate(name: &str, run: &str) -> GateSettings {
        let timeout = Span::seconds(60);
        let definition = Vec::new();
        GateSettings { name: name.into(), run: run.into(), definition, network: false, timeout }
    }

    fn place(dir: &tempfile::TempDir) -> Place {
        let env = BTreeMap::from([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())]);
        Place::open(dir.path(), env)
    }

    /// Runs the gates; returns their results and the log, times made `T`.
    fn run(
        gates: &[GateSettings],
        targets: Option<&Targets>,
        cancel: &Cancel,
    ) -> (Vec<GateResult>, String) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Vec::new();
        let results =
            run_gates(gates, targets, &place(&dir), &mut log, cancel, &mut |_| {}).unwrap();
        let log = String::from_utf8(log).unwrap();
        (results, regex::Regex::new(r"\d\.\d s").unwrap().replace_all(&log, "T").into_owned())
    }

    #[test]
    fn every_gate_runs_even_if_one_fails() {
        let gates =
            [gate("lint", "echo out; sleep 0.1; printf err >&2; exit 2"), gate("test", "true")];
        let (results, log) = run(&gates, None, &Cancel::never());
        assert_eq!(
            log,
            "=== gate lint: echo out; sleep 0.1; printf err >&2; exit 2\nout\nerr\n\
             === gate lint failed with exit code 2 after T\n\
             === gate test: true\n=== gate test passed in T\n"
        );
        assert_eq!(results[0].status, GateStatus::Failed { code: 2 });
        assert_eq!((results[0].output.as_str(), results[0].output_bytes), ("out\nerr", 7));
        assert!(results[1].passed());
    }

    #[test]
    fn a_gate_whose_target_is_gone_is_not_run_and_fails() {
        let base = ["test".to_owned()].into();
        let targets = Targets { base, candidate: std::collections::BTreeSet::new() };
        let (results, log) = run(&[gate("test", "make test")], Some(&targets), &Cancel::never());
        assert_eq!(results[0].status, GateStatus::TargetGone { target: "test".into() });
        assert_eq!(log, "=== gate test failed: the Makefile has no target `test` any more\n");
    }

    #[test]
    fn a_gate_is_ended_at_its_limit() {
        let limit = Duration::from_millis(200);
        let slow = GateSettings { timeout: Span(limit), ..gate("slow", "sleep 300; true") };
        let (results, log) = run(&[slow], None, &Cancel::never());
        assert_eq!(results[0].status, GateStatus::TimedOut { limit });
        assert!(log.ends_with("=== gate slow was ended at its limit of T\n"), "{log}");
    }

    #[test]
    fn much_output_leaves_its_last_part_and_all_of_it_in_the_log() {
        let (results, log) = run(&[gate("g", "seq 100000")], None, &Cancel::never());
        assert_eq!(results[0].output.chars().count(), KEPT);
        assert!(results[0].output.ends_with("\n100000\n"));
        assert!(log.contains("\n1\n2\n3\n") && log.contains("\n100000\n=== gate g passed"));
    }

    #[test]
    fn after_an_interrupt_no_gate_begins() {
        let cancel = Cancel::new().unwrap();
        cancel.trip(Signal::Terminate);
        let (results, log) = run(&[gate("a", "true"), gate("b", "true")], None, &cancel);
        assert!(results.iter().all(|result| result.status == GateStatus::Interrupted));
        assert_eq!(log, "=== gate a was interrupted\n=== gate b was interrupted\n");
    }

    #[test]
    fn a_full_disk_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let gates = [gate("a", "true")];
        let error = run_gates(&gates, None, &place(&dir), &mut log, &Cancel::never(), &mut |_| {});
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
