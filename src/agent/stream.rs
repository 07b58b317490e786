//! What an agent's stream tells: read line by line as it comes, in terms that all agents share.
//!
//! A backend's [`Reader`] is told of each JSON object; what it does not know it passes over. How the
//! turn ended is [`classify`]'s to say, from fields and never from a search of the text.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Ended;
use crate::clock::Timestamp;
use crate::convergence::TurnClass;
use crate::event::{Activity, Trouble, Usage};

/// The longest line that is read, in bytes; agents put whole files into one.
const LONGEST: usize = 32 << 20;
/// How much of a line of stderr is read, in bytes.
const LONGEST_ASIDE: usize = 64 << 10;
/// The longest text that is kept of what an agent says, in characters.
const LONGEST_TEXT: usize = 20_000;
/// What the last message of a turn holds that had nothing to do, in a line of its own.
pub const NOTHING_TO_DO: &str = "NOTHING TO DO";

/// What a stream has told so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// The agent's last message.
    pub said: Option<String>,
    /// What it used: added up while it goes on, and what its last event says at the end.
    pub usage: Usage,
    /// Whether the usage is what the agent's last event says, so that nothing is missing in it.
    pub usage_is_final: bool,
    /// The model, as the agent names it.
    pub model: Option<String>,
    /// Commands that were run and tools that were used.
    pub ran: u32,
    /// Of what it wanted to do, what it was not allowed to.
    pub denied: u32,
    /// Commands that its own sandbox kept from running.
    pub blocked: u32,
    /// Whether its last event has come, and with what trouble.
    pub end: Option<Option<Trouble>>,
    /// The last trouble that was not its end.
    pub trouble: Option<Trouble>,
}

impl Reading {
    /// Returns whether the last message says that there is nothing to do.
    pub fn has_nothing_to_do(&self) -> bool {
        self.said.as_deref().is_some_and(|said| {
            said.lines()
                .any(|line| line.trim_matches(|c: char| !c.is_alphabetic()) == NOTHING_TO_DO)
        })
    }

    /// Takes in what the agent did.
    fn add(&mut self, activity: &Activity) {
        match activity {
            Activity::Said { text } => self.said = Some(text.clone()),
            Activity::Ran { .. } | Activity::Changed { .. } => self.ran += 1,
            Activity::WasDenied { .. } => self.denied += 1,
            Activity::Used(usage) => {
                if !self.usage_is_final {
                    self.usage = self.usage.plus(*usage);
                }
            }
            Activity::Finished { trouble } => self.end = Some(trouble.clone()),
            Activity::Began { .. } | Activity::Noted { .. } | Activity::Warned { .. } => {}
        }
    }
}

/// What a reader tells of a line.
pub struct Telling<'a> {
    reading: &'a mut Reading,
    told: &'a mut Vec<Activity>,
}

impl Telling<'_> {
    /// Tells of something that the agent did.
    pub(super) fn tell(&mut self, activity: Activity) {
        self.reading.add(&activity);
        self.told.push(activity);
    }

    /// Tells what the agent said; nothing where the text is blank or none.
    pub(super) fn said(&mut self, text: &Value) {
        if let Some(text) = super::text(text) {
            let (text, _) = crate::text::tail(&text, LONGEST_TEXT);
            self.tell(Activity::Said { text: text.to_owned() });
        }
    }

    /// Tells of a command that the agent's own sandbox kept from running.
    pub(super) fn blocked(&mut self, what: String) {
        self.reading.blocked += 1;
        self.told.push(Activity::WasDenied { what });
    }

    /// Tells what the whole turn used, by the agent's own account.
    pub(super) fn used_in_all(&mut self, usage: Usage) {
        self.reading.usage = usage;
        self.reading.usage_is_final = true;
    }

    /// Tells what the turn used at least, by the agent's own account.
    pub(super) fn used_so_far(&mut self, usage: Usage) {
        self.reading.usage = usage;
        self.reading.usage_is_final = false;
    }

    /// Tells that the turn is over, and well.
    pub(super) fn done(&mut self) {
        self.tell(Activity::Finished { trouble: None });
    }

    /// Tells that the turn is over, and not well.
    pub(super) fn failed(&mut self, trouble: Trouble) {
        self.tell(Activity::Finished { trouble: Some(trouble) });
    }

    /// Tells of trouble that may pass.
    pub(super) fn troubled(&mut self, trouble: Trouble) {
        self.tell(Activity::Noted { text: trouble.message.clone() });
        self.reading.trouble = Some(trouble);
    }

    /// Tells what kind of trouble ended the turn, where its last event did not say; that may come first.
    pub(super) fn known_as(&mut self, class: TurnClass) {
        if let Some(Some(trouble)) = &mut self.reading.end
            && trouble.class == TurnClass::Crashed
        {
            trouble.class = class;
        } else if let Some(trouble) = &mut self.reading.trouble
            && trouble.class == TurnClass::Crashed
        {
            trouble.class = class;
        }
    }

    /// Names the model, as the agent does.
    pub(super) fn model(&mut self, name: &Value) {
        if let Some(name) = super::text(name) {
            self.reading.model = Some(name);
        }
    }
}

