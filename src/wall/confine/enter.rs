//! The launcher: two processes of ours between whoever starts a confined program and the program.
//!
//! The outer one makes the namespaces and waits; signals that are meant for the program do not end it.
//! The inner one is the first process in there: it puts the view together, gives away every right,
//! starts the program, collects what that orphans, reports how it ended, and with it ends everything
//! else. Neither reads anything of the product's.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Access, CWD, Mode, OFlags, access, openat};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open,
    set_dumpable_behavior, set_parent_process_death_signal, test_kill_process_group, wait,
};

use super::namespace;
use super::ruleset::{self, Right};
use super::spec::{self, Network, Report, Spec, Start, Step};
use super::view::Use;
use super::{KEYED, SCRIPT, WAY_OUT, steers_the_loader};
use super::{bubblewrap, filter, selftest};
use crate::process::{advice, closing, inherited};
use crate::wall::broker::{forward, open_door};

/// The hidden subcommand by which the launcher is started.
pub const OUTER: &str = "confine";
/// See [`OUTER`]: what runs within the namespaces.
pub const INNER: &str = "confine-inner";

/// In place of a program: looks from inside for ways out.
pub(super) const SELF_TEST: &str = "the self-test";

/// What programs without a terminal use, where there is no `/dev` of their own.
const DEVICES: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/pts", "/dev/ptmx"];

/// What the launcher exits with when it could not start the program; the report says why.
const FAILED: u8 = 125;

/// Runs `confine SPEC START PROGRAM ARGS...` or `confine-inner ...`, and returns the exit code; does
/// not return where the program is taken in this very process, or a signal has ended it.
pub fn launch(args: &[OsString]) -> u8 {
    let [kind, spec_file, start_text, program, args @ ..] = args else { return FAILED };
    let Ok(start) = spec::start(start_text) else { return FAILED };
    let report = OpenOptions::new().write(true).open(&start.report);
    let result = spec::read(Path::new(spec_file)).and_then(|spec| {
        let script = start.script.as_deref().map(open_script).transpose()?;
        let program = Program { program, args, start: &start, script };
        match (kind.to_str(), spec.step) {
            (Some(OUTER), Step::Landlock) => program.become_it(&spec, report.as_ref().ok()),
            (Some(OUTER), _) => outer(&spec, &start, spec_file, &program),
            _ => inner(&spec, &program, report.as_ref().ok()),
        }
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            let why = format!("{error}{}", advice(&error));
            // For whoever reads a log, and no report.
            let _ = writeln!(io::stderr(), "dark-factory: it can't be confined: {why}");
            if let Ok(file) = report {
                write_report(&file, &Report { failed: Some(why), ..Report::default() });
            }
            FAILED
        }
    }
}

/// Opens a script, so that whatever is started has it open too, and removes it; returns the number by which it is
/// open, which the inner launcher is told.
fn open_script(script: &OsStr) -> io::Result<String> {
    if !script.as_encoded_bytes().starts_with(b"/") {
        return Ok(script.to_string_lossy().into_owned());
    }
    let file = File::open(script)?;
    std::fs::remove_file(script)?;
    let open = fcntl_dupfd_cloexec(&file, SCRIPT)?;
    fcntl_setfd(&open, FdFlags::empty())?;
    Ok(open.into_raw_fd().to_string())
}

/// What is to be started.
struct Program<'a> {
    program: &'a OsStr,
    args: &'a [OsString],
    start: &'a Start,
    /// The number by which it finds its script open, its last argument; none where its script is one of the others.
    script: Option<String>,
}

