//! The agents that `dark-factory.yaml` can name, and the words that each has for its effort. What else is
//! known of an agent stands in its backend; this is here so that settings are refused where they are read.

use crate::text::nearest;

/// An agent that can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownAgent {
    /// The name of its backend.
    pub name: &'static str,
    /// What its `effort` can be, least first; empty where it has no option for that.
    pub efforts: &'static [&'static str],
}

/// Every agent, in the order in which people are told of them.
pub const AGENTS: [KnownAgent; 7] = [
    // It takes any word, and passes it on to its provider.
    of("codex", &["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"]),
    // It ignores a word that it does not know.
    of("claude", &["low", "medium", "high", "xhigh", "max"]),
    // Likewise. Which of them a model has is its provider's.
    of("opencode", &["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    of("gemini", &[]),
    of("qwen", &[]),
    of("command", &[]),
    of("replay", &[]),
];

const fn of(name: &'static str, efforts: &'static [&'static str]) -> KnownAgent {
    KnownAgent { name, efforts }
}

/// Returns the names of all agents as a part of a sentence: `codex, claude or qwen`.
pub fn agent_names() -> String {
    listed(&AGENTS.map(|agent| agent.name))
}

/// Returns what is wrong with the name of a backend, and what to do; none where there is such a one.
pub(super) fn unknown_backend(name: &str) -> Option<(String, String)> {
    let names = AGENTS.map(|agent| agent.name);
    (!names.contains(&name)).then(|| {
        let near = did_you_mean(name, &names);
        (format!("there is no agent backend `{name}`{near}"), format!("write {}", agent_names()))
    })
}

/// Returns what is wrong with the effort of a backend, and what to do; none where it knows it, or where
/// there is no such backend. With `without` it may be one that has no option for an effort, where it is
/// without effect.
pub fn unknown_effort(backend: &str, effort: &str, without: bool) -> Option<(String, String)> {
    let agent = AGENTS.iter().find(|agent| agent.name == backend)?;
    if agent.efforts.is_empty() {
        let message = format!("`{backend}` has no option for an effort, `{effort}` or any other");
        return (!without).then(|| (message, "leave `effort` out".to_owned()));
    }
    (!agent.efforts.contains(&effort)).then(|| {
        let near = did_you_mean(effort, agent.efforts);
        let own = match backend {
            "opencode" => "; a variant of your own goes into `args`, as `[--variant, NAME]`",
            _ => "",
        };
        let help = format!("write {}{own}", listed(agent.efforts));
        (format!("`{backend}` knows no effort `{effort}`{near}"), help)
    })
}

fn did_you_mean(word: &str, known: &[&'static str]) -> String {
    let near = nearest(word, known.iter().copied());
    near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

fn listed(words: &[&str]) -> String {
    match words {
        [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
        _ => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_a_backend_finds_it_and_a_stranger_finds_all() {
        let (message, help) = unknown_backend("codx").unwrap();
        assert_eq!(message, "there is no agent backend `codx`; did you mean `codex`?");
        assert_eq!(help, "write codex, claude, opencode, gemini, qwen, command or replay");
        assert_eq!(unknown_backend("aider").unwrap().0, "there is no agent backend `aider`");
        assert_eq!(unknown_backend("claude"), None);
    }

    #[test]
    fn an_effort_is_one_that_the_backend_knows() {
        for agent in AGENTS {
            for effort in agent.efforts {
                assert_eq!(unknown_effort(agent.name, effort, false), None);
            }
        }
        let (message, help) = unknown_effort("claude", "hihg", false).unwrap();
        assert_eq!(message, "`claude` knows no effort `hihg`; did you mean `high`?");
        assert_eq!(help, "write low, medium, high, xhigh or max");
        assert!(unknown_effort("claude", "minimal", true).is_some());
        assert!(unknown_effort("opencode", "mine", true).unwrap().1.contains("--variant"));
        assert!(unknown_effort("gemini", "high", false).unwrap().0.contains("no option"));
        assert_eq!(unknown_effort("gemini", "high", true), None);
    }
}
