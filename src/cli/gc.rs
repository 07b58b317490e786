//! `factory gc`: removes what ended runs left outside the repository, and prepared outputs that
//! nobody uses any more. Journals stay: they are the record.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;

use super::exit::Exit;
use super::here::Here;
use crate::agent::settle_logins;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::Environment;
use crate::engine::RepoState;
use crate::event::{Ended, Summary};
use crate::id::RunId;
use crate::journal::read_summary;
use crate::report::Output;
use crate::text::plural;
use crate::wall::remove_tree;

/// How long a prepared output is kept after its last use.
const CACHE_DAYS: u64 = 30;
const DAY: u64 = 24 * 60 * 60;

const EXAMPLES: &str = "\
Examples:
  factory gc                   trees and homes of runs that ended a week ago or earlier
  factory gc --keep-days 0     of every run that has ended
  factory gc --dry-run         say what would be removed, and remove nothing

Journals, feedback and branches stay; `factory discard` removes those. A run that can go on keeps
its trees.

Exit codes: 0 done, 3 something could not be removed.";

/// Remove what ended runs left outside the repository.
#[derive(Debug, Clone, Parser)]
#[command(name = "gc", after_help = EXAMPLES)]
pub struct Args {
    /// How many days the trees of an ended run are kept
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub keep_days: u64,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Something could not be read or removed.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let lines = gc(args, env, SystemClock.now())?;
    let mut output = Output::stdout(env.no_color());
    for line in lines {
        output.line(line);
    }
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn gc(args: &Args, env: &Environment, now: Timestamp) -> anyhow::Result<Vec<String>> {
    let here = Here::find(args.workdir.as_deref(), env)?;
    let (state, _) = here.state()?;
    // With the lock nobody begins or goes on with a run meanwhile. Where it is held, the run that
    // holds it and the cache that it may be reading from stay.
    let me = RunId::parse("gc").context("naming the lock's holder failed")?;
    let lock = state.lock(&me).context("the lock of the repository can't be had")?;
    let active = lock.as_ref().err().map(|held| held.run.clone());

    // A killed turn may have renewed its login in a home that goes now.
    settle_logins(env)?;
    let mut sweep = Sweep { dry: args.dry_run, freed: 0, lines: Vec::new() };
    let keep = Duration::from_secs(args.keep_days.saturating_mul(DAY));
    let mut kept = 0;
    for dir in entries(&state.dir().join("runs"))? {
        let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if active.as_deref() == Some(name.as_str()) {
            continue;
        }
        let last = RunId::parse(&name).ok().map(|id| here.runs.run(&id));
        let summary = last.and_then(|dir| Some(read_summary(&dir, true).ok()?.0));
        match run_age(summary.as_ref(), modified(&dir), now) {
            Age::CanGoOn => kept += 1,
            Age::Ended(age) if age >= keep => sweep.remove(&dir, &format!("run {name}"))?,
            Age::Ended(_) => {}
        }
    }
    if active.is_none() {
        for dir in entries(&state.prepare_cache())? {
            let unused = now.since(modified(&dir).max(accessed(&dir)));
            if unused >= Duration::from_secs(CACHE_DAYS * DAY) {
                sweep.remove(&dir, "prepared outputs")?;
            }
        }
    }
    let mut lines = sweep.lines;
    let done = if args.dry_run { "would free" } else { "freed" };
    lines.push(match lines.len() {
        0 => "nothing to remove".to_owned(),
        _ => format!("{done} {}", bytes(sweep.freed)),
    });
    if kept > 0 {
        lines.push(format!(
            "{} can go on, and kept its trees: `factory runs` lists them, `factory discard` removes one",
            plural(kept, "run")
        ));
    }
    if let Some(run) = active {
        lines.push(format!("run {run} is active; its trees and the prepared outputs stay"));
    }
    lines.push(format!("state: {}", state_dir(&state)));
    Ok(lines)
}

fn state_dir(state: &RepoState) -> String {
    state.dir().display().to_string()
}

/// Removes directories, and adds up what they held.
struct Sweep {
    dry: bool,
    freed: u64,
    lines: Vec<String>,
}

impl Sweep {
    fn remove(&mut self, dir: &Path, what: &str) -> anyhow::Result<()> {
        let before = times(dir);
        let size = size(dir);
        if self.dry {
            // Looking is no use: it must not make the outputs look fresh.
            if let (Some((accessed, modified)), Ok(dir)) = (before, fs::File::open(dir)) {
                let times = fs::FileTimes::new().set_accessed(accessed).set_modified(modified);
                // At worst they stay for another month.
                let _ = dir.set_times(times);
            }
        } else {
            remove_tree(dir).with_context(|| format!("can't remove `{}`", dir.display()))?;
        }
        self.freed += size;
        let done = if self.dry { "would remove" } else { "removed" };
        self.lines.push(format!("{done} {what}, {}", bytes(size)));
        Ok(())
    }
}

/// Whether the trees of a run are needed.
#[derive(Debug, PartialEq, Eq)]
enum Age {
    /// `iterate --resume` may go on with them.
    CanGoOn,
    /// They are not, and were last used so long ago.
    Ended(Duration),
}

/// Tells whether the trees of a run are needed, by its journal; where there is none, by the time
/// at which the trees were changed.
fn run_age(summary: Option<&Summary>, modified: Timestamp, now: Timestamp) -> Age {
    match summary {
        None => Age::Ended(now.since(modified)),
        Some(summary) => match &summary.ended {
            Some(Ended::Finished { .. }) if !summary.is_resumable() => {
                Age::Ended(now.since(summary.last_at))
            }
            _ if summary.started.in_place => Age::Ended(now.since(summary.last_at)),
            _ => Age::CanGoOn,
        },
    }
}

/// Returns the directories in `dir`, sorted; none where it is not there.
fn entries(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = match fs::read_dir(dir) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("can't read `{}`", dir.display()));
        }
    };
    let mut found: Vec<PathBuf> = read
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    Ok(found)
}

