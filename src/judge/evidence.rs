//! Collects the evidence of a scenario: copies what its paths and globs name, out of the tree that
//! is judged.
//!
//! The tree is the product's, and may be hostile: no symbolic link is followed, at the end of a
//! path or on its way, nothing but regular files is read, and everything has a bound.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::text::Redaction;
use crate::verdict::Evidence;

use super::Place;

/// The most bytes of one file that are copied, from its beginning.
const LARGEST: u64 = 10 << 20;
/// The most bytes of one scenario's evidence.
const MOST_BYTES: u64 = 50 << 20;
/// The most files of one path or glob.
const MOST_FILES: usize = 100;
/// The most entries that are looked at for one glob.
const MOST_LOOKED_AT: usize = 100_000;
/// How much is read at a time.
const CHUNK: usize = 64 * 1024;

/// Copies what `wanted` names below `root` into `to`, whose old content is dropped, and returns what
/// became of each. `shown` is `to` as results name it. Text is copied without the place's secrets; what
/// holds a NUL is no text.
pub(super) fn collect(place: &Place, wanted: &[&str], to: &Path, shown: &str) -> Vec<Evidence> {
    let root = place.root.as_path();
    // Evidence of an earlier judgement would be taken for this one's.
    let _ = fs::remove_dir_all(to);
    let mut left = MOST_BYTES;
    let mut collect = |wanted: &&str| {
        let mut evidence =
            Evidence { wanted: (*wanted).to_owned(), files: Vec::new(), missing: String::new() };
        match find(root, wanted) {
            Ok(found) if found.is_empty() => evidence.missing = "nothing has that name".to_owned(),
            Ok(found) => {
                let more = found.len().saturating_sub(MOST_FILES);
                if more > 0 {
                    evidence.missing = format!("{more} more files, only {MOST_FILES} are kept");
                }
                for path in found.iter().take(MOST_FILES) {
                    match copy(place, path, to, &mut left) {
                        Ok(is_whole) => {
                            evidence.files.push(format!("{shown}/{}", path.display()));
                            if !is_whole {
                                evidence.missing = format!("the end of `{}`", path.display());
                            }
                        }
                        Err(error) => {
                            evidence.missing = format!("`{}`: {error}", path.display());
                        }
                    }
                }
            }
            Err(why) => evidence.missing = why,
        }
        evidence
    };
    wanted.iter().map(&mut collect).collect()
}

/// Returns the files that a path or glob names, sorted; a directory stands for all that is in it.
fn find(root: &Path, wanted: &str) -> Result<Vec<PathBuf>, String> {
    let wanted = wanted.trim().trim_start_matches("./").trim_end_matches('/');
    let inside = Path::new(wanted).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || wanted.is_empty() {
        return Err("it is outside the tree".to_owned());
    }
    let mut search = Search { found: Vec::new(), looked_at: 0, glob: None };
    if wanted.contains(['*', '?', '[', '{']) {
        let glob = GlobBuilder::new(wanted).literal_separator(true).build();
        search.glob = Some(glob.map_err(|error| error.to_string())?.compile_matcher());
        // Where no glob is yet, there is nothing to look for.
        let fixed: PathBuf = Path::new(wanted)
            .components()
            .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']))
            .collect();
        search.below(root, &fixed).map_err(|error| error.to_string())?;
    } else {
        let path = PathBuf::from(wanted);
        match open(root, &path) {
            Ok(file) if is(&file, FileType::RegularFile) => search.found.push(path),
            Ok(file) if is(&file, FileType::Directory) => {
                search.below(root, &path).map_err(|error| error.to_string())?;
            }
            Ok(_) => return Err("it is neither a file nor a directory".to_owned()),
            Err(Errno::NOENT) => {}
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return Err("it is a symbolic link, or behind one".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    search.found.sort();
    if search.looked_at >= MOST_LOOKED_AT && search.found.is_empty() {
        return Err(format!("not among the first {MOST_LOOKED_AT} files"));
    }
    Ok(search.found)
}

struct Search {
    found: Vec<PathBuf>,
    looked_at: usize,
    glob: Option<GlobMatcher>,
}

impl Search {
    /// Looks through the directory `at`, and all below it.
    fn below(&mut self, root: &Path, at: &Path) -> io::Result<()> {
        let dir = match if at.as_os_str().is_empty() { top(root) } else { open(root, at) } {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Ok(entries) = Dir::new(dir) else { return Ok(()) };
        let mut below = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            // What git keeps is no evidence, and there is much of it.
            if matches!(name, b"." | b"..") || (at.as_os_str().is_empty() && name == b".git") {
                continue;
            }
            self.looked_at += 1;
            if self.looked_at > MOST_LOOKED_AT {
                break;
            }
            let path = at.join(OsStr::from_bytes(name));
            match entry.file_type() {
                FileType::Directory => below.push(path),
                FileType::RegularFile
                    if self.glob.as_ref().is_none_or(|glob| glob.is_match(&path)) =>
                {
                    self.found.push(path);
                }
                _ => {}
            }
        }
        below.into_iter().try_for_each(|path| self.below(root, &path))
    }
}

/// Copies one file; returns whether all of it was taken.
fn copy(place: &Place, path: &Path, to: &Path, left: &mut u64) -> io::Result<bool> {
    let file = open(&place.root, path)?;
    if !is(&file, FileType::RegularFile) {
        return Err(io::Error::other("it is no regular file"));
    }
    let most = LARGEST.min(*left);
    if most == 0 {
        return Err(io::Error::other("the scenario's evidence is too large"));
    }
    let target = to.join(path);
    if let Some(dir) = target.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut source = File::from(file);
    let mut copy = File::create(&target)?;
    let mut some = (&mut source).take(most);
    let copied = if place.redaction.is_empty() {
        io::copy(&mut some, &mut copy)?
    } else {
        copy_without(&mut some, &place.redaction, &mut copy)?
    };
    copy.flush()?;
    *left -= copied;
    Ok(source.read(&mut [0])? == 0)
}

/// Copies a text without the secrets in it, and anything else as it is; returns how much was read.
fn copy_without(
    source: &mut impl io::Read,
    redaction: &Redaction,
    copy: &mut File,
) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut stream = redaction.stream();
    let (mut copied, mut is_text) = (0, true);
    loop {
        let length = source.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        copied += length as u64;
        let bytes = &chunk[..length];
        if is_text && bytes.contains(&0) {
            is_text = false;
            copy.write_all(&stream.finish())?;
        }
        match is_text {
            true => copy.write_all(&stream.push(bytes))?,
            false => copy.write_all(bytes)?,
        }
    }
    copy.write_all(&stream.finish())?;
    Ok(copied)
}

fn is(file: &OwnedFd, kind: FileType) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == kind)
}

