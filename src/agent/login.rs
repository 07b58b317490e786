//! What a backend can be logged in with, and the logins of a CLI's own that the factory keeps.
//!
//! A kept login lies in a private home of the factory's, made by `factory login` and nobody else: a
//! person's own files are never copied, since a refresh token is good once. A turn borrows the files into
//! the agent's home; what the agent renewed is taken back. One turn at a time has a login, by a file lock;
//! a note beside it lets whoever comes after a crash take back what the turn had renewed.
//! Whether a token is still good is not known here.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::redact::is_secret;
use super::{BACKENDS, Backend, backend, recover};
use crate::config::{AgentSettings, Environment};
use crate::id::Digest;
use crate::journal::{make_private_dir, write_durably_private};

/// A larger file is no login.
const MAX_BYTES: u64 = 1 << 20;
/// Shorter words of a file that is no JSON are taken for something else than a token.
const SHORTEST_WORD: usize = 16;

/// One way in which a backend can be logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// An API key in this variable.
    Key(&'static str),
    /// An OAuth token, or another that a subscription gives, in this variable.
    Token(&'static str),
    /// A login that the CLI makes and renews by itself.
    Own(&'static OwnLogin),
    /// Somebody's cloud.
    Cloud {
        /// What people call it.
        name: &'static str,
        /// The variable that chooses it, set to anything but `0` and `false`.
        switch: &'static str,
        /// The variables that it reads; the agent gets them where the switch is set.
        variables: &'static [&'static str],
    },
}

/// A login that a CLI makes and renews by itself.
#[derive(Debug, PartialEq, Eq)]
pub struct OwnLogin {
    /// The argv that logs in.
    pub command: &'static [&'static str],
    /// Arguments after it where the person gives none.
    pub usually: &'static [&'static str],
    /// The argv that logs out; empty where there is none.
    pub logout: &'static [&'static str],
    /// The variable that names its directory, and that directory below the home.
    pub home: (&'static str, &'static str),
    /// The files that it keeps, below the home.
    pub files: &'static [&'static str],
}

/// A login of a CLI's own, as the factory keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLogin {
    /// The name of its directory.
    pub name: String,
    /// The argv that logs in, without the arguments that a person may change.
    pub command: Vec<String>,
    /// These arguments.
    pub usually: Vec<String>,
    /// The argv that logs out; empty where there is none.
    pub logout: Vec<String>,
    /// The variable that names its directory, and that directory below the home.
    pub directory: Option<(&'static str, &'static str)>,
    /// The files that it keeps, below the home.
    files: Vec<PathBuf>,
    dir: PathBuf,
}

/// Why a login could not be kept, lent or taken back.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// A file or directory.
    #[error("{doing} {} failed", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// With which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A link or a file of the agent's where a directory is needed.
    #[error("{} is in the way of the login; remove it", path.display())]
    InTheWay {
        /// What is in the way.
        path: PathBuf,
    },
}

/// Who has borrowed a login, so that it can be taken back after a crash.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    home: OsString,
    record: OsString,
    token: String,
    files: Vec<(OsString, Digest)>,
}

/// A login that nobody else can have meanwhile.
#[derive(Debug)]
pub struct HeldLogin {
    login: KeptLogin,
    _lock: File,
}

/// A login in an agent's home. Dropped without [`LentLogin::take_back`], as in a crash, it is taken back
/// by whoever comes next.
#[derive(Debug)]
pub struct LentLogin {
    held: HeldLogin,
    note: Note,
}

impl KeptLogin {
    /// Returns where the factory keeps the login of a backend with these settings; none where it has no
    /// login of its own.
    pub fn of(backend: &dyn Backend, settings: &AgentSettings, env: &Environment) -> Option<Self> {
        let dir = env.state_dir().ok()?.join("logins");
        let own = backend.logins().iter().find_map(|login| match login {
            Login::Own(own) => Some(own),
            _ => None,
        });
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        match (own, &settings.login) {
            (Some(own), _) => Some(Self {
                name: backend.name().to_owned(),
                command: owned(own.command),
                usually: owned(own.usually),
                logout: owned(own.logout),
                directory: Some(own.home),
                files: own.files.iter().map(PathBuf::from).collect(),
                dir,
            }),
            (None, Some(login)) => {
                let program = login.command.first().map(Path::new).and_then(Path::file_name);
                let program = program.unwrap_or(OsStr::new("")).to_string_lossy();
                Some(Self {
                    name: format!("{}-{program}", backend.name()),
                    command: login.command.clone(),
                    usually: Vec::new(),
                    logout: Vec::new(),
                    directory: None,
                    files: login.files.iter().map(|path| below_home(path)).collect(),
                    dir,
                })
            }
            (None, None) => None,
        }
    }

