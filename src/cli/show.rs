//! `factory show`: what happened in a run, as the person who started it reads it in the morning.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{ArgGroup, Parser, ValueEnum};

use super::exit::{Exit, Failure};
use super::here::{Found, Here};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::Environment;
use crate::event::{Audience, BlobRef, Label, Receipt};
use crate::git::{Oid, Repo};
use crate::id::ScenarioId;
use crate::report::results::error_summary;
use crate::report::run_text::{self, ScenarioHistory};
use crate::report::{Blobs, Details, Output};
use crate::text::{nearest, visible};
use crate::verdict::Judged;

const EXAMPLES: &str = "\
Examples:
  factory show                     the newest run: what each turn did, and what comes next
  factory show --feedback          what the agent was told last; --feedback 2 for iteration 2
  factory show --prompt 1          the prompt of turn 1
  factory show --log 3             the agent's last words in turn 3
  factory show --receipt 3         the receipt of turn 3: what was enforced, searched and found
  factory show --scenario login    the verdicts of a scenario, and its last output
  factory show --question          what the agent wants to know
  factory show --diff              the patch from the base to the best candidate
  factory show --audience public   ... without what an agent may not read

Exit codes: 0 shown, 2 there is no such run or part of it, 3 the run can't be read.";

/// Show what happened in a run.
#[derive(Debug, Clone, Default, Parser)]
#[command(
    name = "show",
    after_help = EXAMPLES,
    group(ArgGroup::new("part").args(["feedback", "prompt", "scenario", "question", "log", "receipt", "diff", "json"]))
)]
pub struct Args {
    /// The run, by its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// The feedback of an iteration [default: the last that has one]
    #[arg(long, value_name = "N", num_args = 0..=1)]
    pub feedback: Option<Option<u32>>,
    /// The prompt of a turn
    #[arg(long, value_name = "N")]
    pub prompt: Option<u32>,
    /// The verdicts of a scenario, and what it wrote last
    #[arg(long, value_name = "ID")]
    pub scenario: Option<String>,
    /// What the agent asked, and the answers
    #[arg(long)]
    pub question: bool,
    /// The agent's last words in a turn
    #[arg(long, value_name = "N")]
    pub log: Option<u32>,
    /// The receipt of a turn, as JSON
    #[arg(long, value_name = "N")]
    pub receipt: Option<u32>,
    /// The patch from the base to the best candidate
    #[arg(long)]
    pub diff: bool,
    /// Write the whole report as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Who reads it: what is not for them becomes a placeholder
    #[arg(long, value_enum, value_name = "WHO", default_value_t)]
    pub audience: Reader,
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}

/// Who reads it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Reader {
    /// Anyone, an agent too.
    Public,
    /// The people of the repository, but for the exam.
    Internal,
    /// Those who may see the exam.
    #[default]
    Holdout,
}

