//! Drives a run to its end, whatever that is, and records it.

use crate::convergence::Decision;
use crate::event::{Label, RunEvent};
use crate::process::{Signal, end_orphans};
use crate::wall::forget_short_name;

use super::handlers;
use super::{Halt, Started, walk};

/// How a run ended, as far as its events may not tell: they do not where the journal itself failed.
#[derive(Debug)]
pub struct Finish {
    /// The exit code.
    pub exit: u8,
    /// The signal that stopped it.
    pub signal: Option<Signal>,
    /// The factory's own failure.
    pub failure: Option<Halt>,
}

/// Walks the run's graph until it ends or is stopped.
pub fn drive(started: &mut Started) -> Finish {
    let run = &mut started.run;
    // Whatever a factory left that was killed would be in the way of this one.
    end_orphans();
    let halted = walk(&started.graph, &handlers::all(), run).and_then(|()| {
        let (outcome, exit) = match &run.summary().decision {
            Some(decision) => (decision.class().to_owned(), decision.exit_code()),
            None => ("nothing_to_judge".to_owned(), 4),
        };
        run.recorder.record(None, RunEvent::RunFinished { outcome, exit })
    });
    run.fixtures = None;
    if let Some(versioned) = &run.versioned {
        forget_short_name(&versioned.paths.judge_tmp);
        forget_short_name(&versioned.paths.agent_tmp);
    }
    // What was judged is recorded; what will not end now is looked for again when the run goes on.
    let _ = run.end_leftovers();
    match halted {
        Ok(()) => finished(started),
        Err(Halt::Paused) => {
            let recorded = run.recorder.record(None, RunEvent::RunPaused {});
            match recorded {
                Ok(()) => Finish { exit: 5, signal: None, failure: None },
                Err(halt) => failed(halt),
            }
        }
        Err(Halt::Interrupted(signal)) => {
            let exit = signal.exit_code();
            let _ = run.recorder.record(None, RunEvent::RunInterrupted { exit });
            Finish { exit, signal: Some(signal), failure: None }
        }
        Err(halt) => {
            if let Halt::Failed(failure) = &halt {
                // Where the journal itself is what failed, there is nowhere to say so.
                if let Ok(message) = run.recorder.put(Label::Internal, chain(failure)) {
                    let class = failure.class.to_owned();
                    let _ = run.recorder.record(None, RunEvent::RunFailed { class, message });
                }
            }
            failed(halt)
        }
    }
}

fn finished(started: &Started) -> Finish {
    let exit = started.run.summary().decision.as_ref().map_or(4, Decision::exit_code);
    Finish { exit, signal: None, failure: None }
}

fn failed(halt: Halt) -> Finish {
    Finish { exit: 3, signal: None, failure: Some(halt) }
}

/// Returns an error with its causes, one a line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("\ncaused by: {cause}"));
        source = cause.source();
    }
    text
}
