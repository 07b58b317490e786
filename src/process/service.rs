//! A child that stays: a server, a database. It runs in a group of its own beside everything else, what
//! it writes goes to a log of bounded size, and it ends with all that carries its mark, wherever
//! that has gone.
//!
//! Whether it is ready, and what its end means, is its owner's to say.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group};

use crate::clock::Instant;
use crate::text::{RedactedStream, Redaction};
use crate::verdict::Ending;

use super::leader::{How, ending_of, exit_descriptor, nothing, start_child, wait};
use super::survivors::{self, Process, Search};
use super::{Call, Cancel, started};

/// The most that a log takes on the disk.
const MOST: u64 = 16 << 20;
/// The first part of a log, which is always kept.
const HEAD: u64 = 8 << 20;
/// The last part, which is kept when there is more than fits; at most half of what follows the head.
const TAIL: u64 = 4 << 20;
const CHUNK: usize = 64 * 1024;
/// How often what is ending is looked at, at first and at most.
const GLANCES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];
/// How long killed processes may take to vanish before they are given up.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// How long output is read on once everything has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// Is called with what a service writes, as it comes.
pub(crate) type Live = Box<dyn FnMut(&[u8]) + Send>;

/// A started service. Dropped before it is stopped, it is killed with everything of its mark.
#[derive(Debug)]
pub(crate) struct Service {
    pid: Pid,
    /// Readable once the child has exited; none where the system has no such thing.
    exit: Option<OwnedFd>,
    /// The variable and the value by which what left the group is found.
    mark: Option<(String, Vec<u8>)>,
    /// Its end tells the reader to finish.
    reading: Option<(PipeWriter, JoinHandle<()>)>,
    over: bool,
}

impl Service {
    /// Starts the call; of its bounds none counts, and it reads nothing. Stdout and stderr go to `log`
    /// and to `live`. `mark` names the variable of `call.env` by which what leaves the group is found
    /// in the end; none follows the group alone.
    ///
    /// # Errors
    /// The child can't be started; the message names it.
    pub(crate) fn start(
        call: &Call,
        mark: Option<&str>,
        log: &Log,
        live: Live,
    ) -> io::Result<Self> {
        let mark = mark.and_then(|name| {
            let value = call.env.get(std::ffi::OsStr::new(name))?;
            Some((name.to_owned(), value.as_encoded_bytes().to_vec()))
        });
        let (output, input) = io::pipe()?;
        let (stop, stopper) = io::pipe()?;
        let flags = fcntl_getfl(&output)?;
        fcntl_setfl(&output, flags | OFlags::NONBLOCK)?;
        let streams = [nothing()?.as_fd(), input.as_fd(), input.as_fd()];
        let pid = start_child(call, How::default(), streams)?;
        // Open on this side it would keep the reader waiting for ever.
        drop(input);
        let mut service =
            Self { exit: exit_descriptor(pid), pid, mark, reading: None, over: false };
        let clean = log.redaction.stream();
        let reader = Reader { output, stop, log: log.clone(), clean, live };
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(|| reader.run())?;
        service.reading = Some((stopper, thread));
        Ok(service)
    }

