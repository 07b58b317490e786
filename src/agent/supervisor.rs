//! The process between the factory and the agent: it outlives neither, and tells durably how the
//! agent ended.
//!
//! It leaves the factory's session, adopts what the agent orphans, holds the limits, and writes
//! `ended.json` only once everything of the turn is dead. Its standard input is a pipe that the
//! factory holds: at its end the factory is gone, and so is the agent.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::login::SecretFiles;
use super::record::{EndedFile, Record, Spec, Started, Status, VERSION, search};
use super::redact::Redactor;
use super::stream::classify;
use super::watch::{Cut, Limits, TICK, Watch};
use super::{Activity, CrashPoint, Ended, Trouble, TurnRecord, named};
use crate::clock::{Clock as _, SystemClock};
use crate::convergence::TurnClass;
use crate::process::survivors;
use crate::process::{
    Call, Cancel, Keep, Signal, Stdin, Stream, Variables, closing, inherited, run,
};
use crate::text::{Redaction, one_line};
use crate::verdict::Ending;
use crate::wall::way_out::{self, Exit};

/// The time between TERM and KILL.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long the rest of a turn may take to die of SIGKILL.
pub(super) const SWEEP: Duration = Duration::from_secs(20);
/// How much of each stream is stored; the rest is read and counted.
const STORED: u64 = 64 << 20;
/// How often adopted zombies are collected.
const REAP_EVERY: Duration = Duration::from_secs(5);

/// Runs the hidden subcommand `supervise-agent SPEC.json`, and returns its exit code: 0 once the
/// turn is recorded, however it ended, and 3 where that failed.
///
/// Writes one line of JSON to standard output, for the factory.
pub fn supervise(spec: &Path) -> u8 {
    let over = AtomicBool::new(false);
    let result = prepared(spec).and_then(|(spec, cancel)| {
        std::thread::scope(|scope| {
            let reaper = scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    survivors::reap_adopted();
                    std::thread::park_timeout(REAP_EVERY);
                }
            });
            let result = supervise_call(&spec, &cancel, true, &tell);
            over.store(true, Ordering::SeqCst);
            reaper.thread().unpark();
            result
        })
    });
    let (status, code) = match result {
        Ok(()) => (Status::Recorded, 0),
        Err(e) => (Status::Failed(e.to_string()), 3),
    };
    let line = serde_json::to_string(&status).unwrap_or_default();
    // A factory that is gone reads the record later.
    let _ = writeln!(io::stdout(), "{line}");
    code
}

/// Tells the factory what the agent does; one that is gone does not hear it.
fn tell(told: &[Activity]) {
    let told = told.iter().map(Activity::brief).collect();
    if let Ok(line) = serde_json::to_string(&Status::Told(told)) {
        let _ = writeln!(io::stdout(), "{line}");
    }
}

/// Takes the spec and makes this process fit to supervise.
fn prepared(path: &Path) -> io::Result<(Spec, Cancel)> {
    let text = fs::read(path)?;
    fs::remove_file(path)?;
    let spec = serde_json::from_slice(&text)?;
    leave_session();
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let cancel = Cancel::on_signals()?;
    let hangup = cancel.clone();
    std::thread::spawn(move || {
        let mut byte = [0];
        while !matches!(io::stdin().read(&mut byte), Ok(0) | Err(_)) {}
        hangup.trip(Signal::Terminate);
    });
    Ok((spec, cancel))
}

/// Begins a session without a terminal, so that no key reaches the agent, and the agent no terminal.
///
/// Only a process that leads no group can, and ours does: it joins its parent's for a moment. Where
/// that fails, the parent is gone, and the hangup ends everything.
fn leave_session() {
    let parent = rustix::process::getppid();
    if let Ok(group) = rustix::process::getpgid(parent) {
        let _ = rustix::process::setpgid(None, Some(group));
    }
    let _ = rustix::process::setsid();
}

