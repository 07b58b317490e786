//! Which step this machine has: the strongest one that holds when it is tried.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{geteuid, getgid, getuid};

use crate::journal::make_private_dir;
use crate::process::{Call, Cancel, Keep, Variables, find_program, run};

use super::enter::SELF_TEST;
use super::selftest::Laid;
use super::spec::{self, Spec, Step};
use super::view::{View, Wanted};
use super::{Confined, Network, hand_over};

/// Whom root has a confined program run as: `nobody`, which every system knows, and which owns nothing.
const NOBODY: (u32, u32) = (65_534, 65_534);
/// How long a self-test may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A step that holds on this machine, and what was tried before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The step.
    pub step: Step,
    /// Whether the kernel's rules about paths are in force as well.
    pub landlock: bool,
    /// Whether its `/proc` can keep processes from being seen.
    pub(super) hides: bool,
    /// The steps that are stronger, with why they can't be had; in the order in which they were tried.
    pub passed_over: Vec<(Step, String)>,
    /// `bwrap` or `sudo`, where the step goes by it.
    pub(super) helper: Option<PathBuf>,
}

impl Chosen {
    /// Returns where `sudo` is, where what is confined is started by it.
    pub(super) fn sudo(&self) -> Option<PathBuf> {
        self.helper.clone().filter(|_| self.step == Step::Sudo)
    }

    /// Returns whether what is confined has mounts and a loopback of its own.
    pub fn has_namespaces(&self) -> bool {
        self.step != Step::Landlock
    }

    /// Returns whom what is confined runs as, where that is another user.
    pub fn user(&self) -> Option<(u32, u32)> {
        (self.step == Step::Root).then_some(NOBODY)
    }
}

/// No step holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no kind of confinement holds on this machine: {}", list(.0))]
pub struct NoneHolds(pub Vec<(Step, String)>);

fn list(tried: &[(Step, String)]) -> String {
    tried.iter().map(|(step, why)| format!("{step}: {why}")).collect::<Vec<_>>().join("; ")
}

/// Tries the steps on this machine, the strongest first, and returns the first one that holds.
///
/// `dir` is an own directory of the factory's that no view has; `launcher` the binary that carries the
/// hidden subcommands, `env` the environment for what it starts. The mechanisms that `without` names,
/// `root`, `user-namespace`, `bubblewrap`, `sudo`, `landlock` and `hidepid`, are taken as not there.
///
/// # Errors
/// None holds; the error says of each why.
pub fn strongest(
    dir: &Path,
    launcher: &Path,
    env: &Variables,
    without: &[String],
) -> Result<Chosen, NoneHolds> {
    let is_without = |step: Step| without.iter().any(|name| *name == step.to_string());
    let steps = match geteuid().is_root() {
        true => vec![Step::Root, Step::Landlock],
        false => vec![Step::UserNamespace, Step::Bubblewrap, Step::Sudo, Step::Landlock],
    };
    let helper = |step: Step| match step {
        Step::Bubblewrap => find_program("bwrap".as_ref(), env),
        Step::Sudo => find_program("sudo".as_ref(), env),
        Step::Root | Step::UserNamespace | Step::Landlock => None,
    };
    let mut passed_over = Vec::new();
    for step in steps {
        let chosen = |(landlock, hides)| Chosen {
            step,
            landlock,
            hides,
            passed_over: Vec::new(),
            helper: helper(step),
        };
        let try_out = |what| try_out(dir, launcher, env, &chosen(what)).map(|()| what);
        let namespaces = matches!(step, Step::Root | Step::UserNamespace | Step::Sudo);
        let has_landlock = !is_without(Step::Landlock);
        let why = match step {
            _ if is_without(step) => Err("it is switched off by DARK_FACTORY_WITHOUT".to_owned()),
            Step::Bubblewrap if helper(step).is_none() => {
                Err("`bwrap` is not installed".to_owned())
            }
            Step::Sudo if helper(step).is_none() => Err("`sudo` is not installed".to_owned()),
            // Namespaces hold without the kernel's rules about paths, and on one that hides no processes.
            _ if namespaces => {
                let both = [(true, true), (true, false), (false, true), (false, false)];
                let first = Err("Landlock is switched off".to_owned());
                let may_hide = !without.iter().any(|name| name == "hidepid");
                let tried = both.into_iter().filter(|(landlock, hides)| {
                    (has_landlock || !landlock) && (may_hide || !hides)
                });
                tried.fold(first, |found, what| found.or_else(|_| try_out(what)))
            }
            _ if has_landlock => try_out((true, false)),
            _ => Err("Landlock is switched off".to_owned()),
        };
        match why {
            Ok(what) => return Ok(Chosen { passed_over, ..chosen(what) }),
            Err(why) => passed_over.push((step, why)),
        }
    }
    Err(NoneHolds(passed_over))
}

