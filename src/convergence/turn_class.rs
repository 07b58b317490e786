//! How a turn of an agent ended, one taxonomy for all agents, and what the loop does next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnClass {
    /// The agent's last event says so, it exited with 0, and nothing was denied or blocked.
    Done,
    /// Likewise, and it changed nothing, ran nothing, and did not say that nothing is left to do.
    NoOp,
    /// The model would not do it.
    Refused,
    /// It finished, and on the way was not allowed something that it asked for.
    Denied,
    /// It took as many steps as it may.
    MaxTurns,
    /// The provider asks for a pause; it may have said until when.
    RateLimited,
    /// The account has nothing left to spend.
    Quota,
    /// The provider does not know the login, or the login may not use the model.
    Authentication,
    /// The provider has no such model, or nothing that answers as one is at its address.
    NotFound,
    /// The provider failed.
    Overloaded,
    /// The provider was not reached, or the connection broke.
    Network,
    /// The agent's own sandbox let no command run.
    SandboxUnusable,
    /// What the turn may spend is spent.
    Budget,
    /// Its time was up.
    TimedOut,
    /// It was silent for too long.
    Idle,
    /// The factory was interrupted, or died.
    Interrupted,
    /// It ended in another way than by itself and well.
    Crashed,
    /// It never began.
    CouldNotStart,
}

/// What follows from how a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// What it brought is looked at, and judged.
    Deliver,
    /// It counts, and what it had changed is kept beside the run, for people.
    Keep,
    /// It is tried again, no earlier than then.
    Again {
        /// When.
        at: Timestamp,
    },
    /// The run stops, and can go on later.
    Stop {
        /// When it is worth trying again; none where nobody knows.
        until: Option<Timestamp>,
    },
    /// The run fails, and can go on once somebody has looked at it.
    Fail,
}

/// How long the loop puts up with what may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// How often a turn that the network or the provider broke is tried again.
    pub retries: u32,
    /// The longest that limits are waited out, for one turn.
    pub wait: Duration,
    /// How much of that was waited already, since the run began or went on.
    pub waited: Duration,
}

impl TurnClass {
    /// Every class, in the order in which people are told of them.
    pub const ALL: [Self; 18] = [
        Self::Done,
        Self::NoOp,
        Self::Refused,
        Self::Denied,
        Self::MaxTurns,
        Self::RateLimited,
        Self::Quota,
        Self::Authentication,
        Self::NotFound,
        Self::Overloaded,
        Self::Network,
        Self::SandboxUnusable,
        Self::Budget,
        Self::TimedOut,
        Self::Idle,
        Self::Interrupted,
        Self::Crashed,
        Self::CouldNotStart,
    ];

    /// Returns the name on the wire: `done`, `rate_limited`, ...
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NoOp => "no_op",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::MaxTurns => "max_turns",
            Self::RateLimited => "rate_limited",
            Self::Quota => "quota",
            Self::Authentication => "authentication",
            Self::NotFound => "not_found",
            Self::Overloaded => "overloaded",
            Self::Network => "network",
            Self::SandboxUnusable => "sandbox_unusable",
            Self::Budget => "budget",
            Self::TimedOut => "timed_out",
            Self::Idle => "idle",
            Self::Interrupted => "interrupted",
            Self::Crashed => "crashed",
            Self::CouldNotStart => "could_not_start",
        }
    }

    /// Returns the class of that name. `failed` and `signalled` are what earlier versions called
    /// `crashed`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "failed" | "signalled" => Some(Self::Crashed),
            _ => Self::ALL.into_iter().find(|class| class.name() == name),
        }
    }

    /// Returns what the agent did, as the end of a sentence that begins with its name.
    pub fn words(self) -> &'static str {
        match self {
            Self::Done => "is done",
            Self::NoOp => "did nothing, and did not say why",
            Self::Refused => "refused the task",
            Self::Denied => "was not allowed all that it asked for",
            Self::MaxTurns => "took as many steps as it may",
            Self::RateLimited => "ran into a usage limit",
            Self::Quota => "has nothing left to spend",
            Self::Authentication => "could not log in",
            Self::NotFound => "found no such model, or no provider at its address",
            Self::Overloaded => "found the provider failing",
            Self::Network => "did not reach the provider",
            Self::SandboxUnusable => "could run no command in its own sandbox",
            Self::Budget => "spent what it may",
            Self::TimedOut => "ran out of time",
            Self::Idle => "was silent for too long",
            Self::Interrupted => "was interrupted",
            Self::Crashed => "ended without finishing",
            Self::CouldNotStart => "could not be started",
        }
    }

    /// Returns whether the turn's work is taken: the agent came to an end of its own.
    pub fn delivers(self) -> bool {
        matches!(self, Self::Done | Self::NoOp | Self::Refused | Self::Denied | Self::MaxTurns)
    }

    /// Returns whether the class is the provider's or the login's, so that another agent may fare
    /// better.
    pub fn is_outage(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::Quota
                | Self::Authentication
                | Self::NotFound
                | Self::Overloaded
                | Self::Network
                | Self::SandboxUnusable
                | Self::CouldNotStart
        )
    }

    /// Decides what follows. `failures` counts the attempts at this turn that ended in an outage,
    /// this one included, since the run began or went on; `resets` is when the provider said that
    /// its limit is lifted.
    pub fn after(
        self,
        failures: u32,
        resets: Option<Timestamp>,
        now: Timestamp,
        patience: &Patience,
    ) -> After {
        match self {
            Self::RateLimited => match resets {
                Some(at) if at.since(now) + patience.waited > patience.wait => {
                    After::Stop { until: Some(at) }
                }
                // A reset that has passed is tried at once, but not for ever.
                Some(at) if at > now => After::Again { at: at.plus(MARGIN) },
                _ => wait(LIMIT_STEP, failures, patience.wait, now)
                    .map_or(After::Stop { until: None }, |at| After::Again { at }),
            },
            Self::Overloaded | Self::Network if failures <= patience.retries => {
                After::Again { at: now.plus(doubled(OUTAGE_STEP, failures)) }
            }
            Self::Quota => After::Stop { until: resets },
            Self::Authentication
            | Self::NotFound
            | Self::SandboxUnusable
            | Self::CouldNotStart
            | Self::Overloaded
            | Self::Network => After::Fail,
            Self::Budget | Self::TimedOut | Self::Idle | Self::Interrupted | Self::Crashed => {
                After::Keep
            }
            Self::Done | Self::NoOp | Self::Refused | Self::Denied | Self::MaxTurns => {
                After::Deliver
            }
        }
    }
}

