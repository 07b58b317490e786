//! The subcommands that the factory calls itself by: the agent's supervisor, and the agent that
//! replays a recording.

use std::ffi::OsString;
use std::path::Path;

use crate::judge;
use crate::wall::confine;

/// Runs a hidden subcommand if the arguments name one, and returns its exit code; none where they
/// do not. Called before anything else is read or set up.
pub fn hidden(args: impl Iterator<Item = OsString>) -> Option<u8> {
    let args: Vec<OsString> = args.skip(1).collect();
    let words: Vec<&std::ffi::OsStr> = args.iter().map(OsString::as_os_str).collect();
    match words.as_slice() {
        [name, spec] if *name == "supervise-agent" => {
            Some(crate::agent::supervise(Path::new(spec)))
        }
        [name, recording, number, attempt, workspace] if *name == "replay-turn" => {
            let number = number.to_str()?.parse().ok()?;
            let attempt = attempt.to_str()?.parse().ok()?;
            let (recording, workspace) = (Path::new(recording), Path::new(workspace));
            Some(crate::agent::replay_main(recording, number, attempt, workspace))
        }
        [name, step] if *name == confine::HOLD => Some(confine::hold(step.to_str()?)),
        [name, rest @ ..] if *name == judge::LOOK => {
            let rest: Option<Vec<&str>> = rest.iter().map(|text| text.to_str()).collect();
            Some(judge::look_inside(&rest?))
        }
        [kind, ..] if *kind == confine::OUTER || *kind == confine::INNER => {
            Some(confine::launch(&args))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_call_is_not_taken_for_a_hidden_subcommand() {
        for args in [vec!["factory"], vec!["factory", "status"], vec!["factory", "supervise-agent"]]
        {
            assert_eq!(hidden(args.into_iter().map(OsString::from)), None);
        }
    }
}
