//! A token with a time limit: trips when another does, or when its time is up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Cancel, Signal};
use crate::clock::Instant;

/// How often the watcher looks.
const TICK: Duration = Duration::from_millis(20);

/// Watches over something that may take so long and no longer, and that a signal ends too.
#[derive(Debug)]
pub struct Limited {
    cancel: Cancel,
    reached: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

impl Limited {
    /// Begins to watch; the limit counts from now.
    ///
    /// # Errors
    /// The system has no more file descriptors or threads.
    pub fn begin(parent: &Cancel, limit: Duration) -> io::Result<Self> {
        let cancel = Cancel::new()?;
        let (reached, over) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let watch = Watch {
            parent: parent.clone(),
            cancel: cancel.clone(),
            reached: Arc::clone(&reached),
            over: Arc::clone(&over),
            limit,
        };
        let watcher = std::thread::Builder::new().name("limit".to_owned()).spawn(|| watch.run())?;
        Ok(Self { cancel, reached, over, watcher: Some(watcher) })
    }

    /// Returns the token that trips.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Returns whether it was the time that was up, and no signal.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::SeqCst)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(watcher) = self.watcher.take() {
            watcher.thread().unpark();
            // It panics nowhere, and there is nobody to tell.
            let _ = watcher.join();
        }
    }
}

struct Watch {
    parent: Cancel,
    cancel: Cancel,
    reached: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    limit: Duration,
}

impl Watch {
    fn run(self) {
        let since = Instant::now();
        let mut passed_on = 0;
        while !self.over.load(Ordering::SeqCst) {
            if let Some(signal) = self.parent.tripped() {
                // A second signal asks for more haste than the first.
                let asked = if self.parent.is_urgent() { 2 } else { 1 };
                while passed_on < asked {
                    self.cancel.trip(signal);
                    passed_on += 1;
                }
            } else if since.left(self.limit).is_zero() && passed_on == 0 {
                self.reached.store(true, Ordering::SeqCst);
                self.cancel.trip(Signal::Terminate);
                passed_on = 1;
            }
            std::thread::park_timeout(
                TICK.min(since.left(self.limit).max(Duration::from_millis(1))),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_until(what: impl Fn() -> bool) {
        let since = Instant::now();
        while !what() {
            assert!(since.elapsed() < Duration::from_secs(20), "it never came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_time_that_is_up_trips_it_and_not_its_parent() {
        let parent = Cancel::new().unwrap();
        let limited = Limited::begin(&parent, Duration::from_millis(30)).unwrap();
        wait_until(|| limited.cancel().tripped().is_some());
        assert!(limited.is_reached());
        assert_eq!(parent.tripped(), None);
    }

    #[test]
    fn a_signal_is_passed_on_and_is_no_limit() {
        let parent = Cancel::new().unwrap();
        let limited = Limited::begin(&parent, Duration::from_secs(3600)).unwrap();
        parent.trip(Signal::Interrupt);
        wait_until(|| limited.cancel().tripped() == Some(Signal::Interrupt));
        assert!(!limited.is_reached());
        parent.trip(Signal::Interrupt);
        wait_until(|| limited.cancel().is_urgent());
    }
}
