//! Judging within a view: each evaluation has a home, a directory for temporary files and a network of
//! its own, sees the tree and the system and nothing else, and is dead when its result is read.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::process::{self, Call, Cancel, Finished, Stream};
use crate::verdict::Ending;
use crate::wall::confine::{Chosen, Confined, Network, Step, View, hand_over};
use crate::wall::{copy_tree, remove_tree};

/// How what is judged in a tree is confined.
#[derive(Debug)]
pub struct Judging {
    base: Confined,
    chosen: Chosen,
    /// Where each evaluation gets a directory, as long as it runs.
    dir: PathBuf,
    /// The home that evaluations see as theirs; what is in it each begins with.
    home: PathBuf,
    tmp: PathBuf,
    next: AtomicU64,
}

/// The directories of one evaluation; gone when dropped.
struct Room {
    dir: PathBuf,
}

impl Judging {
    /// Begins judging in `view`, with what it needs for that in `dir`, which is of the factory alone and
    /// which no view has. `home` and `tmp` are those that the environment of what is judged names; each
    /// evaluation sees directories of its own there.
    ///
    /// # Errors
    /// `dir` can't be made or written.
    pub fn begin(
        dir: &Path,
        launcher: &Path,
        chosen: &Chosen,
        view: View,
        home: &Path,
        tmp: &Path,
    ) -> io::Result<Self> {
        let rooms = dir.join("rooms");
        // What a killed factory left.
        remove_tree(&rooms)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&rooms)?;
        Ok(Self {
            base: Confined::begin(dir, launcher, chosen, view)?,
            chosen: chosen.clone(),
            dir: rooms,
            home: home.to_owned(),
            tmp: tmp.to_owned(),
            next: AtomicU64::new(0),
        })
    }

    /// Runs `call` to its end. A `script` too long for an argument is written to a file, which becomes
    /// the last argument.
    pub(super) fn run(
        &self,
        call: Call,
        script: Option<&str>,
        network: Network,
        cancel: &Cancel,
        live: &mut dyn FnMut(Stream, &[u8]),
    ) -> Finished {
        let prepared = self.room().and_then(|room| {
            let (confined, call) = self.within(&room, call, script)?;
            let confined = confined.on(network);
            Ok((room, confined.wrap(call)?, confined))
        });
        match prepared {
            Ok((_room, call, confined)) => confined.tell(process::run(&call, cancel, live)),
            Err(error) => Finished::never_began(Ending::CouldNotStart {
                why: format!("there is no place to run it in: {error}"),
            }),
        }
    }

    fn room(&self) -> io::Result<Room> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let room = Room { dir: self.dir.join(number.to_string()) };
        let private = || {
            let mut builder = fs::DirBuilder::new();
            builder.mode(0o700);
            builder
        };
        private().create(&room.dir)?;
        private().create(room.tmp())?;
        // What the product's own set-up commands put there, if they did.
        let is_empty =
            fs::read_dir(&self.home).map_or(true, |mut entries| entries.next().is_none());
        if is_empty {
            private().create(room.home())?;
        } else {
            copy_tree(&self.home, &room.home())?;
        }
        if let Some(user) = self.chosen.user() {
            hand_over(&room.home(), user)?;
            hand_over(&room.tmp(), user)?;
        }
        Ok(room)
    }

    fn within(
        &self,
        room: &Room,
        mut call: Call,
        script: Option<&str>,
    ) -> io::Result<(Confined, Call)> {
        let report = room.dir.join("report");
        let mut confined = self.base.clone().reporting_to(&report);
        let tmp = room.tmp();
        // By the rules of paths alone nothing can be seen elsewhere than where it lies.
        let (seen_tmp, elsewhere) = match self.chosen.step {
            Step::Landlock => (tmp.as_path(), false),
            Step::Root | Step::UserNamespace | Step::Bubblewrap => (self.tmp.as_path(), true),
        };
        if elsewhere {
            let shown = [
                (room.home(), self.home.as_path()),
                (tmp.clone(), self.tmp.as_path()),
                (tmp.clone(), Path::new("/tmp")),
                (tmp.clone(), Path::new("/var/tmp")),
            ];
            for (from, at) in shown {
                confined = confined.showing(&from, at);
            }
        } else {
            confined = confined.showing(&room.home(), &room.home()).showing(&tmp, &tmp);
            call = call.envs([("HOME", room.home()), ("TMPDIR", tmp.clone())]);
        }
        if let Some(script) = script {
            let name = "dark-factory-script.sh";
            fs::write(tmp.join(name), script)?;
            if let Some(user) = self.chosen.user() {
                hand_over(&tmp.join(name), user)?;
            }
            call = call.arg(seen_tmp.join(name));
        }
        Ok((confined, call))
    }
}

impl Room {
    fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What can't be removed now is removed when the next one begins to judge.
        let _ = remove_tree(&self.dir);
    }
}
