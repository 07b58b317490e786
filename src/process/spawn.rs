//! Starting a program as the leader of a group of its own.
//!
//! Where the child is to stand in the directory of this process, `posix_spawn` is called by itself. Elsewhere
//! `std` does it, which knows how to change directories; it copies each variable three times for every
//! child, and with the other directory that is a hundredth of what starting bash costs.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::process::Pid;

use super::mark::CHILD;
use super::{Call, Variables};

/// Starts `program`, the file that `call` names, with these streams and, where there is a mark, with that in
/// its environment; again while the file, just written, is still open for writing in a child that another
/// thread is about to start.
pub(super) fn spawn(
    program: &Path,
    call: &Call,
    mark: Option<&str>,
    streams: [BorrowedFd<'_>; 3],
) -> io::Result<Pid> {
    let once = || {
        if HERE.as_ref().is_some_and(|here| here.is(&call.dir)) {
            spawn_here(program, call, mark, streams)
        } else {
            spawn_there(program, call, mark, streams)
        }
    };
    for _ in 0..20 {
        match once() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
    once()
}

/// The directory of this process, in which it stays; none where it has none.
static HERE: LazyLock<Option<Here>> = LazyLock::new(Here::find);

struct Here {
    path: PathBuf,
    dir: OwnedFd,
}

impl Here {
    #[expect(clippy::disallowed_methods, reason = "what counts is what a child would inherit")]
    fn find() -> Option<Self> {
        let path = std::env::current_dir().ok()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Some(Self { dir: open(".", flags, Mode::empty()).ok()?, path })
    }

    /// Returns whether `dir` is this directory. One that was removed is not, and something else may have
    /// taken its place.
    fn is(&self, dir: &Path) -> bool {
        self.path == dir && fstat(&self.dir).is_ok_and(|found| found.st_nlink > 0)
    }
}

fn spawn_here(
    program: &Path,
    call: &Call,
    mark: Option<&str>,
    streams: [BorrowedFd<'_>; 3],
) -> io::Result<Pid> {
    let mut actions = PosixSpawnFileActions::init()?;
    for (number, stream) in (0..).zip(streams) {
        actions.add_dup2(stream.as_raw_fd(), number)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_pgroup(nix::unistd::Pid::from_raw(0))?;
    // As for every child of a Rust program: it ignores what its pipes say, and a child does not.
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    let args = std::iter::once(&call.program).chain(&call.args);
    let args: Vec<CString> =
        args.map(|arg| CString::new(arg.as_bytes())).collect::<Result<_, _>>()?;
    let block = block(&call.env)?;
    let mark = mark.map(|mark| variable(OsStr::new(CHILD), OsStr::new(mark))).transpose()?;
    let mut env: Vec<&CStr> = Vec::with_capacity(block.len() + 1);
    // Of two of one name nobody knows which counts.
    let is_mark = |one: &&CStr| {
        one.to_bytes().strip_prefix(CHILD.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
    };
    let unmarked = block.iter().map(CString::as_c_str);
    env.extend(unmarked.filter(|one| mark.is_none() || !is_mark(one)));
    env.extend(mark.as_deref());
    let pid = posix_spawn(program, &actions, &attributes, &args, &env)?;
    Pid::from_raw(pid.as_raw()).ok_or_else(|| io::Error::other("the system gave it no number"))
}

/// Returns the environment as a child takes it. That of the last call is kept: most children of a
/// judgement have the same.
fn block(env: &Arc<Variables>) -> io::Result<Arc<Vec<CString>>> {
    type Last = Option<(Arc<Variables>, Arc<Vec<CString>>)>;
    static LAST: Mutex<Last> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, block)) = &*last
        && Arc::ptr_eq(of, env)
    {
        return Ok(Arc::clone(block));
    }
    let block = env.iter().map(|(name, value)| variable(name, value));
    let block = Arc::new(block.collect::<io::Result<Vec<_>>>()?);
    *last = Some((Arc::clone(env), Arc::clone(&block)));
    Ok(block)
}

fn variable(name: &OsStr, value: &OsStr) -> io::Result<CString> {
    Ok(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?)
}

fn spawn_there(
    program: &Path,
    call: &Call,
    mark: Option<&str>,
    streams: [BorrowedFd<'_>; 3],
) -> io::Result<Pid> {
    let [stdin, stdout, stderr] = streams.map(|stream| stream.try_clone_to_owned());
    let mut command = command(program, call);
    command
        .envs(mark.map(|mark| (CHILD, mark)))
        .process_group(0)
        .stdin(Stdio::from(stdin?))
        .stdout(Stdio::from(stdout?))
        .stderr(Stdio::from(stderr?));
    // It neither ends nor is waited for by being dropped.
    Ok(Pid::from_child(&command.spawn()?))
}

/// Returns what starts `program` with the arguments, the directory and the environment of `call`, on the
/// streams of this process and in its group.
pub(super) fn command(program: &Path, call: &Call) -> Command {
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts children")]
    let mut command = Command::new(program);
    command
        .arg0(&call.program)
        .args(&call.args)
        .current_dir(&call.dir)
        .env_clear()
        .envs(call.env.as_ref());
    command
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::leader::{nothing, wait};
    use super::*;
    use crate::verdict::Ending;

    fn call(script: &str) -> Call {
        Call::new("bash", &HERE.as_ref().unwrap().path)
            .args(["-c", script, "an $argument\n"])
            .envs([("PATH", "/usr/bin:/bin"), ("A", "1 = 2"), ("E", ""), (CHILD, "old")])
    }

    type Way = fn(&Path, &Call, Option<&str>, [BorrowedFd<'_>; 3]) -> io::Result<Pid>;

    /// Starts a call in this way and returns what it wrote, and how it ended.
    fn output(way: Way, call: &Call, mark: Option<&str>) -> (String, Ending) {
        let (mut out, to) = io::pipe().unwrap();
        let streams = [nothing().unwrap().as_fd(), to.as_fd(), to.as_fd()];
        let pid = way(Path::new("/bin/bash"), call, mark, streams).unwrap();
        drop(to);
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        (text, wait(pid))
    }

    #[test]
    fn a_child_is_the_same_by_either_way() {
        let call = call(
            "tr '\\0' '\\n' </proc/$$/cmdline; env | sort; pwd; cat; echo err >&2; ls /proc/$$/fd
             ps -o pgid= -p $$ | grep -qw $$ && echo leads; exit 7",
        );
        for mark in [None, Some("new")] {
            let here = output(spawn_here, &call, mark);
            assert_eq!(here, output(spawn_there, &call, mark));
            let (text, ending) = here;
            assert_eq!(ending, Ending::Exited { code: 7 });
            let mark = format!("\n{CHILD}={}\n", mark.unwrap_or("old"));
            for part in ["bash\n-c\n", "an $argument\n", "A=1 = 2\n", "E=\n", "leads", &mark] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert_eq!(text.matches(CHILD).count(), 1, "{text}");
        }
        // Those of bash itself come and go.
        let signals = self::call("exec grep -E 'Sig(Blk|Ign)' /proc/self/status");
        assert_eq!(output(spawn_here, &signals, None), output(spawn_there, &signals, None));
    }

    #[test]
    fn what_can_not_be_started_is_told_the_same_by_either_way() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "#!/no/such/program\n").unwrap();
        let kinds = |program: &Path, call: &Call| {
            [spawn_here as Way, spawn_there].map(|way| {
                let nothing = nothing().unwrap().as_fd();
                way(program, call, None, [nothing; 3]).unwrap_err().kind()
            })
        };
        let same = |program: &Path, call: &Call, kind| {
            assert_eq!(kinds(program, call), [kind; 2], "{}", program.display());
        };
        same(Path::new("/no/such"), &call(""), io::ErrorKind::NotFound);
        same(&file, &call(""), io::ErrorKind::PermissionDenied);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        same(&file, &call(""), io::ErrorKind::NotFound);
        same(Path::new("/bin/true"), &call("a\0b"), io::ErrorKind::InvalidInput);
        let with_nul = call("").envs([("X", "a\0b")]);
        same(Path::new("/bin/true"), &with_nul, io::ErrorKind::InvalidInput);
    }

    #[test]
    fn the_environment_of_one_call_is_not_that_of_another() {
        let said = |call: &Call| output(spawn_here, call, None).0;
        let one = call("echo $A");
        assert_eq!((said(&one), said(&one)), ("1 = 2\n".into(), "1 = 2\n".into()));
        assert_eq!(said(&one.clone().envs([("A", "3")])), "3\n");
        assert_eq!(said(&one), "1 = 2\n");
    }

    #[test]
    fn a_directory_that_was_removed_is_not_here() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root");
        fs::create_dir(&path).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let here = Here { dir: open(&path, flags, Mode::empty()).unwrap(), path: path.clone() };
        assert!(here.is(&path));
        assert!(!here.is(dir.path()));
        fs::remove_dir(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(!here.is(&path));
    }
}
