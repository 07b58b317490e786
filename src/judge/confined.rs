//! Judging within a view: each evaluation has a home, a directory for temporary files and a network of
//! its own, sees the tree and the system and nothing else, and is dead when its result is read.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::journal::make_private_dir;
use crate::process::{self, Call, Cancel, Finished, Keep, Stream, Variables, find_program};
use crate::verdict::Ending;
use crate::wall::confine::{Chosen, Confined, Loopback, Network, Seen, Step, Use, View, hand_over};
use crate::wall::{copy_tree, remove_tree};

/// Opens, beside the bash that runs this, what could tell of the exam or decide it.
const LOOK_AT_BASH: &str = "for what in mem environ maps auxv; do
  (: < /proc/$$/$what) 2>/dev/null && echo \"$what opens\" && exit 1
done
exit 0";

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The hidden subcommand that looks for a server on a loopback of its own, see `fixtures`.
pub const LOOK: &str = "look-inside";

/// How what is judged in a tree is confined.
#[derive(Debug)]
pub struct Judging {
    base: Confined,
    /// Which runs scripts; none where the system has none.
    bash: Option<PathBuf>,
    /// For fixtures.
    fixtures: Confined,
    launcher: PathBuf,
    chosen: Chosen,
    /// Whom what is judged runs as; none means as the factory does.
    user: Option<(u32, u32)>,
    /// The loopback of fixtures and of what needs them, once it is asked for; none where they are on the
    /// machine's.
    loopback: OnceLock<Option<Loopback>>,
    /// Whether fixtures may use the machine's network.
    is_open: bool,
    /// Where each evaluation gets a directory, as long as it runs.
    dir: PathBuf,
    /// The home that evaluations see as theirs; what is in it each begins with.
    home: PathBuf,
    tmp: PathBuf,
    /// The git directory of the tree, of which each start gets a copy, and where that is seen; none where the
    /// tree has its own, or none.
    repository: Option<(PathBuf, PathBuf)>,
    /// What fixtures share that are started for the present candidate: a home, a directory for temporary files and a
    /// repository, made when the first of them is. One that lives on keeps what it began with.
    shared: Mutex<Directories>,
    next: AtomicU64,
}

/// The directories that what is judged writes to beside its tree.
#[derive(Debug)]
struct Directories {
    dir: PathBuf,
    /// Where its home and its directory for temporary files are, which it may share with another.
    homes: PathBuf,
}

impl Directories {
    fn at(dir: PathBuf) -> Self {
        Self { homes: dir.clone(), dir }
    }
}

/// That of one evaluation; gone when dropped.
struct Room(Directories);

impl Judging {
    /// Begins judging in `view`, with what it needs for that in `dir`, which is of the factory alone and
    /// which no view has. `home` and `tmp` are those that the environment of what is judged names; each
    /// evaluation sees directories of its own there. `user` is whom
    /// what is judged runs as, none the factory's own; `is_open` says whether fixtures may use the
    /// machine's network.
    ///
    /// # Errors
    /// `dir` can't be made or written.
    pub fn begin(
        dir: &Path,
        launcher: &Path,
        chosen: &Chosen,
        (mut view, env): (View, &Variables),
        [home, tmp]: [&Path; 2],
        user: Option<(u32, u32)>,
        is_open: bool,
    ) -> io::Result<Self> {
        let rooms = dir.join("rooms");
        // What a killed factory left.
        remove_tree(&rooms)?;
        make_private_dir(&rooms)?;
        let begin = |dir: &Path, view| match user {
            Some(_) => Confined::begin(dir, launcher, chosen, view),
            None => Confined::begin_as_self(dir, launcher, chosen, view),
        };
        view.hides = true;
        let bash = closed_bash(env, dir)?;
        view.seen.extend(bash.iter().map(|bash| Seen { path: bash.into(), using: Use::Read }));
        let by_bash = |confined: Confined| match &bash {
            Some(bash) => confined.by_bash(bash),
            None => confined,
        };
        let judging = Self {
            fixtures: by_bash(begin(&dir.join("fixtures"), view.clone())?),
            base: by_bash(begin(dir, view)?),
            bash,
            launcher: launcher.to_owned(),
            chosen: chosen.clone(),
            user,
            loopback: OnceLock::new(),
            is_open,
            shared: Mutex::new(Directories::at(rooms.join("fixtures"))),
            dir: rooms,
            home: home.to_owned(),
            tmp: tmp.to_owned(),
            repository: None,
            next: AtomicU64::new(0),
        };
        if judging.bash.is_some() {
            judging.try_out(env)?;
        }
        Ok(judging)
    }

