//! The two kinds of sockets, and waiting for them with an end in sight: a time, or the broker's end.

use std::io::{self, PipeReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::request::MAX_HEAD;
use crate::clock::Instant;
use crate::text::one_line;

/// One end of a connection that does not block.
pub(super) trait Socket: AsFd {
    /// Reads what is there; zero at the end.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes as much as fits.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Says that nothing more is sent.
    fn finish(&self) -> io::Result<()>;
}

impl Socket for UnixStream {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self;
        stream.read(buffer)
    }
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self;
        stream.write(bytes)
    }
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Socket for TcpStream {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self;
        stream.read(buffer)
    }
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self;
        stream.write(bytes)
    }
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// What is waited with: hangs up when everything ends. Without one, nothing ends before its time.
pub(super) type Stop<'a> = Option<&'a PipeReader>;

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// The descriptor is ready, or broken.
    Ready,
    /// The time is over.
    TimedOut,
    /// Everything ends.
    Stopped,
}

/// Waits until `fd` is ready for `flags`, for at most `left`.
pub(super) fn wait(fd: BorrowedFd<'_>, flags: PollFlags, stop: Stop<'_>, left: Duration) -> Waited {
    wait_all(&mut [PollFd::from_borrowed_fd(fd, flags)], stop, left)
}

/// Waits until one of `fds` is ready, for at most `left`; what happened to each is left in it.
pub(super) fn wait_all<'f>(fds: &mut [PollFd<'f>], stop: Stop<'f>, left: Duration) -> Waited {
    let begun = Instant::now();
    let mut all: Vec<PollFd<'f>> = fds.to_vec();
    all.extend(stop.map(|stop| PollFd::new(stop, PollFlags::IN)));
    loop {
        let timeout = Timespec::try_from(begun.left(left)).ok();
        match poll(&mut all, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            // Where nobody can tell when it is ready, no time is left either.
            Ok(0) | Err(_) => return Waited::TimedOut,
            Ok(_)
                if stop.is_some() && all.last().is_some_and(|stop| !stop.revents().is_empty()) =>
            {
                return Waited::Stopped;
            }
            Ok(_) => {
                fds.clone_from_slice(&all[..fds.len()]);
                return Waited::Ready;
            }
        }
    }
}

/// Why there is no head.
#[derive(Debug)]
pub(super) enum NoHead {
    /// The other side left before it was complete; whether it had sent anything.
    Left(bool),
    /// It took too long.
    Slow,
    /// It is longer than [`MAX_HEAD`].
    Long,
    /// Everything ends.
    Stopped,
}

/// Reads up to the empty line that ends a head, within `limit`; returns the head, and what came
/// with it.
pub(super) fn read_head(
    socket: &impl Socket,
    stop: Stop<'_>,
    limit: Duration,
) -> Result<(Vec<u8>, Vec<u8>), NoHead> {
    let begun = Instant::now();
    let mut head = Vec::new();
    let mut buffer = [0; 8 * 1024];
    loop {
        match wait(socket.as_fd(), PollFlags::IN, stop, begun.left(limit)) {
            Waited::Ready => {}
            Waited::TimedOut => return Err(NoHead::Slow),
            Waited::Stopped => return Err(NoHead::Stopped),
        }
        let count = match socket.receive(&mut buffer) {
            Err(e) if is_passing(&e) => continue,
            Ok(0) | Err(_) => return Err(NoHead::Left(!head.is_empty())),
            Ok(count) => count,
        };
        let searched = head.len().saturating_sub(3);
        head.extend_from_slice(&buffer[..count]);
        if let Some(at) = head[searched..].windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = head.split_off(searched + at + 4);
            return if head.len() > MAX_HEAD { Err(NoHead::Long) } else { Ok((head, rest)) };
        }
        if head.len() > MAX_HEAD {
            return Err(NoHead::Long);
        }
    }
}

/// Writes all of `bytes` within `limit`; returns whether it could.
pub(super) fn send_all(
    socket: &impl Socket,
    mut bytes: &[u8],
    stop: Stop<'_>,
    limit: Duration,
) -> bool {
    let begun = Instant::now();
    while !bytes.is_empty() {
        if wait(socket.as_fd(), PollFlags::OUT, stop, begun.left(limit)) != Waited::Ready {
            return false;
        }
        match socket.send(bytes) {
            Err(e) if is_passing(&e) => {}
            Ok(0) | Err(_) => return false,
            Ok(count) => bytes = &bytes[count..],
        }
    }
    true
}

/// Answers with `status` and a line that says why, and reads on for a moment: a connection that is
/// closed before all that was sent is read would take the answer with it.
pub(super) fn answer(socket: &impl Socket, status: u16, reason: &str, stop: Stop<'_>) {
    const MOMENT: Duration = Duration::from_secs(1);
    const MOST: usize = 1 << 20;
    if !send_all(socket, &response(status, reason), stop, MOMENT) || socket.finish().is_err() {
        return;
    }
    let begun = Instant::now();
    let mut buffer = [0; 8 * 1024];
    let mut read = 0;
    while read < MOST
        && wait(socket.as_fd(), PollFlags::IN, stop, begun.left(MOMENT)) == Waited::Ready
    {
        match socket.receive(&mut buffer) {
            Err(e) if is_passing(&e) => {}
            Ok(0) | Err(_) => return,
            Ok(count) => read += count,
        }
    }
}

/// Returns an answer of one line. The first line of it says it too: of an answer to `CONNECT`, most
/// programs show that alone.
pub(super) fn response(status: u16, reason: &str) -> Vec<u8> {
    let title = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        408 => "Request Timeout",
        411 => "Length Required",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Bad Gateway",
    };
    let length = reason.len() + 1;
    let shown = one_line(reason, 200);
    format!(
        "HTTP/1.1 {status} {title}: {shown}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{reason}\n"
    )
    .into_bytes()
}

/// Tells whether a read or write is simply to be done again.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