impl Program<'_> {
    fn command(&self) -> io::Result<Command> {
        // Bash would say it by an exit code that could be the program's own.
        access(self.program, Access::EXEC_OK).map_err(|error| self.not_there(&error.into()))?;
        let mut open = inherited();
        open.retain(|fd| self.script.as_ref() != Some(&fd.to_string()));
        #[expect(clippy::disallowed_methods, reason = "the launcher is started through `process`")]
        let mut command = match open.as_slice() {
            [] => {
                let mut command = Command::new(self.program);
                command.arg0(&self.start.name);
                command
            }
            // Whoever started the factory left descriptors open; the program shall not find them.
            open => {
                // By its path: a name would be looked up where the program may have put another.
                let bash = self.start.bash.as_deref().unwrap_or(OsStr::new("/bin/bash"));
                let mut command = Command::new(bash);
                command.args(closing(open)).arg(self.program);
                command
            }
        };
        command.args(self.args).args(&self.script);
        command.envs(self.start.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Confines this process and has it become the program.
    fn become_it(&self, spec: &Spec, report: Option<&File>) -> io::Result<u8> {
        let report = there(report)?;
        namespace::give_up_rights(None)?;
        let port = match self.start.network {
            Network::Open => None,
            Network::Own | Network::Shared(_) => self.start.way_out,
        };
        ruleset::apply(&rules(spec, self.start), port, true)?;
        filter::apply(true, port.is_some())?;
        if self.program == SELF_TEST {
            return Ok(selftest::probe(self.args, report));
        }
        let mut command = self.command()?;
        // From here on there is nobody to write it.
        write_report(report, &Report::default());
        Err(self.not_there(&command.exec()))
    }

    fn not_there(&self, error: &io::Error) -> io::Error {
        let name = Path::new(self.program).display();
        let message = format!(
            "`{name}` can't be started in its view: {error}; what it needs can be added by `isolation.read`"
        );
        io::Error::new(error.kind(), message)
    }
}

fn outer(spec: &Spec, start: &Start, spec_file: &OsStr, program: &Program<'_>) -> io::Result<u8> {
    // What ends the program is sent to its whole group; this process is to see how it ended.
    let seen = Arc::new(AtomicBool::new(false));
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        signal_hook::flag::register(signal.as_raw(), Arc::clone(&seen))?;
    }
    // What steers the loader is for the program alone; the rest, which `sudo` did not pass on, the inner
    // launcher may have as well.
    let (env, plain) = start.env.iter().cloned().partition(|(name, _)| steers_the_loader(name));
    let script = program.script.clone().map(OsString::from);
    let mut told = Start { env, joins: None, script, ..start.clone() };
    #[expect(clippy::disallowed_methods, reason = "the launcher is started through `process`")]
    let mut command = match spec.step {
        Step::Bubblewrap => bubblewrap::command(spec, start, spec_file)?,
        _ => {
            // What is gone can't be joined, and need not be.
            let joined = start.joins.as_deref().and_then(spec::leader);
            match joined.map(|pid| namespace::join_all(spec.step, pid)) {
                Some(Ok(())) => told.joins.clone_from(&start.joins),
                Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => namespace::unshare(spec.step, &start.network)?,
            }
            Command::new("/proc/self/exe")
        }
    };
    if spec.step == Step::Sudo {
        let plain: Vec<(OsString, OsString)> = plain;
        command.env_clear().envs(plain);
    }
    let told = serde_json::to_string(&told)?;
    command.arg(INNER).arg(spec_file).arg(told).arg(program.program).args(program.args);
    let pipe = match &start.going_on {
        // Without waiting for whoever writes to it.
        Some(path) => {
            let flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
            Some(openat(CWD, Path::new(path), flags, Mode::empty())?)
        }
        None => None,
    };
    // Opened now: what is spawned changes the root that this process has in common with it, and a path
    // then leads nowhere.
    let leader = match start.going_on {
        Some(_) => Some(File::create(spec::leader_file(&start.report))?),
        None => None,
    };
    let mut child = command.spawn()?;
    if let Some(mut file) = leader {
        file.write_all(child.id().to_string().as_bytes())?;
    }
    if let Some(pipe) = pipe
        && goes_on(&child, &pipe)?
    {
        return Ok(0);
    }
    let status = child.wait()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED))
}

/// Waits until the inner launcher has exited, or says that its program has and something goes on.
fn goes_on(child: &Child, pipe: &OwnedFd) -> io::Result<bool> {
    let exit = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let mut fds = [PollFd::new(&exit, PollFlags::IN), PollFd::new(pipe, PollFlags::IN)];
    while let Err(error) = poll(&mut fds, None) {
        if error != Errno::INTR {
            return Err(error.into());
        }
    }
    let mut byte = [0];
    Ok(rustix::io::read(pipe, &mut byte).is_ok_and(|length| length == 1))
}

