//! Where a repository's state lies outside the repository.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Instant;
use crate::id::{Digest, RunId};
use crate::text::Subtree;

/// The state of one product: trees, homes and caches that are no part of its repository. The lock is the repository's,
/// of whose products one run at a time works.
#[derive(Debug, Clone)]
pub struct RepoState {
    dir: PathBuf,
    lock: PathBuf,
}

/// The places of one run.
#[derive(Debug, Clone)]
pub struct RunPaths {
    /// Everything of the run.
    pub dir: PathBuf,
    /// The tree in which candidates are judged.
    pub judge: PathBuf,
    /// What is known of its files.
    pub judge_manifest: PathBuf,
    /// The tree in which the agent works.
    pub workspace: PathBuf,
    /// What is known of its files.
    pub workspace_manifest: PathBuf,
    /// The home and the temporary directory of what is judged.
    pub judge_home: PathBuf,
    /// Likewise.
    pub judge_tmp: PathBuf,
    /// The home and the temporary directory of the agent.
    pub agent_home: PathBuf,
    /// Likewise.
    pub agent_tmp: PathBuf,
}

impl RunPaths {
    /// Returns the directory of the durable record of one attempt at a turn.
    pub fn record(&self, turn: u32, attempt: u32) -> PathBuf {
        self.dir.join(format!("turns/{turn}-{attempt}"))
    }
}

/// Who holds a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "another run is active here (process {pid}, run {run}); wait for it, or end it with `kill {pid}`"
)]
pub struct Held {
    /// The process.
    pub pid: String,
    /// Its run.
    pub run: String,
}

/// The lock that makes a run the only one; a crash releases it.
#[derive(Debug)]
pub struct Lock(File);

impl RepoState {
    /// Names the state of the product at `root`, which lies at `at` in the repository whose common git directory is
    /// `common_dir`.
    pub fn of(state_dir: &Path, root: &Path, common_dir: &Path, at: &Subtree) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        let mut mark = common_dir.as_os_str().as_bytes().to_vec();
        if !at.is_top() {
            mark.extend([b"\0", at.as_str().as_bytes()].concat());
        }
        let mark = Digest::of(&mark);
        let dir = |longest| {
            let name: String = root
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default()
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' })
                .take(longest)
                .collect();
            state_dir.join(format!("{name}-{}", &mark.as_str()[..8]))
        };
        // A tree in it has to leave room for the path of a socket. What an earlier version made stays in use.
        let earlier = dir(40);
        Self {
            dir: if earlier.is_dir() { earlier } else { dir(12) },
            lock: common_dir.join("dark-factory.lock"),
        }
    }

    /// Returns the directory that holds all of it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the directory of kept outputs of set-up commands.
    pub fn prepare_cache(&self) -> PathBuf {
        self.dir.join("prepare")
    }

    /// Returns the places of a run.
    pub fn run(&self, run: &RunId) -> RunPaths {
        let dir = self.dir.join("runs").join(run.as_str());
        RunPaths {
            judge: dir.join("judge"),
            judge_manifest: dir.join("judge.manifest"),
            workspace: dir.join("workspace"),
            workspace_manifest: dir.join("workspace.manifest"),
            judge_home: dir.join("judge-home"),
            judge_tmp: dir.join("judge-tmp"),
            agent_home: dir.join("agent-home"),
            agent_tmp: dir.join("agent-tmp"),
            dir,
        }
    }

    /// Takes the lock for `run`. One that is held is asked for again for a second: a process that
    /// was killed while it started a child leaves the lock to that child for a moment.
    ///
    /// # Errors
    /// The inner error tells who holds it, the outer one that the file can't be had.
    pub fn lock(&self, run: &RunId) -> std::io::Result<Result<Lock, Held>> {
        const PATIENCE: Duration = Duration::from_secs(1);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&self.lock)
            .map_err(|error| {
                let message = format!("can't open `{}`: {error}", self.lock.display());
                std::io::Error::new(error.kind(), message)
            })?;
        let since = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(std::fs::TryLockError::WouldBlock) if since.left(PATIENCE).is_zero() => {
                    return Ok(Err(read_holder(&mut file)?));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        file.set_len(0)?;
        file.rewind()?;
        let pid = rustix::process::getpid().as_raw_nonzero();
        writeln!(file, "{pid} {run}")?;
        Ok(Ok(Lock(file)))
    }

    /// Returns who holds the lock; none where nobody does.
    ///
    /// # Errors
    /// The file can't be had.
    pub fn holder(&self) -> std::io::Result<Option<Held>> {
        let mut file = match File::open(&self.lock) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(std::fs::TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file)?)),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Reads who wrote the lock's file.
