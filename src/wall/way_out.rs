//! The way out of a sandbox for the agent, and for set-up commands that may reach some hosts: the broker at
//! work, and who was asked for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::broker::{
    Broker, Entry, Keyed, Limits, Outcome, Policy, Upstream, forward, proxy_variables,
};
use super::confine::{Confined, listen};
use crate::config::PROXIES;
use crate::event::Contact;
use crate::journal::make_private_dir;
use crate::process::Call;

/// The registries of packages that the usual package managers ask by themselves.
pub const REGISTRIES: [&str; 21] = [
    "crates.io",
    "index.crates.io",
    "static.crates.io",
    "pypi.org",
    "files.pythonhosted.org",
    "registry.npmjs.org",
    "registry.yarnpkg.com",
    "proxy.golang.org",
    "sum.golang.org",
    "repo.maven.apache.org",
    "repo1.maven.org",
    "plugins.gradle.org",
    "plugins-artifacts.gradle.org",
    "services.gradle.org",
    "downloads.gradle.org",
    "rubygems.org",
    "index.rubygems.org",
    "api.nuget.org",
    "repo.packagist.org",
    "repo.hex.pm",
    "pub.dev",
];

/// How many hosts are kept by name; what is beyond is counted together, under no name.
const MOST: usize = 200;

/// Whom a confined program reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayOut {
    /// The hosts, as `network.allow` writes them.
    pub allow: Vec<String>,
    /// The person's own proxies, by the variables that name them; these may hold a login.
    pub proxies: BTreeMap<String, String>,
    /// The key that is added outside; none where the agent holds its own.
    #[serde(default)]
    pub keyed: Option<Keyed>,
}

/// A broker at work.
#[derive(Debug)]
pub struct Exit {
    broker: Broker,
    seen: Arc<Mutex<Seen>>,
}

/// What was asked for, by host, port and outcome.
type Seen = BTreeMap<(String, u16, &'static str), Contact>;

/// Starts the broker with its sockets in `dir`, which is of the factory alone, and returns the call and its
/// confinement with the way to it.
///
/// # Errors
/// A socket can't be made, or a host or proxy makes no sense.
pub fn open(
    way_out: &WayOut,
    dir: &Path,
    mut call: Call,
    confined: &Confined,
) -> io::Result<(Call, Confined, Exit)> {
    let policy = Policy::parse(&way_out.allow).map_err(io::Error::other)?;
    let upstream = Upstream::from_variables(|name| way_out.proxies.get(name).cloned());
    let socket = dir.join("way-out");
    let listener = begin(&socket)?;
    let seen = Arc::<Mutex<Seen>>::default();
    let sink = Arc::clone(&seen);
    let broker = Broker::start(
        listener,
        policy,
        upstream.map_err(io::Error::other)?,
        Limits::default(),
        move |entry| add(&mut sink.lock().unwrap_or_else(PoisonError::into_inner), entry),
    )?;
    let doors = doors(&way_out.allow);
    let (confined, port) = confined.clone().with_doors(doors).with_way_out(&socket, || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let socket = socket.clone();
        std::thread::Builder::new()
            .name("way-out".to_owned())
            .spawn(move || forward(&listener, &socket))?;
        Ok(port)
    })?;
    let confined = match way_out.keyed.clone() {
        Some(keyed) => {
            let socket = dir.join("keyed");
            let listener = begin(&socket)?;
            let sink = Arc::clone(&seen);
            let dir = dir.join("private");
            make_private_dir(&dir)?;
            keyed.serve(listener, &dir, move |entry| {
                add(&mut sink.lock().unwrap_or_else(PoisonError::into_inner), entry);
            })?;
            confined.with_keyed(&socket)
        }
        None => confined,
    };
    let variables = Arc::make_mut(&mut call.env);
    variables.retain(|name, _| !PROXIES.iter().any(|proxy| name == proxy));
    variables.extend(proxy_variables(port).map(|(name, value)| (name.into(), value.into())));
    Ok((call, confined, Exit { broker, seen }))
}

/// Listens at `socket`, where what an earlier one left may stand.
fn begin(socket: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = listen(socket)?;
    // It is seen by the confined program alone, which may be another user's.
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Returns the ports of the machine's loopback that are allowed: a server of the person's own, which the
/// agent finds at the same address in its sandbox.
fn doors(allow: &[String]) -> Vec<u16> {
    let port = |entry: &String| {
        let (host, port) = entry.rsplit_once(':')?;
        let is_here = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        port.parse().ok().filter(|_| is_here)
    };
    let mut ports: Vec<u16> = allow.iter().filter_map(port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

impl Exit {
    /// Ends the broker, and returns who was asked for, by host and port.
    pub fn close(self) -> Vec<Contact> {
        self.broker.stop();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.values().cloned().collect()
    }
}

fn add(seen: &mut Seen, entry: Entry) {
    let outcome = match entry.outcome {
        Outcome::Allowed => "allowed",
        Outcome::Denied => "denied",
        Outcome::Failed => "failed",
    };
    let mut key = (entry.host, entry.port, outcome);
    if seen.len() >= MOST && !seen.contains_key(&key) {
        key = (String::new(), 0, outcome);
    }
    let (host, port) = (key.0.clone(), key.1);
    let contact = seen.entry(key).or_insert_with(|| Contact {
        host,
        port,
        outcome: outcome.to_owned(),
        connections: 0,
        sent: 0,
        received: 0,
    });
    contact.connections += 1;
    contact.sent += entry.sent;
    contact.received += entry.received;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(host: &str, outcome: Outcome) -> Entry {
        Entry {
            host: host.to_owned(),
            port: 443,
            method: "CONNECT".to_owned(),
            sent: 2,
            received: 3,
            ms: 1,
            outcome,
            reason: None,
        }
    }

    #[test]
    fn connections_are_added_up_by_host_and_outcome() {
        let mut seen = Seen::new();
        for (host, outcome) in
            [("a", Outcome::Allowed), ("b", Outcome::Denied), ("a", Outcome::Allowed)]
        {
            add(&mut seen, entry(host, outcome));
        }
        let told: Vec<_> = seen
            .values()
            .map(|one| (one.host.as_str(), one.outcome.as_str(), one.connections, one.sent))
            .collect();
        assert_eq!(told, [("a", "allowed", 2, 4), ("b", "denied", 1, 2)]);
    }

    #[test]
    fn a_server_on_the_machines_loopback_has_a_door() {
        let allow = ["127.0.0.1:8080", "api.example.com:443", "localhost:11434", "127.0.0.1:8080"];
        assert_eq!(doors(&allow.map(str::to_owned)), [8080, 11_434]);
    }

    #[test]
    fn names_that_an_agent_makes_up_do_not_fill_the_record() {
        let mut seen = Seen::new();
        for number in 0..10_000 {
            add(&mut seen, entry(&format!("{number}.example"), Outcome::Denied));
        }
        assert!(seen.len() <= MOST + 1);
        assert_eq!(seen.values().map(|one| one.connections).sum::<u64>(), 10_000);
    }
}
