//! The server: a thread a connection, one request each.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

use super::http::{self, Request};
use super::ledger::{Auth, Entry, Ledger, Prices, Tokens};
use super::oauth::Oauth;
use super::protocol::{Answer, Event, PROTOCOLS, Protocol, shell_call};
use super::script::{Course, Refusal, Script, Step};
use super::turns::{Answered, Asked, Turns};
use crate::clock::{Clock, Timestamp};

/// The headers that name a conversation, where the body does not.
const SESSIONS: [&str; 3] = ["x-claude-code-session-id", "session-id", "x-session-id"];

/// How a server is started.
#[derive(Debug, Default)]
pub struct Options {
    /// What it answers.
    pub script: Script,
    /// The port of 127.0.0.1; with 0 one that is free.
    pub port: u16,
    /// Where the ledger is written; nowhere where there is none.
    pub ledger: Option<PathBuf>,
    /// What tokens cost; the ledger names no dollars where there are none.
    pub prices: Option<Prices>,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Box<dyn Clock>,
    turns: Mutex<Turns>,
    oauth: Mutex<Option<Oauth>>,
    ledger: Ledger,
    count: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("turns", &self.turns).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens, and begins the ledger; the clients that come wait until [`Server::serve`].
    ///
    /// # Errors
    /// The port can't be had, or the ledger not be written.
    pub fn bind(options: Options, clock: Box<dyn Clock>) -> io::Result<Self> {
        let ledger = Ledger::create(options.ledger.as_deref(), options.prices)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
        let Script { oauth, turns } = options.script;
        let now = clock.now();
        let shared = Shared {
            turns: Mutex::new(Turns::new(turns)),
            oauth: Mutex::new(oauth.map(|script| Oauth::new(script, now))),
            ledger,
            count: AtomicU64::new(0),
            clock,
        };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Returns where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// Nothing more can be accepted.
    pub fn serve(&self) -> io::Result<()> {
        loop {
            let (mut stream, _) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let shared = self.shared.clone();
            thread::Builder::new().spawn(move || {
                // A client that has gone is none of the server's errors; there is nobody to tell.
                let _ = shared.one(&mut stream);
            })?;
        }
    }
}

impl Shared {
    fn one(&self, stream: &mut TcpStream) -> io::Result<()> {
        let mut to = stream.try_clone()?;
        let Some(request) = Request::read(stream, &mut to)? else { return Ok(()) };
        let n = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let now = self.clock.now();
        let mut entry = Entry {
            protocol: "other",
            path: request.path.clone(),
            auth: credential(&request).map(|(header, value)| Auth::of(header, &value)),
            ..Entry::default()
        };
        let is_post = request.method == "POST";
        if is_post && request.path.ends_with("/oauth/token") {
            entry.protocol = "oauth";
            return self.token(&mut to, &request, now, entry);
        }
        let protocol = PROTOCOLS.into_iter().find(|protocol| protocol.takes(&request.path));
        let Some(protocol) = protocol.filter(|_| is_post) else {
            return self.other(&mut to, &request, entry);
        };
        entry.protocol = protocol.name();
        let exchange = Exchange { shared: self, protocol, n, now };
        exchange.answer(&mut to, &request, entry)
    }

    fn token(
        &self,
        to: &mut TcpStream,
        request: &Request,
        now: Timestamp,
        entry: Entry,
    ) -> io::Result<()> {
        let mut oauth = self.oauth.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, body) = match oauth.as_mut() {
            Some(oauth) => oauth.token(request, now),
            None => (404, json!({"error": "the script has no `oauth`"})),
        };
        drop(oauth);
        // Which login it was is told by the token in the body, if any.
        self.ledger.write(&Entry { status: Some(status), ..entry })?;
        http::answer(to, status, &[], body.to_string().as_bytes(), false)
    }

