//! How `run-scenarios` tells what it judges: which reports, and where they go.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use crate::clock::{Clock as _, SystemClock};
use crate::config::{Environment, Span};
use crate::judge::Progress;
use crate::report::compare::{Known, Outline, compare};
use crate::report::github::stop_token;
use crate::report::scenarios::{
    Begun, Finished, GithubLog, HumanReporter, JsonReporter, JsonlReporter, JudgementReporter as _,
    JunitReporter, Manner, Reporters, Target,
};
use crate::report::{Output, WriteError};
use crate::scenario::{Entry, History};
use crate::text::Subtree;
use crate::verdict::Satisfaction;

use super::exit::{Exit, Failure, OrExit as _};

/// What else is told, and how.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct ReportArgs {
    /// Write one more report to a file, `-` for standard output; can be given several times
    #[arg(long, value_name = "FORMAT=FILE")]
    pub report: Vec<Report>,
    /// Compare with the results of an earlier judgement, and explain each difference
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// How long a scenario may run before it is said to be slow [default: 60s]
    #[arg(long, value_name = "SPAN")]
    pub slow_after: Option<Span>,
    /// How many of the slowest are listed, 0 for none [default: 10, of those above a second]
    #[arg(long, value_name = "N")]
    pub durations: Option<usize>,
}

/// How a judgement is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people, with a live display on a terminal
    #[default]
    Human,
    /// The same in the order of the files, without times and colours
    Plain,
    /// The results file's JSON
    Json,
    /// A line of JSON for each scenario as it is judged, and one with the sum
    Jsonl,
    /// JUnit's XML
    Junit,
    /// Lines for people, with GitHub's groups and annotations
    Github,
}

/// One more report: `junit=out.xml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it is told.
    pub format: Format,
    /// Its file; `-` for standard output.
    pub file: PathBuf,
}

impl FromStr for Report {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (format, file) = text
            .split_once('=')
            .filter(|(_, file)| !file.is_empty())
            .ok_or_else(|| "it is no FORMAT=FILE; write `junit=out.xml`".to_owned())?;
        let format = Format::from_str(format, false).map_err(|_| {
            let known = Format::value_variants().iter().filter_map(Format::to_possible_value);
            let known: Vec<String> = known.map(|one| one.get_name().to_owned()).collect();
            format!("there is no format `{format}`; use {}", known.join(", "))
        })?;
        Ok(Self { format, file: file.into() })
    }
}

/// What is told where; made before anything is judged.
#[derive(Debug)]
pub(super) struct Plan {
    /// What goes to standard output.
    stdout: Format,
    /// Whether lines for people go to standard error, since another report has standard output.
    aside: bool,
    files: Vec<(Format, PathBuf)>,
    manner: Manner,
    /// Where in the repository the scenarios' files lie.
    at: Subtree,
    old: Option<Outline>,
}

impl ReportArgs {
    /// Plans the reports on files that lie at `at` in the repository: `format` is what goes to standard output unless a
    /// report asks for it.
    ///
    /// # Errors
    /// Two reports have one target, or there is nothing to compare with.
    pub(super) fn plan(
        &self,
        format: Format,
        quiet: bool,
        at: Subtree,
        env: &Environment,
    ) -> anyhow::Result<Plan> {
        let usage = |message: String| Err(Failure::because(Exit::Usage, message));
        let mut plan = Plan {
            stdout: format,
            aside: false,
            files: Vec::new(),
            manner: Manner {
                quiet,
                obeyed: env.is_github(),
                slow_after: self.slow_after.map_or(Manner::default().slow_after, |span| span.0),
                slowest: self.durations,
                ..Manner::default()
            },
            at,
            old: None,
        };
        for Report { format: one, file } in &self.report {
            let path = env.current_dir().join(file);
            if file.as_os_str() == "-" {
                if plan.aside || format != Format::Human {
                    return usage(
                        "two reports can't share standard output; write one to a file".into(),
                    );
                }
                (plan.stdout, plan.aside) = (*one, true);
            } else if plan.files.iter().any(|(_, other)| *other == path) {
                return usage(format!("two reports can't share the file `{}`", file.display()));
            } else {
                plan.files.push((*one, path));
            }
        }
        if let Some(file) = &self.compare {
            plan.old = Some(Outline::read(&env.current_dir().join(file)).or_exit(Exit::Usage)?);
        }
        Ok(plan)
    }
}

