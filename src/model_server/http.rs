//! As much of HTTP/1.1 as the agents' clients need: a request is read whole, an answer ends its connection.

use std::io::{self, Read, Write};

/// How long the head of a request may be, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// How long its body may be, in bytes: an agent sends the whole conversation.
const MAX_BODY: usize = 256 * 1024 * 1024;

/// A request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// `GET`, `POST`, ...
    pub(super) method: String,
    /// What it asks for, without what follows a `?`.
    pub(super) path: String,
    /// What follows the `?`; empty where there is none.
    pub(super) query: String,
    /// The names are in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// The body; empty where there is none.
    pub(super) body: Vec<u8>,
}

impl Request {
    /// Reads a request; none where the client has gone before it sent one whole.
    ///
    /// # Errors
    /// It is too long, or no request.
    pub(super) fn read(from: &mut impl Read, to: &mut impl Write) -> io::Result<Option<Self>> {
        let mut input = Input { from, buffer: Vec::new() };
        let Some(mut request) = input.head()? else { return Ok(None) };
        if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let chunked =
            request.header("transfer-encoding").is_some_and(|value| value.contains("chunked"));
        let body = if chunked {
            input.chunks()?
        } else {
            let length = request.header("content-length").map_or(Ok(0), str::parse);
            input.exactly(length.map_err(|_| bad("Content-Length is no number"))?)?
        };
        let Some(body) = body else { return Ok(None) };
        request.body = body;
        Ok(Some(request))
    }

    /// Returns the first header `name`, which is in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|(_, value)| value.as_str())
    }
}

/// Writes an answer that is known whole. Of a `cut` one only the first half is sent.
pub(super) fn answer(
    to: &mut impl Write,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
    cut: bool,
) -> io::Result<()> {
    let length = ("Content-Length".to_owned(), body.len().to_string());
    let kind = ("Content-Type".to_owned(), "application/json".to_owned());
    to.write_all(head(status, [kind, length].iter().chain(headers)).as_bytes())?;
    to.write_all(if cut { &body[..body.len() / 2] } else { body })?;
    to.flush()
}

/// Writes a stream of events, in chunks, each as soon as it is there. Of a `cut` one the end is missing,
/// as of a connection that has broken.
pub(super) fn stream<'a>(
    to: &mut impl Write,
    headers: &[(String, String)],
    events: impl IntoIterator<Item = &'a str>,
    cut: bool,
) -> io::Result<()> {
    let kind = ("Content-Type".to_owned(), "text/event-stream".to_owned());
    let coding = ("Transfer-Encoding".to_owned(), "chunked".to_owned());
    to.write_all(head(200, [kind, coding].iter().chain(headers)).as_bytes())?;
    for event in events {
        to.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
        to.flush()?;
    }
    if !cut {
        to.write_all(b"0\r\n\r\n")?;
    }
    to.flush()
}

fn head<'a>(status: u16, headers: impl Iterator<Item = &'a (String, String)>) -> String {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        529 => "Overloaded",
        _ => "Status",
    };
    let mut head = format!("HTTP/1.1 {status} {reason}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What has come of a connection, and not been looked at yet.
struct Input<'a, R> {
    from: &'a mut R,
    buffer: Vec<u8>,
}

impl<R: Read> Input<'_, R> {
    /// Reads more; false at the end.
    fn more(&mut self) -> io::Result<bool> {
        let mut part = [0; 16 * 1024];
        loop {
            match self.from.read(&mut part) {
                Ok(count) => {
                    self.buffer.extend_from_slice(&part[..count]);
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what comes before `end`, and `end` itself, which is not returned.
    fn until(&mut self, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|part| part == end) {
                let rest = self.buffer.split_off(at + end.len());
                let mut found = std::mem::replace(&mut self.buffer, rest);
                found.truncate(at);
                return Ok(Some(found));
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(bad("the head is too long"));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Option<Vec<u8>>> {
        if length > MAX_BODY {
            return Err(bad("the body is too long"));
        }
        while self.buffer.len() < length {
            if !self.more()? {
                return Ok(None);
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(Some(std::mem::replace(&mut self.buffer, rest)))
    }

    fn head(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = self.until(b"\r\n\r\n")? else { return Ok(None) };
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (first.next(), first.next(), first.next(), first.next())
        else {
            return Err(bad("the first line is not `METHOD TARGET HTTP/1.1`"));
        };
        if !version.starts_with("HTTP/1.") {
            return Err(bad("it is no HTTP/1"));
        }
        // The form a proxy is asked in: an agent may come by one.
        let target = match target.strip_prefix("http://") {
            Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
            None => target,
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| bad("a line is no header"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Some(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: Vec::new(),
        }))
    }

    fn chunks(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.until(b"\r\n")? else { return Ok(None) };
            let line = String::from_utf8_lossy(&line);
            let length = line.split(';').next().unwrap_or_default().trim();
            let length =
                usize::from_str_radix(length, 16).map_err(|_| bad("a chunk has no length"))?;
            if length == 0 {
                // Trailers, up to the empty line.
                loop {
                    match self.until(b"\r\n")? {
                        None => return Ok(None),
                        Some(line) if line.is_empty() => return Ok(Some(body)),
                        Some(_) => {}
                    }
                }
            }
            let Some(chunk) = self.exactly(length)? else { return Ok(None) };
            if body.len() + chunk.len() > MAX_BODY {
                return Err(bad("the body is too long"));
            }
            body.extend_from_slice(&chunk);
            if self.until(b"\r\n")?.is_none() {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> io::Result<Option<Request>> {
        Request::read(&mut &*text, &mut io::sink())
    }

    #[test]
    fn a_body_has_a_length_or_comes_in_chunks() {
        for body in [
            "Content-Length: 3\r\n\r\nabc",
            "Transfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        ] {
            let request = read(format!("POST /v1/a?b=c HTTP/1.1\r\nX-A: 1\r\n{body}").as_bytes());
            let request = request.unwrap().unwrap();
            assert_eq!((request.path.as_str(), request.query.as_str()), ("/v1/a", "b=c"));
            assert_eq!((request.body.as_slice(), request.header("x-a")), (&b"abc"[..], Some("1")));
        }
        let proxied = read(b"GET http://a.example/p HTTP/1.1\r\n\r\n").unwrap().unwrap();
        assert_eq!(proxied.path, "/p");
    }

    #[test]
    fn a_client_that_goes_has_asked_nothing() {
        for text in ["", "POST / HT", "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabc"] {
            assert_eq!(read(text.as_bytes()).unwrap(), None, "{text}");
        }
        assert!(read(b"nothing\r\n\r\n").is_err());
    }

    #[test]
    fn a_cut_answer_lacks_its_end() {
        let written = |cut| {
            let mut out = Vec::new();
            stream(&mut out, &[], ["data: 1\n\n"], cut).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(written(false).ends_with("\r\n\r\n9\r\ndata: 1\n\n\r\n0\r\n\r\n"));
        assert!(written(true).ends_with("9\r\ndata: 1\n\n\r\n"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let _ = read(&[b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", bytes.as_slice()].concat());
        }
    }
}
