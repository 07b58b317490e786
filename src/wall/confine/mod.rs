//! Keeps a program in a view of the machine that has what it needs and nothing else.
//!
//! A [`View`] lists what is there. [`strongest`] finds out by trying what this machine can enforce.
//! [`Confined`] turns the call of a program into one of the launcher (`enter.rs`), a hidden subcommand
//! of ours, which confines itself and then starts the program; what it had to say is in its report.
//! Which programs are confined, and what they may see, is the caller's to say.

#[cfg(target_os = "linux")]
mod bubblewrap;
#[cfg(target_os = "linux")]
mod choose;
#[cfg(not(target_os = "linux"))]
#[path = "choose_elsewhere.rs"]
mod choose;
#[cfg(target_os = "linux")]
mod enter;
#[cfg(not(target_os = "linux"))]
#[path = "enter_elsewhere.rs"]
mod enter;
#[cfg(target_os = "linux")]
mod filter;
mod hold;
mod logins;
#[cfg(target_os = "linux")]
mod loopback;
mod managed;
#[cfg(target_os = "linux")]
mod namespace;
#[cfg(not(target_os = "linux"))]
#[path = "namespace_elsewhere.rs"]
mod namespace;
#[cfg(target_os = "linux")]
mod ruleset;
#[cfg(target_os = "linux")]
mod selftest;
mod spec;
mod view;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::process::{Call, Finished, find_program, not_found, resolve};
use crate::verdict::Ending;

pub use choose::{Chosen, NoneHolds, strongest};
pub use enter::{INNER, OUTER, launch};
pub use hold::{HOLD, Loopback, hold, join};
pub use logins::holds_login;
pub use spec::{Network, Report, Step};
pub use view::{Closed, Seen, Use, View, Wanted};

use spec::Start;

/// How programs are started in one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confined {
    launcher: OsString,
    spec: OsString,
    report: OsString,
    places: Vec<(OsString, OsString)>,
    network: Network,
    way_out: Option<u16>,
    doors: Vec<u16>,
    keyed: Option<u16>,
    step: Step,
    may_go_on: bool,
    joins: Option<OsString>,
    /// Where `sudo` is, where the launcher has to be root's.
    sudo: Option<OsString>,
    /// Whether processes that can't be looked into are not seen.
    hides: bool,
    /// The bash that runs scripts, where it is another one than their calls name.
    bash: Option<OsString>,
}

/// The least number by which bash finds its script open, where that does not stand on its command line: those below
/// are what scripts themselves use.
const SCRIPT: i32 = 20;

/// What then stands there, the number being the last argument: it reads the script, and closes the file before that
/// begins.
const READ_SCRIPT: &str = "IFS= read -rd '' -u \"$1\" df_script; eval \"exec $1<&-; shift; unset -v df_script; $df_script\"";

/// The longest script that goes on the command line; the system takes 128 KiB an argument.
pub const LONGEST_ARGUMENT: usize = 120 * 1024;

/// Where the broker's socket is seen in a view.
const WAY_OUT: &str = "/run/dark-factory/way-out";
/// The port on which it is reached there: on a loopback of its own nobody else has taken it.
const WAY_OUT_PORT: u16 = 3128;
/// Where the socket is seen on which keys are added, and its port there.
const KEYED: &str = "/run/dark-factory/keyed";
/// The port on which keys are added, on a loopback of the agent's own.
pub const KEYED_PORT: u16 = 3129;

impl Confined {
    fn of(launcher: &Path, chosen: &Chosen, spec: &Path, report: &Path, hides: bool) -> Self {
        Self {
            launcher: launcher.into(),
            spec: spec.into(),
            report: report.into(),
            places: Vec::new(),
            network: Network::Own,
            way_out: None,
            doors: Vec::new(),
            keyed: None,
            step: chosen.step,
            may_go_on: false,
            joins: None,
            sudo: chosen.sudo().map(Into::into),
            hides,
            bash: None,
        }
    }

