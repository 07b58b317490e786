//! Adds a key that the sandbox does not hold: takes plain HTTP on a unix socket, and asks one provider for
//! it over TLS, by the person's own `curl`.
//!
//! It reaches that provider and no other. A request is read whole, the answer is passed on as it comes.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::slots::Slots;
use super::{Entry, Outcome};
use crate::clock::Instant;
use crate::process::{Call, Piped, Variables};

/// The longest head of a request, and the longest body, in bytes.
const HEAD: usize = 128 * 1024;
const BODY: usize = 256 << 20;
/// How many requests are answered at a time.
const MOST: usize = 32;
/// How long a client may take over its request.
const PATIENCE: Duration = Duration::from_secs(120);
/// Headers that are between two neighbours, or that are set here.
const OWN: [&str; 9] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "upgrade",
    "host",
    "content-length",
    "expect",
];

/// A provider, and the key that it wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyed {
    /// The provider: `https://api.example.com`, with a port where it is not the usual one.
    pub origin: String,
    /// Host and port, for the record.
    pub target: (String, u16),
    /// The header that takes the key.
    pub header: String,
    /// What it says: the key, behind a word where the provider wants one.
    pub value: String,
    /// Headers in which an agent sends a key of its own, which is none; they are left out.
    pub instead_of: Vec<String>,
    /// Where `curl` is.
    pub curl: PathBuf,
    /// Its environment: proxies and certificates of the person's own.
    pub env: Variables,
}

impl Keyed {
    /// Returns the key itself.
    pub fn key(&self) -> &str {
        self.value.rsplit(' ').next().unwrap_or_default()
    }

    /// Serves `listener` until the process ends; `dir` is private, and `told` hears of each request.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn serve(
        self,
        listener: UnixListener,
        dir: &Path,
        told: impl Fn(Entry) + Send + Sync + 'static,
    ) -> io::Result<()> {
        let (keyed, dir, told) = (Arc::new(self), dir.to_owned(), Arc::new(told));
        std::thread::Builder::new().name("keyed".to_owned()).spawn(move || {
            let slots = Slots::new(MOST);
            for client in listener.incoming().flatten() {
                slots.wait_for_room();
                let slot = slots.take();
                let (keyed, dir, told) = (Arc::clone(&keyed), dir.clone(), Arc::clone(&told));
                // Where there is no thread, the client sees its connection end.
                let _ = std::thread::Builder::new().name("keyed".to_owned()).spawn(move || {
                    let entry = keyed.answer(client, &dir);
                    told(entry);
                    drop(slot);
                });
            }
        })?;
        Ok(())
    }

    /// Answers one request, and returns what came of it.
    fn answer(&self, mut client: UnixStream, dir: &Path) -> Entry {
        let began = Instant::now();
        let mut entry = Entry {
            host: self.target.0.clone(),
            port: self.target.1,
            method: String::new(),
            sent: 0,
            received: 0,
            ms: 0,
            outcome: Outcome::Failed,
            reason: None,
        };
        let done = client.set_read_timeout(Some(PATIENCE)).and_then(|()| Asked::read(&mut client));
        let done = done.and_then(|asked| {
            entry.method.clone_from(&asked.method);
            entry.sent = asked.body.len() as u64;
            self.ask(&asked, dir, &mut client)
        });
        match done {
            Ok(received) => (entry.outcome, entry.received) = (Outcome::Allowed, received),
            Err(error) => {
                let text = format!("the factory could not ask {}: {error}\n", self.origin);
                // A client that is gone needs no answer.
                let _ = write!(
                    client,
                    "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{text}",
                    text.len()
                );
                entry.reason = Some(error.to_string());
            }
        }
        entry.ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        entry
    }

    /// Asks the provider, and passes on its answer; returns its length.
    fn ask(&self, asked: &Asked, dir: &Path, client: &mut UnixStream) -> io::Result<u64> {
        let mut body = tempfile::NamedTempFile::new_in(dir)?;
        body.write_all(&asked.body)?;
        body.flush()?;
        // The key is in no argument, and on no disk.
        let call = Call::new(&self.curl, dir).args(["--config", "-"]).env(self.env.clone());
        let mut curl = Piped::open(&call)?;
        if let Some(mut stdin) = curl.stdin.take() {
            stdin.write_all(self.config(asked, body.path()).as_bytes())?;
        }
        let mut head = Vec::new();
        let mut passed = 0;
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = curl.stdout.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            let part = &buffer[..count];
            passed += count as u64;
            if passed == count as u64 || !head.is_empty() {
                head.extend_from_slice(part);
                let end = head.windows(4).position(|bytes| bytes == b"\r\n\r\n");
                match end {
                    Some(end) => client.write_all(&closing(&head, end))?,
                    // No answer has such a head.
                    None if head.len() > HEAD => client.write_all(&head)?,
                    None => continue,
                }
                head.clear();
            } else {
                client.write_all(part)?;
            }
        }
        let (ending, said) = curl.finish()?;
        if passed == 0 {
            let said = said.trim().trim_start_matches("curl: ").to_owned();
            return Err(io::Error::other(if said.is_empty() {
                format!("{ending:?}")
            } else {
                said
            }));
        }
        Ok(passed)
    }

    /// Returns what curl is told, in its own language.
    fn config(&self, asked: &Asked, body: &Path) -> String {
        let mut lines = vec![
            "silent".to_owned(),
            "show-error".to_owned(),
            "include".to_owned(),
            "no-buffer".to_owned(),
            "http1.1".to_owned(),
            "raw".to_owned(),
            "globoff".to_owned(),
            "path-as-is".to_owned(),
            "suppress-connect-headers".to_owned(),
            format!("url = {}", quoted(&format!("{}{}", self.origin, asked.path))),
            format!("request = {}", quoted(&asked.method)),
            // Curl's own are not sent where the agent has none.
            "header = \"Expect:\"".to_owned(),
            "header = \"Accept:\"".to_owned(),
            "user-agent = \"\"".to_owned(),
        ];
        if asked.method == "HEAD" {
            lines.push("head".to_owned());
        } else if !asked.body.is_empty() {
            lines.push(format!("data-binary = {}", quoted(&format!("@{}", body.display()))));
            lines.push("header = \"Content-Type:\"".to_owned());
        }
        let kept = asked.headers.iter().filter(|(name, _)| {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            !OWN.iter().any(|own| is(own))
                && !is(&self.header)
                && !self.instead_of.iter().any(|header| is(header))
        });
        lines.extend(
            kept.map(|(name, value)| format!("header = {}", quoted(&format!("{name}: {value}")))),
        );
        lines.push(format!("header = {}", quoted(&format!("{}: {}", self.header, self.value))));
        lines.join("\n") + "\n"
    }
}