    /// Returns the private home in which the CLI logs in.
    pub fn home(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// Returns the files that are there, with what they are; empty where nobody has logged in.
    pub fn files(&self) -> Vec<PathBuf> {
        let home = self.home();
        let is_there = |path: &&PathBuf| matches!(read_below(&home, path), Ok(Some(_)));
        self.files.iter().filter(is_there).map(|path| home.join(path)).collect()
    }

    /// Returns whether somebody has logged in.
    pub fn is_there(&self) -> bool {
        !self.files().is_empty()
    }

    /// Returns whether one of `entries`, as `agent.home` writes them, is one of its files or holds one: then
    /// the person has another login in mind.
    pub fn is_replaced_by(&self, entries: &[String]) -> bool {
        let entries: Vec<PathBuf> = entries.iter().map(|entry| below_home(entry)).collect();
        self.files.iter().any(|file| entries.iter().any(|entry| file.starts_with(entry)))
    }

    /// Takes the login for this process, with what an interrupted turn had renewed; none where somebody
    /// else has it.
    ///
    /// # Errors
    /// Its place can't be made, or the earlier turn's part not be taken back.
    pub fn hold(&self) -> Result<Option<HeldLogin>, LoginError> {
        let home = self.home();
        private_dir(&home)?;
        let path = self.beside("lock");
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.map_err(failed("opening", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(failed("locking", &path)(source)),
        }
        let held = HeldLogin { login: self.clone(), _lock: lock };
        held.settle()?;
        Ok(Some(held))
    }

    fn beside(&self, end: &str) -> PathBuf {
        self.dir.join(format!("{}.{end}", self.name))
    }
}

impl HeldLogin {
    /// Puts the login's files into the agent's `home`, for the attempt whose record and token these are.
    ///
    /// # Errors
    /// A file can't be read or written, or something of the agent's is in the way.
    pub fn lend(self, home: &Path, record: &Path, token: &str) -> Result<LentLogin, LoginError> {
        let from = self.login.home();
        let mut files = Vec::new();
        let mut contents = Vec::new();
        for path in &self.login.files {
            let read = read_below(&from, path).map_err(failed("reading", &from.join(path)))?;
            let Some(bytes) = read else { continue };
            files.push((path.clone().into_os_string(), Digest::of(&bytes)));
            contents.push((path, bytes));
        }
        let note =
            Note { home: home.into(), record: record.into(), token: token.to_owned(), files };
        let path = self.login.beside("lent");
        let text = serde_json::to_vec(&note).unwrap_or_default();
        write_durably_private(&path, &text).map_err(failed("writing", &path))?;
        for (path, bytes) in contents {
            make_dirs(home, path)?;
            let place = home.join(path);
            write_durably_private(&place, &bytes).map_err(failed("writing", &place))?;
        }
        Ok(LentLogin { held: self, note })
    }

    /// Removes what is kept of the login.
    ///
    /// # Errors
    /// A file can't be removed.
    pub fn forget(&self) -> Result<(), LoginError> {
        let home = self.login.home();
        remove(&home, &self.login.files)
    }

    /// Takes back what an interrupted turn had renewed, once nothing of it is alive.
    fn settle(&self) -> Result<(), LoginError> {
        let path = self.login.beside("lent");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("reading", &path)(error)),
        };
        if let Ok(note) = serde_json::from_slice::<Note>(&text) {
            let record = Path::new(&note.record);
            if record.is_dir() {
                recover(record, &note.token).map_err(failed("ending the turn in", record))?;
            }
            self.take(&note)?;
        }
        fs::remove_file(&path).map_err(failed("removing", &path))
    }

    /// Takes renewed files out of the agent's home, and leaves none there.
    fn take(&self, note: &Note) -> Result<(), LoginError> {
        let (agent, own) = (Path::new(&note.home), self.login.home());
        let mut lent = Vec::new();
        for (name, digest) in &note.files {
            let path = PathBuf::from(name);
            let place = own.join(&path);
            // What can't be read there, or is no file, was not renewed.
            let new = read_below(agent, &path).ok().flatten();
            let old = read_below(&own, &path).map_err(failed("reading", &place))?;
            if let (Some(new), Some(old)) = (new, old)
                && Digest::of(&new) != *digest
                && is_renewal(&old, &new)
            {
                write_durably_private(&place, &new).map_err(failed("writing", &place))?;
            }
            lent.push(path);
        }
        remove(agent, &lent)
    }
}

