//! What the server answers: the script that a person writes, read and checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::files;
use super::ledger::Tokens;
use crate::clock::Timestamp;
use crate::config::Span;
use crate::text::yaml::{self, YamlProblem};
use crate::text::{TreePath, line_column};

/// How often a reply may be repeated, and how many there may be in all.
const MOST: usize = 10_000;

/// What a reply uses where the script does not say.
const USAGE: Tokens = Tokens { input: 1_000, output: 20, cached: 0, cache_write: 0 };

/// A script: what each turn is answered.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// The tokens that the token endpoint gives; none where any login is good.
    pub(super) oauth: Option<OauthScript>,
    /// In the order in which agents come.
    pub(super) turns: Vec<Vec<Arc<Step>>>,
}

/// Why a script can't be played.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It can't be read.
    #[error("the script `{}` can't be read", path.display())]
    Unreadable {
        /// The script.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What it says makes no sense.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Invalid {
        /// The script.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
        /// What is wrong, and what to write instead.
        message: String,
    },
}

/// The login that is good at first.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OauthScript {
    /// The access token.
    pub(super) access: String,
    /// The refresh token, good for one use.
    pub(super) refresh: String,
    /// For how many seconds an access token is good.
    #[serde(default = "an_hour")]
    pub(super) expires_in: u64,
    /// Whether the tokens that are handed out are JSON web tokens, as codex expects.
    #[serde(default)]
    pub(super) jwt: bool,
}

fn an_hour() -> u64 {
    3_600
}

/// One answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Which reply of its turn it is, from 1.
    pub(super) number: usize,
    /// What the model says.
    pub(super) say: Option<String>,
    /// The command that it wants to run.
    pub(super) run: Option<String>,
    /// What it uses.
    pub(super) usage: Tokens,
    /// How long it takes until the first byte.
    pub(super) delay: Duration,
    /// How the answer goes.
    pub(super) course: Course,
}

impl Step {
    /// Returns an answer that says `text` and uses next to nothing.
    pub(super) fn saying(text: &str) -> Self {
        Self {
            number: 0,
            say: Some(text.to_owned()),
            run: None,
            usage: Tokens { input: 10, output: 5, ..Tokens::default() },
            delay: Duration::ZERO,
            course: Course::Whole,
        }
    }

    /// Returns whether its client gets no whole answer, and so asks again.
    pub(super) fn fails(&self) -> bool {
        self.course != Course::Whole
    }
}

/// How an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Course {
    /// To its end.
    Whole,
    /// The connection ends in the middle.
    Cut,
    /// A line in the middle is no JSON.
    Malformed,
    /// Nothing comes.
    Hang,
    /// An error instead.
    Refused(Refusal),
}

/// An error of the provider's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status.
    pub(super) status: u16,
    /// The provider's word for it; none for the protocol's own word for the status.
    pub(super) kind: Option<String>,
    /// What people are told.
    pub(super) message: String,
    /// After how many seconds to ask again.
    pub(super) retry_after: Option<u64>,
    /// When the limit is lifted.
    pub(super) reset: Option<Reset>,
}

impl Refusal {
    /// Returns an error with `status` and no more than a `message`.
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, kind: None, message: message.into(), retry_after: None, reset: None }
    }
}

/// When a limit is lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    /// At this time.
    At(Timestamp),
    /// So long after the answer.
    In(Duration),
}

impl Reset {
    /// Returns the second of it since 1970.
    pub(super) fn unix(self, now: Timestamp) -> i64 {
        match self {
            Self::At(at) => at.unix_millis() / 1_000,
            Self::In(span) => {
                now.unix_millis() / 1_000 + i64::try_from(span.as_secs()).unwrap_or(0)
            }
        }
    }
}

impl Script {
    /// Reads the script at `path`; what it names lies beside it.
    ///
    /// # Errors
    /// It can't be read, or makes no sense; says where.
    pub fn load(path: &Path) -> Result<Self, ScriptError> {
        let unreadable = |source| ScriptError::Unreadable { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let dir = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, dir).map_err(|problem| {
            let start = problem.span.map_or(0, |span| span.start);
            let (line, column) = line_column(&text, start);
            let help =
                if problem.help.is_empty() { String::new() } else { format!("; {}", problem.help) };
            let message = problem.message + &help;
            ScriptError::Invalid { path: path.to_owned(), line, column, message }
        })
    }

