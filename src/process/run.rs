//! Runs one child to its end.

use std::io::{PipeReader, PipeWriter, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::Signal;

use crate::clock::Instant;
use crate::verdict::Ending;

use super::capture::Buffer;
use super::leader::{How, Leader};
use super::pause::Stopwatch;
use super::strays::Watch;
use super::{Call, Cancel, Captured, Stdin, Stream, started};

/// How often a child is looked at where the system can't tell of its end by itself.
const GLANCE: Duration = Duration::from_millis(20);
/// For how long a child's output is left in its pipes at first: one that ends by then wakes this
/// process once, and not at the end of each stream as well, which is a fiftieth of what it costs.
const NEW: Duration = Duration::from_millis(2);
/// How long output is waited for once the child has ended, after each chunk and in all.
const DRAIN_CHUNK: Duration = Duration::from_millis(100);
const DRAIN: Duration = Duration::from_secs(2);
/// How long a killed child may take to vanish before it is given up.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// How much is read at a time, until a child turns out to write much, and then.
/// Most write little; what is larger than this the allocator does not keep at hand.
const CHUNK: usize = 1_000;
const LARGE_CHUNK: usize = 64 * 1024;

/// What came of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    /// What it wrote to its standard output.
    pub stdout: Captured,
    /// What it wrote to its standard error.
    pub stderr: Captured,
    /// The time from its start to its end.
    pub duration: Duration,
    /// Whether it exited by itself and left processes alive, or its output open.
    pub leaked: bool,
    /// Whether something of its group was stopped when its time was up.
    pub stopped: bool,
}

/// Runs the call to its end and hands on what it writes as it comes.
///
/// Never fails: a child that could not be started is an ending too. Once it has ended, or its time
/// is up, or the token is tripped, nothing of its group stays alive: TERM, the grace, KILL.
/// Output is read until all writers are gone, and for 2 s at most once the child is.
pub fn run(call: &Call, cancel: &Cancel, live: &mut dyn FnMut(Stream, &[u8])) -> Finished {
    if cancel.tripped().is_some() {
        return Finished::never_began(Ending::Interrupted);
    }
    let watch = call.ends_strays.then(Watch::begin);
    let started = Stopwatch::start();
    let how = How { mark: watch.as_ref().map(Watch::mark), follows: false };
    let mut leader = match Leader::start(call, None, how) {
        Ok(leader) => leader,
        Err(error) => {
            return Finished::never_began(Ending::CouldNotStart { why: error.to_string() });
        }
    };
    let mut pipes = Pipes::of(&mut leader, call);
    let mut heard = started.clone();
    let mut stopped = false;
    // The ending that the factory decided on, and when.
    let mut forced: Option<(Ending, Instant)> = None;
    let mut killed: Option<Instant> = None;
    // Nobody looks at a child that has only just been started.
    let mut exited = false;
    let ended = loop {
        if exited {
            pipes.stdin = None;
        }
        match &forced {
            None if exited => break true,
            None => {
                if let Some(ending) = due(call, cancel, &started, &heard) {
                    stopped = leader.is_stopped();
                    leader.signal(Signal::TERM);
                    // A stopped process hears TERM only once it goes on.
                    leader.signal(Signal::CONT);
                    forced = Some((ending, Instant::now()));
                    continue;
                }
            }
            // The leader may be gone before those that it started have tidied up.
            Some((_, since)) => {
                if exited && (killed.is_some() || !leader.has_company()) {
                    break true;
                }
                if killed.is_none() && (since.left(call.grace).is_zero() || cancel.is_urgent()) {
                    leader.signal(Signal::KILL);
                    killed = Some(Instant::now());
                    continue;
                }
                if killed.is_some_and(|since| since.left(LAST_WAIT).is_zero()) {
                    break false;
                }
            }
        }
        let mut wait = Duration::from_secs(3600);
        if forced.is_some() || leader.exit().is_none() {
            wait = GLANCE;
        } else {
            for left in [
                call.limit.map(|limit| started.left(limit)),
                call.idle.map(|idle| heard.left(idle)),
            ] {
                wait = wait.min(left.unwrap_or(wait));
            }
        }
        let wakers =
            [leader.exit().filter(|_| !exited), cancel.wake().filter(|_| forced.is_none())];
        let is_new = forced.is_none() && leader.exit().is_some() && started.elapsed() < NEW;
        let turn = if is_new {
            pipes.feed_within(wait.min(NEW), wakers)
        } else {
            pipes.turn(wait, wakers, live)
        };
        if turn.heard {
            heard = Stopwatch::start();
        }
        exited = exited || turn.exited || leader.has_exited();
    };
    let duration = started.elapsed();
    let (ending, leaked) = if ended {
        leader.reap()
    } else {
        leader.abandon();
        (Ending::Signalled { signal: Signal::KILL.as_raw() }, true)
    };
    let leaked = watch.is_some_and(|watch| watch.end()) || leaked;
    // Most have written little, or nothing: what there is, and the end.
    pipes.read(live);
    pipes.read(live);
    pipes.drain(live);
    if pipes.is_open() {
        // A child of another thread has copies of this one's pipes from its fork to its exec, and on a busy
        // machine that is long. Once none is being started, whoever holds them is no child of ours.
        started::look(|_| ());
        pipes.drain(live);
    }
    let leaked = (leaked && forced.is_none()) || pipes.is_open();
    Finished {
        ending: forced.map_or(ending, |(ending, _)| ending),
        stdout: pipes.stdout.finish(),
        stderr: pipes.stderr.finish(),
        duration,
        leaked,
        stopped,
    }
}

