//! What of the network the product's set-up commands have.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What of the network a set-up command has, widest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SetupNetwork {
    /// That of the machine.
    #[default]
    Open,
    /// The usual registries of packages and the hosts that are allowed, by the broker.
    Registries,
    /// A loopback of its own.
    None,
}

impl SetupNetwork {
    /// Returns it in words, for people.
    pub fn said(self) -> &'static str {
        match self {
            Self::Open => "the machine's network",
            Self::Registries => "registries alone",
            Self::None => "no network",
        }
    }
}

impl fmt::Display for SetupNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Registries => "registries",
            Self::None => "none",
        })
    }
}
