//! The names and addresses of hosts, as they stand in settings and in requests.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::text::visible;

/// A host: a name in lower case without a dot at its end, or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name, to be resolved.
    Name(String),
    /// An address; one of IPv4 that is written as IPv6 (`::ffff:10.0.0.1`) is the former.
    Address(IpAddr),
}

/// A host and a port of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The port, above zero.
    pub port: u16,
}

/// Why a text names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The name has other characters than a host has, or is too long.
    #[error("`{}` is no name of a host; write letters, digits, `-` and dots", visible(.0))]
    Name(String),
    /// A part of an address, or one in octal or hexadecimal, which programs read differently.
    #[error("`{0}` is no name of a host; write an address as in `10.0.0.1`")]
    Number(String),
    /// The name is not in ASCII.
    #[error("`{}` is not in ASCII; write the host in its `xn--` form", visible(.0))]
    NotAscii(String),
    /// Brackets hold no address.
    #[error("`{}` is no address; write one as in `[::1]`", visible(.0))]
    Address(String),
    /// What follows the host is no port.
    #[error("`{}` is no port; write one of 1 to 65535", visible(.0))]
    Port(String),
    /// There is no port, and none is taken for granted.
    #[error("`{}` has no port; write `HOST:PORT`", visible(.0))]
    NoPort(String),
}

impl Host {
    /// Reads a name or an address; one of IPv6 may have brackets.
    ///
    /// # Errors
    /// The text is neither. Numbers that resolvers take for an address (`127.1`, `0x7f000001`)
    /// are neither.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        if let Some(inner) = text.strip_prefix('[') {
            return inner
                .strip_suffix(']')
                .and_then(|inner| inner.parse::<Ipv6Addr>().ok())
                .map(|address| Self::Address(IpAddr::V6(address).to_canonical()))
                .ok_or_else(|| HostError::Address(text.to_owned()));
        }
        if !text.is_ascii() {
            return Err(HostError::NotAscii(text.to_owned()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(HostError::Name(text.to_owned()));
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.starts_with("0x") || last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(HostError::Number(text.to_owned()));
        }
        Ok(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl Target {
    /// Reads `HOST:PORT`, and `HOST` where there is a port to take for granted.
    ///
    /// # Errors
    /// The text has no host, or no port.
    pub fn parse(text: &str, usual: Option<u16>) -> Result<Self, HostError> {
        let (host, port) = split(text)?;
        let port = port.or(usual).ok_or_else(|| HostError::NoPort(text.to_owned()))?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Reads `HOST` or `HOST:PORT`; a bare address of IPv6 has no port.
pub(super) fn split(text: &str) -> Result<(Host, Option<u16>), HostError> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((Host::parse(text)?, None));
    }
    // The colons in brackets are the address's.
    let from = match text.strip_prefix('[') {
        Some(_) => text.rfind(']').unwrap_or(text.len()),
        None => 0,
    };
    let Some(colon) = text[from..].find(':').map(|at| from + at) else {
        return Ok((Host::parse(text)?, None));
    };
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    let number = Some(port)
        .filter(|port| port.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|port| port.parse::<u16>().ok())
        .filter(|port| *port > 0)
        .ok_or_else(|| HostError::Port(port.to_owned()))?;
    Ok((Host::parse(host)?, Some(number)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        let read = Target::parse(text, None);
        assert_eq!(read.map_or_else(|e| e.to_string(), |target| target.to_string()), expected);
    }

    #[test]
    fn case_and_a_dot_at_the_end_make_no_difference() {
        check("Crates.IO.:443", "crates.io:443");
        check("a_b.example:1", "a_b.example:1");
    }

    #[test]
    fn addresses_have_one_form() {
        check("10.0.0.1:80", "10.0.0.1:80");
        check("[::ffff:10.0.0.1]:80", "10.0.0.1:80");
        check("[0:0::1]:80", "[::1]:80");
        assert_eq!(Host::parse("::1"), Host::parse("[::1]"));
    }

    #[test]
    fn a_number_is_no_address_in_disguise() {
        for text in ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "1.2.3.4.5", "a.0x1"] {
            let error = Target::parse(&format!("{text}:80"), None).unwrap_err();
            assert_eq!(error, HostError::Number(text.to_owned()));
        }
    }

    #[test]
    fn what_names_no_host_is_said() {
        check("example.com", "`example.com` has no port; write `HOST:PORT`");
        check("example.com:0", "`0` is no port; write one of 1 to 65535");
        check("example.com:+1", "`+1` is no port; write one of 1 to 65535");
        check(
            "bücher.example:1",
            "`bücher.example` is not in ASCII; write the host in its `xn--` form",
        );
        let odd = "is no name of a host; write letters, digits, `-` and dots";
        check("a b:1", &format!("`a b` {odd}"));
        check("a..b:1", &format!("`a..b` {odd}"));
        check(":1", &format!("`` {odd}"));
        check("u@h:1", &format!("`u@h` {odd}"));
        check("[fe80::1%eth0]:1", "`[fe80::1%eth0]` is no address; write one as in `[::1]`");
        check("[::1", "`[::1` is no address; write one as in `[::1]`");
    }

    proptest! {
        #[test]
        fn what_is_read_is_printed_so_that_it_reads_back_the_same(text in "[a-c0-9.:\\[\\]x-]{0,24}") {
            if let Ok(target) = Target::parse(&text, Some(80)) {
                prop_assert_eq!(Target::parse(&target.to_string(), None), Ok(target));
            }
        }
    }
}
