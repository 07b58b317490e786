//! Walks a graph: node, handler, outcome, edge. Goes on where a walk stands.
//!
//! The walk knows nothing of scenarios or agents; a handler knows nothing of the graph. What a run
//! came to is read from its last decision, never from the node it ended at.

mod base;
mod drive;
mod frozen;
pub mod handlers;
mod installed;
mod keeping;
mod keys;
mod logins;
mod outputs;
pub mod preflight;
mod prepare_home;
mod receipt;
mod recorder;
mod repository;
mod results;
mod run;
mod spending;
mod start;
mod state;
mod walls;

use std::time::Duration;

use crate::event::RunEvent;
use crate::id::NodeId;
use crate::pipeline::{Graph, Next, Node, NodeOutcome, Status, Walk};
use crate::process::Signal;

pub use base::{Base, Differences, MANUAL_PROMPT};
pub use drive::{Finish, chain, drive};
pub use frozen::{Frozen, FrozenError, read_specs, without_a_spec};
pub use installed::installed_beside;
pub use recorder::Recorder;
pub use results::trajectory;
pub use run::{Run, RunSettings, Versioned};
pub use spending::{blind, ledger_of, model_of};
pub use start::{BRANCHES, Request, Resume, StartError, Started, begin, keep_out_of_git, resume};
pub use state::{Held, Lock, RepoState, RunPaths};
pub use walls::Walls;

/// Why a walk stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// A signal asked for it.
    #[error("interrupted by {}", match .0 { Signal::Interrupt => "INT", Signal::Terminate => "TERM" })]
    Interrupted(Signal),
    /// The person asked for one step.
    #[error("one step was asked for, and it is done")]
    Paused,
    /// The factory or its surroundings failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// The factory's own failure.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct Failure {
    /// Names the kind of failure, for the record.
    pub class: &'static str,
    /// What could not be done.
    pub doing: String,
    /// Why.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    /// Makes a failure that has a cause.
    pub fn of(
        class: &'static str,
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { class, doing: doing.into(), source: Some(source.into()) }
    }

    /// Makes a failure that says everything itself.
    pub fn plain(class: &'static str, doing: impl Into<String>) -> Self {
        Self { class, doing: doing.into(), source: None }
    }
}

/// What the engine needs of the run that it walks.
pub trait Host {
    /// Records an event durably, and folds it.
    ///
    /// # Errors
    /// It could not be recorded; nothing may follow from it then.
    fn record(&mut self, node: Option<&NodeId>, event: RunEvent) -> Result<(), Halt>;

    /// Returns where the walk stands by the events so far.
    fn walk(&self) -> &Walk;

    /// Waits before a retry.
    ///
    /// # Errors
    /// A signal came.
    fn wait(&self, delay: Duration) -> Result<(), Halt>;

    /// Sets the time limit of what comes next; none lifts it.
    ///
    /// # Errors
    /// The system can't watch the time.
    fn limit(&mut self, limit: Option<Duration>) -> Result<(), Halt>;

    /// Returns whether the limit that was set has ended what was going on.
    fn limit_was_reached(&self) -> bool;

    /// Is asked before each step, and may stop the walk there.
    ///
    /// # Errors
    /// The walk is to stop.
    fn before(&mut self, next: &Next) -> Result<(), Halt>;
}

/// Does what a node of one type is for.
pub trait Handler<H> {
    /// Returns the type that it handles.
    fn kind(&self) -> &'static str;

    /// Does it. A handler may be called again for a visit that a crash cut short; what the journal
    /// tells of that visit is not done again.
    ///
    /// # Errors
    /// A signal came, or the factory failed; the visit stays open.
    fn handle(&self, node: &Node, host: &mut H) -> Result<NodeOutcome, Halt>;
}

/// Walks the graph from where the host stands to an exit.
///
/// # Errors
/// See [`Halt`]. The walk can be gone on with later.
pub fn walk<H: Host>(
    graph: &Graph,
    handlers: &[Box<dyn Handler<H>>],
    host: &mut H,
) -> Result<(), Halt> {
    loop {
        let next = host.walk().next(graph);
        host.before(&next)?;
        match next {
            Next::Done => return Ok(()),
            Next::Take { from, to } => host.record(Some(&from), RunEvent::EdgeTaken { to })?,
            Next::Run { node, visit, attempt } => {
                step(graph, handlers, host, &node, visit, attempt)?;
            }
            Next::Stuck { node } => {
                return Err(Failure::plain(
                    "graph",
                    format!("no edge of the graph may be taken from `{node}`"),
                )
                .into());
            }
            Next::TooManyVisits { node, limit } => {
                return Err(Failure::plain(
                    "graph",
                    format!("the node `{node}` was visited {limit} times, which is its bound"),
                )
                .into());
            }
        }
    }
}

