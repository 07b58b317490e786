//! Readers of what happened: what is published, and what people see.
//!
//! Nothing here decides anything.

pub mod diagnostics;
mod file;
pub mod results;
pub mod scenarios;
mod stream;

pub use diagnostics::show_diagnostic;
pub use file::{WriteError, write_atomically};
pub use stream::Output;
