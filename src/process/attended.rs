//! A child that a person talks to: it has this process's terminal.

use std::io;

use rustix::process::Pid;

use crate::verdict::Ending;

use super::leader::wait;
use super::spawn::command;
use super::{Call, find_program};

/// Runs the call to its end on this process's own streams and in its process group, so that it can read
/// from the terminal and gets the keys that interrupt; returns how it ended. Of the call's bounds none
/// counts, and `call.stdin` is not used.
///
/// Whoever calls this watches for signals itself, see [`Cancel::on_signals`](super::Cancel::on_signals): a
/// key that interrupts reaches both.
///
/// # Errors
/// The program is not there, or can't be started.
pub fn run_attended(call: &Call) -> io::Result<Ending> {
    let program = find_program(&call.program, &call.env)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is not on PATH"))?;
    Ok(wait(Pid::from_child(&command(&program, call).spawn()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Variables;

    fn check(script: &str, expected: &Ending) {
        let env = Variables::from([("PATH".into(), "/usr/bin:/bin".into())]);
        let call = Call::new("sh", "/").args(["-c", script]).env(env);
        assert_eq!(&run_attended(&call).unwrap(), expected, "{script}");
    }

    #[test]
    fn its_end_is_told() {
        check("exit 3", &Ending::Exited { code: 3 });
        check("kill -9 $$", &Ending::Signalled { signal: 9 });
        check("test -z \"$HOME\"", &Ending::Exited { code: 0 });
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = run_attended(&Call::new("no-such-program", "/")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
