//! What an agent is doing, in a line.

use crate::clock::Timestamp;
use crate::convergence::TurnClass;
use crate::event::Activity;
use crate::text::{one_line, plural};

/// The longest line, in characters.
const LONGEST: usize = 100;

/// Returns what the agent does as a fragment that is safe for a terminal; none where it is nothing
/// that somebody who looks on would ask for.
pub(super) fn doing(activity: &Activity) -> Option<String> {
    let short = |text: &str| one_line(text, LONGEST);
    match activity {
        Activity::Said { text } | Activity::Noted { text } | Activity::Warned { text } => {
            Some(short(text))
        }
        Activity::Began { what } => Some(format!("runs {}", short(what))),
        Activity::Ran { what, exit: Some(code) } if *code != 0 => {
            Some(format!("ran {}: exit {code}", short(what)))
        }
        Activity::Ran { what, .. } => Some(format!("ran {}", short(what))),
        Activity::WasDenied { what } => Some(format!("was not allowed {}", short(what))),
        Activity::Changed { paths } => match paths.as_slice() {
            [] => None,
            [path] => Some(format!("changed {}", short(path))),
            [path, rest @ ..] => {
                Some(format!("changed {} and {}", short(path), plural(rest.len(), "more file")))
            }
        },
        Activity::Used(_) | Activity::Finished { .. } => None,
    }
}

/// Returns what the signal did to the factory that this exit code tells.
pub(super) fn interrupted_by(exit: u8) -> &'static str {
    match exit {
        130 => "interrupted by INT",
        _ => "interrupted by TERM",
    }
}

/// Returns what becomes of a turn that an outage ended, as the rest of a sentence about the agent.
pub(super) fn postponed(
    class: &str,
    until: Option<Timestamp>,
    now: Timestamp,
    next: Option<&str>,
    stops: bool,
) -> String {
    let words = TurnClass::parse(class).map_or(class, |class| class.words());
    match (stops, next, until) {
        (true, _, Some(until)) => format!("{words}, which is lifted at {}", until.local(now)),
        (true, _, None) => words.to_owned(),
        (false, Some(next), _) => format!("{words}; {next} takes over"),
        (false, None, Some(until)) => {
            format!("{words}; waits until {}, and goes on", until.local(now))
        }
        (false, None, None) => format!("{words}; it is tried again"),
    }
}
