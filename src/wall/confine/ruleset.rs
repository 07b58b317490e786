//! Landlock: what the kernel lets a process open, whoever owns it.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};

/// What a path may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Read and executed.
    Read,
    /// Everything.
    Write,
}

/// Confines this process, and all that it starts, to `rules`: below each path what its right says, and
/// nothing elsewhere. With a `port` it connects to no other, by TCP. Abstract sockets and, where
/// they are to stay, signals do not leave the domain, where the kernel knows how. A path that is not there gives no right.
///
/// # Errors
/// The kernel has no Landlock, or it is switched off, or it knows no ports.
pub(super) fn apply(
    rules: &[(PathBuf, Right)],
    port: Option<u16>,
    signals_stay: bool,
) -> io::Result<()> {
    // What is older lets files be cut short that may not be written.
    let needed = AccessFs::from_all(ABI::V3);
    let all = AccessFs::from_all(ABI::V5);
    let read = AccessFs::from_read(ABI::V5);
    let scope = match signals_stay {
        true => Scope::AbstractUnixSocket | Scope::Signal,
        false => Scope::AbstractUnixSocket.into(),
    };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(needed)
        .map_err(io::Error::other)?;
    if port.is_some() {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp).map_err(io::Error::other)?;
    }
    let mut ruleset = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)
        .map_err(io::Error::other)?
        .scope(scope)
        .map_err(io::Error::other)?
        .create()
        .map_err(io::Error::other)?;
    if let Some(port) = port {
        let rule = NetPort::new(port, AccessNet::ConnectTcp);
        ruleset = ruleset.add_rule(rule).map_err(io::Error::other)?;
    }
    for (path, right) in rules {
        let access = match right {
            Right::Read => read,
            Right::Write => all,
        };
        if let Some(rule) = beneath(path, access) {
            ruleset = ruleset.add_rule(rule).map_err(io::Error::other)?;
        }
    }
    let status = ruleset.restrict_self().map_err(io::Error::other)?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(io::Error::other("the kernel has no Landlock, or it is switched off"));
    }
    Ok(())
}

fn beneath(path: &Path, access: BitFlags<AccessFs>) -> Option<PathBeneath<PathFd>> {
    let is_dir = path.metadata().ok()?.is_dir();
    let access = if is_dir { access } else { access & AccessFs::from_file(ABI::V5) };
    Some(PathBeneath::new(PathFd::new(path).ok()?, access))
}
