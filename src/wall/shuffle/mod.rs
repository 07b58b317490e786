//! The shuffle: the scenarios leave the checkout while an agent works in it, and come back.
//!
//! This is the tier `move`. It keeps honest agents honest: what the same user could find by
//! searching the disk, it can, and git's history is not touched. Hidden scenarios lie in a vault
//! of mode 0700 in the factory's state directory.
//!
//! At every instant one verified complete copy exists, and the journal says which one counts:
//!
//! | journal | what counts | after a crash |
//! |---|---|---|
//! | none | the directory in the checkout | `copying` in the vault is a leftover |
//! | there | the vault's copy | put it back |
//!
//! To hide: copy into the vault as `copying`, make it durable, read it back; write the journal;
//! call the copy `copy`; set the directory aside by a rename, see that it still is what was copied,
//! remove it. To restore: verify the copy, put it together beside its place, move whatever stands
//! there out of the way, rename; remove what else lies in the checkout; call the copy `copying`;
//! remove the journal, then the copy. In the vault restoring needs no room.
//!
//! No crash leaves a `copy` without a journal. Where one is found somebody interfered, and it is
//! never removed.

mod error;
mod files;
mod journal;
mod owner;
#[cfg(test)]
mod trees;

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use files::{At as _, Manifest, Trouble, holds, look, manifest, remove, sync};
use journal::Journal;

pub use error::ShuffleError;
pub use owner::Owner;

use crate::clock::Timestamp;
use crate::id::Digest;

/// The scenarios of one checkout and the vault that they are hidden in. One directory can be
/// hidden at a time.
pub struct Shuffle<'a> {
    vault: PathBuf,
    scenarios: PathBuf,
    observe: &'a dyn Fn(Step) -> io::Result<()>,
}

/// What has just been done; see [`Shuffle::observed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// One more file is in the vault, or in the place where the scenarios are put together.
    FileCopied,
    /// The vault's copy is complete.
    Copied,
    /// It was read back, and is what was hidden.
    Verified,
    /// The journal says that they are hidden.
    Journaled,
    /// The vault's copy has the name of one that a journal speaks of.
    Named,
    /// The directory has left its place.
    SetAside,
    /// It was found to be what was copied, and is left to be removed.
    Doomed,
    /// It is gone from the checkout.
    Removed,
    /// The scenarios are complete beside their place.
    Staged,
    /// What stood in their place is out of the way.
    Displaced,
    /// They are in their place.
    Placed,
    /// The vault's copy has the name of one that counts for nothing without a journal.
    Unnamed,
    /// The journal is gone.
    Forgotten,
    /// The vault's copy is gone.
    Cleaned,
}

/// What was hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Its place, to which it will return.
    pub scenarios: PathBuf,
    /// How many files and links.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its place.
    pub scenarios: PathBuf,
    /// Where that lies now which had stood in its place; none where nothing had.
    pub displaced: Option<PathBuf>,
}

/// What [`Shuffle::recover`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// Nothing was hidden; leftovers are gone.
    Nothing,
    /// Whoever hid the scenarios is dead, and they are back.
    Restored(Restored),
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The scenarios are in their place.
    Visible {
        /// Which.
        scenarios: PathBuf,
    },
    /// They are not, and nothing is hidden.
    Missing {
        /// Where they would be.
        scenarios: PathBuf,
    },
    /// They are hidden.
    Hidden {
        /// Where they were.
        scenarios: PathBuf,
        /// On whose behalf.
        owner: Owner,
        /// Since when.
        since: Timestamp,
        /// Whether the owner still runs; if not, `recover` puts them back.
        alive: bool,
    },
    /// Hiding them was cut short: the vault has them, and so has the checkout.
    Unfinished {
        /// Where they were.
        scenarios: PathBuf,
        /// What still holds them, or a part of them.
        left: PathBuf,
        /// On whose behalf.
        owner: Owner,
        /// Since when.
        since: Timestamp,
    },
}

/// Returns the vault of the checkout in the factory's state directory.
///
/// # Errors
/// The checkout can't be reached.
pub fn vault(state_dir: &Path, checkout: &Path) -> io::Result<PathBuf> {
    let checkout = fs::canonicalize(checkout)?;
    let name = checkout.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let digest = Digest::of(checkout.as_os_str().as_bytes());
    Ok(state_dir.join(format!("{name}-{}", &digest.as_str()[..12])).join("shuffle"))
}

