//! The one way to start a child process, and to be sure that it has ended.
//!
//! A child gets a directory, a whole environment, a process group of its own, limits, and pipes
//! that are read until it is over and no longer. Whatever way it ends, nothing of its group is
//! left alive. A process that leaves the group (`setsid`) is not followed here; `survivors` finds
//! those whose environment marks them.

mod call;
mod cancel;
mod capture;
mod leader;
mod limited;
mod piped;
mod run;
pub(crate) mod survivors;

pub use call::{Call, Keep, Stdin, Variables};
pub use cancel::{Cancel, Signal};
pub use capture::{Captured, Stream};
pub use leader::find_program;
pub use limited::Limited;
pub use piped::Piped;
pub use run::{Finished, run};