fn inner(spec: &Spec, program: &Program<'_>, report: Option<&File>) -> io::Result<u8> {
    let report = there(report)?;
    let mut pipe = match &program.start.going_on {
        Some(path) => Some(OpenOptions::new().write(true).open(path)?),
        // What goes on outlives the outer launcher; nothing else does.
        None => {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            None
        }
    };
    let joined = program.start.joins.as_deref().and_then(spec::leader);
    match joined {
        Some(pid) => namespace::join_view(pid)?,
        None if spec.step == Step::Bubblewrap => {}
        None => namespace::enter(spec, program.start)?,
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    if let Some(user) = spec.user {
        namespace::hand_over_pipes(user);
    }
    namespace::give_up_rights(spec.user)?;
    if spec.landlock {
        // What joins others is there to signal them.
        ruleset::apply(&inside(spec, program.start), None, joined.is_none())?;
    }
    filter::apply(false, false)?;
    if let Some(port) = program.start.way_out {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        std::thread::spawn(move || forward(&listener, Path::new(WAY_OUT)));
        for port in &program.start.doors {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port))?;
            std::thread::spawn(move || open_door(&listener, Path::new(WAY_OUT)));
        }
    }
    if let Some(port) = program.start.keyed {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        std::thread::spawn(move || forward(&listener, Path::new(KEYED)));
    }
    if program.program == SELF_TEST {
        return Ok(selftest::probe(program.args, report));
    }
    let mut command = program.command()?;
    command.current_dir(&program.start.dir);
    let child = command.spawn().map_err(|error| program.not_there(&error))?;
    let child = Pid::from_child(&child);
    loop {
        // Whatever the program orphans becomes a child of this process.
        let (ended, status) = match wait(WaitOptions::empty()) {
            Ok(Some(one)) => one,
            Ok(None) | Err(Errno::INTR) => continue,
            // The last of what went on has ended.
            Err(Errno::CHILD) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        if ended != child {
            continue;
        }
        let (code, signal) = (status.exit_status(), status.terminating_signal());
        let left = match (&joined, spec.hides) {
            (Some(_), _) => 0,
            (None, true) => u32::from(has_left()),
            (None, false) => left_of(child),
        };
        write_report(report, &Report { failed: None, signal, left });
        if code == Some(0)
            && left > 0
            && let Some(mut pipe) = pipe.take()
        {
            pipe.write_all(&[1])?;
            continue;
        }
        return Ok(match (code, signal) {
            (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(FAILED),
            (None, signal) => u8::try_from(128 + signal.unwrap_or(0)).unwrap_or(FAILED),
        });
    }
}

/// Returns how many processes there are beside this one and `child`, the dead left aside.
fn left_of(child: Pid) -> u32 {
    let own = [getpid().as_raw_nonzero().get(), child.as_raw_nonzero().get()];
    let table = crate::process::survivors::table();
    let left = table.iter().filter(|one| !own.contains(&one.pid) && !one.zombie).count();
    u32::try_from(left).unwrap_or(u32::MAX)
}

/// Returns whether there is a process beside this one, the first in here, the dead left aside. Some of them can't be
/// seen, but all can be signalled.
fn has_left() -> bool {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    // The group of that number stands for everybody.
    test_kill_process_group(Pid::INIT).is_ok()
}

fn there(report: Option<&File>) -> io::Result<&File> {
    report.ok_or_else(|| io::Error::other("the report can't be written"))
}

fn write_report(mut file: &File, report: &Report) {
    if let Ok(bytes) = serde_json::to_vec(report) {
        // Whoever reads it takes a missing one for a failure.
        let _ = file.write_all(&bytes);
    }
}

/// Returns what Landlock lets be opened where there is no view but its own.
fn rules(spec: &Spec, start: &Start) -> Vec<(PathBuf, Right)> {
    let own = spec.seen.iter().map(|seen| {
        let right = if seen.using == Use::Read { Right::Read } else { Right::Write };
        (PathBuf::from(&seen.path), right)
    });
    let places = start.places.iter().map(|(from, _)| (from.into(), Right::Write));
    let devices = DEVICES.iter().map(|path| (path.into(), Right::Write));
    own.chain(places).chain(devices).chain([("/proc".into(), Right::Read)]).collect()
}

/// Returns what it lets be opened in a view of its own: everything is read, what is written is few.
fn inside(spec: &Spec, start: &Start) -> Vec<(PathBuf, Right)> {
    let written = spec.seen.iter().filter(|seen| seen.using != Use::Read).map(|seen| &seen.path);
    let places = start.places.iter().map(|(_, at)| at);
    let mut rules: Vec<_> =
        written.chain(places).map(|path| (path.clone().into(), Right::Write)).collect();
    rules.push(("/".into(), Right::Read));
    rules.push(("/dev".into(), Right::Write));
    // To root, without any right, the switches of the machine in there would still belong.
    let proc = if namespace::is_root(spec) { Right::Read } else { Right::Write };
    rules.push(("/proc".into(), proc));
    rules
}
