//! Real sockets: an agent, the broker, and hosts and proxies on the loopback.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::clock::Instant;

const PATIENCE: Duration = Duration::from_secs(20);
/// Bounds that nothing here may run into.
const LONG: Limits = {
    let long = Duration::from_secs(600);
    Limits { connections: 128, head: long, dial: long, idle: long, half: long }
};

struct Bench {
    dir: tempfile::TempDir,
    broker: Option<Broker>,
    entries: Receiver<Entry>,
}

impl Bench {
    fn with(allowed: &[String], variables: &[(&str, String)], limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (send, entries) = channel();
        let upstream = Upstream::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
        });
        let broker = Broker::start(
            UnixListener::bind(dir.path().join("s")).unwrap(),
            Policy::parse(allowed).unwrap(),
            upstream.unwrap(),
            limits,
            move |entry| send.send(entry).unwrap_or_default(),
        );
        Self { dir, broker: Some(broker.unwrap()), entries }
    }

    fn new(allowed: &[String]) -> Self {
        Self::with(allowed, &[], Limits::default())
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends `request`, and returns all that is answered.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
        rest(&mut stream)
    }

    fn tunnel(&self, to: SocketAddr) -> UnixStream {
        let mut stream = self.connect();
        write!(stream, "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").unwrap();
        assert_eq!(head(&mut stream), "HTTP/1.1 200 Connection established\r\n\r\n");
        stream
    }

    fn entry(&self) -> Entry {
        self.entries.recv_timeout(PATIENCE).unwrap()
    }
}

/// Reads to the end; a connection that is cut ends too.
fn rest(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Ok(_) => {}
        Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8(text).unwrap().replace("\r\n", "\n")
}

/// Reads up to an empty line, a byte at a time, so that nothing behind it is taken.
fn head(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// A host that answers each of `count` connections by `answer`.
fn host(count: usize, answer: impl Fn(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        for _ in 0..count {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            answer(stream);
        }
    });
    (address, thread)
}

/// A host that says what it was told, once it was told all.
fn echo(mut stream: TcpStream) {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    stream.write_all(&text).unwrap();
}

#[test]
fn a_host_that_is_not_allowed_is_denied_at_once_with_the_reason() {
    let bench = Bench::new(&["crates.io".to_owned()]);
    let reason =
        "`example.com` is not among the hosts that this run allows; add it to `network.allow`";
    let expected = format!(
        "HTTP/1.1 403 Forbidden: {reason}\nContent-Type: text/plain; charset=utf-8\nContent-Length: {}\n\
         Connection: close\n\n{reason}\n",
        reason.len() + 1
    );
    let begun = Instant::now();
    for (method, target) in [("CONNECT", "example.com:443"), ("GET", "http://example.com/")] {
        assert_eq!(bench.ask(&format!("{method} {target} HTTP/1.1\n\n")), expected);
        let entry = bench.entry();
        assert_eq!((entry.host.as_str(), entry.method.as_str()), ("example.com", method));
        assert_eq!((entry.sent, entry.received), (0, 0));
        assert_eq!((entry.outcome, entry.reason.as_deref()), (Outcome::Denied, Some(reason)));
    }
    // The agent left as soon as it had its answer.
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_denied_request_with_a_body_still_gets_its_answer() {
    let bench = Bench::new(&[]);
    let body = "x".repeat(100_000);
    let request = format!("POST http://a.example/ HTTP/1.1\nContent-Length: 100000\n\n{body}");
    assert!(bench.ask(&request).contains("403 Forbidden"));
}

#[test]
fn a_tunnel_carries_both_ways_and_keeps_a_half_open() {
    let (address, server) = host(1, echo);
    let bench = Bench::new(&[address.to_string()]);
    let mut stream = bench.tunnel(address);
    let sent = "0123456789".repeat(50_000);
    stream.write_all(sent.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // The host speaks only after it has read the end.
    assert!(rest(&mut stream) == sent);
    server.join().unwrap();
    let entry = bench.entry();
    assert_eq!((entry.host.as_str(), entry.port), ("127.0.0.1", address.port()));
    assert_eq!((entry.sent, entry.received), (500_000, 500_000));
    assert_eq!((entry.outcome, entry.reason), (Outcome::Allowed, None));
}

#[test]
fn a_tunnel_carries_what_comes_after_the_host_is_done() {
    let (send, told) = channel();
    let (address, server) = host(1, move |mut stream| {
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        send.send(rest(&mut stream)).unwrap();
    });
    let bench = Bench::new(&[address.to_string()]);
    let mut stream = bench.tunnel(address);
    assert_eq!(rest(&mut stream), "hello");
    stream.write_all(b"late").unwrap();
    drop(stream);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "late");
    server.join().unwrap();
    let entry = bench.entry();
    assert_eq!((entry.sent, entry.received), (4, 5));
}

#[test]
fn what_is_sent_with_the_request_for_a_tunnel_is_carried() {
    let (address, server) = host(1, echo);
    let bench = Bench::new(&[address.to_string()]);
    let mut stream = bench.connect();
    write!(stream, "CONNECT {address} HTTP/1.1\r\n\r\nearly").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), "HTTP/1.1 200 Connection established\n\nearly");
    server.join().unwrap();
    assert_eq!(bench.entry().sent, 5);
}

