//! The outside half: answers what comes over the socket, in threads.

use std::io::{self, PipeReader, PipeWriter};
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::PollFlags;
use serde::{Deserialize, Serialize};

use super::dial::{NoServer, dial};
use super::host::Target;
use super::policy::Policy;
use super::pump::{Plan, pump};
use super::request::{BadRequest, Kind, Next, Plain, Request};
use super::slots::{Slot, Slots};
use super::socket::{NoHead, Socket, Waited, answer, read_head, response, send_all, wait};
use super::upstream::{Proxy, Upstream};
use crate::clock::Instant;
use crate::text::one_line;

/// What a thread of the broker needs on its stack, with room to spare.
const STACK: usize = 256 * 1024;

/// Bounds of what an agent may take of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many connections are open at once; the next is answered with 503.
    pub connections: usize,
    /// How long the head of a request, or of a proxy's answer, may take.
    pub head: Duration,
    /// How long it may take to resolve a host and to connect to it.
    pub dial: Duration,
    /// How long nothing may come or go on a connection. A model may think for long.
    pub idle: Duration,
    /// The same, once one side has said that it sends no more.
    pub half: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            head: Duration::from_secs(10),
            dial: Duration::from_secs(20),
            idle: Duration::from_secs(20 * 60),
            half: Duration::from_secs(120),
        }
    }
}

/// How a connection is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The host that was asked for, without its port; empty where the request could not be read.
    pub host: String,
    /// Its port; zero where the request could not be read.
    pub port: u16,
    /// The method, `CONNECT` for a tunnel; empty where the request could not be read.
    pub method: String,
    /// Bytes that went to the host, with the head of a plain request.
    pub sent: u64,
    /// Bytes that came from it.
    pub received: u64,
    /// Milliseconds from the first to the last moment of the connection.
    pub ms: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// Why nothing came of it, as the agent was told; none where the host was reached.
    pub reason: Option<String>,
}

/// What came of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The host was reached.
    Allowed,
    /// It may not be reached.
    Denied,
    /// The request could not be read, or the host not be reached.
    Failed,
}

/// The broker: answers connections until it is stopped or dropped.
#[derive(Debug)]
pub struct Broker {
    /// Its end is what every thread waits with.
    stop: Option<PipeWriter>,
    accepting: Option<JoinHandle<()>>,
    serving: Arc<Slots>,
}

struct Shared {
    policy: Arc<Policy>,
    upstream: Upstream,
    limits: Limits,
    stop: PipeReader,
    /// Connections, and dials that outlive them.
    open: Arc<Slots>,
    /// Threads that answer connections; these end when the broker does.
    serving: Arc<Slots>,
    sink: Mutex<Box<dyn FnMut(Entry) + Send>>,
}

