//! Files of a tree that those who work in it may be able to write to, and on which a verdict hangs: kept beside the tree,
//! and put back.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::at::{self, Dirs, Kind, MAX_DEPTH, Owner, Signature, Trash};
use super::copy::copy_open;
use super::remove_tree;
use crate::clock::{Clock as _, SystemClock};
use crate::text::TreePath;

/// How old the last change of a file has to be for its signature to speak for it: file systems tell times in steps.
const STEP: i64 = 100_000_000;

/// Files as a tree had them, and the means to put them back.
#[derive(Debug)]
pub struct KeptFiles {
    tree: PathBuf,
    place: PathBuf,
    owner: Owner,
    /// A directory in which there is nothing but what is kept.
    whole: Option<TreePath>,
    /// By which path that is known; a link on the way to it is a part of it.
    named: TreePath,
    /// What set-up commands make.
    spared: Vec<TreePath>,
    /// The paths of all files, and of the directories above them.
    known: HashSet<Vec<u8>>,
    /// Each with the signature by which it is known to be as it was; none where it has to be read.
    files: Mutex<BTreeMap<TreePath, Option<Signature>>>,
}

impl KeptFiles {
    /// Copies the files and links `paths` of `tree`, as far as they are there, to `place`, where whatever was there goes.
    /// What is put back becomes `owner`'s.
    ///
    /// # Errors
    /// They can't be read, or the disk is full.
    pub fn keep(
        tree: &Path,
        place: &Path,
        paths: impl IntoIterator<Item = TreePath>,
        (named, whole): (TreePath, Option<TreePath>),
        spared: Vec<TreePath>,
        owner: Option<(u32, u32)>,
    ) -> io::Result<Self> {
        remove_tree(place)?;
        crate::journal::make_private_dir(place)?;
        let mut from = Dirs::new(at::open_root(tree)?);
        let mut to = Dirs::new(at::open_root(place)?);
        let trash = trash_of(place);
        let mut files = BTreeMap::new();
        for path in paths {
            if spared.iter().any(|spared| path.is_within(spared)) {
                continue;
            }
            let Some((source, name)) = from.find(path.as_bytes())? else { continue };
            let kind = at::stat(source, name)?.map(|stat| stat.kind);
            if matches!(kind, Some(Kind::File | Kind::Symlink)) {
                let (target, _) = to.make(path.as_bytes(), &trash)?;
                copy_open(source, target, name)?;
                files.insert(path, None);
            }
        }
        let mut known = HashSet::new();
        for path in files.keys() {
            let bytes = path.as_bytes();
            let ends = (0..bytes.len()).filter(|at| bytes[*at] == b'/').chain([bytes.len()]);
            known.extend(ends.map(|end| bytes[..end].to_vec()));
        }
        let (tree, place) = (tree.to_owned(), place.to_owned());
        Ok(Self { tree, place, owner, whole, named, spared, known, files: Mutex::new(files) })
    }

    /// Returns whether a path lies where there is nothing but what is kept.
    pub fn is_whole(&self, path: &TreePath) -> bool {
        self.named.is_within(path) || self.whole.as_ref().is_some_and(|whole| path.is_within(whole))
    }