impl<'a> Shuffle<'a> {
    /// Opens the shuffle of `checkout` with its `vault`, which need not exist. `scenarios_dir` is
    /// absolute or relative to the checkout. Nothing is written.
    ///
    /// # Errors
    /// The checkout can't be reached, the scenarios' directory holds it, or it holds the vault.
    pub fn open(
        vault: &Path,
        checkout: &Path,
        scenarios_dir: &Path,
    ) -> Result<Shuffle<'static>, ShuffleError> {
        let checkout = fs::canonicalize(checkout).at(checkout).map_err(io_error("open"))?;
        let named = checkout.join(scenarios_dir);
        let name =
            named.file_name().ok_or_else(|| ShuffleError::NotADirectory { path: named.clone() })?;
        // The directory's own place counts: what is above it is resolved, it itself is not.
        let parent = named.parent().unwrap_or(&checkout);
        let scenarios =
            fs::canonicalize(parent).map_or_else(|_| named.clone(), |parent| parent.join(name));
        if checkout.starts_with(&scenarios) {
            return Err(ShuffleError::HoldsCheckout { path: scenarios });
        }
        let real_vault = vault
            .ancestors()
            .find_map(|above| Some((fs::canonicalize(above).ok()?, above)))
            .and_then(|(real, above)| Some(real.join(vault.strip_prefix(above).ok()?)))
            .unwrap_or_else(|| vault.to_owned());
        if let Some(of) = [&checkout, &scenarios].into_iter().find(|of| real_vault.starts_with(of))
        {
            return Err(ShuffleError::VaultInside { vault: real_vault, of: of.clone() });
        }
        Ok(Shuffle { vault: real_vault, scenarios, observe: &|_| Ok(()) })
    }

    /// Calls `observe` after each step; an error from it counts as that of the next one.
    #[must_use]
    pub fn observed(self, observe: &'a dyn Fn(Step) -> io::Result<()>) -> Self {
        Self { observe, ..self }
    }

    /// Hides the scenarios on behalf of `owner`: as long as it runs, only `restore` puts them
    /// back; afterwards `recover` does too.
    ///
    /// # Errors
    /// They stay in their place, but for [`ShuffleError::StillThere`].
    pub fn hide(&self, owner: &Owner, now: Timestamp) -> Result<Hidden, ShuffleError> {
        let _lock = self.lock()?;
        match self.journal()? {
            None => self.drop_leftover()?,
            Some(Journal { scenarios: path, owner, since, .. }) => {
                return Err(if owner.is_alive() {
                    ShuffleError::AlreadyHidden { path, owner, since }
                } else {
                    ShuffleError::Unrecovered { path, owner, since }
                });
            }
        }
        self.check_source()?;
        let before = manifest(&self.scenarios).map_err(io_error("read"))?;
        let journal = self.entry(&before, owner, now);
        if let Err(error) = self.fill_vault(&journal).and_then(|()| self.set_aside(&journal)) {
            if self.is_at(&journal.aside())? || self.is_at(&journal.doomed())? {
                return Err(error);
            }
            // The directory is in its place.
            self.abandon()?;
            return Err(error);
        }
        let removed = remove(&journal.doomed())
            .and_then(|()| sync(above(&self.scenarios)))
            .and_then(|()| self.step(Step::Removed));
        match removed {
            Ok(()) => Ok(Hidden {
                scenarios: self.scenarios.clone(),
                files: journal.files,
                bytes: journal.bytes,
            }),
            Err(Trouble::Io(path, source)) => Err(ShuffleError::StillThere { path, source }),
            Err(trouble) => Err(io_error("remove")(trouble)),
        }
    }

    /// Puts the hidden scenarios back, whoever hid them. What stands in their place is moved to
    /// `NAME.displaced-N` beside it, never followed and never merged.
    ///
    /// # Errors
    /// The vault keeps its copy.
    pub fn restore(&self) -> Result<Restored, ShuffleError> {
        let _lock = self.lock()?;
        match self.journal()? {
            Some(journal) => self.bring_back(&journal),
            None => {
                self.drop_leftover()?;
                Err(ShuffleError::NotHidden { path: self.scenarios.clone() })
            }
        }
    }

    /// Sets right what a crash left: puts the scenarios back if whoever hid them is dead. May be
    /// called at any time, any number of times.
    ///
    /// # Errors
    /// Whoever hid them still runs ([`ShuffleError::Held`]), or what [`Shuffle::restore`] says.
    pub fn recover(&self) -> Result<Recovered, ShuffleError> {
        let _lock = self.lock()?;
        match self.journal()? {
            None => {
                self.drop_leftover()?;
                Ok(Recovered::Nothing)
            }
            Some(journal) if journal.owner.is_alive() => Err(ShuffleError::Held {
                path: journal.scenarios,
                owner: journal.owner,
                since: journal.since,
            }),
            Some(journal) => self.bring_back(&journal).map(Recovered::Restored),
        }
    }

    /// Says how things stand. Writes nothing, and waits for nobody.
    ///
    /// # Errors
    /// The journal can't be read, or is gone.
    pub fn status(&self) -> Result<Status, ShuffleError> {
        Ok(match self.journal()? {
            Some(journal) => {
                let left = self.left(&journal)?;
                let Journal { scenarios, owner, since, .. } = journal;
                match left {
                    Some(left) => Status::Unfinished { scenarios, left, owner, since },
                    None => {
                        let alive = owner.is_alive();
                        Status::Hidden { scenarios, owner, since, alive }
                    }
                }
            }
            None if self.is_at(&self.copy())? => return Err(self.journal_lost()),
            _ if self.scenarios.is_dir() => Status::Visible { scenarios: self.scenarios.clone() },
            _ => Status::Missing { scenarios: self.scenarios.clone() },
        })
    }

    /// Copies the scenarios into the vault, reads the copy back and commits to it.
    fn fill_vault(&self, journal: &Journal) -> Result<(), ShuffleError> {
        let copy = self.copying();
        files::copy(&self.scenarios, &copy, &mut || (self.observe)(Step::FileCopied))
            .and_then(|()| sync(&self.vault))
            .and_then(|()| self.step(Step::Copied))
            .map_err(io_error("copy"))?;
        if !holds(&copy, &journal.digest) {
            return Err(ShuffleError::Changed { path: self.scenarios.clone() });
        }
        self.step(Step::Verified).map_err(io_error("verify"))?;
        journal
            .write(&self.vault)
            .and_then(|()| (self.observe)(Step::Journaled))
            .at(&self.vault.join(Journal::NAME))
            .map_err(io_error("write the journal"))?;
        fs::rename(&copy, self.copy())
            .at(&copy)
            .and_then(|()| sync(&self.vault))
            .and_then(|()| self.step(Step::Named))
            .map_err(io_error("name"))
    }

    /// Takes the scenarios out of their place and leaves them to be removed, unless they are no
    /// longer what was copied.
    fn set_aside(&self, journal: &Journal) -> Result<(), ShuffleError> {
        let aside = journal.aside();
        fs::rename(&self.scenarios, &aside).at(&self.scenarios).map_err(io_error("move"))?;
        let doomed = sync(above(&aside))
            .and_then(|()| self.step(Step::SetAside))
            .map_err(io_error("set aside"))
            .and_then(|()| match holds(&aside, &journal.digest) {
                true => Ok(()),
                false => Err(ShuffleError::Changed { path: self.scenarios.clone() }),
            })
            .and_then(|()| {
                fs::rename(&aside, journal.doomed()).at(&aside).map_err(io_error("set aside"))
            });
        if let Err(error) = doomed {
            fs::rename(&aside, &self.scenarios).at(&aside).map_err(io_error("move back"))?;
            sync(above(&aside)).map_err(io_error("move back"))?;
            return Err(error);
        }
        sync(above(&aside)).and_then(|()| self.step(Step::Doomed)).or_else(|trouble| {
            // From here on a part may be missing; see that none is.
            fs::rename(journal.doomed(), &self.scenarios)
                .at(&self.scenarios)
                .and_then(|()| sync(above(&aside)))
                .map_err(io_error("move back"))?;
            Err(io_error("set aside")(trouble))
        })
    }

    fn bring_back(&self, journal: &Journal) -> Result<Restored, ShuffleError> {
        let place = &journal.scenarios;
        let parent = above(place);
        files::make_durably(parent, 0o777).map_err(io_error("make"))?;
        if fs::canonicalize(parent).at(parent).map_err(io_error("reach"))? != parent {
            return Err(ShuffleError::ParentMoved { parent: parent.to_owned() });
        }
        let displaced = if holds(place, &journal.digest) {
            // Whoever put them there may not have made them durable.
            files::sync_tree(place)
                .and_then(|()| sync(parent))
                .map_err(io_error("make durable"))?;
            None
        } else {
            self.put_together(journal)?
        };
        self.clean(journal)?;
        self.abandon()?;
        Ok(Restored { scenarios: place.clone(), displaced })
    }

    /// Puts the scenarios into their place, and returns where that lies now which stood there.
    fn put_together(&self, journal: &Journal) -> Result<Option<PathBuf>, ShuffleError> {
        // Hiding may have been cut short before the original was removed.
        let source = [self.copy(), self.copying(), journal.aside(), journal.doomed()]
            .into_iter()
            .find(|copy| holds(copy, &journal.digest))
            .ok_or_else(|| ShuffleError::Damaged {
                copy: self.copy(),
                place: journal.scenarios.clone(),
                journal: self.vault.join(Journal::NAME),
            })?;
        let (place, stage) = (&journal.scenarios, journal.stage());
        remove(&stage).map_err(io_error("remove"))?;
        let staged = files::copy(&source, &stage, &mut || (self.observe)(Step::FileCopied))
            .and_then(|()| self.step(Step::Staged))
            .map_err(io_error("write"));
        if let Err(error) = staged {
            // Room is what may be lacking, and the vault has it all.
            remove(&stage).map_err(io_error("remove"))?;
            return Err(error);
        }
        if !holds(&stage, &journal.digest) {
            return Err(ShuffleError::Changed { path: stage });
        }
        let displaced = displace(place, place)?;
        self.step(Step::Displaced).map_err(io_error("move"))?;
        fs::rename(&stage, place)
            .at(place)
            .and_then(|()| sync(above(place)))
            .and_then(|()| self.step(Step::Placed))
            .map_err(io_error("put back"))?;
        Ok(displaced)
    }

    /// Removes what else of the scenarios lies in the checkout.
    fn clean(&self, journal: &Journal) -> Result<(), ShuffleError> {
        let aside = journal.aside();
        if holds(&aside, &journal.digest) {
            remove(&aside).map_err(io_error("remove"))?;
        } else {
            // Someone wrote to it in the moment between copying and setting aside.
            displace(&aside, &journal.scenarios)?;
        }
        remove(&journal.doomed())
            .and_then(|()| remove(&journal.stage()))
            .and_then(|()| sync(above(&journal.scenarios)))
            .map_err(io_error("remove"))
    }

    /// Gives the copy up, since the scenarios are in their place: takes its name from it, then the
    /// journal away, then it itself.
    fn abandon(&self) -> Result<(), ShuffleError> {
        let (copy, copying) = (self.copy(), self.copying());
        if self.is_at(&copy)? {
            remove(&copying)
                .and_then(|()| fs::rename(&copy, &copying).at(&copy))
                .and_then(|()| sync(&self.vault))
                .map_err(io_error("give up"))?;
        }
        self.step(Step::Unnamed).map_err(io_error("give up"))?;
        Journal::forget(&self.vault)
            .and_then(|()| (self.observe)(Step::Forgotten))
            .at(&self.vault.join(Journal::NAME))
            .map_err(io_error("remove the journal"))?;
        remove(&copying)
            .and_then(|()| sync(&self.vault))
            .and_then(|()| self.step(Step::Cleaned))
            .map_err(io_error("remove"))
    }

    /// Removes the copy of a hiding that was cut short before it counted. The scenarios are in
    /// their place then; if they are not, somebody moved them, and the copy stays.
    fn drop_leftover(&self) -> Result<(), ShuffleError> {
        if self.is_at(&self.copy())? {
            return Err(self.journal_lost());
        }
        if self.is_at(&self.scenarios)? {
            remove(&self.copying()).map_err(io_error("remove"))?;
        }
        Ok(())
    }

    /// Returns what of the hidden scenarios is left in the checkout; none where all is hidden.
    fn left(&self, journal: &Journal) -> Result<Option<PathBuf>, ShuffleError> {
        for left in [journal.aside(), journal.doomed()] {
            if self.is_at(&left)? {
                return Ok(Some(left));
            }
        }
        let place = &journal.scenarios;
        Ok(holds(place, &journal.digest).then(|| place.clone()))
    }

    fn check_source(&self) -> Result<(), ShuffleError> {
        let path = self.scenarios.clone();
        match look(&path).map_err(io_error("read"))? {
            None => Err(ShuffleError::Missing { path }),
            Some(found) if found.is_symlink() => Err(ShuffleError::Link { path }),
            Some(found) if !found.is_dir() => Err(ShuffleError::NotADirectory { path }),
            Some(_) => Ok(()),
        }
    }

    fn entry(&self, before: &Manifest, owner: &Owner, now: Timestamp) -> Journal {
        let mark = format!("{now} {} {}", owner.pid(), before.digest);
        Journal {
            schema: 1,
            scenarios: self.scenarios.clone(),
            token: Digest::of(mark.as_bytes()).as_str()[..8].to_owned(),
            digest: before.digest.clone(),
            files: before.files,
            bytes: before.bytes,
            owner: owner.clone(),
            since: now,
        }
    }

    /// Makes the vault and takes its lock, which a crash releases.
    fn lock(&self) -> Result<File, ShuffleError> {
        let private = Permissions::from_mode(0o700);
        files::make_durably(&self.vault, 0o700)
            .and_then(|()| fs::set_permissions(&self.vault, private).at(&self.vault))
            .map_err(io_error("make the vault"))?;
        let path = self.vault.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .at(&path)
            .map_err(io_error("open"))?;
        // A process that is being started holds the lock for a moment after whoever took it is dead.
        let mut patience = 25;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if patience > 0 => {
                    patience -= 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(ShuffleError::Busy { lock: path }),
                Err(TryLockError::Error(source)) => {
                    return Err(ShuffleError::Io { doing: "lock", path, source });
                }
            }
        }
    }

    fn journal(&self) -> Result<Option<Journal>, ShuffleError> {
        let path = self.vault.join(Journal::NAME);
        Journal::read(&self.vault).map_err(|source| ShuffleError::Journal { path, source })
    }

    fn journal_lost(&self) -> ShuffleError {
        ShuffleError::JournalLost { copy: self.copy(), place: self.scenarios.clone() }
    }

    /// The copy that a journal speaks of.
    fn copy(&self) -> PathBuf {
        self.vault.join("copy")
    }

    /// The copy that is being made or given up, and counts only where a journal speaks of it and
    /// there is no other.
    fn copying(&self) -> PathBuf {
        self.vault.join("copying")
    }

    fn is_at(&self, path: &Path) -> Result<bool, ShuffleError> {
        Ok(look(path).map_err(io_error("read"))?.is_some())
    }

    fn step(&self, step: Step) -> Result<(), Trouble> {
        (self.observe)(step).at(&self.scenarios)
    }
}

