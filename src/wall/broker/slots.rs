//! Counts what runs at once: a bound for it, and a way to wait for its end.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A number of things that may run at once.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    taken: Mutex<usize>,
    freed: Condvar,
}

/// One that runs; dropped, it does no more.
#[derive(Debug)]
pub(super) struct Slot(Arc<Slots>);

impl Slots {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::new(0), freed: Condvar::new() })
    }

    /// Takes a slot; none if all are taken.
    pub(super) fn take(self: &Arc<Self>) -> Option<Slot> {
        let mut taken = self.lock();
        (*taken < self.most).then(|| {
            *taken += 1;
            Slot(Arc::clone(self))
        })
    }

    /// Waits until fewer than `count` are taken.
    pub(super) fn wait_for_fewer_than(&self, count: usize) {
        let mut taken = self.lock();
        while *taken >= count {
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until one is free.
    pub(super) fn wait_for_room(&self) {
        self.wait_for_fewer_than(self.most);
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.freed.notify_all();
    }
}
