//! What of the machine a confined program sees: a list of what is there, and nothing else is.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{ALLOWED, Audience, Variables};

use super::logins::logins_below;
use super::managed::roots;

/// The directory of the system in which people put links to programs of their own.
const BY_HAND: &str = "/usr/local/bin";

/// Where the system and its programs are, as far as it has them.
const SYSTEM: [&str; 15] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix/store",
    "/run/current-system/sw",
    "/home/linuxbrew/.linuxbrew",
    "/snap",
    "/var/cache/fontconfig",
    "/var/lib/dpkg/alternatives",
];

/// What of cargo's home is not a login.
const OF_CARGO: [&str; 5] = ["bin", "registry", "git", "config.toml", "env"];

/// Variables of [`ALLOWED`] that name no place to read.
const NO_PLACES: [&str; 8] = [
    "USER",
    "LOGNAME",
    "TZ",
    "CI",
    "RUSTUP_TOOLCHAIN",
    "PYENV_VERSION",
    "CARGO_HOME",
    "GRADLE_USER_HOME",
];

/// What a place in the view may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// It is read and executed.
    Read,
    /// It is read and written.
    Write,
    /// It is a device, or a directory of them.
    Device,
}

/// One place in the view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Where it lies; where that is a symbolic link, the link's target is what is seen there.
    pub path: OsString,
    /// What for.
    pub using: Use,
}

/// What there is to be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The places by path; what lies within another comes after it.
    pub seen: Vec<Seen>,
    /// Where trees that are written lie, with where else they are seen.
    pub moved: Vec<(PathBuf, PathBuf)>,
    /// Whether processes that can't be looked into are not seen, and `/proc` is read alone; by namespaces of its own
    /// alone.
    pub hides: bool,
    /// What is read alone within one of these, a directory that is there, as where it lies and where it is seen, and what
    /// is around it.
    pub closed: Vec<Closed>,
    /// Places that were asked for and are within what must not be seen, or are not there, sorted.
    pub left_out: Vec<PathBuf>,
}

/// A directory within a tree that is written, which is itself read alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Where the tree lies.
    pub lies: OsString,
    /// Where it is seen.
    pub at: OsString,
    /// The path of the directory in it.
    pub path: OsString,
}

impl Closed {
    /// Returns the directory `dir` of the tree that lies at `lies` and is seen at `at`, or where that leads if it is a
    /// link; none where no directory is there, or one out of the tree.
    pub fn of(lies: &Path, at: &Path, dir: &str) -> Option<Self> {
        let real = fs::canonicalize(lies.join(dir)).ok().filter(|real| real.is_dir())?;
        let path = real.strip_prefix(fs::canonicalize(lies).ok()?).ok()?.into();
        Some(Self { lies: lies.into(), at: at.into(), path })
    }

    /// Returns it and the directories above it within the tree, those first, each as where it lies, where it is seen and
    /// what for: one of them that could be renamed would take it away.
    pub(super) fn places(&self) -> Vec<(PathBuf, PathBuf, Use)> {
        let path = Path::new(&self.path);
        let mut above: Vec<&Path> =
            path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        above.reverse();
        let using = |part: &Path| if part == path { Use::Read } else { Use::Write };
        let place = |part: &Path| {
            (Path::new(&self.lies).join(part), Path::new(&self.at).join(part), using(part))
        };
        above.into_iter().map(place).collect()
    }
}

/// What a view is made from.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The environment of what is confined: what its `PATH` and the homes of its toolchains name is seen.
    pub env: &'a Variables,
    /// The person's home, of which only what is named otherwise is seen.
    pub home: Option<&'a Path>,
    /// What must not be seen: the repository, the factory's state. Only `write` may lie within.
    pub secret: &'a [PathBuf],
    /// More that is read.
    pub read: &'a [PathBuf],
    /// Stores of packages that are read.
    pub stores: &'a [PathBuf],
    /// What is read though it is within what must not be seen: files that the factory hands over.
    pub handed: &'a [PathBuf],
    /// The tree that is worked in: where it lies, and where it is seen; none where `write` has it.
    pub tree: Option<(&'a Path, &'a Path)>,
    /// What else is written: a home, a directory for temporary files.
    pub write: &'a [PathBuf],
    /// Devices.
    pub devices: &'a [PathBuf],
}

