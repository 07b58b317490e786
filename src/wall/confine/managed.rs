//! Which directories belong as a whole to a directory of programs: the environment that it is part of, the
//! root of the manager that put it there. What of these is seen is the view's to say.

use std::path::{Path, PathBuf};

/// Where below a root programs stand, `*` for any one name, and what else is in such a root.
const MANAGED: [(&str, &str); 11] = [
    // A virtual environment of Python, and one of conda.
    ("bin", "pyvenv.cfg"),
    ("bin", "conda-meta"),
    // pyenv, rbenv, nodenv.
    ("shims", "versions"),
    ("versions/*/bin", "shims"),
    // asdf, mise.
    ("shims", "installs"),
    ("installs/*/*/bin", "shims"),
    // nvm, fnm, volta.
    ("versions/node/*/bin", "nvm.sh"),
    ("node-versions/*/installation/bin", "aliases"),
    ("bin", "tools/image"),
    // sdkman, rustup.
    ("candidates/*/*/bin", "bin/sdkman-init.sh"),
    ("toolchains/*/bin", "settings.toml"),
];

/// Returns the roots that the programs in `dir` need as a whole: of managers, of environments, and of the
/// Python that an environment was made from. `is_there` says whether a path is, `text` what stands in a file.
pub(super) fn roots(
    dir: &Path,
    is_there: &dyn Fn(&Path) -> bool,
    text: &dyn Fn(&Path) -> Option<String>,
) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for (below, mark) in MANAGED {
        let Some(root) = root_of(dir, below).filter(|root| is_there(&root.join(mark))) else {
            continue;
        };
        let made_from = (mark == "pyvenv.cfg").then(|| home_of(&text(&root.join(mark))?)).flatten();
        out.push(root.to_owned());
        if let Some(base) = made_from.filter(|base| base != dir) {
            out.extend(root_of(&base, "bin").map(Path::to_owned));
            // An environment is made from no other one.
            out.extend(roots(&base, is_there, &|_| None));
        }
    }
    out.sort();
    out.dedup();
    out
}

/// Returns the path above `dir` below which it stands as `below` says.
fn root_of<'a>(dir: &'a Path, below: &str) -> Option<&'a Path> {
    below.rsplit('/').try_fold(dir, |dir, name| {
        let is_so = name == "*" || dir.file_name().is_some_and(|own| own == name);
        dir.parent().filter(|_| is_so)
    })
}

/// Returns where the Python is that a `pyvenv.cfg` with this text names.
fn home_of(text: &str) -> Option<PathBuf> {
    let values = text.lines().filter_map(|line| line.split_once('='));
    let home = values.into_iter().find(|(key, _)| key.trim() == "home")?.1;
    Some(PathBuf::from(home.trim())).filter(|home| home.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at a directory on a machine that has the paths of `there`, and one text in each `pyvenv.cfg`.
    fn check(dir: &str, there: &[&str], expected: &[&str]) {
        let is_there = |path: &Path| there.iter().any(|one| Path::new(one) == path);
        let text = |_: &Path| Some("version = 3\nhome = /m/versions/3.11/bin\n".to_owned());
        let found = roots(Path::new(dir), &is_there, &text);
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(found, expected, "{dir}");
    }

    #[test]
    fn programs_of_a_manager_need_all_of_its_root() {
        for (dir, mark) in [
            ("/m/shims", "/m/versions"),
            ("/m/versions/3.11/bin", "/m/shims"),
            ("/m/shims", "/m/installs"),
            ("/m/installs/node/20/bin", "/m/shims"),
            ("/m/versions/node/v20/bin", "/m/nvm.sh"),
            ("/m/node-versions/v20/installation/bin", "/m/aliases"),
            ("/m/bin", "/m/tools/image"),
            ("/m/candidates/java/current/bin", "/m/bin/sdkman-init.sh"),
            ("/m/toolchains/stable/bin", "/m/settings.toml"),
            ("/m/bin", "/m/conda-meta"),
        ] {
            check(dir, &[mark], &["/m"]);
            check(dir, &[], &[]);
        }
    }

    #[test]
    fn an_environment_needs_the_python_that_it_was_made_from_and_its_manager() {
        check("/v/bin", &["/v/pyvenv.cfg"], &["/m/versions/3.11", "/v"]);
        check("/v/bin", &["/v/pyvenv.cfg", "/m/shims"], &["/m", "/m/versions/3.11", "/v"]);
    }

    #[test]
    fn a_directory_that_only_looks_like_one_is_no_managers() {
        check("/srv/versions/3/bin", &["/srv"], &[]);
        check("/srv/shims", &["/srv/src"], &[]);
        check("/bin", &[], &[]);
    }
}