impl Finished {
    /// Returns what came of a call that never began.
    pub(crate) fn never_began(ending: Ending) -> Self {
        Self {
            ending,
            stdout: Captured::default(),
            stderr: Captured::default(),
            duration: Duration::ZERO,
            leaked: false,
            stopped: false,
        }
    }
}

/// Returns the ending that the factory has to bring about now, if any.
fn due(call: &Call, cancel: &Cancel, started: &Stopwatch, heard: &Stopwatch) -> Option<Ending> {
    if cancel.tripped().is_some() {
        return Some(Ending::Interrupted);
    }
    match (call.limit, call.idle) {
        (Some(limit), _) if started.left(limit).is_zero() => Some(Ending::TimedOut { limit }),
        (_, Some(limit)) if heard.left(limit).is_zero() => Some(Ending::Idle { limit }),
        _ => None,
    }
}

/// This side of a child's pipes.
struct Pipes<'a> {
    /// What the child reads, and what of it is still to be written.
    stdin: Option<(PipeWriter, &'a [u8])>,
    stdout: Source<PipeReader>,
    stderr: Source<PipeReader>,
    chunk: Vec<u8>,
}

impl<'a> Pipes<'a> {
    fn of(leader: &mut Leader, call: &'a Call) -> Self {
        let (stdin, stdout, stderr) = leader.pipes();
        let stdin = match (&call.stdin, stdin) {
            (Stdin::Bytes(bytes), Some(pipe)) => {
                set_nonblocking(&pipe);
                Some((pipe, bytes.as_slice()))
            }
            _ => None,
        };
        Self {
            stdin,
            stdout: Source::new(stdout, call),
            stderr: Source::new(stderr, call),
            chunk: vec![0; CHUNK],
        }
    }

    fn is_open(&self) -> bool {
        self.stdout.pipe.is_some() || self.stderr.pipe.is_some()
    }