    /// Puts back what is no longer as it was, and removes what is new where there is nothing else; returns the paths,
    /// sorted.
    ///
    /// # Errors
    /// They can't be read or written.
    pub fn put_back(&self) -> io::Result<Vec<TreePath>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Vec::new();
        let trash = trash_of(&self.place);
        let mut tree = Dirs::new(at::open_root(&self.tree)?).owned_by(self.owner);
        let mut kept = Dirs::new(at::open_root(&self.place)?);
        for (path, known) in files.iter_mut() {
            let now = now();
            let found = match tree.find(path.as_bytes())? {
                Some((dir, name)) => at::stat(dir, name)?.map(|stat| stat.signature),
                None => None,
            };
            if found.is_some() && *known == found {
                continue;
            }
            if !is_same(&mut tree, &mut kept, path)? {
                let Some((source, name)) = kept.find(path.as_bytes())? else { continue };
                let (target, _) = tree.make(path.as_bytes(), &trash)?;
                trash.take(target, name)?;
                copy_open(source, target, name)?;
                at::give(target, name, self.owner)?;
                changed.push(path.clone());
            }
            let found = tree.find(path.as_bytes())?;
            let found = found.map(|(dir, name)| at::stat(dir, name)).transpose()?.flatten();
            *known = found.map(|stat| stat.signature).filter(|s| s.changed < now - STEP);
        }
        if let Some(whole) = &self.whole
            && let Some((dir, name)) = tree.find(whole.as_bytes())?
            && at::stat(dir, name)?.is_some_and(|stat| stat.kind == Kind::Directory)
        {
            let is_spared = |path: &TreePath| self.spared.iter().any(|one| path.is_within(one));
            let is_above = |path: &TreePath| self.spared.iter().any(|one| one.is_within(path));
            let fate = |path: &TreePath| match self.known.contains(path.as_bytes()) {
                _ if is_spared(path) => Fate::Spared,
                is_known if is_known || is_above(path) => Fate::Kept,
                _ => Fate::Gone,
            };
            remove_new(dir, name, whole, &fate, &trash, 0, &mut changed)?;
        }
        changed.sort();
        Ok(changed)
    }
}

/// What becomes of something that is found where there is to be nothing but what is kept.
enum Fate {
    /// It is kept, or holds what is.
    Kept,
    /// It is not looked at.
    Spared,
    /// It goes.
    Gone,
}

/// Removes what is not kept below a directory, and adds it to `new`, but what Python leaves there.
fn remove_new(
    parent: BorrowedFd<'_>,
    name: &[u8],
    path: &TreePath,
    fate: &dyn Fn(&TreePath) -> Fate,
    trash: &Trash,
    depth: usize,
    new: &mut Vec<TreePath>,
) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("directories nest more than {MAX_DEPTH} deep")));
    }
    let dir = at::open_dir(parent, name)?;
    for name in at::names(dir.as_fd())? {
        let Ok(path) = TreePath::parse([path.as_bytes(), b"/", &name].concat()) else { continue };
        match fate(&path) {
            Fate::Spared => {}
            Fate::Gone => {
                trash.take(dir.as_fd(), &name)?;
                new.extend((name != b"__pycache__").then_some(path));
            }
            Fate::Kept => {
                let found = at::stat(dir.as_fd(), &name)?;
                if found.is_some_and(|stat| stat.kind == Kind::Directory) {
                    remove_new(dir.as_fd(), &name, &path, fate, trash, depth + 1, new)?;
                }
            }
        }
    }
    Ok(())
}

/// Returns whether what is at `path` in one tree is there in the other with the same bytes and the same right to execute it.
fn is_same(one: &mut Dirs, other: &mut Dirs, path: &TreePath) -> io::Result<bool> {
    let (Some((one, name)), Some((other, _))) =
        (one.find(path.as_bytes())?, other.find(path.as_bytes())?)
    else {
        return Ok(false);
    };
    let (Some(found), Some(wanted)) = (at::stat(one, name)?, at::stat(other, name)?) else {
        return Ok(false);
    };
    Ok(match (found.kind, wanted.kind) {
        (Kind::Symlink, Kind::Symlink) => at::read_link(one, name)? == at::read_link(other, name)?,
        (Kind::File, Kind::File) => {
            let limit = wanted.signature.size.saturating_add(1);
            found.signature.size == wanted.signature.size
                && found.is_executable() == wanted.is_executable()
                // It may be there without a right to read it.
                && at::open_file(one, name).and_then(|file| at::read_up_to(file, limit)).ok()
                    == Some(at::read_up_to(at::open_file(other, name)?, limit)?)
        }
        _ => false,
    })
}

fn trash_of(place: &Path) -> Trash {
    let mut name = place.as_os_str().to_owned();
    name.push(".trash");
    Trash::at(name.into())
}

