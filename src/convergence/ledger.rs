//! What a run has used up: an entry for each attempt at a turn, and what they add up to.
//!
//! What is not known stays that: a total says how much of it is missing, and is never taken for the
//! whole.

use super::prices::{PriceTable, Tokens};
use crate::text::plural;

/// What an attempt cost, in US dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cost {
    /// The agent said so.
    Reported(f64),
    /// Its tokens at the price of its model.
    Priced(f64),
    /// Nobody knows.
    Unknown,
}

impl Cost {
    /// Returns the dollars; none where they are not known.
    pub fn usd(self) -> Option<f64> {
        match self {
            Self::Reported(usd) | Self::Priced(usd) => Some(usd),
            Self::Unknown => None,
        }
    }

    /// Returns what an attempt cost: what the agent says, else its tokens at the model's price.
    pub fn of(
        reported: Option<f64>,
        tokens: Option<Tokens>,
        model: Option<&str>,
        prices: &PriceTable,
    ) -> Self {
        // What is no sum of money is as good as nothing said.
        if let Some(usd) = reported.filter(|usd| usd.is_finite() && *usd >= 0.0) {
            return Self::Reported(usd);
        }
        match tokens.and_then(|tokens| prices.price(model, tokens)) {
            Some(usd) => Self::Priced(usd),
            None => Self::Unknown,
        }
    }
}

/// One attempt at a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The turn, from 1.
    pub turn: u32,
    /// Its attempt, from 1.
    pub attempt: u32,
    /// When it ended or, where it was cut, began; in milliseconds since 1970 began.
    pub at: i64,
    /// The model; none means the agent's default.
    pub model: Option<String>,
    /// Its tokens; none where nobody knows.
    pub tokens: Option<Tokens>,
    /// What it cost.
    pub cost: Cost,
    /// How long it took.
    pub ms: u64,
    /// Whether it was cut short, so that it may have cost more than is known.
    pub cut: bool,
}

/// The attempts of a run, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    /// The entries.
    pub entries: Vec<Entry>,
}

/// What attempts add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// How many turns they belong to.
    pub turns: u32,
    /// How many there are.
    pub attempts: u32,
    /// The tokens that are known.
    pub tokens: Tokens,
    /// The US dollars that are known.
    pub usd: f64,
    /// Of these, those that come from the price table.
    pub priced: f64,
    /// Attempts whose cost is not known, or not the whole of it.
    pub unknown_cost: u32,
    /// Attempts whose tokens are not known, or not all.
    pub unknown_tokens: u32,
    /// How long the attempts took that ended.
    pub ms: u64,
}

impl Ledger {
    /// Adds up all entries.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        let mut turns: Vec<u32> = Vec::new();
        for entry in &self.entries {
            if !turns.contains(&entry.turn) {
                turns.push(entry.turn);
            }
            sum.attempts += 1;
            sum.tokens = sum.tokens.plus(entry.tokens.unwrap_or_default());
            sum.usd += entry.cost.usd().unwrap_or_default();
            if let Cost::Priced(usd) = entry.cost {
                sum.priced += usd;
            }
            sum.unknown_cost += u32::from(entry.cut || entry.cost == Cost::Unknown);
            sum.unknown_tokens += u32::from(entry.cut || entry.tokens.is_none());
            sum.ms += entry.ms;
        }
        sum.turns = u32::try_from(turns.len()).unwrap_or(u32::MAX);
        sum
    }

    /// Returns the entries from the moment `at` on, in milliseconds since 1970 began.
    #[must_use]
    pub fn since(&self, at: i64) -> Self {
        Self { entries: self.entries.iter().filter(|entry| entry.at >= at).cloned().collect() }
    }

    /// Returns the entries of turns after `turn`.
    #[must_use]
    pub fn after(&self, turn: u32) -> Self {
        Self { entries: self.entries.iter().filter(|entry| entry.turn > turn).cloned().collect() }
    }

    /// Returns what each turn came to, oldest first, its attempts added up.
    pub fn by_turn(&self) -> Vec<(u32, Totals)> {
        let mut turns: Vec<u32> = self.entries.iter().map(|entry| entry.turn).collect();
        turns.sort_unstable();
        turns.dedup();
        let of = |turn| Self {
            entries: self.entries.iter().filter(|entry| entry.turn == turn).cloned().collect(),
        };
        turns.into_iter().map(|turn| (turn, of(turn).totals())).collect()
    }

    /// Returns what a turn is likely to take, from those whose whole cost is known.
    pub fn usual(&self) -> Usual {
        let turns = self.by_turn();
        let known = |wanted: &dyn Fn(&Totals) -> Option<f64>| {
            median(turns.iter().filter_map(|(_, totals)| wanted(totals)).collect())
        };
        Usual {
            usd: known(&|totals| (totals.unknown_cost == 0).then_some(totals.usd)),
            tokens: known(&|totals| {
                (totals.unknown_tokens == 0).then(|| totals.tokens.total() as f64)
            }),
            ms: known(&|totals| (totals.ms > 0).then_some(totals.ms as f64)),
        }
    }
}

