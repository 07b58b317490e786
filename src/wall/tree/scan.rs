//! Comparing a tree with the candidate that it was set to.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::ignored::Ignored;
use super::manifest::{Entry, Manifest};
use super::sync::{content_id, read_patterns};
use super::{ManagedTree, TreeError, is_git_directory, shown};
use crate::delivery::{Found, OtherKind, Scan, What};
use crate::git::{Mode, Repo, blob_id};
use crate::text::TreePath;
use crate::wall::at::{self, Kind, MAX_DEPTH, Stat};

/// How far a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// How many new paths are listed; more of them are counted and not read.
    pub differing: usize,
    /// How many new files of one new directory are listed; a directory with more of them is listed
    /// itself, the innermost that has.
    pub directory: usize,
    /// How many entries are looked at, ignored directories counting once; beyond it the scan is
    /// truncated.
    pub entries: usize,
    /// A differing file with more bytes than this is not read; its `blob` is empty.
    pub file_bytes: u64,
    /// How many bytes are read in all; beyond it new files are counted, and a scan of more changes
    /// of tracked files than that is truncated.
    pub total_bytes: u64,
    /// How many ignored paths are listed; more of them do not truncate the scan.
    pub ignored: usize,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self {
            differing: 20_000,
            directory: 2_000,
            entries: 2_000_000,
            file_bytes: 64 << 20,
            total_bytes: 2 << 30,
            ignored: 1_000,
        }
    }
}

impl ManagedTree {
    /// Returns what differs from the tree that was set last, by metadata first and bytes where
    /// that differs.
    ///
    /// What a component named `.git` holds, in any case, is not looked at. A new path is ignored
    /// if a `.gitignore` file in the tree as it stands now names it; a tracked one never is.
    /// Ignored paths that were there when the tree was set are left out. Large files that the tree
    /// only points to are compared with what was put there. A directory that can't be read is
    /// listed itself, and tracked files in it are not called removed.
    ///
    /// # Errors
    /// The tree was never set whole, or the file system refuses.
    pub fn scan(&self, repo: &Repo, limits: ScanLimits) -> Result<Scan, TreeError> {
        let manifest = self
            .manifest
            .as_ref()
            .filter(|manifest| manifest.format == repo.format() && !self.marker.exists())
            .ok_or_else(|| TreeError::NotSynced { root: self.root.clone() })?;
        let mut walk = Walk {
            manifest,
            limits,
            seen: vec![false; manifest.entries.0.len()],
            entries: 0,
            read: 0,
            found: Vec::new(),
            counted: Counted::default(),
            new: 0,
            unlisted: None,
            ignored: Vec::new(),
            unreadable: Vec::new(),
            truncated: false,
        };
        let level = Level { prefix: Vec::new(), depth: 0, hidden: false, since: None };
        walk.visit(&self.open_root()?, &level, &mut Ignored::default())?;
        walk.finish()
    }
}

struct Walk<'a> {
    manifest: &'a Manifest,
    limits: ScanLimits,
    /// Which tracked paths were met.
    seen: Vec<bool>,
    entries: usize,
    read: u64,
    found: Vec<(Vec<u8>, What)>,
    /// What was met in a new directory that has too much to be listed, and is not in `found`.
    counted: Counted,
    /// How many new paths are in `found`.
    new: usize,
    /// The first new file that is not listed, and how many of them there are.
    unlisted: Option<(Vec<u8>, usize)>,
    ignored: Vec<Vec<u8>>,
    /// Directories, slash included, that could not be looked into.
    unreadable: Vec<Vec<u8>>,
    truncated: bool,
}

/// New files that are not listed one by one.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    files: usize,
    bytes: u64,
}

struct Level {
    prefix: Vec<u8>,
    depth: usize,
    /// Whether the directory is ignored and visited only for what is tracked in it.
    hidden: bool,
    /// In a new directory, how long `found` was when the outermost new one around it was entered.
    since: Option<usize>,
}