fn step<H: Host>(
    graph: &Graph,
    handlers: &[Box<dyn Handler<H>>],
    host: &mut H,
    id: &NodeId,
    visit: u32,
    attempt: u32,
) -> Result<(), Halt> {
    let Some(node) = graph.node(id) else {
        return Err(Failure::plain("graph", format!("the graph has no node `{id}`")).into());
    };
    if attempt > 1 {
        host.wait(node.retry_delay(attempt))?;
    }
    host.record(Some(id), RunEvent::NodeStarted { visit, attempt })?;
    let outcome = match handlers.iter().find(|handler| handler.kind() == node.kind) {
        Some(handler) => handle(handler.as_ref(), node, host)?,
        None if matches!(node.kind.as_str(), "start" | "exit") => NodeOutcome::of(Status::Success),
        None => {
            return Err(Failure::plain(
                "graph",
                format!("nothing handles nodes of type `{}`", node.kind),
            )
            .into());
        }
    };
    host.record(Some(id), RunEvent::NodeFinished { visit, attempt, outcome })
}

/// Calls a handler within the node's time limit; one that runs into it has failed.
fn handle<H: Host>(
    handler: &dyn Handler<H>,
    node: &Node,
    host: &mut H,
) -> Result<NodeOutcome, Halt> {
    if node.timeout().is_none() {
        return handler.handle(node, host);
    }
    host.limit(node.timeout())?;
    let result = handler.handle(node, host);
    let reached = host.limit_was_reached();
    host.limit(None)?;
    match result {
        Err(Halt::Interrupted(_)) if reached => {
            let mut outcome = NodeOutcome::of(Status::Fail);
            outcome.context.insert("timed_out".to_owned(), node.id.as_str().to_owned());
            Ok(outcome)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::pipeline::converge;

    /// A host without a disk, whose events can be cut off at any point.
    #[derive(Default)]
    struct Memory {
        walk: Walk,
        events: Vec<(Option<NodeId>, RunEvent)>,
        die_after: Option<usize>,
        waited: RefCell<Vec<Duration>>,
        limit: Option<Duration>,
    }

    impl Memory {
        fn fold(events: &[(Option<NodeId>, RunEvent)]) -> Self {
            let mut memory = Self::default();
            for (node, event) in events {
                memory.apply(node.as_ref(), event);
                memory.events.push((node.clone(), event.clone()));
            }
            memory
        }

        fn apply(&mut self, node: Option<&NodeId>, event: &RunEvent) {
            let Some(node) = node else { return };
            match event {
                RunEvent::NodeStarted { visit, attempt } => {
                    self.walk.started(node, *visit, *attempt);
                }
                RunEvent::NodeFinished { attempt, outcome, .. } => {
                    self.walk.finished(node, *attempt, outcome);
                }
                RunEvent::EdgeTaken { to } => self.walk.taken(node, to),
                _ => {}
            }
        }

        fn path(&self) -> Vec<&str> {
            self.events
                .iter()
                .filter_map(|(node, event)| match event {
                    RunEvent::NodeFinished { .. } => node.as_ref().map(NodeId::as_str),
                    _ => None,
                })
                .collect()
        }
    }

    impl Host for Memory {
        fn record(&mut self, node: Option<&NodeId>, event: RunEvent) -> Result<(), Halt> {
            self.apply(node, &event);
            self.events.push((node.cloned(), event));
            if self.die_after == Some(self.events.len()) {
                return Err(Halt::Interrupted(Signal::Terminate));
            }
            Ok(())
        }
        fn walk(&self) -> &Walk {
            &self.walk
        }
        fn wait(&self, delay: Duration) -> Result<(), Halt> {
            self.waited.borrow_mut().push(delay);
            Ok(())
        }
        fn before(&mut self, _: &Next) -> Result<(), Halt> {
            Ok(())
        }
        fn limit(&mut self, limit: Option<Duration>) -> Result<(), Halt> {
            self.limit = limit;
            Ok(())
        }
        fn limit_was_reached(&self) -> bool {
            self.limit.is_some()
        }
    }

    /// Runs into whatever limit it is given, and else is interrupted.
    struct Endless;

    impl Handler<Memory> for Endless {
        fn kind(&self) -> &'static str {
            "prepare"
        }
        fn handle(&self, _: &Node, _: &mut Memory) -> Result<NodeOutcome, Halt> {
            Err(Halt::Interrupted(Signal::Terminate))
        }
    }

    struct Fixed(&'static str, fn(u32) -> NodeOutcome);

    impl Handler<Memory> for Fixed {
        fn kind(&self) -> &'static str {
            self.0
        }
        fn handle(&self, node: &Node, host: &mut Memory) -> Result<NodeOutcome, Halt> {
            Ok((self.1)(host.walk.visits[&node.id]))
        }
    }

    fn handlers() -> Vec<Box<dyn Handler<Memory>>> {
        let success = |_| NodeOutcome::of(Status::Success);
        vec![
            Box::new(Fixed("prepare", success)),
            Box::new(Fixed("gates", |visit| {
                NodeOutcome::of(if visit == 1 { Status::Fail } else { Status::Success })
            })),
            Box::new(Fixed("scenarios", success)),
            Box::new(Fixed("decide", |visit| {
                NodeOutcome::labelled(if visit < 3 { "continue" } else { "stop" })
            })),
            Box::new(Fixed("feedback", success)),
            Box::new(Fixed("agent", success)),
            Box::new(Fixed("deliver", |visit| {
                NodeOutcome::labelled(if visit == 1 { "changed" } else { "unchanged" })
            })),
            Box::new(Fixed("report", success)),
        ]
    }

    const WAY: [&str; 15] = [
        "begin",
        "prepare",
        "gates",
        "decide",
        "feedback",
        "agent",
        "deliver",
        "prepare",
        "gates",
        "scenarios",
        "decide",
        "feedback",
        "agent",
        "deliver",
        "decide",
    ];

    #[test]
    fn the_loop_goes_round_and_ends() {
        let mut host = Memory::default();
        walk(&converge(), &handlers(), &mut host).unwrap();
        assert_eq!(host.path(), [&WAY[..], &["report", "done"]].concat());
    }

    #[test]
    fn a_walk_that_is_cut_off_anywhere_goes_on_to_the_same_end() {
        let mut whole = Memory::default();
        walk(&converge(), &handlers(), &mut whole).unwrap();
        for cut in 1..whole.events.len() {
            let mut first = Memory { die_after: Some(cut), ..Memory::default() };
            assert!(walk(&converge(), &handlers(), &mut first).is_err());
            let mut second = Memory::fold(&first.events);
            walk(&converge(), &handlers(), &mut second).unwrap();
            assert_eq!(second.path(), whole.path(), "cut after event {cut}");
        }
    }

    #[test]
    fn a_retry_waits_longer_each_time_and_then_fails_the_node() {
        let mut host = Memory::default();
        let mut handlers = handlers();
        handlers[0] = Box::new(Fixed("prepare", |_| NodeOutcome::of(Status::Retry)));
        handlers[3] = Box::new(Fixed("decide", |_| NodeOutcome::labelled("stop")));
        walk(&converge(), &handlers, &mut host).unwrap();
        let seconds: Vec<u64> = host.waited.borrow().iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2]);
        assert_eq!(host.path()[..5], ["begin", "prepare", "prepare", "prepare", "decide"]);
    }

    #[test]
    fn a_node_that_runs_into_its_limit_has_failed_and_a_signal_stops_the_walk() {
        let mut handlers = handlers();
        handlers[0] = Box::new(Endless);
        handlers[3] = Box::new(Fixed("decide", |_| NodeOutcome::labelled("stop")));
        let mut graph = converge();
        assert!(walk(&graph, &handlers, &mut Memory::default()).is_err());
        let prepare = graph.nodes.iter_mut().find(|node| node.kind == "prepare").unwrap();
        prepare.attributes.insert("timeout_s".into(), "60".into());
        let mut host = Memory::default();
        walk(&graph, &handlers, &mut host).unwrap();
        assert_eq!(host.path(), ["begin", "prepare", "decide", "report", "done"]);
        assert_eq!(host.walk.context["timed_out"], "prepare");
    }

    #[test]
    fn a_node_without_a_handler_stops_the_walk() {
        let mut host = Memory::default();
        let error = walk(&converge(), &[], &mut host).unwrap_err();
        assert_eq!(error.to_string(), "nothing handles nodes of type `prepare`");
    }
}