/// Tells a judgement to all who want to know, and writes the results.
pub(super) struct Telling<'a> {
    readers: Reporters<'a>,
    /// The file of the results; each is handed to it by who judges.
    pub(super) results: JsonReporter<'a>,
    path: PathBuf,
    old: Option<&'a Outline>,
    new: Outline,
    /// Lines on what differs go there, where no reader for people has standard output.
    aside: Option<Output>,
}

impl<'a> Telling<'a> {
    /// Opens the reports; one that can't be opened is told at the end. The results go to `path`,
    /// `rerun` makes the command that runs a scenario again.
    ///
    /// # Errors
    /// A report would take the place of the results.
    pub(super) fn begin(
        plan: &'a Plan,
        env: &Environment,
        output: &'a mut Output,
        path: PathBuf,
        rerun: &'a (dyn Fn(&str) -> String + Sync),
    ) -> anyhow::Result<Self> {
        if let Some((_, file)) = plan.files.iter().find(|(_, file)| *file == path) {
            let message = format!("`{}` is the file of the results", file.display());
            return Err(Failure::because(Exit::Usage, message));
        }
        // A place for what can't be kept in memory, where files can be made.
        let mut scratch = env.temp_dir();
        if tempfile::tempfile_in(&scratch).is_err() {
            scratch = env.current_dir().to_owned();
        }
        let mut readers = Reporters::default();
        let stderr = || Output::stderr(env.no_color());
        let terminal = !env.no_color() && !env.is_ci() && std::io::stderr().is_terminal();
        let manner = |format: Format, to_stream: bool| Manner {
            live: to_stream && format == Format::Human && terminal,
            timed: format != Format::Plain,
            obeyed: plan.manner.obeyed || format == Format::Github,
            github: (format == Format::Github
                || to_stream && env.is_github() && format == Format::Human)
                .then(|| GithubLog {
                    token: stop_token(),
                    annotate: format == Format::Github,
                    at: plan.at.clone(),
                }),
            ..plan.manner.clone()
        };
        let mut add = |format: Format, target: Target<'a>, to_stream: bool| match format {
            Format::Human | Format::Plain | Format::Github => {
                let reader = HumanReporter::new(target, manner(format, to_stream), rerun);
                if to_stream {
                    readers.add(reader.with_stderr(stderr()));
                } else {
                    readers.add(reader);
                }
            }
            Format::Json => readers.add(JsonReporter::new(target, &scratch)),
            Format::Jsonl => readers.add(JsonlReporter::new(target)),
            Format::Junit => {
                readers.add(JunitReporter::new(target, &scratch).of_product(plan.at.clone()));
            }
        };
        for (format, file) in &plan.files {
            add(*format, Target::File(file.clone()), false);
        }
        if plan.aside {
            add(Format::Human, Target::Own(stderr()), true);
        }
        add(plan.stdout, Target::Stream(output), !plan.aside);
        let for_people = matches!(plan.stdout, Format::Human | Format::Plain | Format::Github);
        Ok(Self {
            readers,
            results: JsonReporter::new(Target::File(path.clone()), &scratch),
            path,
            old: plan.old.as_ref(),
            new: Outline::default(),
            aside: (!for_people && !plan.aside).then(stderr),
        })
    }

    /// Tells what is about to be judged, `jobs` at a time, shuffled by `seed`, and what came of it
    /// the last time.
    pub(super) fn begun(
        &mut self,
        entries: &[&Entry],
        jobs: usize,
        seed: Option<u64>,
        history: &History,
    ) {
        (self.new.jobs, self.new.seed) = (Some(jobs), seed);
        let expected = entries
            .iter()
            .filter_map(|entry| Some((entry.id.clone(), history.duration(&entry.id)?)))
            .collect();
        if let (Some(seed), Some(aside)) = (seed, &mut self.aside) {
            aside.line(format_args!("shuffled by --seed {seed}"));
        }
        let begun = Begun { entries, jobs, seed, expected: &expected };
        self.results.begun(&begun);
        self.readers.begun(&begun);
    }

    /// Tells what goes on.
    pub(super) fn progress(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Started(entry) => self.readers.started(entry),
            Progress::Output(entry, stream, bytes) => self.readers.output(entry, *stream, bytes),
            Progress::Tick => self.readers.tick(),
            Progress::Judged(judged) => {
                if self.old.is_some() {
                    self.new.scenarios.push(Known::of(judged));
                }
                self.readers.judged(judged);
            }
        }
    }

    /// Writes the results, then tells what all came to. `cut_short` says why not everything was
    /// judged, if so.
    ///
    /// # Errors
    /// The results or a report can't be written; everything else is.
    pub(super) fn finish(
        mut self,
        sum: &Satisfaction,
        duration: Duration,
        cut_short: Option<&str>,
        notes: &[String],
    ) -> anyhow::Result<()> {
        let comparison = self.old.map(|old| compare(old, &self.new));
        let mut finished = Finished {
            timestamp: SystemClock.now(),
            sum,
            duration,
            cut_short,
            results: None,
            comparison: comparison.as_ref(),
            notes,
        };
        // Written before anything more is said: whoever reads the sum may read the file.
        self.results.finished(&finished);
        let written = Box::new(self.results).close();
        if written.is_ok() {
            finished.results = Some(&self.path);
        }
        self.readers.finished(&finished);
        if let (Some(mut aside), Some(comparison)) = (self.aside, &comparison) {
            comparison.lines().iter().for_each(|line| aside.line(line));
        }
        let failed = written.err().into_iter().chain(self.readers.close()).collect();
        told(failed)
    }
}