#[test]
fn plain_http_is_rewritten_and_one_request_goes_on() {
    let (send, told) = channel();
    let (address, server) = host(1, move |mut stream| {
        let request = head(&mut stream);
        let mut body = [0; 4];
        stream.read_exact(&mut body).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        send.send(format!("{request}{}|{}", String::from_utf8_lossy(&body), rest(&mut stream)))
            .unwrap();
    });
    let bench = Bench::new(&[address.to_string()]);
    let answer = bench.ask(&format!(
        "POST http://{address}/p HTTP/1.1\nHost: other\nProxy-Connection: keep-alive\nContent-Length: 4\n\n\
         bodyGET http://evil.example/ HTTP/1.1\n\n"
    ));
    assert_eq!(answer, "HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
    let expected =
        format!("POST /p HTTP/1.1\nHost: {address}\nContent-Length: 4\nConnection: close\n\nbody|");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().replace("\r\n", "\n"), expected);
    server.join().unwrap();
    let entry = bench.entry();
    let sent = expected.replace('\n', "\r\n").len() as u64 - 1;
    assert_eq!((entry.sent, entry.received, entry.outcome), (sent, 40, Outcome::Allowed));
}

#[test]
fn a_host_that_says_nothing_is_said_to() {
    let (address, server) = host(1, drop);
    let bench = Bench::new(&[address.to_string()]);
    let answer = bench.ask(&format!("GET http://{address}/ HTTP/1.1\n\n"));
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway: "), "{answer}");
    server.join().unwrap();
    assert_eq!(bench.entry().outcome, Outcome::Failed);
}

#[test]
fn a_body_that_is_shorter_than_said_ends_for_the_host_too() {
    let (send, told) = channel();
    let (address, server) = host(1, move |mut stream| {
        head(&mut stream);
        send.send(rest(&mut stream)).unwrap();
    });
    let bench = Bench::new(&[address.to_string()]);
    let mut stream = bench.connect();
    write!(stream, "PUT http://{address}/ HTTP/1.1\r\nContent-Length: 10\r\n\r\nfour").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "four");
    assert!(rest(&mut stream).starts_with("HTTP/1.1 502 "));
    server.join().unwrap();
}

