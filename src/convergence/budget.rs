//! Whether the next turn is paid for: what a run may use up, what it has, and what is left for a turn.
//!
//! What nobody knows is charged like a usual attempt, so that a budget rather ends too early. Nothing
//! here stops a turn that is going on: its supervisor asks [`TurnAllowance::over`].

use serde::{Deserialize, Serialize};

use super::ledger::{Totals, Usual, show_spent, show_tokens, show_usd};
use crate::clock::{human, parse_duration};
use crate::text::plural;

/// The time over which `per_day` counts, in milliseconds: the last 24 hours, wherever midnight is.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How the agent is paid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Billing {
    /// By what it uses.
    #[default]
    Metered,
    /// By a subscription; dollars only say what it would have cost.
    Plan,
}

/// What a run may use up; none is no limit. Money is in US dollars, tokens are those read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// How the agent is paid.
    pub billing: Billing,
    /// Money of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money: Option<f64>,
    /// Tokens of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Time for which the run may be at work, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// Money of a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_money: Option<f64>,
    /// Tokens of a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_tokens: Option<u64>,
    /// Money of the repository's runs within 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_money: Option<f64>,
    /// Tokens of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_tokens: Option<u64>,
    /// Turns of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_turns: Option<u32>,
    /// Money since the last better score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_money: Option<f64>,
    /// Tokens since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_tokens: Option<u64>,
}

impl Limits {
    /// Returns whether nothing is said: no limit, and no plan.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether a limit is one in money.
    pub fn has_money(&self) -> bool {
        [self.money, self.turn_money, self.day_money, self.progress_money]
            .iter()
            .any(Option::is_some)
    }

    /// Returns whether a limit is one of money or tokens, which is known from what the agent tells alone.
    pub fn holds_turns(&self) -> bool {
        let tokens = [self.tokens, self.turn_tokens, self.day_tokens, self.progress_tokens];
        self.has_money() || tokens.iter().any(Option::is_some)
    }

    /// Returns whether what other runs used within the day has to be known.
    pub fn has_day(&self) -> bool {
        self.day_money.is_some() || self.day_tokens.is_some() || self.day_turns.is_some()
    }
}

/// A limit, named by its setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// `budget.money`.
    Money,
    /// `budget.tokens`.
    Tokens,
    /// `budget.time`.
    Time,
    /// `budget.per_turn.money`.
    TurnMoney,
    /// `budget.per_turn.tokens`.
    TurnTokens,
    /// `budget.per_day.money`.
    DayMoney,
    /// `budget.per_day.tokens`.
    DayTokens,
    /// `budget.per_day.turns`.
    DayTurns,
    /// `budget.without_progress.money`.
    ProgressMoney,
    /// `budget.without_progress.tokens`.
    ProgressTokens,
    /// `--deadline`.
    Deadline,
}

impl Limit {
    /// Returns the setting, or the flag.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Money => "budget.money",
            Self::Tokens => "budget.tokens",
            Self::Time => "budget.time",
            Self::TurnMoney => "budget.per_turn.money",
            Self::TurnTokens => "budget.per_turn.tokens",
            Self::DayMoney => "budget.per_day.money",
            Self::DayTokens => "budget.per_day.tokens",
            Self::DayTurns => "budget.per_day.turns",
            Self::ProgressMoney => "budget.without_progress.money",
            Self::ProgressTokens => "budget.without_progress.tokens",
            Self::Deadline => "--deadline",
        }
    }

    /// Returns an amount as people read it; of times it is in milliseconds.
    fn show(self, amount: f64) -> String {
        match self {
            Self::Money | Self::TurnMoney | Self::DayMoney | Self::ProgressMoney => {
                show_usd(amount)
            }
            Self::Tokens | Self::TurnTokens | Self::DayTokens | Self::ProgressTokens => {
                format!("{} tokens", show_tokens(amount as u64))
            }
            Self::DayTurns => plural(amount as usize, "turn"),
            Self::Time | Self::Deadline => show_ms(amount as u64),
        }
    }
}