/// Returns one error for all reports that could not be written.
fn told(mut failed: Vec<WriteError>) -> anyhow::Result<()> {
    match failed.len() {
        0 => Ok(()),
        1 => Err(failed.remove(0)).or_exit(Exit::Broken),
        many => {
            let cause = |error: &WriteError| {
                let why = std::error::Error::source(error).map(ToString::to_string);
                format!("`{}`: {}", error.path.display(), why.unwrap_or_default())
            };
            let causes: Vec<String> = failed.iter().map(cause).collect();
            let message = format!("can't write {many} reports: {}", causes.join("; "));
            Err(Failure::because(Exit::Broken, message))
        }
    }
}

/// Returns `word` as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_blank_can_be_pasted() {
        assert_eq!(quoted("a b'c"), r"'a b'\''c'");
    }

    #[test]
    fn a_report_has_a_format_and_a_file() {
        let report = Report { format: Format::Junit, file: "a=b.xml".into() };
        assert_eq!("junit=a=b.xml".parse(), Ok(report));
        for (text, expected) in [
            ("junit", "it is no FORMAT=FILE; write `junit=out.xml`"),
            ("json=", "it is no FORMAT=FILE; write `junit=out.xml`"),
            ("tap=x", "there is no format `tap`; use human, plain, json, jsonl, junit, github"),
        ] {
            assert_eq!(text.parse::<Report>().unwrap_err(), expected);
        }
    }

    #[test]
    fn one_target_has_one_report() {
        let env = Environment::from_parts([].into(), "/".into());
        let check = |reports: &[&str], format: Format, is_fine: bool| {
            let report = reports.iter().map(|one| one.parse().unwrap()).collect();
            let args = ReportArgs { report, ..ReportArgs::default() };
            let plan = args.plan(format, false, Subtree::default(), &env);
            assert_eq!(plan.is_ok(), is_fine, "{reports:?}");
            if let Err(error) = plan {
                assert_eq!(Failure::exit_of(&error), Exit::Usage);
            }
        };
        check(&["junit=a", "json=b", "jsonl=-"], Format::Human, true);
        check(&["junit=-", "json=-"], Format::Human, false);
        check(&["junit=-"], Format::Json, false);
        check(&["junit=a", "json=a"], Format::Human, false);
    }
}
