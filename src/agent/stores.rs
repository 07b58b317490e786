//! The packages that the judge finds without a network, for the agent: in a home of its own, to which it may
//! add, with links to the judge's files, which it may only read. Logins and settings with one stay behind.
//!
//! pip is not among them: without its index it installs nothing from its cache.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::config::Variables;
use crate::wall::confine::holds_login;

/// How a part of a store comes to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// What stands so many directories below it is linked to; those are the agent's own.
    Linked(usize),
    /// Its files are copied: the tool writes to them.
    Copied,
}

/// The parts of stores: the variable that names one, where it is in a home otherwise, and the part.
const PARTS: [(&str, &str, &str, How); 8] = [
    ("CARGO_HOME", ".cargo", "config.toml", How::Copied),
    ("CARGO_HOME", ".cargo", "registry/index", How::Copied),
    ("CARGO_HOME", ".cargo", "registry/cache", How::Linked(2)),
    ("CARGO_HOME", ".cargo", "registry/src", How::Linked(2)),
    ("CARGO_HOME", ".cargo", "git/db", How::Linked(1)),
    ("CARGO_HOME", ".cargo", "git/checkouts", How::Linked(2)),
    ("npm_config_cache", ".npm", "_cacache/index-v5", How::Copied),
    ("npm_config_cache", ".npm", "_cacache/content-v2", How::Linked(4)),
];

/// Where go looks for modules before the judge's are added.
const GO_PROXIES: &str = "https://proxy.golang.org,direct";

/// Where a part of a store is. Set-up commands write below the root, and an agent's may be among them: what is a link
/// there, at the end or on the way, is no part of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    root: PathBuf,
    below: PathBuf,
}

impl Place {
    /// Returns where it is; none where it is not there, or is or lies behind a link.
    fn found(&self) -> Option<PathBuf> {
        let mut path = self.root.clone();
        for name in &self.below {
            path.push(name);
            let found = fs::symlink_metadata(&path).ok()?;
            if found.is_symlink() {
                return None;
            }
        }
        Some(path)
    }

    fn found_dir(&self) -> Option<PathBuf> {
        self.found().filter(|path| path.is_dir())
    }
}

/// One part: where it is, where it comes to in the agent's home, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    from: Place,
    at: PathBuf,
    how: How,
}

/// The stores that what is judged has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stores {
    parts: Vec<Part>,
    /// The modules of go as they were fetched, in the form of a proxy.
    go: Option<Place>,
}

impl Stores {
    /// Returns those of what is judged in an environment; whether they are there is not looked at.
    pub fn of(judge: &Variables) -> Self {
        let path = |name: &str| judge.get(OsStr::new(name)).map(PathBuf::from);
        let home = path("HOME").filter(|home| home.is_absolute());
        let store = |name: &str, below: &str, part: &str| {
            // Of several directories the first one is what is stored in.
            let first = |path: PathBuf| std::env::split_paths(&path).next();
            let named = path(name).and_then(first).filter(|path| path.is_absolute());
            match named {
                Some(root) => Some(Place { root, below: part.into() }),
                None => Some(Place { root: home.clone()?, below: Path::new(below).join(part) }),
            }
        };
        let parts = PARTS.iter().filter_map(|&(name, below, part, how)| {
            let (from, at) = (store(name, below, part)?, Path::new(below).join(part));
            Some(Part { from, at, how })
        });
        let named = path("GOMODCACHE").map(|root| Place { root, below: "cache/download".into() });
        let go = named.or_else(|| store("GOPATH", "go", "pkg/mod/cache/download"));
        Self { parts: parts.collect(), go }
    }

    /// Returns the directories that the agent has to see, those that are there.
    pub fn seen(&self) -> Vec<PathBuf> {
        // Of what is copied the history of an index alone is linked to.
        let is_linked =
            |part: &&Part| part.how != How::Copied || part.from.below.ends_with("registry/index");
        let all = self.parts.iter().filter(is_linked).map(|part| &part.from).chain(&self.go);
        all.filter_map(Place::found_dir).collect()
    }

    /// Gives them to an agent with this home: in the home, and where a tool finds them otherwise, in its
    /// environment, as far as that does not say something else. What the agent put in the way stays.
    ///
    /// # Errors
    /// The disk failed.
    pub fn give(&self, home: &Path, env: &mut Variables) -> io::Result<()> {
        for Part { from, at, how } in &self.parts {
            let Some(from) = from.found() else { continue };
            if !at.parent().map_or(Ok(true), |above| descend(home, above))? {
                continue;
            }
            let place = home.join(at);
            match how {
                How::Copied => copy(&from, &place)?,
                How::Linked(depth) if is_own_dir(&place)? => link(&from, &place, *depth)?,
                How::Linked(_) => {}
            }
        }
        if let Some(modules) = self.go.as_ref().and_then(Place::found_dir) {
            let mut proxies = OsString::from("file://");
            proxies.push(modules);
            proxies.push(",");
            proxies.push(GO_PROXIES);
            env.entry("GOPROXY".into()).or_insert(proxies);
        }
        Ok(())
    }
}

