//! The address of a model that stands in for the provider's own, as `agent.base_url` gives it.

use std::net::Ipv4Addr;

use super::AgentError;

/// An address that a model is asked for at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: &'static str,
    host: String,
    port: u16,
    path: String,
}

impl BaseUrl {
    /// Reads `http://HOST[:PORT][/PATH]`, or with `https`. A login does not belong there.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, AgentError> {
        let read = || {
            let (scheme, usual) = match text.split_once("://")?.0 {
                "http" => ("http", 80),
                "https" => ("https", 443),
                _ => return None,
            };
            let rest = &text[scheme.len() + 3..];
            let (at, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (host, port) = match at.rsplit_once(':') {
                Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
                _ => (at, usual),
            };
            let is_host = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
            let is_plain = !text.contains(['?', '#', '"', '\\']) && text.chars().all(|c| c > ' ');
            (is_plain && !host.is_empty() && host.chars().all(is_host)).then(|| Self {
                scheme,
                host: host.to_owned(),
                port,
                path: path.trim_end_matches('/').to_owned(),
            })
        };
        read().ok_or_else(|| AgentError::BaseUrl { found: text.to_owned() })
    }

    /// Returns host and port, as `network.allow` writes them.
    pub fn target(&self) -> String {
        match self.loopback() {
            Some(address) => format!("{address}:{}", self.port),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    /// Returns scheme, host and port, without a path.
    pub fn origin(&self) -> String {
        Self { path: String::new(), ..self.clone() }.to_string()
    }

    /// Returns host and port.
    pub fn host_and_port(&self) -> (String, u16) {
        (self.host.clone(), self.port)
    }

    /// Returns the path, without a slash at its end; empty where there is none.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the address for an agent that reaches it by way of the broker.
    ///
    /// Programs ask no proxy for what `NO_PROXY` names, and that is the loopback: in the sandbox it is
    /// the agent's own. The same address in the words of IPv6 is not among that, and to the broker it
    /// is the same.
    pub fn by_way_of_the_broker(&self) -> String {
        match self.loopback() {
            Some(address) => {
                Self { host: format!("[::ffff:{address}]"), ..self.clone() }.to_string()
            }
            None => self.to_string(),
        }
    }

    fn loopback(&self) -> Option<Ipv4Addr> {
        match self.host.as_str() {
            "localhost" => Some(Ipv4Addr::LOCALHOST),
            host => host.parse().ok().filter(Ipv4Addr::is_loopback),
        }
    }
}

impl std::fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}{}", self.scheme, self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: [&str; 3]) {
        let url = BaseUrl::parse(text).unwrap();
        assert_eq!([url.to_string(), url.target(), url.by_way_of_the_broker()], expected);
    }

    #[test]
    fn an_address_has_a_host_a_port_and_a_path() {
        check(
            "https://models.example/v1/",
            [
                "https://models.example:443/v1",
                "models.example:443",
                "https://models.example:443/v1",
            ],
        );
        check("http://[::2]:81", ["http://[::2]:81", "[::2]:81", "http://[::2]:81"]);
        check("http://[::2]", ["http://[::2]:80", "[::2]:80", "http://[::2]:80"]);
    }

    #[test]
    fn an_address_of_this_machine_is_not_taken_for_the_sandboxs_own() {
        for host in ["127.0.0.1", "localhost"] {
            let written = format!("http://{host}:8080/v1");
            let url = BaseUrl::parse(&written).unwrap();
            assert_eq!(url.to_string(), written);
            assert_eq!(url.target(), "127.0.0.1:8080");
            assert_eq!(url.by_way_of_the_broker(), "http://[::ffff:127.0.0.1]:8080/v1");
        }
    }

    #[test]
    fn what_is_no_address_is_shown() {
        for text in [
            "",
            "127.0.0.1:80",
            "ftp://a",
            "http://",
            "http://a:b",
            "http://u:p@a/",
            "http://a/\"x",
        ] {
            let error = BaseUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