impl LentLogin {
    /// Returns the files in the agent's home.
    pub fn files(&self) -> Vec<PathBuf> {
        let home = Path::new(&self.note.home);
        self.note.files.iter().map(|(path, _)| home.join(path)).collect()
    }

    /// Keeps what the agent has renewed, takes the files out of its home, and returns the secrets of the
    /// login as it is now. Only once nothing of the turn is alive.
    ///
    /// # Errors
    /// The disk said no; whoever comes next takes it back.
    pub fn take_back(self) -> Result<Vec<String>, LoginError> {
        self.held.take(&self.note)?;
        let path = self.held.login.beside("lent");
        fs::remove_file(&path).map_err(failed("removing", &path))?;
        Ok(secrets_in(&self.held.login.files()))
    }
}

/// Takes back what interrupted turns had renewed of every login that nobody has at the moment.
///
/// # Errors
/// The disk said no.
pub fn settle_logins(env: &Environment) -> Result<(), LoginError> {
    let Ok(dir) = env.state_dir() else { return Ok(()) };
    let dir = dir.join("logins");
    let Ok(entries) = fs::read_dir(&dir) else { return Ok(()) };
    let lent = entries.filter_map(Result::ok).map(|entry| entry.path());
    for path in lent.filter(|path| path.extension() == Some(OsStr::new("lent"))) {
        let Some(name) = path.file_stem().map(|name| name.to_string_lossy().into_owned()) else {
            continue;
        };
        let login = KeptLogin {
            name,
            command: Vec::new(),
            usually: Vec::new(),
            logout: Vec::new(),
            directory: None,
            files: Vec::new(),
            dir: dir.clone(),
        };
        login.hold()?;
    }
    Ok(())
}

/// Returns the files that the agent's secrets stand in, beside its variables: the login that is kept for
/// it, and what `agent.home` links to.
pub fn secret_files(settings: &AgentSettings, env: &Environment) -> Vec<PathBuf> {
    let kept = backend(settings).ok().and_then(|one| KeptLogin::of(one, settings, env));
    let mut files = kept.map(|kept| kept.files()).unwrap_or_default();
    let home = env.home();
    let linked =
        settings.home.iter().filter_map(|entry| Some(home.as_ref()?.join(below_home(entry))));
    files.extend(
        linked.filter_map(|path| fs::canonicalize(path).ok()).filter(|path| path.is_file()),
    );
    files
}

