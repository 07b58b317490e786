//! Looks, from where a confined program would be, for the ways out: nothing is taken for granted that
//! was not tried on this machine just before.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, getpid, test_kill_process};
use serde::{Deserialize, Serialize};

use super::listen;
use super::spec::Report;
use crate::id::Digest;

/// How long a connection may take that is not refused.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is tried, all of it outside of the view but for `written`.
#[derive(Debug, Serialize, Deserialize)]
struct Bait {
    /// A file with something in it.
    canary: PathBuf,
    /// A socket that is listened on, by its path.
    socket: PathBuf,
    /// One by an abstract name.
    name: String,
    /// A port of 127.0.0.1 that is listened on.
    port: u16,
    /// The process that started it all.
    parent: i32,
    /// Whether the network is to be closed.
    closed: bool,
    /// A directory that is written to.
    written: PathBuf,
}

/// What is laid out for one self-test; gone when dropped.
pub(super) struct Laid {
    bait: Bait,
    _listening: (UnixListener, UnixListener, TcpListener),
}

impl Laid {
    /// Lays it out in `dir`, which the view does not have; `written` is a directory that it has.
    pub(super) fn out(dir: &Path, written: &Path, closed: bool) -> io::Result<Self> {
        let (canary, socket) = (dir.join("canary"), dir.join("socket"));
        fs::write(&canary, "canary")?;
        let parent = getpid().as_raw_nonzero().get();
        // Not the directory itself: a name has no more than a hundred bytes.
        let digest = Digest::of(dir.as_os_str().as_encoded_bytes());
        let name = format!("dark-factory-{parent}-{}", &digest.as_str()[..16]);
        let _ = fs::remove_file(&socket);
        let by_path = listen(&socket)?;
        let by_name = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let bait = Bait {
            canary,
            socket,
            name,
            port: port.local_addr()?.port(),
            parent,
            closed,
            written: written.to_owned(),
        };
        Ok(Self { bait, _listening: (by_path, by_name, port) })
    }

    pub(super) fn arguments(&self) -> io::Result<Vec<OsString>> {
        Ok(vec![serde_json::to_string(&self.bait)?.into()])
    }

    /// Returns what is within reach of this very process, which should be everything: a self-test
    /// that finds nothing where nothing is confined would prove nothing.
    #[cfg(test)]
    fn within_reach(&self) -> Vec<&'static str> {
        found(&self.bait)
    }
}

/// Tries everything from inside and writes the report; returns the exit code.
pub(super) fn probe(args: &[OsString], mut report: &File) -> u8 {
    let bait = args.first().and_then(|text| serde_json::from_str(text.to_str()?).ok());
    let failed = match bait {
        Some(bait) => describe(&found(&bait), usable(&bait).err()),
        None => Some("the self-test was not told what to try".to_owned()),
    };
    let code = u8::from(failed.is_some());
    let bytes = serde_json::to_vec(&Report { failed, ..Report::default() }).unwrap_or_default();
    // Without a report the step counts as one that does not hold.
    let _ = report.write_all(&bytes);
    code
}

fn describe(found: &[&str], unusable: Option<io::Error>) -> Option<String> {
    match (found, unusable) {
        ([], None) => None,
        ([], Some(error)) => Some(format!("nothing could be done in it: {error}")),
        (found, _) => Some(format!("it did not keep {} out of reach", found.join(", "))),
    }
}

/// Returns what could be reached.
fn found(bait: &Bait) -> Vec<&'static str> {
    let beside = bait.canary.with_extension("written");
    let parent = Pid::from_raw(bait.parent);
    let proc = Path::new("/proc").join(bait.parent.to_string());
    let address = (Ipv4Addr::LOCALHOST, bait.port).into();
    let by_name = SocketAddr::from_abstract_name(&bait.name)
        .and_then(|address| UnixStream::connect_addr(&address));
    [
        ("files elsewhere", fs::read(&bait.canary).is_ok()),
        ("directories elsewhere", fs::write(beside, "").is_ok()),
        ("sockets of the file system", UnixStream::connect(&bait.socket).is_ok()),
        ("sockets of abstract names", by_name.is_ok()),
        ("the network", bait.closed && TcpStream::connect_timeout(&address, PATIENCE).is_ok()),
        ("signals to the factory", parent.is_some_and(|pid| test_kill_process(pid).is_ok())),
        ("the factory's environment", fs::read(proc.join("environ")).is_ok()),
    ]
    .into_iter()
    .filter_map(|(what, reached)| reached.then_some(what))
    .collect()
}

/// Does what every program needs: writes where it may, reads the system, talks to itself.
fn usable(bait: &Bait) -> io::Result<()> {
    let file = bait.written.join("self-test");
    fs::write(&file, "")?;
    fs::remove_file(&file)?;
    File::open("/usr/bin/env")?;
    File::options().write(true).open("/dev/null")?.write_all(b"x")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    TcpStream::connect_timeout(&listener.local_addr()?, PATIENCE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_not_confined_reaches_everything() {
        let (dir, written) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let laid = Laid::out(dir.path(), written.path(), true).unwrap();
        assert_eq!(laid.within_reach().len(), 7);
        assert!(usable(&laid.bait).is_ok());
    }

    #[test]
    fn what_was_reached_is_named_before_what_does_not_work() {
        let broken = || Some(io::Error::other("no /usr"));
        assert_eq!(describe(&[], None), None);
        assert_eq!(describe(&["a", "b"], broken()).unwrap(), "it did not keep a, b out of reach");
        assert_eq!(describe(&[], broken()).unwrap(), "nothing could be done in it: no /usr");
    }
}