impl View {
    /// Returns the view that `wanted` makes of this machine.
    pub fn of(wanted: &Wanted<'_>) -> Self {
        let (toolchains, managed) = toolchains(wanted);
        let mut secret: Vec<PathBuf> = wanted.secret.iter().flat_map(|path| both(path)).collect();
        // So may the addresses that something was fetched from.
        let has_addresses =
            |path: &&PathBuf| ["git/db", "registry/index"].iter().any(|end| path.ends_with(end));
        let fetched = wanted.stores.iter().filter(has_addresses);
        let logins = managed.iter().chain(fetched).flat_map(|root| logins_below(root));
        // What a person names is theirs to show.
        let is_named = |path: &PathBuf| wanted.read.iter().any(|read| path.starts_with(read));
        secret.extend(logins.filter(|path| !is_named(path)));
        let mut left_out = Vec::new();
        let mut seen: BTreeMap<PathBuf, Use> = BTreeMap::new();
        let system = SYSTEM.iter().map(PathBuf::from);
        // The names of hosts, where the system keeps them elsewhere.
        let resolver = fs::canonicalize("/etc/resolv.conf").ok();
        for path in system.chain(resolver).chain(toolchains).chain(wanted.stores.iter().cloned()) {
            if fs::symlink_metadata(&path).is_ok() {
                add(&mut seen, &mut left_out, &secret, wanted.home, path);
            }
        }
        for path in wanted.read {
            match fs::metadata(path) {
                Ok(_) => add(&mut seen, &mut left_out, &secret, wanted.home, path.clone()),
                Err(_) => left_out.push(path.clone()),
            }
        }
        let more =
            [(wanted.handed, Use::Read), (wanted.devices, Use::Device), (wanted.write, Use::Write)];
        for (path, using) in
            more.iter().flat_map(|(paths, using)| paths.iter().map(move |path| (path, *using)))
        {
            match fs::metadata(path) {
                Ok(_) => _ = seen.insert(path.clone(), using),
                Err(_) => left_out.push(path.clone()),
            }
        }
        let mut moved = Vec::new();
        match wanted.tree {
            Some((lies, at)) if lies == at => _ = seen.insert(lies.to_owned(), Use::Write),
            Some((lies, at)) => moved.push((lies.to_owned(), at.to_owned())),
            None => {}
        }
        left_out.sort();
        left_out.dedup();
        let seen = within_once(seen);
        Self { seen, moved, left_out, ..Self::default() }
    }
}

/// Leaves away what is read within something else that is read: it is seen there already.
fn within_once(all: BTreeMap<PathBuf, Use>) -> Vec<Seen> {
    let mut out: Vec<(PathBuf, Use)> = Vec::new();
    for (path, using) in all {
        let around = out.iter().rev().find(|(outer, _)| path.starts_with(outer));
        let known = using == Use::Read && around.is_some_and(|(_, outer)| *outer == Use::Read);
        if !known || fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink()) {
            out.push((path, using));
        }
    }
    out.into_iter().map(|(path, using)| Seen { path: path.into_os_string(), using }).collect()
}

/// Returns a path as it was named and as it is.
fn both(path: &Path) -> Vec<PathBuf> {
    let mut paths = vec![path.to_owned()];
    paths.extend(fs::canonicalize(path).ok().filter(|real| real != path));
    paths
}

/// Adds what is read: all of it, or, where something secret lies within, everything beside that.
fn add(
    seen: &mut BTreeMap<PathBuf, Use>,
    left_out: &mut Vec<PathBuf>,
    secret: &[PathBuf],
    home: Option<&Path>,
    path: PathBuf,
) {
    let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
    let is_home = home.is_some_and(|home| real == home || path == home);
    if is_home
        || real == Path::new("/")
        || secret.iter().any(|secret| real.starts_with(secret) || path.starts_with(secret))
    {
        left_out.push(path);
        return;
    }
    let holds = |inner: &Path| inner.starts_with(&real) || inner.starts_with(&path);
    if secret.iter().any(|secret| holds(secret)) || home.is_some_and(holds) {
        let mut children: Vec<PathBuf> = fs::read_dir(&path)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        children.sort();
        for child in children {
            add(seen, left_out, secret, home, child);
        }
        return;
    }
    if real != path {
        seen.entry(real).or_insert(Use::Read);
    }
    seen.entry(path).or_insert(Use::Read);
}