/// Returns the secrets in `files`, sorted; what can't be read has none.
pub fn secrets_in(files: &[PathBuf]) -> Vec<String> {
    let mut found: Vec<String> = files
        .iter()
        .filter_map(|path| read_plain(path).ok()?)
        .flat_map(|text| secrets(&text))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Returns the names of the variables that a login of `backend` can stand in, those of a cloud only where
/// the person has chosen that.
pub(super) fn login_variables(backend: &dyn Backend, env: &Environment) -> Vec<String> {
    let mut names: Vec<&str> = backend.login_variables().to_vec();
    for login in backend.logins() {
        match login {
            Login::Key(name) | Login::Token(name) => names.push(name),
            Login::Cloud { switch, variables, .. } if is_on(switch, env) => {
                names.push(switch);
                names.extend(*variables);
            }
            Login::Cloud { .. } | Login::Own(_) => {}
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    names.into_iter().map(str::to_owned).collect()
}

/// Returns whether the variable that chooses a cloud is set.
pub fn is_on(switch: &str, env: &Environment) -> bool {
    env.get(switch).is_some_and(|value| value != "0" && value != "false")
}

/// Returns the backends that have a login of their own, by name, in the order of [`BACKENDS`].
pub fn with_own_login() -> Vec<&'static str> {
    let has = |backend: &&&dyn Backend| {
        backend.logins().iter().any(|login| matches!(login, Login::Own(_)))
    };
    BACKENDS.iter().filter(has).map(|backend| backend.name()).collect()
}

/// Notices when a file of secrets changes, and reads the new ones.
#[derive(Debug, Default)]
pub(super) struct SecretFiles {
    files: Vec<(PathBuf, Option<Stamp>)>,
    known: std::collections::BTreeSet<String>,
}

/// What changes whenever a file does.
type Stamp = (u64, i64, i64, i64);

impl SecretFiles {
    pub(super) fn of(files: &[OsString]) -> Self {
        let files = files.iter().map(|path| (PathBuf::from(path), None)).collect();
        Self { files, known: std::collections::BTreeSet::new() }
    }

    /// Returns the secrets that were not there the last time.
    pub(super) fn look(&mut self) -> Vec<String> {
        let mut new = Vec::new();
        for (path, seen) in &mut self.files {
            let stamp = stamp(path);
            if stamp.is_none() || stamp == *seen {
                continue;
            }
            *seen = stamp;
            let Ok(Some(text)) = read_plain(path) else { continue };
            new.extend(secrets(&text).into_iter().filter(|one| self.known.insert(one.clone())));
        }
        new
    }

    /// Returns all that were ever there.
    pub(super) fn known(&self) -> impl Iterator<Item = &String> {
        self.known.iter()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.ino(), found.size().cast_signed(), found.mtime(), found.mtime_nsec()))
}

/// Returns the secrets that the text of a login holds: of JSON what stands under names like a token's or
/// key's, of anything else every long word.
fn secrets(text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    match serde_json::from_slice(text) {
        Ok(value) => collect(&value, false, &mut found),
        Err(_) => {
            let text = String::from_utf8_lossy(text);
            let is_of_word = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
            let words = text
                .split(|c: char| !is_of_word(c))
                .flat_map(|word| [word, word.split_once('=').map_or("", |(_, value)| value)]);
            found.extend(words.filter(|word| word.len() >= SHORTEST_WORD).map(str::to_owned));
        }
    }
    found.retain(|secret| secret.len() >= super::redact::SHORTEST);
    found.sort();
    found.dedup();
    found
}

/// Returns whether a login's file calls a secret so.
fn names_secret(name: &str) -> bool {
    is_secret(name) || ["access", "refresh", "jwt"].contains(&name.to_lowercase().as_str())
}

fn collect(value: &Value, is_named: bool, found: &mut Vec<String>) {
    match value {
        Value::String(text) if is_named => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_named, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(value, names_secret(name), found);
            }
        }
        _ => {}
    }
}

/// Returns whether `new` can be what a CLI made of `old` when it renewed its login: whole, and with every
/// kind of secret that was there.
fn is_renewal(old: &[u8], new: &[u8]) -> bool {
    match (serde_json::from_slice::<Value>(old), serde_json::from_slice::<Value>(new)) {
        (Ok(old), Ok(new)) => kinds(&old, "").is_subset(&kinds(&new, "")),
        (Ok(_), Err(_)) => false,
        (Err(_), _) => !new.is_empty(),
    }
}

/// Returns where the secrets in `value` stand.
fn kinds(value: &Value, at: &str) -> std::collections::BTreeSet<String> {
    let Value::Object(fields) = value else { return std::collections::BTreeSet::new() };
    let mut found = std::collections::BTreeSet::new();
    for (name, value) in fields {
        let place = format!("{at}/{name}");
        found.extend(kinds(value, &place));
        if names_secret(name) && value.as_str().is_some_and(|text| !text.is_empty()) {
            found.insert(place);
        }
    }
    found
}

fn below_home(entry: &str) -> PathBuf {
    let entry = entry.strip_prefix("~/").unwrap_or(entry);
    Path::new(entry).components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// Reads a file below `root`, following no link; none where there is no plain file of a login's size.
fn read_below(root: &Path, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let Some(name) = path.file_name() else { return Ok(None) };
    let mut dir = match openat(CWD, root, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(error) => return none_where_absent(error),
    };
    for part in path.parent().into_iter().flat_map(Path::components) {
        dir = match openat(&dir, part.as_os_str(), flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(error) => return none_where_absent(error),
        };
    }
    // Not waiting for whoever writes to a FIFO that the agent has put there.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match openat(&dir, name, flags, Mode::empty()) {
        Ok(file) => read_bounded(File::from(file)),
        Err(error) => none_where_absent(error),
    }
}

/// Reads a file that is no link itself, likewise.
fn read_plain(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    match fs::canonicalize(dir) {
        Ok(dir) => read_below(&dir, Path::new(name)),
        Err(_) => Ok(None),
    }
}