/// Knows one agent's stream.
pub trait Reader: Send {
    /// Reads one JSON object of the agent's stdout.
    fn read(&mut self, event: &Value, telling: &mut Telling<'_>);

    /// Reads one JSON object of a file that the agent keeps beside its stream, see
    /// [`super::Backend::side`].
    fn read_side(&mut self, _event: &Value, _telling: &mut Telling<'_>) {}

    /// Reads a line of stderr.
    fn read_stderr(&mut self, _line: &str, _telling: &mut Telling<'_>) {}

    /// Reads a line of stdout that is no JSON object.
    fn read_text(&mut self, _line: &str, _telling: &mut Telling<'_>) {}

    /// Is told that the agent has ended, with its exit code; none where a signal ended it.
    fn close(&mut self, _exit: Option<i32>, _telling: &mut Telling<'_>) {}
}

/// Reads a stream of bytes with a backend's reader.
pub(super) struct Streamed {
    reader: Box<dyn Reader>,
    reading: Reading,
    line: Vec<u8>,
    /// The beginning of a line of stderr.
    aside: Vec<u8>,
    /// Whether the line that is being read is longer than any that is looked at.
    skips: bool,
}

impl Streamed {
    pub(super) fn by(reader: Box<dyn Reader>) -> Self {
        Self {
            reader,
            reading: Reading::default(),
            line: Vec::new(),
            aside: Vec::new(),
            skips: false,
        }
    }

    /// Takes the next bytes of the agent's stdout, and returns what they tell.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Activity> {
        let mut told = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.skips {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.line(&mut told);
            } else if self.line.len() > LONGEST {
                self.skips = true;
                self.line = Vec::new();
            }
        }
        told
    }

    /// Takes one line of the file that the agent keeps beside its stream.
    pub(super) fn push_side(&mut self, line: &[u8]) -> Vec<Activity> {
        let mut told = Vec::new();
        if let Ok(event @ Value::Object(_)) = serde_json::from_slice(line) {
            let telling = &mut Telling { reading: &mut self.reading, told: &mut told };
            self.reader.read_side(&event, telling);
        }
        told
    }

    /// Takes the next bytes of the agent's stderr, and returns what they tell.
    pub(super) fn push_stderr(&mut self, bytes: &[u8]) -> Vec<Activity> {
        let mut told = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            // Of a line that is longer, what it began with is enough.
            let room = LONGEST_ASIDE.saturating_sub(self.aside.len());
            self.aside.extend_from_slice(&part[..room.min(part.len())]);
            if part.ends_with(b"\n") {
                self.aside_line(&mut told);
            }
        }
        told
    }

    fn aside_line(&mut self, told: &mut Vec<Activity>) {
        let line = std::mem::take(&mut self.aside);
        let line = String::from_utf8_lossy(&line);
        if !line.trim_end().is_empty() {
            let telling = &mut Telling { reading: &mut self.reading, told };
            self.reader.read_stderr(line.trim_end(), telling);
        }
    }

    /// Takes the end of the streams and the agent's exit code, and returns what they tell.
    pub(super) fn finish(&mut self, exit: Option<i32>) -> Vec<Activity> {
        let mut told = Vec::new();
        self.line(&mut told);
        self.aside_line(&mut told);
        let telling = &mut Telling { reading: &mut self.reading, told: &mut told };
        self.reader.close(exit, telling);
        told
    }

    /// Returns what was told in all.
    pub(super) fn reading(&self) -> &Reading {
        &self.reading
    }

    fn line(&mut self, told: &mut Vec<Activity>) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.skips) || line.is_empty() {
            return;
        }
        let telling = &mut Telling { reading: &mut self.reading, told };
        match serde_json::from_slice(&line) {
            Ok(event @ Value::Object(_)) => self.reader.read(&event, telling),
            _ => {
                let line = String::from_utf8_lossy(&line);
                let line = line.trim_end();
                if !line.is_empty() {
                    self.reader.read_text(line, telling);
                }
            }
        }
    }
}