/// Returns a number of milliseconds as people read it.
pub(super) fn show_ms(ms: u64) -> String {
    human(std::time::Duration::from_millis(ms))
}

/// What has been used when a turn is due.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spending {
    /// By the run.
    pub run: Totals,
    /// By the repository's runs within the last 24 hours, this one among them.
    pub day: Totals,
    /// By the run since its last better score, or since a person let it go on after that.
    pub since_progress: Totals,
    /// What a turn of it is likely to take.
    pub usual: Usual,
    /// How long a judgement is likely to take, in milliseconds; none where none is known.
    pub judgement_ms: Option<f64>,
    /// How long the run was at work, in milliseconds.
    pub worked_ms: u64,
    /// The present moment, in milliseconds since 1970 began.
    pub now: i64,
}

/// Why a turn is not paid for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shortfall {
    /// Which limit it is about.
    pub limit: Limit,
    /// What is known to be used of it: US dollars, tokens, turns or milliseconds.
    pub spent: f64,
    /// The limit itself, likewise.
    pub allowed: f64,
    /// How many attempts used what nobody knows; each was charged like a usual one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown: u32,
    /// What a turn is likely to take, where something is left that is too little; none where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed: Option<f64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Whether a turn may begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fund {
    /// It may, and use so much.
    Yes(TurnAllowance),
    /// What is left of a limit is too little.
    No(Shortfall),
    /// There is too little time until the deadline.
    Late {
        /// The deadline, in milliseconds since 1970 began.
        at: i64,
        /// How long it still is, in milliseconds.
        left_ms: u64,
        /// How long a turn and its judgement are likely to take.
        needed_ms: u64,
    },
}

/// What a turn may use, each with the limit that says so; none is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TurnAllowance {
    /// US dollars.
    pub usd: Option<(f64, Limit)>,
    /// Tokens, read and written.
    pub tokens: Option<(u64, Limit)>,
    /// Milliseconds.
    pub ms: Option<(u64, Limit)>,
}

impl TurnAllowance {
    /// Returns the limit that a turn has reached which has used so much so far; none where it may go
    /// on. Dollars that nobody knows reach none.
    pub fn over(&self, tokens: u64, usd: Option<f64>) -> Option<Limit> {
        if let (Some((allowed, limit)), Some(usd)) = (self.usd, usd)
            && usd >= allowed
        {
            return Some(limit);
        }
        self.tokens.filter(|(allowed, _)| tokens >= *allowed).map(|(_, limit)| limit)
    }

    /// Lowers what may be used to what is left of a limit.
    fn lower(&mut self, limit: Limit, left: f64) {
        let whole = left.max(0.0) as u64;
        match limit {
            Limit::Money | Limit::TurnMoney | Limit::DayMoney | Limit::ProgressMoney => {
                if self.usd.is_none_or(|(usd, _)| left < usd) {
                    self.usd = Some((left, limit));
                }
            }
            Limit::Tokens | Limit::TurnTokens | Limit::DayTokens | Limit::ProgressTokens => {
                if self.tokens.is_none_or(|(tokens, _)| whole < tokens) {
                    self.tokens = Some((whole, limit));
                }
            }
            Limit::Time | Limit::Deadline => {
                if self.ms.is_none_or(|(ms, _)| whole < ms) {
                    self.ms = Some((whole, limit));
                }
            }
            Limit::DayTurns => {}
        }
    }
}

/// One limit with what is used of it and what a turn is likely to add.
struct Account {
    limit: Limit,
    allowed: f64,
    known: f64,
    unknown: u32,
    usual: Option<f64>,
}

impl Account {
    /// Returns what is left, unknown attempts charged like usual ones.
    fn left(&self) -> f64 {
        let charged = f64::from(self.unknown) * self.usual.unwrap_or_default();
        self.allowed - self.known - charged
    }
}

