//! Finds the scenarios of a tree: the files whose names end in `.md`, whatever the case, anywhere
//! below the scenarios' directory. Names that begin with a dot are passed over, as editors and
//! git use them.

use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Mode, OFlags};

use crate::id::ScenarioId;
use crate::scenario::{
    Diagnostic, Entry, FileRead, MAX_BYTES, ScenarioSet, Severity, of_one_id, read_file, set_of,
};
use crate::text::{TreePath, visible};

/// The size above which a file is not read.
const LARGEST: u64 = MAX_BYTES as u64;
/// The check that a file which can't be read fails.
const UNREADABLE: &str = "S020";
/// The check that a file which is too large fails.
const TOO_LARGE: &str = "S013";
/// The check that a link to a directory with scenarios in it fails.
const LINKED: &str = "S024";

/// A directory that can't be searched for scenarios, and why.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// There is no such directory.
    #[error("there is no scenarios directory `{}`; write a scenario there (`factory lint --explain S002` shows how), or name another one by `scenarios.dir` in dark-factory.yaml", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something else has its name.
    #[error("`{}` is not a directory; scenarios are markdown files in a directory", path.display())]
    NoDirectory {
        /// Where.
        path: PathBuf,
    },
    /// It can't be listed.
    #[error("can't list the scenarios directory `{}`", path.display())]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is known of the one would be taken for the other's.
    #[error(
        "{files} have one id, `{id}`; rename one of them, so that they differ in more than case and punctuation"
    )]
    SameId {
        /// The id.
        id: ScenarioId,
        /// The files, as a fragment.
        files: String,
    },
}

impl DiscoverError {
    /// Returns itself about `path`, where people have the directory that was searched elsewhere.
    #[must_use]
    pub fn at(self, path: &Path) -> Self {
        let path = path.to_owned();
        match self {
            Self::Missing { .. } => Self::Missing { path },
            Self::NoDirectory { .. } => Self::NoDirectory { path },
            Self::Unreadable { source, .. } => Self::Unreadable { path, source },
            same @ Self::SameId { .. } => same,
        }
    }
}

/// Finds and reads the scenarios in the directory `dir` of the tree at `root`, in the order of
/// their paths' bytes.
///
/// Directories that are symbolic links are not followed, with a warning where that passes over
/// files named as scenarios; files that are links are read as long as they stay inside `root`.
/// What is named as a scenario and can't be read (a dangling link, a FIFO, a directory, more than
/// [`MAX_BYTES`]) is an invalid entry, so that it counts against the product instead of being
/// absent; a directory that can't be listed is one as well.
///
/// # Errors
/// There is no such directory, it can't be listed, or two of its files have one id.
pub fn discover(root: &Path, dir: &str) -> Result<ScenarioSet, DiscoverError> {
    let path = root.join(dir);
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(DiscoverError::NoDirectory { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(DiscoverError::Missing { path });
        }
        Err(source) => return Err(DiscoverError::Unreadable { path, source }),
    }
    let mut walk = Walk {
        inside: fs::canonicalize(root).unwrap_or_else(|_| root.to_owned()),
        named: Vec::new(),
        files: Vec::new(),
        broken: Vec::new(),
        linked: Vec::new(),
    };
    walk.everything(&path, dir).map_err(|source| DiscoverError::Unreadable { path, source })?;
    let set = walk.into_set(dir);
    if let Some((id, files)) = of_one_id(&set) {
        let files = files.iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(" and ");
        return Err(DiscoverError::SameId { id: id.clone(), files });
    }
    Ok(set)
}

/// What a walk has found, each with its path relative to the directory.
struct Walk {
    /// The root without links.
    inside: PathBuf,
    /// What is named as a scenario, and what its directory says of it.
    named: Vec<(Vec<u8>, PathBuf, FileType)>,
    files: Vec<FileRead>,
    broken: Vec<(Vec<u8>, Broken)>,
    /// Links to directories that hold files named as scenarios.
    linked: Vec<Vec<u8>>,
}

/// Why something is no scenario: the check that it fails, and what to say.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Broken {
    code: &'static str,
    message: String,
}

impl Broken {
    fn unreadable(why: impl std::fmt::Display) -> Self {
        Self { code: UNREADABLE, message: format!("the file can't be read: {why}") }
    }

    fn too_large() -> Self {
        let most = LARGEST >> 20;
        let message = format!("the file is larger than the {most} MiB that a scenario may have");
        Self { code: TOO_LARGE, message }
    }
}