/// Returns where the programs of an environment are and what they need beside them, and of that the
/// directories which are shown without logins: all but the stores that the product itself is given.
fn toolchains(wanted: &Wanted<'_>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut out, mut managed, mut stores) = (Vec::new(), Vec::new(), Vec::new());
    for (name, audience) in ALLOWED.iter().filter(|(name, _)| !NO_PLACES.contains(name)) {
        let Some(value) = wanted.env.get(OsStr::new(name)) else { continue };
        for place in parts(value) {
            match *name {
                "PATH" if !is_systems(&place) || place == Path::new(BY_HAND) => {
                    managed.extend(behind(&place, wanted.home));
                }
                _ if *audience == Audience::Product => stores.push(place.clone()),
                "PATH" | "LD_LIBRARY_PATH" | "PKG_CONFIG_PATH" => {}
                _ => managed.push(place.clone()),
            }
            out.push(place);
        }
    }
    if let Some(cargo) = wanted.env.get(OsStr::new("CARGO_HOME")) {
        out.extend(OF_CARGO.iter().map(|name| Path::new(cargo).join(name)));
    }
    managed.sort();
    managed.dedup();
    out.extend(managed.iter().cloned());
    let is_store = |path: &PathBuf| stores.iter().any(|store| path.starts_with(store));
    managed.retain(|path| !is_systems(path) && !is_store(path));
    (out, managed)
}

fn is_systems(path: &Path) -> bool {
    SYSTEM.iter().any(|system| path.starts_with(system))
}

fn parts(value: &OsStr) -> impl Iterator<Item = PathBuf> {
    value
        .as_bytes()
        .split(|byte| *byte == b':')
        .map(|part| PathBuf::from(OsStr::from_bytes(part)))
        .filter(|path| path.is_absolute())
}