fn read_holder(file: &mut File) -> std::io::Result<Held> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    let mut words = text.split_whitespace().map(str::to_owned);
    let mut word = || words.next().unwrap_or_else(|| "unknown".to_owned());
    Ok(Held { pid: word(), run: word() })
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The lock ends with the descriptor; the text is for people, and is stale from here on.
        let _ = self.0.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_run_is_told_who_holds_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let state =
            RepoState::of(dir.path(), Path::new("/x/my repo"), dir.path(), &Subtree::default());
        let run = RunId::parse("20261120-0001").unwrap();
        let lock = state.lock(&run).unwrap().unwrap();
        let held = state.lock(&RunId::parse("other").unwrap()).unwrap().unwrap_err();
        assert_eq!(held.run, "20261120-0001");
        assert_eq!(state.holder().unwrap(), Some(held));
        drop(lock);
        assert_eq!(state.holder().unwrap(), None);
        assert!(state.lock(&run).unwrap().is_ok());
    }

    #[test]
    fn a_lock_that_can_not_be_opened_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let state = RepoState::of(
            dir.path(),
            Path::new("/x"),
            &dir.path().join("gone"),
            &Subtree::default(),
        );
        let error = state.lock(&RunId::parse("r").unwrap()).err().unwrap().to_string();
        assert!(error.contains("gone/dark-factory.lock`: "), "{error}");
    }

    #[test]
    fn two_checkouts_of_one_name_have_states_of_their_own() {
        let root = Path::new("/x/my repo");
        let one = RepoState::of(Path::new("/s"), root, Path::new("/x/a/.git"), &Subtree::default());
        let two = RepoState::of(Path::new("/s"), root, Path::new("/x/b/.git"), &Subtree::default());
        assert_ne!(one.dir(), two.dir());
        assert!(one.dir().to_string_lossy().starts_with("/s/my-repo-"));
    }

    #[test]
    fn products_of_one_repository_have_states_of_their_own_and_one_lock() {
        let of = |at: &str| {
            let at = Subtree::between(Path::new("/x"), &Path::new("/x").join(at)).unwrap();
            RepoState::of(Path::new("/s"), &at.under(Path::new("/x")), Path::new("/x/.git"), &at)
        };
        assert_ne!(of("a/web").dir(), of("b/web").dir());
        assert_eq!(of("a/web").lock, of("b/web").lock);
    }

    #[test]
    fn a_long_name_is_cut_and_a_state_that_is_there_stays_in_use() {
        let base = tempfile::tempdir().unwrap();
        let of = || {
            RepoState::of(
                base.path(),
                Path::new("/x/payment-gateway-service"),
                base.path(),
                &Subtree::default(),
            )
        };
        let name =
            |state: &RepoState| state.dir().file_name().unwrap().to_str().unwrap().to_owned();
        let short = name(&of());
        assert!(short.starts_with("payment-gate-") && short.len() == 21, "{short}");
        let earlier = format!("payment-gateway-service-{}", &short[13..]);
        std::fs::create_dir(base.path().join(&earlier)).unwrap();
        assert_eq!(name(&of()), earlier);
    }
}