fn read_bounded(file: File) -> io::Result<Option<Vec<u8>>> {
    let found = fstat(&file)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((read > 0 && read as u64 <= MAX_BYTES).then_some(bytes))
}

fn none_where_absent(error: Errno) -> io::Result<Option<Vec<u8>>> {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO => Ok(None),
        error => Err(error.into()),
    }
}

/// Makes the directories of `path` below `home`, through no link of the agent's.
fn make_dirs(home: &Path, path: &Path) -> Result<(), LoginError> {
    let mut place = home.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        place.push(part);
        if place.is_symlink() || (place.exists() && !place.is_dir()) {
            return Err(LoginError::InTheWay { path: place });
        }
        private_dir(&place)?;
    }
    Ok(())
}

/// Removes files below `home`, through no link; one that is not there is no error.
fn remove(home: &Path, files: &[PathBuf]) -> Result<(), LoginError> {
    for path in files {
        let mut place = home.to_owned();
        let mut parts = path.parent().into_iter().flat_map(Path::components);
        if parts.any(|part| {
            place.push(part);
            place.is_symlink()
        }) {
            continue;
        }
        let place = home.join(path);
        match fs::remove_file(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A directory of the agent's is no login.
            Err(_) if place.is_dir() => {}
            other => other.map_err(failed("removing", &place))?,
        }
    }
    Ok(())
}

