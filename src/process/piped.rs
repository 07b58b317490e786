//! A long-lived child that is talked to through its pipes, such as `git cat-file --batch`.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _, Seek as _};
use std::time::Duration;

use rustix::process::Signal;

use crate::clock::Instant;
use crate::verdict::Ending;

use super::leader::{How, Leader};
use super::{Call, Stdin};

/// A started child with its pipes in the caller's hand.
///
/// Of the call's bounds only `limit` counts, and only in [`Piped::finish`]. Dropped unfinished, the
/// child is killed with its group.
#[derive(Debug)]
pub struct Piped {
    /// What the child reads; take it to tell the child that there is no more.
    pub stdin: Option<PipeWriter>,
    /// What the child writes. Whoever writes to `stdin` must read here in time, or both wait for
    /// ever.
    pub stdout: PipeReader,
    /// Its error stream goes to a file without a name, which never makes it wait.
    stderr: File,
    limit: Option<Duration>,
    started: Instant,
    leader: Leader,
}

impl Piped {
    /// Starts the child with pipes for its standard input and output; `call.stdin` is not used.
    ///
    /// # Errors
    /// The child can't be started, or its error stream has no place to go to.
    pub fn open(call: &Call) -> io::Result<Self> {
        let stderr = tempfile::tempfile().map_err(|error| no_place(&error))?;
        let call = Call { stdin: Stdin::Bytes(Vec::new()), ..call.clone() };
        let started = Instant::now();
        let mut leader = Leader::start(&call, Some(&stderr), How { mark: None, follows: true })?;
        let (stdin, stdout, _) = leader.pipes();
        let stdout = stdout.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { stdin, stdout, stderr, limit: call.limit, started, leader })
    }

    /// Closes the pipes and waits for the child to exit; returns how it ended and what it wrote to
    /// its error stream, the last 64 KiB where it was more.
    ///
    /// Read `stdout` to its end before, or a child that still writes is ended by SIGPIPE.
    ///
    /// # Errors
    /// What it wrote can't be read back.
    pub fn finish(self) -> io::Result<(Ending, String)> {
        let Self { stdin, stdout, mut stderr, limit, started, mut leader } = self;
        drop((stdin, stdout));
        let mut pause = Duration::from_micros(100);
        let mut timed_out = None;
        while !leader.has_exited() {
            if let Some(limit) = limit.filter(|limit| started.left(*limit).is_zero())
                && timed_out.is_none()
            {
                leader.signal(Signal::KILL);
                timed_out = Some(Ending::TimedOut { limit });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        let (ending, _) = leader.reap();
        let length = stderr.seek(io::SeekFrom::End(0))?;
        stderr.seek(io::SeekFrom::Start(length.saturating_sub(64 * 1024)))?;
        let mut text = Vec::new();
        stderr.read_to_end(&mut text)?;
        Ok((timed_out.unwrap_or(ending), String::from_utf8_lossy(&text).into_owned()))
    }
}

/// Says that the directory of temporary files is what keeps a child from being started.
#[expect(clippy::disallowed_methods, reason = "it names the directory that `tempfile` takes")]
fn no_place(error: &io::Error) -> io::Error {
    let dir = std::env::temp_dir();
    let message = format!(
        "no temporary file can be made in {}: {error}; name a directory that can be written with TMPDIR",
        dir.display()
    );
    io::Error::new(error.kind(), message)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};

    use super::*;

    fn open(script: &str) -> Piped {
        Piped::open(&Call::new("bash", "/").args(["-c", script])).unwrap()
    }

    #[test]
    fn questions_are_answered_one_by_one() {
        let mut child = open("while read -r line; do echo \"<$line>\"; done; echo bye >&2; exit 3");
        let mut stdin = child.stdin.take().unwrap();
        let mut answers = BufReader::new(&mut child.stdout).lines();
        for question in ["a", "b"] {
            writeln!(stdin, "{question}").unwrap();
            assert_eq!(answers.next().unwrap().unwrap(), format!("<{question}>"));
        }
        drop(stdin);
        assert!(answers.next().is_none());
        drop(answers);
        assert_eq!(child.finish().unwrap(), (Ending::Exited { code: 3 }, "bye\n".to_owned()));
    }

    #[test]
    fn a_child_that_does_not_end_is_ended_at_its_limit() {
        let limit = Duration::from_millis(100);
        let call = Call::new("bash", "/").args(["-c", "sleep 300; true"]).limit(limit);
        assert_eq!(Piped::open(&call).unwrap().finish().unwrap().0, Ending::TimedOut { limit });
    }

    #[test]
    fn a_child_that_is_dropped_is_gone() {
        let mut child = open("echo $$; exec sleep 300");
        let mut pid = String::new();
        BufReader::new(&mut child.stdout).read_line(&mut pid).unwrap();
        drop(child);
        assert!(!std::path::Path::new("/proc").join(pid.trim()).exists());
    }
}
