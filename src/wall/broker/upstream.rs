//! The proxies that stand between this machine and the internet, as the person's variables name
//! them. Their logins are sent by the broker, and never shown.

use std::fmt;
use std::net::IpAddr;

use super::host::{Host, HostError, Target, split};
use crate::text::{base64, visible};

/// Which proxy leads to which host; the default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upstream {
    https: Option<Proxy>,
    http: Option<Proxy>,
    direct: Vec<Direct>,
}

/// A proxy and the login that it takes.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it listens.
    pub target: Target,
    /// The value of `Proxy-Authorization`.
    login: Option<String>,
}

/// What is reached without a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Direct {
    Everything,
    /// A host and, where it is a name, all below it.
    Host(Host, Option<u16>),
    /// Addresses whose first bits are these.
    Network(IpAddr, u8),
}

/// Why the variables name no proxy that can be used. No error shows a login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The proxy speaks something else than http.
    #[error("`{variable}` names a proxy of `{}`; only `http://` is supported", visible(.scheme))]
    Scheme {
        /// The variable.
        variable: &'static str,
        /// The scheme.
        scheme: String,
    },
    /// The proxy's host can't be read.
    #[error("`{variable}` names no proxy; write `http://HOST:PORT`")]
    Host {
        /// The variable.
        variable: &'static str,
        /// What is wrong with the host.
        source: HostError,
    },
    /// A `%` in the login is not followed by two digits, or a control character is in it.
    #[error(
        "the login in `{0}` can't be read; write `@`, `:`, `/` and `%` in it as `%40`, `%3A`, `%2F` and `%25`"
    )]
    Login(&'static str),
}

impl Upstream {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, each in lower case first, from
    /// what `variable` returns for a name. A part of `NO_PROXY` that names nothing is passed over,
    /// as everybody else does.
    ///
    /// # Errors
    /// A variable names a proxy that can't be used.
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, UpstreamError> {
        let first = |names: [&'static str; 4]| {
            names.into_iter().find_map(|name| {
                Some((name, variable(name).filter(|value| !value.trim().is_empty())?))
            })
        };
        let proxy = |names: [&'static str; 4]| {
            first(names).map(|(name, value)| Proxy::parse(name, value.trim())).transpose()
        };
        let none = first(["no_proxy", "NO_PROXY", "no_proxy", "NO_PROXY"]);
        Ok(Self {
            https: proxy(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            http: proxy(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])?,
            direct: none
                .map(|(_, value)| {
                    value.split([',', ' ']).filter_map(|part| Direct::parse(part.trim())).collect()
                })
                .unwrap_or_default(),
        })
    }

    /// Returns the proxy by which `target` is reached; none where it is reached directly. Tunnels
    /// go through the one of `HTTPS_PROXY`.
    pub fn to(&self, target: &Target, tunnel: bool) -> Option<&Proxy> {
        let proxy = if tunnel { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.direct.iter().any(|direct| direct.holds(target)))
    }
}

impl Proxy {
    /// Returns the value of `Proxy-Authorization` that this proxy takes.
    pub fn login(&self) -> Option<&str> {
        self.login.as_deref()
    }

    fn parse(variable: &'static str, value: &str) -> Result<Self, UpstreamError> {
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(UpstreamError::Scheme { variable, scheme: scheme.to_owned() });
        }
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let target = Target::parse(authority, Some(80))
            .map_err(|source| UpstreamError::Host { variable, source })?;
        let login = login
            .map(|login| {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                let mut plain = decoded(user)?;
                plain.push(b':');
                plain.extend(decoded(password)?);
                Some(format!("Basic {}", base64(&plain)))
            })
            .map(|login| login.ok_or(UpstreamError::Login(variable)))
            .transpose()?;
        Ok(Self { target, login })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Direct {
    fn parse(part: &str) -> Option<Self> {
        if part == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, bits)) = part.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            return bits
                .parse()
                .ok()
                .filter(|bits| *bits <= most)
                .map(|bits| Self::Network(address, bits));
        }
        let part = part.strip_prefix("*.").or(part.strip_prefix('.')).unwrap_or(part);
        split(part).ok().map(|(host, port)| Self::Host(host, port))
    }

    fn holds(&self, target: &Target) -> bool {
        match (self, &target.host) {
            (Self::Everything, _) => true,
            (Self::Host(_, Some(port)), _) if *port != target.port => false,
            (Self::Host(Host::Name(end), _), Host::Name(name)) => name
                .strip_suffix(end.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            (Self::Host(host, _), other) => host == other,
            (Self::Network(network, bits), Host::Address(address)) => {
                first_bits(*network, *bits) == first_bits(*address, *bits)
            }
            (Self::Network(..), Host::Name(_)) => false,
        }
    }
}