impl Broker {
    /// Begins to answer what connects to `listener`. `sink` gets an entry when a connection ends,
    /// one at a time; of a connection on which nothing came, none. The file of the socket stays
    /// the caller's, before and after.
    ///
    /// # Errors
    /// A pipe or a thread can't be made.
    pub fn start(
        listener: UnixListener,
        policy: Policy,
        upstream: Upstream,
        limits: Limits,
        sink: impl FnMut(Entry) + Send + 'static,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (stop, at_stop) = io::pipe()?;
        let serving = Slots::new(usize::MAX);
        let shared = Arc::new(Shared {
            policy: Arc::new(policy),
            upstream,
            limits,
            stop,
            open: Slots::new(limits.connections),
            serving: Arc::clone(&serving),
            sink: Mutex::new(Box::new(sink)),
        });
        let accepting = std::thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || accept(&listener, &shared))?;
        Ok(Self { stop: Some(at_stop), accepting: Some(accepting), serving })
    }

    /// Ends all connections, and returns once each has its entry.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(accepting) = self.accepting.take() {
            // A panic was reported when it happened.
            let _ = accepting.join();
        }
        self.serving.wait_for_fewer_than(1);
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    /// Between two tries where the process has no descriptor left.
    const PAUSE: Duration = Duration::from_millis(50);
    const FOREVER: Duration = Duration::from_secs(3600);
    loop {
        if wait(listener.as_fd(), PollFlags::IN, Some(&shared.stop), FOREVER) == Waited::Stopped {
            return;
        }
        match listener.accept() {
            Ok((client, _)) => begin(client, shared),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Starts the thread of a connection, if there is room for it.
fn begin(client: UnixStream, shared: &Arc<Shared>) {
    let Some(slot) = shared.open.take() else {
        let most = shared.limits.connections;
        let reason = format!("{most} connections are open, and more can't be; close one");
        // It fits into the socket of a connection that is new.
        let _ = client.set_nonblocking(true).and_then(|()| client.send(&response(503, &reason)));
        return;
    };
    let serving = shared.serving.take();
    let shared = Arc::clone(shared);
    // Where there is no thread, the client is dropped, and sees its connection end.
    let _ =
        std::thread::Builder::new().name("broker".to_owned()).stack_size(STACK).spawn(move || {
            shared.serve(&client, &Arc::new(slot));
            drop((client, shared));
            drop(serving);
        });
}

/// What came of a connection, for its entry.
struct Told {
    sent: u64,
    received: u64,
    outcome: Outcome,
    reason: Option<String>,
}

impl Told {
    fn failed(reason: impl Into<String>) -> Self {
        Self { sent: 0, received: 0, outcome: Outcome::Failed, reason: Some(reason.into()) }
    }
}

/// Why a host is not reached, and the status that says so.
struct Refusal {
    status: u16,
    outcome: Outcome,
    reason: String,
}

impl Refusal {
    fn failed(reason: String) -> Self {
        Self { status: 502, outcome: Outcome::Failed, reason }
    }
}

impl Shared {
    fn serve(&self, client: &UnixStream, slot: &Arc<Slot>) {
        let begun = Instant::now();
        if client.set_nonblocking(true).is_err() {
            return;
        }
        let (request, told) = match self.request(client) {
            Ok((request, rest)) => {
                let told = self.fulfil(client, &request, rest, slot);
                (Some(request), told)
            }
            Err(Some(reason)) => (None, Told::failed(reason)),
            Err(None) => return,
        };
        let entry = Entry {
            host: request
                .as_ref()
                .map(|request| request.target.host.to_string())
                .unwrap_or_default(),
            port: request.as_ref().map_or(0, |request| request.target.port),
            method: request.map(|request| request.method).unwrap_or_default(),
            sent: told.sent,
            received: told.received,
            ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome: told.outcome,
            reason: told.reason,
        };
        (self.sink.lock().unwrap_or_else(PoisonError::into_inner))(entry);
    }

    /// Reads the request, and what came with it; where there is none, answers and says why. No
    /// reason where nothing came.
    fn request(&self, client: &UnixStream) -> Result<(Request, Vec<u8>), Option<String>> {
        let (status, reason) = match read_head(client, Some(&self.stop), self.limits.head) {
            Ok((head, rest)) => match Request::parse(&head) {
                Ok(request) => return Ok((request, rest)),
                Err(bad) => (bad.status(), bad.to_string()),
            },
            Err(NoHead::Left(false) | NoHead::Stopped) => return Err(None),
            Err(NoHead::Left(true)) => return Err(Some("the request has no end".to_owned())),
            Err(NoHead::Slow) => {
                let seconds = self.limits.head.as_secs_f64();
                (408, format!("the head of the request took more than {seconds} s"))
            }
            Err(NoHead::Long) => (BadRequest::Long.status(), BadRequest::Long.to_string()),
        };
        answer(client, status, &reason, Some(&self.stop));
        Err(Some(reason))
    }

    fn fulfil(
        &self,
        client: &UnixStream,
        request: &Request,
        rest: Vec<u8>,
        slot: &Arc<Slot>,
    ) -> Told {
        let result = match &request.kind {
            Kind::Tunnel => self.tunnel(client, &request.target, rest, slot),
            Kind::Plain(plain) => self.plain(client, request, plain, rest, slot),
        };
        result.unwrap_or_else(|refusal| {
            answer(client, refusal.status, &refusal.reason, Some(&self.stop));
            let reason = Some(refusal.reason);
            Told { sent: 0, received: 0, outcome: refusal.outcome, reason }
        })
    }

    fn tunnel(
        &self,
        client: &UnixStream,
        target: &Target,
        rest: Vec<u8>,
        slot: &Arc<Slot>,
    ) -> Result<Told, Refusal> {
        let proxy = self.upstream.to(target, true);
        let server = self.connect(target, proxy, slot)?;
        let early = proxy.map(|proxy| self.through(&server, target, proxy)).transpose()?;
        let stop = Some(&self.stop);
        if !send_all(client, b"HTTP/1.1 200 Connection established\r\n\r\n", stop, self.limits.head)
        {
            return Ok(Told::failed("the agent left before the tunnel was open"));
        }
        let plan = Plan {
            to_server: rest,
            to_client: early.unwrap_or_default(),
            request: None,
            idle: self.limits.idle,
            half: self.limits.half,
            until_answered: false,
        };
        let carried = pump(client, &server, plan, stop);
        let (sent, received) = (carried.sent, carried.received);
        Ok(Told { sent, received, outcome: Outcome::Allowed, reason: None })
    }

    fn plain(
        &self,
        client: &UnixStream,
        request: &Request,
        plain: &Plain,
        mut rest: Vec<u8>,
        slot: &Arc<Slot>,
    ) -> Result<Told, Refusal> {
        let target = &request.target;
        let proxy = self.upstream.to(target, false);
        let server = self.connect(target, proxy, slot)?;
        let next = proxy.map_or(Next::Host, |proxy| Next::Proxy(proxy.login()));
        let mut to_server = plain.head(&request.method, target, next);
        // One request: a second one on the same connection could name another host to a proxy.
        rest.truncate(usize::try_from(plain.length).unwrap_or(usize::MAX));
        to_server.extend_from_slice(&rest);
        let plan = Plan {
            to_server,
            to_client: Vec::new(),
            request: Some(plain.length - rest.len() as u64),
            idle: self.limits.idle,
            half: self.limits.half,
            until_answered: true,
        };
        let carried = pump(client, &server, plan, Some(&self.stop));
        let (sent, received) = (carried.sent, carried.received);
        if received > 0 || carried.end == Waited::Stopped {
            return Ok(Told { sent, received, outcome: Outcome::Allowed, reason: None });
        }
        let reason = format!("`{target}` closed the connection, or kept silent, without an answer");
        answer(client, 502, &reason, Some(&self.stop));
        Ok(Told { sent, ..Told::failed(reason) })
    }

    /// Connects to `target`, or to the proxy that leads to it.
    fn connect(
        &self,
        target: &Target,
        proxy: Option<&Proxy>,
        slot: &Arc<Slot>,
    ) -> Result<TcpStream, Refusal> {
        let denied = |denial: &super::Denial| Refusal {
            status: 403,
            outcome: Outcome::Denied,
            reason: denial.to_string(),
        };
        self.policy.check(target).map_err(|denial| denied(&denial))?;
        // A proxy is the person's, wherever it is; it alone knows where the host is.
        let (first, policy) = match proxy {
            Some(proxy) => (&proxy.target, None),
            None => (target, Some(&self.policy)),
        };
        let server =
            dial(first, policy, Some(&self.stop), self.limits.dial, slot).map_err(|error| {
                match error {
                    NoServer::Denied(denial) => denied(&denial),
                    NoServer::Failed(reason) if proxy.is_some() => {
                        Refusal::failed(format!("the proxy before `{target}`: {reason}"))
                    }
                    NoServer::Failed(reason) => Refusal::failed(reason),
                    NoServer::Stopped => Refusal::failed("the run stopped".to_owned()),
                }
            })?;
        server
            .set_nonblocking(true)
            .and_then(|()| server.set_nodelay(true))
            .map_err(|e| Refusal::failed(format!("`{target}` can't be reached: {e}")))?;
        Ok(server)
    }

    /// Opens a tunnel to `target` through `proxy`; returns what came with its answer.
    fn through(
        &self,
        server: &TcpStream,
        target: &Target,
        proxy: &Proxy,
    ) -> Result<Vec<u8>, Refusal> {
        let login = proxy
            .login()
            .map(|login| format!("Proxy-Authorization: {login}\r\n"))
            .unwrap_or_default();
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n");
        let stop = Some(&self.stop);
        let limit = self.limits.dial;
        let answered = send_all(server, head.as_bytes(), stop, limit)
            .then(|| read_head(server, stop, limit).ok())
            .flatten();
        let at = &proxy.target;
        let Some((head, rest)) = answered else {
            let reason = format!("the proxy `{at}` before `{target}` gave no answer");
            return Err(Refusal::failed(reason));
        };
        let line = String::from_utf8_lossy(head.split(|b| *b == b'\r').next().unwrap_or_default());
        let is_open = line.starts_with("HTTP/1.")
            && line
                .split(' ')
                .nth(1)
                .is_some_and(|status| status.len() == 3 && status.starts_with('2'));
        if is_open {
            return Ok(rest);
        }
        let line = one_line(&line, 100);
        Err(Refusal::failed(format!("the proxy `{at}` before `{target}` answered `{line}`")))
    }
}
