//! Namespaces, which there are none of where the system is no Linux.

use std::io;
use std::path::Path;

use super::spec::Step;

fn unsupported() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

pub(super) fn unshare_network(_step: Step) -> io::Result<()> {
    Err(unsupported())
}

pub(super) fn join_network(_step: Step, _pid: i32) -> io::Result<()> {
    Err(unsupported())
}

pub(super) fn make_pipe(_path: &Path) -> io::Result<()> {
    Err(unsupported())
}