    /// Reads `text`; what it names lies in `dir`.
    pub(super) fn parse(text: &str, dir: &Path) -> Result<Self, YamlProblem> {
        let written: Written = yaml::read(text)?;
        let mut turns = Vec::new();
        let mut all = 0;
        for (t, turn) in written.turns.into_iter().enumerate() {
            let mut steps = Vec::new();
            for (r, reply) in turn.replies.into_iter().enumerate() {
                let at = format!("turns[{t}].replies[{r}]");
                let problem = |(key, message): (&str, String)| YamlProblem {
                    message,
                    span: yaml::value_span(text, &yaml::steps(&format!("{at}{key}")))
                        .or_else(|| yaml::value_span(text, &yaml::steps(&at))),
                    help: String::new(),
                    unknown_key: None,
                };
                let times = reply.times.unwrap_or(1);
                if times == 0 || times > MOST {
                    return Err(problem((".times", format!("`times` is from 1 to {MOST}"))));
                }
                let played: Vec<Arc<Step>> =
                    reply.steps(r + 1, dir).map_err(problem)?.into_iter().map(Arc::new).collect();
                all += played.len() * times;
                if all > MOST {
                    return Err(problem((
                        "",
                        format!("there are more than {MOST} replies in all"),
                    )));
                }
                steps.extend((0..times).flat_map(|_| played.iter().cloned()));
            }
            turns.push(steps);
        }
        Ok(Self { oauth: written.oauth, turns })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    oauth: Option<OauthScript>,
    turns: Vec<WrittenTurn>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenTurn {
    replies: Vec<Reply>,
}

/// A reply as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Reply {
    say: Option<String>,
    run: Option<String>,
    files: Option<String>,
    into: Option<String>,
    delete: Vec<String>,
    usage: Option<Tokens>,
    delay: Option<Span>,
    hang: bool,
    status: Option<u16>,
    error: Option<ErrorText>,
    retry_after: Option<u64>,
    reset_in: Option<Span>,
    reset_at: Option<Timestamp>,
    malformed: bool,
    cut: bool,
    times: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ErrorText {
    r#type: Option<String>,
    message: Option<String>,
}

/// A key of a reply, with a dot before it, and what is wrong with it.
type Wrong = (&'static str, String);

impl Reply {
    /// Returns the answers that it stands for: more than one where its files are too long for one command.
    fn steps(self, number: usize, dir: &Path) -> Result<Vec<Step>, Wrong> {
        let course = self.course()?;
        let usage = self.usage.unwrap_or(USAGE);
        if usage.cached.saturating_add(usage.cache_write) > usage.input {
            let message =
                "`cached` and `cache_write` are parts of `input`, which is less".to_owned();
            return Err((".usage", message));
        }
        if usage.input.max(usage.output) > 1 << 50 {
            return Err((".usage", "more than 2^50 tokens".to_owned()));
        }
        let commands = self.commands(dir)?;
        let content = self.say.is_some() || !commands.is_empty();
        if !content && course == Course::Whole {
            let message = "a reply needs one of `say`, `run`, `files`, `delete`, `status`, `hang`, `cut`, `malformed`";
            return Err(("", message.to_owned()));
        }
        let step = |say, run| Step {
            number,
            say,
            run,
            usage,
            delay: self.delay.map_or(Duration::ZERO, |span| span.0),
            course: course.clone(),
        };
        let mut commands = commands.into_iter();
        let mut steps = vec![step(self.say.clone(), commands.next())];
        steps.extend(commands.map(|command| step(None, Some(command))));
        Ok(steps)
    }

    fn commands(&self, dir: &Path) -> Result<Vec<String>, Wrong> {
        let into = self.into.iter().map(|path| (".into", path));
        for (key, path) in into.chain(self.delete.iter().map(|path| (".delete", path))) {
            TreePath::parse(path.as_bytes()).map_err(|error| (key, error.to_string()))?;
        }
        if self.into.is_some() && self.files.is_none() {
            return Err((".into", "`into` needs `files`".to_owned()));
        }
        let from = self.files.as_ref().map(|files| dir.join(files));
        let commands = files::commands(from.as_deref(), self.into.as_deref(), &self.delete);
        let mut commands = commands.map_err(|error| {
            (".files", format!("`{}` can't be read: {error}", from.unwrap_or_default().display()))
        })?;
        if let Some(run) = &self.run {
            commands.push(run.clone());
        }
        Ok(commands)
    }

    fn course(&self) -> Result<Course, Wrong> {
        let ways = [self.hang, self.cut, self.malformed, self.status.is_some()];
        if ways.iter().filter(|is| **is).count() > 1 {
            let message = "at most one of `hang`, `cut`, `malformed`, `status`".to_owned();
            return Err(("", message));
        }
        if self.reset_in.is_some() && self.reset_at.is_some() {
            return Err((".reset_in", "either `reset_in` or `reset_at`".to_owned()));
        }
        let error = self.error.as_ref();
        let limit =
            self.reset_in.is_some() || self.reset_at.is_some() || self.retry_after.is_some();
        Ok(match self.status {
            Some(status) if !(400..=599).contains(&status) => {
                return Err((".status", format!("`{status}` is no error; write 400 to 599")));
            }
            Some(status) => Course::Refused(Refusal {
                status,
                kind: error.and_then(|error| error.r#type.clone()),
                message: error
                    .and_then(|error| error.message.clone())
                    .unwrap_or_else(|| "The script says so.".to_owned()),
                retry_after: self.retry_after,
                reset: self.reset_at.map(Reset::At).or(self.reset_in.map(|span| Reset::In(span.0))),
            }),
            None if error.is_some() || limit => {
                let message = "`error`, `retry_after`, `reset_in` and `reset_at` need a `status`";
                return Err(("", message.to_owned()));
            }
            None if self.hang => Course::Hang,
            None if self.cut => Course::Cut,
            None if self.malformed => Course::Malformed,
            None => Course::Whole,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Script, YamlProblem> {
        Script::parse(text, Path::new("examples"))
    }

    fn check(replies: &str, line: usize, message: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.yaml");
        std::fs::write(&path, format!("turns:\n- replies:\n{replies}")).unwrap();
        let error = Script::load(&path).unwrap_err().to_string();
        let expected = format!("{}:{line}:", path.display());
        assert!(error.starts_with(&expected) && error.contains(message), "{error}");
    }

    #[test]
    fn what_makes_no_sense_is_said_with_its_line() {
        check("  - run: a\n  - sya: b\n", 4, "unknown key `sya`; did you mean `say`?");
        check("  - run: a\n  - {}\n", 4, "a reply needs one of");
        check("  - say: a\n    times: 0\n", 4, "`times` is from 1");
        check("  - say: a\n    delay: soon\n", 4, "no length of time");
        check("  - status: 200\n", 3, "`200` is no error");
        check("  - hang: true\n    cut: true\n", 3, "at most one of");
        check("  - say: a\n    reset_in: 90s\n", 3, "need a `status`");
        check("  - files: nowhere\n", 3, "can't be read");
        check("  - delete: [../a]\n", 3, "..");
        check("  - say: a\n    into: lib\n", 4, "`into` needs `files`");
        check("  - say: a\n    usage: {input: 1, cached: 2}\n", 4, "parts of `input`");
    }

    #[test]
    fn a_reply_is_repeated_and_a_directory_is_a_command() {
        let text = "turns:\n- replies:\n  - {status: 529, times: 2, error: {type: overloaded_error}}\n  \
                    - {say: Writing., files: recording/turn-1, delete: [lib/old.sh]}\n";
        let turns = parse(text).unwrap().turns;
        let numbers: Vec<usize> = turns[0].iter().map(|step| step.number).collect();
        assert_eq!(numbers, [1, 1, 2]);
        assert!(turns[0][0].fails() && !turns[0][2].fails());
        let run = turns[0][2].run.as_ref().unwrap();
        let begin = "{ [ ! -e lib/old.sh ] || rm -r -- lib/old.sh; } && mkdir -p lib && ";
        assert!(run.starts_with(begin) && run.contains("lib/main.sh"), "{run}");
    }

    #[test]
    fn a_reset_is_a_time_or_a_while() {
        let text = "turns:\n- replies:\n  - {status: 429, reset_in: 90s}\n  \
                    - {status: 429, reset_at: 2026-01-01T00:01:00Z}\n";
        let turns = parse(text).unwrap().turns;
        let resets: Vec<i64> = turns[0]
            .iter()
            .map(|step| match &step.course {
                Course::Refused(refusal) => {
                    refusal.reset.unwrap().unix(Timestamp::from_unix_millis(10_000))
                }
                course => panic!("{course:?}"),
            })
            .collect();
        assert_eq!(resets, [100, 1_767_225_660]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_reply_is_read_or_refused(
            keys in proptest::collection::vec(
                ("say|run|delete|usage|delay|hang|status|error|retry_after|reset_in|reset_at|cut|times",
                 "[0-9]{1,12}|true|[a-z ]{0,5}|\\[a, b\\]|\\{input: 5\\}|-1|1e9|90s"),
                0..5,
            ),
        ) {
            let keys: String = keys.iter().map(|(key, value)| format!("    {key}: {value}\n")).collect();
            let _ = parse(&format!("turns:\n- replies:\n  -\n{keys}"));
        }
    }
}