    /// Finds out whether what is judged could look into the bash that judges it.
    fn try_out(&self, env: &Variables) -> io::Result<()> {
        let call = Call::new("bash", "/").args(["-c", LOOK_AT_BASH, "bash"]).env(env.clone());
        let call = call.limit(PATIENCE).keep(Keep { head: 1_000, tail: 0 });
        let done = self.run(call, (Network::Own, &[]), &Cancel::never(), &mut |_, _| {});
        match done.ending {
            Ending::Exited { code: 0 } => Ok(()),
            ending => Err(io::Error::other(format!(
                "what is judged could look into the bash that judges it ({ending:?}): {}{}",
                done.stdout.text().trim(),
                done.stderr.text().trim(),
            ))),
        }
    }

    /// Returns itself with a copy of the git directory `kept` at `at` for whatever it starts; what that writes there
    /// is gone with it.
    #[must_use]
    pub fn with_repository(self, kept: PathBuf, at: PathBuf) -> Self {
        Self { repository: Some((kept, at)), ..self }
    }

    /// Turns to a candidate: fixtures that are started from now on have nothing of those for another one, but where one
    /// of those may live on: with that they share a home and temporary files, as sockets.
    ///
    /// # Errors
    /// It can't be removed.
    pub fn turn_to(&self, candidate: &str, may_live_on: bool) -> io::Result<()> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = self.dir.join(format!("fixtures-{candidate}"));
        if shared.dir != dir {
            *shared = match may_live_on {
                true => Directories { dir, homes: shared.homes.clone() },
                false => {
                    remove_tree(&shared.dir)?;
                    Directories::at(dir)
                }
            };
        }
        Ok(())
    }

    /// Runs `call` to its end.
    pub(super) fn run(
        &self,
        call: Call,
        (network, shown): (Network, &[PathBuf]),
        cancel: &Cancel,
        live: &mut dyn FnMut(Stream, &[u8]),
    ) -> Finished {
        let no_place = |error: io::Error| format!("there is no place to run it in: {error}");
        let prepared = self.room().map_err(no_place).and_then(|room| {
            let confined = self.base.clone().reporting_to(&room.0.dir.join("report"));
            let (confined, call) = self.within(&room.0, confined, call);
            let confined =
                shown.iter().fold(confined.on(network), |confined, dir| confined.showing(dir, dir));
            let call = confined.wrap(call).map_err(|error| error.to_string())?;
            Ok((room, call, confined))
        });
        match prepared {
            Ok((_room, call, confined)) => confined.tell(process::run(&call, cancel, live)),
            Err(why) => Finished::never_began(Ending::CouldNotStart { why }),
        }
    }

    /// Returns the network of fixtures and of what needs them.
    ///
    /// # Errors
    /// It can't be made.
    pub(super) fn network_of_fixtures(&self) -> io::Result<Network> {
        Ok(self.loopback()?.map_or(Network::Open, Loopback::network))
    }

    fn loopback(&self) -> io::Result<Option<&Loopback>> {
        if self.is_open {
            return Ok(None);
        }
        // Two that ask at the same time may both make one; the later one is dropped.
        if self.loopback.get().is_none() {
            let made = Loopback::make(&self.launcher, &self.chosen)?;
            let _ = self.loopback.set(made);
        }
        Ok(self.loopback.get().and_then(Option::as_ref))
    }

    /// Returns the file that the start of a fixture reports to.
    pub(super) fn fixture_report(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("fixture-{number}"))
    }

    /// Returns the call of a fixture's command, which sees the directories `dirs` as well: the one that
    /// `starts` it, reports to `report` and may go on in the background, or one that joins that.
    ///
    /// # Errors
    /// Its network or its report can't be made.
    pub(super) fn fixture(
        &self,
        call: Call,
        dirs: &[PathBuf],
        report: &Path,
        starts: bool,
    ) -> io::Result<Call> {
        let confined = self.fixtures.clone().on(self.network_of_fixtures()?);
        let confined = dirs.iter().fold(confined, |confined, dir| confined.showing(dir, dir));
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !shared.dir.is_dir() {
            self.make_dirs(&shared)?;
        }
        let (confined, call) = self.within(&shared, confined, call);
        let confined = match starts {
            true => confined.reporting_to(report).going_on(),
            false => confined.reporting_to(&self.fixture_report()).joining(report),
        };
        confined.wrap(call)
    }

    /// Gives a directory to whom what is judged runs as.
    ///
    /// # Errors
    /// This process may not.
    pub(super) fn give(&self, dir: &Path) -> io::Result<()> {
        self.user.map_or(Ok(()), |user| hand_over(dir, user))
    }

    /// Returns the call of the program that looks for a server on the fixtures' loopback, to be followed
    /// by what it looks for; none where that is the machine's.
    ///
    /// # Errors
    /// The loopback can't be made.
    pub(super) fn looker(&self) -> io::Result<Option<Call>> {
        Ok(self.loopback()?.map(|loopback| loopback.call(LOOK)))
    }

    fn room(&self) -> io::Result<Room> {
        self.bash.as_deref().map_or(Ok(()), close)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let room = Room(Directories::at(self.dir.join(number.to_string())));
        self.make_dirs(&room.0)?;
        Ok(room)
    }

    fn make_dirs(&self, place: &Directories) -> io::Result<()> {
        let private = || {
            let mut builder = fs::DirBuilder::new();
            builder.mode(0o700);
            builder
        };
        private().create(&place.dir)?;
        if let Some((kept, _)) = &self.repository {
            copy_tree(kept, &place.git())?;
            self.give(&place.git())?;
        }
        if place.home().exists() {
            return Ok(());
        }
        fs::create_dir_all(&place.homes)?;
        private().create(place.tmp())?;
        // What the product's own set-up commands put there, if they did.
        let is_empty =
            fs::read_dir(&self.home).map_or(true, |mut entries| entries.next().is_none());
        if is_empty {
            private().create(place.home())?;
        } else {
            copy_tree(&self.home, &place.home())?;
        }
        self.give(&place.home())?;
        self.give(&place.tmp())
    }

    /// Returns how `call` sees `place` where its environment names a home and a directory for temporary files.
    fn within(&self, place: &Directories, confined: Confined, call: Call) -> (Confined, Call) {
        let (home, tmp) = (place.home(), place.tmp());
        if !self.shows_elsewhere() {
            let confined = confined.showing(&home, &home).showing(&tmp, &tmp);
            return (confined, call.envs([("HOME", home), ("TMPDIR", tmp)]));
        }
        let mut confined = confined
            .showing(&home, &self.home)
            .showing(&tmp, &self.tmp)
            .showing(&tmp, Path::new("/tmp"))
            .showing(&tmp, Path::new("/var/tmp"));
        if let Some((_, at)) = &self.repository {
            confined = confined.showing(&place.git(), at);
        }
        (confined, call)
    }

    /// Returns whether something can be seen elsewhere than where it lies: not by the rules of paths alone.
    fn shows_elsewhere(&self) -> bool {
        match self.chosen.step {
            Step::Landlock => false,
            Step::Root | Step::UserNamespace | Step::Bubblewrap | Step::Sudo => true,
        }
    }
}

