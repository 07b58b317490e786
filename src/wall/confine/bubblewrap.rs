//! The view made by `bwrap`, where that may make namespaces and this process may not.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::Command;

use super::spec::{self, Network, Spec, Start};
use super::view::Use;

/// Where the launcher, what it is told and its report are in the view.
const LAUNCHER: &str = "/run/dark-factory/launcher";

/// Returns the start of `bwrap`, up to the program that it starts in the view.
///
/// # Errors
/// The settings name no `bwrap`.
pub(super) fn command(spec: &Spec, start: &Start, told: &OsStr) -> io::Result<Command> {
    let bwrap = spec.bwrap.as_ref().ok_or_else(|| io::Error::other("`bwrap` is not there"))?;
    let own = std::env::current_exe()?;
    #[expect(clippy::disallowed_methods, reason = "the launcher is started through `process`")]
    let mut command = Command::new(bwrap);
    command.args(arguments(spec, start, told, &own)).arg("--").arg(LAUNCHER);
    Ok(command)
}

/// Returns the arguments that make the view; the launcher's own files are read, its report written.
fn arguments(spec: &Spec, start: &Start, told: &OsStr, own: &Path) -> Vec<OsString> {
    let mut out: Vec<OsString> =
        ["--unshare-all", "--as-pid-1", "--cap-drop", "ALL"].map(OsString::from).into();
    if start.going_on.is_none() {
        out.push("--die-with-parent".into());
    }
    if start.network != Network::Own {
        out.push("--share-net".into());
    }
    for (kind, at) in [("--tmpfs", "/run"), ("--proc", "/proc"), ("--dev", "/dev")] {
        out.extend([kind.into(), at.into()]);
    }
    for (from, at, using) in spec::places(spec, start) {
        let link = from.read_link().ok().filter(|_| using == Use::Read);
        let (from, at) = (from.into_os_string(), at.into_os_string());
        match (using, link) {
            (_, Some(target)) => out.extend(["--symlink".into(), target.into(), at.clone()]),
            (Use::Read, None) => out.extend(["--ro-bind".into(), from.clone(), at.clone()]),
            (Use::Write, None) => out.extend(["--bind".into(), from.clone(), at.clone()]),
            (Use::Device, None) => out.extend(["--dev-bind".into(), from.clone(), at.clone()]),
        }
    }
    let launcher = ("--ro-bind", own.as_os_str(), OsStr::new(LAUNCHER));
    let told = ("--ro-bind", told, told);
    let written = [Some(&start.report), start.going_on.as_ref()].into_iter().flatten();
    let written = written.map(|path| ("--bind", path.as_os_str(), path.as_os_str()));
    for (kind, path, at) in [launcher, told].into_iter().chain(written) {
        out.extend([kind.into(), path.to_owned(), at.to_owned()]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::spec::Step;
    use super::super::view::Seen;
    use super::*;

    #[test]
    fn what_is_around_comes_before_what_is_within_and_the_network_is_apart() {
        let seen = |path: &str, using| Seen { path: path.into(), using };
        let spec = Spec {
            step: Step::Bubblewrap,
            seen: vec![seen("/usr", Use::Read), seen("/w/tree", Use::Write)],
            root: "/r".into(),
            user: None,
            landlock: true,
            bwrap: Some("/usr/bin/bwrap".into()),
            hides: false,
            closed: Vec::new(),
        };
        let start = Start {
            script: None,
            report: "/s/report".into(),
            places: vec![("/s/tmp".into(), "/tmp".into())],
            network: Network::Own,
            way_out: None,
            doors: Vec::new(),
            keyed: None,
            going_on: None,
            joins: None,
            env: Vec::new(),
            bash: None,
            dir: "/w/tree".into(),
            name: "bash".into(),
        };
        let told = arguments(&spec, &start, OsStr::new("/s/spec"), Path::new("/f"));
        let text = told.iter().map(|one| one.to_str().unwrap()).collect::<Vec<_>>().join(" ");
        assert_eq!(
            text,
            "--unshare-all --as-pid-1 --cap-drop ALL --die-with-parent --tmpfs /run --proc /proc --dev /dev \
             --bind /s/tmp /tmp --ro-bind /usr /usr --bind /w/tree /w/tree \
             --ro-bind /f /run/dark-factory/launcher --ro-bind /s/spec /s/spec \
             --bind /s/report /s/report"
        );
        let open = Start { network: Network::Open, ..start };
        let told = arguments(&spec, &open, OsStr::new("/s/spec"), Path::new("/f"));
        assert!(told.contains(&"--share-net".into()));
    }
}
