//! A loopback that several confined programs share: a server and those that ask it.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rustix::process::getpid;

use crate::process::{Call, Piped};

use super::Chosen;
use super::namespace;
use super::spec::{Network, Step};

/// The hidden subcommand of the process that holds the loopback.
pub const HOLD: &str = "hold-loopback";

/// A loopback apart from the machine's. It is gone once this is dropped and nobody on it is left.
#[derive(Debug)]
pub struct Loopback {
    pid: i32,
    step: Step,
    /// The call of this program that may join it, without what it is to do there.
    own: Call,
    /// At the end of its input the holder ends.
    _holder: Piped,
}

impl Loopback {
    /// Makes one; none where the step has no networks to itself, and all are on the machine's.
    ///
    /// # Errors
    /// The holder can't be started, or may not make it.
    pub fn make(launcher: &Path, chosen: &Chosen) -> io::Result<Option<Self>> {
        let step = chosen.step;
        let name = match step {
            Step::Root | Step::UserNamespace | Step::Sudo => serde_json::to_string(&step)?,
            Step::Bubblewrap | Step::Landlock => return Ok(None),
        };
        let own = by_sudo(launcher, chosen);
        let mut holder = Piped::open(&own.clone().arg(HOLD).arg(name))?;
        let mut line = [0; 32];
        let length = holder.stdout.read(&mut line)?;
        let text = std::str::from_utf8(&line[..length]).unwrap_or_default();
        match text.trim().parse() {
            Ok(pid) => Ok(Some(Self { pid, step, own, _holder: holder })),
            Err(_) => {
                let (_, said) = holder.finish()?;
                Err(io::Error::other(format!("no network of its own can be made: {}", said.trim())))
            }
        }
    }

    /// Returns the network of those that share it.
    pub fn network(&self) -> Network {
        Network::Shared(self.pid)
    }

    /// Returns the call of the hidden subcommand `name` with the first two of its arguments, by which
    /// [`join`] finds this loopback.
    pub fn call(&self, name: &str) -> Call {
        let step = serde_json::to_string(&self.step).unwrap_or_default();
        self.own.clone().arg(name).arg(step).arg(self.pid.to_string())
    }
}

fn by_sudo(launcher: &Path, chosen: &Chosen) -> Call {
    match chosen.sudo() {
        Some(sudo) => Call::new(sudo, "/").args(["-n", "--"]).arg(launcher),
        None => Call::new(launcher, "/"),
    }
}

/// Runs the hidden subcommand [`HOLD`], until its input ends; returns its exit code.
pub fn hold(step: &str) -> u8 {
    let held = serde_json::from_str(step)
        .map_err(io::Error::from)
        .and_then(namespace::unshare_network)
        .and_then(|()| writeln!(io::stdout(), "{}", getpid().as_raw_nonzero()));
    if let Err(error) = held {
        // Whoever started it reads this.
        let _ = writeln!(io::stderr(), "{error}");
        return 1;
    }
    let mut byte = [0];
    while !matches!(io::stdin().read(&mut byte), Ok(0) | Err(_)) {}
    0
}

/// Joins this process, which has one thread, to the loopback that [`Loopback::arguments`] names.
///
/// # Errors
/// It is gone, or this process may not.
pub fn join(step: &str, pid: &str) -> io::Result<()> {
    let pid = pid.parse().map_err(|_| io::Error::other("no number of a process"))?;
    namespace::join_network(serde_json::from_str(step)?, pid)
}
