//! Where the program of an agent is, and which version: asked of itself, beside the one that the factory
//! was tried with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Backend, Tool};
use crate::config::{AgentSettings, Environment};
use crate::process::{Call, Cancel, Keep, run};
use crate::verdict::Ending;

/// What of its output is looked at.
const OUTPUT: usize = 4_000;

/// The program that an agent is started by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub program: String,
    /// Where it is; none where it is not there.
    pub path: Option<PathBuf>,
    /// What the backend knows of it; none of a person's own command.
    pub tool: Option<Tool>,
}

/// What a program says of its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// One that the factory was tried with.
    Tested(String),
    /// Another one.
    Other(String),
    /// It does not say, and why.
    Unknown(String),
}

/// Finds the program of `backend`; none where it is the factory's own.
pub fn find_tool(
    backend: &dyn Backend,
    settings: &AgentSettings,
    env: &Environment,
) -> Option<Found> {
    let tool = backend.tool();
    let program = match tool {
        Some(tool) => tool.program.to_owned(),
        None if backend.name() == "command" => settings.command.first()?.clone(),
        None => return None,
    };
    let path = match program.starts_with('/') || !program.contains('/') {
        true => env.find_program(&program),
        // It counts from the workspace, which is not there yet.
        false => Some(PathBuf::from(&program)),
    };
    Some(Found { program, path, tool })
}

impl Tool {
    /// Asks the program at `path` for its version, in an environment without a login and in `home`, an
    /// empty directory. Waits for `limit` at most.
    pub fn version(&self, path: &Path, env: &Environment, home: &Path, limit: Duration) -> Version {
        let variables = env.for_agent(&[], home, home, home);
        let call = Call::new(path, home).arg("--version").env(variables).limit(limit);
        let call = call.keep(Keep { head: OUTPUT, tail: 0 }).grace(Duration::from_millis(200));
        let finished = run(&call.ending_strays(), &Cancel::never(), &mut |_, _| {});
        match finished.ending {
            Ending::Exited { code: 0 } => {}
            Ending::TimedOut { .. } => {
                return Version::Unknown(format!("it did not say within {} s", limit.as_secs()));
            }
            Ending::Exited { code } => {
                return Version::Unknown(format!("`--version` exits with {code}"));
            }
            Ending::CouldNotStart { why } => return Version::Unknown(why),
            other => return Version::Unknown(format!("`--version` ended as {other:?}")),
        }
        match version_in(&finished.stdout.text()) {
            Some(found) if self.is_tested(&found) => Version::Tested(found),
            Some(found) => Version::Other(found),
            None => Version::Unknown("`--version` names none".to_owned()),
        }
    }

    fn is_tested(&self, version: &str) -> bool {
        let (first, last) = self.tested;
        numbers(first) <= numbers(version) && numbers(version) <= numbers(last)
    }

    /// Returns the versions that the factory was tried with, as people read it.
    pub fn tested_with(&self) -> String {
        match self.tested {
            (first, last) if first == last => first.to_owned(),
            (first, last) => format!("{first} to {last}"),
        }
    }
}

/// Returns the first version number in `text`.
fn version_in(text: &str) -> Option<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-'))
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && numbers(word).len() > 1)
        .map(str::to_owned)
}

/// Returns the numbers of a version, up to its first mark of another kind.
fn numbers(version: &str) -> Vec<u64> {
    let plain = version.split('-').next().unwrap_or_default();
    plain.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Tool = Tool { program: "x", tested: ("1.2.0", "1.10.3"), hint: "" };

    fn check(says: &str, expected: &Version) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, format!("#!/bin/sh\n{says}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        let env = [("PATH".into(), "/usr/bin:/bin".into()), ("API_KEY".into(), "secret".into())];
        let env = Environment::from_parts(env.into(), "/".into());
        let limit = Duration::from_secs(5);
        assert_eq!(&TOOL.version(&path, &env, dir.path(), limit), expected, "{says}");
    }

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        check("echo codex-cli 1.9.7", &Version::Tested("1.9.7".to_owned()));
        check("echo 'v1.10.3 (Some Code)'", &Version::Tested("1.10.3".to_owned()));
        check("echo 1.11.0", &Version::Other("1.11.0".to_owned()));
        check("echo 1.1.99-beta.1", &Version::Other("1.1.99-beta.1".to_owned()));
    }

    #[test]
    fn a_program_that_says_no_version_is_unknown() {
        check("echo none", &Version::Unknown("`--version` names none".to_owned()));
        check("exit 3", &Version::Unknown("`--version` exits with 3".to_owned()));
    }

    #[test]
    fn it_is_asked_without_the_persons_secrets() {
        check("test -z \"$API_KEY\" && echo 1.2.0", &Version::Tested("1.2.0".to_owned()));
    }
}