#[test]
fn a_host_that_cannot_be_reached_is_a_failure_with_its_reason() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = Bench::new(&[free.to_string(), "nowhere.invalid".to_owned()]);
    let answer = bench.ask(&format!("CONNECT {free} HTTP/1.1\n\n"));
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway: "), "{answer}");
    assert!(answer.contains(&format!("`{free}` can't be reached: Connection refused")), "{answer}");
    let answer = bench.ask("CONNECT nowhere.invalid:443 HTTP/1.1\n\n");
    assert!(answer.contains("`nowhere.invalid` can't be resolved"), "{answer}");
    assert_eq!(bench.entry().outcome, Outcome::Failed);
    assert_eq!(bench.entry().outcome, Outcome::Failed);
}

#[test]
fn a_name_that_leads_to_this_machine_is_denied_and_no_connection_is_made() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let bench = Bench::new(&[format!("localhost:{port}")]);
    let answer = bench.ask(&format!("CONNECT localhost:{port} HTTP/1.1\n\n"));
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden: "), "{answer}");
    assert!(answer.contains("`localhost` leads to ") && answer.contains("a loopback address"));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(bench.entry().outcome, Outcome::Denied);
}

#[test]
fn a_name_that_leads_to_this_machine_is_reached_where_the_address_is_allowed() {
    let (address, server) = host(1, echo);
    let port = address.port();
    let bench = Bench::new(&[format!("localhost:{port}"), address.to_string()]);
    let mut stream = bench.connect();
    write!(stream, "CONNECT localhost:{port} HTTP/1.1\r\n\r\nhi").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(rest(&mut stream).ends_with("\n\nhi"));
    server.join().unwrap();
}

#[test]
fn a_proxy_gets_the_login_that_the_agent_never_sees() {
    let (send, told) = channel();
    let (proxy, server) = host(2, move |mut stream| {
        let request = head(&mut stream);
        if request.starts_with("CONNECT") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nVia: p\r\n\r\nfirst").unwrap();
            echo(stream);
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nplain").unwrap();
        }
        send.send(request.replace("\r\n", "\n")).unwrap();
    });
    let url = format!("http://me:secret@{proxy}");
    let variables = [("https_proxy", url.clone()), ("http_proxy", url)];
    // The host need not be known here: the proxy finds it.
    let bench = Bench::with(&["host.invalid".to_owned()], &variables, Limits::default());
    let mut stream = bench.connect();
    write!(stream, "CONNECT host.invalid:443 HTTP/1.1\r\nProxy-Authorization: Basic own\r\n\r\nx")
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), "HTTP/1.1 200 Connection established\n\nfirstx");
    assert_eq!(
        told.recv_timeout(PATIENCE).unwrap(),
        "CONNECT host.invalid:443 HTTP/1.1\nHost: host.invalid:443\nProxy-Authorization: Basic bWU6c2VjcmV0\n\n"
    );
    let answer =
        bench.ask("GET http://host.invalid/p HTTP/1.1\nProxy-Authorization: Basic own\n\n");
    assert_eq!(answer, "HTTP/1.1 200 OK\n\nplain");
    assert_eq!(
        told.recv_timeout(PATIENCE).unwrap(),
        "GET http://host.invalid/p HTTP/1.1\nHost: host.invalid\nProxy-Authorization: Basic bWU6c2VjcmV0\nConnection: close\n\n"
    );
    server.join().unwrap();
    assert!(bench.ask("CONNECT other.invalid:443 HTTP/1.1\n\n").contains("403"), "never asked");
}

#[test]
fn a_proxy_that_refuses_is_quoted() {
    let (proxy, server) = host(1, |mut stream| {
        head(&mut stream);
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").unwrap();
    });
    let variables = [("HTTPS_PROXY", proxy.to_string())];
    let bench = Bench::with(&["host.invalid".to_owned()], &variables, Limits::default());
    let answer = bench.ask("CONNECT host.invalid:443 HTTP/1.1\n\n");
    let reason = format!(
        "the proxy `{proxy}` before `host.invalid:443` answered `HTTP/1.1 407 Proxy Authentication Required`"
    );
    assert!(answer.contains("502 Bad Gateway") && answer.contains(&reason), "{answer}");
    server.join().unwrap();
    assert_eq!(bench.entry().reason, Some(reason));
}

