//! The private home and temporary directory of the agent, and what of the person's home it links to.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use crate::journal::make_private_dir;

/// Why the agent's home could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// An entry leads out of the person's home.
    #[error("`agent.home` has `{entry}`; write a path below your home, without `..`")]
    NotBelowHome {
        /// The entry.
        entry: String,
    },
    /// An entry stands for the whole home.
    #[error(
        "`agent.home` has `{entry}`, which is all of your home; name what the agent needs of it"
    )]
    WholeHome {
        /// The entry.
        entry: String,
    },
    /// An entry is not there.
    #[error("`agent.home` has `{entry}`, and there is no {}; remove it there, or create it", path.display())]
    Missing {
        /// The entry.
        entry: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The person has no home.
    #[error("`agent.home` names entries and HOME is not set; set HOME, or remove them")]
    NoHome,
    /// Something other than the factory's own link stands in the way.
    #[error("{} is in the way of `agent.home`'s `{entry}`; remove it", path.display())]
    InTheWay {
        /// The entry.
        entry: String,
        /// What is in the way.
        path: PathBuf,
    },
    /// What the factory has to write would land in the person's home, or where the agent had it land.
    #[error(
        "{} is a link or no directory, and the factory has to write {} there; name in `agent.home` the file \
         with the login, not its directory, or remove it", place.display(), file.display()
    )]
    Linked {
        /// What is in the way.
        place: PathBuf,
        /// The file, relative to the home.
        file: PathBuf,
    },
    /// A directory, link or file could not be made.
    #[error("can't make {}", path.display())]
    Make {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the directories `home` and `tmp`, of this user alone, and in `home` a symbolic link for
/// each of `entries`, paths below `person_home`.
///
/// What is there already stays: both are kept between the turns of a run. A link that the agent
/// replaced by a file of its own, as a CLI does that renews its login, stays that file.
///
/// # Errors
/// An entry is absolute, has `..`, is missing in the person's home, or can't be linked.
pub fn prepare_home(
    home: &Path,
    tmp: &Path,
    entries: &[String],
    person_home: Option<&Path>,
) -> Result<(), HomeError> {
    let mut links = Vec::new();
    for entry in entries {
        let path = relative(entry)?;
        let target = person_home.ok_or(HomeError::NoHome)?.join(&path);
        if !target.exists() {
            return Err(HomeError::Missing { entry: entry.clone(), path: target });
        }
        links.push((entry, path, target));
    }
    for dir in [home, tmp] {
        make_dir(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(make(dir))?;
    }
    for (entry, path, target) in links {
        link(home, entry, &path, &target)?;
    }
    Ok(())
}

/// Makes in the private home `home` the directories `dirs`, and writes `files` anew, of this user
/// alone.
///
/// What the agent has put in their place goes; no link of its, and none of the person's, is followed.
///
/// # Errors
/// A directory on the way is none, or a link; or the disk fails.
pub(super) fn furnish(
    home: &Path,
    dirs: &[PathBuf],
    files: &BTreeMap<PathBuf, String>,
) -> Result<(), HomeError> {
    for dir in dirs {
        make_dir(&home.join(dir))?;
    }
    for (file, text) in files {
        let mut place = home.to_owned();
        for part in file.parent().into_iter().flat_map(Path::components) {
            place.push(part);
            if place.is_symlink() || (place.exists() && !place.is_dir()) {
                return Err(HomeError::Linked { place, file: file.clone() });
            }
        }
        make_dir(&place)?;
        let place = home.join(file);
        match fs::remove_file(&place) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(make(&place)(e)),
            _ => {}
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&place)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(make(&place))?;
    }
    Ok(())
}

fn relative(entry: &str) -> Result<PathBuf, HomeError> {
    let entry = entry.strip_prefix("~/").unwrap_or(entry);
    let mut path = PathBuf::new();
    for component in Path::new(entry).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => return Err(HomeError::NotBelowHome { entry: entry.to_owned() }),
        }
    }
    if path.as_os_str().is_empty() {
        return Err(HomeError::WholeHome { entry: entry.to_owned() });
    }
    Ok(path)
}

fn link(home: &Path, entry: &str, path: &Path, target: &Path) -> Result<(), HomeError> {
    // Directory by directory: where the agent, or another entry, put a link on the way, the new one
    // would land in the person's home.
    let mut place = home.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        place.push(part);
        if place.is_symlink() || (place.exists() && !place.is_dir()) {
            return Err(HomeError::InTheWay { entry: entry.to_owned(), path: place });
        }
    }
    make_dir(&place)?;
    let place = home.join(path);
    match fs::read_link(&place) {
        Ok(old) if old == target => Ok(()),
        Ok(_) => {
            fs::remove_file(&place).and_then(|()| symlink(target, &place)).map_err(make(&place))
        }
        Err(_) if place.is_file() && target.is_file() => Ok(()),
        // A copy for an agent that runs as another user.
        Err(_) if place.is_dir() && target.is_dir() => Ok(()),
        Err(_) if place.exists() => {
            Err(HomeError::InTheWay { entry: entry.to_owned(), path: place })
        }
        Err(_) => symlink(target, &place).map_err(make(&place)),
    }
}