/// Returns the time as file systems have it.
fn now() -> i64 {
    SystemClock.now().unix_millis().saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn paths(all: &[&str]) -> Vec<TreePath> {
        all.iter().map(|path| TreePath::parse(*path).unwrap()).collect()
    }

    struct Bench {
        dir: tempfile::TempDir,
        kept: KeptFiles,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let tree = dir.path().join("tree");
            for (file, text) in [
                ("exam/support.sh", "want"),
                ("exam/data/a", "a"),
                ("specs/a.md", "spec"),
                ("app", "1"),
            ] {
                let place = tree.join(file);
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::write(place, text).unwrap();
            }
            symlink("support.sh", tree.join("exam/link")).unwrap();
            let all = paths(&["exam/support.sh", "exam/data/a", "exam/link", "specs/a.md", "gone"]);
            let exam = TreePath::parse("exam").unwrap();
            let kept = KeptFiles::keep(
                &tree,
                &dir.path().join("kept"),
                all,
                (exam.clone(), Some(exam)),
                paths(&["exam/made"]),
                None,
            )
            .unwrap();
            Self { dir, kept }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.dir.path().join("tree").join(path)
        }

        fn check(&self, changed: &[&str]) {
            assert_eq!(self.kept.put_back().unwrap(), paths(changed));
            for (file, text) in [
                ("exam/support.sh", "want"),
                ("exam/data/a", "a"),
                ("specs/a.md", "spec"),
                ("exam/link", "want"),
            ] {
                assert_eq!(fs::read_to_string(self.at(file)).unwrap(), text, "{file}");
            }
            assert!(self.at("exam/link").is_symlink());
            assert_eq!(self.kept.put_back().unwrap(), paths(&[]));
        }
    }

    #[test]
    fn what_was_changed_removed_or_replaced_is_put_back_and_named() {
        let bench = Bench::new();
        bench.check(&[]);
        fs::write(bench.at("app"), "2").unwrap();
        bench.check(&[]);
        fs::write(bench.at("exam/support.sh"), "true").unwrap();
        bench.check(&["exam/support.sh"]);
        // As long as before, and at once.
        fs::write(bench.at("exam/support.sh"), "tnaw").unwrap();
        bench.check(&["exam/support.sh"]);
        fs::remove_file(bench.at("specs/a.md")).unwrap();
        fs::remove_file(bench.at("exam/link")).unwrap();
        symlink("data/a", bench.at("exam/link")).unwrap();
        fs::set_permissions(bench.at("exam/data/a"), fs::Permissions::from_mode(0o755)).unwrap();
        bench.check(&["exam/data/a", "exam/link", "specs/a.md"]);
        fs::set_permissions(bench.at("exam/data/a"), fs::Permissions::from_mode(0o000)).unwrap();
        bench.kept.put_back().unwrap();
        bench.check(&[]);
    }

    #[test]
    fn nothing_is_written_behind_a_link_in_the_way() {
        let bench = Bench::new();
        let outside = bench.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("a.md"), "own").unwrap();
        fs::remove_dir_all(bench.at("specs")).unwrap();
        symlink(&outside, bench.at("specs")).unwrap();
        fs::remove_dir_all(bench.at("exam")).unwrap();
        fs::write(bench.at("exam"), "a file").unwrap();
        bench.check(&["exam/data/a", "exam/link", "exam/support.sh", "specs/a.md"]);
        assert_eq!(fs::read_to_string(outside.join("a.md")).unwrap(), "own");
    }

    #[test]
    fn what_is_new_goes_where_there_is_nothing_else() {
        let bench = Bench::new();
        fs::create_dir(bench.at("exam/made")).unwrap();
        fs::write(bench.at("exam/made/lib"), "").unwrap();
        bench.check(&[]);
        assert!(bench.at("exam/made/lib").exists());
        for file in ["exam/json.py", "exam/data/b/c", "exam/__pycache__/x.pyc", "specs/new.md"] {
            fs::create_dir_all(bench.at(file).parent().unwrap()).unwrap();
            fs::write(bench.at(file), "").unwrap();
        }
        bench.check(&["exam/data/b", "exam/json.py"]);
        assert!(!bench.at("exam/__pycache__").exists() && bench.at("specs/new.md").exists());
    }
}
