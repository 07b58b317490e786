//! Reads the head of a request to a proxy, and writes the one that goes on. Strict: what two
//! programs could read differently is refused, since one of them is the agent's.

use super::host::{HostError, Target};

/// The most that the head of a request or an answer takes, in bytes.
pub const MAX_HEAD: usize = 32 * 1024;
/// The most header lines that a request has.
const MAX_HEADERS: usize = 128;

/// Headers that concern a connection, not what is asked; they end here.
const HOP_BY_HOP: [&str; 6] = ["connection", "keep-alive", "te", "trailer", "upgrade", "host"];

/// What is asked of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method as it stands in the request.
    pub method: String,
    /// The host that is asked for.
    pub target: Target,
    /// What to do with it.
    pub kind: Kind,
}

/// The two things that a proxy is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `CONNECT`: bytes both ways.
    Tunnel,
    /// A request of plain http.
    Plain(Plain),
}

/// What goes on of a request of plain http.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    /// From the first `/` on, with the query.
    pub path: String,
    /// How many bytes follow the head.
    pub length: u64,
    /// 0 or 1, of HTTP/1.0 and 1.1.
    minor: u8,
    /// The headers that go on, in their order, without `Host`.
    headers: Vec<(String, Vec<u8>)>,
}

/// Who reads a head that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// The host that the request names.
    Host,
    /// A proxy before it, with the value of `Proxy-Authorization` where it takes one.
    Proxy(Option<&'a str>),
}

/// Why a request is refused before anybody looks for its host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The first line is none of HTTP/1.
    #[error("the first line is not `METHOD TARGET HTTP/1.1`")]
    Line,
    /// The target is a path.
    #[error("this is a proxy: a request names its host, as in `GET http://HOST/PATH`")]
    NoHost,
    /// The target is of https, which goes through a tunnel.
    #[error("https goes through `CONNECT HOST:443`")]
    Tls,
    /// The target has a login in it, or is of neither http nor https.
    #[error("the target is not of the form `http://HOST/PATH`")]
    Target,
    /// The host or its port can't be read.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A line of the head is no header.
    #[error("a line of the head is not `NAME: VALUE`")]
    Header,
    /// The head has too many lines.
    #[error("the head has more than {MAX_HEADERS} lines")]
    Lines,
    /// The head is too long.
    #[error("the head has more than {MAX_HEAD} bytes")]
    Long,
    /// The length of the body is no number, or is given twice.
    #[error("`Content-Length` is not one number")]
    Length,
    /// The body is in chunks.
    #[error("a body over plain http needs a `Content-Length`, or https")]
    Chunked,
}

impl BadRequest {
    /// Returns the status that answers such a request.
    pub fn status(&self) -> u16 {
        match self {
            Self::Lines | Self::Long => 431,
            Self::Chunked => 411,
            Self::Line
            | Self::NoHost
            | Self::Tls
            | Self::Target
            | Self::Host(_)
            | Self::Header
            | Self::Length => 400,
        }
    }
}

impl Request {
    /// Reads a head, from its first byte to the empty line that ends it.
    ///
    /// # Errors
    /// It is none that a proxy takes.
    pub fn parse(head: &[u8]) -> Result<Self, BadRequest> {
        if head.len() > MAX_HEAD {
            return Err(BadRequest::Long);
        }
        let lines = head.strip_suffix(b"\r\n\r\n").ok_or(BadRequest::Header)?;
        let mut lines = split_lines(lines);
        let (method, target, minor) = first_line(lines.next().unwrap_or_default())?;
        let headers = lines.map(header).collect::<Result<Vec<_>, _>>()?;
        if headers.len() > MAX_HEADERS {
            return Err(BadRequest::Lines);
        }
        if method == "CONNECT" {
            let target = Target::parse(target, None)?;
            return Ok(Self { method: method.to_owned(), target, kind: Kind::Tunnel });
        }
        let (authority, path) = absolute(target)?;
        let target = Target::parse(authority, Some(80))?;
        let length = body_length(&headers)?;
        let headers = end_to_end(headers);
        let plain = Plain { path, length, minor, headers };
        Ok(Self { method: method.to_owned(), target, kind: Kind::Plain(plain) })
    }
}

impl Plain {
    /// Writes the head for `next`, which closes the connection after its answer.
    pub fn head(&self, method: &str, target: &Target, next: Next<'_>) -> Vec<u8> {
        let host = match target.port {
            80 => target.host.to_string(),
            _ => target.to_string(),
        };
        let path = &self.path;
        let origin = match next {
            Next::Host => String::new(),
            Next::Proxy(_) => format!("http://{host}"),
        };
        let minor = self.minor;
        let mut out =
            format!("{method} {origin}{path} HTTP/1.{minor}\r\nHost: {host}\r\n").into_bytes();
        for (name, value) in &self.headers {
            push(&mut out, name, value);
        }
        if let Next::Proxy(Some(login)) = next {
            push(&mut out, "Proxy-Authorization", login.as_bytes());
        }
        push(&mut out, "Connection", b"close");
        out.extend_from_slice(b"\r\n");
        out
    }
}