fn make_dir(path: &Path) -> Result<(), HomeError> {
    make_private_dir(path).map_err(make(path))
}

fn make(path: &Path) -> impl FnOnce(io::Error) -> HomeError + use<> {
    let path = path.to_owned();
    move |source| HomeError::Make { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Homes {
        _dir: tempfile::TempDir,
        person: PathBuf,
        home: PathBuf,
        tmp: PathBuf,
    }

    fn homes() -> Homes {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("person/.codex")).unwrap();
        fs::write(at("person/.codex/auth.json"), "login").unwrap();
        Homes { person: at("person"), home: at("state/home"), tmp: at("state/tmp"), _dir: dir }
    }

    fn prepare(homes: &Homes, entries: &[&str]) -> Result<(), HomeError> {
        let entries: Vec<String> = entries.iter().map(|&entry| entry.to_owned()).collect();
        prepare_home(&homes.home, &homes.tmp, &entries, Some(&homes.person))
    }

    fn check_refused(entry: &str, expected: &str) {
        let homes = homes();
        let message = prepare(&homes, &[entry]).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(!homes.home.exists(), "nothing is made before all entries are checked");
    }

    #[test]
    fn the_home_is_the_users_alone_and_links_to_what_was_named() {
        let homes = homes();
        prepare(&homes, &[".codex/auth.json"]).unwrap();
        assert_eq!(fs::read_to_string(homes.home.join(".codex/auth.json")).unwrap(), "login");
        for dir in [&homes.home, &homes.tmp] {
            assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn it_is_kept_between_turns_with_what_the_agent_put_there() {
        let homes = homes();
        prepare(&homes, &["~/.codex/auth.json"]).unwrap();
        let own = homes.home.join(".codex/auth.json");
        fs::remove_file(&own).unwrap();
        fs::write(&own, "renewed").unwrap();
        fs::write(homes.home.join("cache"), "").unwrap();
        prepare(&homes, &["~/.codex/auth.json"]).unwrap();
        assert_eq!(fs::read_to_string(&own).unwrap(), "renewed");
        assert_eq!(fs::read_to_string(homes.person.join(".codex/auth.json")).unwrap(), "login");
        assert!(homes.home.join("cache").exists());
    }

    #[test]
    fn entries_outside_the_home_are_refused() {
        for entry in ["/etc/passwd", "../other", ".codex/../../x"] {
            check_refused(entry, "without `..`");
        }
        for entry in ["", ".", "~/"] {
            check_refused(entry, "all of your home");
        }
    }

    #[test]
    fn a_missing_entry_is_named() {
        check_refused(".claude/login", "`.claude/login`, and there is no");
    }

    #[test]
    fn a_link_of_the_agents_on_the_way_is_not_followed() {
        let homes = homes();
        prepare(&homes, &[]).unwrap();
        symlink(&homes.person, homes.home.join(".codex")).unwrap();
        assert!(matches!(prepare(&homes, &[".codex/auth.json"]), Err(HomeError::InTheWay { .. })));
    }

    fn furnished(homes: &Homes) -> Result<(), HomeError> {
        let files = BTreeMap::from([(".gemini/settings.json".into(), "ours".to_owned())]);
        furnish(&homes.home, &[".codex".into()], &files)
    }

    #[test]
    fn the_factorys_settings_are_written_anew_for_each_turn() {
        let homes = homes();
        prepare(&homes, &[]).unwrap();
        let file = homes.home.join(".gemini/settings.json");
        for _ in 0..2 {
            furnished(&homes).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), "ours");
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            fs::write(&file, "the agent's").unwrap();
        }
        assert!(homes.home.join(".codex").is_dir());
    }

    #[test]
    fn the_agent_cannot_redirect_what_the_factory_writes() {
        let homes = homes();
        prepare(&homes, &[]).unwrap();
        let login = homes.person.join(".codex/auth.json");
        let file = homes.home.join(".gemini/settings.json");
        furnished(&homes).unwrap();
        fs::remove_file(&file).unwrap();
        symlink(&login, &file).unwrap();
        furnished(&homes).unwrap();
        assert_eq!(fs::read_to_string(&login).unwrap(), "login");
        assert!(!file.is_symlink());
        fs::remove_dir_all(homes.home.join(".gemini")).unwrap();
        symlink(&homes.person, homes.home.join(".gemini")).unwrap();
        assert!(matches!(furnished(&homes), Err(HomeError::Linked { .. })));
        assert!(!homes.person.join("settings.json").exists());
    }
}