impl Reader {
    fn label(self) -> Label {
        match self {
            Self::Public => Label::Public,
            Self::Internal => Label::Internal,
            Self::Holdout => Label::Holdout,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// There is no such run, it has not what is asked for, or it can't be read.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let mut output = Output::stdout(env.no_color());
    let mut shown = show(args, env, SystemClock.now())?;
    if std::io::stdout().is_terminal() {
        // A patch is an agent's text: for `git apply` byte for byte, on a terminal without what
        // could command it.
        shown = visible(&String::from_utf8_lossy(&shown)).into_bytes();
    }
    // Failures are remembered, and told by `finish`.
    let _ = output.write_all(&shown);
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn show(args: &Args, env: &Environment, now: Timestamp) -> anyhow::Result<Vec<u8>> {
    let here = Here::find(args.workdir.as_deref(), env)?;
    let found = here.read(args.run.as_deref(), false)?;
    let part = Part {
        blobs: Blobs::of(&found.dir, Audience(args.audience.label())),
        details: Details::of(&found.events),
        found: &found,
        here: &here,
    };
    if let Some(iteration) = args.feedback {
        part.feedback(iteration)
    } else if let Some(turn) = args.prompt {
        part.prompt(turn)
    } else if let Some(turn) = args.log {
        part.log(turn)
    } else if let Some(turn) = args.receipt {
        part.receipt(turn)
    } else if let Some(id) = &args.scenario {
        part.scenario(id)
    } else if args.question {
        part.questions()
    } else if args.diff {
        part.diff(args.audience.label())
    } else {
        let holder = here.holder()?;
        let mut report = here.report(&found, holder.as_ref(), args.audience.label())?;
        report.add_details(&found.summary, &part.details, &part.blobs)?;
        Ok(if args.json { report.to_json()? } else { lines(&run_text::show(&report, now)) })
    }
}

/// What a part of the report is taken from.
struct Part<'a> {
    here: &'a Here<'a>,
    found: &'a Found,
    details: Details,
    blobs: Blobs,
}

impl Part<'_> {
    fn feedback(&self, wanted: Option<u32>) -> anyhow::Result<Vec<u8>> {
        let known = &self.found.summary.feedback;
        let blob = match wanted {
            Some(iteration) => known.get(&iteration),
            None => known.last_key_value().map(|(_, blob)| blob),
        };
        match blob {
            Some(blob) => self.text(blob),
            None => Err(self.missing("feedback", wanted, "iteration", known.keys())),
        }
    }

    fn prompt(&self, turn: u32) -> anyhow::Result<Vec<u8>> {
        match self.details.turns.get(&turn).and_then(|turn| turn.prompt.as_ref()) {
            Some(prompt) => self.text(prompt),
            None => Err(self.missing("prompt", Some(turn), "turn", self.details.turns.keys())),
        }
    }

    fn receipt(&self, turn: u32) -> anyhow::Result<Vec<u8>> {
        let receipt = self.details.turns.get(&turn).and_then(|turn| turn.receipt.as_ref());
        let Some(receipt) = receipt else {
            return Err(self.missing("receipt", Some(turn), "turn", self.details.turns.keys()));
        };
        match self.blobs.json::<Receipt>(receipt)? {
            Some(receipt) => {
                let mut json = serde_json::to_vec_pretty(&receipt)?;
                json.push(b'\n');
                Ok(json)
            }
            // It is not for this audience.
            None => self.text(receipt),
        }
    }

    fn log(&self, number: u32) -> anyhow::Result<Vec<u8>> {
        let Some(turn) = self.details.turns.get(&number) else {
            return Err(self.missing("log", Some(number), "turn", self.details.turns.keys()));
        };
        if let Some(says) = &turn.says {
            return self.text(says);
        }
        let (state, _) = self.here.state()?;
        let stdout = state.run(&self.found.id).record(number, turn.attempt).join("stdout");
        let hint = if stdout.is_file() {
            format!("what it wrote is in `{}`", stdout.display())
        } else {
            "what it wrote is not kept any longer".to_owned()
        };
        let message = format!("the agent left no last words in turn {number}; {hint}");
        Err(Failure::because(Exit::Usage, message))
    }

    fn scenario(&self, wanted: &str) -> anyhow::Result<Vec<u8>> {
        let known = &self.details.scenarios;
        let verdicts = ScenarioId::parse(wanted).ok().and_then(|id| known.get(&id));
        let Some(verdicts) = verdicts else {
            let hint = match nearest(wanted, known.keys().map(ScenarioId::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`run-scenarios --list` shows the ids".to_owned(),
            };
            let run = &self.found.id;
            let message = format!("run {run} judged no scenario `{wanted}`; {hint}");
            return Err(Failure::because(Exit::Usage, message));
        };
        let mut shown = run_text::scenario_history(&ScenarioHistory {
            id: wanted,
            verdicts: verdicts
                .iter()
                .map(|one| (one.iteration, one.verdict.as_str(), one.ms))
                .collect(),
        });
        let Some(last) = verdicts.last() else { return Ok(lines(&shown)) };
        let Some(judged) = self.blobs.json::<Judged>(&last.result)? else {
            shown.push(self.blobs.text(&last.result)?);
            return Ok(lines(&shown));
        };
        shown.push(String::new());
        shown.push(visible(&format!("{} ({})", judged.name, judged.file)));
        let why = error_summary(&judged);
        if !why.is_empty() {
            shown.push(visible(&why));
        }
        if let Some(attempt) = judged.attempts.last() {
            shown.extend(run_text::titled("stdout", &attempt.stdout));
            shown.extend(run_text::titled("stderr", &attempt.stderr));
        }
        Ok(lines(&shown))
    }

    fn questions(&self) -> anyhow::Result<Vec<u8>> {
        if self.details.questions.is_empty() {
            let message = format!("the agent asked nothing in run {}", self.found.id);
            return Err(Failure::because(Exit::Usage, message));
        }
        let mut shown = Vec::new();
        for asked in &self.details.questions {
            let title = format!("turn {} asks", asked.turn);
            shown.extend(run_text::titled(&title, &self.blobs.text(&asked.question)?));
            match &asked.answer {
                Some(answer) => {
                    shown.extend(run_text::titled("answer", &self.blobs.text(answer)?));
                }
                None => shown.push("no answer yet: iterate --resume --answer \"...\"".to_owned()),
            }
        }
        Ok(lines(&shown))
    }

    fn diff(&self, audience: Label) -> anyhow::Result<Vec<u8>> {
        let nothing = |message: String| Err(Failure::because(Exit::Usage, message));
        let run = &self.found.id;
        let Some((_, best)) = self.found.summary.best() else {
            return nothing(format!("run {run} has judged no candidate yet"));
        };
        if self.found.summary.started.in_place {
            return nothing(format!("run {run} judged the working tree in place; see `git diff`"));
        }
        if best.commit == self.found.summary.started.base {
            return nothing(format!("no candidate of run {run} is better than its base"));
        }
        let repo = self.here.repo()?;
        let base = known(&repo, &self.found.summary.started.base)?;
        let best = known(&repo, &best.commit)?;
        let patch = repo.diff(&base, &best)?;
        // The product's text, as the run's branch has it for everybody in the repository.
        if Audience(audience).may_read(Label::Internal) {
            Ok(patch)
        } else {
            Ok(format!("[internal: {} bytes]\n", patch.len()).into_bytes())
        }
    }

    fn text(&self, blob: &BlobRef) -> anyhow::Result<Vec<u8>> {
        let mut bytes = visible(&self.blobs.text(blob)?).into_bytes();
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        Ok(bytes)
    }

    fn missing<'n>(
        &self,
        what: &str,
        wanted: Option<u32>,
        of: &str,
        known: impl Iterator<Item = &'n u32>,
    ) -> anyhow::Error {
        let known: Vec<String> = known.map(ToString::to_string).collect();
        let which = wanted.map(|number| format!(" of {of} {number}")).unwrap_or_default();
        let hint = match known.as_slice() {
            [] => "it has none yet".to_owned(),
            _ => format!("it has {of} {}", known.join(", ")),
        };
        let message = format!("run {} has no {what}{which}; {hint}", self.found.id);
        Failure::because(Exit::Usage, message)
    }
}

/// Reads a commit that the journal names.
fn known(repo: &Repo, commit: &str) -> anyhow::Result<Oid> {
    repo.resolve(commit)?.with_context(|| format!("commit {commit} is not in the repository"))
}

fn lines(lines: &[String]) -> Vec<u8> {
    let mut text = lines.join("\n");
    text.push('\n');
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::event::RunEvent;
    use crate::report::testing::{BEGAN, TestRun, eventful};
    use crate::scenario::Visibility;
    use crate::verdict::{Attempt, Ending, of_ending};

    fn ask(root: &Path, args: &[&str]) -> anyhow::Result<String> {
        let args = Args::try_parse_from(["show"].iter().chain(args))?;
        let variables = [("XDG_STATE_HOME".into(), root.join("state").into())];
        let env = Environment::from_parts(variables.into(), root.to_owned());
        let now = Timestamp::from_unix_millis(BEGAN + 7 * 3_600_000);
        let shown = String::from_utf8(show(&args, &env, now)?).unwrap();
        Ok(shown.replace(root.canonicalize().unwrap().to_str().unwrap(), "ROOT"))
    }

    fn refused(root: &Path, args: &[&str]) -> String {
        let error = ask(root, args).unwrap_err();
        assert_eq!(Failure::exit_of(&error), Exit::Usage, "{error:#}");
        error.to_string()
    }

    fn product() -> (tempfile::TempDir, TestRun) {
        let dir = tempfile::tempdir().unwrap();
        let run = TestRun::begin_at(dir.path(), "20261120-091500-0001", |_| {});
        (dir, run)
    }

    #[test]
    fn the_morning_report_tells_what_each_turn_did() {
        let (dir, mut run) = product();
        eventful(&mut run);
        insta::assert_snapshot!(ask(dir.path(), &[]).unwrap());
    }

    #[test]
    fn a_night_that_went_wrong_hides_nothing() {
        let (dir, mut run) = product();
        run.judged("c0ffee", &[("a", "satisfied"), ("b", "unsatisfied")]);
        let (prompt, diff) = (run.put(Label::Public, "p"), run.put(Label::Internal, "patch"));
        run.event(RunEvent::AgentStarted { turn: 1, attempt: 1, prompt, backend: None });
        run.event(RunEvent::AgentInterrupted {
            turn: 1,
            attempt: 1,
            ended_processes: 1,
            exit: None,
            diff: Some(diff),
        });
        run.turn("timed_out").unchanged(&["build/out.o"]);
        let question = run.put(Label::Internal, "UTC or local time?");
        run.event(RunEvent::QuestionAsked { turn: 1, question });
        let message = run.put(Label::Internal, "writing failed\ncaused by: no space left");
        run.event(RunEvent::RunFailed { class: "disk".into(), message });
        insta::assert_snapshot!(ask(dir.path(), &[]).unwrap());
        let shown = ask(dir.path(), &["--question"]).unwrap();
        assert!(shown.starts_with("turn 1 asks:\n  UTC or local time?\nno answer yet"), "{shown}");
        let shown = ask(dir.path(), &["--audience", "public"]).unwrap();
        assert!(!shown.contains("build/out.o") && !shown.contains("no space left"), "{shown}");
    }

    #[test]
    fn parts_are_shown_by_number() {
        let (dir, mut run) = product();
        eventful(&mut run);
        let root = dir.path();
        assert_eq!(ask(root, &["--feedback"]).unwrap(), "# Feedback, iteration 3\n");
        assert_eq!(ask(root, &["--feedback", "0"]).unwrap(), "# Feedback, iteration 0\n");
        assert_eq!(ask(root, &["--prompt", "2"]).unwrap(), "prompt 2\n");
        assert_eq!(ask(root, &["--log", "3"]).unwrap(), "I am done with turn 3.\n");
        let shown = ask(root, &["--log", "3", "--audience", "public"]).unwrap();
        assert_eq!(shown, "[internal: 22 bytes]\n");
        assert!(refused(root, &["--feedback", "9"]).contains("it has iteration 0, 1, 2, 3"));
        assert!(refused(root, &["--prompt", "9"]).contains("it has turn 1, 2, 3, 4"));
        assert!(refused(root, &["--question"]).contains("asked nothing"));
        assert!(refused(root, &["nope"]).contains("no run nope"));
        assert!(ask(root, &["--diff", "--question"]).is_err());
    }

    #[test]
    fn without_last_words_the_place_of_the_output_is_told() {
        let (dir, mut run) = product();
        let prompt = run.put(Label::Public, "p");
        run.event(RunEvent::AgentStarted { turn: 1, attempt: 1, prompt, backend: None });
        assert!(refused(dir.path(), &["--log", "1"]).contains("not kept any longer"));
    }

    #[test]
    fn a_scenario_has_a_verdict_an_iteration_and_its_last_output() {
        let (dir, mut run) = product();
        let ending = Ending::Exited { code: 3 };
        let judged = Judged {
            id: ScenarioId::parse("login").unwrap(),
            name: "Log in".into(),
            file: "scenarios/login.md".into(),
            category: String::new(),
            weight: 1.0,
            critical: false,
            visibility: Visibility::Holdout,
            verdict: of_ending(&ending),
            attempts: vec![Attempt::new(ending, "hello\n", "boom\n", Duration::from_millis(140))],
            evidence: Vec::new(),
        };
        let result = run.json(Label::Holdout, &judged);
        run.event(RunEvent::ScenarioJudged {
            scenario: judged.id,
            verdict: "unsatisfied".into(),
            ms: 140,
            result,
        });
        insta::assert_snapshot!(ask(dir.path(), &["--scenario", "login"]).unwrap());
        let shown = ask(dir.path(), &["--scenario", "login", "--audience", "internal"]).unwrap();
        assert!(shown.contains("[holdout: ") && !shown.contains("boom"), "{shown}");
        assert!(refused(dir.path(), &["--scenario", "logn"]).contains("did you mean `login`?"));
    }

    #[test]
    fn a_journal_that_was_changed_by_hand_is_not_believed() {
        let (dir, mut run) = product();
        eventful(&mut run);
        let path = run.dir().join("events.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("unsatisfied", "satisfied", 1)).unwrap();
        let error = ask(dir.path(), &[]).unwrap_err();
        assert_eq!(Failure::exit_of(&error), Exit::Broken);
    }
}
