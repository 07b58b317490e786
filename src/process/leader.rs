//! The child that leads its process group: start, signals, end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitpid,
};

use crate::verdict::Ending;

use super::spawn::spawn;
use super::{Call, Stdin, Variables, started, survivors};

/// Where names are looked up when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A started child, alone in a process group of its number with what it starts.
///
/// Until it is reaped its number, and so that of the group, is nobody else's. Dropped before its
/// end, it is killed with its group and reaped.
#[derive(Debug)]
pub(super) struct Leader {
    pid: Pid,
    stdin: Option<PipeWriter>,
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
    /// Readable once the child has exited; none where the system has no such thing.
    exit: Option<OwnedFd>,
    over: bool,
}

impl Leader {
    /// Starts the call, its error stream going to `stderr`, or through a pipe where that is none.
    pub(super) fn start(call: &Call, stderr: Option<&File>, how: How<'_>) -> io::Result<Self> {
        let (input, feed) = match &call.stdin {
            Stdin::Null => (None, None),
            Stdin::Bytes(_) => {
                let (reader, writer) = pipe()?;
                (Some(OwnedFd::from(reader)), Some(writer))
            }
            Stdin::File(path) => {
                let file = File::open(path)
                    .map_err(|error| naming(&format!("can't read `{}`", path.display()), &error))?;
                (Some(OwnedFd::from(file)), None)
            }
        };
        let read = match &input {
            Some(input) => input.as_fd(),
            None => nothing()?.as_fd(),
        };
        let (stdout, out) = pipe()?;
        let (stderr, errors) = match stderr {
            Some(file) => (None, OwnedFd::from(file.try_clone()?)),
            None => {
                let (reader, writer) = pipe()?;
                (Some(reader), OwnedFd::from(writer))
            }
        };
        let pid = start_child(call, how, [read, out.as_fd(), errors.as_fd()])?;
        let (exit, stdout) = (exit_descriptor(pid), Some(stdout));
        Ok(Self { pid, stdin: feed, stdout, stderr, exit, over: false })
    }

    /// Returns this side of the child's stdin, stdout and stderr, each once and where it is a pipe.
    pub(super) fn pipes(&mut self) -> (Option<PipeWriter>, Option<PipeReader>, Option<PipeReader>) {
        (self.stdin.take(), self.stdout.take(), self.stderr.take())
    }

    /// Returns what becomes readable once the child has exited.
    pub(super) fn exit(&self) -> Option<BorrowedFd<'_>> {
        self.exit.as_ref().map(|fd| fd.as_fd())
    }

    /// Returns whether the child has exited, and leaves it unreaped.
    pub(super) fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match rustix::process::waitid(WaitId::Pid(self.pid), options) {
            Ok(status) => status.is_some(),
            Err(error) => error != Errno::INTR,
        }
    }

    /// Signals everything in the group.
    pub(super) fn signal(&self, signal: Signal) {
        // Nobody left to signal is what a signal is for.
        let _ = kill_process_group(self.pid, signal);
    }

    /// Returns whether anything but the child itself is alive in the group.
    pub(super) fn has_company(&self) -> bool {
        group_is_alive(self.pid)
    }

    /// Reaps a child that has exited and kills what is left of its group; returns how it ended,
    /// and whether something was left.
    pub(super) fn reap(&mut self) -> (Ending, bool) {
        // What is stopped can't exit, so that the group keeps its number beyond the leader's end
        // for as long as it has a member that could be killed.
        self.signal(Signal::STOP);
        let ending = wait(self.pid);
        self.forget();
        let leaked = match rustix::process::test_kill_process_group(self.pid) {
            Err(Errno::SRCH) => false,
            Ok(()) | Err(_) => {
                let leaked = group_is_alive(self.pid);
                self.signal(Signal::KILL);
                leaked
            }
        };
        (ending, leaked)
    }

    /// Gives up on a child that even KILL does not end: it hangs in the kernel.
    pub(super) fn abandon(&mut self) {
        self.forget();
    }

    /// Returns whether something in the group is stopped, as what reads from the terminal is.
    pub(super) fn is_stopped(&self) -> bool {
        survivors::any_stopped(self.pid.as_raw_nonzero().get())
    }

    fn forget(&mut self) {
        self.over = true;
        started::forget(self.pid.as_raw_nonzero().get());
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.over {
            self.signal(Signal::KILL);
            wait(self.pid);
            self.forget();
        }
    }
}

/// Waits for the child to end, reaps it, and returns how it ended.
pub(super) fn wait(pid: Pid) -> Ending {
    loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Err(Errno::INTR) | Ok(None) => {}
            Ok(Some((_, status))) => {
                return ending_of(status.exit_status(), status.terminating_signal());
            }
            Err(error) => {
                return Ending::CouldNotStart { why: format!("its end was lost: {error}") };
            }
        }
    }
}

/// Returns how a child ended of which the system tells this.
pub(super) fn ending_of(code: Option<i32>, signal: Option<i32>) -> Ending {
    match (code, signal) {
        (Some(code), _) => Ending::Exited { code },
        (None, signal) => Ending::Signalled { signal: signal.unwrap_or(0) },
    }
}

