//! The children that this process has started and not reaped yet, and the moments in which none is
//! being started.

use std::collections::BTreeSet;
use std::io;
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

static STARTED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
/// Held for reading while a child is being started, for writing while none may be.
static STARTING: RwLock<()> = RwLock::new(());

/// Starts a child and remembers it until [`forget`].
pub(super) fn start(spawn: impl FnOnce() -> io::Result<Child>) -> io::Result<Child> {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let child = spawn()?;
    started().insert(i32::try_from(child.id()).unwrap_or(i32::MAX));
    Ok(child)
}

/// Forgets a child that has been reaped.
pub(super) fn forget(pid: i32) {
    started().remove(&pid);
}

/// Calls `look` with the numbers of the children while none is being started.
pub(super) fn look<T>(look: impl FnOnce(&BTreeSet<i32>) -> T) -> T {
    let _quiet = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    look(&started())
}

/// Calls `look` with the numbers of the children if none is being started right now.
pub(super) fn try_look<T>(look: impl FnOnce(&BTreeSet<i32>) -> T) -> Option<T> {
    let _quiet = STARTING.try_write().ok()?;
    Some(look(&started()))
}

/// Returns the numbers of the children that are known, one that is just being started perhaps not.
pub(super) fn known() -> BTreeSet<i32> {
    started().clone()
}

fn started() -> MutexGuard<'static, BTreeSet<i32>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}
