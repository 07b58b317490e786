//! The durable record of one attempt at a turn: what is written before the agent may do anything
//! that costs, and what is written after everything of it is dead.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Activity, CrashPoint, TurnBudget, TurnRecord};
use crate::clock::Timestamp;
use crate::journal::write_durably_private;
use crate::process::survivors::Search;
use crate::wall::confine::Confined;

/// The variable that every process of a turn inherits, with the turn's token as its value.
pub(super) const TOKEN_VARIABLE: &str = "DARK_FACTORY_TURN";

/// What the supervisor is told. Holds the agent's secrets: written 0600, removed when read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    pub(super) backend: String,
    pub(super) program: OsString,
    pub(super) args: Vec<OsString>,
    pub(super) stdin: Option<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) workspace: OsString,
    pub(super) record: OsString,
    /// The agent's private home.
    pub(super) home: OsString,
    pub(super) token: String,
    pub(super) timeout: Duration,
    pub(super) idle: Duration,
    pub(super) budget: TurnBudget,
    pub(super) die: Option<CrashPoint>,
    /// What keeps the agent in its view; none leaves it as free as its user.
    pub(super) confined: Option<Confined>,
    /// Whom the agent reaches by way of the broker; none where it has no broker.
    pub(super) way_out: Option<crate::wall::way_out::WayOut>,
    /// Files that hold secrets and may change while the turn goes on.
    #[serde(default)]
    pub(super) secret_files: Vec<OsString>,
    /// Secrets that it is not given, and what stands in their place, see `text::Redaction::secrets`.
    #[serde(default)]
    pub(super) secrets: Vec<(String, String)>,
}

/// Who supervises the turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Started {
    pub(super) v: u32,
    pub(super) pid: i32,
    /// When that process began, in the kernel's ticks since boot; tells it from a later one of the
    /// same number.
    pub(super) process_start: Option<u64>,
    pub(super) boot: Option<String>,
    pub(super) time: Timestamp,
}

/// How the turn ended, once everything of it is dead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct EndedFile {
    pub(super) v: u32,
    pub(super) record: TurnRecord,
    /// Processes that could not be ended.
    pub(super) survivors: usize,
}

/// The version of both files.
pub(super) const VERSION: u32 = 1;

/// The line that the supervisor writes to the factory when it is through.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// The record is written.
    Recorded,
    /// It could not be.
    Failed(String),
    /// What the agent does, while it does it.
    Told(Vec<Activity>),
}

/// The files of the record in `dir`.
pub(super) struct Record<'a>(pub(super) &'a Path);

impl Record<'_> {
    pub(super) fn spec(&self) -> PathBuf {
        self.0.join("spec.json")
    }

    pub(super) fn stdout(&self) -> PathBuf {
        self.0.join("stdout")
    }

    pub(super) fn activity(&self) -> PathBuf {
        self.0.join("activity.jsonl")
    }

    pub(super) fn stderr(&self) -> PathBuf {
        self.0.join("stderr")
    }

    pub(super) fn write_started(&self, started: &Started) -> io::Result<()> {
        write_record(&self.0.join("started.json"), started)
    }

    pub(super) fn started(&self) -> io::Result<Option<Started>> {
        read(&self.0.join("started.json"))
    }

    pub(super) fn write_ended(&self, ended: &EndedFile) -> io::Result<()> {
        write_record(&self.0.join("ended.json"), ended)
    }

    pub(super) fn ended(&self) -> io::Result<Option<EndedFile>> {
        read(&self.0.join("ended.json"))
    }
}

/// Writes `value` as JSON to `path`, readable by its owner alone: beside it, synced, renamed, and
/// the directory synced, so that after a power loss it is there whole or not at all.
pub(super) fn write_record(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    write_durably_private(path, &bytes)
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is damaged: {e}", path.display()),
            )
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Says which processes belong to the turn with `token`, and whether all that descends from this
/// process does.
pub(super) fn search(token: &str, own_descendants: bool) -> Search<'_> {
    Search { variable: TOKEN_VARIABLE, value: token.as_bytes(), own_descendants }
}

/// Returns the pairs of an environment with `token` among them.
pub(super) fn with_token<'a>(
    env: impl Iterator<Item = (&'a OsString, &'a OsString)>,
    token: &str,
) -> Vec<(OsString, OsString)> {
    env.filter(|(name, _)| name.as_os_str() != OsStr::new(TOKEN_VARIABLE))
        .map(|(name, value)| (name.clone(), value.clone()))
        .chain([(TOKEN_VARIABLE.into(), token.into())])
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_spec_keeps_bytes_that_are_no_text_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let odd = OsString::from_vec(vec![b'a', 0xff]);
        let spec = Spec {
            backend: "command".into(),
            program: odd.clone(),
            args: vec![odd.clone()],
            stdin: None,
            env: vec![(odd.clone(), odd)],
            workspace: "/w".into(),
            record: "/r".into(),
            home: "/h".into(),
            token: "t".into(),
            timeout: Duration::from_millis(1_500),
            idle: Duration::from_secs(1),
            budget: TurnBudget::default(),
            die: Some(CrashPoint::BeforeEndedRecord),
            confined: None,
            way_out: None,
            secret_files: Vec::new(),
            secrets: Vec::new(),
        };
        let path = dir.path().join("spec.json");
        write_record(&path, &spec).unwrap();
        assert_eq!(read::<Spec>(&path).unwrap(), Some(spec));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_record_that_is_not_there_is_none_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record(dir.path());
        assert!(record.ended().unwrap().is_none());
        fs::write(dir.path().join("ended.json"), "{").unwrap();
        assert!(record.ended().unwrap_err().to_string().contains("ended.json is damaged"));
    }
}