/// Decides whether a turn may begin, and what it may use. `deadline` is in milliseconds since 1970
/// began.
pub fn may_begin(limits: &Limits, deadline: Option<i64>, spending: &Spending) -> Fund {
    let mut allowance = TurnAllowance::default();
    for account in accounts(limits, spending) {
        let left = account.left();
        // A breaker counts what was spent in vain, not what a turn more would take.
        let is_breaker = matches!(account.limit, Limit::ProgressMoney | Limit::ProgressTokens);
        let needed = account.usual.filter(|usual| !is_breaker && *usual > left);
        let is_spent = left <= 1e-9;
        if is_spent || needed.is_some() {
            return Fund::No(Shortfall {
                limit: account.limit,
                spent: account.known,
                allowed: account.allowed,
                unknown: account.unknown,
                needed: needed.filter(|_| !is_spent),
            });
        }
        allowance.lower(account.limit, left);
    }
    for (limit, allowed) in [
        (Limit::TurnMoney, limits.turn_money),
        (Limit::TurnTokens, limits.turn_tokens.map(|tokens| tokens as f64)),
    ] {
        if let Some(allowed) = allowed {
            allowance.lower(limit, allowed);
        }
    }
    if let Some(at) = deadline {
        let left_ms = u64::try_from(at - spending.now).unwrap_or(0);
        let needed_ms = time_needed(spending);
        if left_ms <= needed_ms {
            return Fund::Late { at, left_ms, needed_ms };
        }
        let judgement = spending.judgement_ms.unwrap_or_default();
        allowance.lower(Limit::Deadline, left_ms as f64 - judgement);
    }
    Fund::Yes(allowance)
}

/// Returns how long a turn and its judgement are likely to take, in milliseconds; what is not known
/// counts nothing.
pub fn time_needed(spending: &Spending) -> u64 {
    let turn = spending.usual.ms.unwrap_or_default();
    (turn + spending.judgement_ms.unwrap_or_default()) as u64
}

/// Returns what is limited beyond a turn, in the order in which it is told.
fn accounts(limits: &Limits, spending: &Spending) -> Vec<Account> {
    let usual = spending.usual;
    let money = |limit, allowed: Option<f64>, totals: &Totals| {
        Some(Account {
            limit,
            allowed: allowed?,
            known: totals.usd,
            unknown: totals.unknown_cost,
            usual: usual.usd,
        })
    };
    let tokens = |limit, allowed: Option<u64>, totals: &Totals| {
        Some(Account {
            limit,
            allowed: allowed? as f64,
            known: totals.tokens.total() as f64,
            unknown: totals.unknown_tokens,
            usual: usual.tokens,
        })
    };
    let plain = |limit, allowed: Option<f64>, known, usual| {
        Some(Account { limit, allowed: allowed?, known, unknown: 0, usual })
    };
    let time = (time_needed(spending) > 0).then(|| time_needed(spending) as f64);
    [
        money(Limit::Money, limits.money, &spending.run),
        tokens(Limit::Tokens, limits.tokens, &spending.run),
        plain(Limit::Time, limits.time_ms.map(|ms| ms as f64), spending.worked_ms as f64, time),
        money(Limit::DayMoney, limits.day_money, &spending.day),
        tokens(Limit::DayTokens, limits.day_tokens, &spending.day),
        plain(
            Limit::DayTurns,
            limits.day_turns.map(f64::from),
            f64::from(spending.day.turns),
            None,
        ),
        money(Limit::ProgressMoney, limits.progress_money, &spending.since_progress),
        tokens(Limit::ProgressTokens, limits.progress_tokens, &spending.since_progress),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Shortfall {
    /// Returns the reason in a sentence, and what to do.
    pub fn reason(&self) -> String {
        let Self { limit, allowed, .. } = *self;
        let setting = limit.setting();
        let spent = show_spent(limit.show(self.spent), self.unknown);
        let allowed = limit.show(allowed);
        let next = self.next();
        let begins = match self.unknown {
            0 => spent.clone(),
            _ => spent.replacen("at", "At", 1),
        };
        match (limit, self.needed) {
            (Limit::ProgressMoney | Limit::ProgressTokens, _) => format!(
                "Since the last better score {spent} went in vain, and `{setting}` is {allowed}; {next}."
            ),
            (_, Some(needed)) => format!(
                "{begins} of the {allowed} of `{setting}` used, and a turn takes about {}; {next}.",
                limit.show(needed)
            ),
            (_, None) => format!("{begins} of the {allowed} of `{setting}` used; {next}."),
        }
    }

    /// Returns the command that goes on: `iterate --resume --budget 10`.
    pub fn command(&self) -> String {
        let twice = self.allowed.max(self.spent) * 2.0;
        match self.limit {
            Limit::Money => format!("iterate --resume --budget {}", (twice * 100.0).ceil() / 100.0),
            Limit::Tokens => format!("iterate --resume --budget {}tok", twice as u64),
            Limit::Time => {
                format!("iterate --resume --budget {}m", (twice / 60_000.0).ceil() as u64)
            }
            _ => "iterate --resume".to_owned(),
        }
    }

    fn next(&self) -> String {
        let command = self.command();
        match self.limit {
            Limit::DayMoney | Limit::DayTokens | Limit::DayTurns => {
                format!("it counts the last 24 hours, and `{command}` goes on later")
            }
            Limit::ProgressMoney | Limit::ProgressTokens => {
                format!("`{command}` counts anew, and goes on")
            }
            _ => format!("`{command}` goes on"),
        }
    }
}

/// That the agent's provider gives no more for now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageLimit {
    /// When it gives more, in milliseconds since 1970 began; none where it does not say.
    pub until: Option<i64>,
}

/// A budget of a run as a flag gives it; none leaves the limit as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Raise {
    /// Money, in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money: Option<f64>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Time at work, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
}