impl Walk {
    /// Looks at everything below `top`, without recursion: a tree may be deeper than the stack.
    fn everything(&mut self, top: &Path, dir: &str) -> io::Result<()> {
        let mut pending = Vec::new();
        self.directory(top, b"", &mut pending)?;
        while let Some(relative) = pending.pop() {
            let path = top.join(OsStr::from_bytes(&relative));
            if let Err(error) = self.directory(&path, &relative, &mut pending) {
                let why = format!("it can't be listed: {error}");
                self.broken.push((relative, Broken::unreadable(why)));
            }
        }
        let found = in_parallel(&self.named, |(relative, path, kind)| {
            match read(&self.inside, path, *kind) {
                Ok(bytes) => Ok(read_file(dir, relative.clone(), &bytes)),
                Err(broken) => Err((relative.clone(), broken)),
            }
        });
        for one in found {
            match one {
                Ok(file) => self.files.push(file),
                Err(broken) => self.broken.push(broken),
            }
        }
        Ok(())
    }

    /// Looks at what is in the directory at `path`; the directories in it are added to `pending`.
    fn directory(
        &mut self,
        path: &Path,
        relative: &[u8],
        pending: &mut Vec<Vec<u8>>,
    ) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.as_bytes();
            if name.starts_with(b".") {
                continue;
            }
            let relative =
                if relative.is_empty() { name.to_vec() } else { [relative, name].join(&b'/') };
            let is_scenario = is_markdown(name);
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(error) => {
                    self.broken.push((relative, Broken::unreadable(error)));
                    continue;
                }
            };
            if kind.is_dir() {
                if is_scenario {
                    self.broken.push((relative.clone(), Broken::unreadable("it is a directory")));
                }
                pending.push(relative);
            } else if is_scenario {
                self.named.push((relative, entry.path(), kind));
            } else if kind.is_symlink() && holds_scenarios(&entry.path()) {
                self.linked.push(relative);
            }
        }
        Ok(())
    }
}

/// Reads a file below `inside`, the root without links; `kind` is what its directory says of it.
fn read(inside: &Path, path: &Path, kind: FileType) -> Result<Vec<u8>, Broken> {
    let (is_link, is_regular) = (kind.is_symlink(), kind.is_file());
    if is_link {
        let target = fs::canonicalize(path).map_err(|error| {
            Broken::unreadable(format_args!("it is a link to nowhere: {error}"))
        })?;
        if !target.starts_with(inside) {
            return Err(Broken::unreadable("it is a link to a file outside the tree"));
        }
    }
    let usable = |found: &fs::Metadata| {
        if found.is_dir() {
            return Err(Broken::unreadable("it is a link to a directory"));
        }
        if !found.is_file() {
            return Err(Broken::unreadable("it is no regular file"));
        }
        if found.len() > LARGEST {
            return Err(Broken::too_large());
        }
        Ok(())
    };
    // Before it is opened, for opening a device may do something; and again as what it is then.
    if !is_regular {
        usable(&fs::metadata(path).map_err(Broken::unreadable)?)?;
    }
    // Opening a FIFO would wait for whoever writes to it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| Broken::unreadable(io::Error::from(error)))?;
    let file = fs::File::from(file);
    let found = file.metadata().map_err(Broken::unreadable)?;
    usable(&found)?;
    // One more than there is, so that the end is found without growing.
    let length = found.len();
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(Broken::unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Broken::too_large());
    }
    Ok(bytes)
}

impl Walk {
    fn into_set(mut self, dir: &str) -> ScenarioSet {
        self.broken.sort();
        let mut paths = Vec::new();
        if !self.broken.is_empty() {
            paths.extend(self.files.iter().map(|file| file.path.clone()));
            paths.sort();
        }
        let mut set = set_of(self.files);
        self.linked.sort();
        for path in self.linked {
            let target = "it is a link to a directory, and is not followed".to_owned();
            let help = "make it a directory, or copy its scenarios".to_owned();
            set.diagnostics.push(Diagnostic {
                severity: Severity::Warning,
                help,
                ..diagnostic(LINKED, shown(dir, &path), target)
            });
        }
        for (path, broken) in self.broken {
            let id = ScenarioId::for_file(&path);
            let at = paths.partition_point(|other| *other < path);
            let entry = invalid(id, dir, &path, broken);
            paths.insert(at, path);
            set.entries.insert(at, entry);
        }
        set
    }
}

