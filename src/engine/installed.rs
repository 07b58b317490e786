//! Packages of a product in Python that are installed on this machine too: where the tree that is judged lacks
//! one, tests import what is installed, and pass for something else. Asks the machine's Python, which imports
//! nothing of them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Config, Environment, has_src, python_packages};
use crate::event::Tier;
use crate::process::{self, Call, Cancel};

use super::Walls;

/// How long Python may take to say where it would find them.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks where packages would be imported from, without the variables and the home of whoever asks.
const ASK: &str = "\
import importlib.util, sys
for name in sys.argv[1:]:
    try:
        found = importlib.util.find_spec(name)
    except Exception:
        continue
    places = found and ([found.origin] if found.origin else list(found.submodule_search_locations or []))
    if places:
        print(name + '\\t' + places[0])
";

/// Returns what a person should know of the packages of the product at `root` that are installed here, and what to
/// do about it; none where nothing is installed that a test could import instead. Programs of the product are not
/// asked.
pub fn installed_beside(
    root: &Path,
    config: &Config,
    env: &Environment,
    walls: &Walls,
) -> Option<(String, String)> {
    let names = python_packages(root);
    let python = python_outside(root, env).filter(|_| !names.is_empty())?;
    let call = Call::new(&python, root)
        .args(["-I", "-c", ASK])
        .args(&names)
        .env(env.for_product(&[], "", None, None))
        .limit(LIMIT);
    let mut output = Vec::new();
    process::run(&call, &Cancel::never(), &mut |_, bytes| output.extend_from_slice(bytes));
    let output = String::from_utf8_lossy(&output);
    let found = output.lines().filter_map(|line| line.split_once('\t'));
    // Where the tree that is judged is seen in the checkout's place, this is the tree.
    let is_tree = walls.judge == Tier::Sandbox && walls.has_namespaces();
    let (name, place) =
        found.map(|(name, place)| (name, Path::new(place))).find(|(name, place)| {
            names.iter().any(|own| own == name) && is_beside(place, root, is_tree)
        })?;
    let by_env = config.env.iter().any(|name| name == "PYTHONPATH");
    let in_src = root.join("src").join(name).is_dir();
    let when = match !by_env && (has_src(root) || !in_src) {
        true => "import it where the tree that is judged has none",
        false => "may import it instead of what the tree that is judged has",
    };
    let (place, python) = (place.display(), python.display());
    Some((
        format!(
            "the package `{name}` is installed on this machine ({place}): tests by {python} {when}"
        ),
        "take a Python without it: uninstall it, or let `prepare` make a virtual environment"
            .to_owned(),
    ))
}

/// Returns whether a package is found elsewhere than in the tree that is judged, and is no part of Python itself.
fn is_beside(place: &Path, root: &Path, is_tree: bool) -> bool {
    let is_installed = place.iter().any(|name| name == "site-packages" || name == "dist-packages");
    match place.starts_with(root) {
        true => !is_tree,
        false => is_installed,
    }
}

/// Returns the first Python on `PATH` that is no file of the checkout.
fn python_outside(root: &Path, env: &Environment) -> Option<PathBuf> {
    let dirs = env.get("PATH")?.as_bytes().split(|byte| *byte == b':');
    dirs.map(|dir| Path::new(OsStr::from_bytes(dir)).join("python3"))
        .filter(|python| python.is_absolute() && !python.starts_with(root))
        .find(|python| env.find_program(&python.to_string_lossy()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_or_of_the_checkout_is_beside_the_tree_that_is_judged() {
        for (place, is_tree, expected) in [
            ("/usr/lib/python3/dist-packages/words/__init__.py", true, true),
            ("/v/lib/python3.11/site-packages/words/__init__.py", false, true),
            ("/product/src/words/__init__.py", false, true),
            ("/product/src/words/__init__.py", true, false),
            ("/usr/lib/python3.11/json/__init__.py", false, false),
        ] {
            let found = is_beside(Path::new(place), Path::new("/product"), is_tree);
            assert_eq!(found, expected, "{place}");
        }
    }
}
