//! The children that this process has started and not reaped yet, the moments in which none is being
//! started, and what becomes of them when this process crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

use rustix::process::{Pid, Signal, kill_process_group};

/// Their numbers, and whether they end by themselves once this process is gone.
static STARTED: Mutex<BTreeMap<i32, bool>> = Mutex::new(BTreeMap::new());
/// Held for reading while a child is being started, for writing while none may be.
static STARTING: RwLock<()> = RwLock::new(());

/// Starts a child and remembers it until [`forget`]; `follows` says that it ends by itself once this
/// process is gone, as what is talked to through its pipes does.
pub(super) fn start(follows: bool, spawn: impl FnOnce() -> io::Result<Pid>) -> io::Result<Pid> {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let child = spawn()?;
    started().insert(child.as_raw_nonzero().get(), follows);
    Ok(child)
}

/// Forgets a child that has been reaped.
pub(super) fn forget(pid: i32) {
    started().remove(&pid);
}

/// Calls `look` with the numbers of the children while none is being started.
pub(super) fn look<T>(look: impl FnOnce(&BTreeSet<i32>) -> T) -> T {
    let _quiet = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    look(&known())
}

/// Calls `look` with the numbers of the children if none is being started right now.
pub(super) fn try_look<T>(look: impl FnOnce(&BTreeSet<i32>) -> T) -> Option<T> {
    let _quiet = STARTING.try_write().ok()?;
    Some(look(&known()))
}

/// Returns the numbers of the children that are known, one that is just being started perhaps not.
pub(super) fn known() -> BTreeSet<i32> {
    started().keys().copied().collect()
}

/// Ends the groups of all children that do not end by themselves, at once: for a process that crashes.
///
/// The crash may have come at any moment: a list that is being changed is left alone.
pub fn kill_started() {
    let started = match STARTED.try_lock() {
        Ok(started) => started,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    let groups = started.iter().filter(|(_, follows)| !**follows);
    for group in groups.filter_map(|(pid, _)| Pid::from_raw(*pid)) {
        // One that has just ended needs no signal.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn started() -> MutexGuard<'static, BTreeMap<i32, bool>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}
