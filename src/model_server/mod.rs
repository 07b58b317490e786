//! A fake provider of models, which answers real agents from a script, for tests and offline trials.
//!
//! It speaks four protocols (Responses, Messages, Chat Completions, Gemini) and a token endpoint, over
//! plain HTTP on the loopback address, and keeps a ledger of what it has billed. Nothing that the factory
//! does for its users goes through it; it is built with the feature `model-server` alone. It is no
//! implementation of those protocols: it sends what the agents read, and looks at what it needs.

mod files;
mod http;
mod ledger;
mod oauth;
mod protocol;
mod script;
mod serve;
mod turns;

pub use ledger::{Prices, Tokens};
pub use script::{Script, ScriptError};
pub use serve::{Options, Server};