    /// Returns itself with `bash`, a file, running the scripts of calls of bash, which keep the name that they have
    /// for it.
    #[must_use]
    pub fn by_bash(mut self, bash: &Path) -> Self {
        self.bash = Some(bash.into());
        self
    }

    /// Returns itself with the broker's `socket` as the only way out, and the port of the loopback on
    /// which the program finds it. `outside` makes a forwarder to it on the machine's own loopback and
    /// returns its port, for a step that gives the program no loopback of its own.
    ///
    /// # Errors
    /// That of `outside`.
    pub fn with_way_out(
        mut self,
        socket: &Path,
        outside: impl FnOnce() -> io::Result<u16>,
    ) -> io::Result<(Self, u16)> {
        let port = if self.step == Step::Landlock { outside()? } else { WAY_OUT_PORT };
        self.way_out = Some(port);
        if self.step != Step::Landlock {
            self = self.showing(socket, Path::new(WAY_OUT));
        }
        Ok((self, port))
    }

    /// Returns itself with ports of its loopback that lead to the same ones of the machine's, by way of
    /// the broker. In the step that has no loopback of its own there are none.
    #[must_use]
    pub fn with_doors(mut self, ports: Vec<u16>) -> Self {
        self.doors = ports;
        self
    }

    /// Returns itself with `socket`, where keys are added, at [`KEYED_PORT`] of its loopback. In the step that
    /// has no loopback of its own it is not there.
    #[must_use]
    pub fn with_keyed(mut self, socket: &Path) -> Self {
        self.keyed = Some(KEYED_PORT);
        self.showing(socket, Path::new(KEYED))
    }