impl Walk<'_> {
    fn visit(
        &mut self,
        dir: &OwnedFd,
        level: &Level,
        ignored: &mut Ignored,
    ) -> Result<(), TreeError> {
        let names = at::names(dir.as_fd()).map_err(|source| TreeError::Io {
            doing: format!("list `{}`", String::from_utf8_lossy(&level.prefix)),
            source,
        })?;
        let patterns = ignored.len();
        if names.binary_search_by(|name| name.as_slice().cmp(b".gitignore")).is_ok()
            && let Some(bytes) = read_patterns(dir.as_fd())
        {
            ignored.push(level.prefix.len(), &bytes);
        }
        for name in names.iter().filter(|name| !is_git_directory(name)) {
            self.entries += 1;
            self.truncated |= self.entries > self.limits.entries;
            if self.truncated {
                break;
            }
            let path = [level.prefix.as_slice(), name].concat();
            self.look(dir, name, path, level, ignored)?;
        }
        ignored.truncate(patterns);
        Ok(())
    }

    fn look(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        path: Vec<u8>,
        level: &Level,
        ignored: &mut Ignored,
    ) -> Result<(), TreeError> {
        let fail = |source| TreeError::Io { doing: format!("look at `{}`", shown(&path)), source };
        let stat = match at::stat(dir.as_fd(), name) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Ok(()),
            Err(error) if is_denied(&error) => {
                self.unreadable.push([path.as_slice(), b"/"].concat());
                self.note(path, What::Other(OtherKind::Unreadable));
                return Ok(());
            }
            Err(error) => return Err(fail(error)),
        };
        if stat.kind == Kind::Directory {
            return self.look_into(dir, name, path, level, ignored);
        }
        if let Some(index) = self.manifest.entries.find(&path) {
            self.seen[index] = true;
            let entry = &self.manifest.entries.0[index].1;
            if entry.signature != Some(stat.signature)
                && let Some(what) = self.compare(dir, name, &stat, Some(entry)).map_err(fail)?
            {
                self.found.push((path, what));
            }
        } else if level.hidden || ignored.matches(&path, false) {
            self.ignore(path);
        } else if level.since.is_some_and(|since| self.found.len() - since > self.limits.directory)
        {
            // The directory, or one around it, is told as a whole: nothing of it is read.
            self.counted.files += 1;
            self.counted.bytes = self.counted.bytes.saturating_add(stat.signature.size);
        } else if self.new >= self.limits.differing || self.reads_too_much(&stat) {
            self.unlisted.get_or_insert((path, 0)).1 += 1;
        } else if let Some(what) = self.compare(dir, name, &stat, None).map_err(fail)? {
            self.note(path, what);
        }
        Ok(())
    }

    fn look_into(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        path: Vec<u8>,
        level: &Level,
        ignored: &mut Ignored,
    ) -> Result<(), TreeError> {
        let prefix = [path.as_slice(), b"/"].concat();
        let tracked = self.manifest.entries.holds_below(&prefix);
        let hidden = level.hidden || ignored.matches(&path, true);
        if hidden && !tracked {
            self.ignore(path);
            return Ok(());
        }
        let inner = match at::open_dir(dir.as_fd(), name) {
            _ if level.depth + 1 >= MAX_DEPTH => None,
            Ok(inner) => Some(inner),
            Err(error) if is_denied(&error) => None,
            Err(source) => {
                return Err(TreeError::Io { doing: format!("open `{}`", shown(&path)), source });
            }
        };
        let Some(inner) = inner else {
            self.unreadable.push(prefix);
            self.note(path, What::Other(OtherKind::Unreadable));
            return Ok(());
        };
        let before = (self.found.len(), self.ignored.len());
        let counted = self.counted;
        let since = if tracked { None } else { Some(level.since.unwrap_or(before.0)) };
        let inside = Level { prefix, depth: level.depth + 1, hidden, since };
        self.visit(&inner, &inside, ignored)?;
        // A new directory whose content is all ignored, as by a `.gitignore` of its own, is one
        // ignored path.
        if !tracked && self.found.len() == before.0 && self.ignored.len() > before.1 {
            self.ignored.truncate(before.1);
            self.ignore(path);
        } else if !tracked {
            self.collapse(path, before.0, counted);
        }
        Ok(())
    }

    /// Puts the new directory itself in place of what was found in it, where that is too much.
    fn collapse(&mut self, path: Vec<u8>, from: usize, before: Counted) {
        let mut all = Counted {
            files: self.counted.files - before.files,
            bytes: self.counted.bytes - before.bytes,
        };
        for (_, what) in &self.found[from..] {
            let (files, bytes) = match what {
                What::File { bytes, .. } => (1, *bytes),
                What::Directory { files, bytes } => (*files, *bytes),
                What::Symlink { .. } | What::Other(_) | What::Removed | What::Unlisted { .. } => {
                    (1, 0)
                }
            };
            all.files += files;
            all.bytes = all.bytes.saturating_add(bytes);
        }
        let listed = self.found.len() - from;
        if listed + self.counted.files - before.files <= self.limits.directory {
            return;
        }
        self.found.truncate(from);
        self.counted = before;
        self.new = self.new.saturating_sub(listed);
        self.note(path, What::Directory { files: all.files, bytes: all.bytes });
    }

    /// Whether a new file is more than may still be read.
    fn reads_too_much(&self, stat: &Stat) -> bool {
        let bytes = stat.signature.size;
        stat.kind == Kind::File
            && bytes <= self.limits.file_bytes
            && self.read.saturating_add(bytes) > self.limits.total_bytes
    }

    /// Returns what stands at a path; none if that is what was put there.
    fn compare(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        entry: Option<&Entry>,
    ) -> io::Result<Option<What>> {
        match stat.kind {
            Kind::File => {}
            Kind::Symlink => {
                let target = at::read_link(dir.as_fd(), name)?;
                let blob = blob_id(self.manifest.format, &target);
                let same =
                    entry.is_some_and(|entry| entry.mode == Mode::Symlink && entry.content == blob);
                return Ok((!same).then(|| What::Symlink { target, blob: blob.into() }));
            }
            Kind::Fifo => return Ok(Some(What::Other(OtherKind::Fifo))),
            Kind::Socket => return Ok(Some(What::Other(OtherKind::Socket))),
            Kind::Device | Kind::Directory => return Ok(Some(What::Other(OtherKind::Device))),
        }
        let bytes = stat.signature.size;
        let executable = stat.is_executable();
        let mode = if executable { Mode::Executable } else { Mode::File };
        let old_size = entry.and_then(|entry| entry.signature).map(|signature| signature.size);
        // A large tracked file that was only touched is read, to say that it is the same.
        if bytes > self.limits.file_bytes && old_size != Some(bytes) {
            return Ok(Some(What::File { executable, bytes, blob: String::new() }));
        }
        self.read = self.read.saturating_add(bytes);
        if self.read > self.limits.total_bytes {
            self.truncated = true;
            return Ok(None);
        }
        let Some(blob) = content_id(self.manifest.format, dir.as_fd(), name, stat)? else {
            return Ok(Some(What::Other(OtherKind::Unreadable)));
        };
        let same = entry.is_some_and(|entry| entry.mode == mode && entry.content == blob);
        Ok((!same).then(|| What::File { executable, bytes, blob: blob.into() }))
    }

    fn note(&mut self, path: Vec<u8>, what: What) {
        self.new += 1;
        self.found.push((path, what));
    }

    fn ignore(&mut self, path: Vec<u8>) {
        if self.ignored.len() < self.limits.ignored && self.manifest.ignored.find(&path).is_none() {
            self.ignored.push(path);
        }
    }

    fn finish(mut self) -> Result<Scan, TreeError> {
        if !self.truncated {
            let manifest = self.manifest;
            for ((path, _), seen) in manifest.entries.0.iter().zip(std::mem::take(&mut self.seen)) {
                let hidden = self.unreadable.iter().any(|prefix| path.starts_with(prefix));
                if !seen && !hidden {
                    self.found.push((path.clone(), What::Removed));
                }
            }
        }
        if let Some((path, files)) = self.unlisted.take() {
            self.found.push((path, What::Unlisted { files }));
        }
        let place = |path: Vec<u8>| {
            TreePath::parse(path).map_err(|error| TreeError::Io {
                doing: "name what was found".into(),
                source: io::Error::other(error),
            })
        };
        let mut found = Vec::with_capacity(self.found.len());
        for (path, what) in self.found {
            found.push(Found { path: place(path)?, what });
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let mut ignored = self.ignored.into_iter().map(place).collect::<Result<Vec<_>, _>>()?;
        ignored.sort();
        Ok(Scan { found, ignored, truncated: self.truncated })
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}