/// Runs the agent as `spec` says and records start and end; `adopts` says whether this process is
/// the turn's own supervisor, so that whatever descends from it belongs to the turn.
///
/// `told` hears what the agent does.
pub(super) fn supervise_call(
    spec: &Spec,
    cancel: &Cancel,
    adopts: bool,
    told: &(dyn Fn(&[Activity]) + Sync),
) -> io::Result<()> {
    let dir = Path::new(&spec.record);
    let record = Record(dir);
    let mut sinks = Sinks::open(&record, spec)?;
    let started = SystemClock.now();
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    record.write_started(&Started {
        v: VERSION,
        pid,
        process_start: survivors::process_of(pid).map(|process| process.start),
        boot: survivors::boot_id(),
        time: started,
    })?;
    die_at(spec, CrashPoint::AfterStartedRecord);
    let call = call(spec, adopts);
    #[cfg(target_os = "linux")]
    if adopts {
        // The agent may be of the same user: it shall not read or write this process's memory.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    }

    let (call, confined, exit) = match &spec.confined {
        Some(confined) => {
            let (call, confined, exit) = match &spec.way_out {
                Some(way_out) => {
                    let (call, confined, exit) = way_out::open(way_out, dir, call, confined)?;
                    (call, confined, Some(exit))
                }
                None => (call, confined.clone(), None),
            };
            (confined.wrap(call)?, Some(confined), exit)
        }
        None => (call, None, None),
    };
    let backend = named(&spec.backend)
        .ok_or_else(|| io::Error::other(format!("there is no backend `{}`", spec.backend)))?;
    let (timeout, idle) = (spec.timeout, spec.idle);
    let limits = Limits { timeout, idle, budget: spec.budget.clone() };
    let kept = private_file(&record.activity())?;
    let side = backend.side(Path::new(&spec.home));
    let watch =
        Watch::begin(backend.reader(), Some(kept), (side, redactor(spec)), limits, cancel, told);
    let finished = watched(&watch, || {
        run(&call, cancel, &mut |stream, bytes| match stream {
            Stream::Stdout => watch.take(&sinks.take(stream, bytes)),
            Stream::Stderr => watch.take_stderr(&sinks.take(stream, bytes)),
        })
    });
    let swept = survivors::sweep(search(&spec.token, adopts), SWEEP);
    let contacted = exit.map(Exit::close).unwrap_or_default();
    let (finished, left) = match &confined {
        Some(confined) => {
            (confined.tell(finished), confined.report().map_or(0, |report| report.left))
        }
        None => (finished, 0),
    };

    sinks.learn();
    watch.take(&sinks.stdout.finish());
    watch.take_stderr(&sinks.stderr.finish());
    let exit = match finished.ending {
        Ending::Exited { code } => Some(code),
        _ => None,
    };
    let (mut reading, cut) = watch.finish(exit);
    let ended = match cut {
        // It had said that it was done; what was ended is what it had left.
        Some(Cut::Lingered) => Ended::Done,
        Some(Cut::OverBudget(limit)) => Ended::OverBudget { limit },
        None => Ended::from(finished.ending),
    };
    let exit_class = exit.and_then(|code| backend.exit_class(code));
    let class = classify(&ended, &reading, backend.tells_its_end(), exit_class);
    if class == TurnClass::Crashed && reading.end.is_none() && reading.trouble.is_none() {
        // Nobody but the person reads it: what it says decides nothing.
        reading.trouble = last_words(&record).map(|words| Trouble::of(class, words));
    }
    let reaped = (swept.ended + left as usize).max(usize::from(finished.leaked));
    let mut ended = EndedFile {
        v: VERSION,
        record: TurnRecord {
            ended,
            class,
            reading,
            started,
            duration: finished.duration,
            stdout_bytes: finished.stdout.total,
            stderr_bytes: finished.stderr.total,
            reaped: u32::try_from(reaped).unwrap_or(u32::MAX),
            contacted,
        },
        survivors: swept.left,
    };
    if sinks.is_late {
        // What was written before they were seen.
        sinks.scrub(&record, &mut ended)?;
    }
    die_at(spec, CrashPoint::BeforeEndedRecord);
    record.write_ended(&ended)?;
    die_at(spec, CrashPoint::AfterEndedRecord);
    Ok(())
}

fn call(spec: &Spec, adopts: bool) -> Call {
    let env: Variables = spec.env.iter().cloned().collect();
    let open = if adopts { inherited() } else { Vec::new() };
    let call = if open.is_empty() {
        Call::new(&spec.program, &spec.workspace)
    } else {
        // Whoever started the factory left descriptors open; the agent shall not find them.
        Call::new("bash", &spec.workspace).args(closing(&open)).arg(&spec.program)
    };
    call.args(&spec.args)
        .env(env)
        .stdin(spec.stdin.as_ref().map_or(Stdin::Null, |file| Stdin::File(file.into())))
        .limit(spec.timeout)
        .idle(spec.idle)
        .grace(GRACE)
        .keep(Keep { head: 0, tail: 0 })
}

/// Returns the last line that the agent wrote to stderr; none where it wrote none.
fn last_words(record: &Record<'_>) -> Option<String> {
    let mut file = File::open(record.stderr()).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4_000))).ok()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(one_line(line, 500))
}

