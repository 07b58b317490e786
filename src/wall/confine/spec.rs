//! What the launcher is told, and what it tells in the end.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::view::{Closed, Seen, Use};

/// How a program is kept in its view, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// By root: namespaces, another user without capabilities, and what `Landlock` has.
    Root,
    /// Namespaces that a plain user may make, and what `Landlock` has.
    UserNamespace,
    /// Namespaces that `bwrap` may make where others may not, and what `Landlock` has.
    Bubblewrap,
    /// Namespaces that root makes, by `sudo` without a password, and what `Landlock` has.
    Sudo,
    /// The kernel's rules about paths, and a filter of system calls, without namespaces.
    Landlock,
}

/// What is the same for all that is started in one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) step: Step,
    pub(super) seen: Vec<Seen>,
    /// An empty directory, on which the view is put together.
    pub(super) root: OsString,
    /// Whom the program runs as, user and group; none means as who starts it.
    pub(super) user: Option<(u32, u32)>,
    /// Whether the kernel's rules about paths are put on the program.
    pub(super) landlock: bool,
    /// Where `bwrap` is, where it is needed.
    pub(super) bwrap: Option<OsString>,
    /// Whether processes that can't be looked into are not seen, and `/proc` is read alone.
    pub(super) hides: bool,
    /// What is read alone within what is written.
    pub(super) closed: Vec<Closed>,
}

/// Returns every place of a view, as where it lies, where it is seen and what for; what is around comes before what is
/// within.
pub(super) fn places(spec: &Spec, start: &Start) -> Vec<(PathBuf, PathBuf, Use)> {
    let seen = spec.seen.iter().map(|seen| (&seen.path, &seen.path, seen.using));
    let shown = start.places.iter().map(|(from, at)| (from, at, Use::Write));
    let both = seen.chain(shown).map(|(from, at, using)| (from.into(), at.into(), using));
    let mut all: Vec<(PathBuf, PathBuf, Use)> =
        both.chain(spec.closed.iter().flat_map(Closed::places)).collect();
    all.sort_by(|(_, one, _), (_, other, _)| one.cmp(other));
    all
}

/// What is particular to one start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    /// The file that the report is written to; it is there and empty.
    pub(super) report: OsString,
    /// Directories that are seen elsewhere, with where that is; both are written.
    pub(super) places: Vec<(OsString, OsString)>,
    pub(super) network: Network,
    /// The port of the loopback on which the broker is reached; none where there is no way out.
    pub(super) way_out: Option<u16>,
    /// Ports of its loopback that lead to the same ones of the machine's, by way of the broker.
    #[serde(default)]
    pub(super) doors: Vec<u16>,
    /// The port of its loopback on which keys are added; none where the agent holds its own.
    #[serde(default)]
    pub(super) keyed: Option<u16>,
    /// A pipe on which it is told that the program has exited with 0 and left something running, which
    /// goes on; none where that ends with it.
    pub(super) going_on: Option<OsString>,
    /// The report of a start that went on: this program joins what that one runs in, as long as that is
    /// there.
    pub(super) joins: Option<OsString>,
    /// Variables that the launcher itself must not be started with.
    pub(super) env: Vec<(OsString, OsString)>,
    /// The directory that the program starts in.
    pub(super) dir: OsString,
    /// The absolute path of the program's script, which is opened and removed, or, once it is, the number by which it
    /// is open; none where the script is one of the arguments.
    pub(super) script: Option<OsString>,
    /// Where bash is, which closes what would be inherited.
    pub(super) bash: Option<OsString>,
    /// What the program sees as its own name.
    pub(super) name: OsString,
}

/// Which network a confined program has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Its own loopback, and nothing else.
    Own,
    /// The loopback that the process of this number holds, see [`super::Loopback`].
    Shared(i32),
    /// That of the machine.
    Open,
}

/// What came of one start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Why the program was not started; none where it was.
    pub failed: Option<String>,
    /// The signal that ended it; none where it exited.
    pub signal: Option<i32>,
    /// How many processes it left, which ended with it; where they can't all be seen 1 for any.
    pub left: u32,
}

/// Returns the file with the number of the process that leads what a start with this report runs in.
pub(super) fn leader_file(report: &OsStr) -> PathBuf {
    let mut file = report.to_owned();
    file.push(".pid");
    file.into()
}

/// Reads that number; none where the start has not come so far.
pub(super) fn leader(report: &OsStr) -> Option<i32> {
    fs::read_to_string(leader_file(report)).ok()?.trim().parse().ok()
}

pub(super) fn read(path: &Path) -> io::Result<Spec> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Writes what the launcher is told, for this user alone.
pub(super) fn write(path: &Path, told: &impl Serialize) -> io::Result<()> {
    write_bytes(path, &serde_json::to_vec(told)?)
}

/// Writes a file for this user alone.
pub(super) fn write_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// Reads what is particular to a start: the JSON itself, or the absolute path of a file with it, which is
/// removed.
pub(super) fn start(told: &OsStr) -> io::Result<Start> {
    if !told.as_encoded_bytes().starts_with(b"/") {
        return Ok(serde_json::from_slice(told.as_encoded_bytes())?);
    }
    let bytes = fs::read(told)?;
    fs::remove_file(told)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Reads a report; none where nothing was reported, since whoever should have was killed.
pub(super) fn report(path: &Path) -> Option<Report> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