    /// Answers what is no question to a model: probes, lists of models, counts of tokens.
    fn other(&self, to: &mut TcpStream, request: &Request, entry: Entry) -> io::Result<()> {
        let (status, body) = match request.method.as_str() {
            "HEAD" => (200, Value::Null),
            "GET" if request.path.ends_with("/models") => {
                (200, json!({"object": "list", "data": [], "models": []}))
            }
            "POST" if request.path.ends_with("/count_tokens") => (200, json!({"input_tokens": 10})),
            "POST" if request.path.ends_with(":countTokens") => (200, json!({"totalTokens": 10})),
            _ => (404, json!({"error": {"type": "not_found_error", "message": "not served here"}})),
        };
        self.ledger.write(&Entry { status: Some(status), ..entry })?;
        let body = if request.method == "HEAD" { String::new() } else { body.to_string() };
        http::answer(to, status, &[], body.as_bytes(), false)
    }
}

/// A question to a model, and its answer.
struct Exchange<'a> {
    shared: &'a Shared,
    protocol: &'static dyn Protocol,
    n: u64,
    now: Timestamp,
}

impl Exchange<'_> {
    fn answer(&self, to: &mut TcpStream, request: &Request, mut entry: Entry) -> io::Result<()> {
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return self.refuse(to, &Refusal::new(400, "the body is no JSON"), entry);
        };
        let mut asked = self.protocol.read(&request.path, &body);
        let session = SESSIONS.iter().find_map(|name| request.header(name)).map(str::to_owned);
        asked.session = session.or(asked.session);
        entry.model = asked.model.clone();
        if !self.is_allowed(request) {
            let refusal = Refusal::new(401, "the access token is not valid, or has expired");
            return self.refuse(to, &refusal, entry);
        }
        let Answered { turn, step } =
            self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner).answer(&asked);
        entry.turn = turn;
        entry.reply = turn.map(|_| step.number);
        if step.course != Course::Hang {
            thread::sleep(step.delay);
        }
        match &step.course {
            Course::Hang => {
                self.shared.ledger.write(&entry)?;
                wait_until_gone(to)
            }
            Course::Refused(refusal) => self.refuse(to, refusal, entry),
            Course::Whole | Course::Cut | Course::Malformed => self.play(to, &asked, &step, entry),
        }
    }

    fn is_allowed(&self, request: &Request) -> bool {
        let oauth = self.shared.oauth.lock().unwrap_or_else(PoisonError::into_inner);
        let token = request.header("authorization").and_then(bearer);
        oauth.as_ref().is_none_or(|oauth| oauth.allows(token, self.now))
    }

    fn refuse(&self, to: &mut TcpStream, refusal: &Refusal, entry: Entry) -> io::Result<()> {
        let (body, headers) = self.protocol.refusal(refusal, self.shared.clock.now());
        self.shared.ledger.write(&Entry { status: Some(refusal.status), ..entry })?;
        http::answer(to, refusal.status, &headers, body.to_string().as_bytes(), false)
    }

    fn play(&self, to: &mut TcpStream, asked: &Asked, step: &Step, entry: Entry) -> io::Result<()> {
        let call = match &step.run {
            None => None,
            Some(command) => match shell_call(&asked.tools, command) {
                None => {
                    let tools: Vec<&str> =
                        asked.tools.iter().map(|(name, _)| name.as_str()).collect();
                    let message = format!("no tool here runs a command: {}", tools.join(", "));
                    return self.refuse(to, &Refusal::new(400, message), entry);
                }
                call => call,
            },
        };
        let answer = Answer {
            n: self.n,
            at: self.now.unix_millis() / 1_000,
            model: asked.model.clone().unwrap_or_default(),
            say: step.say.clone().unwrap_or_default(),
            call,
            usage: step.usage,
        };
        let cut = step.course == Course::Cut;
        let malformed = step.course == Course::Malformed;
        if asked.streams {
            let mut events = self.protocol.events(&answer);
            if cut {
                events.truncate(events.len().div_ceil(2));
            } else if malformed {
                events.insert(events.len() / 2, Event::malformed());
            }
            let usage = events.iter().fold(Tokens::default(), |sum, event| sum + event.bills);
            self.shared.ledger.write(&Entry { status: Some(200), usage, ..entry })?;
            http::stream(to, &[], events.iter().map(|event| event.text.as_str()), cut)
        } else {
            let mut body = self.protocol.whole(&answer).to_string();
            if malformed {
                body.pop();
            }
            let usage = if cut || malformed { Tokens::default() } else { step.usage };
            self.shared.ledger.write(&Entry { status: Some(200), usage, ..entry })?;
            http::answer(to, 200, &[], body.as_bytes(), cut)
        }
    }
}