fn push(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Splits at each CR LF; either of them alone is left in its line, where nothing allows it.
fn split_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let all = rest?;
        let end = all.windows(2).position(|pair| pair == b"\r\n");
        rest = end.map(|end| &all[end + 2..]);
        Some(&all[..end.unwrap_or(all.len())])
    })
}

/// Returns the method, the target and the minor version.
fn first_line(line: &[u8]) -> Result<(&str, &str, u8), BadRequest> {
    let line = std::str::from_utf8(line).map_err(|_| BadRequest::Line)?;
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BadRequest::Line);
    };
    let minor = match version {
        "HTTP/1.0" => 0,
        "HTTP/1.1" => 1,
        _ => return Err(BadRequest::Line),
    };
    let is_method = (1..=32).contains(&method.len()) && method.bytes().all(is_token);
    let is_target = !target.is_empty() && target.bytes().all(|b| b.is_ascii_graphic());
    if is_method && is_target { Ok((method, target, minor)) } else { Err(BadRequest::Line) }
}

/// Splits a target of absolute form into who and what.
fn absolute(target: &str) -> Result<(&str, String), BadRequest> {
    if target.starts_with('/') || target == "*" {
        return Err(BadRequest::NoHost);
    }
    let (scheme, rest) = target.split_once("://").ok_or(BadRequest::Target)?;
    if scheme.eq_ignore_ascii_case("https") {
        return Err(BadRequest::Tls);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !scheme.eq_ignore_ascii_case("http") || authority.contains('@') || path.contains('#') {
        return Err(BadRequest::Target);
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok((authority, format!("{slash}{path}")))
}

fn header(line: &[u8]) -> Result<(String, Vec<u8>), BadRequest> {
    let colon = line.iter().position(|b| *b == b':').ok_or(BadRequest::Header)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_value = |b: &u8| *b == b'\t' || (*b >= b' ' && *b != 0x7f);
    match std::str::from_utf8(name) {
        Ok(text)
            if !text.is_empty()
                && name.iter().copied().all(is_token)
                && value.iter().all(is_value) =>
        {
            Ok((text.to_owned(), value.trim_ascii().to_owned()))
        }
        _ => Err(BadRequest::Header),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn body_length(headers: &[(String, Vec<u8>)]) -> Result<u64, BadRequest> {
    let is = |name: &'static str| {
        headers
            .iter()
            .filter(move |header| header.0.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    if is("transfer-encoding").next().is_some() {
        return Err(BadRequest::Chunked);
    }
    let mut lengths = is("content-length");
    let Some(length) = lengths.next() else { return Ok(0) };
    if lengths.next().is_some() || !length.iter().all(u8::is_ascii_digit) {
        return Err(BadRequest::Length);
    }
    std::str::from_utf8(length).ok().and_then(|text| text.parse().ok()).ok_or(BadRequest::Length)
}

/// Takes out what concerns the connection to the broker: what is known to, and what `Connection`
/// names. The length of the body stays, whatever names it.
fn end_to_end(headers: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let named: Vec<String> = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
        .flat_map(|(_, value)| value.split(|b| *b == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .collect();
    let stays = |name: &str| {
        let name = name.to_ascii_lowercase();
        name == "content-length"
            || !(name.starts_with("proxy-")
                || HOP_BY_HOP.contains(&name.as_str())
                || named.contains(&name))
    };
    headers.into_iter().filter(|(name, _)| stays(name)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(head: &str) -> Result<Request, BadRequest> {
        Request::parse(head.replace('\n', "\r\n").as_bytes())
    }

    /// The head that goes on, to the host itself.
    fn check(head: &str, expected: &str) {
        let request = parse(head).unwrap();
        let Kind::Plain(plain) = &request.kind else { panic!("{request:?}") };
        let sent =
            String::from_utf8(plain.head(&request.method, &request.target, Next::Host)).unwrap();
        assert_eq!(sent.replace("\r\n", "\n"), expected);
    }

    #[test]
    fn connect_names_a_host_and_a_port() {
        let request = parse("CONNECT Crates.io:443 HTTP/1.1\nHost: other.example\n\n").unwrap();
        assert_eq!(
            (request.target.to_string().as_str(), request.kind),
            ("crates.io:443", Kind::Tunnel)
        );
        assert!(matches!(parse("CONNECT crates.io HTTP/1.1\n\n"), Err(BadRequest::Host(_))));
    }

    #[test]
    fn the_host_of_the_target_is_the_one_that_goes_on() {
        check(
            "GET http://A.example/p?q=1 HTTP/1.1\nHost: b.example\nAccept: x\n\n",
            "GET /p?q=1 HTTP/1.1\nHost: a.example\nAccept: x\nConnection: close\n\n",
        );
        check(
            "GET http://a.example:8080?q HTTP/1.0\n\n",
            "GET /?q HTTP/1.0\nHost: a.example:8080\nConnection: close\n\n",
        );
    }

    #[test]
    fn what_concerns_the_connection_ends_here() {
        check(
            "POST http://a.example/ HTTP/1.1\nProxy-Authorization: Basic eA==\nProxy-Connection: keep-alive\n\
             Connection: keep-alive, X-Own, content-length\nKeep-Alive: 5\nTE: trailers\nUpgrade: h2c\nx-own: 1\n\
             Content-Length:  3 \n\n",
            "POST / HTTP/1.1\nContent-Length: 3\nConnection: close\n\n"
                .replace("\nContent", "\nHost: a.example\nContent")
                .as_str(),
        );
    }

    #[test]
    fn a_proxy_before_the_host_gets_the_whole_address_and_the_login() {
        let request = parse("GET http://a.example/p HTTP/1.1\n\n").unwrap();
        let Kind::Plain(plain) = &request.kind else { panic!() };
        let head = plain.head("GET", &request.target, Next::Proxy(Some("Basic eA==")));
        assert_eq!(
            String::from_utf8(head).unwrap().replace("\r\n", "\n"),
            "GET http://a.example/p HTTP/1.1\nHost: a.example\nProxy-Authorization: Basic eA==\nConnection: close\n\n"
        );
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (head, expected) in [
            ("GET / HTTP/1.1\n\n", BadRequest::NoHost),
            ("OPTIONS * HTTP/1.1\n\n", BadRequest::NoHost),
            ("GET https://a/ HTTP/1.1\n\n", BadRequest::Tls),
            ("GET ftp://a/ HTTP/1.1\n\n", BadRequest::Target),
            ("GET http://u:p@a/ HTTP/1.1\n\n", BadRequest::Target),
            ("GET http://a/#b HTTP/1.1\n\n", BadRequest::Target),
            ("GET a HTTP/1.1\n\n", BadRequest::Target),
            ("GET  http://a/ HTTP/1.1\n\n", BadRequest::Line),
            ("GET http://a/ HTTP/2\n\n", BadRequest::Line),
            ("GET http://a/\n\n", BadRequest::Line),
            ("G(T http://a/ HTTP/1.1\n\n", BadRequest::Line),
            ("GET http://a/\u{e9} HTTP/1.1\n\n", BadRequest::Line),
            ("\nGET http://a/ HTTP/1.1\n\n", BadRequest::Line),
            ("GET http://a/ HTTP/1.1\nA b: c\n\n", BadRequest::Header),
            ("GET http://a/ HTTP/1.1\nA : c\n\n", BadRequest::Header),
            ("GET http://a/ HTTP/1.1\nA: c\n folded\n\n", BadRequest::Header),
            ("GET http://a/ HTTP/1.1\nA: \u{1}\n\n", BadRequest::Header),
            ("GET http://a/ HTTP/1.1\nA: b\r\n\n", BadRequest::Header),
            ("GET http://a/ HTTP/1.1\nA: b", BadRequest::Header),
            (
                "GET http://a/ HTTP/1.1\nContent-Length: 1\nContent-Length: 1\n\n",
                BadRequest::Length,
            ),
            ("GET http://a/ HTTP/1.1\nContent-Length: +1\n\n", BadRequest::Length),
            ("GET http://a/ HTTP/1.1\nContent-Length:\n\n", BadRequest::Length),
            ("GET http://a/ HTTP/1.1\nTransfer-Encoding: chunked\n\n", BadRequest::Chunked),
        ] {
            assert_eq!(parse(head), Err(expected), "{head}");
        }
        let bare = b"GET http://a/ HTTP/1.1\r\nA: b\nHost: c\r\n\r\n";
        assert_eq!(Request::parse(bare), Err(BadRequest::Header));
    }

    #[test]
    fn a_head_has_a_bound() {
        let lines = "A: b\n".repeat(MAX_HEADERS + 1);
        assert_eq!(parse(&format!("GET http://a/ HTTP/1.1\n{lines}\n")), Err(BadRequest::Lines));
        let long = "b".repeat(MAX_HEAD);
        let error = parse(&format!("GET http://a/ HTTP/1.1\nA: {long}\n\n")).unwrap_err();
        assert_eq!((error.status(), error), (431, BadRequest::Long));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(head in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::parse(&head);
        }

        #[test]
        fn what_goes_on_to_a_proxy_reads_back_the_same(
            host in "[a-z]{1,8}(:[1-9][0-9]{0,3})?",
            path in "(/[!-\"$-~]{0,20})?",
            headers in proptest::collection::vec(("[A-Za-z-]{1,12}", "[ -~\\t]{0,20}"), 0..6),
        ) {
            let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            let read = parse(&format!("GET http://{host}{path} HTTP/1.1\n{lines}\n"));
            // The names may be those of a body's length.
            if let Ok(request) = read {
                let Kind::Plain(plain) = &request.kind else { panic!("{request:?}") };
                let head = plain.head(&request.method, &request.target, Next::Proxy(Some("Basic eA==")));
                let again = Request::parse(&head);
                prop_assert_eq!(again.as_ref(), Ok(&request));
                let own = String::from_utf8(plain.head("GET", &request.target, Next::Host)).unwrap();
                prop_assert!(own.starts_with("GET /"));
                prop_assert_eq!(own.to_lowercase().matches("\r\nhost:").count(), 1);
                prop_assert!(!own.to_lowercase().contains("\r\nproxy-"));
            }
        }
    }
}