/// How a child is known to this process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct How<'a> {
    /// The mark in its environment; none where what it leaves is not looked for.
    pub(super) mark: Option<&'a str>,
    /// Whether it ends by itself once this process is gone.
    pub(super) follows: bool,
}

/// Returns what holds nothing to read. It is opened once: to open it for each child costs as much as a
/// pipe.
pub(super) fn nothing() -> io::Result<&'static File> {
    static NOTHING: OnceLock<File> = OnceLock::new();
    if let Some(file) = NOTHING.get() {
        return Ok(file);
    }
    let file = File::open("/dev/null").map_err(|error| naming("can't read `/dev/null`", &error))?;
    Ok(NOTHING.get_or_init(|| file))
}

fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    io::pipe().map_err(|error| naming("can't make a pipe", &error))
}

/// Starts the program of a call as the leader of a group, with these three streams.
pub(super) fn start_child(
    call: &Call,
    how: How<'_>,
    streams: [BorrowedFd<'_>; 3],
) -> io::Result<Pid> {
    // Looked up here: by a name alone std would fork instead of spawning, which costs the more the
    // larger this process is.
    let program = find(call)?;
    started::start(how.follows, || spawn(&program, call, how.mark, streams)).map_err(|error| {
        // Asked only now: most directories are there.
        if call.dir.is_dir() {
            return naming(&format!("can't start `{}`", program.display()), &error);
        }
        let message = format!("the directory `{}` is not there", call.dir.display());
        io::Error::new(io::ErrorKind::NotFound, message)
    })
}

fn naming(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}{}", advice(error)))
}

/// Returns what to do about an error of the system that is about this machine and not about the program, as
/// the rest of a message; empty where there is nothing to add.
pub fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => "; raise the limit of open files with `ulimit -n`",
        Some(Errno::NFILE) => "; the machine has no file descriptor left, raise `fs.file-max`",
        Some(Errno::AGAIN) => {
            "; raise the limit of processes with `ulimit -u`, or that of the container"
        }
        Some(Errno::NOMEM) => "; the machine, or the container, has no memory left",
        _ => "",
    }
}

/// Finds the program of a call, as an absolute path.
fn find(call: &Call) -> io::Result<PathBuf> {
    resolve(&call.program, &call.dir, &call.env).ok_or_else(|| not_found(&call.program, &call.env))
}

/// Returns why [`resolve`] finds no program called `name`: it is nowhere on the `PATH`, or may not be executed.
pub fn not_found(name: &OsStr, env: &Variables) -> io::Error {
    let shown = Path::new(name).display();
    match candidates(name, env).find(|file| file.is_file()) {
        Some(file) => io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("`{shown}` may not be executed: {}", file.display()),
        ),
        None => io::Error::new(
            io::ErrorKind::NotFound,
            format!("`{shown}` is not installed, or not on PATH"),
        ),
    }
}

/// Returns the file that is started as `program` in `dir`: a path is taken from there, and need not be
/// there; a name is looked up as [`find_program`] does.
pub fn resolve(program: &OsStr, dir: &Path, env: &Variables) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(dir.join(program));
    }
    find_program(program, env)
}

/// Returns the executable file that `name` means on the `PATH` of `env`, the usual places where
/// there is none. Entries that are no absolute paths are passed over.
pub fn find_program(name: &OsStr, env: &Variables) -> Option<PathBuf> {
    candidates(name, env).find(|file| {
        file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
    })
}

/// Returns where `name` is looked for, in that order.
fn candidates(name: &OsStr, env: &Variables) -> impl Iterator<Item = PathBuf> {
    let path = env.get(OsStr::new("PATH")).map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(move |directory| directory.join(name))
}

#[cfg(target_os = "linux")]
pub(super) fn exit_descriptor(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn exit_descriptor(_: Pid) -> Option<OwnedFd> {
    None
}

/// Returns whether a process of the group is alive that does not lead it; true where the system
/// does not say.
fn group_is_alive(group: Pid) -> bool {
    let group = group.as_raw_nonzero().get();
    let table = survivors::table();
    table.is_empty()
        || table.iter().any(|one| one.group == group && one.pid != group && !one.zombie)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_may_not_be_executed_is_not_called_missing() {
        let dir = tempfile::tempdir().unwrap();
        let env = Variables::from([("PATH".into(), dir.path().into())]);
        let why = || not_found("tool".as_ref(), &env);
        assert_eq!(why().kind(), io::ErrorKind::NotFound);
        let file = dir.path().join("tool");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(why().kind(), io::ErrorKind::PermissionDenied);
        let said = Leader::start(&Call::new("tool", "/").env(env.clone()), None, How::default());
        let said = said.unwrap_err().to_string();
        assert_eq!(said, format!("`tool` may not be executed: {}", file.display()));
    }

    #[test]
    fn limits_of_the_machine_come_with_what_to_do() {
        let said = |error: Errno| naming("can't start `x`", &io::Error::from(error)).to_string();
        assert!(said(Errno::MFILE).ends_with("`ulimit -n`"), "{}", said(Errno::MFILE));
        assert!(said(Errno::AGAIN).contains("`ulimit -u`"), "{}", said(Errno::AGAIN));
        assert!(said(Errno::ACCESS).ends_with("(os error 13)"), "{}", said(Errno::ACCESS));
    }
}