/// Reads a whole stream at once.
#[cfg(test)]
pub(super) fn read_all(reader: Box<dyn Reader>, stdout: &[u8], exit: Option<i32>) -> Reading {
    let mut streamed = Streamed::by(reader);
    streamed.push(stdout);
    streamed.finish(exit);
    streamed.reading
}

/// Returns the class of a turn that ended as `ended`, of which the stream tells `reading`.
///
/// `tells_its_end` says whether the agent's streams end with an event that says so, without which a
/// turn is not done whatever the exit code. `exit_class` is what the agent's documentation says of
/// the exit code.
pub(super) fn classify(
    ended: &Ended,
    reading: &Reading,
    tells_its_end: bool,
    exit_class: Option<TurnClass>,
) -> TurnClass {
    let finished = match ended {
        Ended::Interrupted => return TurnClass::Interrupted,
        Ended::CouldNotStart { .. } => return TurnClass::CouldNotStart,
        Ended::OverBudget { .. } => return TurnClass::Budget,
        Ended::TimedOut { .. } | Ended::Idle { .. } => {
            // An agent that goes on trying to reach its provider says so, and its time runs out.
            let outage = reading.trouble.as_ref().filter(|trouble| trouble.class.is_outage());
            return match (outage, ended) {
                (Some(trouble), _) if reading.end.is_none() => trouble.class,
                (_, Ended::Idle { .. }) => TurnClass::Idle,
                _ => TurnClass::TimedOut,
            };
        }
        Ended::Done => true,
        Ended::Failed { .. } | Ended::Signalled { .. } => false,
    };
    match &reading.end {
        // An end that says nothing of its kind leaves that to the exit code.
        Some(Some(Trouble { class: TurnClass::Crashed, .. })) => {
            exit_class.unwrap_or(TurnClass::Crashed)
        }
        Some(Some(trouble)) => trouble.class,
        Some(None) if finished && reading.blocked > 0 && reading.ran == 0 => {
            TurnClass::SandboxUnusable
        }
        Some(None) if finished && reading.denied + reading.blocked > 0 => TurnClass::Denied,
        Some(None) if finished => TurnClass::Done,
        None if finished && !tells_its_end => TurnClass::Done,
        _ if finished => TurnClass::Crashed,
        _ => exit_class
            .or(reading.trouble.as_ref().map(|trouble| trouble.class))
            .unwrap_or(TurnClass::Crashed),
    }
}

/// What providers of OpenAI's protocols, and claude itself, call the error of a model that is not there.
pub(super) const NO_MODEL: &str = "model_not_found";

/// Returns the class of an answer of a provider with this HTTP status; none where the status says
/// nothing of the kind. `code` is the provider's own word for the error, where there is one.
pub(super) fn by_status(status: u64, code: Option<&str>) -> Option<TurnClass> {
    let exhausted = ["insufficient_quota", "billing_error", "usage_not_included"];
    match status {
        _ if code.is_some_and(|code| exhausted.contains(&code)) => Some(TurnClass::Quota),
        // Some say 400, and some 403, of a model that they have not.
        _ if code == Some(NO_MODEL) => Some(TurnClass::NotFound),
        404 | 405 | 410 => Some(TurnClass::NotFound),
        401 | 403 => Some(TurnClass::Authentication),
        402 => Some(TurnClass::Quota),
        429 => Some(TurnClass::RateLimited),
        408 | 500..=599 => Some(TurnClass::Overloaded),
        _ => None,
    }
}