/// Returns what `each` makes of every item, in any order. Many items are divided among the machine's
/// processors, a few at a time: how soon a thread begins is the system's to say. They are lent, since
/// what one thread gives back of another's memory makes both wait.
fn in_parallel<T: Sync, R: Send>(items: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    const FEW: usize = 64;
    const AT_ONCE: usize = 16;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if items.len() < FEW || threads == 1 {
        return items.iter().map(each).collect();
    }
    let parts: Vec<&[T]> = items.chunks(AT_ONCE).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.extend(part.iter().map(&each));
        }
        done
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for thread in others {
            done.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    })
}

/// Returns the path as people see it.
fn shown(dir: &str, path: &[u8]) -> String {
    let shown = TreePath::parse(path)
        .map_or_else(|_| visible(&String::from_utf8_lossy(path)), |path| path.to_string());
    match dir.trim_end_matches('/') {
        "" | "." => shown,
        dir => format!("{dir}/{shown}"),
    }
}

fn diagnostic(code: &str, file: String, message: String) -> Diagnostic {
    Diagnostic {
        code: code.to_owned(),
        severity: Severity::Error,
        message,
        file,
        span: None,
        line: 1,
        column: 1,
        help: String::new(),
    }
}

fn invalid(id: ScenarioId, dir: &str, path: &[u8], broken: Broken) -> Entry {
    let file = shown(dir, path);
    let help = match broken.code {
        TOO_LARGE => "keep data in files of its own",
        _ => "make it a readable file, or remove it",
    };
    let found = Diagnostic {
        help: help.to_owned(),
        ..diagnostic(broken.code, file.clone(), broken.message)
    };
    Entry {
        id,
        name: Path::new(&file)
            .file_stem()
            .map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned()),
        file,
        category: String::new(),
        scenario: Err(vec![found]),
    }
}

/// Returns whether `path` leads to a directory that holds a file named as a scenario.
fn holds_scenarios(path: &Path) -> bool {
    let mut names =
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.any(|name| is_markdown(name.as_bytes()) && !name.as_bytes().starts_with(b"."))
}