fn top(root: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens `path` below `root` part by part, none of which may be a symbolic link.
fn open(root: &Path, path: &Path) -> Result<OwnedFd, Errno> {
    // Not waiting for the writer of a FIFO.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut at = top(root)?;
    for part in path.components() {
        at = openat(&at, part.as_os_str(), flags, Mode::empty())?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(files: &[&str]) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            for file in files {
                let path = tree.root().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, file).unwrap();
            }
            tree
        }

        fn root(&self) -> PathBuf {
            self.0.path().join("tree")
        }

        fn kept(&self) -> PathBuf {
            self.0.path().join("evidence/a")
        }

        fn collect(&self, wanted: &str) -> Evidence {
            let place = Place::open(self.root(), crate::process::Variables::new());
            collect(&place, &[wanted], &self.kept(), "e/a").remove(0)
        }

        #[track_caller]
        fn check(&self, wanted: &str, files: &[&str], missing: &str) {
            let evidence = self.collect(wanted);
            let copies: Vec<String> = files.iter().map(|file| format!("e/a/{file}")).collect();
            assert_eq!((evidence.missing.as_str(), evidence.files), (missing, copies));
            for file in files {
                assert_eq!(fs::read_to_string(self.kept().join(file)).unwrap(), *file);
            }
        }
    }

    #[test]
    fn paths_globs_and_directories_are_copied() {
        let tree = Tree::new(&["out/a.log", "out/deep/b.log", "out/c.txt", ".git/d.log"]);
        tree.check("out/a.log", &["out/a.log"], "");
        tree.check("./out/*.log", &["out/a.log"], "");
        tree.check("**/*.log", &["out/a.log", "out/deep/b.log"], "");
        tree.check("out/", &["out/a.log", "out/c.txt", "out/deep/b.log"], "");
    }

    #[test]
    fn what_is_missing_is_said() {
        let tree = Tree::new(&["a"]);
        tree.check("b", &[], "nothing has that name");
        tree.check("b/*.log", &[], "nothing has that name");
        tree.check("../a", &[], "it is outside the tree");
        tree.check("/etc/passwd", &[], "it is outside the tree");
    }

    #[test]
    fn no_link_is_followed_and_no_fifo_waited_for() {
        let tree = Tree::new(&["real/a"]);
        fs::write(tree.0.path().join("secret"), "secret").unwrap();
        symlink("../secret", tree.root().join("link")).unwrap();
        symlink("..", tree.root().join("up")).unwrap();
        let fifo = tree.root().join("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::from_raw_mode(0o600)).unwrap();
        tree.check("link", &[], "it is a symbolic link, or behind one");
        tree.check("up/secret", &[], "it is a symbolic link, or behind one");
        tree.check("up/*", &[], "nothing has that name");
        tree.check("fifo", &[], "it is neither a file nor a directory");
        tree.check("**", &["real/a"], "");
    }

    #[test]
    fn a_large_file_is_cut_and_many_files_are_not_all_kept() {
        let tree = Tree::new(&["a"]);
        File::create(tree.root().join("huge")).unwrap().set_len(LARGEST + 1).unwrap();
        let evidence = tree.collect("huge");
        assert_eq!((evidence.files.len(), evidence.missing.as_str()), (1, "the end of `huge`"));
        for number in 0..=MOST_FILES {
            fs::write(tree.root().join(format!("{number}.txt")), "").unwrap();
        }
        let evidence = tree.collect("*.txt");
        assert_eq!(evidence.files.len(), MOST_FILES);
        assert_eq!(evidence.missing, "1 more files, only 100 are kept");
    }

    #[test]
    fn evidence_of_an_earlier_judgement_is_gone() {
        let tree = Tree::new(&["a"]);
        tree.check("a", &["a"], "");
        tree.check("b", &[], "nothing has that name");
        assert!(!tree.kept().exists());
    }
}
