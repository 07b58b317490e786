//! A port that someone else listens on.

use std::sync::LazyLock;

use regex::Regex;

use super::{Cause, Evidence, Rule, pattern};

/// Recognises an address that is in use.
#[derive(Debug)]
pub(super) struct PortInUse;

static SIGN: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)(?:address already in use|EADDRINUSE|AddrInUse)"));

static PORTS: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    [
        pattern(r"EADDRINUSE[^\n]*:(\d{2,5})\b"),
        pattern(r"listen tcp \S*:(\d{2,5}): bind: address already in use"),
        pattern(r"(?i)(?:port |[\w.\])]:)(\d{2,5})\b[^\n]*address already in use"),
    ]
});

impl Rule for PortInUse {
    fn id(&self) -> &'static str {
        "port-in-use"
    }

    fn heading(&self) -> &'static str {
        "Port in use"
    }

    fn find(&self, evidence: &Evidence<'_>) -> Option<Cause> {
        evidence.matches(&SIGN).next()?;
        let detail = evidence.first_group(&*PORTS).map_or_else(
            || "a port that is not named".to_owned(),
            |port| format!("port {}", evidence.plainly(port)),
        );
        Some(Cause::new(
            self,
            evidence,
            detail,
            "Take the port from the caller (0 for any that is free) instead of a fixed one, end \
             servers on SIGTERM at once, and set SO_REUSEADDR.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn the_port_is_named() {
        check(
            &PortInUse,
            "Error: listen EADDRINUSE: address already in use :::3000\n    at Server.setupListen\n",
            "port 3000",
        );
        check(&PortInUse, "listen tcp :8080: bind: address already in use\n", "port 8080");
        check(
            &PortInUse,
            "error while attempting to bind on address ('127.0.0.1', 8000): address already in use\n",
            "a port that is not named",
        );
        check(
            &PortInUse,
            "OSError: [Errno 98] Address already in use\n",
            "a port that is not named",
        );
        check(
            &PortInUse,
            "Os { code: 98, kind: AddrInUse, message: \"Address already in use\" }\n",
            "a port that is not named",
        );
    }

    #[test]
    fn a_port_alone_is_no_cause() {
        check(&PortInUse, "listening on port 8080\n", "");
    }
}
