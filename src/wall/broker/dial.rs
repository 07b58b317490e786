//! Resolves a host and connects to it, in a thread of its own: neither can be interrupted, and a
//! broker that ends does not wait for them.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::event::PollFlags;

use super::host::{Host, Target};
use super::policy::{Denial, Policy};
use super::slots::Slot;
use super::socket::{Stop, Waited, wait};
use crate::clock::Instant;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum NoServer {
    /// The host leads where nobody may go.
    Denied(Denial),
    /// It can't be reached; says why.
    Failed(String),
    /// Everything ends.
    Stopped,
}

/// Connects to `target` within `limit`; the address has to pass `policy`, if there is one. `slot`
/// is kept until the thread ends, which may be later than this returns.
pub(super) fn dial(
    target: &Target,
    policy: Option<&Arc<Policy>>,
    stop: Stop<'_>,
    limit: Duration,
    slot: &Arc<Slot>,
) -> Result<TcpStream, NoServer> {
    let failed = |e: io::Error| NoServer::Failed(format!("`{target}` can't be reached: {e}"));
    let (over, at_end) = io::pipe().map_err(failed)?;
    let (result, results) = mpsc::channel();
    let (host, policy, slot) = (target.clone(), policy.cloned(), Arc::clone(slot));
    let work = move || {
        let reached = reach(&host, policy.as_deref(), limit);
        // Nobody waits any more where everything ended.
        let _ = result.send(reached);
        drop(slot);
        drop(at_end);
    };
    std::thread::Builder::new().name("dial".to_owned()).spawn(work).map_err(failed)?;
    match wait(over.as_fd(), PollFlags::IN, stop, limit) {
        Waited::Stopped => return Err(NoServer::Stopped),
        Waited::Ready | Waited::TimedOut => {}
    }
    results.try_recv().unwrap_or_else(|_| {
        let seconds = limit.as_secs();
        Err(NoServer::Failed(format!("`{target}` can't be reached: nothing for {seconds} s")))
    })
}

fn reach(target: &Target, policy: Option<&Policy>, limit: Duration) -> Result<TcpStream, NoServer> {
    let begun = Instant::now();
    let addresses: Vec<SocketAddr> = match &target.host {
        Host::Address(address) => vec![SocketAddr::new(*address, target.port)],
        Host::Name(name) => (name.as_str(), target.port)
            .to_socket_addrs()
            .map_err(|e| NoServer::Failed(format!("`{name}` can't be resolved: {e}")))?
            .collect(),
    };
    let mut denied = None;
    let mut failure = None;
    for (at, address) in addresses.iter().enumerate() {
        // The address itself is connected to: resolved again, the name could lead elsewhere.
        if let Some(Err(denial)) = policy.map(|policy| policy.check_address(target, address.ip())) {
            denied = denied.or(Some(denial));
            continue;
        }
        let tries = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        let left = (begun.left(limit) / tries).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(address, left) {
            Ok(stream) => return Ok(stream),
            Err(e) => failure = Some(e),
        }
    }
    Err(match (failure, denied) {
        (Some(e), _) => NoServer::Failed(format!("`{target}` can't be reached: {e}")),
        (None, Some(denial)) => NoServer::Denied(denial),
        (None, None) => NoServer::Failed(format!("`{target}` can't be reached: it has no address")),
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::slots::Slots;
    use super::*;

    #[test]
    fn nobody_waits_for_a_dial_once_everything_ended() {
        let (stop, at_stop) = io::pipe().unwrap();
        drop(at_stop);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::parse(&listener.local_addr().unwrap().to_string(), None).unwrap();
        let slots = Slots::new(1);
        let slot = Arc::new(slots.take().unwrap());
        let dialled = dial(&target, None, Some(&stop), Duration::from_secs(20), &slot);
        assert!(matches!(dialled, Err(NoServer::Stopped)));
        // The thread has the slot until it ends.
        drop(slot);
        slots.wait_for_room();
    }

    #[test]
    fn the_address_is_judged_not_the_name() {
        let policy = Policy::parse(["localhost", "127.0.0.1:1"]).unwrap();
        let target = Target::parse("localhost:443", None).unwrap();
        let reached = reach(&target, Some(&policy), Duration::from_secs(5));
        assert!(matches!(reached, Err(NoServer::Denied(Denial::Address { .. }))), "{reached:?}");
    }
}
