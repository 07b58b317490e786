//! The one way out of a sandbox without a network: hosts that the run allows, by name.
//!
//! An agent in an empty network namespace reaches one unix socket. Outside, [`Broker`] answers it as
//! a proxy of HTTP/1.1: it decides by [`Policy`], connects, directly or by the person's own proxies
//! ([`Upstream`]), carries bytes and records each connection. Inside, [`forward`] carries a port of
//! the loopback to the socket, for programs that take a proxy by `HTTP_PROXY` alone.
//!
//! It looks into no tunnel: what is said to an allowed host, and to which of the hosts behind one
//! address, it does not know. Where a key is kept from the agent, [`Keyed`] adds it to plain requests.

mod dial;
mod forward;
mod host;
mod keyed;
mod policy;
mod pump;
mod request;
mod serve;
mod slots;
mod socket;
#[cfg(test)]
mod tests;
mod upstream;

pub use forward::{forward, open_door, proxy_variables};
pub use host::{Host, HostError, Target};
pub use keyed::Keyed;
pub use policy::{AllowError, Denial, Policy};
pub use request::{BadRequest, Kind, MAX_HEAD, Next, Plain, Request};
pub use serve::{Broker, Entry, Limits, Outcome};
pub use upstream::{Proxy, Upstream, UpstreamError};