/// What a turn is likely to take: the median of those before it; none where none is known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usual {
    /// US dollars.
    pub usd: Option<f64>,
    /// Tokens, read and written.
    pub tokens: Option<f64>,
    /// Milliseconds.
    pub ms: Option<f64>,
}

/// Returns the median; none of nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

impl Totals {
    /// Adds the totals of other turns.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            turns: self.turns + other.turns,
            attempts: self.attempts + other.attempts,
            tokens: self.tokens.plus(other.tokens),
            usd: self.usd + other.usd,
            priced: self.priced + other.priced,
            unknown_cost: self.unknown_cost + other.unknown_cost,
            unknown_tokens: self.unknown_tokens + other.unknown_tokens,
            ms: self.ms + other.ms,
        }
    }

    /// Returns the cost as people read it: `$1.25`, `at least $1.25 (+ 1 attempt unknown)`, `unknown`
    /// where nothing is known, and `-` where there is nothing.
    pub fn show_cost(&self) -> String {
        if self.attempts == 0 {
            return "-".to_owned();
        }
        if self.unknown_cost == self.attempts && self.usd == 0.0 {
            return "unknown".to_owned();
        }
        show_spent(show_usd(self.usd), self.unknown_cost)
    }
}

/// Returns what was spent with what is missing in it: `at least $1.25 (+ 1 attempt unknown)`.
pub(super) fn show_spent(known: String, unknown: u32) -> String {
    match unknown {
        0 => known,
        _ => format!("at least {known} (+ {} unknown)", plural(unknown as usize, "attempt")),
    }
}

/// Returns US dollars as people read them: `$1.25`, and `$0.0012` where cents would show nothing.
pub fn show_usd(usd: f64) -> String {
    if usd > 0.0 && usd < 0.01 { format!("${usd:.4}") } else { format!("${usd:.2}") }
}

