//! Watches over a turn by what its stream tells: keeps what the agent did, ends it once it has said
//! that it is done, and once it has spent what it may.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Activity;
use super::redact::Redactor;
use super::stream::{Reader, Reading, Streamed};
use crate::clock::{Instant, human};
use crate::convergence::{Cost, Limit, PriceTable, TurnAllowance};
use crate::process::{Cancel, Signal};

/// How long an agent may still take once it has said that its turn is over.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often the clock and the file beside the stream are looked at.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// How much of what the agent did is kept, in bytes.
const KEPT: u64 = 8 << 20;
/// How much is read at a time of the file beside the stream.
const CHUNK: u64 = 4 << 20;

/// Why the watch ended a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// It had said that it was over, and its processes went on.
    Lingered,
    /// It had used what it may.
    OverBudget(Limit),
}

/// What watches over a turn.
pub(super) struct Watch<'a> {
    cancel: &'a Cancel,
    tell: &'a (dyn Fn(&[Activity]) + Sync),
    state: Mutex<State>,
}

/// The limits that a turn is ended by.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Of the whole turn.
    pub(super) timeout: Duration,
    /// Of silence.
    pub(super) idle: Duration,
    /// Of what it uses.
    pub(super) budget: TurnBudget,
}

/// What a turn may use, and what its tokens cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TurnBudget {
    /// What it may use.
    pub allowance: TurnAllowance,
    /// What tokens cost, where the agent does not say.
    pub prices: PriceTable,
    /// The model, as the settings name it; none where they leave it to the agent.
    pub model: Option<String>,
}

impl TurnBudget {
    /// Returns the limit that a turn has reached of which this is known; none where it may go on.
    fn over(&self, reading: &Reading, time: Duration) -> Option<Limit> {
        let tokens = reading.usage.tokens();
        let model = reading.model.as_deref().or(self.model.as_deref());
        let cost = Cost::of(reading.usage.cost_usd, tokens, model, &self.prices);
        let late = self.allowance.ms.filter(|(ms, _)| time.as_millis() >= u128::from(*ms));
        let tokens = tokens.unwrap_or_default().total();
        self.allowance.over(tokens, cost.usd()).or(late.map(|(_, limit)| limit))
    }
}

struct State {
    streamed: Streamed,
    /// Replaces secrets in what is read beside the stream.
    redactor: Redactor,
    limits: Limits,
    began: Instant,
    heard: Instant,
    /// Whether it was said that the time is nearly up, and that it was silent for long.
    warned: (bool, bool),
    kept: Option<File>,
    room: u64,
    side: Option<Side>,
    over: Option<Instant>,
    cut: Option<Cut>,
}

impl<'a> Watch<'a> {
    /// Begins to watch: what the agent does goes to `tell` and into the file `kept`, as JSON, an
    /// [`Activity`] a line. `side` is where the agent keeps files beside its stream, and what takes the
    /// secrets out of these.
    pub(super) fn begin(
        reader: Box<dyn Reader>,
        kept: Option<File>,
        (side, redactor): (Option<PathBuf>, Redactor),
        limits: Limits,
        cancel: &'a Cancel,
        tell: &'a (dyn Fn(&[Activity]) + Sync),
    ) -> Self {
        let state = State {
            streamed: Streamed::by(reader),
            redactor,
            limits,
            began: Instant::now(),
            heard: Instant::now(),
            warned: (false, false),
            kept,
            room: KEPT,
            side: side.map(Side::of),
            over: None,
            cut: None,
        };
        Self { cancel, tell, state: Mutex::new(state) }
    }

    /// Takes the next bytes of the agent's stdout, secrets replaced.
    pub(super) fn take(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.heard = Instant::now();
        let told = state.streamed.push(bytes);
        self.took(&mut state, &told);
    }

    /// Takes the next bytes of the agent's stderr, secrets replaced.
    pub(super) fn take_stderr(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.heard = Instant::now();
        let told = state.streamed.push_stderr(bytes);
        self.took(&mut state, &told);
    }

    /// Looks at the clock and at the file beside the stream.
    pub(super) fn tick(&self) {
        let mut state = self.state();
        self.look_aside(&mut state);
        let warnings = state.warnings();
        self.took(&mut state, &warnings);
        self.hold(&mut state);
        if state.cut.is_none() && state.over.is_some_and(|since| since.left(FAREWELL).is_zero()) {
            state.cut = Some(Cut::Lingered);
            self.cancel.trip(Signal::Terminate);
        }
    }