fn private_dir(path: &Path) -> Result<(), LoginError> {
    make_private_dir(path).map_err(failed("making", path))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LoginError + use<> {
    let path = path.to_owned();
    move |source| LoginError::File { doing, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const OLD: &str = r#"{"tokens": {"access_token": "access-1", "refresh_token": "refresh-1"}}"#;
    const NEW: &str = r#"{"tokens": {"access_token": "access-2", "refresh_token": "refresh-2"}}"#;
    const FILE: &str = ".codex/auth.json";

    struct Bench {
        dir: tempfile::TempDir,
        login: KeptLogin,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let variables = [("XDG_STATE_HOME".into(), dir.path().join("state").into())];
            let env = Environment::from_parts(variables.into(), "/".into());
            let settings = AgentSettings { backend: Some("codex".into()), ..Default::default() };
            let login = KeptLogin::of(backend(&settings).unwrap(), &settings, &env).unwrap();
            let bench = Self { dir, login };
            bench.write(&bench.login.home(), OLD);
            bench
        }

        fn home(&self) -> PathBuf {
            self.dir.path().join("agent")
        }

        fn write(&self, home: &Path, text: &str) {
            fs::create_dir_all(home.join(".codex")).unwrap();
            fs::write(home.join(FILE), text).unwrap();
        }

        fn kept(&self) -> String {
            fs::read_to_string(self.login.home().join(FILE)).unwrap()
        }

        fn lend(&self) -> LentLogin {
            let held = self.login.hold().unwrap().unwrap();
            held.lend(&self.home(), &self.dir.path().join("record"), "token").unwrap()
        }
    }

    #[track_caller]
    fn check_kept(agent: impl FnOnce(&Bench), expected: &str) {
        let bench = Bench::new();
        let lent = bench.lend();
        assert_eq!(fs::read_to_string(bench.home().join(FILE)).unwrap(), OLD);
        agent(&bench);
        lent.take_back().unwrap();
        assert_eq!(bench.kept(), expected);
        assert!(!bench.home().join(FILE).is_file(), "no copy stays with the agent");
        assert!(!bench.login.beside("lent").exists());
    }

    #[test]
    fn what_the_agent_renewed_is_kept_and_it_keeps_none() {
        check_kept(|bench| bench.write(&bench.home(), NEW), NEW);
        check_kept(|_| {}, OLD);
    }

    #[test]
    fn a_login_that_the_agent_spoilt_is_not_taken_back() {
        for spoilt in ["", "{", "{}", r#"{"tokens": {"access_token": "access-2"}}"#, "[1]"] {
            check_kept(|bench| bench.write(&bench.home(), spoilt), OLD);
        }
        check_kept(
            |bench| bench.write(&bench.home(), &(NEW.to_owned() + &" ".repeat(2_000_000))),
            OLD,
        );
        check_kept(|bench| fs::remove_file(bench.home().join(FILE)).unwrap(), OLD);
    }

    #[test]
    fn no_link_of_the_agents_is_followed() {
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("auth.json"), NEW).unwrap();
        check_kept(
            |bench| {
                fs::remove_file(bench.home().join(FILE)).unwrap();
                symlink(other.path().join("auth.json"), bench.home().join(FILE)).unwrap();
            },
            OLD,
        );
        let bench = Bench::new();
        fs::create_dir_all(bench.home()).unwrap();
        symlink(other.path(), bench.home().join(".codex")).unwrap();
        let held = bench.login.hold().unwrap().unwrap();
        let error = held.lend(&bench.home(), Path::new("/r"), "t").unwrap_err();
        assert!(matches!(error, LoginError::InTheWay { .. }), "{error}");
        assert_eq!(fs::read_to_string(other.path().join("auth.json")).unwrap(), NEW);
    }

    #[test]
    fn one_turn_at_a_time_has_a_login() {
        let bench = Bench::new();
        let lent = bench.lend();
        assert!(bench.login.hold().unwrap().is_none());
        lent.take_back().unwrap();
        assert!(bench.login.hold().unwrap().is_some());
    }

    #[test]
    fn what_a_killed_turn_had_renewed_is_kept_by_whoever_comes_next() {
        let bench = Bench::new();
        drop(bench.lend());
        bench.write(&bench.home(), NEW);
        let variables = [("XDG_STATE_HOME".into(), bench.dir.path().join("state").into())];
        settle_logins(&Environment::from_parts(variables.into(), "/".into())).unwrap();
        assert_eq!(bench.kept(), NEW);
        assert!(!bench.home().join(FILE).exists());
        drop(bench.lend());
        fs::remove_dir_all(bench.home()).unwrap();
        assert!(bench.login.hold().unwrap().is_some());
        assert_eq!(bench.kept(), NEW);
    }

    #[test]
    fn the_home_and_the_files_are_the_users_alone() {
        let bench = Bench::new();
        let _lent = bench.lend();
        for path in
            [bench.home().join(FILE), bench.login.beside("lent"), bench.login.beside("lock")]
        {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }

    #[test]
    fn secrets_are_what_stands_under_names_of_secrets() {
        let check = |text: &str, expected: &[&str]| assert_eq!(secrets(text.as_bytes()), expected);
        check(OLD, &["access-1", "refresh-1"]);
        let claude = r#"{"claudeAiOauth": {"accessToken": "aaaaaaaa", "expiresAt": 1, "scopes": ["user:inference"], "refreshToken": "bbbbbbbb"}}"#;
        check(claude, &["aaaaaaaa", "bbbbbbbb"]);
        let opencode = r#"{"a": {"type": "oauth", "access": "aaaaaaaa", "refresh": "bbbbbbbb"}}"#;
        check(opencode, &["aaaaaaaa", "bbbbbbbb"]);
        check(r#"{"OPENAI_API_KEY": null, "token": "short"}"#, &[]);
        check(
            "machine x\npassword=abcdefghijklmnop\n",
            &["abcdefghijklmnop", "password=abcdefghijklmnop"],
        );
    }

    #[test]
    fn a_renewed_file_tells_its_new_secrets_once() {
        let bench = Bench::new();
        let mut files = SecretFiles::of(&[bench.login.home().join(FILE).into()]);
        assert_eq!(files.look(), ["access-1", "refresh-1"]);
        assert!(files.look().is_empty());
        bench.write(&bench.login.home(), &NEW.replace("access-2", "access-22"));
        assert_eq!(files.look(), ["access-22", "refresh-2"]);
        assert_eq!(files.known().count(), 4);
    }

    #[test]
    fn a_cloud_is_logged_in_to_where_it_is_chosen() {
        let names = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(k, v)| (k.into(), v.into())).collect();
            let env = Environment::from_parts(variables, "/".into());
            let settings = AgentSettings { backend: Some("claude".into()), ..Default::default() };
            login_variables(backend(&settings).unwrap(), &env)
        };
        let has = |names: &[String], name: &str| names.iter().any(|one| one == name);
        assert!(!has(&names(&[]), "AWS_SECRET_ACCESS_KEY"));
        assert!(!has(&names(&[("CLAUDE_CODE_USE_BEDROCK", "0")]), "AWS_SECRET_ACCESS_KEY"));
        let bedrock = names(&[("CLAUDE_CODE_USE_BEDROCK", "1")]);
        assert!(has(&bedrock, "AWS_SECRET_ACCESS_KEY") && has(&bedrock, "CLAUDE_CODE_USE_BEDROCK"));
        assert!(!has(&bedrock, "ANTHROPIC_VERTEX_PROJECT_ID"));
    }
}