    /// Returns how the child itself ended; none while it runs. It is not reaped before
    /// [`Service::stop`], so that its number, and that of its group, stay its own.
    pub(crate) fn ending(&self) -> Option<Ending> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match rustix::process::waitid(WaitId::Pid(self.pid), options) {
            Ok(None) | Err(rustix::io::Errno::INTR) => None,
            Ok(Some(status)) => Some(ending_of(status.exit_status(), status.terminating_signal())),
            Err(error) => Some(Ending::CouldNotStart { why: format!("its end was lost: {error}") }),
        }
    }

    /// Waits until the child has exited or the token is tripped, `wait` at most.
    pub(crate) fn pause(&self, wait: Duration, cancel: &Cancel) {
        let exit = self.exit.as_ref().filter(|_| self.ending().is_none()).map(|fd| fd.as_fd());
        let wake = cancel.wake().filter(|_| cancel.tripped().is_none());
        let mut fds: Vec<PollFd<'_>> = [exit, wake]
            .into_iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        // Whatever wakes it, the caller looks for itself.
        let _ = poll(&mut fds, Timespec::try_from(wait).ok().as_ref());
    }

    /// Returns the living processes of the service, by number: its group, what carries its mark, and
    /// what descends from these. Empty where the system has no `/proc`.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let (variable, value) = match &self.mark {
            Some((name, value)) => (name.as_str(), value.as_slice()),
            // No process has a variable of this name.
            None => ("\0", &b""[..]),
        };
        let search = Search { variable, value, own_descendants: false };
        let group = self.pid.as_raw_nonzero().get();
        survivors::related(search, |one| one.group == group)
    }

    /// Ends it all: TERM, `grace`, KILL; at once KILL when the token is tripped a second time. Returns
    /// how many processes would not end.
    pub(crate) fn stop(mut self, grace: Duration, cancel: &Cancel) -> usize {
        self.end(grace, cancel)
    }

    fn end(&mut self, grace: Duration, cancel: &Cancel) -> usize {
        let began = Instant::now();
        let mut seen: Vec<Process> = Vec::new();
        if !grace.is_zero() {
            // A stopped process hears TERM only once it goes on.
            for signal in [Signal::TERM, Signal::CONT] {
                let _ = kill_process_group(self.pid, signal);
            }
            let group = self.pid.as_raw_nonzero().get();
            for one in self.processes().into_iter().filter(|one| one.group != group) {
                survivors::signal(one, Signal::TERM);
                survivors::signal(one, Signal::CONT);
            }
        }
        let mut glance = GLANCES[0];
        while !began.left(grace).is_zero() && !cancel.is_urgent() {
            let alive = self.processes();
            seen.extend(&alive);
            if alive.is_empty() && self.ending().is_some() {
                break;
            }
            std::thread::sleep(glance);
            glance = (glance * 2).min(GLANCES[1]);
        }
        let killed = Instant::now();
        let left = loop {
            let _ = kill_process_group(self.pid, Signal::KILL);
            let alive = self.processes();
            if alive.is_empty() && self.ending().is_some() {
                break 0;
            }
            if killed.left(LAST_WAIT).is_zero() {
                break alive.len().max(1);
            }
            for one in &alive {
                survivors::signal(*one, Signal::KILL);
            }
            seen.extend(&alive);
            std::thread::sleep(GLANCES[0]);
        };
        self.over = true;
        if self.ending().is_some() {
            wait(self.pid);
        }
        started::forget(self.pid.as_raw_nonzero().get());
        adopted(&seen);
        if let Some((stopper, reader)) = self.reading.take() {
            drop(stopper);
            // It panics only where its listener does, which is told of by its own message.
            let _ = reader.join();
        }
        left
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.over {
            self.end(Duration::ZERO, &Cancel::never());
        }
    }
}

/// Collects those that became this process's own children by their parents' end, as a reaper of
/// orphans has it; elsewhere there are none.
fn adopted(seen: &[Process]) {
    for one in seen {
        let Some(now) = survivors::process_of(one.pid) else { continue };
        let me = rustix::process::getpid().as_raw_nonzero().get();
        if now.start == one.start && now.zombie && now.parent == me {
            // An error means that somebody else has collected it.
            let _ = rustix::process::waitpid(Pid::from_raw(one.pid), WaitOptions::NOHANG);
        }
    }
}

/// A log on the disk that never takes more than 16 MiB: the first 8 MiB stay, and of the rest at
/// least the last 4, with a line between that says how much was left out. Clones are the same log.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    path: PathBuf,
    file: Arc<Mutex<LogFile>>,
    redaction: Redaction,
}

