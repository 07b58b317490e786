//! The one way to start a child process, and to be sure that it has ended.
//!
//! A child gets a directory, a whole environment, a process group of its own, limits, and pipes
//! that are read until it is over and no longer. Whatever way it ends, nothing of its group is
//! left alive. What leaves the group (`setsid`, a daemon) is found by `strays` where the call asks
//! for it, and by `survivors` once whoever started it is dead.

mod attended;
mod call;
mod cancel;
mod capture;
mod inherited;
mod leader;
mod limited;
pub(crate) mod mark;
mod pause;
mod piped;
mod private;
mod run;
pub(crate) mod service;
mod spawn;
mod started;
mod strays;
pub(crate) mod survivors;

pub use attended::run_attended;
pub use call::{Call, Keep, Stdin, Variables};
pub use cancel::{Cancel, Signal, is_interrupt_ignored};
pub use capture::{Captured, Stream};
pub(crate) use inherited::{closing, inherited};
pub use leader::{advice, find_program, not_found, resolve};
pub use limited::Limited;
pub use pause::pause_with_the_terminal;
pub use piped::Piped;
pub use private::{is_private, keep_private};
pub use run::{Finished, run};
pub use started::kill_started;
pub use strays::{end_orphans, end_strays};