/// Returns the beginning of an answer, whose head ends at `end`, as one after which the connection is closed.
fn closing(answer: &[u8], end: usize) -> Vec<u8> {
    let (head, rest) = answer.split_at(end);
    let text = String::from_utf8_lossy(head);
    let own = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default();
        !name.eq_ignore_ascii_case("connection") && !name.eq_ignore_ascii_case("keep-alive")
    };
    let lines: Vec<&str> = text.split("\r\n").filter(own).collect();
    let mut bytes = lines.join("\r\n").into_bytes();
    bytes.extend_from_slice(b"\r\nConnection: close");
    bytes.extend_from_slice(rest);
    bytes
}

/// Quotes a word for curl's configuration.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    fn read(client: &mut impl io::Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|bytes: &[u8]| bytes == b"\r\n\r\n") {
                break end;
            }
            if bytes.len() > HEAD {
                return Err(bad("its head is too long"));
            }
            more(client, &mut bytes)?;
        };
        let rest = bytes.split_off(end + 4);
        let mut asked = Self::head(&bytes[..end])?;
        let header = |name: &str| {
            let of_name = asked.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            of_name.map(|(_, value)| value.clone())
        };
        let is_chunked =
            header("transfer-encoding").is_some_and(|how| how.to_lowercase().contains("chunked"));
        let length = header("content-length");
        asked.body = match length {
            _ if is_chunked => chunks(client, rest)?,
            Some(length) => whole(client, rest, &length)?,
            None => Vec::new(),
        };
        Ok(asked)
    }

    fn head(bytes: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| bad("its head is no text"))?;
        if text.replace("\r\n", "").chars().any(char::is_control) {
            return Err(bad("its head has control characters"));
        }
        let mut lines = text.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (method, path, version) = (first.next(), first.next(), first.next());
        let (Some(method), Some(path), Some("HTTP/1.1" | "HTTP/1.0"), None) =
            (method, path, version, first.next())
        else {
            return Err(bad("its first line is none of HTTP/1.1"));
        };
        let is_word = !method.is_empty() && method.chars().all(|c| c.is_ascii_uppercase());
        if !is_word || !path.starts_with('/') {
            return Err(bad("it asks for no path"));
        }
        let headers = lines
            .map(|line| {
                let (name, value) =
                    line.split_once(':').ok_or_else(|| bad("a header has no colon"))?;
                Ok((name.to_owned(), value.trim().to_owned()))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { method: method.to_owned(), path: path.to_owned(), headers, body: Vec::new() })
    }
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the request makes no sense: {why}"))
}