/// Returns the login of a request, and the header that it came in.
fn credential(request: &Request) -> Option<(&'static str, String)> {
    let authorization = request.header("authorization");
    let in_header = |name: &'static str| Some((name, request.header(name)?.to_owned()));
    let in_query = || {
        let key = request.query.split('&').find_map(|pair| pair.strip_prefix("key="))?;
        Some(("key", key.to_owned()))
    };
    authorization
        .map(|value| ("authorization", bearer(value).unwrap_or(value).to_owned()))
        .or_else(|| in_header("x-api-key"))
        .or_else(|| in_header("x-goog-api-key"))
        .or_else(|| in_header("api-key"))
        .or_else(in_query)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Waits until the client has closed the connection; what it still sends is thrown away.
fn wait_until_gone(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::path::Path;

    use super::*;
    use crate::clock::SystemClock;

    struct Bench {
        dir: tempfile::TempDir,
        address: SocketAddr,
    }

    impl Bench {
        fn new(script: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let options = Options {
                script: Script::parse(script, Path::new("")).unwrap(),
                ledger: Some(dir.path().join("ledger.jsonl")),
                prices: Some("input=1,output=2".parse().unwrap()),
                port: 0,
            };
            let server = Server::bind(options, Box::new(SystemClock)).unwrap();
            let address = server.address().unwrap();
            thread::spawn(move || server.serve());
            Self { dir, address }
        }

        /// Returns the answer, head and all.
        fn ask(&self, path: &str, headers: &str, body: &Value) -> String {
            let mut stream = TcpStream::connect(self.address).unwrap();
            let body = body.to_string();
            let length = body.len();
            let head = format!("POST {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n");
            stream.write_all((head + &body).as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        }

        fn ledger(&self) -> Vec<Value> {
            let text = std::fs::read_to_string(self.dir.path().join("ledger.jsonl")).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    fn question(session: &str) -> Value {
        json!({
            "model": "m", "stream": true, "prompt_cache_key": session,
            "input": [{"role": "user", "content": "Do it"}],
            "tools": [{"name": "exec_command", "parameters": {"properties": {"cmd": {"type": "string"}}}}],
        })
    }

    const KEY: &str = "Authorization: Bearer sk-fake-0000\r\n";

    #[test]
    fn a_retry_gets_the_next_reply_and_each_is_in_the_ledger() {
        let script = "turns:\n- replies:\n  - {status: 429, retry_after: 7}\n  - {run: echo a, cut: true}\n  \
                      - {run: echo a, malformed: true}\n  - run: echo a\n";
        let bench = Bench::new(script);
        let answers: Vec<String> =
            (0..5).map(|_| bench.ask("/v1/responses", KEY, &question("s"))).collect();
        assert!(
            answers[0].starts_with("HTTP/1.1 429 ") && answers[0].contains("retry-after: 7\r\n")
        );
        assert!(!answers[1].contains("response.completed") && !answers[1].ends_with("0\r\n\r\n"));
        assert!(
            answers[2].contains("this is no JSON") && answers[2].contains("response.completed")
        );
        assert!(answers[3].contains(r#"\"cmd\":\"echo a\""#) && !answers[3].contains("no JSON"));
        assert!(answers[4].contains("Nothing is left to do."));
        let ledger = bench.ledger();
        let column = |key: &str| ledger.iter().map(|line| line[key].clone()).collect::<Vec<_>>();
        assert_eq!(json!(column("reply")), json!([1, 2, 3, 4, null]));
        assert_eq!(json!(column("status")), json!([429, 200, 200, 200, 200]));
        let input: Vec<&Value> = ledger.iter().map(|line| &line["usage"]["input"]).collect();
        assert_eq!(json!(input), json!([0, 0, 1000, 1000, 10]));
        assert_eq!(ledger[3]["usd"], 0.00104);
        assert_eq!(ledger[0]["auth"]["header"], "authorization");
    }

    #[test]
    fn a_login_is_refreshed_and_then_good() {
        let bench =
            Bench::new("oauth: {access: a1, refresh: r1}\nturns: [{replies: [{say: Hello.}]}]\n");
        let ask = |token: &str| {
            let header = format!("Authorization: Bearer {token}\r\n");
            bench.ask("/v1/responses", &header, &question("s"))[9..12].to_owned()
        };
        assert_eq!(ask("a1"), "200");
        let refresh = json!({"grant_type": "refresh_token", "refresh_token": "r1"});
        assert!(bench.ask("/oauth/token", "", &refresh).contains(r#""access_token":"a1-2""#));
        assert!(bench.ask("/oauth/token", "", &refresh).contains("invalid_grant"));
        assert_eq!((ask("a1"), ask("a1-2")), ("401".to_owned(), "200".to_owned()));
        let protocols: Vec<Value> =
            bench.ledger().iter().map(|line| line["protocol"].clone()).collect();
        assert_eq!(
            json!(protocols),
            json!(["responses", "oauth", "oauth", "responses", "responses"])
        );
    }

    #[test]
    fn a_hang_lasts_until_the_client_goes() {
        let bench = Bench::new("turns: [{replies: [{hang: true}, {say: Hello.}]}]\n");
        let mut stream = TcpStream::connect(bench.address).unwrap();
        let body = question("s").to_string();
        let head = format!("POST /v1/responses HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
        assert!(stream.read(&mut [0; 1]).is_err());
        drop(stream);
        assert!(bench.ask("/v1/responses", "", &question("s")).contains("Hello."));
        assert_eq!(bench.ledger()[0]["status"], Value::Null);
    }

    #[test]
    fn probes_and_requests_that_nobody_can_read_take_no_turn() {
        let bench = Bench::new("turns: [{replies: [{run: echo a}]}]\n");
        let mut title = question("s");
        title["tools"] = json!([]);
        assert!(bench.ask("/v1/responses", "", &title).contains("A short answer"));
        assert!(bench.ask("/v1/messages/count_tokens", "", &json!({})).contains("input_tokens"));
        assert!(bench.ask("/v1/nothing", "", &json!({})).starts_with("HTTP/1.1 404 "));
        let mut without = question("s");
        without["tools"] = json!([{"name": "Read"}]);
        assert!(
            bench.ask("/v1/responses", "", &without).contains("no tool here runs a command: Read")
        );
        assert!(bench.ledger().iter().all(|line| line["usage"]["output"] != 20));
    }

    #[test]
    fn an_answer_in_one_piece_is_billed_when_it_is_whole() {
        let bench = Bench::new("turns: [{replies: [{say: Hello., cut: true}, {say: Hello.}]}]\n");
        let question = json!({
            "model": "m", "messages": [{"role": "user", "content": "Do it"}],
            "tools": [{"function": {"name": "bash"}}],
        });
        let half = bench.ask("/v1/chat/completions", "", &question);
        let whole = bench.ask("/v1/chat/completions", "", &question);
        assert!(half.len() < whole.len() && whole.contains("Hello."));
        let outputs: Vec<Value> =
            bench.ledger().iter().map(|line| line["usage"]["output"].clone()).collect();
        assert_eq!(json!(outputs), json!([0, 20]));
    }
}