impl Raise {
    /// Returns whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns both, the other going first.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            money: other.money.or(self.money),
            tokens: other.tokens.or(self.tokens),
            time_ms: other.time_ms.or(self.time_ms),
        }
    }

    /// Sets the limits that it names.
    pub fn apply(&self, limits: &mut Limits) {
        limits.money = self.money.or(limits.money);
        limits.tokens = self.tokens.or(limits.tokens);
        limits.time_ms = self.time_ms.or(limits.time_ms);
    }

    /// Returns whether it gives more of `limit` than there was. Of what no flag names, time or a
    /// person's word gives more.
    pub fn lifts(&self, limit: Limit, limits: &Limits) -> bool {
        match limit {
            Limit::Money => self.money > limits.money,
            Limit::Tokens => self.tokens > limits.tokens,
            Limit::Time => self.time_ms > limits.time_ms,
            _ => true,
        }
    }
}

impl std::str::FromStr for Raise {
    type Err = String;

    /// Reads `5` or `$5` (US dollars), `2Mtok` or `500ktok` (tokens), `90m` or `2h` (time at work).
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "`{text}` is no budget; write US dollars as 5, tokens as 2Mtok or 500ktok, time as 90m or 2h"
            )
        };
        let plain = text.trim();
        if let Some(tokens) = plain.strip_suffix("tokens").or_else(|| plain.strip_suffix("tok")) {
            let (number, scale) = match tokens.trim_end() {
                number if number.ends_with('M') => (number.trim_end_matches('M'), 1e6),
                number if number.ends_with('k') => (number.trim_end_matches('k'), 1e3),
                number => (number, 1.0),
            };
            let tokens = positive(number).ok_or_else(refuse)? * scale;
            let whole = (1.0..1e18).contains(&tokens).then_some(tokens as u64);
            return Ok(Self { tokens: Some(whole.ok_or_else(refuse)?), ..Self::default() });
        }
        if plain.ends_with(|c: char| c.is_ascii_alphabetic()) {
            let time = parse_duration(plain).map_err(|_| refuse())?;
            let ms = u64::try_from(time.as_millis()).map_err(|_| refuse())?;
            return Ok(Self { time_ms: Some(ms.max(1)), ..Self::default() });
        }
        let money = positive(plain.strip_prefix('$').unwrap_or(plain)).ok_or_else(refuse)?;
        Ok(Self { money: Some(money), ..Self::default() })
    }
}