fn more(client: &mut impl io::Read, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut part = [0; 16 * 1024];
    match client.read(&mut part)? {
        0 => Err(bad("it ends in the middle")),
        count => {
            bytes.extend_from_slice(&part[..count]);
            Ok(())
        }
    }
}

fn whole(client: &mut impl io::Read, mut body: Vec<u8>, length: &str) -> io::Result<Vec<u8>> {
    let length: usize = length.parse().map_err(|_| bad("its length is no number"))?;
    if length > BODY {
        return Err(bad("it is too long"));
    }
    while body.len() < length {
        more(client, &mut body)?;
    }
    body.truncate(length);
    Ok(body)
}

/// Reads a body that comes in chunks.
fn chunks(client: &mut impl io::Read, mut rest: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            match rest.windows(2).position(|bytes| bytes == b"\r\n") {
                Some(end) => break end,
                None if rest.len() > HEAD => return Err(bad("a chunk has no length")),
                None => more(client, &mut rest)?,
            }
        };
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| bad("a chunk has no length"))?;
        rest.drain(..end + 2);
        if body.len().saturating_add(size) > BODY {
            return Err(bad("it is too long"));
        }
        if size == 0 {
            return Ok(body);
        }
        while rest.len() < size + 2 {
            more(client, &mut rest)?;
        }
        body.extend(rest.drain(..size));
        rest.drain(..2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> io::Result<Asked> {
        Asked::read(&mut text.as_bytes())
    }

    fn keyed(origin: &str) -> Keyed {
        Keyed {
            origin: origin.to_owned(),
            target: ("api.example.com".to_owned(), 443),
            header: "x-api-key".to_owned(),
            value: "real \"key\"".to_owned(),
            instead_of: vec!["authorization".to_owned()],
            curl: "/usr/bin/curl".into(),
            env: Variables::new(),
        }
    }

    #[test]
    fn a_body_is_read_by_its_length_or_in_chunks() {
        let body = |text: &str| String::from_utf8(asked(text).unwrap().body).unwrap();
        assert_eq!(body("POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcd"), "abc");
        assert_eq!(
            body(
                "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n"
            ),
            "abc"
        );
        assert_eq!(body("GET /a HTTP/1.1\r\n\r\n"), "");
    }

    #[test]
    fn the_key_takes_the_place_of_what_the_agent_sends() {
        let text = "POST /v1/messages?beta=true HTTP/1.1\r\nHost: 127.0.0.1:3129\r\nX-Api-Key: none\r\n\
                    Authorization: Bearer none\r\nanthropic-version: 1\r\nContent-Length: 2\r\n\r\n{}";
        let config =
            keyed("https://api.example.com").config(&asked(text).unwrap(), Path::new("/b"));
        assert!(config.contains("url = \"https://api.example.com/v1/messages?beta=true\"\n"));
        assert!(config.contains("header = \"x-api-key: real \\\"key\\\"\"\n"), "{config}");
        assert!(config.contains("header = \"anthropic-version: 1\"\n"));
        assert!(!config.contains("none") && !config.contains("Host"), "{config}");
    }

    #[test]
    fn an_answer_is_passed_on_as_the_last_of_its_connection() {
        let answer =
            b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nKeep-Alive: 5\r\nX: 1\r\n\r\nbody";
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let passed = String::from_utf8(closing(answer, end)).unwrap();
        assert_eq!(passed, "HTTP/1.1 200 OK\r\nX: 1\r\nConnection: close\r\n\r\nbody");
    }

    #[test]
    fn what_is_no_request_for_a_path_is_refused() {
        for text in [
            "GET http://elsewhere/ HTTP/1.1\r\n\r\n",
            "CONNECT elsewhere:443 HTTP/1.1\r\n\r\n",
            "GET /a b HTTP/1.1\r\n\r\n",
            "get /a HTTP/1.1\r\n\r\n",
            "GET /a HTTP/2\r\n\r\n",
            "GET /a HTTP/1.1\r\nno colon\r\n\r\n",
            "GET /a HTTP/1.1\r\nX: a\nurl = b\r\n\r\n",
            "POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nab",
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert!(asked(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_request_adds_a_line_of_its_own(path in "/\\PC*", value in "\\PC*") {
            let text = format!("GET {path} HTTP/1.1\r\nX: {value}\r\n\r\n");
            if let Ok(asked) = asked(&text) {
                let config = keyed("https://api.example.com").config(&asked, Path::new("/b"));
                proptest::prop_assert_eq!(config.lines().filter(|line| line.starts_with("url")).count(), 1);
                proptest::prop_assert_eq!(config.lines().count(), 16);
            }
        }
    }
}
