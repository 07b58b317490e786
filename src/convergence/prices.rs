//! What tokens cost: a dated table, which the settings add to, and the arithmetic.
//!
//! A price that is not known is none, and never zero. What an agent says that it cost goes before
//! all of this.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The table that comes with the factory.
const BUILT_IN: &str = include_str!("prices.yaml");

/// How many tokens something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Tokens read; those of the next two are among them.
    pub input: u64,
    /// Tokens written.
    pub output: u64,
    /// Of those read, those that came from the provider's cache.
    pub cached: u64,
    /// Of those read, those that were written into it.
    pub cache_write: u64,
}

impl Tokens {
    /// Returns how many there are in all, read and written.
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Adds two counts.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cached: self.cached.saturating_add(other.cached),
            cache_write: self.cache_write.saturating_add(other.cache_write),
        }
    }
}

/// What a model costs, in US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Tokens read.
    pub input: f64,
    /// Tokens written.
    pub output: f64,
    /// Tokens read from the cache; none where they cost as much as others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<f64>,
    /// Tokens written into the cache; none likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
}

impl Price {
    /// Returns what so many tokens cost, in US dollars.
    pub fn of(&self, tokens: Tokens) -> f64 {
        let cached = tokens.cached.min(tokens.input);
        let written = tokens.cache_write.min(tokens.input - cached);
        let fresh = tokens.input - cached - written;
        let parts = [
            (fresh, self.input),
            (cached, self.cached.unwrap_or(self.input)),
            (written, self.cache_write.unwrap_or(self.input)),
            (tokens.output, self.output),
        ];
        parts.into_iter().map(|(count, price)| count as f64 * price).sum::<f64>() / 1e6
    }
}

/// What models cost, as of a day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// The day on which the built-in prices were read: `2026-11-20`.
    pub as_of: String,
    /// Where they were read.
    #[serde(default)]
    pub sources: Vec<String>,
    /// The models by their id.
    pub models: BTreeMap<String, Price>,
}

impl PriceTable {
    /// Returns the table that comes with the factory.
    pub fn built_in() -> Self {
        // A test reads it: it is never the empty one.
        serde_yaml::from_str(BUILT_IN).unwrap_or_default()
    }

    /// Returns the table with prices over it that go before its own.
    #[must_use]
    pub fn with(mut self, prices: &BTreeMap<String, Price>) -> Self {
        self.models.extend(prices.iter().map(|(model, price)| (model.clone(), *price)));
        self
    }

    /// Returns what a model costs: by its id, else by the id without what stands before a slash (the
    /// provider) and without a date or `-latest` at its end. None where it is not known: a name that
    /// only begins like a known one may cost ten times as much.
    pub fn find(&self, model: &str) -> Option<&Price> {
        let mut name = model.trim();
        loop {
            for id in [name, undated(name)] {
                if let Some(price) = self.models.get(id) {
                    return Some(price);
                }
            }
            name = name.split_once('/')?.1;
        }
    }

    /// Returns what so many tokens of `model` cost, in US dollars; none where the model or its price
    /// is not known.
    pub fn price(&self, model: Option<&str>, tokens: Tokens) -> Option<f64> {
        Some(self.find(model?)?.of(tokens))
    }
}

/// Returns a model's id without `-20251101`, `-2025-11-01`, `-latest` or `[1m]` at its end.
fn undated(id: &str) -> &str {
    let id = id.split_once('[').map_or(id, |(id, _)| id);
    if let Some(id) = id.strip_suffix("-latest") {
        return id;
    }
    let is_date = |date: &str, dashes: usize| {
        date.bytes().filter(|byte| *byte == b'-').count() == dashes
            && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    for (length, dashes) in [(10, 2), (8, 0)] {
        let Some(at) = id.len().checked_sub(length + 1) else { continue };
        if let (Some(name), Some(date)) = (id.get(..at), id.get(at..))
            && date.strip_prefix('-').is_some_and(|date| is_date(date, dashes))
        {
            return name;
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const M: u64 = 1_000_000;

    fn check(model: &str, tokens: (u64, u64, u64, u64), expected: Option<f64>) {
        let (input, output, cached, cache_write) = tokens;
        let tokens = Tokens { input, output, cached, cache_write };
        assert_eq!(PriceTable::built_in().price(Some(model), tokens), expected, "{model}");
    }

    #[test]
    fn the_built_in_table_is_read_and_dated() {
        let table = PriceTable::built_in();
        assert!(table.models.len() > 40 && table.sources.len() > 2);
        assert_eq!((table.as_of.len(), table.as_of.matches('-').count()), (10, 2));
        for (model, price) in &table.models {
            let all = [Some(price.input), Some(price.output), price.cached, price.cache_write];
            assert!(all.into_iter().flatten().all(|price| price > 0.0), "{model}");
            assert!(price.cached.is_none_or(|cached| cached < price.input), "{model}");
        }
    }

    #[test]
    fn parts_of_the_input_have_their_own_price() {
        check("claude-opus-4-5", (M, 0, 0, 0), Some(5.0));
        check("claude-opus-4-5", (M, M, 0, 0), Some(30.0));
        check("claude-opus-4-5", (2 * M, 0, M, 0), Some(5.5));
        check("claude-opus-4-5", (2 * M, 0, 0, M), Some(11.25));
    }

    #[test]
    fn a_part_that_has_no_price_costs_as_much_as_the_rest() {
        check("gpt-5.5", (M, 0, 0, M), Some(5.0));
    }

    #[test]
    fn a_date_and_a_provider_make_no_other_model() {
        for model in [
            "claude-opus-4-5-20251101",
            "anthropic/claude-opus-4-5",
            "openrouter/anthropic/claude-opus-4-5-latest",
            "claude-opus-4-5[1m]",
        ] {
            check(model, (M, 0, 0, 0), Some(5.0));
        }
        check("gpt-5-2025-08-07", (M, 0, 0, 0), Some(1.25));
    }

    #[test]
    fn a_model_that_is_not_known_has_no_price() {
        for model in ["gpt-5.5-pro", "gpt-9", "", "claude", "o/"] {
            check(model, (M, 0, 0, 0), None);
        }
        assert_eq!(PriceTable::built_in().price(None, Tokens::default()), None);
    }

    #[test]
    fn settings_go_before_the_table() {
        let own = Price { input: 1.0, output: 2.0, cached: None, cache_write: None };
        let prices = [("gpt-5.5".to_owned(), own), ("mine".to_owned(), own)].into();
        let table = PriceTable::built_in().with(&prices);
        for model in ["gpt-5.5", "mine"] {
            assert_eq!(table.find(model), Some(&own));
        }
    }

    proptest! {
        #[test]
        fn a_price_is_never_less_for_more(input in 0..M, output in 0..M, more in 0..M, cached in 0..2 * M) {
            let table = PriceTable::built_in();
            let price = |input, output| {
                table.price(Some("gpt-6-sol"), Tokens { input, output, cached, cache_write: 0 }).unwrap()
            };
            prop_assert!(price(input + more, output) >= price(input, output) - 1e-12);
            prop_assert!(price(input, output + more) >= price(input, output));
        }

        #[test]
        fn any_name_is_looked_up(model in "\\PC{0,30}") {
            let _ = PriceTable::built_in().find(&model);
        }
    }
}