/// Tries one step.
fn try_out(dir: &Path, launcher: &Path, env: &Variables, chosen: &Chosen) -> Result<(), String> {
    let dir = dir.join(format!("self-test-{}", rustix::process::getpid().as_raw_nonzero()));
    let result = attempt(&dir, launcher, env, chosen);
    let _ = fs::remove_dir_all(&dir);
    match result {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(why),
        Err(error) => Err(format!("it can't be tried: {error}")),
    }
}

fn attempt(
    dir: &Path,
    launcher: &Path,
    env: &Variables,
    chosen: &Chosen,
) -> io::Result<Option<String>> {
    let (inside, outside) = (dir.join("inside"), dir.join("outside"));
    for one in [&inside, &outside] {
        fs::create_dir_all(one)?;
    }
    let closed = chosen.step != Step::Landlock;
    let laid = Laid::out(&outside, &inside, closed)?;
    if let Some(user) = chosen.user() {
        hand_over(&inside, user)?;
    }
    let view = View::of(&Wanted {
        env,
        home: None,
        secret: std::slice::from_ref(&outside),
        read: &[],
        stores: &[],
        handed: &[],
        tree: None,
        write: std::slice::from_ref(&inside),
        devices: &[],
    });
    let view = View { hides: true, ..view };
    let confined = Confined::begin(dir, launcher, chosen, view)?.on(Network::Own);
    let call = Call::new(SELF_TEST, &inside).args(laid.arguments()?).limit(PATIENCE);
    let call = Call { keep: Keep { head: 2_000, tail: 0 }, ..call.env(env.clone()) };
    let finished = run(&confined.wrap(call)?, &Cancel::never(), &mut |_, _| {});
    Ok(match confined.report() {
        Some(report) => report.failed,
        None => {
            let said = finished.stderr.text();
            Some(format!("the self-test ended without a word: {}", said.trim()))
        }
    })
}

impl Confined {
    /// Writes down in `dir` what is the same for all starts in `view`.
    ///
    /// # Errors
    /// `dir` can't be written.
    pub fn begin(dir: &Path, launcher: &Path, chosen: &Chosen, view: View) -> io::Result<Self> {
        Self::begin_as(dir, launcher, chosen, view, chosen.user())
    }

    /// Does what [`Confined::begin`] does for programs that run as the factory's own user, though
    /// without any right beyond that.
    ///
    /// # Errors
    /// `dir` can't be written.
    pub fn begin_as_self(
        dir: &Path,
        launcher: &Path,
        chosen: &Chosen,
        view: View,
    ) -> io::Result<Self> {
        Self::begin_as(dir, launcher, chosen, view, None)
    }

    fn begin_as(
        dir: &Path,
        launcher: &Path,
        chosen: &Chosen,
        view: View,
        user: Option<(u32, u32)>,
    ) -> io::Result<Self> {
        let (moved, hides) = (view.moved, view.hides && chosen.hides);
        let root = dir.join("view");
        make_private_dir(&root)?;
        let bwrap = chosen.helper.clone().filter(|_| chosen.step == Step::Bubblewrap);
        let own = (getuid().as_raw(), getgid().as_raw());
        let spec = Spec {
            step: chosen.step,
            seen: view.seen,
            root: fs::canonicalize(root)?.into(),
            // Root by way of `sudo` gives itself up again, also for the groups that this user is in.
            user: if chosen.step == Step::Sudo { Some(own) } else { user },
            landlock: chosen.landlock,
            bwrap: bwrap.map(Into::into),
            hides,
            closed: view.closed,
        };
        let file = dir.join("view.json");
        spec::write(&file, &spec)?;
        let confined = Self::of(launcher, chosen, &file, &dir.join("report.json"), hides);
        Ok(moved.iter().fold(confined, |confined, (lies, at)| confined.showing(lies, at)))
    }
}