    /// Waits until the child reads or one of `wakers`, its exit being the first, has something to say,
    /// `wait` at most; moves what it reads.
    fn feed_within(&mut self, wait: Duration, wakers: [Option<BorrowedFd<'_>>; 2]) -> Turn {
        let input = self.stdin.as_ref().map(|(pipe, _)| pipe.as_fd());
        let ready = ready(wait, [None, None], input, wakers);
        if ready.input {
            self.feed();
        }
        Turn { heard: false, exited: ready.exited }
    }

    /// Reads until all writers are gone, or nothing comes any more.
    fn drain(&mut self, live: &mut dyn FnMut(Stream, &[u8])) {
        let since = Instant::now();
        while self.is_open() && !since.left(DRAIN).is_zero() {
            if !self.turn(DRAIN_CHUNK.min(since.left(DRAIN)), [None, None], live).heard {
                break;
            }
        }
    }

    /// Reads from each output once, as far as there is something.
    fn read(&mut self, live: &mut dyn FnMut(Stream, &[u8])) {
        self.stdout.read(&mut self.chunk, &mut |bytes| live(Stream::Stdout, bytes));
        self.stderr.read(&mut self.chunk, &mut |bytes| live(Stream::Stderr, bytes));
    }

    /// Waits until a pipe or one of `wakers`, the child's exit being the first, has something to say,
    /// `wait` at most; moves what can be moved.
    fn turn(
        &mut self,
        wait: Duration,
        wakers: [Option<BorrowedFd<'_>>; 2],
        live: &mut dyn FnMut(Stream, &[u8]),
    ) -> Turn {
        let input = self.stdin.as_ref().map(|(pipe, _)| pipe.as_fd());
        let outputs = [
            self.stdout.pipe.as_ref().map(|pipe| pipe.as_fd()),
            self.stderr.pipe.as_ref().map(|pipe| pipe.as_fd()),
        ];
        let ready = ready(wait, outputs, input, wakers);
        if ready.input {
            self.feed();
        }
        let mut heard = false;
        if ready.outputs[0] {
            heard |= self.stdout.read(&mut self.chunk, &mut |bytes| live(Stream::Stdout, bytes));
        }
        if ready.outputs[1] {
            heard |= self.stderr.read(&mut self.chunk, &mut |bytes| live(Stream::Stderr, bytes));
        }
        Turn { heard, exited: ready.exited }
    }

    fn feed(&mut self) {
        let Some((pipe, rest)) = &mut self.stdin else { return };
        match pipe.write(rest) {
            Ok(written) => *rest = &rest[written..],
            Err(error) if is_for_later(&error) => return,
            // The child has closed its end: it wants no more.
            Err(_) => *rest = &[],
        }
        if rest.is_empty() {
            self.stdin = None;
        }
    }
}

struct Source<P> {
    pipe: Option<P>,
    buffer: Buffer,
}

impl<P: AsFd + std::io::Read> Source<P> {
    fn new(pipe: Option<P>, call: &Call) -> Self {
        if let Some(pipe) = &pipe {
            set_nonblocking(pipe);
        }
        Self { pipe, buffer: Buffer::new(call.keep) }
    }

    /// Reads one chunk; returns whether there was one, or the end.
    fn read(&mut self, chunk: &mut Vec<u8>, live: &mut dyn FnMut(&[u8])) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        match pipe.read(chunk) {
            Ok(length @ 1..) => {
                self.buffer.push(&chunk[..length]);
                live(&chunk[..length]);
                if length == chunk.len() {
                    chunk.resize(LARGE_CHUNK, 0);
                }
            }
            Err(error) if is_for_later(&error) => return false,
            Ok(0) | Err(_) => self.pipe = None,
        }
        true
    }

    fn finish(self) -> Captured {
        self.buffer.finish()
    }
}

fn is_for_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted)
}

fn set_nonblocking(pipe: &impl AsFd) {
    // A pipe always takes the flag.
    let _ = ioctl_fionbio(pipe, true);
}

/// What a wait came to.
struct Turn {
    /// Whether the child wrote something or closed a stream.
    heard: bool,
    /// Whether it has exited, as far as that was waited for.
    exited: bool,
}

struct Ready {
    outputs: [bool; 2],
    input: bool,
    exited: bool,
}

