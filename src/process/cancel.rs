//! The token by which a person's INT or TERM reaches everything that runs.

use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Why everything has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// INT: a person at the terminal.
    Interrupt,
    /// TERM, or the terminal's end: whoever started the factory.
    Terminate,
}

impl Signal {
    /// Returns the exit code that says so: 130 or 143.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Tells any number of threads that everything has to end. Clones are the same token.
///
/// Tripped once, running children get TERM and their grace; tripped twice, they get KILL at once.
#[derive(Debug, Clone)]
pub struct Cancel(Option<Arc<Token>>);

/// One byte in the pipe for each signal; nobody reads it, so that every poll of it wakes, and
/// their number is that of the signals.
#[derive(Debug)]
struct Token {
    interrupt: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    first: OnceLock<Signal>,
    wake: PipeReader,
    ring: PipeWriter,
}

impl Cancel {
    /// Returns a token that is never tripped.
    pub fn never() -> Self {
        Self(None)
    }

    /// Returns a token that only [`Cancel::trip`] trips.
    ///
    /// # Errors
    /// The system has no more file descriptors.
    pub fn new() -> io::Result<Self> {
        let (wake, ring) = io::pipe()?;
        let flags = rustix::fs::fcntl_getfl(&ring)?;
        rustix::fs::fcntl_setfl(&ring, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self(Some(Arc::new(Token {
            interrupt: Arc::default(),
            terminate: Arc::default(),
            first: OnceLock::new(),
            wake,
            ring,
        }))))
    }

    /// Returns a token that INT and TERM to this process trip from now on; HUP counts as TERM. INT
    /// and HUP that are ignored stay so, as shells have it for what runs in the background and
    /// `nohup` for what outlives its terminal.
    ///
    /// # Errors
    /// The system refuses a handler, or has no more file descriptors.
    pub fn on_signals() -> io::Result<Self> {
        let cancel = Self::new()?;
        if let Some(token) = &cancel.0 {
            let signals = [
                (SIGTERM, &token.terminate),
                (SIGINT, &token.interrupt),
                (SIGHUP, &token.terminate),
            ];
            for (signal, flag) in signals {
                if signal != SIGTERM && is_ignored(signal) {
                    continue;
                }
                // The flag first: whoever the pipe wakes must find it set.
                signal_hook::flag::register(signal, Arc::clone(flag))?;
                signal_hook::low_level::pipe::register(signal, token.ring.try_clone()?)?;
            }
        }
        Ok(cancel)
    }

    /// Trips the token as `signal` would.
    pub fn trip(&self, signal: Signal) {
        if let Some(token) = &self.0 {
            match signal {
                Signal::Interrupt => token.interrupt.store(true, Ordering::SeqCst),
                Signal::Terminate => token.terminate.store(true, Ordering::SeqCst),
            }
            // A full pipe has woken everybody long ago.
            let _ = (&token.ring).write(b"X");
        }
    }

    /// Returns the signal that tripped the token first; none while it is not tripped.
    pub fn tripped(&self) -> Option<Signal> {
        let token = self.0.as_ref()?;
        let signal = if token.interrupt.load(Ordering::SeqCst) {
            Signal::Interrupt
        } else if token.terminate.load(Ordering::SeqCst) {
            Signal::Terminate
        } else {
            return None;
        };
        Some(*token.first.get_or_init(|| signal))
    }

    /// Returns whether it was tripped a second time: no grace for anybody.
    pub(crate) fn is_urgent(&self) -> bool {
        self.0
            .as_ref()
            .and_then(|token| rustix::io::ioctl_fionread(&token.wake).ok())
            .is_some_and(|signals| signals > 1)
    }

    /// Returns what becomes readable, for good, once the token is tripped.
    pub(super) fn wake(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|token| token.wake.as_fd())
    }
}

/// Returns whether INT does nothing to this process, as in the background of a script.
pub fn is_interrupt_ignored() -> bool {
    is_ignored(SIGINT)
}

/// Returns whether this process was started with `signal` ignored; false where the system does not
/// say.
pub(super) fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_is_the_one_that_counts() {
        let cancel = Cancel::new().unwrap();
        assert_eq!(cancel.tripped(), None);
        cancel.clone().trip(Signal::Terminate);
        assert_eq!(cancel.tripped(), Some(Signal::Terminate));
        assert!(!cancel.is_urgent());
        cancel.trip(Signal::Interrupt);
        assert_eq!(cancel.tripped(), Some(Signal::Terminate));
        assert!(cancel.is_urgent());
    }

    #[test]
    fn a_token_that_is_never_tripped_ignores_being_tripped() {
        let cancel = Cancel::never();
        cancel.trip(Signal::Interrupt);
        assert_eq!(cancel.tripped(), None);
        assert!(!cancel.is_urgent());
    }

    #[test]
    fn a_signal_to_the_process_trips_it() {
        let cancel = Cancel::on_signals().unwrap();
        signal_hook::low_level::raise(SIGTERM).unwrap();
        assert_eq!(cancel.tripped().map(Signal::exit_code), Some(143));
    }
}