impl Log {
    /// Makes the log at `path`, where nothing may be yet.
    ///
    /// # Errors
    /// There is something, or the file can't be made.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let file = Arc::new(Mutex::new(LogFile { file, length: 0, total: 0 }));
        Ok(Self { path: path.to_owned(), file, redaction: Redaction::none() })
    }

    /// Returns it, these secrets being kept out of what is written to it from now on.
    pub(crate) fn redacting(self, redaction: &Redaction) -> Self {
        Self { redaction: redaction.clone(), ..self }
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its last part, at most `most` bytes, decoded leniently.
    pub(crate) fn tail(&self, most: u64) -> String {
        let log = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let from = log.length.saturating_sub(most);
        let mut bytes = vec![0; usize::try_from(log.length - from).unwrap_or(0)];
        match log.file.read_exact_at(&mut bytes, from) {
            Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => String::new(),
        }
    }

    fn push(&self, bytes: &[u8]) {
        let mut log = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop the service: what can't be kept is lost, and counted.
        let _ = log.push(bytes);
    }
}

#[derive(Debug)]
struct LogFile {
    file: File,
    /// How long the file is.
    length: u64,
    /// How many bytes there were in all.
    total: u64,
}

impl LogFile {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let before = self.total;
        self.total += bytes.len() as u64;
        if self.length + bytes.len() as u64 > MOST {
            self.leave_out(before)?;
        }
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Moves the last part up to the head. A byte is moved once for each 4 MiB that come after it.
    fn leave_out(&mut self, total: u64) -> io::Result<()> {
        let mut tail = vec![0; usize::try_from(TAIL).unwrap_or(0)];
        self.file.read_exact_at(&mut tail, self.length - TAIL)?;
        let mark = format!("\n[... {} bytes left out ...]\n", total - HEAD - TAIL);
        self.file.write_all_at(mark.as_bytes(), HEAD)?;
        self.file.write_all_at(&tail, HEAD + mark.len() as u64)?;
        self.length = HEAD + mark.len() as u64 + TAIL;
        self.file.set_len(self.length)
    }
}

/// Reads what a service writes for as long as it lives.
struct Reader {
    output: PipeReader,
    /// At its end once the service has been stopped.
    stop: PipeReader,
    log: Log,
    /// Keeps the secrets out of the log.
    clean: RedactedStream,
    live: Live,
}

impl Reader {
    fn run(mut self) {
        self.read();
        self.log.push(&self.clean.finish());
    }

