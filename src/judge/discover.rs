//! Finds the scenarios of a tree: the files whose names end in `.md`, whatever the case, anywhere
//! below the scenarios' directory. Names that begin with a dot are passed over, as editors and
//! git use them.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::id::ScenarioId;
use crate::scenario::{Diagnostic, Entry, ScenarioSet, Severity, from_files};
use crate::text::{TreePath, visible};

/// The size above which a file is not read.
const LARGEST: u64 = 10 * 1024 * 1024;
/// The check that a file which can't be read fails.
const UNREADABLE: &str = "S020";

/// A directory that can't be searched for scenarios, and why.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// There is no such directory.
    #[error("there is no scenarios directory `{}`; make it, or name another one with --scenarios-dir", path.display())]
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
}

/// Finds and reads the scenarios in the directory `dir` of the tree at `root`, in the order of
/// their paths' bytes.
///
/// Directories that are symbolic links are not followed, files that are only as long as they stay
/// inside `root`. What is named as a scenario and can't be read (a dangling link, a FIFO, a
/// directory, more than 10 MiB) is an invalid entry, so that it counts against the product
/// instead of being absent; a directory that can't be listed is one as well.
///
/// # Errors
/// There is no such directory, or it can't be listed.
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
        files: Vec::new(),
        broken: Vec::new(),
    };
    walk.directory(&path, b"").map_err(|source| DiscoverError::Unreadable { path, source })?;
    Ok(walk.into_set(dir))
}

/// What a walk has found, each with its path relative to the directory.
struct Walk {
    /// The root without links.
    inside: PathBuf,
    files: Vec<(Vec<u8>, Vec<u8>)>,
    broken: Vec<(Vec<u8>, String)>,
}

impl Walk {
    fn directory(&mut self, path: &Path, relative: &[u8]) -> io::Result<()> {
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
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if is_scenario {
                    self.broken.push((relative.clone(), "it is a directory".to_owned()));
                }
                if let Err(error) = self.directory(&entry.path(), &relative) {
                    self.broken.push((relative, format!("it can't be listed: {error}")));
                }
            } else if is_scenario {
                match self.read(&entry.path(), kind.is_symlink()) {
                    Ok(bytes) => self.files.push((relative, bytes)),
                    Err(why) => self.broken.push((relative, why)),
                }
            }
        }
        Ok(())
    }

    fn read(&self, path: &Path, is_link: bool) -> Result<Vec<u8>, String> {
        let said = |error: io::Error| error.to_string();
        if is_link {
            let target = fs::canonicalize(path)
                .map_err(|error| format!("it is a link to nowhere: {error}"))?;
            if !target.starts_with(&self.inside) {
                return Err("it is a link to a file outside the tree".to_owned());
            }
        }
        // Before it is opened: opening a FIFO waits for whoever writes to it.
        let found = fs::metadata(path).map_err(said)?;
        if found.is_dir() {
            return Err("it is a link to a directory".to_owned());
        }
        if !found.is_file() {
            return Err("it is no regular file".to_owned());
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(said)?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(said)?;
        if bytes.len() as u64 > LARGEST {
            return Err(format!("it is larger than {} MiB", LARGEST >> 20));
        }
        Ok(bytes)
    }

    fn into_set(mut self, dir: &str) -> ScenarioSet {
        self.files.sort();
        self.broken.sort();
        let mut paths: Vec<Vec<u8>> = self.files.iter().map(|(path, _)| path.clone()).collect();
        let mut set = from_files(dir, self.files);
        for (path, why) in self.broken {
            let mut id = ScenarioId::for_file(&String::from_utf8_lossy(&path));
            while set.entries.iter().any(|entry| entry.id == id) {
                id = id.distinguished(&path);
            }
            let at = paths.partition_point(|other| *other < path);
            let entry = invalid(id, dir, &path, &why);
            paths.insert(at, path);
            set.entries.insert(at, entry);
        }
        set
    }
}

fn invalid(id: ScenarioId, dir: &str, path: &[u8], why: &str) -> Entry {
    let shown = TreePath::parse(path)
        .map_or_else(|_| visible(&String::from_utf8_lossy(path)), |path| path.to_string());
    let file = match dir.trim_end_matches('/') {
        "" | "." => shown.clone(),
        dir => format!("{dir}/{shown}"),
    };
    let diagnostic = Diagnostic {
        code: UNREADABLE.to_owned(),
        severity: Severity::Error,
        message: format!("the file can't be read: {why}"),
        file: file.clone(),
        span: None,
        line: 1,
        column: 1,
        help: String::new(),
    };
    Entry {
        id,
        name: Path::new(&shown)
            .file_stem()
            .map_or_else(|| shown.clone(), |stem| stem.to_string_lossy().into_owned()),
        file,
        category: String::new(),
        scenario: Err(vec![diagnostic]),
    }
}

fn is_markdown(name: &[u8]) -> bool {
    name.len() > 3 && name[name.len() - 3..].eq_ignore_ascii_case(b".md")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
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
            "scenarios/h.md: the file can't be read: it is larger than 10 MiB",
        ]);
    }

    #[test]
    fn a_circle_of_directories_is_not_walked() {
        let tree = Tree::new();
        tree.file("scenarios/sub/a.md");
        symlink("..", tree.path("scenarios/sub/up")).unwrap();
        tree.check(&["scenarios/sub/a.md"]);
    }

    #[test]
    fn names_of_any_bytes_are_found_and_ids_are_unique() {
        let tree = Tree::new();
        for name in [b"a b.md".as_slice(), b"a\nb.md", b"\xff.md", b"-a-b.md"] {
            fs::write(tree.path("scenarios").join(OsStr::from_bytes(name)), SCENARIO).unwrap();
        }
        symlink("nowhere", tree.path("scenarios/a_b.md")).unwrap();
        symlink("nowhere", tree.path("scenarios/a+b.md")).unwrap();
        let set = discover(&tree.path(""), "scenarios").unwrap();
        let ids: std::collections::BTreeSet<_> = set.entries.iter().map(|e| &e.id).collect();
        assert_eq!((set.entries.len(), ids.len()), (6, 6));
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