fn times(path: &Path) -> Option<(std::time::SystemTime, std::time::SystemTime)> {
    let found = fs::metadata(path).ok()?;
    Some((found.accessed().ok()?, found.modified().ok()?))
}

fn modified(path: &Path) -> Timestamp {
    let seconds = fs::metadata(path).map_or(0, |found| found.mtime());
    Timestamp::from_unix_millis(seconds.saturating_mul(1_000))
}

fn accessed(path: &Path) -> Timestamp {
    let seconds = fs::metadata(path).map_or(0, |found| found.atime());
    Timestamp::from_unix_millis(seconds.saturating_mul(1_000))
}

/// Returns what lies in `path` takes on the disk, in bytes; what can't be read counts for nothing.
fn size(path: &Path) -> u64 {
    size_up_to(path, u64::MAX).0
}

/// Returns the same, looking no further once it is `enough`, and whether that is all of it.
pub(super) fn size_up_to(path: &Path, enough: u64) -> (u64, bool) {
    let mut sum = 0;
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        if sum >= enough {
            return (sum, false);
        }
        let Ok(found) = path.symlink_metadata() else { continue };
        sum += found.blocks() * 512;
        if found.is_dir()
            && let Ok(read) = fs::read_dir(&path)
        {
            open.extend(read.filter_map(Result::ok).map(|entry| entry.path()));
        }
    }
    (sum, true)
}