/// Makes the directories of `below` in `home`; returns whether all of them are some.
fn descend(home: &Path, below: &Path) -> io::Result<bool> {
    let mut place = home.to_owned();
    for name in below {
        place.push(name);
        if !is_own_dir(&place)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a directory unless there is one; returns whether it is one, and no link of the agent's.
fn is_own_dir(place: &Path) -> io::Result<bool> {
    match fs::create_dir(place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(fs::symlink_metadata(place)?.is_dir()),
    }
}

/// Links in the directory `place` to what stands `depth` directories below `from`.
fn link(from: &Path, place: &Path, depth: usize) -> io::Result<()> {
    if depth == 1 {
        // What an earlier candidate had fetched may be gone.
        for entry in entries(place) {
            if entry.path().is_symlink() && !entry.path().exists() {
                fs::remove_file(entry.path())?;
            }
        }
    }
    for entry in entries(from) {
        let (target, place) = (entry.path(), place.join(entry.file_name()));
        if depth > 1 {
            if entry.file_type()?.is_dir() && is_own_dir(&place)? {
                link(&target, &place, depth - 1)?;
            }
        } else {
            link_to(&target, &place)?;
        }
    }
    Ok(())
}

/// Links to `target` unless something is there.
fn link_to(target: &Path, place: &Path) -> io::Result<()> {
    match symlink(target, place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Copies a file, or the files below a directory, where none is there, and links to the history of an index,
/// which can be large; leaves out links, what this user can't read, and what has a login in it.
fn copy(from: &Path, place: &Path) -> io::Result<()> {
    if !from.is_dir() {
        let is_wanted = fs::symlink_metadata(place).is_err() && !holds_login(from);
        return match is_wanted {
            true => fs::copy(from, place).map(|_| ()),
            false => Ok(()),
        };
    }
    if from.ends_with(".git") {
        return link_to(from, place);
    }
    if !is_own_dir(place)? {
        return Ok(());
    }
    for entry in entries(from).filter(|entry| !entry.path().is_symlink()) {
        copy(&entry.path(), &place.join(entry.file_name()))?;
    }
    Ok(())
}

fn entries(dir: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(dir).into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Homes(tempfile::TempDir);

    impl Homes {
        fn with(files: &[(&str, &str)]) -> Self {
            let homes = Self(tempfile::tempdir().unwrap());
            fs::create_dir(homes.at("agent")).unwrap();
            for (file, text) in files {
                let path = homes.at("judge").join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            homes
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn give(&self, more: &[(&str, &str)]) -> Variables {
            let mut judge = Variables::from([("HOME".into(), self.at("judge").into())]);
            judge.extend(more.iter().map(|(name, below)| ((*name).into(), self.at(below).into())));
            let mut env = Variables::new();
            Stores::of(&judge).give(&self.at("agent"), &mut env).unwrap();
            env
        }

        fn read(&self, path: &str) -> Option<String> {
            fs::read_to_string(self.at("agent").join(path)).ok()
        }
    }

    #[test]
    fn the_agent_reads_what_the_judge_has_and_adds_its_own_beside_it() {
        let homes = Homes::with(&[
            (".cargo/registry/index/r/.cache/3/a", "a"),
            (".cargo/registry/index/r/.git/objects/x", "a"),
            (".cargo/registry/cache/r/a.crate", "a"),
            (".cargo/registry/src/r/a-1/lib.rs", "a"),
            (".npm/_cacache/content-v2/sha512/0a/0b/0c", "a"),
            (".npm/_cacache/index-v5/0a/0b/0c", "a"),
        ]);
        homes.give(&[]);
        for (file, is_link) in [
            (".cargo/registry/index/r/.cache/3/a", false),
            (".cargo/registry/cache/r/a.crate", true),
            (".npm/_cacache/content-v2/sha512/0a/0b/0c", true),
            (".npm/_cacache/index-v5/0a/0b/0c", false),
        ] {
            assert_eq!(homes.read(file).as_deref(), Some("a"), "{file}");
            assert_eq!(homes.at("agent").join(file).is_symlink(), is_link, "{file}");
        }
        assert_eq!(homes.read(".cargo/registry/src/r/a-1/lib.rs").as_deref(), Some("a"));
        assert!(homes.at("agent/.cargo/registry/index/r/.git").is_symlink());
        let own = homes.at("agent/.cargo/registry/cache/r/own.crate");
        fs::write(&own, "own").unwrap();
        fs::remove_file(homes.at("judge/.cargo/registry/cache/r/a.crate")).unwrap();
        homes.give(&[]);
        assert!(own.exists());
        assert!(!homes.at("agent/.cargo/registry/cache/r/a.crate").is_symlink());
    }

    #[test]
    fn logins_stay_behind() {
        let login = "[registries.own]\ntoken = \"x\"\n";
        let homes = Homes::with(&[
            (".cargo/credentials.toml", login),
            (".cargo/config.toml", login),
            (".npmrc", "_authToken=x"),
            (".npm/_cacache/index-v5/0a/0b/0c", "{\"key\":\"https://me:x@registry.example/a\"}"),
        ]);
        homes.give(&[]);
        for file in [".cargo/credentials.toml", ".cargo/config.toml", ".npmrc"] {
            assert_eq!(homes.read(file), None, "{file}");
        }
        assert_eq!(homes.read(".npm/_cacache/index-v5/0a/0b/0c"), None);
        let mirror = "[source.crates-io]\nreplace-with = \"mirror\"\n";
        fs::write(homes.at("judge/.cargo/config.toml"), mirror).unwrap();
        homes.give(&[]);
        assert_eq!(homes.read(".cargo/config.toml").as_deref(), Some(mirror));
    }

    #[test]
    fn what_a_link_leads_to_is_no_store() {
        let files =
            [("secret/a", "a"), ("go/real/x", "a"), (".cargo/registry/cache/r/a.crate", "a")];
        let homes = Homes::with(&files);
        fs::create_dir_all(homes.at("judge/.npm/_cacache")).unwrap();
        let secret = homes.at("judge/secret");
        for link in [".npm/_cacache/index-v5", ".npm/_cacache/content-v2", ".cargo/config.toml"] {
            symlink(&secret, homes.at("judge").join(link)).unwrap();
        }
        symlink(&secret, homes.at("judge/.cargo/registry/index")).unwrap();
        symlink(homes.at("judge/go/real"), homes.at("judge/go/pkg")).unwrap();
        let env = homes.give(&[]);
        for place in [".npm/_cacache/index-v5", ".npm/_cacache/content-v2", ".cargo/config.toml"] {
            assert!(fs::symlink_metadata(homes.at("agent").join(place)).is_err(), "{place}");
        }
        assert!(!homes.at("agent/.cargo/registry/index").exists() && env.is_empty());
        let judge = Variables::from([("HOME".into(), homes.at("judge").into())]);
        assert_eq!(Stores::of(&judge).seen(), [homes.at("judge/.cargo/registry/cache")]);
    }

    #[test]
    fn a_pipe_that_a_set_up_command_left_is_not_waited_for() {
        let homes = Homes::with(&[(".cargo/registry/index/r/a", "a")]);
        for pipe in [".cargo/config.toml", ".cargo/registry/index/r/b"] {
            let pipe = homes.at("judge").join(pipe);
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        }
        homes.give(&[]);
        assert_eq!(homes.read(".cargo/registry/index/r/a").as_deref(), Some("a"));
        assert!(!homes.at("agent/.cargo/config.toml").exists());
    }

    #[test]
    fn a_link_of_the_agents_in_the_way_is_not_followed() {
        let homes = Homes::with(&[(".cargo/registry/cache/r/a.crate", "a")]);
        fs::create_dir(homes.at("person")).unwrap();
        symlink(homes.at("person"), homes.at("agent/.cargo")).unwrap();
        homes.give(&[]);
        assert_eq!(entries(&homes.at("person")).count(), 0);
    }

    #[test]
    fn go_asks_the_judges_modules_first() {
        let homes = Homes::with(&[("go/pkg/mod/cache/download/example.com/m/@v/list", "v1")]);
        let modules = homes.at("judge/go/pkg/mod/cache/download").display().to_string();
        let expected = format!("file://{modules},https://proxy.golang.org,direct");
        let proxies = |env: Variables| env.get(OsStr::new("GOPROXY")).cloned();
        assert_eq!(proxies(homes.give(&[])), Some(expected.clone().into()));
        assert_eq!(proxies(homes.give(&[("GOPATH", "judge/go:/none")])), Some(expected.into()));
        assert_eq!(proxies(homes.give(&[("GOMODCACHE", "none")])), None);
    }
}