/// Makes a copy of the bash on `PATH` in `dir` that what is judged may run and not read: into what runs from such a file
/// the kernel lets nobody of the same user look.
///
/// # Errors
/// The disk is full.
fn closed_bash(env: &Variables, dir: &Path) -> io::Result<Option<PathBuf>> {
    // Whoever starts one says that there is none.
    let Some(bash) = find_program(OsStr::new("bash"), env) else { return Ok(None) };
    let at = dir.join("bash");
    // What was left by a killed factory can't be written to.
    match fs::remove_file(&at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::copy(bash, &at)?;
    close(&at)?;
    Ok(Some(at))
}

/// Takes from a program the right to be read, where it has one: what is judged may be its owner.
fn close(program: &Path) -> io::Result<()> {
    const RUN_ALONE: u32 = 0o111;
    match fs::metadata(program)?.mode() & 0o7777 {
        RUN_ALONE => Ok(()),
        _ => fs::set_permissions(program, fs::Permissions::from_mode(RUN_ALONE)),
    }
}

impl Directories {
    fn home(&self) -> PathBuf {
        self.homes.join("home")
    }

    fn tmp(&self) -> PathBuf {
        self.homes.join("tmp")
    }

    fn git(&self) -> PathBuf {
        self.dir.join("git")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What can't be removed now is removed when the next one begins to judge.
        let _ = remove_tree(&self.0.dir);
    }
}