    /// Returns itself, on another network.
    #[must_use]
    pub fn on(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Returns itself with the directory `from` seen at `at` as well, to be written.
    #[must_use]
    pub fn showing(mut self, from: &Path, at: &Path) -> Self {
        self.places.push((from.into(), at.into()));
        self
    }

    /// Returns itself for a program that may go on in the background once it has exited with 0, as a
    /// server does; in the step without namespaces that is so in any case.
    #[must_use]
    pub fn going_on(mut self) -> Self {
        self.may_go_on = true;
        self
    }

    /// Returns itself for a program that joins, as long as that is there, what the start which reports to
    /// `report` runs in: its processes have the same numbers for both. By `bwrap` nothing can be joined.
    #[must_use]
    pub fn joining(mut self, report: &Path) -> Self {
        self.joins = Some(report.into());
        self
    }

    /// Returns itself with its report in `path`, which no other start that lasts has.
    #[must_use]
    pub fn reporting_to(mut self, path: &Path) -> Self {
        self.report = path.into();
        self
    }

    /// Returns the call of the launcher that starts `call` in the view.
    ///
    /// # Errors
    /// The file of the report can't be made.
    pub fn wrap(&self, mut call: Call) -> io::Result<Call> {
        File::create(&self.report)?;
        let is_script = self.bash.is_some() && call.args.first().is_some_and(|arg| arg == "-c");
        let program = match resolve(&call.program, &call.dir, &call.env) {
            Some(_) if let (true, Some(bash)) = (is_script, &self.bash) => bash.clone(),
            Some(program) => program.into_os_string(),
            None if call.program == enter::SELF_TEST => call.program.clone(),
            None => return Err(not_found(&call.program, &call.env)),
        };
        let mut start = Start {
            report: self.report.clone(),
            places: self.places.clone(),
            network: self.network.clone(),
            way_out: self.way_out,
            doors: self.doors.clone(),
            keyed: self.keyed,
            going_on: None,
            joins: self.joins.clone(),
            env: Vec::new(),
            script: None,
            bash: find_program(OsStr::new("bash"), &call.env).map(Into::into),
            dir: call.dir.clone().into(),
            name: call.program.clone(),
        };
        if is_script
            && let Some(script) = call.args.get_mut(1)
            && (!self.hides || script.len() > LONGEST_ARGUMENT)
        {
            let mut file = self.report.clone();
            file.push(".script");
            spec::write_bytes(Path::new(&file), script.as_bytes())?;
            *script = READ_SCRIPT.into();
            start.script = Some(file);
        }
        if self.may_go_on && self.step != Step::Landlock {
            let mut pipe = self.report.clone();
            pipe.push(".pipe");
            let _ = fs::remove_file(&pipe);
            namespace::make_pipe(Path::new(&pipe))?;
            start.going_on = Some(pipe);
        }
        if call.env.keys().any(|name| steers_the_loader(name)) {
            // The launcher runs before anything is confined, and is not to load what is named there.
            Arc::make_mut(&mut call.env).retain(|name, value| {
                let steers = steers_the_loader(name);
                if steers {
                    start.env.push((name.clone(), value.clone()));
                }
                !steers
            });
        }
        let mut args: Vec<OsString> = vec![OUTER.into(), self.spec.clone()];
        let mut launcher = self.launcher.clone();
        if let Some(sudo) = &self.sudo {
            // It passes no variable on, and what stands on its command line everybody reads.
            let env = Arc::make_mut(&mut call.env);
            start.env.extend(std::mem::take(env));
            env.insert("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into());
            let mut file = self.report.clone();
            file.push(".start");
            spec::write(Path::new(&file), &start)?;
            args.splice(0..0, ["-n".into(), "--".into(), launcher]);
            args.push(file);
            launcher = sudo.clone();
        } else {
            args.push(serde_json::to_string(&start)?.into());
        }
        args.push(program);
        args.append(&mut call.args);
        Ok(Call { program: launcher, args, ..call })
    }

    /// Returns what came of the last start; none where the launcher was killed before it could say.
    pub fn report(&self) -> Option<Report> {
        spec::report(Path::new(&self.report))
    }

    /// Makes of what came of the launcher what came of the program in it: how it ended, and whether it
    /// left something.
    pub fn tell(&self, launcher: Finished) -> Finished {
        let by_itself = matches!(launcher.ending, Ending::Exited { .. } | Ending::Signalled { .. });
        let report = self.report();
        let ending = match (&report, launcher.ending) {
            (Some(Report { failed: Some(why), .. }), _) => {
                Ending::CouldNotStart { why: format!("it can't be confined: {why}") }
            }
            (Some(Report { signal: Some(signal), .. }), Ending::Exited { .. }) => {
                Ending::Signalled { signal: *signal }
            }
            // Somebody ended the launcher before the program was over, and with it the program.
            (None, Ending::Exited { code }) => Ending::CouldNotStart {
                why: format!("what confines it exited with {code} and told nothing"),
            },
            (_, ending) => ending,
        };
        let left = report.is_some_and(|report| report.left > 0);
        Finished { ending, leaked: launcher.leaked || (by_itself && left), ..launcher }
    }
}

/// Returns whether the dynamic loader, or the C library, would take orders from the variable.
fn steers_the_loader(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"LD_") || name == "GLIBC_TUNABLES"
}

/// Listens at `path`, however long that is: the system takes no more than a hundred bytes of it.
///
/// # Errors
/// The directory is not there, or something stands at the path.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let (dir, name) = match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => (File::open(dir)?, name),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "no path of a socket")),
    };
    UnixListener::bind(Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name))
}

/// Gives everything below `path`, itself included, to a user and group; links are not followed.
///
/// # Errors
/// This process may not, or something can't be read.
pub fn hand_over(path: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if (metadata.uid(), metadata.gid()) != (user, group) {
        lchown(path, Some(user), Some(group))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            hand_over(&entry?.path(), (user, group))?;
        }
    }
    Ok(())
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::UserNamespace => "user-namespace",
            Self::Bubblewrap => "bubblewrap",
            Self::Sudo => "sudo",
            Self::Landlock => "landlock",
        })
    }
}