    /// Takes the agent's exit code, and returns all that was told, and why the watch ended the turn;
    /// none where it did not.
    pub(super) fn finish(&self, exit: Option<i32>) -> (Reading, Option<Cut>) {
        let mut state = self.state();
        self.look_aside(&mut state);
        let told = state.streamed.finish(exit);
        self.took(&mut state, &told);
        if let Some(kept) = &state.kept {
            let _ = kept.sync_all();
        }
        (state.streamed.reading().clone(), state.cut)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a turn that has used what it may.
    fn hold(&self, state: &mut State) {
        // What it says with its last event is used, and nothing is left to be saved.
        if state.cut.is_some() || state.streamed.reading().end.is_some() {
            return;
        }
        let (reading, time) = (state.streamed.reading(), state.began.elapsed());
        if let Some(limit) = state.limits.budget.over(reading, time) {
            state.cut = Some(Cut::OverBudget(limit));
            self.cancel.trip(Signal::Terminate);
        }
    }

    fn look_aside(&self, state: &mut State) {
        let lines = state.side.as_mut().map(Side::lines).unwrap_or_default();
        for line in lines {
            let line = state.redactor.whole(&line);
            let told = state.streamed.push_side(&line);
            self.took(state, &told);
        }
    }

    fn took(&self, state: &mut State, told: &[Activity]) {
        if told.is_empty() {
            return;
        }
        for activity in told {
            state.keep(activity);
        }
        self.hold(state);
        if state.over.is_none() && state.streamed.reading().end.is_some() {
            state.over = Some(Instant::now());
        }
        (self.tell)(told);
    }
}

impl State {
    /// Returns what is to be said of limits that are near: four fifths of them are over.
    fn warnings(&mut self) -> Vec<Activity> {
        let near = |since: Instant, limit: Duration| since.left(limit) < limit / 5;
        let mut warnings = Vec::new();
        let Limits { timeout, idle, .. } = self.limits;
        if !self.warned.0 && near(self.began, timeout) {
            self.warned.0 = true;
            let (left, limit) = (human(self.began.left(timeout)), human(timeout));
            let text = format!("{left} left of its {limit} (`agent.timeout`); then it is ended");
            warnings.push(Activity::Warned { text });
        }
        let silent = near(self.heard, idle);
        if silent && !self.warned.1 {
            let (left, time) = (human(self.heard.left(idle)), human(self.heard.elapsed()));
            let text = format!("silent for {time}; it is ended after {left} more (`agent.idle`)");
            warnings.push(Activity::Warned { text });
        }
        self.warned.1 = silent;
        warnings
    }

    /// Keeps what the agent did. A full disk ends the keeping and not the turn, which is paid.
    fn keep(&mut self, activity: &Activity) {
        let Some(file) = &mut self.kept else { return };
        let mut line = serde_json::to_vec(activity).unwrap_or_default();
        line.push(b'\n');
        let length = line.len() as u64;
        if length > self.room || file.write_all(&line).is_err() {
            self.kept = None;
        }
        self.room = self.room.saturating_sub(length);
    }
}

/// Files of JSON lines that the agent writes beside its stream, in a directory of its private home.
struct Side {
    dir: PathBuf,
    /// How much of each was read. Those that were there before are read from their end on.
    read: BTreeMap<PathBuf, u64>,
}

impl Side {
    fn of(dir: PathBuf) -> Self {
        let read = files(&dir).into_iter().collect();
        Self { dir, read }
    }

    /// Returns the whole lines that are new.
    fn lines(&mut self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for (path, size) in files(&self.dir) {
            let at = self.read.entry(path.clone()).or_default();
            if size <= *at {
                continue;
            }
            let Some(text) = read_from(&path, *at) else { continue };
            let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else { continue };
            *at += end as u64 + 1;
            lines.extend(text[..end].split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        }
        lines
    }
}

/// Returns the files `*.jsonl` below `dir` with their sizes. Links are not followed: the directory is
/// the agent's.
fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
    const DEPTH: usize = 5;
    const MOST: usize = 1_000;
    let mut found = Vec::new();
    let mut dirs = vec![(dir.to_owned(), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten().take(MOST) {
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_dir() && depth < DEPTH {
                dirs.push((path, depth + 1));
            } else if kind.is_file() && path.extension().is_some_and(|end| end == "jsonl") {
                found.push((path, entry.metadata().map_or(0, |metadata| metadata.len())));
            }
        }
        if found.len() > MOST {
            break;
        }
    }
    found
}

fn read_from(path: &Path, at: u64) -> Option<Vec<u8>> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    let mut file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    file.seek(SeekFrom::Start(at)).ok()?;
    let mut text = Vec::new();
    file.take(CHUNK).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::Usage;
    use super::super::stream::Telling;
    use super::*;

    struct Simple;

    impl Reader for Simple {
        fn read(&mut self, _: &Value, telling: &mut Telling<'_>) {
            telling.done();
        }
        fn read_side(&mut self, event: &Value, telling: &mut Telling<'_>) {
            telling.said(&event["say"]);
        }
    }

    fn nothing() -> (Option<PathBuf>, Redactor) {
        (None, Redactor::of_values(&[]))
    }

    fn limits() -> Limits {
        let minute = Duration::from_secs(60);
        Limits { timeout: minute, idle: minute, budget: TurnBudget::default() }
    }

