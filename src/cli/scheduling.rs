//! How scenarios are run: the flags, over the settings of `dark-factory.yaml`.

use crate::config::{Config, Jobs, Span};
use crate::judge::Settings;

/// How many at a time, how often, and for how long.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Scheduling")]
pub struct SchedulingArgs {
    /// How many scenarios run at a time: a number, or `auto`
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<Jobs>,
    /// Time limit of one attempt, whatever the scenario says: 90, 90s, 5m
    #[arg(long, value_name = "SPAN")]
    pub timeout: Option<Span>,
    /// Time limit of the whole judgement; what has not ended then is not judged
    #[arg(long, value_name = "SPAN")]
    pub total_timeout: Option<Span>,
    /// Begin nothing more after the first scenario that is not satisfied
    #[arg(long)]
    pub fail_fast: bool,
    /// How many more attempts a failure gets, whatever the scenario says
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// Run each evaluation N times, whatever comes of it; all have to pass
    #[arg(long, value_name = "N", conflicts_with = "retries", value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: Option<u32>,
    /// Run slow scenarios whatever the others come to, and not only when they reach the threshold
    #[arg(long)]
    pub run_slow: bool,
    /// Show what evaluations write as they write it; one scenario runs at a time
    #[arg(long)]
    pub no_capture: bool,
}

impl SchedulingArgs {
    /// Returns how many run at a time.
    pub fn jobs(&self, config: &Config) -> usize {
        if self.no_capture { 1 } else { self.jobs.unwrap_or(config.scenarios.jobs).count() }
    }

    /// Returns the settings of a judgement.
    pub fn settings(&self, config: &Config) -> Settings {
        Settings {
            timeout_override: self.timeout.map(|span| span.0),
            jobs: self.jobs(config),
            retries: self.retries,
            repeat: self.repeat.unwrap_or(1),
            fail_fast: self.fail_fast,
            threshold: (!self.run_slow).then_some(config.satisfaction.threshold),
            live: self.no_capture,
            ..Settings::new(config.scenarios.timeout.0)
        }
    }
}