/// Has the watch look at the clock while `run` goes on.
fn watched<T>(watch: &Watch<'_>, run: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clock = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                watch.tick();
                std::thread::park_timeout(TICK);
            }
        });
        let result = run();
        over.store(true, Ordering::SeqCst);
        clock.thread().unpark();
        result
    })
}

/// Returns what takes the turn's secrets out: those in the agent's variables, and the key and the secrets of
/// the product that it does not hold, which shall not be found in what it prints either.
fn redactor(spec: &Spec) -> Redactor {
    let product = Redaction::of_secrets(spec.secrets.iter().cloned());
    let mut redactor = Redactor::of(&spec.env, &product);
    let keyed = spec.way_out.as_ref().and_then(|way_out| way_out.keyed.as_ref());
    redactor.learn(keyed.into_iter().map(|keyed| OsStr::new(keyed.key())));
    redactor
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

struct Sinks {
    stdout: Sink,
    stderr: Sink,
    /// A login that the agent renews has secrets which nobody knew when the turn began.
    files: SecretFiles,
    /// Whether some were seen while the turn went on.
    is_late: bool,
}

impl Sinks {
    fn open(record: &Record<'_>, spec: &Spec) -> io::Result<Self> {
        let mut sinks = Self {
            stdout: Sink::open(&record.stdout(), spec)?,
            stderr: Sink::open(&record.stderr(), spec)?,
            files: SecretFiles::of(&spec.secret_files),
            is_late: false,
        };
        sinks.learn();
        sinks.is_late = false;
        Ok(sinks)
    }

    /// Takes what was written to a stream, and returns it with its secrets replaced.
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> Vec<u8> {
        self.learn();
        match stream {
            Stream::Stdout => self.stdout.take(bytes),
            Stream::Stderr => self.stderr.take(bytes),
        }
    }

    /// Reads the secrets that are new.
    fn learn(&mut self) {
        let new = self.files.look();
        for sink in [&mut self.stdout, &mut self.stderr] {
            sink.redactor.learn(new.iter().map(OsStr::new));
        }
        self.is_late |= !new.is_empty();
    }

    /// Takes secrets that were seen too late out of what is stored already.
    fn scrub(&self, record: &Record<'_>, ended: &mut EndedFile) -> io::Result<()> {
        let known: Vec<String> = self.files.known().cloned().collect();
        let mut redactor = Redactor::of_values(&known);
        for path in [record.stdout(), record.stderr(), record.activity()] {
            let (before, mut file) =
                (fs::read(&path)?, OpenOptions::new().write(true).open(&path)?);
            let after = redactor.whole(&before);
            if after != before {
                file.write_all(&after)?;
                file.set_len(after.len() as u64)?;
                file.sync_all()?;
            }
        }
        let text = redactor.whole(&serde_json::to_vec(&ended.record.reading)?);
        ended.record.reading = serde_json::from_slice(&text)?;
        Ok(())
    }
}

/// Stores the beginning of a stream, secrets replaced. A disk that is full ends the storing and
/// not the turn, which is paid.
struct Sink {
    file: Option<File>,
    redactor: Redactor,
    room: u64,
}

impl Sink {
    fn open(path: &Path, spec: &Spec) -> io::Result<Self> {
        let file = private_file(path)?;
        Ok(Self { file: Some(file), redactor: redactor(spec), room: STORED })
    }

    /// Takes what was written, and returns it with its secrets replaced.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let clean = self.redactor.push(bytes);
        self.store(&clean);
        clean
    }

    fn finish(&mut self) -> Vec<u8> {
        let rest = self.redactor.finish();
        self.store(&rest);
        if let Some(file) = &self.file {
            let _ = file.sync_all();
        }
        rest
    }

    fn store(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let length = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
        self.room -= length as u64;
        if file.write_all(&bytes[..length]).is_err() {
            self.file = None;
        }
    }
}

#[cfg(debug_assertions)]
fn die_at(spec: &Spec, point: CrashPoint) {
    if spec.die == Some(point) {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(not(debug_assertions))]
fn die_at(_: &Spec, _: CrashPoint) {}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