/// Reads a number above zero.
fn positive(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ledger::tests::ledger;
    use super::*;

    fn spending(costs: &[Option<f64>]) -> Spending {
        let ledger = ledger(costs);
        Spending {
            run: ledger.totals(),
            day: ledger.totals(),
            since_progress: ledger.totals(),
            usual: ledger.usual(),
            judgement_ms: Some(30_000.0),
            worked_ms: 90_000,
            now: 1_000_000,
        }
    }

    /// Checks what follows from a limit after turns of these costs; empty means that one may begin.
    #[track_caller]
    fn check(limits: Limits, costs: &[Option<f64>], expected: &str) {
        let said = match may_begin(&limits, None, &spending(costs)) {
            Fund::No(shortfall) => shortfall.reason(),
            Fund::Yes(_) => String::new(),
            Fund::Late { .. } => "late".to_owned(),
        };
        assert_eq!(said, expected);
    }

    fn money(usd: f64) -> Limits {
        Limits { money: Some(usd), ..Limits::default() }
    }

    #[test]
    fn a_turn_begins_while_the_rest_pays_for_a_usual_one() {
        check(money(5.0), &[], "");
        check(money(5.0), &[Some(1.0), Some(1.5)], "");
        check(
            money(5.0),
            &[Some(2.0), Some(2.0)],
            "$4.00 of the $5.00 of `budget.money` used, and a turn takes about $2.00; `iterate --resume --budget 10` goes on.",
        );
    }

    #[test]
    fn a_budget_that_is_spent_declines() {
        check(
            money(0.25),
            &[Some(0.25)],
            "$0.25 of the $0.25 of `budget.money` used; `iterate --resume --budget 0.5` goes on.",
        );
    }

    #[test]
    fn what_nobody_knows_is_charged_like_a_usual_attempt() {
        check(money(3.0), &[Some(1.0), None], "");
        check(
            money(2.5),
            &[Some(1.0), None],
            "At least $1.00 (+ 1 attempt unknown) of the $2.50 of `budget.money` used, and a turn takes about $1.00; `iterate --resume --budget 5` goes on.",
        );
        // Without a price for any, only other limits can rule.
        check(money(2.0), &[None, None], "");
    }

    #[test]
    fn each_limit_is_named_by_its_setting() {
        let two = &[Some(1.0), Some(1.0)][..];
        let limits = Limits { tokens: Some(2_500), ..Limits::default() };
        check(
            limits,
            two,
            "2000 tokens of the 2500 tokens of `budget.tokens` used, and a turn takes about 1000 tokens; `iterate --resume --budget 5000tok` goes on.",
        );
        let limits = Limits { time_ms: Some(120_000), ..Limits::default() };
        check(
            limits,
            two,
            "1 min 30 s of the 2 min of `budget.time` used, and a turn takes about 1 min 30 s; `iterate --resume --budget 4m` goes on.",
        );
        let limits = Limits { day_turns: Some(2), ..Limits::default() };
        check(
            limits,
            two,
            "2 turns of the 2 turns of `budget.per_day.turns` used; it counts the last 24 hours, and `iterate --resume` goes on later.",
        );
    }

    #[test]
    fn the_breaker_trips_on_what_went_in_vain_and_not_before() {
        let limits = Limits { progress_money: Some(2.5), ..Limits::default() };
        check(limits, &[Some(1.0), Some(1.0)], "");
        check(
            limits,
            &[Some(1.0), Some(1.5)],
            "Since the last better score $2.50 went in vain, and `budget.without_progress.money` is $2.50; `iterate --resume` counts anew, and goes on.",
        );
    }

    #[test]
    fn a_turn_may_use_the_least_of_what_is_left() {
        let limits = Limits {
            turn_money: Some(2.0),
            day_money: Some(4.5),
            turn_tokens: Some(9_000),
            tokens: Some(10_000),
            ..money(4.0)
        };
        let Fund::Yes(allowance) = may_begin(&limits, None, &spending(&[Some(1.0)])) else {
            panic!("it may begin")
        };
        assert_eq!(allowance.usd, Some((2.0, Limit::TurnMoney)));
        assert_eq!(allowance.tokens, Some((9_000, Limit::Tokens)));
        assert_eq!(allowance.over(8_999, Some(1.99)), None);
        assert_eq!(allowance.over(8_999, Some(2.0)), Some(Limit::TurnMoney));
        assert_eq!(allowance.over(9_000, None), Some(Limit::Tokens));
    }

    #[test]
    fn a_deadline_leaves_time_for_the_judgement() {
        let of = |deadline| may_begin(&Limits::default(), Some(deadline), &spending(&[Some(1.0)]));
        let late = Fund::Late { at: 1_090_000, left_ms: 90_000, needed_ms: 90_000 };
        assert_eq!(of(1_090_000), late);
        let Fund::Yes(allowance) = of(1_100_000) else { panic!("there is time") };
        assert_eq!(allowance.ms, Some((70_000, Limit::Deadline)));
        assert!(matches!(of(0), Fund::Late { left_ms: 0, .. }));
    }

    #[test]
    fn a_flag_names_money_tokens_or_time() {
        let read = |text: &str| text.parse::<Raise>().map(|r| (r.money, r.tokens, r.time_ms));
        assert_eq!(read("5"), Ok((Some(5.0), None, None)));
        assert_eq!(read("$2.50"), Ok((Some(2.5), None, None)));
        assert_eq!(read("2Mtok"), Ok((None, Some(2_000_000), None)));
        assert_eq!(read("1.5k tokens"), Ok((None, Some(1_500), None)));
        assert_eq!(read("90m"), Ok((None, None, Some(5_400_000))));
        for text in ["", "0", "-1", "nan", "inf", "5 euros", "tok", "0tok", "1e99tok", "$"] {
            let error = read(text).unwrap_err();
            assert!(error.contains("write US dollars as 5"), "{text}: {error}");
        }
    }

    #[test]
    fn a_raise_has_to_give_more_of_what_ran_out() {
        let limits = money(5.0);
        let raise = |text: &str| text.parse::<Raise>().unwrap();
        assert!(raise("6").lifts(Limit::Money, &limits));
        assert!(!raise("5").lifts(Limit::Money, &limits));
        assert!(!raise("2h").lifts(Limit::Money, &limits));
        assert!(Raise::default().lifts(Limit::DayMoney, &limits));
        let mut changed = limits;
        raise("6").and(raise("1h")).apply(&mut changed);
        assert_eq!((changed.money, changed.time_ms), (Some(6.0), Some(3_600_000)));
    }

    /// The next move of every reason can be read as the command line has it.
    #[test]
    fn the_command_of_a_shortfall_lifts_it() {
        for (limit, allowed) in
            [(Limit::Money, 0.333), (Limit::Tokens, 7.0), (Limit::Time, 90_000.0)]
        {
            let spent = allowed * 3.0;
            let shortfall = Shortfall { limit, spent, allowed, unknown: 0, needed: None };
            let command = shortfall.command();
            let raise: Raise = command.rsplit(' ').next().unwrap().parse().unwrap();
            let limits = Limits { tokens: Some(7), time_ms: Some(90_000), ..money(0.333) };
            assert!(raise.lifts(limit, &limits), "{command}");
        }
    }

    proptest! {
        #[test]
        fn with_more_left_a_turn_begins_all_the_more(
            costs in prop::collection::vec(prop::option::of(0.0..10.0_f64), 0..8),
            allowed in 0.01..100.0_f64, more in 0.0..100.0_f64,
        ) {
            let may = |allowed| matches!(may_begin(&money(allowed), None, &spending(&costs)), Fund::Yes(_));
            prop_assert!(!may(allowed) || may(allowed + more));
        }

        #[test]
        fn a_turn_is_never_allowed_more_than_is_left(
            costs in prop::collection::vec(0.01..10.0_f64, 1..8), allowed in 0.01..100.0_f64,
        ) {
            let spent: f64 = costs.iter().sum();
            let costs: Vec<_> = costs.into_iter().map(Some).collect();
            if let Fund::Yes(allowance) = may_begin(&money(allowed), None, &spending(&costs)) {
                prop_assert!(allowance.usd.unwrap().0 <= allowed - spent + 1e-9);
            }
        }
    }
}
