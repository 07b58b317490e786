//! Reads what an agent that works in the checkout has before it.
//!
//! What git tracks there, as it stands in the working tree, without the scenarios. Where git does not
//! know the directory nothing is read, and more is masked.

use std::fs;
use std::path::Path;

use crate::feedback::AgentTree;
use crate::git::Repo;
use crate::process::Variables;
use crate::scenario::ScenarioSet;

/// Returns the files of the product at `root` that the agent has in a checkout: the tracked ones
/// outside the directory of the scenarios, `scenarios`, an absolute path. Links are not followed.
pub fn own_files(root: &Path, scenarios: &Path, set: &ScenarioSet, env: Variables) -> AgentTree {
    let mut tree = AgentTree::new(set);
    let Ok(repo) = Repo::discover(root, env) else { return tree };
    let Ok(root) = fs::canonicalize(root) else { return tree };
    let scenarios = fs::canonicalize(scenarios).unwrap_or_else(|_| scenarios.to_owned());
    for path in repo.tracked_paths().unwrap_or_default() {
        let file = path.under(repo.root());
        let Some(name) = file.strip_prefix(&root).ok().and_then(Path::to_str) else { continue };
        let Ok(found) = fs::symlink_metadata(&file) else { continue };
        if !found.is_file() || !tree.takes(name, found.len()) {
            continue;
        }
        // A directory on the way may be a link, to the scenarios or out of the product.
        let Ok(real) = fs::canonicalize(&file) else { continue };
        if real.starts_with(&root) && !real.starts_with(&scenarios) {
            tree.add(name, &fs::read(&real).unwrap_or_default());
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing;

    #[test]
    fn what_git_tracks_is_read_and_the_scenarios_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        testing::git(root, &["init", "--quiet", "."]);
        for (path, text) in [("a.py", "import os\n"), ("scenarios/a.md", "x\n"), ("new", "y\n")] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        }
        std::os::unix::fs::symlink("scenarios", root.join("link")).unwrap();
        testing::git(root, &["add", "a.py", "scenarios", "link"]);
        let set = crate::scenario::from_files("scenarios", Vec::new());
        let read = |root: &Path| {
            let tree = own_files(root, &root.join("scenarios"), &set, testing::env());
            tree.paths().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(read(root), ["a.py"]);
        let plain = tempfile::tempdir().unwrap();
        fs::write(plain.path().join("a.py"), "import os\n").unwrap();
        assert_eq!(read(plain.path()), [""; 0]);
    }
}
