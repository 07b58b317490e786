//! Carries bytes between two sockets, both ways at once, until both sides are done.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::socket::{Socket, Stop, Waited, is_passing, wait_all};

/// How many bytes are on the way in each direction.
const BUFFER: usize = 32 * 1024;

/// What to carry, beside what the sockets give.
pub(super) struct Plan {
    /// For the server, before anything else; not counted against `request`.
    pub(super) to_server: Vec<u8>,
    /// For the client, before anything else.
    pub(super) to_client: Vec<u8>,
    /// How much is read from the client; none means until it is done.
    pub(super) request: Option<u64>,
    /// How long nothing may move while both directions are open.
    pub(super) idle: Duration,
    /// How long nothing may move once one of them is closed.
    pub(super) half: Duration,
    /// Whether all is over once the server is done.
    pub(super) until_answered: bool,
}

/// What was carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Carried {
    /// Bytes that the server took.
    pub(super) sent: u64,
    /// Bytes that the server gave.
    pub(super) received: u64,
    /// What ended it: `Ready` where both sides were done or one was gone.
    pub(super) end: Waited,
}

/// One direction.
struct Way {
    buffer: Vec<u8>,
    /// What of the buffer has been written.
    written: usize,
    /// How much more is read.
    left: Option<u64>,
    read: u64,
    sent: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing more is read; what is in the buffer is still written.
    Ending,
    Over,
}

/// Carries bytes between `client` and `server`, neither of which blocks.
pub(super) fn pump(
    client: &impl Socket,
    server: &impl Socket,
    plan: Plan,
    stop: Stop<'_>,
) -> Carried {
    let mut up = Way::new(plan.to_server, plan.request);
    let mut down = Way::new(plan.to_client, None);
    let mut space = vec![0; BUFFER];
    let end = loop {
        up.settle(server, up.left != Some(0));
        down.settle(client, !plan.until_answered);
        let is_over = down.state == State::Over && (plan.until_answered || up.state == State::Over);
        if is_over {
            break Waited::Ready;
        }
        let (mut of_client, mut of_server) = (up.wanted_of_source(), down.wanted_of_source());
        of_client |= down.wanted_of_sink();
        of_server |= up.wanted_of_sink();
        // A socket of which nothing is wanted tells only that it broke, and would at each turn: it
        // is asked where that is the end.
        let watched = of_client.is_empty() && up.state == State::Over;
        let mut fds = Vec::with_capacity(2);
        if watched || !of_client.is_empty() {
            fds.push(PollFd::from_borrowed_fd(client.as_fd(), of_client));
        }
        if !of_server.is_empty() {
            fds.push(PollFd::from_borrowed_fd(server.as_fd(), of_server));
        }
        let is_half = up.state == State::Over || down.state == State::Over;
        let limit = if is_half && !plan.until_answered { plan.half } else { plan.idle };
        match wait_all(&mut fds, stop, limit) {
            Waited::Ready => {}
            end => break end,
        }
        if watched && !fds[0].revents().is_empty() {
            break Waited::Ready;
        }
        let is_gone = down.step(server, client, &mut space) == Step::SinkGone;
        up.step(client, server, &mut space);
        if is_gone {
            break Waited::Ready;
        }
    };
    Carried { sent: up.sent, received: down.read, end }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Fine,
    SinkGone,
}

impl Way {
    fn new(buffer: Vec<u8>, left: Option<u64>) -> Self {
        let read = buffer.len() as u64;
        let state = if left == Some(0) { State::Ending } else { State::Open };
        Self { buffer, written: 0, left, read, sent: 0, state }
    }

    fn is_empty(&self) -> bool {
        self.written == self.buffer.len()
    }

    /// Ends the direction if everything was read and written; where `tells`, the sink is told. Some
    /// servers take it for an end of all, so that it is not where a request is complete by itself.
    fn settle(&mut self, sink: &impl Socket, tells: bool) {
        if self.state == State::Ending && self.is_empty() {
            self.state = State::Over;
            if tells {
                // A sink that is gone is found by whoever reads from it.
                let _ = sink.finish();
            }
        }
    }

    fn wanted_of_source(&self) -> PollFlags {
        if self.state == State::Open && self.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::empty()
        }
    }

    fn wanted_of_sink(&self) -> PollFlags {
        if self.state != State::Over && !self.is_empty() {
            PollFlags::OUT
        } else {
            PollFlags::empty()
        }
    }

    /// Reads if there is nothing to write, and writes what there is.
    fn step(&mut self, source: &impl Socket, sink: &impl Socket, space: &mut [u8]) -> Step {
        if self.state == State::Open && self.is_empty() {
            let most = self.left.map_or(space.len(), |left| {
                space.len().min(usize::try_from(left).unwrap_or(usize::MAX))
            });
            match source.receive(&mut space[..most]) {
                Err(e) if is_passing(&e) => {}
                Ok(0) | Err(_) => self.state = State::Ending,
                Ok(count) => {
                    self.buffer.clear();
                    self.buffer.extend_from_slice(&space[..count]);
                    self.written = 0;
                    self.read += count as u64;
                    if let Some(left) = &mut self.left {
                        *left -= count as u64;
                        if *left == 0 {
                            self.state = State::Ending;
                        }
                    }
                }
            }
        }
        if !self.is_empty() && self.state != State::Over {
            match sink.send(&self.buffer[self.written..]) {
                Err(e) if is_passing(&e) => {}
                Ok(0) | Err(_) => {
                    // What it said before it went is still read.
                    self.state = State::Over;
                    self.buffer.clear();
                    self.written = 0;
                    return Step::SinkGone;
                }
                Ok(count) => {
                    self.written += count;
                    self.sent += count as u64;
                }
            }
        }
        Step::Fine
    }
}
