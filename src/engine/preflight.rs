//! What is worth knowing before a run begins and keeps none from beginning: the version of the agent's
//! program, and how much room is left on the disk. `factory doctor` asks the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::{self, Found, Version, find_tool};
use crate::config::{AgentSettings, Environment};

/// With less room than this, in bytes, a run may not come to its end.
pub const LITTLE_ROOM: u64 = 2_000_000_000;

/// How long a program may take to say its version before a run, for which nobody waits gladly.
const BEFORE_A_RUN: Duration = Duration::from_secs(2);

/// Returns what a person should know before the agent is started.
pub(super) fn notices(settings: &AgentSettings, env: &Environment, state: &Path) -> Vec<String> {
    let mut notices = Vec::new();
    let found = agent::backend(settings).ok().and_then(|one| find_tool(one, settings, env));
    if let Some(found) = found
        && let Some(tool) = found.tool
        && let Some(Version::Other(version)) = version(&found, env, BEFORE_A_RUN)
    {
        notices.push(format!(
            "`{}` is version {version}; the factory was tried with {}",
            found.program,
            tool.tested_with()
        ));
    }
    for (path, room) in rooms(state, env) {
        if room < LITTLE_ROOM {
            notices.push(format!(
                "{} has {:.1} GB left; a run may need more",
                path.display(),
                room as f64 / 1e9
            ));
        }
    }
    notices
}

/// Asks an agent's program for its version, in an empty home; none of a program that the factory knows
/// nothing of, or that is not there.
pub fn version(found: &Found, env: &Environment, limit: Duration) -> Option<Version> {
    let (tool, path) = (found.tool?, found.path.as_ref()?);
    let home = tempfile::Builder::new().prefix("factory-").tempdir_in(env.temp_dir());
    Some(match home {
        Ok(home) => tool.version(path, env, home.path(), limit),
        Err(error) => Version::Unknown(format!("there is no home for it: {error}")),
    })
}

/// Tries whether temporary files can be made.
///
/// # Errors
/// Their directory is not there, or can't be written.
pub fn temporary_files(env: &Environment) -> std::io::Result<()> {
    tempfile::tempfile_in(env.temp_dir()).map(drop)
}

/// Returns whether the system executes nothing that lies in `state`, or will once that is made.
pub fn executes_nothing(state: &Path) -> bool {
    let there = state.ancestors().find(|path| path.exists());
    there
        .and_then(|path| rustix::fs::statvfs(path).ok())
        .is_some_and(|found| found.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
}

/// Returns how many bytes are left where the factory's state and temporary files lie; each file system
/// once, what can't be told left out.
pub fn rooms(state: &Path, env: &Environment) -> Vec<(PathBuf, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let mut seen = Vec::new();
    let mut rooms = Vec::new();
    for wanted in [state.to_owned(), env.temp_dir()] {
        let Some(path) = wanted.ancestors().find(|path| path.exists()) else { continue };
        let Ok(device) = path.metadata().map(|found| found.dev()) else { continue };
        let Ok(found) = rustix::fs::statvfs(path) else { continue };
        if !seen.contains(&device) {
            seen.push(device);
            rooms.push((path.to_owned(), found.f_bavail.saturating_mul(found.f_frsize)));
        }
    }
    rooms
}
