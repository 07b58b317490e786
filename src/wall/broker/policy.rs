//! Decides which hosts may be reached. It resolves no name: who does asks again with the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::host::{Host, HostError, Target, split};
use crate::text::visible;

/// The ports of an entry that names none.
const PORTS: [u16; 2] = [443, 80];

/// The hosts that may be reached; none where it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    One(Host),
    /// All whose names end so; the text begins with a dot.
    Below(String),
}

/// Why a host may not be reached, for the agent and for the person who reads the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No entry names the host.
    #[error("`{0}` is not among the hosts that this run allows; add it to `network.allow`")]
    Host(Host),
    /// The host is named, with other ports.
    #[error("`{host}` is not allowed at port {port}; add `{0}` to `network.allow`", host = .0.host, port = .0.port)]
    Port(Target),
    /// The name leads to an address of this machine or its network.
    #[error(
        "`{name}` leads to {address}, {kind}; add `{address}` to `network.allow` if that is meant"
    )]
    Address {
        /// The host that was asked for.
        name: Host,
        /// The address it has.
        address: Host,
        /// What kind of address that is: `a loopback address`.
        kind: &'static str,
    },
}

/// Why an entry of `network.allow` can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowError {
    /// The entry is an address of the web.
    #[error("`{}` is no host; write the host alone, as in `crates.io`", visible(.0))]
    Url(String),
    /// The entry would allow everything.
    #[error("`{0}` would allow every host; write `*.example.com`, or open the network as a whole")]
    Everything(String),
    /// A `*` stands elsewhere than before the first dot.
    #[error("`{}` has a `*` inside; it stands for subdomains alone, as in `*.example.com`", visible(.0))]
    Star(String),
    /// What stands there is no host.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl Policy {
    /// Reads entries: `HOST`, `*.HOST` (any subdomain, not the host itself), `ADDRESS`, each with
    /// or without `:PORT`. Without one, the ports are 443 and 80.
    ///
    /// # Errors
    /// An entry can't be read; the error shows it.
    pub fn parse<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Self, AllowError> {
        entries
            .into_iter()
            .map(|entry| Entry::parse(entry.as_ref()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Decides whether `target` may be asked for.
    ///
    /// # Errors
    /// It may not; the error says why.
    pub fn check(&self, target: &Target) -> Result<(), Denial> {
        let mut named = self.0.iter().filter(|entry| entry.names(&target.host)).peekable();
        if named.peek().is_none() {
            return Err(Denial::Host(target.host.clone()));
        }
        if named.any(|entry| entry.has_port(target.port)) {
            Ok(())
        } else {
            Err(Denial::Port(target.clone()))
        }
    }

    /// Decides whether `address`, to which the host of `target` was resolved, may be connected to:
    /// any that is public, and those that an entry names as they are.
    ///
    /// # Errors
    /// It may not; the error says why.
    pub fn check_address(&self, target: &Target, address: IpAddr) -> Result<(), Denial> {
        let address = address.to_canonical();
        let Some(kind) = why_not_public(address) else { return Ok(()) };
        let address = Host::Address(address);
        if self
            .0
            .iter()
            .any(|entry| entry.hosts == Hosts::One(address.clone()) && entry.has_port(target.port))
        {
            return Ok(());
        }
        Err(Denial::Address { name: target.host.clone(), address, kind })
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, AllowError> {
        if text.contains('/') {
            return Err(AllowError::Url(text.to_owned()));
        }
        let (star, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if text == "*" || text.starts_with("*:") {
            return Err(AllowError::Everything(text.to_owned()));
        }
        if rest.contains('*') {
            return Err(AllowError::Star(text.to_owned()));
        }
        let (host, port) = split(rest)?;
        let hosts = match host {
            Host::Name(name) if star => Hosts::Below(format!(".{name}")),
            Host::Address(_) if star => return Err(AllowError::Star(text.to_owned())),
            host => Hosts::One(host),
        };
        Ok(Self { hosts, port })
    }

    fn names(&self, host: &Host) -> bool {
        match (&self.hosts, host) {
            (Hosts::One(named), host) => named == host,
            (Hosts::Below(end), Host::Name(name)) => name.ends_with(end),
            (Hosts::Below(_), Host::Address(_)) => false,
        }
    }

    fn has_port(&self, port: u16) -> bool {
        self.port.map_or_else(|| PORTS.contains(&port), |named| named == port)
    }
}

/// Returns what `address` is if it is no host's of the internet; none for one that is.
fn why_not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => v4_not_public(address),
        IpAddr::V6(address) => v6_not_public(address),
    }
}

fn v4_not_public(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [127, ..] => Some("a loopback address"),
        [169, 254, ..] => Some("a link-local address"),
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => {
            Some("a private address")
        }
        // This host, protocol assignments, benchmarks, multicast and what is reserved.
        [0, ..] | [192, 0, 0, _] | [198, 18..=19, ..] | [224..=255, ..] => {
            Some("no public address")
        }
        _ => None,
    }
}

fn v6_not_public(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    let within = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        v4_not_public(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some("a private address"),
        // NAT64 and 6to4 carry an address of IPv4, and lead to it.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => within(high, low),
        // The global ones are 2000::/3; of the rest nothing is a host's. 2001::/32 is Teredo, which
        // hides the address of IPv4 that it leads to.
        [0x2001, 0, ..] => Some("no public address"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("no public address"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text, Some(443)).unwrap()
    }

    fn check(entries: &[&str], text: &str, expected: &str) {
        let decided = Policy::parse(entries).unwrap().check(&target(text));
        assert_eq!(
            decided.map_or_else(|denial| denial.to_string(), |()| "allowed".into()),
            expected
        );
    }

    fn check_address(entries: &[&str], name: &str, address: &str, expected: &str) {
        let policy = Policy::parse(entries).unwrap();
        let decided = policy.check_address(&target(name), address.parse().unwrap());
        assert_eq!(
            decided.map_or_else(|denial| denial.to_string(), |()| "allowed".into()),
            expected
        );
    }

    #[test]
    fn an_empty_policy_allows_nothing() {
        check(
            &[],
            "example.com",
            "`example.com` is not among the hosts that this run allows; add it to `network.allow`",
        );
    }

    #[test]
    fn a_host_is_allowed_in_any_case_at_the_ports_of_the_web() {
        for text in ["crates.io", "CRATES.io.", "crates.io:80"] {
            check(&["Crates.io"], text, "allowed");
        }
        check(
            &["crates.io"],
            "crates.io:22",
            "`crates.io` is not allowed at port 22; add `crates.io:22` to `network.allow`",
        );
    }

    #[test]
    fn a_port_that_is_named_is_the_only_one() {
        check(&["crates.io:8443"], "crates.io:8443", "allowed");
        check(
            &["crates.io:8443"],
            "crates.io",
            "`crates.io` is not allowed at port 443; add `crates.io:443` to `network.allow`",
        );
        check(&["crates.io:8443", "crates.io"], "crates.io", "allowed");
    }

    #[test]
    fn a_star_allows_subdomains_and_nothing_that_looks_alike() {
        let denied = |host: &str| {
            format!(
                "`{host}` is not among the hosts that this run allows; add it to `network.allow`"
            )
        };
        check(&["*.example.com"], "a.b.example.com", "allowed");
        check(&["*.example.com"], "example.com", &denied("example.com"));
        check(&["*.example.com"], "badexample.com", &denied("badexample.com"));
        check(&["example.com"], "a.example.com", &denied("a.example.com"));
        check(&["example.com"], "example.com.evil.org", &denied("example.com.evil.org"));
    }

    #[test]
    fn an_address_is_allowed_only_where_it_is_named() {
        check(&["10.0.0.1"], "[::ffff:10.0.0.1]", "allowed");
        check(
            &["example.com"],
            "93.184.216.34",
            "`93.184.216.34` is not among the hosts that this run allows; add it to `network.allow`",
        );
    }

    #[test]
    fn a_name_that_leads_into_this_network_is_denied() {
        for (address, kind) in [
            ("127.0.0.1", "a loopback address"),
            ("::1", "a loopback address"),
            ("::ffff:127.0.0.1", "a loopback address"),
            ("64:ff9b::7f00:1", "a loopback address"),
            ("2002:7f00:1::", "a loopback address"),
            ("169.254.169.254", "a link-local address"),
            ("fe80::1", "a link-local address"),
            ("10.1.2.3", "a private address"),
            ("172.31.0.1", "a private address"),
            ("192.168.0.1", "a private address"),
            ("100.64.0.1", "a private address"),
            ("fd00:ec2::254", "a private address"),
            ("0.0.0.0", "no public address"),
            ("255.255.255.255", "no public address"),
            ("::", "no public address"),
            ("::7f00:1", "no public address"),
            ("ff02::1", "no public address"),
            ("2001:0:1::", "no public address"),
        ] {
            let shown = Host::Address(address.parse::<IpAddr>().unwrap().to_canonical());
            check_address(
                &["a.example"],
                "a.example",
                address,
                &format!(
                    "`a.example` leads to {shown}, {kind}; add `{shown}` to `network.allow` if that is meant"
                ),
            );
            check_address(&["a.example", address], "a.example", address, "allowed");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for address in ["93.184.216.34", "172.32.0.1", "2606:4700::1", "64:ff9b::5db8:d822"] {
            check_address(&["a.example"], "a.example", address, "allowed");
        }
    }

    #[test]
    fn an_address_that_is_named_with_a_port_is_allowed_there_alone() {
        check_address(&["127.0.0.1:8080"], "localhost:8080", "127.0.0.1", "allowed");
        check_address(
            &["127.0.0.1:8080"],
            "localhost",
            "127.0.0.1",
            "`localhost` leads to 127.0.0.1, a loopback address; add `127.0.0.1` to `network.allow` if that is meant",
        );
    }

    #[test]
    fn an_entry_that_is_no_host_is_shown() {
        for (entry, expected) in [
            (
                "https://crates.io",
                "`https://crates.io` is no host; write the host alone, as in `crates.io`",
            ),
            (
                "*",
                "`*` would allow every host; write `*.example.com`, or open the network as a whole",
            ),
            (
                "*:443",
                "`*:443` would allow every host; write `*.example.com`, or open the network as a whole",
            ),
            (
                "a*.example",
                "`a*.example` has a `*` inside; it stands for subdomains alone, as in `*.example.com`",
            ),
            (
                "*.10.0.0.1",
                "`*.10.0.0.1` has a `*` inside; it stands for subdomains alone, as in `*.example.com`",
            ),
            ("a b", "`a b` is no name of a host; write letters, digits, `-` and dots"),
        ] {
            assert_eq!(Policy::parse([entry]).unwrap_err().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn a_host_is_allowed_by_its_own_entry_and_by_no_other(name in "[a-z]{1,5}(\\.[a-z]{1,5}){0,3}", other in "[a-z]{1,5}(\\.[a-z]{1,5}){0,3}") {
            let wanted = target(&name);
            prop_assert!(Policy::parse([&name]).unwrap().check(&wanted).is_ok());
            prop_assert_eq!(Policy::parse([&other]).unwrap().check(&wanted).is_ok(), name == other);
            let below = Policy::parse([format!("*.{other}")]).unwrap();
            prop_assert_eq!(below.check(&wanted).is_ok(), name.ends_with(&format!(".{other}")));
        }
    }
}