    fn read(&mut self) {
        let mut chunk = vec![0; CHUNK];
        let mut stopped: Option<Instant> = None;
        loop {
            match self.output.read(&mut chunk) {
                Ok(0) => return,
                Ok(length) => {
                    self.log.push(&self.clean.push(&chunk[..length]));
                    (self.live)(&chunk[..length]);
                    if stopped.is_some_and(|since| since.left(DRAIN).is_zero()) {
                        return;
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            if stopped.is_some() {
                return;
            }
            let mut fds =
                [PollFd::new(&self.output, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
            // An interrupted poll is repeated by the loop.
            if poll(&mut fds, None).is_ok() && !fds[1].revents().is_empty() {
                stopped = Some(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        dir: tempfile::TempDir,
        log: Log,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let log = Log::create(&dir.path().join("log")).unwrap();
            Self { dir, log }
        }

        fn start(&self, script: &str) -> Service {
            let value = format!("test-{}", self.dir.path().display());
            let env = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("SERVICE_MARK", &value)];
            let call = Call::new("bash", self.dir.path()).args(["-c", script]).envs(env);
            Service::start(&call, Some("SERVICE_MARK"), &self.log, Box::new(|_| {})).unwrap()
        }

        /// Waits until the log holds `text`, and returns the number behind it.
        fn number(&self, text: &str) -> i32 {
            let began = Instant::now();
            loop {
                let tail = self.log.tail(10_000);
                let line = tail.lines().find_map(|line| line.strip_prefix(text));
                if let Some(Ok(number)) = line.map(|line| line.trim().parse()) {
                    return number;
                }
                assert!(began.elapsed() < Duration::from_secs(20), "no {text:?} in {tail:?}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn is_alive(pid: i32) -> bool {
        survivors::process_of(pid).is_some_and(|process| !process.zombie)
    }

    const GRACE: Duration = Duration::from_secs(5);

    #[test]
    fn a_service_writes_to_its_log_and_hears_term() {
        let bench = Bench::new();
        let script = "trap 'echo bye; exit 0' TERM; echo pid $$; echo err >&2; \
                      while :; do sleep 0.01; done";
        let service = bench.start(script);
        let pid = bench.number("pid ");
        assert_eq!(service.ending(), None);
        assert_eq!(service.stop(GRACE, &Cancel::never()), 0);
        assert!(!is_alive(pid));
        let log = bench.log.tail(1000);
        assert!(log.contains("err\n") && log.ends_with("bye\n"), "{log:?}");
    }

    #[test]
    fn what_left_the_group_ends_too_and_is_asked_first() {
        let bench = Bench::new();
        let script = "setsid bash -c 'trap \"echo asked; exit\" TERM; echo pid $$; \
                      while :; do sleep 0.01; done' & while :; do sleep 1; done & exit 0";
        let service = bench.start(script);
        let pid = bench.number("pid ");
        assert!(service.processes().iter().any(|one| one.pid == pid));
        assert_eq!(service.stop(GRACE, &Cancel::never()), 0);
        assert!(!is_alive(pid));
        assert!(bench.log.tail(1000).contains("asked"), "{}", bench.log.tail(1000));
    }

    #[test]
    fn one_that_ignores_term_is_killed_after_its_grace() {
        let bench = Bench::new();
        let service = bench.start("trap '' TERM; echo pid $$; while :; do sleep 0.05; done");
        let pid = bench.number("pid ");
        let began = Instant::now();
        service.stop(Duration::from_millis(200), &Cancel::never());
        assert!(!is_alive(pid) && began.elapsed() >= Duration::from_millis(200));
    }

    #[test]
    fn one_that_is_stopped_by_a_signal_ends() {
        let bench = Bench::new();
        let service = bench.start("echo pid $$; kill -STOP $$; sleep 300");
        let pid = bench.number("pid ");
        let (began, grace) = (Instant::now(), Duration::from_secs(60));
        service.stop(grace, &Cancel::never());
        assert!(!is_alive(pid) && began.elapsed() < grace);
    }

    #[test]
    fn one_that_is_dropped_is_gone_with_what_left_it() {
        let bench = Bench::new();
        let service = bench.start("setsid sleep 300 & echo away $!; echo pid $$; sleep 300");
        let pids = [bench.number("away "), bench.number("pid ")];
        drop(service);
        assert!(pids.iter().all(|pid| !is_alive(*pid)));
    }

    #[test]
    fn its_ending_is_told_as_often_as_asked() {
        let bench = Bench::new();
        let service = bench.start("exit 7");
        while service.ending().is_none() {
            service.pause(Duration::from_secs(5), &Cancel::never());
        }
        assert_eq!(service.ending(), Some(Ending::Exited { code: 7 }));
        assert_eq!(service.ending(), Some(Ending::Exited { code: 7 }));
        assert_eq!(service.stop(GRACE, &Cancel::never()), 0);
    }

    #[test]
    fn a_log_never_takes_more_than_its_bound() {
        let bench = Bench::new();
        let service = bench.start("echo first; head -c 100000000 /dev/zero; echo; echo last");
        while service.ending().is_none() {
            service.pause(Duration::from_secs(5), &Cancel::never());
            assert!(std::fs::metadata(bench.log.path()).unwrap().len() <= MOST);
        }
        service.stop(GRACE, &Cancel::never());
        let log = std::fs::read(bench.log.path()).unwrap();
        assert!(log.len() as u64 <= MOST && log.starts_with(b"first\n"), "{}", log.len());
        assert!(log.ends_with(b"\nlast\n"));
        let text = String::from_utf8_lossy(&log[HEAD as usize..HEAD as usize + 50]).into_owned();
        let left_out: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
        let mark = text.find("...]").unwrap() as u64 + 5;
        assert_eq!(left_out + log.len() as u64 - mark, 100_000_012);
    }

    #[test]
    fn what_can_not_start_says_why() {
        let bench = Bench::new();
        let call = Call::new("no-such-tool", "/");
        let error = Service::start(&call, None, &bench.log, Box::new(|_| {})).unwrap_err();
        assert_eq!(error.to_string(), "`no-such-tool` is not installed, or not on PATH");
    }
}