/// Moves what stands at `from` to the first free `NAME.displaced-N` beside `place`, and returns
/// that; none where nothing stands there.
fn displace(from: &Path, place: &Path) -> Result<Option<PathBuf>, ShuffleError> {
    if look(from).map_err(io_error("read"))?.is_none() {
        return Ok(None);
    }
    let mut n = 1_u32;
    loop {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".displaced-{n}"));
        let free = place.with_file_name(name);
        if look(&free).map_err(io_error("read"))?.is_none() {
            fs::rename(from, &free).at(from).map_err(io_error("move"))?;
            return Ok(Some(free));
        }
        n += 1;
    }
}

/// Returns the directory that holds `place`, which is absolute.
fn above(place: &Path) -> &Path {
    place.parent().unwrap_or(place)
}

fn io_error(doing: &'static str) -> impl Fn(Trouble) -> ShuffleError {
    move |trouble| match trouble {
        Trouble::Io(path, source) => ShuffleError::Io { doing, path, source },
        Trouble::Unsupported(path, why) => ShuffleError::Unsupported { path, why },
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_795_166_100_250;

    /// A checkout with scenarios, and a vault outside it.
    struct Place {
        root: tempfile::TempDir,
        digest: Digest,
    }

    impl Place {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let scenarios = root.path().join("checkout/scenarios");
            fs::create_dir_all(scenarios.join("deep")).unwrap();
            fs::write(scenarios.join("a.md"), "# Scenario: a").unwrap();
            fs::write(scenarios.join("deep/run.sh"), [0xff, 0, 10]).unwrap();
            fs::set_permissions(scenarios.join("deep/run.sh"), Permissions::from_mode(0o755))
                .unwrap();
            std::os::unix::fs::symlink("../a.md", scenarios.join("deep/l")).unwrap();
            fs::set_permissions(scenarios.join("deep"), Permissions::from_mode(0o555)).unwrap();
            let digest = manifest(&scenarios).unwrap().digest;
            Self { root, digest }
        }

        fn checkout(&self) -> PathBuf {
            fs::canonicalize(self.root.path()).unwrap().join("checkout")
        }

        fn scenarios(&self) -> PathBuf {
            self.checkout().join("scenarios")
        }

        fn vault(&self) -> PathBuf {
            self.checkout().with_file_name("vault")
        }

        fn shuffle(&self) -> Shuffle<'static> {
            Shuffle::open(&self.vault(), &self.checkout(), Path::new("scenarios")).unwrap()
        }

        fn hide(&self, owner: &Owner) -> Result<Hidden, ShuffleError> {
            self.shuffle().hide(owner, Timestamp::from_unix_millis(NOW))
        }

        /// Everything in the checkout and in the vault, but for the lock.
        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = [self.checkout(), self.vault()]
                .iter()
                .flat_map(|directory| fs::read_dir(directory).into_iter().flatten())
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name != "lock")
                .collect();
            names.sort();
            names
        }

        /// Whether some complete copy is anywhere.
        fn is_safe(&self) -> bool {
            [self.checkout(), self.vault()].iter().any(|directory| {
                fs::read_dir(directory)
                    .into_iter()
                    .flatten()
                    .any(|entry| holds(&entry.unwrap().path(), &self.digest))
            })
        }

        fn check_whole(&self, names: &[&str]) {
            assert!(holds(&self.scenarios(), &self.digest), "the scenarios are not what they were");
            assert_eq!(self.names(), names);
        }
    }

    /// Runs `act` with an observer that panics at call `n`, as a kill would end it there. Returns
    /// whether there was such a call.
    fn dies_at(n: usize, place: &Place, act: impl FnOnce(Shuffle<'_>)) -> bool {
        let calls = Cell::new(0);
        let observe = |_: Step| {
            let call = calls.replace(calls.get() + 1);
            // No hook prints: the unwinding is not that of a failed assertion.
            if call == n { std::panic::resume_unwind(Box::new("killed")) } else { Ok(()) }
        };
        let shuffle = place.shuffle().observed(&observe);
        catch_unwind(AssertUnwindSafe(|| act(shuffle))).is_err()
    }

    fn hide_for_dead(shuffle: &Shuffle<'_>) {
        let _ = shuffle.hide(&Owner::gone(), Timestamp::from_unix_millis(NOW));
    }

    #[test]
    fn hidden_scenarios_come_back_as_they_were() {
        let place = Place::new();
        let hidden = place.hide(&Owner::this()).unwrap();
        assert_eq!((hidden.files, hidden.bytes), (3, 16));
        assert_eq!(place.names(), ["copy", "journal.json"]);
        assert_eq!(fs::metadata(place.vault()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(place.shuffle().status(), Ok(Status::Hidden { alive: true, .. })));
        let restored = place.shuffle().restore().unwrap();
        assert_eq!(restored, Restored { scenarios: place.scenarios(), displaced: None });
        place.check_whole(&["scenarios"]);
        assert!(matches!(place.shuffle().status(), Ok(Status::Visible { .. })));
    }

    #[test]
    fn a_kill_at_any_moment_of_hiding_loses_nothing() {
        for n in 0.. {
            let place = Place::new();
            let died = dies_at(n, &place, |shuffle| hide_for_dead(&shuffle));
            assert!(place.is_safe(), "step {n}");
            place.shuffle().recover().unwrap();
            place.check_whole(&["scenarios"]);
            if !died {
                assert_eq!(n, 9, "steps");
                break;
            }
        }
    }

    #[test]
    fn nothing_is_called_hidden_that_the_checkout_still_holds() {
        for n in 0.. {
            let place = Place::new();
            let died = dies_at(n, &place, |shuffle| hide_for_dead(&shuffle));
            let status = place.shuffle().status().unwrap();
            match status {
                Status::Visible { .. } => assert!(place.scenarios().exists(), "step {n}"),
                Status::Unfinished { left, .. } => assert!(left.exists(), "step {n}"),
                Status::Hidden { .. } => {
                    let inside = fs::read_dir(place.checkout()).unwrap().count();
                    assert_eq!(inside, 0, "step {n}");
                }
                Status::Missing { .. } => panic!("step {n}"),
            }
            if !died {
                break;
            }
        }
    }

    #[test]
    fn a_kill_at_any_moment_of_restoring_loses_nothing() {
        for n in 0.. {
            let place = Place::new();
            place.hide(&Owner::gone()).unwrap();
            std::os::unix::fs::symlink("/etc", place.scenarios()).unwrap();
            let died = dies_at(n, &place, |shuffle| _ = shuffle.restore());
            assert!(place.is_safe(), "step {n}");
            place.shuffle().recover().unwrap();
            place.check_whole(&["scenarios", "scenarios.displaced-1"]);
            if !died {
                assert_eq!(n, 8, "steps");
                break;
            }
        }
    }

    #[test]
    fn a_kill_of_hiding_and_another_of_recovering_lose_nothing() {
        for n in 0.. {
            let mut last = false;
            for m in 0.. {
                let place = Place::new();
                last = !dies_at(n, &place, |shuffle| hide_for_dead(&shuffle));
                let died = dies_at(m, &place, |shuffle| _ = shuffle.recover());
                assert!(place.is_safe(), "steps {n} and {m}");
                place.shuffle().recover().unwrap();
                place.check_whole(&["scenarios"]);
                if !died {
                    break;
                }
            }
            if last {
                break;
            }
        }
    }

    /// Dies at `at` after one file of the directory `half` was removed.
    fn check_half_removed(at: Step, half: fn(&Place) -> PathBuf, act: impl FnOnce(&Shuffle<'_>)) {
        let place = Place::new();
        if at == Step::Forgotten {
            place.hide(&Owner::gone()).unwrap();
        }
        let observe = |step: Step| {
            if step == at {
                fs::remove_file(half(&place).join("a.md")).unwrap();
                std::panic::resume_unwind(Box::new("killed"));
            }
            Ok(())
        };
        let shuffle = place.shuffle().observed(&observe);
        assert!(catch_unwind(AssertUnwindSafe(|| act(&shuffle))).is_err());
        place.shuffle().recover().unwrap();
        place.check_whole(&["scenarios"]);
    }

    #[test]
    fn a_kill_in_the_middle_of_a_removal_loses_nothing() {
        let doomed = |place: &Place| place.shuffle().journal().unwrap().unwrap().doomed();
        check_half_removed(Step::Doomed, doomed, hide_for_dead);
        let copy = |place: &Place| place.vault().join("copying");
        check_half_removed(Step::Forgotten, copy, |shuffle| _ = shuffle.restore());
    }

    #[test]
    fn an_error_at_any_step_of_hiding_leaves_the_scenarios_in_their_place() {
        for n in 0.. {
            let place = Place::new();
            let calls = Cell::new(0);
            let full = |_: Step| {
                let call = calls.replace(calls.get() + 1);
                if call == n { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
            };
            let shuffle = place.shuffle().observed(&full);
            match shuffle.hide(&Owner::this(), Timestamp::from_unix_millis(NOW)) {
                // The last step: all is removed, and only that could not be made durable.
                Err(ShuffleError::StillThere { .. }) => {
                    place.shuffle().restore().unwrap();
                    place.check_whole(&["scenarios"]);
                }
                Err(_) => place.check_whole(&["scenarios"]),
                Ok(_) => break,
            }
        }
    }

    #[test]
    fn an_error_at_any_step_of_restoring_keeps_a_copy() {
        for n in 0.. {
            let place = Place::new();
            place.hide(&Owner::this()).unwrap();
            let calls = Cell::new(0);
            let full = |_: Step| {
                let call = calls.replace(calls.get() + 1);
                if call == n { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
            };
            let failed = place.shuffle().observed(&full).restore().is_err();
            assert!(place.is_safe(), "step {n}");
            match place.shuffle().restore() {
                Ok(_) | Err(ShuffleError::NotHidden { .. }) => place.check_whole(&["scenarios"]),
                Err(error) => panic!("step {n}: {error}"),
            }
            if !failed {
                break;
            }
        }
    }

    #[test]
    fn hiding_twice_says_who_holds_them() {
        let place = Place::new();
        place.hide(&Owner::this()).unwrap();
        let error = place.hide(&Owner::this()).unwrap_err();
        assert!(matches!(error, ShuffleError::AlreadyHidden { .. }));
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    }

    #[test]
    fn hiding_after_a_crash_asks_to_recover() {
        let place = Place::new();
        place.hide(&Owner::gone()).unwrap();
        assert!(matches!(place.hide(&Owner::this()), Err(ShuffleError::Unrecovered { .. })));
        assert!(matches!(place.shuffle().status(), Ok(Status::Hidden { alive: false, .. })));
    }

    #[test]
    fn recover_waits_for_the_owner_to_be_dead_and_may_be_repeated() {
        let place = Place::new();
        place.hide(&Owner::this()).unwrap();
        assert!(matches!(place.shuffle().recover(), Err(ShuffleError::Held { .. })));
        assert!(!place.scenarios().exists());
        place.shuffle().restore().unwrap();
        assert_eq!(place.shuffle().recover().unwrap(), Recovered::Nothing);
        assert_eq!(place.shuffle().recover().unwrap(), Recovered::Nothing);
        place.check_whole(&["scenarios"]);
    }

    #[test]
    fn restoring_what_is_not_hidden_is_said() {
        let place = Place::new();
        let error = place.shuffle().restore().unwrap_err();
        assert!(matches!(error, ShuffleError::NotHidden { .. }) && error.is_request());
    }

    #[test]
    fn what_stands_in_the_place_is_kept_and_never_followed() {
        let place = Place::new();
        let outside = place.root.path().join("outside");
        fs::create_dir(&outside).unwrap();
        for n in 1..3 {
            place.hide(&Owner::this()).unwrap();
            std::os::unix::fs::symlink(&outside, place.scenarios()).unwrap();
            let displaced = place.shuffle().restore().unwrap().displaced.unwrap();
            assert_eq!(displaced, place.checkout().join(format!("scenarios.displaced-{n}")));
            assert!(displaced.is_symlink());
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn a_parent_that_became_a_link_is_not_written_through() {
        let place = Place::new();
        let inner = place.checkout().join("t/exam");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("a.md"), "").unwrap();
        let shuffle =
            Shuffle::open(&place.vault(), &place.checkout(), Path::new("t/exam")).unwrap();
        shuffle.hide(&Owner::this(), Timestamp::from_unix_millis(NOW)).unwrap();
        let outside = place.root.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::remove_dir(place.checkout().join("t")).unwrap();
        std::os::unix::fs::symlink(&outside, place.checkout().join("t")).unwrap();
        assert!(matches!(shuffle.restore(), Err(ShuffleError::ParentMoved { .. })));
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        fs::remove_file(place.checkout().join("t")).unwrap();
        shuffle.restore().unwrap();
        assert!(inner.join("a.md").exists());
    }

    /// Hides for a dead process, tampers, and looks what each call makes of it.
    fn check_tampered(tamper: impl Fn(&Place), expected: fn(&ShuffleError) -> bool) {
        let place = Place::new();
        place.hide(&Owner::gone()).unwrap();
        tamper(&place);
        let before = place.names();
        for call in [
            |shuffle: Shuffle<'_>| shuffle.restore().map(drop),
            |shuffle: Shuffle<'_>| shuffle.recover().map(drop),
        ] {
            let error = call(place.shuffle()).unwrap_err();
            assert!(expected(&error) && !error.is_request(), "{error}");
        }
        assert!(place.hide(&Owner::this()).is_err());
        assert_eq!(place.names(), before, "nothing is touched");
    }

    #[test]
    fn any_change_of_the_copy_is_found_and_nothing_is_touched() {
        let damaged = |error: &ShuffleError| matches!(error, ShuffleError::Damaged { .. });
        let file = |place: &Place| place.vault().join("copy/a.md");
        check_tampered(|place| fs::write(file(place), "# Scenario: b").unwrap(), damaged);
        check_tampered(|place| fs::write(file(place), "# Scen").unwrap(), damaged);
        check_tampered(|place| fs::remove_file(file(place)).unwrap(), damaged);
        check_tampered(|place| fs::write(place.vault().join("copy/more.md"), "").unwrap(), damaged);
        check_tampered(|place| remove(&place.vault().join("copy")).unwrap(), damaged);
        let link = |place: &Place| {
            fs::rename(place.vault().join("copy"), place.vault().join("moved")).unwrap();
            std::os::unix::fs::symlink("moved", place.vault().join("copy")).unwrap();
        };
        check_tampered(link, damaged);
    }

    #[test]
    fn what_was_put_in_place_by_hand_ends_a_hiding_whose_copy_is_damaged() {
        let place = Place::new();
        files::copy(&place.scenarios(), &place.checkout().join("mine"), &mut || Ok(())).unwrap();
        place.hide(&Owner::this()).unwrap();
        fs::write(place.vault().join("copy/a.md"), "exit 0").unwrap();
        assert!(place.shuffle().restore().is_err());
        fs::rename(place.checkout().join("mine"), place.scenarios()).unwrap();
        place.shuffle().restore().unwrap();
        place.check_whole(&["scenarios"]);
    }

    #[test]
    fn a_journal_that_is_gone_does_not_make_the_only_copy_a_leftover() {
        let lost = |error: &ShuffleError| matches!(error, ShuffleError::JournalLost { .. });
        let forget = |place: &Place| fs::remove_file(place.vault().join("journal.json")).unwrap();
        check_tampered(forget, lost);
        let forged = |place: &Place| {
            forget(place);
            fs::create_dir(place.scenarios()).unwrap();
        };
        check_tampered(forged, lost);

        let place = Place::new();
        place.hide(&Owner::this()).unwrap();
        forget(&place);
        assert!(matches!(place.shuffle().status(), Err(ShuffleError::JournalLost { .. })));
        fs::rename(place.vault().join("copy"), place.scenarios()).unwrap();
        assert_eq!(place.shuffle().recover().unwrap(), Recovered::Nothing);
        place.check_whole(&["scenarios"]);
    }

    #[test]
    fn a_byte_changed_anywhere_in_the_journal_is_found() {
        let place = Place::new();
        place.hide(&Owner::gone()).unwrap();
        let path = place.vault().join("journal.json");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let error = place.shuffle().recover().err();
            assert!(matches!(error, Some(ShuffleError::Journal { .. })), "byte {at}: {error:?}");
        }
        for length in 0..whole.len() - 1 {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(place.shuffle().recover().is_err(), "{length} bytes");
        }
        fs::write(&path, &whole).unwrap();
        place.shuffle().recover().unwrap();
        place.check_whole(&["scenarios"]);
    }

    #[test]
    fn scenarios_that_can_not_be_moved_back_are_put_back_by_restore() {
        let place = Place::new();
        let occupied = |step: Step| match step {
            Step::Doomed => {
                fs::create_dir(place.scenarios())?;
                fs::write(place.scenarios().join("agent"), "")?;
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        };
        let shuffle = place.shuffle().observed(&occupied);
        shuffle.hide(&Owner::this(), Timestamp::from_unix_millis(NOW)).unwrap_err();
        assert!(matches!(place.shuffle().status(), Ok(Status::Unfinished { .. })));
        place.shuffle().restore().unwrap();
        place.check_whole(&["scenarios", "scenarios.displaced-1"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_tree_that_is_hidden_comes_back_as_it_was(items in trees::items()) {
            let place = Place::new();
            let scenarios = place.scenarios();
            remove(&scenarios).unwrap();
            trees::write(&scenarios, &items);
            let before = trees::read(&scenarios);
            place.hide(&Owner::this()).unwrap();
            prop_assert_eq!(fs::read_dir(place.checkout()).unwrap().count(), 0);
            place.shuffle().restore().unwrap();
            prop_assert_eq!(trees::read(&scenarios), before);
            prop_assert_eq!(place.names(), ["scenarios"]);
        }
    }

    #[test]
    fn an_edit_in_the_moment_of_hiding_is_kept() {
        for at in [Step::Copied, Step::Journaled, Step::Named] {
            let place = Place::new();
            let edited = place.scenarios().join("a.md");
            let edit = |step: Step| if step == at { fs::write(&edited, "new") } else { Ok(()) };
            let shuffle = place.shuffle().observed(&edit);
            let error = shuffle.hide(&Owner::this(), Timestamp::from_unix_millis(NOW)).unwrap_err();
            assert!(matches!(error, ShuffleError::Changed { .. }), "{error}");
            assert_eq!(fs::read_to_string(&edited).unwrap(), "new");
            assert_eq!(place.names(), ["scenarios"]);
        }
    }

    #[test]
    fn an_edit_before_a_kill_is_kept_beside_the_scenarios() {
        let place = Place::new();
        let edited = place.scenarios().join("a.md");
        let edit_and_die = |step: Step| match step {
            Step::Journaled => fs::write(&edited, "new"),
            Step::SetAside => std::panic::resume_unwind(Box::new("killed")),
            _ => Ok(()),
        };
        let shuffle = place.shuffle().observed(&edit_and_die);
        assert!(catch_unwind(AssertUnwindSafe(|| hide_for_dead(&shuffle))).is_err());
        place.shuffle().recover().unwrap();
        place.check_whole(&["scenarios", "scenarios.displaced-1"]);
        let kept = place.checkout().join("scenarios.displaced-1/a.md");
        assert_eq!(fs::read_to_string(kept).unwrap(), "new");
    }

    #[test]
    fn a_second_call_at_the_same_time_is_turned_away() {
        let place = Place::new();
        let second = |_: Step| {
            assert!(matches!(place.shuffle().restore(), Err(ShuffleError::Busy { .. })));
            place.shuffle().status().map(drop).map_err(io::Error::other)
        };
        let shuffle = place.shuffle().observed(&second);
        shuffle.hide(&Owner::this(), Timestamp::from_unix_millis(NOW)).unwrap();
    }

    #[test]
    fn a_journal_that_is_no_journal_is_named() {
        let place = Place::new();
        place.hide(&Owner::this()).unwrap();
        fs::write(place.vault().join("journal.json"), "{}").unwrap();
        let error = place.shuffle().recover().unwrap_err();
        assert!(error.to_string().contains("journal.json"), "{error}");
        assert!(place.is_safe());
    }

    fn check_refused(make: impl FnOnce(&Place), expected: fn(&ShuffleError) -> bool) {
        let place = Place::new();
        make(&place);
        let error = place.hide(&Owner::this()).unwrap_err();
        assert!(expected(&error) && error.is_request(), "{error}");
    }

    #[test]
    fn what_is_no_directory_of_files_is_not_hidden() {
        check_refused(
            |place| fs::rename(place.scenarios(), place.checkout().join("x")).unwrap(),
            |e| matches!(e, ShuffleError::Missing { .. }),
        );
        check_refused(
            |place| {
                fs::rename(place.scenarios(), place.checkout().join("x")).unwrap();
                std::os::unix::fs::symlink("x", place.scenarios()).unwrap();
            },
            |e| matches!(e, ShuffleError::Link { .. }),
        );
        check_refused(
            |place| {
                fs::rename(place.scenarios(), place.checkout().join("x")).unwrap();
                fs::write(place.scenarios(), "").unwrap();
            },
            |e| matches!(e, ShuffleError::NotADirectory { .. }),
        );
        check_refused(
            |place| {
                let socket = place.scenarios().join("s");
                drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
            },
            |e| matches!(e, ShuffleError::Unsupported { .. }),
        );
    }

    #[test]
    fn a_directory_that_holds_the_checkout_or_the_vault_is_refused() {
        let place = Place::new();
        let open = |vault: &Path, dir: &str| {
            Shuffle::open(vault, &place.checkout(), Path::new(dir)).map(drop).unwrap_err()
        };
        for dir in [".", "/", "../checkout"] {
            assert!(open(&place.vault(), dir).is_request(), "{dir}");
        }
        let inside = place.checkout().join("state/not/made/yet");
        assert!(matches!(open(&inside, "scenarios"), ShuffleError::VaultInside { .. }));
    }

    #[test]
    fn two_checkouts_of_one_name_have_vaults_of_their_own() {
        let (one, two) = (Place::new(), Place::new());
        let state = Path::new("/state");
        let vault_of = |place: &Place| vault(state, &place.checkout()).unwrap();
        assert_ne!(vault_of(&one), vault_of(&two));
        assert!(vault_of(&one).starts_with(state));
    }
}