/// What is added to a reset, since clocks differ.
const MARGIN: Duration = Duration::from_secs(2);
/// The first pause after a limit without a reset, and after an outage; each next one is twice as
/// long.
const LIMIT_STEP: Duration = Duration::from_secs(60);
const OUTAGE_STEP: Duration = Duration::from_secs(5);

fn doubled(step: Duration, failures: u32) -> Duration {
    step.saturating_mul(1 << failures.saturating_sub(1).min(10))
}

/// Returns when it is tried again after `failures` failures; none once the pauses together are
/// longer than `ceiling`.
fn wait(step: Duration, failures: u32, ceiling: Duration, now: Timestamp) -> Option<Timestamp> {
    let all = (1..=failures.min(32)).map(|failure| doubled(step, failure)).sum::<Duration>();
    (all <= ceiling).then(|| now.plus(doubled(step, failures)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { retries: 3, wait: Duration::from_secs(3600), waited: Duration::ZERO };
    const NOW: i64 = 1_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_millis(NOW + seconds * 1_000)
    }

    fn after(class: TurnClass, failures: u32, resets: Option<i64>) -> After {
        class.after(failures, resets.map(at), at(0), &PATIENCE)
    }

    #[test]
    fn each_class_is_found_by_its_name() {
        for class in TurnClass::ALL {
            assert_eq!(TurnClass::parse(class.name()), Some(class));
            assert_eq!(serde_json::to_value(class).unwrap(), class.name());
        }
        assert_eq!(TurnClass::parse("failed"), Some(TurnClass::Crashed));
        assert_eq!(TurnClass::parse("finished"), None);
    }

    #[test]
    fn a_limit_is_waited_out_until_its_reset() {
        assert_eq!(after(TurnClass::RateLimited, 1, Some(90)), After::Again { at: at(92) });
        assert_eq!(after(TurnClass::RateLimited, 9, Some(90)), After::Again { at: at(92) });
    }

    #[test]
    fn a_limit_past_the_ceiling_stops_and_says_until_when() {
        let until = Some(at(3601));
        assert_eq!(after(TurnClass::RateLimited, 1, Some(3601)), After::Stop { until });
    }

    #[test]
    fn a_limit_that_is_put_off_again_and_again_is_not_waited_out_for_ever() {
        let patient = Patience { waited: Duration::from_secs(3_550), ..PATIENCE };
        let after = TurnClass::RateLimited.after(40, Some(at(90)), at(0), &patient);
        assert_eq!(after, After::Stop { until: Some(at(90)) });
    }

    #[test]
    fn a_limit_without_a_reset_is_tried_less_and_less_often_and_then_stops() {
        assert_eq!(after(TurnClass::RateLimited, 1, None), After::Again { at: at(60) });
        assert_eq!(after(TurnClass::RateLimited, 3, None), After::Again { at: at(240) });
        assert_eq!(after(TurnClass::RateLimited, 6, None), After::Stop { until: None });
        assert_eq!(
            after(TurnClass::RateLimited, 6, Some(-1)),
            After::Stop { until: None },
            "a reset that has passed and changes nothing"
        );
    }

    #[test]
    fn an_outage_is_tried_again_three_times_and_then_fails() {
        for class in [TurnClass::Network, TurnClass::Overloaded] {
            let pauses = [5, 10, 20].map(|pause| After::Again { at: at(pause) });
            assert_eq!([1, 2, 3].map(|failures| after(class, failures, None)), pauses);
            assert_eq!(after(class, 4, None), After::Fail);
        }
    }

    #[test]
    fn what_no_time_mends_is_not_tried_again() {
        for class in [TurnClass::Authentication, TurnClass::NotFound, TurnClass::SandboxUnusable] {
            assert_eq!(after(class, 1, None), After::Fail);
        }
        assert_eq!(after(TurnClass::Quota, 1, None), After::Stop { until: None });
    }

    #[test]
    fn work_is_taken_only_where_the_agent_came_to_an_end() {
        for class in TurnClass::ALL {
            let taken = after(class, 9, None) == After::Deliver;
            assert_eq!(taken, class.delivers(), "{}", class.name());
            assert!(!(taken && class.is_outage()));
        }
    }
}
