//! What a run is likely to take before it begins, from what earlier ones took.

use super::ledger::{median, show_tokens, show_usd};
use super::{Totals, budget::show_ms};
use crate::text::plural;

/// What a run is likely to take. Ranges are from one turn as the least one was to all turns as the most
/// was; none where nothing is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// How many turns it may take.
    pub turns: u32,
    /// From how many earlier turns this is known.
    pub known_turns: usize,
    /// How long a judgement takes, in milliseconds: the median.
    pub judgement_ms: Option<f64>,
    /// How long a turn takes, likewise.
    pub turn_ms: Option<f64>,
    /// How long the run takes, in milliseconds.
    pub run_ms: Option<(f64, f64)>,
    /// What it costs, in US dollars, at most the budget.
    pub usd: Option<(f64, f64)>,
    /// The tokens it takes.
    pub tokens: Option<(u64, u64)>,
}

/// Estimates a run of at most `turns` turns and `budget` US dollars from how long earlier judgements
/// took, in milliseconds, and from earlier turns.
pub fn estimate(
    turns: u32,
    budget: Option<f64>,
    judgements_ms: &[f64],
    earlier: &[Totals],
) -> Estimate {
    let judgement_ms = median(judgements_ms.to_vec());
    let ms: Vec<f64> = earlier.iter().map(|turn| turn.ms as f64).filter(|ms| *ms > 0.0).collect();
    let costs = earlier.iter().filter(|turn| turn.unknown_cost == 0).map(|turn| turn.usd);
    let tokens = earlier
        .iter()
        .filter(|turn| turn.unknown_tokens == 0)
        .map(|turn| turn.tokens.total() as f64);
    let most = f64::from(turns);
    let range = |values: Vec<f64>| {
        let least = values.iter().copied().min_by(f64::total_cmp)?;
        let high = values.iter().copied().max_by(f64::total_cmp)?;
        (turns > 0).then_some((least, high * most))
    };
    let run_ms = match (judgement_ms, range(ms.clone())) {
        (Some(judgement), Some((low, high))) => {
            Some((low + 2.0 * judgement, high + (most + 1.0) * judgement))
        }
        (Some(judgement), None) if turns == 0 => Some((judgement, judgement)),
        _ => None,
    };
    let cap = |usd: f64| budget.map_or(usd, |budget| usd.min(budget));
    Estimate {
        turns,
        known_turns: earlier.len(),
        judgement_ms,
        turn_ms: median(ms),
        run_ms,
        usd: range(costs.collect()).map(|(low, high)| (cap(low), cap(high))),
        tokens: range(tokens.collect()).map(|(low, high)| (low as u64, high as u64)),
    }
}

impl Estimate {
    /// Returns the estimate as lines; `notional` says that dollars are not paid.
    pub fn lines(&self, notional: bool) -> Vec<String> {
        let time =
            |ms: Option<f64>| ms.map_or_else(|| "not known".to_owned(), |ms| show_ms(ms as u64));
        let range = |shown: Option<(String, String)>| match shown {
            Some((low, high)) if low == high => low,
            Some((low, high)) => format!("{low} to {high}"),
            None => "not known".to_owned(),
        };
        let usd = range(self.usd.map(|(low, high)| (show_usd(low), show_usd(high))));
        let usd = if notional { format!("{usd}, notional: the plan pays") } else { usd };
        let tokens = self.tokens.map(|(low, high)| (show_tokens(low), show_tokens(high)));
        let run = self.run_ms.map(|(low, high)| (show_ms(low as u64), show_ms(high as u64)));
        let mut lines = vec![
            format!("a judgement  {}", time(self.judgement_ms)),
            format!("a turn       {}", time(self.turn_ms)),
            format!("turns        at most {}", self.turns),
            format!("the run      {}", range(run)),
            format!("tokens       {}", range(tokens)),
            format!("cost         {usd}"),
        ];
        lines.push(match (self.judgement_ms, self.known_turns) {
            (None, 0) => {
                "There is no earlier run to go by; `iterate --no-agent` judges the base, which costs nothing."
                    .to_owned()
            }
            (_, 0) => "No agent has worked here yet: what a turn takes is not known.".to_owned(),
            (_, turns) => format!("From {} of earlier runs.", plural(turns, "turn")),
        });
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::tests::ledger;
    use super::*;

    fn turns(costs: &[Option<f64>]) -> Vec<Totals> {
        ledger(costs).by_turn().into_iter().map(|(_, totals)| totals).collect()
    }

    #[test]
    fn a_range_is_from_one_cheap_turn_to_all_dear_ones() {
        let found = estimate(4, None, &[30_000.0], &turns(&[Some(0.5), Some(2.0), None]));
        assert_eq!(found.usd, Some((0.5, 8.0)));
        assert_eq!(found.tokens, Some((1_000, 4_000)));
        assert_eq!(found.run_ms, Some((120_000.0, 390_000.0)));
    }

    #[test]
    fn it_costs_no_more_than_the_budget() {
        let found = estimate(4, Some(3.0), &[], &turns(&[Some(0.5), Some(2.0)]));
        assert_eq!((found.usd, found.run_ms), (Some((0.5, 3.0)), None));
    }

    #[test]
    fn what_is_not_known_is_said() {
        let lines = estimate(5, None, &[], &[]).lines(false).join("\n");
        assert!(lines.contains("cost         not known"), "{lines}");
        assert!(lines.contains("`iterate --no-agent`"), "{lines}");
        let lines = estimate(5, None, &[1_500.0], &turns(&[None])).lines(true).join("\n");
        assert!(lines.contains("cost         not known, notional"), "{lines}");
    }

    #[test]
    fn a_run_without_turns_is_one_judgement() {
        let found = estimate(0, None, &[30_000.0], &[]);
        assert_eq!((found.run_ms, found.usd), (Some((30_000.0, 30_000.0)), None));
    }
}