/// Returns a number of tokens as people read it: `950`, `12k`, `1.2M`.
pub fn show_tokens(tokens: u64) -> String {
    match tokens {
        0..10_000 => tokens.to_string(),
        10_000..1_000_000 => format!("{}k", tokens / 1_000),
        _ => format!("{:.1}M", tokens as f64 / 1e6),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An attempt at `turn` that cost so much; none means that nobody knows.
    pub(in crate::convergence) fn entry(turn: u32, usd: Option<f64>) -> Entry {
        Entry {
            turn,
            attempt: 1,
            at: i64::from(turn) * 60_000,
            model: None,
            tokens: usd.map(|_| Tokens { input: 900, output: 100, ..Tokens::default() }),
            cost: usd.map_or(Cost::Unknown, Cost::Reported),
            ms: 60_000,
            cut: usd.is_none(),
        }
    }

    pub(in crate::convergence) fn ledger(costs: &[Option<f64>]) -> Ledger {
        Ledger { entries: (1..).zip(costs).map(|(turn, usd)| entry(turn, *usd)).collect() }
    }

    fn check(costs: &[Option<f64>], expected: &str) {
        assert_eq!(ledger(costs).totals().show_cost(), expected);
    }

    #[test]
    fn what_is_not_known_is_said_and_is_no_zero() {
        check(&[], "-");
        check(&[Some(1.0), Some(0.25)], "$1.25");
        check(&[Some(1.25), None], "at least $1.25 (+ 1 attempt unknown)");
        check(&[None, None], "unknown");
        check(&[Some(0.0012)], "$0.0012");
        check(&[Some(0.0)], "$0.00");
    }

    #[test]
    fn what_a_cut_attempt_is_known_to_have_cost_counts_and_is_not_all() {
        let mut cut = ledger(&[Some(0.5)]);
        cut.entries[0].cut = true;
        assert_eq!(cut.totals().show_cost(), "at least $0.50 (+ 1 attempt unknown)");
    }

    #[test]
    fn the_agents_word_goes_before_the_table() {
        let prices = PriceTable::built_in();
        let tokens = Some(Tokens { input: 1_000_000, ..Tokens::default() });
        let cost = |reported, tokens| Cost::of(reported, tokens, Some("gpt-6-sol"), &prices);
        assert_eq!(cost(Some(0.5), tokens), Cost::Reported(0.5));
        assert_eq!(cost(None, tokens), Cost::Priced(2.0));
        assert_eq!(cost(None, None), Cost::Unknown);
        assert_eq!(cost(Some(f64::NAN), tokens), Cost::Priced(2.0));
        assert_eq!(cost(Some(-1.0), None), Cost::Unknown);
    }

    #[test]
    fn attempts_of_one_turn_are_one_turn() {
        let mut ledger = ledger(&[Some(1.0), Some(2.0)]);
        ledger.entries.push(Entry { attempt: 2, ..entry(2, Some(4.0)) });
        let costs: Vec<f64> = ledger.by_turn().iter().map(|(_, totals)| totals.usd).collect();
        assert_eq!(
            (ledger.totals().turns, ledger.totals().attempts, costs),
            (2, 3, vec![1.0, 6.0])
        );
        assert_eq!(ledger.after(1).totals().usd, 6.0);
        assert_eq!(ledger.since(120_000).totals().attempts, 2);
    }

    #[test]
    fn the_usual_turn_is_the_median_of_those_that_are_known() {
        let usual = ledger(&[Some(1.0), Some(9.0), None, Some(2.0)]).usual();
        assert_eq!((usual.usd, usual.tokens, usual.ms), (Some(2.0), Some(1000.0), Some(60_000.0)));
        assert_eq!(ledger(&[None]).usual().usd, None);
        assert_eq!(median(vec![1.0, 2.0]), Some(1.5));
    }

    #[test]
    fn tokens_read_as_people_say_them() {
        for (tokens, text) in [(950, "950"), (12_345, "12k"), (1_250_000, "1.2M")] {
            assert_eq!(show_tokens(tokens), text);
        }
    }

    proptest! {
        #[test]
        fn totals_lose_no_cent(cents in prop::collection::vec(0..1_000_000_u32, 0..200), cut in 0..200_usize) {
            let costs: Vec<Option<f64>> = cents.iter().map(|cents| Some(f64::from(*cents) / 100.0)).collect();
            let ledger = ledger(&costs);
            let exact: u64 = cents.iter().map(|cents| u64::from(*cents)).sum();
            let close = |usd: f64| (usd * 100.0).round() as u64 == exact;
            prop_assert!(close(ledger.totals().usd));
            prop_assert!(close(ledger.by_turn().iter().map(|(_, totals)| totals.usd).sum()));
            let (before, after) = costs.split_at(cut.min(costs.len()));
            let halves = super::tests::ledger(before).totals().plus(super::tests::ledger(after).totals());
            prop_assert!(close(halves.usd));
        }

        #[test]
        fn unknown_is_shown_where_something_is_and_only_there(
            costs in prop::collection::vec(prop::option::of(0.0..100.0_f64), 0..20),
        ) {
            let shown = ledger(&costs).totals().show_cost();
            prop_assert_eq!(shown.contains("unknown"), costs.iter().any(Option::is_none), "{}", shown);
        }
    }
}
