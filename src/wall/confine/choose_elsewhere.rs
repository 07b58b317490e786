//! Where the system is no Linux nothing is confined.

use std::io;
use std::path::Path;

use crate::process::Variables;

use super::Confined;
use super::spec::Step;
use super::view::View;

/// A step that holds on this machine, and what was tried before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The step.
    pub step: Step,
    /// Whether the kernel's rules about paths are in force as well.
    pub landlock: bool,
    /// The steps that are stronger, with why they can't be had.
    pub passed_over: Vec<(Step, String)>,
}

impl Chosen {
    pub(super) fn sudo(&self) -> Option<std::path::PathBuf> {
        None
    }

    /// Returns whether what is confined has mounts and a loopback of its own.
    pub fn has_namespaces(&self) -> bool {
        false
    }

    /// Returns whom a confined program runs as.
    pub fn user(&self) -> Option<(u32, u32)> {
        None
    }
}

/// No step holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this system has no kind of confinement that the factory knows")]
pub struct NoneHolds(pub Vec<(Step, String)>);

/// Finds no step.
///
/// # Errors
/// Always.
pub fn strongest(
    _dir: &Path,
    _launcher: &Path,
    _env: &Variables,
    _without: &[String],
) -> Result<Chosen, NoneHolds> {
    Err(NoneHolds(Vec::new()))
}

impl Confined {
    /// Can't be had here.
    ///
    /// # Errors
    /// Always.
    pub fn begin(_: &Path, _: &Path, _: &Chosen, _: View) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Can't be had here.
    ///
    /// # Errors
    /// Always.
    pub fn begin_as_self(_: &Path, _: &Path, _: &Chosen, _: View) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