fn is_markdown(name: &[u8]) -> bool {
    name.len() > 3 && name[name.len() - 3..].eq_ignore_ascii_case(b".md")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const SCENARIO: &str = "# Scenario: S\n\n## Evaluation Method\n```bash\ntrue\n```\n";

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(tree.path("scenarios/sub")).unwrap();
            tree
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join("root").join(path)
        }

        fn file(&self, path: &str) -> &Self {
            fs::write(self.path(path), SCENARIO).unwrap();
            self
        }

        /// Finds the scenarios; a line each: its file, and what is wrong with it.
        fn check(&self, expected: &[&str]) {
            let set = discover(&self.path(""), "scenarios").unwrap();
            let found: Vec<String> = set
                .entries
                .iter()
                .map(|entry| match &entry.scenario {
                    Ok(_) => entry.file.clone(),
                    Err(diagnostics) => format!("{}: {}", entry.file, diagnostics[0].message),
                })
                .collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn scenarios_come_in_the_order_of_their_bytes() {
        let tree = Tree::new();
        for name in ["b.md", "a.md", "UPPER.MD", "sub/c.md", "sub.md", "README.md"] {
            tree.file(&format!("scenarios/{name}"));
        }
        tree.file("scenarios/notes.txt").file("scenarios/.hidden.md");
        tree.check(&[
            "scenarios/README.md",
            "scenarios/UPPER.MD",
            "scenarios/a.md",
            "scenarios/b.md",
            "scenarios/sub.md",
            "scenarios/sub/c.md",
        ]);
    }

    #[test]
    fn what_cannot_be_read_is_there_and_invalid() {
        let tree = Tree::new();
        tree.file("scenarios/b.md").file("elsewhere.md");
        symlink("nowhere", tree.path("scenarios/a.md")).unwrap();
        symlink("/etc/passwd", tree.path("scenarios/c.md")).unwrap();
        symlink("sub", tree.path("scenarios/d.md")).unwrap();
        symlink("../elsewhere.md", tree.path("scenarios/e.md")).unwrap();
        fs::create_dir(tree.path("scenarios/f.md")).unwrap();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            tree.path("scenarios/g.md"),
            rustix::fs::Mode::from_raw_mode(0o600),
        )
        .unwrap();
        let huge = fs::File::create(tree.path("scenarios/h.md")).unwrap();
        huge.set_len(LARGEST + 1).unwrap();
        tree.check(&[
            "scenarios/a.md: the file can't be read: it is a link to nowhere: No such file or \
             directory (os error 2)",
            "scenarios/b.md",
            "scenarios/c.md: the file can't be read: it is a link to a file outside the tree",
            "scenarios/d.md: the file can't be read: it is a link to a directory",
            "scenarios/e.md",
            "scenarios/f.md: the file can't be read: it is a directory",
            "scenarios/g.md: the file can't be read: it is no regular file",
            "scenarios/h.md: the file is larger than the 1 MiB that a scenario may have",
        ]);
    }

    #[test]
    fn a_circle_of_directories_is_not_walked() {
        let tree = Tree::new();
        tree.file("scenarios/sub/a.md");
        symlink("..", tree.path("scenarios/sub/up")).unwrap();
        symlink("b.md", tree.path("scenarios/c.md")).unwrap();
        symlink("c.md", tree.path("scenarios/b.md")).unwrap();
        let set = discover(&tree.path(""), "scenarios").unwrap();
        let files: Vec<_> = set.entries.iter().map(|entry| entry.file.as_str()).collect();
        assert_eq!(files, ["scenarios/b.md", "scenarios/c.md", "scenarios/sub/a.md"]);
        assert!(set.entries[0].scenario.is_err() && set.entries[1].scenario.is_err());
    }

    #[test]
    fn a_link_to_a_directory_of_scenarios_is_warned_of() {
        let tree = Tree::new();
        fs::create_dir(tree.path("more")).unwrap();
        fs::create_dir(tree.path("data")).unwrap();
        tree.file("scenarios/a.md").file("more/b.md").file("data/x.txt");
        symlink("../more", tree.path("scenarios/more")).unwrap();
        symlink("../data", tree.path("scenarios/data")).unwrap();
        tree.check(&["scenarios/a.md"]);
        let set = discover(&tree.path(""), "scenarios").unwrap();
        let found = set.diagnostics.iter().map(|d| (d.code.as_str(), d.file.as_str()));
        let found: Vec<_> = found.filter(|(code, _)| *code == LINKED).collect();
        assert_eq!(found, [(LINKED, "scenarios/more")]);
    }

    #[test]
    fn a_tree_deeper_than_the_stack_is_walked() {
        let tree = Tree::new();
        let deep = format!("scenarios/{}", "d/".repeat(1_500));
        fs::create_dir_all(tree.path(&deep)).unwrap();
        tree.file(&format!("{deep}a.md"));
        let set = discover(&tree.path(""), "scenarios").unwrap();
        assert_eq!((set.entries.len(), set.entries[0].scenario.is_ok()), (1, true));
    }

    #[test]
    fn names_of_any_bytes_are_found_and_ids_are_unique() {
        let tree = Tree::new();
        for name in [b"a b.md".as_slice(), b"a\nc.md", b"\xff.md", b"\xfe.md"] {
            fs::write(tree.path("scenarios").join(OsStr::from_bytes(name)), SCENARIO).unwrap();
        }
        symlink("nowhere", tree.path("scenarios/a_b.md")).unwrap();
        symlink("nowhere", tree.path("scenarios/a+d.md")).unwrap();
        let set = discover(&tree.path(""), "scenarios").unwrap();
        let ids: std::collections::BTreeSet<_> = set.entries.iter().map(|e| &e.id).collect();
        assert_eq!((set.entries.len(), ids.len()), (6, 6));
    }

    #[test]
    fn two_files_of_one_id_are_named() {
        let tree = Tree::new();
        tree.file("scenarios/a b.md");
        symlink("nowhere", tree.path("scenarios/A-b.md")).unwrap();
        let error = discover(&tree.path(""), "scenarios").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`scenarios/A-b.md` and `scenarios/a b.md` have one id, `a-b`; rename one of them, so that they \
             differ in more than case and punctuation"
        );
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let tree = Tree::new();
        tree.file("file");
        let error = |dir| discover(&tree.path(""), dir).unwrap_err();
        assert!(matches!(error("none"), DiscoverError::Missing { .. }));
        assert!(matches!(error("file"), DiscoverError::NoDirectory { .. }));
        tree.check(&[]);
    }
}
