//! What was billed: one JSON line a request, on the disk before its answer has ended.

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Add;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::hex;

/// Tokens of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// Read by the model, cached ones included.
    pub input: u64,
    /// Written by the model.
    pub output: u64,
    /// Of those read, those that came from the cache.
    pub cached: u64,
    /// Of those read, those that were put into the cache.
    pub cache_write: u64,
}

impl Tokens {
    /// Returns those read that have nothing to do with the cache.
    pub(super) fn fresh(self) -> u64 {
        self.input.saturating_sub(self.cached).saturating_sub(self.cache_write)
    }

    /// Returns all of them.
    pub(super) fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

impl Add for Tokens {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            input: self.input.saturating_add(more.input),
            output: self.output.saturating_add(more.output),
            cached: self.cached.saturating_add(more.cached),
            cache_write: self.cache_write.saturating_add(more.cache_write),
        }
    }
}

/// Dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    input: f64,
    output: f64,
    cached: f64,
    cache_write: f64,
}

impl Prices {
    /// Returns what `tokens` cost, in dollars.
    fn of(&self, tokens: Tokens) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "nobody scripts 2^53 tokens")]
        let cost = |tokens: u64, price: f64| tokens as f64 * price;
        let all = cost(tokens.fresh(), self.input)
            + cost(tokens.output, self.output)
            + cost(tokens.cached, self.cached)
            + cost(tokens.cache_write, self.cache_write);
        all / 1e6
    }
}

impl FromStr for Prices {
    type Err = String;

    /// Reads `input=1,output=2`; what is not said of the cache costs what input does.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut input, mut output, mut cached, mut cache_write) = (None, None, None, None);
        for part in text.split(',') {
            let (name, price) = part.split_once('=').unwrap_or((part, ""));
            let place = match name.trim() {
                "input" => &mut input,
                "output" => &mut output,
                "cached" => &mut cached,
                "cache_write" => &mut cache_write,
                name => {
                    return Err(format!("`{name}` is none of input, output, cached, cache_write"));
                }
            };
            let price: f64 = price.trim().parse().map_err(|_| format!("`{part}` has no number"))?;
            if !price.is_finite() || price < 0.0 {
                return Err(format!("`{part}` is no price"));
            }
            *place = Some(price);
        }
        let (Some(input), Some(output)) = (input, output) else {
            return Err("write a price of both, as in input=1,output=2".to_owned());
        };
        let (cached, cache_write) = (cached.unwrap_or(input), cache_write.unwrap_or(input));
        Ok(Self { input, output, cached, cache_write })
    }
}

/// Which login a request carried: never the login itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Auth {
    /// The header it came in, in lower case; `key` where it was in the address.
    header: String,
    /// The first 8 digits of its SHA-256.
    digest: String,
}

impl Auth {
    /// Returns how `credential`, which came in `header`, is recorded.
    pub(super) fn of(header: &str, credential: &str) -> Self {
        let digest = hex(&Sha256::digest(credential.as_bytes())[..4]);
        Self { header: header.to_owned(), digest }
    }
}

/// A line of the ledger, but for its number and its price.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Entry {
    /// `responses`, `messages`, `chat`, `gemini`, `oauth`, or `other`.
    pub(super) protocol: &'static str,
    /// The path that was asked for, without what follows a `?`.
    pub(super) path: String,
    /// The model that was asked for; none where the request names none.
    pub(super) model: Option<String>,
    /// The turn of the script, from 1; none where none was asked, or the script has no more.
    pub(super) turn: Option<usize>,
    /// The reply of that turn, as it stands in the script, from 1.
    pub(super) reply: Option<usize>,
    /// The status of the answer; none where nothing is answered.
    pub(super) status: Option<u16>,
    /// What the answer tells the agent that it used.
    pub(super) usage: Tokens,
    /// Which login came with it.
    pub(super) auth: Option<Auth>,
}

#[derive(Serialize)]
struct Line<'a> {
    n: u64,
    #[serde(flatten)]
    entry: &'a Entry,
    usd: Option<f64>,
}

/// The ledger; counts the requests even where there is no file.
#[derive(Debug)]
pub(super) struct Ledger {
    prices: Option<Prices>,
    written: Mutex<(u64, Option<File>)>,
}

impl Ledger {
    /// Begins a ledger in `path`, which is emptied; in no file where there is none.
    pub(super) fn create(path: Option<&Path>, prices: Option<Prices>) -> io::Result<Self> {
        let file = path.map(File::create).transpose()?;
        Ok(Self { prices, written: Mutex::new((0, file)) })
    }

    /// Writes a line and flushes it.
    pub(super) fn write(&self, entry: &Entry) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.0 += 1;
        let usd = self.prices.map(|prices| prices.of(entry.usage));
        let mut line = serde_json::to_vec(&Line { n: written.0, entry, usd })?;
        line.push(b'\n');
        match &mut written.1 {
            // One write, so that a kill leaves whole lines.
            Some(file) => file.write_all(&line),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_price_and_no_login() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let prices = "input=1,output=2,cached=0.5".parse().unwrap();
        let ledger = Ledger::create(Some(&path), Some(prices)).unwrap();
        let usage = Tokens { input: 1_200_000, output: 500_000, cached: 200_000, cache_write: 0 };
        let auth = Some(Auth::of("x-api-key", "sk-ant-fake-0000"));
        ledger.write(&Entry { protocol: "messages", usage, auth, ..Entry::default() }).unwrap();
        let line = std::fs::read_to_string(path).unwrap();
        assert!(!line.contains("sk-ant"), "{line}");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["n"], &line["usd"]), (&1.into(), &2.1.into()));
        assert_eq!(line["auth"]["digest"].as_str().unwrap().len(), 8);
    }

    #[test]
    fn a_price_is_a_number_of_each() {
        let read = |text: &str| text.parse::<Prices>();
        assert_eq!(read("input=1,output=2"), read("output=2, input=1, cached=1, cache_write=1"));
        for bad in
            ["", "input=1", "input=1,output=x", "input=1,output=-1", "in=1", "input=inf,output=1"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
