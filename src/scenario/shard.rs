//! Divides scenarios among machines that don't talk to each other.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::id::ScenarioId;

/// One of several parts of a set, written `2/5`.
///
/// Which part a scenario is in follows from its id and the number of parts alone: the first eight
/// bytes of the id's SHA-256, modulo the number. So every machine comes to the same parts, and a
/// scenario that is added or removed moves none of the others. The parts are equal in number of
/// scenarios only about, as ids fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 1 to `count`.
    index: u32,
    count: u32,
}

/// A text that names no part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// It is not two numbers.
    #[error("`{text}` is not I/N, as in `1/3` for the first of three")]
    Shape {
        /// The text.
        text: String,
    },
    /// There is no such part.
    #[error("there is no shard {index} of {count}; they are counted from 1")]
    Range {
        /// Which one.
        index: u32,
        /// Of how many.
        count: u32,
    },
}

impl Shard {
    /// Returns the part `index`, from 1, of `count`.
    ///
    /// # Errors
    /// There is no such part.
    pub fn new(index: u32, count: u32) -> Result<Self, ShardError> {
        if index == 0 || index > count {
            return Err(ShardError::Range { index, count });
        }
        Ok(Self { index, count })
    }

    /// Returns whether the scenario is in this part.
    pub fn holds(self, id: &ScenarioId) -> bool {
        mark(&[], id) % u64::from(self.count) == u64::from(self.index - 1)
    }
}

/// Returns a number that looks random and follows from `salt` and the id alone.
pub(super) fn mark(salt: &[u8], id: &ScenarioId) -> u64 {
    let digest = Sha256::new().chain_update(salt).chain_update(id.as_str()).finalize();
    digest.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let number = |text: &str| text.trim().parse().ok();
        let parts = text.split_once('/').map(|(index, count)| (number(index), number(count)));
        match parts {
            Some((Some(index), Some(count))) => Self::new(index, count),
            _ => Err(ShardError::Shape { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let found = text.parse::<Shard>().map(|shard| shard.to_string());
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn a_shard_is_one_of_so_many() {
        check("1/3", Ok("1/3"));
        check(" 3 / 3 ", Ok("3/3"));
        check("0/3", Err("there is no shard 0 of 3; they are counted from 1"));
        check("4/3", Err("there is no shard 4 of 3; they are counted from 1"));
        check("1/0", Err("there is no shard 1 of 0; they are counted from 1"));
        for text in ["", "1", "1/", "-1/3", "1/3/5", "a/b", "1/99999999999"] {
            let message = format!("`{text}` is not I/N, as in `1/3` for the first of three");
            check(text, Err(&message));
        }
    }

    #[test]
    fn the_parts_never_change_between_versions() {
        // Machines of one matrix may have different versions.
        let found = ["01_login", "02_logout", "deep-cli", "a", "b"].map(|id| {
            let id = ScenarioId::parse(id).unwrap();
            (1..=4).find(|index| Shard::new(*index, 4).unwrap().holds(&id)).unwrap()
        });
        assert_eq!(found, [3, 2, 3, 3, 3]);
    }

    proptest! {
        #[test]
        fn every_scenario_is_in_one_part(id in "[a-z0-9_-]{1,20}", count in 1u32..50) {
            let id = ScenarioId::parse(&id).unwrap();
            let parts = (1..=count).filter(|index| Shard::new(*index, count).unwrap().holds(&id));
            prop_assert_eq!(parts.count(), 1);
        }
    }
}