/// Polls, and goes on doing so when a signal comes in between: what it means, a waker tells.
fn ready(
    wait: Duration,
    outputs: [Option<BorrowedFd<'_>>; 2],
    input: Option<BorrowedFd<'_>>,
    wakers: [Option<BorrowedFd<'_>>; 2],
) -> Ready {
    let [first, second] = outputs;
    let all = [first, second, input, wakers[0], wakers[1]];
    let mut places = [None; 5];
    let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(all.len());
    for (at, fd) in all.into_iter().enumerate() {
        if let Some(fd) = fd {
            let flags = if at == 2 { PollFlags::OUT } else { PollFlags::IN };
            places[at] = Some(fds.len());
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
    }
    let timeout = Timespec::try_from(wait).ok();
    let polled = loop {
        match poll(&mut fds, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            other => break other.is_ok(),
        }
    };
    let is_ready = |at: usize| polled && places[at].is_some_and(|at| !fds[at].revents().is_empty());
    Ready { outputs: [is_ready(0), is_ready(1)], input: is_ready(2), exited: is_ready(3) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Keep, Signal as Cause, mark};

    /// Long enough for a machine that is busy elsewhere, and shorter than what must not be waited for.
    const SOON: Duration = Duration::from_secs(30);

    /// Marked as a child of this runner that is nobody's stray: while another test watches for its own, it ends
    /// whatever was left to this process without a mark.
    fn bash(script: &str) -> Call {
        let mark = [(mark::CHILD, format!("{}.none", mark::runner()))];
        Call::new("bash", "/").args(["-c", script]).envs(mark).grace(Duration::from_millis(300))
    }

    fn finish(call: &Call) -> Finished {
        run(call, &Cancel::never(), &mut |_, _| {})
    }

    fn check(call: &Call, ending: Ending, stdout: &str, stderr: &str) -> Finished {
        let finished = finish(call);
        let said = (finished.stdout.text(), finished.stderr.text());
        assert_eq!((finished.ending.clone(), said), (ending, (stdout.into(), stderr.into())));
        finished
    }

    fn exited(code: i32) -> Ending {
        Ending::Exited { code }
    }

    /// Waits for the process whose number a script wrote to be gone.
    fn assert_gone(finished: &Finished) {
        let pid = finished.stdout.text().trim().to_owned();
        assert!(!pid.is_empty());
        let status = format!("/proc/{pid}/stat");
        let begin = Instant::now();
        while begin.elapsed() < SOON {
            match std::fs::read_to_string(&status) {
                Ok(stat) if !stat.contains(") Z ") => {}
                _ => return,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("process {pid} is still alive");
    }

    #[test]
    fn a_child_says_its_code_and_both_streams() {
        let finished = check(&bash("echo out; echo err >&2; exit 7"), exited(7), "out\n", "err\n");
        assert!(!finished.leaked);
    }

    #[test]
    fn a_signal_is_told_from_a_code() {
        check(&bash("kill -SEGV $$"), Ending::Signalled { signal: 11 }, "", "");
    }

    #[test]
    fn a_child_has_the_given_environment_and_no_other() {
        let call = Call::new("env", "/").envs([("PATH", "/usr/bin:/bin"), ("A", "b")]);
        check(&call, exited(0), "A=b\nPATH=/usr/bin:/bin\n", "");
    }

    #[test]
    fn a_relative_entry_of_path_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy("/bin/true", dir.path().join("tool")).unwrap();
        let finished = finish(&Call::new("tool", dir.path()).envs([("PATH", ".")]));
        assert!(matches!(finished.ending, Ending::CouldNotStart { .. }));
        check(&Call::new("./tool", dir.path()), exited(0), "", "");
    }

    #[test]
    fn what_could_not_start_says_why() {
        for (call, why) in [
            (Call::new("no-such-tool", "/"), "`no-such-tool` is not installed, or not on PATH"),
            (Call::new("true", "/no/such"), "the directory `/no/such` is not there"),
            (
                Call::new("/etc/passwd", "/"),
                "can't start `/etc/passwd`: Permission denied (os error 13)",
            ),
            (
                Call::new("true", "/").stdin(Stdin::File("/no/such".into())),
                "can't read `/no/such`: No such file or directory (os error 2)",
            ),
        ] {
            check(&call, Ending::CouldNotStart { why: why.to_owned() }, "", "");
        }
    }

    #[test]
    fn an_argument_with_a_nul_could_not_start() {
        assert!(matches!(finish(&bash("a\0b")).ending, Ending::CouldNotStart { .. }));
    }

    #[test]
    fn a_child_reads_nothing_unless_it_is_given_something() {
        check(&bash("cat"), exited(0), "", "");
        check(&bash("cat").stdin(Stdin::Bytes(b"hello".to_vec())), exited(0), "hello", "");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from a file").unwrap();
        check(&bash("cat").stdin(Stdin::File(file.path().into())), exited(0), "from a file", "");
    }

    #[test]
    fn input_and_output_larger_than_any_pipe_pass_each_other() {
        let bytes = vec![b'x'; 3_000_000];
        let finished = finish(&bash("cat").stdin(Stdin::Bytes(bytes)));
        assert_eq!((finished.ending, finished.stdout.total), (exited(0), 3_000_000));
    }

    #[test]
    fn input_that_nobody_reads_is_no_failure() {
        check(&bash("exec 0<&-; true").stdin(Stdin::Bytes(vec![0; 1_000_000])), exited(0), "", "");
    }

    #[test]
    fn ten_megabytes_are_counted_and_not_kept() {
        let call = bash("head -c 10000000 /dev/zero; echo end").keep(Keep { head: 10, tail: 4 });
        let finished = finish(&call);
        assert_eq!(finished.stdout.total, 10_000_004);
        assert_eq!(finished.stdout.bytes(), b"\0\0\0\0\0\0\0\0\0\0end\n");
    }

    #[test]
    fn output_comes_live_and_in_order() {
        let mut seen = Vec::new();
        run(&bash("echo a; sleep 0.1; echo b >&2"), &Cancel::never(), &mut |stream, bytes| {
            seen.push((stream, bytes.to_vec()));
        });
        let expected = vec![(Stream::Stdout, b"a\n".to_vec()), (Stream::Stderr, b"b\n".to_vec())];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_timeout_ends_grandchildren_too() {
        let limit = Duration::from_millis(300);
        let finished = finish(&bash("(sleep 300 & echo $!; wait); true").limit(limit));
        assert_eq!(finished.ending, Ending::TimedOut { limit });
        assert!(finished.duration < SOON, "{:?}", finished.duration);
        assert_gone(&finished);
    }

    #[test]
    fn a_child_that_ignores_term_is_killed_after_its_grace() {
        let limit = Duration::from_millis(200);
        let script = "trap '' TERM; echo $$; while :; do sleep 0.05; done";
        let finished = finish(&bash(script).limit(limit));
        assert_eq!(finished.ending, Ending::TimedOut { limit });
        assert!(finished.duration >= Duration::from_millis(500), "{:?}", finished.duration);
        assert_gone(&finished);
    }

    #[test]
    fn a_grandchild_has_its_grace_though_its_parent_is_gone() {
        let limit = Duration::from_millis(300);
        let tidy = "trap 'sleep 0.2; echo tidied; exit' TERM; while :; do sleep 0.02; done";
        let call = bash(&format!("({tidy}) & sleep 300"));
        let finished = finish(&call.limit(limit).grace(Duration::from_secs(10)));
        assert_eq!(finished.stdout.text(), "tidied\n");
        assert!(finished.duration < SOON, "{:?}", finished.duration);
    }

    #[test]
    fn a_stopped_child_is_ended_too() {
        let limit = Duration::from_millis(200);
        let finished = finish(&bash("kill -STOP $$").limit(limit));
        assert_eq!(finished.ending, Ending::TimedOut { limit });
        assert!(finished.duration < SOON, "{:?}", finished.duration);
    }

    #[test]
    fn what_a_child_leaves_in_the_background_is_killed_and_flagged() {
        for quiet in ["", ">/dev/null 2>&1"] {
            let finished = finish(&bash(&format!("sleep 300 {quiet} & echo $!")));
            assert_eq!(finished.ending, exited(0));
            assert!(finished.leaked, "{quiet}");
            assert!(finished.duration < SOON);
            assert_gone(&finished);
        }
    }

    #[test]
    fn a_background_child_that_has_ended_is_no_leak() {
        for _ in 0..10 {
            assert!(!finish(&bash("true & exec sleep 0.1")).leaked);
        }
    }

    #[test]
    fn output_held_open_outside_the_group_is_not_waited_for() {
        let begin = Instant::now();
        let finished = finish(&bash("setsid sleep 40 & sleep 0.2; echo done"));
        assert!(begin.elapsed() < SOON);
        assert_eq!(finished.stdout.text(), "done\n");
        assert!(finished.leaked);
    }

    #[test]
    fn a_child_that_another_thread_is_starting_is_no_leak_of_this_one() {
        let (begun, dir) = (std::sync::OnceLock::new(), tempfile::tempdir().unwrap());
        let copied = dir.path().join("copied");
        let script = format!("echo $$; until [ -e {} ]; do sleep 0.01; done", copied.display());
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                run(&bash(&script), &Cancel::never(), &mut |_, bytes| {
                    begun.get_or_init(|| String::from_utf8_lossy(bytes).trim().to_owned());
                })
            });
            // As between fork and exec: it holds a copy of the first one's pipe, long after that is over.
            let started = started::start(false, || {
                let pid = begun.wait();
                let copy = std::fs::OpenOptions::new()
                    .write(true)
                    .open(format!("/proc/{pid}/fd/1"))
                    .unwrap();
                std::fs::write(&copied, "").unwrap();
                std::thread::sleep(Duration::from_millis(800));
                drop(copy);
                Err(std::io::ErrorKind::NotFound.into())
            });
            assert!(started.is_err());
            let finished = first.join().unwrap();
            assert_eq!(finished.ending, exited(0));
            assert!(!finished.leaked, "{finished:?}");
        });
    }

    /// Waits until the process whose number was written is gone.
    #[track_caller]
    fn assert_stray_gone(script: &str) {
        let finished = finish(&bash(script).ending_strays().limit(Duration::from_secs(20)));
        assert!(finished.leaked, "{finished:?}");
        assert!(finished.duration < SOON, "{finished:?}");
        assert_gone(&finished);
    }

    #[test]
    fn what_makes_a_session_of_its_own_is_ended_too() {
        assert_stray_gone("setsid sleep 300 & echo $!; sleep 0.1");
        assert_stray_gone("setsid sleep 300 >/dev/null 2>&1 & echo $!; sleep 0.1");
    }

    #[test]
    fn a_daemon_that_forked_twice_is_ended_too() {
        assert_stray_gone("(setsid bash -c 'sleep 300 & echo $!; exec sleep 0.05' &); sleep 0.3");
    }

    #[test]
    fn a_family_of_strays_is_ended_to_the_last() {
        let family = "setsid bash -c 'setsid sleep 300 & echo $!; wait' & sleep 0.2";
        assert_stray_gone(family);
    }

    #[test]
    fn a_stray_ends_at_the_limit_as_well() {
        let limit = Duration::from_millis(300);
        let call = bash("setsid sleep 300 & echo $!; wait").ending_strays().limit(limit);
        let finished = finish(&call);
        assert_eq!(finished.ending, Ending::TimedOut { limit });
        assert_gone(&finished);
    }

    #[test]
    fn strays_of_one_child_are_no_business_of_another() {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                finish(&bash("setsid sleep 30 & a=$!; sleep 1; kill -0 $a").ending_strays())
            });
            std::thread::sleep(Duration::from_millis(200));
            for _ in 0..20 {
                finish(&bash("setsid sleep 300 & sleep 0.02").ending_strays());
            }
            assert_eq!(other.join().unwrap().ending, exited(0));
        });
    }

    #[test]
    fn a_child_that_stops_itself_is_said_to_have_been_stopped() {
        let limit = Duration::from_millis(200);
        assert!(finish(&bash("kill -STOP $$").limit(limit)).stopped);
        assert!(finish(&bash("(kill -STOP $BASHPID; true); true").limit(limit)).stopped);
        assert!(!finish(&bash("sleep 300; true").limit(limit)).stopped);
    }

    #[test]
    fn silence_is_not_a_wall_clock() {
        let idle = Duration::from_millis(700);
        check(
            &bash("for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done").idle(idle),
            exited(0),
            "1\n2\n3\n4\n5\n6\n",
            "",
        );
        check(&bash("echo a; sleep 300").idle(idle), Ending::Idle { limit: idle }, "a\n", "");
    }

    #[test]
    fn a_flood_does_not_outrun_its_limit() {
        let limit = Duration::from_millis(300);
        let finished =
            finish(&Call { keep: Keep { head: 0, tail: 10 }, ..bash("yes").limit(limit) });
        assert_eq!(finished.ending, Ending::TimedOut { limit });
        assert!(finished.duration < SOON);
    }

    #[test]
    fn a_tripped_token_ends_the_child_and_keeps_its_output() {
        let cancel = Cancel::new().unwrap();
        let finished = run(&bash("echo begun; sleep 300"), &cancel, &mut |_, _| {
            cancel.trip(Cause::Interrupt);
        });
        assert_eq!(finished.ending, Ending::Interrupted);
        assert_eq!(finished.stdout.text(), "begun\n");
        assert_eq!(run(&bash("true"), &cancel, &mut |_, _| {}).ending, Ending::Interrupted);
    }

    #[test]
    fn a_second_signal_leaves_no_grace() {
        let cancel = Cancel::new().unwrap();
        let begin = Instant::now();
        let script = "trap '' TERM; echo begun; while :; do sleep 0.05; done";
        let call = bash(script).grace(Duration::from_secs(60));
        let finished = run(&call, &cancel, &mut |_, _| {
            cancel.trip(Cause::Interrupt);
            cancel.trip(Cause::Interrupt);
        });
        assert_eq!(finished.ending, Ending::Interrupted);
        assert!(begin.elapsed() < SOON);
    }

    #[test]
    fn a_token_reaches_children_of_many_threads() {
        let cancel = Cancel::new().unwrap();
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| run(&bash("sleep 300"), &cancel, &mut |_, _| {}));
            }
            std::thread::sleep(Duration::from_millis(200));
            cancel.trip(Cause::Terminate);
        });
        assert!(begin.elapsed() < SOON);
    }
}