    #[test]
    fn a_limit_that_is_near_is_warned_of_once_and_silence_each_time() {
        let short = Limits { idle: Duration::from_nanos(10), ..limits() };
        let cancel = Cancel::never();
        let told = Mutex::new(Vec::new());
        let tell = |new: &[Activity]| told.lock().unwrap().extend_from_slice(new);
        let watch = Watch::begin(Box::new(Simple), None, nothing(), short.clone(), &cancel, &tell);
        watch.tick();
        watch.tick();
        let first = told.lock().unwrap().clone();
        let [Activity::Warned { text }] = first.as_slice() else { panic!("{first:?}") };
        assert!(text.starts_with("silent for ") && text.ends_with("(`agent.idle`)"), "{text}");
        watch.state().limits = Limits { timeout: Duration::from_nanos(10), ..limits() };
        watch.tick();
        watch.tick();
        assert_eq!(told.lock().unwrap().len(), 2);
        watch.state().limits = short;
        watch.tick();
        assert_eq!(told.lock().unwrap().len(), 3, "silent again");
    }

    fn check_budget(budget: TurnBudget, uses: &[Usage], cut: Option<Limit>) {
        let cancel = Cancel::new().unwrap();
        let limits = Limits { budget, ..limits() };
        let watch = Watch::begin(Box::new(Uses), None, nothing(), limits, &cancel, &|_| {});
        for usage in uses {
            let mut line = serde_json::to_vec(usage).unwrap();
            line.push(b'\n');
            watch.take(&line);
        }
        assert_eq!(watch.finish(None).1, cut.map(Cut::OverBudget));
        assert_eq!(cancel.tripped().is_some(), cut.is_some());
    }

    const PRICES: &str = "as_of: 2026-11-20\nmodels: {m: {input: 1.0, output: 10.0}}";

    struct Uses;

    impl Reader for Uses {
        fn read(&mut self, event: &Value, telling: &mut Telling<'_>) {
            telling.tell(Activity::Used(serde_json::from_value(event.clone()).unwrap()));
        }
    }

    #[test]
    fn a_turn_is_ended_at_the_call_that_reaches_its_budget() {
        let budget = |usd: Option<f64>, tokens: Option<u64>| {
            let limited = |what: Option<f64>| what.map(|usd| (usd, Limit::TurnMoney));
            let allowance = TurnAllowance {
                usd: limited(usd),
                tokens: tokens.map(|tokens| (tokens, Limit::Tokens)),
                ms: None,
            };
            let prices = serde_yaml::from_str(PRICES).unwrap();
            TurnBudget { allowance, prices, model: Some("m".into()) }
        };
        let usage =
            |output, cost_usd| Usage { output_tokens: Some(output), cost_usd, ..Usage::default() };
        let (small, large) = (usage(50_000, None), usage(100_000, None));
        check_budget(budget(Some(1.0), None), &[small], None);
        check_budget(budget(Some(1.0), None), &[small, small], Some(Limit::TurnMoney));
        check_budget(budget(Some(1.0), None), &[large], Some(Limit::TurnMoney));
        check_budget(budget(None, Some(100_000)), &[large], Some(Limit::Tokens));
        check_budget(budget(Some(1.0), None), &[usage(1, Some(2.0))], Some(Limit::TurnMoney));
    }

    #[test]
    fn lines_beside_the_stream_are_read_once_and_only_when_whole() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("2026/11");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("old.jsonl"), "{\"say\":\"old\"}\n").unwrap();
        let cancel = Cancel::never();
        let told = Mutex::new(Vec::new());
        let tell = |new: &[Activity]| told.lock().unwrap().extend_from_slice(new);
        let watch = Watch::begin(
            Box::new(Simple),
            None,
            (Some(dir.path().to_owned()), Redactor::of_values(&["sk-12345678".to_owned()])),
            limits(),
            &cancel,
            &tell,
        );
        fs::write(below.join("new.jsonl"), "{\"say\":\"a\"}\n{\"say\":").unwrap();
        watch.tick();
        watch.tick();
        fs::write(below.join("new.jsonl"), "{\"say\":\"a\"}\n{\"say\":\"sk-12345678\"}\n").unwrap();
        watch.tick();
        let said = |text: &str| Activity::Said { text: text.into() };
        assert_eq!(*told.lock().unwrap(), [said("a"), said("[redacted]")]);
    }

    #[test]
    fn a_link_in_the_agents_home_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "{\"say\":\"x\"}\n").unwrap();
        let side = dir.path().join("side");
        fs::create_dir(&side).unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), side.join("a.jsonl")).unwrap();
        assert!(Side { dir: side.clone(), read: BTreeMap::new() }.lines().is_empty());
        assert!(read_from(&side.join("a.jsonl"), 0).is_none());
    }

    #[test]
    fn what_the_agent_did_is_kept_a_line_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activity.jsonl");
        let kept = File::create(&path).unwrap();
        let cancel = Cancel::never();
        let watch =
            Watch::begin(Box::new(Simple), Some(kept), nothing(), limits(), &cancel, &|_| {});
        watch.take(b"{}\n");
        let (reading, cut) = watch.finish(Some(0));
        assert_eq!((reading.end, cut), (Some(None), None));
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"event\":\"agent.finished\",\"data\":{}}\n"
        );
    }
}