/// Returns a number of bytes as people say it.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if count < 1_000 {
        return plural(usize::try_from(count).unwrap_or(usize::MAX), "byte");
    }
    let mut value = count as f64 / 1_000.0;
    let mut unit = 0;
    while value >= 1_000.0 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convergence::Decision;
    use crate::event::RunEvent;
    use crate::report::testing::{BEGAN, TestRun};

    /// A product with one run that has ended and one that was interrupted, each with a tree.
    struct Bench {
        dir: tempfile::TempDir,
        state: RepoState,
    }

    const ENDED: &str = "20261120-091500-0001";
    const OPEN: &str = "20261120-101500-0002";

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().canonicalize().unwrap().join("product");
            let mut ended = TestRun::begin_at(&root, ENDED, |_| {});
            ended.judged("aa", &[("s", "satisfied")]);
            ended.finished(Decision::Converged { score: 1.0, threshold: 0.8, gates: Some(1) });
            let mut open = TestRun::begin_at(&root, OPEN, |_| {});
            open.event(RunEvent::RunInterrupted { exit: 130 });
            let state = dir.path().join("state/dark-factory");
            let state = RepoState::of(
                &state,
                &root,
                &root.join("artifacts/factory"),
                &crate::text::Subtree::default(),
            );
            for run in [ENDED, OPEN] {
                let judge = state.run(&RunId::parse(run).unwrap()).judge;
                fs::create_dir_all(&judge).unwrap();
                fs::write(judge.join("x"), vec![1; 10_000]).unwrap();
            }
            Self { dir, state }
        }

        fn gc(&self, args: &[&str], days: i64) -> String {
            let args = Args::parse_from(["gc"].iter().chain(args));
            let variables = [
                ("XDG_STATE_HOME".into(), self.dir.path().join("state").into()),
                ("PATH".into(), "/usr/bin:/bin".into()),
            ];
            let root = self.dir.path().join("product");
            let env = Environment::from_parts(variables.into(), root);
            let now = Timestamp::from_unix_millis(BEGAN + days * 86_400_000 + 60_000);
            gc(&args, &env, now).unwrap().join("\n")
        }

        fn has(&self, run: &str) -> bool {
            self.state.run(&RunId::parse(run).unwrap()).dir.exists()
        }
    }

    #[test]
    fn the_trees_of_an_ended_run_go_after_a_week() {
        let bench = Bench::new();
        assert!(bench.gc(&[], 6).contains("nothing to remove"));
        let said = bench.gc(&["--dry-run"], 7);
        assert!(said.contains("would remove run 20261120-091500-0001"), "{said}");
        assert!(bench.has(ENDED));
        let said = bench.gc(&[], 7);
        assert!(said.contains("freed ") && said.contains("1 run can go on"), "{said}");
        assert!(!bench.has(ENDED) && bench.has(OPEN));
        assert!(
            bench
                .dir
                .path()
                .join(format!("product/artifacts/factory/runs/{ENDED}/events.jsonl"))
                .exists()
        );
    }

    #[test]
    fn a_run_that_can_go_on_keeps_its_trees_for_ever() {
        let bench = Bench::new();
        bench.gc(&["--keep-days", "0"], 400);
        assert!(bench.has(OPEN));
    }

    #[test]
    fn an_active_run_and_the_cache_stay() {
        let bench = Bench::new();
        let key = bench.state.prepare_cache().join("key");
        fs::create_dir_all(&key).unwrap();
        let lock = bench.state.lock(&RunId::parse(ENDED).unwrap()).unwrap().unwrap();
        let said = bench.gc(&[], 4_000);
        assert!(said.contains("is active") && bench.has(ENDED) && key.exists(), "{said}");
        drop(lock);
        bench.gc(&[], 4_000);
        assert!(!bench.has(ENDED) && !key.exists());
    }

    #[test]
    fn prepared_outputs_go_a_month_after_their_last_use() {
        let bench = Bench::new();
        let key = bench.state.prepare_cache().join("key");
        fs::create_dir_all(&key).unwrap();
        fs::write(key.join("x"), "x").unwrap();
        let at = |days: u64| {
            std::time::UNIX_EPOCH + Duration::from_millis(BEGAN.unsigned_abs() + days * 86_400_000)
        };
        let set = |accessed, modified| {
            let times = fs::FileTimes::new().set_accessed(at(accessed)).set_modified(at(modified));
            fs::File::open(&key).unwrap().set_times(times).unwrap();
        };
        set(20, 0);
        assert!(bench.gc(&[], 40).contains("run "), "the ended run's trees");
        assert!(key.exists());
        set(20, 0);
        assert!(bench.gc(&["--dry-run"], 51).contains("would remove prepared outputs"));
        assert!(bench.gc(&[], 51).contains("removed prepared outputs"), "a dry run is no use");
        assert!(!key.exists());
    }

    #[test]
    fn trees_without_a_journal_are_as_old_as_their_last_change() {
        let (then, now) = (Timestamp::from_unix_millis(0), Timestamp::from_unix_millis(60_000));
        assert_eq!(run_age(None, then, now), Age::Ended(Duration::from_secs(60)));
    }

    #[test]
    fn sizes_read_as_people_say_them() {
        for (count, text) in
            [(0, "0 bytes"), (1, "1 byte"), (1_500, "1.5 KB"), (2_340_000_000, "2.3 GB")]
        {
            assert_eq!(bytes(count), text);
        }
    }
}