#[test]
fn a_head_that_is_none_is_answered_and_recorded_without_a_host() {
    let bench = Bench::new(&[]);
    for (request, status) in [
        ("GET / HTTP/1.1\n\n".to_owned(), "400 Bad Request"),
        ("\u{0}\u{1}\n\n".to_owned(), "400 Bad Request"),
        ("\u{16}\u{3}\u{1}\n\n".to_owned(), "400 Bad Request"),
        (format!("GET http://a/{} HTTP/1.1\n\n", "x".repeat(MAX_HEAD)), "431 "),
        ("POST http://a/ HTTP/1.1\nTransfer-Encoding: chunked\n\n".to_owned(), "411 "),
    ] {
        let answer = bench.ask(&request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        let entry = bench.entry();
        assert_eq!((entry.host.as_str(), entry.port, entry.outcome), ("", 0, Outcome::Failed));
    }
}

#[test]
fn a_connection_on_which_nothing_came_is_not_recorded() {
    let bench = Bench::new(&[]);
    drop(bench.connect());
    bench.ask("CONNECT a.example:443 HTTP/1.1\n\n");
    assert_eq!(bench.entry().host, "a.example");
}

#[test]
fn a_head_that_comes_byte_by_byte_has_its_time() {
    let limits = Limits { head: Duration::from_millis(300), ..Limits::default() };
    let bench = Bench::with(&[], &[], limits);
    let mut stream = bench.connect();
    let begun = Instant::now();
    for byte in b"GET http://example.com/".iter().cycle() {
        if stream.write_all(&[*byte]).is_err() || begun.elapsed() > PATIENCE {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begun.elapsed() < PATIENCE);
    let answer = rest(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(bench.entry().outcome, Outcome::Failed);
}

#[test]
fn a_tunnel_on_which_nothing_moves_ends() {
    let (address, server) = host(1, echo);
    let limits = Limits { idle: Duration::from_millis(100), ..Limits::default() };
    let bench = Bench::with(&[address.to_string()], &[], limits);
    let mut stream = bench.tunnel(address);
    assert_eq!(rest(&mut stream), "");
    server.join().unwrap();
    assert_eq!(bench.entry().outcome, Outcome::Allowed);
}

#[test]
fn one_connection_too_many_is_answered() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let bench = Bench::with(&[], &[], limits);
    let held = [bench.connect(), bench.connect()];
    let answer = bench.ask("CONNECT a.example:443 HTTP/1.1\n\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(held);
    let begun = Instant::now();
    while !bench.ask("CONNECT a.example:443 HTTP/1.1\n\n").contains("403") {
        assert!(begun.elapsed() < PATIENCE);
    }
}

#[test]
fn stop_ends_what_hangs_and_records_it() {
    let (address, server) = host(2, echo);
    let mut bench = Bench::with(&[address.to_string()], &[], LONG);
    let mut first = bench.tunnel(address);
    first.write_all(b"abc").unwrap();
    let mut second = bench.connect();
    write!(second, "GET http://{address}/ HT").unwrap();
    let begun = Instant::now();
    bench.broker.take().unwrap().stop();
    assert!(begun.elapsed() < PATIENCE);
    let entry = bench.entries.try_recv().unwrap();
    assert_eq!((entry.method.as_str(), entry.outcome), ("CONNECT", Outcome::Allowed));
    assert_eq!((rest(&mut first), rest(&mut second)), (String::new(), String::new()));
    assert!(UnixStream::connect(bench.socket()).is_err());
    TcpStream::connect(address).unwrap();
    server.join().unwrap();
}

#[test]
fn stop_ends_what_waits_for_a_proxy() {
    let (proxy, server) = host(1, |mut stream| drop(rest(&mut stream)));
    let variables = [("https_proxy", proxy.to_string())];
    let mut bench = Bench::with(&["host.invalid".to_owned()], &variables, LONG);
    let mut stream = bench.connect();
    stream.write_all(b"CONNECT host.invalid:443 HTTP/1.1\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    bench.broker.take().unwrap().stop();
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(bench.entries.try_recv().unwrap().outcome, Outcome::Failed);
    assert!(!rest(&mut stream).contains("200"));
    server.join().unwrap();
}

#[test]
fn an_agent_that_leaves_takes_its_connection_with_it() {
    // The host never answers and never closes of its own accord.
    let (send, told) = channel();
    let (address, server) = host(1, move |mut stream| {
        head(&mut stream);
        send.send(rest(&mut stream)).unwrap();
    });
    let bench = Bench::new(&[address.to_string()]);
    let mut stream = bench.connect();
    write!(stream, "GET http://{address}/ HTTP/1.1\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    drop(stream);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "");
    server.join().unwrap();
}

#[test]
fn the_variables_of_the_inside_are_read_as_everybody_reads_them() {
    let variables = proxy_variables(4321);
    let inside = Upstream::from_variables(|name| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    })
    .unwrap();
    let proxy = |text: &str| {
        let target = Target::parse(text, None).unwrap();
        let proxies = [inside.to(&target, true), inside.to(&target, false)];
        proxies.map(|proxy| proxy.map(|proxy| proxy.target.to_string()))
    };
    assert_eq!(proxy("crates.io:443"), [(); 2].map(|()| Some("127.0.0.1:4321".to_owned())));
    for own in ["localhost:80", "127.0.0.1:80", "[::1]:80"] {
        assert_eq!(proxy(own), [None, None]);
    }
}

/// Starts the inside half; it ends with the tests.
fn forwarder(socket: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = socket.to_owned();
    std::thread::spawn(move || forward(&listener, &socket));
    address
}

#[test]
fn the_forwarder_carries_a_tunnel_and_a_denial() {
    let (address, server) = host(1, echo);
    let bench = Bench::new(&[address.to_string()]);
    let inside = forwarder(&bench.socket());
    let mut stream = TcpStream::connect(inside).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "CONNECT {address} HTTP/1.1\r\n\r\nhello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(rest(&mut stream).ends_with("\n\nhello"));
    server.join().unwrap();
    let mut stream = TcpStream::connect(inside).unwrap();
    write!(stream, "CONNECT example.com:443 HTTP/1.1\r\n\r\n").unwrap();
    let answer = rest(&mut stream);
    assert!(answer.contains("403 Forbidden") && answer.contains("network.allow"), "{answer}");
}

#[test]
fn the_forwarder_says_that_there_is_no_broker() {
    let dir = tempfile::tempdir().unwrap();
    let mut stream = TcpStream::connect(forwarder(&dir.path().join("none"))).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "CONNECT example.com:443 HTTP/1.1\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = rest(&mut stream);
    assert!(answer.contains("502") && answer.contains("broker does not answer"), "{answer}");
}

#[test]
fn nothing_is_left_of_two_hundred_connections() {
    const COUNT: usize = 200;
    /// What tests beside this one may hold of either.
    const OTHERS: usize = 60;
    let count = |of: &str| std::fs::read_dir(format!("/proc/self/{of}")).unwrap().count();
    let (address, server) = host(COUNT, echo);
    let bench = Bench::new(&[address.to_string()]);
    let before = [count("fd"), count("task")];
    for at in 0..COUNT {
        let mut stream = bench.tunnel(address);
        stream.write_all(b"x").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut stream), "x", "{at}");
    }
    server.join().unwrap();
    let entries: Vec<Entry> = (0..COUNT).map(|_| bench.entry()).collect();
    assert_eq!(entries.iter().map(|entry| entry.sent + entry.received).sum::<u64>(), 400);
    let begun = Instant::now();
    while count("fd") > before[0] + OTHERS || count("task") > before[1] + OTHERS {
        assert!(begun.elapsed() < PATIENCE, "{} {before:?}", count("fd"));
        std::thread::sleep(Duration::from_millis(50));
    }
}