/// Returns whether the address is of IPv4, and its first bits.
fn first_bits(address: IpAddr, bits: u8) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => {
            let all = u128::from(u32::from(address));
            (true, all.checked_shr(32 - u32::from(bits.min(32))).unwrap_or(0))
        }
        IpAddr::V6(address) => {
            (false, u128::from(address).checked_shr(128 - u32::from(bits)).unwrap_or(0))
        }
    }
}

/// Takes `%40` for `@`; none where what follows a `%` is no number, or a line could be broken.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            u8::try_from(digit()? << 4 | digit()?).ok()?
        } else {
            byte
        };
        if byte.is_ascii_control() {
            return None;
        }
        out.push(byte);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Upstream, UpstreamError> {
        Upstream::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    /// Where a tunnel to `target` goes, and by which login.
    fn check(variables: &[(&str, &str)], target: &str, expected: &str) {
        let upstream = read(variables).unwrap();
        let target = Target::parse(target, Some(443)).unwrap();
        let proxy = upstream.to(&target, true);
        let shown = proxy.map_or("direct".to_owned(), |proxy| {
            format!("{} {}", proxy.target, proxy.login().unwrap_or("-"))
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn without_variables_everything_is_direct() {
        check(&[], "a.example", "direct");
        check(&[("HTTPS_PROXY", " ")], "a.example", "direct");
    }

    #[test]
    fn the_first_variable_that_is_set_names_the_proxy() {
        check(&[("HTTPS_PROXY", "http://proxy.corp:3128/")], "a.example", "proxy.corp:3128 -");
        check(&[("HTTPS_PROXY", "up:1"), ("https_proxy", "low:2")], "a.example", "low:2 -");
        check(&[("ALL_PROXY", "http://all")], "a.example", "all:80 -");
        let upstream = read(&[("HTTP_PROXY", "plain:1")]).unwrap();
        let target = Target::parse("a.example:80", None).unwrap();
        assert!(upstream.to(&target, true).is_none() && upstream.to(&target, false).is_some());
    }

    #[test]
    fn a_login_becomes_a_header_and_is_not_shown() {
        let variables = [("https_proxy", "http://u%40corp:p%3Aw@proxy.corp:3128")];
        check(&variables, "a.example", "proxy.corp:3128 Basic dUBjb3JwOnA6dw==");
        let shown = format!("{:?}", read(&variables));
        assert!(!shown.contains("dUBj") && !shown.contains("p%3Aw"), "{shown}");
    }

    #[test]
    fn what_no_proxy_names_is_direct() {
        let direct = |none: &str, target: &str, expected: bool| {
            let expected = if expected { "direct" } else { "proxy:1 -" };
            check(&[("https_proxy", "proxy:1"), ("no_proxy", none)], target, expected);
        };
        direct("*", "a.example", true);
        direct("x, a.example", "a.example", true);
        direct("a.example", "b.a.example", true);
        direct(".a.example", "b.a.example", true);
        direct("a.example", "ba.example", false);
        direct("a.example:8080", "a.example", false);
        direct("a.example:443", "a.example", true);
        direct("10.0.0.0/8", "10.1.2.3", true);
        direct("10.0.0.0/8", "11.1.2.3", false);
        direct("0.0.0.0/0", "11.1.2.3", true);
        direct("0.0.0.0/0", "[::1]", false);
        direct("fd00::/8", "[fdab::1]", true);
        direct("10.0.0.0/33", "10.0.0.1", false);
        direct("10.0.0.1", "10.0.0.1", true);
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_said_without_its_login() {
        for (value, expected) in [
            (
                "socks5://p:1080",
                "`https_proxy` names a proxy of `socks5`; only `http://` is supported",
            ),
            ("http://u:secret@a b", "`https_proxy` names no proxy; write `http://HOST:PORT`"),
            (
                "http://u:secret%zz@p",
                "the login in `https_proxy` can't be read; write `@`, `:`, `/` and `%` in it as `%40`, `%3A`, `%2F` and `%25`",
            ),
        ] {
            assert_eq!(read(&[("https_proxy", value)]).unwrap_err().to_string(), expected);
        }
    }
}