/// Returns what the programs in a directory that is not the system's need beside them: the libraries of
/// the same prefix, the roots that they are part of, and where their links lead: for a package of npm, all that
/// were installed with it.
fn behind(programs: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let mut out = Vec::new();
    if programs.ends_with("bin")
        && let Some(prefix) = programs.parent()
    {
        out.extend(["lib", "libexec"].map(|name| prefix.join(name)));
    }
    let text = |path: &Path| path.is_file().then(|| fs::read_to_string(path).ok())?;
    for dir in both(programs) {
        let all = roots(&dir, &|path| path.exists(), &text);
        out.extend(all.into_iter().filter(|root| home.is_none_or(|home| home != root)));
    }
    let entries = fs::read_dir(programs).into_iter().flatten().flatten();
    for link in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())) {
        let Ok(target) = fs::canonicalize(link.path()) else { continue };
        let Some(dir) = target.parent().filter(|dir| !dir.starts_with(programs)) else { continue };
        // `~/.local` has the logins of other programs beside its own.
        let is_own = |prefix: &&Path| {
            home.is_none_or(|home| !home.starts_with(prefix) && *prefix != home.join(".local"))
        };
        let prefix = dir.parent().filter(|_| dir.ends_with("bin")).filter(is_own).unwrap_or(dir);
        let package = dir.ancestors().filter(|above| above.ends_with("node_modules")).last();
        out.push(package.unwrap_or(prefix).to_owned());
    }
    out.sort();
    out.dedup();
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn with(dirs: &[&str]) -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            for dir in dirs {
                fs::create_dir_all(machine.at(dir)).unwrap();
            }
            machine
        }

        fn at(&self, path: &str) -> PathBuf {
            fs::canonicalize(self.0.path()).unwrap().join(path)
        }

        /// Returns what is seen below the machine, as paths in it, `+` before what is written.
        fn view(&self, path: &str, read: &[&str], write: &[&str]) -> Vec<String> {
            let all = |paths: &[&str]| paths.iter().map(|one| self.at(one)).collect::<Vec<_>>();
            let on_path: Vec<String> = path
                .split(':')
                .filter(|part| !part.is_empty())
                .map(|part| self.at(part).display().to_string())
                .collect();
            let env = Variables::from([("PATH".into(), on_path.join(":").into())]);
            let view = View::of(&Wanted {
                env: &env,
                home: Some(&self.at("home")),
                secret: &all(&["home/repo", "home/state"]),
                read: &all(read),
                tree: None,
                write: &all(write),
                stores: &[],
                handed: &[],
                devices: &[],
            });
            let base = self.at("");
            view.seen
                .iter()
                .filter_map(|seen| {
                    let path = Path::new(&seen.path).strip_prefix(&base).ok()?.display();
                    Some(format!("{}{path}", if seen.using == Use::Write { "+" } else { "" }))
                })
                .collect()
        }
    }

    #[test]
    fn nothing_of_a_home_is_seen_but_what_is_named() {
        let machine = Machine::with(&["home/bin", "home/lib", "home/.ssh", "home/tool/lib"]);
        assert_eq!(machine.view("", &["home"], &[]), Vec::<String>::new());
        assert_eq!(machine.view("home/bin", &[], &[]), ["home/bin", "home/lib"]);
        assert_eq!(machine.view("", &["home/tool"], &[]), ["home/tool"]);
    }

    #[test]
    fn what_is_around_a_secret_is_seen_without_it() {
        let machine =
            Machine::with(&["srv/a", "home/repo/.venv/bin", "home/state/run/tree", "home/x"]);
        assert_eq!(machine.view("home/repo/.venv/bin", &[], &[]), Vec::<String>::new());
        let seen = machine.view("", &["srv"], &["home/state/run/tree"]);
        assert_eq!(seen, ["+home/state/run/tree", "srv"]);
        let around = machine.at("");
        let env = Variables::new();
        let wanted = Wanted {
            env: &env,
            home: None,
            secret: &[machine.at("home/repo")],
            read: &[around],
            stores: &[],
            handed: &[],
            tree: None,
            write: &[],
            devices: &[],
        };
        let seen = View::of(&wanted).seen;
        let has = |path: &str| seen.iter().any(|one| *one.path == *machine.at(path).as_os_str());
        assert!(has("home/state") && has("home/x") && has("srv"));
        assert!(!has("home/repo") && !has("home") && !has(""));
    }

    #[test]
    fn programs_are_seen_with_what_their_links_lead_to() {
        let machine = Machine::with(&["home/.local/bin", "home/share/tool/versions/1/bin"]);
        fs::write(machine.at("home/share/tool/versions/1/bin/tool"), "").unwrap();
        let target = machine.at("home/share/tool/versions/1/bin/tool");
        symlink(target, machine.at("home/.local/bin/tool")).unwrap();
        assert_eq!(
            machine.view("home/.local/bin", &[], &[]),
            ["home/.local/bin", "home/share/tool/versions/1"]
        );
    }

    #[test]
    fn a_link_to_a_program_of_the_home_shows_no_more_of_the_home() {
        let machine =
            Machine::with(&["tools", "home/.local/bin", "home/.local/share/x", "home/bin"]);
        for (name, target) in [("a", "home/.local/bin/a"), ("b", "home/bin/b")] {
            fs::write(machine.at(target), "").unwrap();
            symlink(machine.at(target), machine.at("tools").join(name)).unwrap();
        }
        assert_eq!(machine.view("tools", &[], &[]), ["home/.local/bin", "home/bin", "tools"]);
    }

    #[test]
    fn an_environment_and_a_manager_are_seen_whole_and_without_logins() {
        let machine = Machine::with(&["v/bin", "v/lib", "home/m/shims", "home/m/versions/3/bin"]);
        let home = machine.at("home/m/versions/3/bin").display().to_string();
        fs::write(machine.at("v/pyvenv.cfg"), format!("home = {home}\n")).unwrap();
        fs::write(machine.at("home/m/versions/3/pip.conf"), "[global]\ntimeout = 3").unwrap();
        assert_eq!(machine.view("v/bin", &[], &[]), ["home/m", "v"]);
        fs::write(machine.at("home/m/.netrc"), "").unwrap();
        fs::write(machine.at("v/pip.conf"), "index-url = https://me:pw@pypi.example/").unwrap();
        let seen = machine.view("v/bin", &[], &[]);
        assert_eq!(seen, ["home/m/shims", "home/m/versions", "v/bin", "v/lib", "v/pyvenv.cfg"]);
        assert_eq!(machine.view("home/m/shims", &["home/m"], &[]), ["home/m"]);
    }

    #[test]
    fn a_package_of_npm_is_seen_with_all_that_was_installed_with_it() {
        let modules = "agents/node_modules";
        let dirs = ["@a/tool/bin", "@a/tool-linux", ".bin"].map(|dir| format!("{modules}/{dir}"));
        let machine = Machine::with(&dirs.each_ref().map(String::as_str));
        let target = machine.at("agents/node_modules/@a/tool/bin/tool.js");
        fs::write(&target, "").unwrap();
        symlink(target, machine.at("agents/node_modules/.bin/tool")).unwrap();
        assert_eq!(machine.view("agents/node_modules/.bin", &[], &[]), [modules]);
    }

    #[test]
    fn a_link_into_a_secret_shows_nothing_of_it() {
        let machine = Machine::with(&["home/repo/scenarios", "srv"]);
        symlink(machine.at("home/repo/scenarios"), machine.at("srv/link")).unwrap();
        assert_eq!(machine.view("", &["srv/link"], &[]), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_there_or_secret_is_said() {
        let machine = Machine::with(&["home/repo"]);
        let wanted = Wanted {
            env: &Variables::new(),
            home: None,
            secret: &[machine.at("home/repo")],
            read: &[machine.at("none"), machine.at("home/repo")],
            stores: &[],
            handed: &[],
            tree: None,
            write: &[],
            devices: &[],
        };
        assert_eq!(View::of(&wanted).left_out, [machine.at("home/repo"), machine.at("none")]);
    }
}