/// Returns the moment that a number of seconds since 1970 stands for, or that lies so many seconds
/// from `now` where the number is too small for that.
pub(super) fn reset_at(seconds: f64, now: Timestamp) -> Option<Timestamp> {
    /// The year 2001: no limit that is lifted then is met today.
    const DATE: f64 = 1e9;
    if !seconds.is_finite() || seconds < 0.0 {
        return None;
    }
    if seconds >= DATE {
        return Some(Timestamp::from_unix_millis((seconds * 1e3) as i64));
    }
    Some(now.plus(Duration::from_secs_f64(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Simple;

    impl Reader for Simple {
        fn read(&mut self, event: &Value, telling: &mut Telling<'_>) {
            telling.said(&event["say"]);
            if event["end"] == true {
                telling.done();
            }
        }
        fn read_text(&mut self, line: &str, telling: &mut Telling<'_>) {
            telling.said(&Value::from(line));
        }
    }

    fn reading(end: Option<Option<TurnClass>>, trouble: Option<TurnClass>, denied: u32) -> Reading {
        Reading {
            end: end.map(|end| end.map(|class| Trouble::of(class, ""))),
            trouble: trouble.map(|class| Trouble::of(class, "")),
            denied,
            ..Reading::default()
        }
    }

    fn check(ended: &Ended, reading: &Reading, expected: TurnClass) {
        assert_eq!(classify(ended, reading, true, None), expected);
    }

    const FAILED: Ended = Ended::Failed { code: 1 };

    #[test]
    fn done_takes_the_last_event_and_exit_zero() {
        check(&Ended::Done, &reading(Some(None), None, 0), TurnClass::Done);
        check(&FAILED, &reading(Some(None), None, 0), TurnClass::Crashed);
        check(&Ended::Done, &reading(None, None, 0), TurnClass::Crashed);
        assert_eq!(classify(&Ended::Done, &Reading::default(), false, None), TurnClass::Done);
    }

    #[test]
    fn something_denied_is_not_done() {
        check(&Ended::Done, &reading(Some(None), None, 1), TurnClass::Denied);
    }

    #[test]
    fn commands_blocked_by_the_agents_own_sandbox_are_not_done() {
        let blocked = |ran| Reading { blocked: 1, ran, ..reading(Some(None), None, 0) };
        check(&Ended::Done, &blocked(0), TurnClass::SandboxUnusable);
        check(&Ended::Done, &blocked(2), TurnClass::Denied);
    }

    #[test]
    fn an_end_that_says_nothing_of_its_kind_is_what_the_exit_code_says() {
        let failed = reading(Some(Some(TurnClass::Crashed)), None, 0);
        check(&FAILED, &failed, TurnClass::Crashed);
        let class = classify(&FAILED, &failed, true, Some(TurnClass::Overloaded));
        assert_eq!(class, TurnClass::Overloaded);
    }

    #[test]
    fn an_end_with_trouble_is_that_trouble_whatever_the_exit_code() {
        let limited = reading(Some(Some(TurnClass::RateLimited)), None, 0);
        for ended in [Ended::Done, FAILED, Ended::Signalled { signal: 9 }] {
            check(&ended, &limited, TurnClass::RateLimited);
        }
    }

    #[test]
    fn an_exit_code_that_means_something_goes_before_passing_trouble() {
        let troubled = reading(None, Some(TurnClass::Network), 0);
        check(&FAILED, &troubled, TurnClass::Network);
        let class = classify(&FAILED, &troubled, true, Some(TurnClass::Authentication));
        assert_eq!(class, TurnClass::Authentication);
    }

    #[test]
    fn a_turn_whose_provider_was_never_reached_is_no_mere_timeout() {
        let limit = Duration::from_secs(1);
        let lost = reading(None, Some(TurnClass::Network), 0);
        check(&Ended::TimedOut { limit }, &lost, TurnClass::Network);
        check(&Ended::Idle { limit }, &lost, TurnClass::Network);
        check(&Ended::Idle { limit }, &Reading::default(), TurnClass::Idle);
    }

    #[test]
    fn what_is_not_there_is_told_by_its_status_and_by_its_name() {
        for status in [404, 405, 410] {
            assert_eq!(by_status(status, None), Some(TurnClass::NotFound));
        }
        for status in [400, 403] {
            assert_eq!(by_status(status, Some("model_not_found")), Some(TurnClass::NotFound));
        }
        assert_eq!(by_status(400, None), None);
        assert_eq!(by_status(404, Some("insufficient_quota")), Some(TurnClass::Quota));
    }

    #[test]
    fn stderr_is_read_line_by_line_and_long_lines_by_their_beginning() {
        struct Aside(Vec<usize>);
        impl Reader for Aside {
            fn read(&mut self, _: &Value, _: &mut Telling<'_>) {}
            fn read_stderr(&mut self, line: &str, telling: &mut Telling<'_>) {
                self.0.push(line.len());
                telling.tell(Activity::Noted { text: format!("{:?}", self.0) });
            }
        }
        let mut streamed = Streamed::by(Box::new(Aside(Vec::new())));
        let mut told = Vec::new();
        for piece in ["ab", "c\n\nd", &"e".repeat(2 * LONGEST_ASIDE), "\n", "last"] {
            told.extend(streamed.push_stderr(piece.as_bytes()));
        }
        told.extend(streamed.finish(None));
        let text = format!("[3, {LONGEST_ASIDE}, 4]");
        assert_eq!(told.last(), Some(&Activity::Noted { text }));
    }

    #[test]
    fn a_kind_that_is_known_later_goes_before_none_and_before_no_other() {
        let mut told = Vec::new();
        let mut check = |mut reading: Reading, expected| {
            Telling { reading: &mut reading, told: &mut told }.known_as(TurnClass::NotFound);
            check(&FAILED, &reading, expected);
        };
        check(reading(Some(Some(TurnClass::Crashed)), None, 0), TurnClass::NotFound);
        check(reading(Some(Some(TurnClass::Quota)), None, 0), TurnClass::Quota);
        check(reading(None, Some(TurnClass::Crashed), 0), TurnClass::NotFound);
        check(reading(Some(None), None, 0), TurnClass::Crashed);
    }

    #[test]
    fn lines_are_put_together_from_any_pieces() {
        let text = b"{\"say\":\"a\"}\nplain\n[1]\n{\"end\":true}";
        for cut in 0..text.len() {
            let mut streamed = Streamed::by(Box::new(Simple));
            let mut told = streamed.push(&text[..cut]);
            told.extend(streamed.push(&text[cut..]));
            told.extend(streamed.finish(Some(0)));
            assert_eq!(told.len(), 4, "{told:?}");
            assert_eq!(streamed.reading().end, Some(None));
            assert_eq!(streamed.reading().said.as_deref(), Some("[1]"));
        }
    }

    #[test]
    fn a_line_beyond_all_measure_is_passed_over() {
        let mut streamed = Streamed::by(Box::new(Simple));
        let long = vec![b'x'; LONGEST + 1];
        assert!(streamed.push(&long).is_empty());
        assert!(streamed.push(b"more\n").is_empty());
        assert_eq!(streamed.push(b"{\"say\":\"b\"}\n").len(), 1);
    }

    #[test]
    fn the_word_that_nothing_is_to_do_stands_in_a_line_of_its_own() {
        let said = |text: &str| {
            Reading { said: Some(text.into()), ..Reading::default() }.has_nothing_to_do()
        };
        assert!(said("All is well.\n\n**NOTHING TO DO**"));
        assert!(!said("I was told to say NOTHING TO DO here"));
        assert!(!said("nothing to do"));
    }

    #[test]
    fn a_reset_is_a_date_or_a_time_from_now() {
        let now = Timestamp::from_unix_millis(5_000);
        assert_eq!(reset_at(90.0, now), Some(Timestamp::from_unix_millis(95_000)));
        let date = Timestamp::from_unix_millis(1_763_676_000_000);
        assert_eq!(reset_at(1_763_676_000.0, now), Some(date));
        assert_eq!(reset_at(f64::NAN, now), None);
    }
}
