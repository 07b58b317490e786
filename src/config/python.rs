//! Where the packages of a product in Python lie in its tree. Looks at names and at how it is built; imports and
//! runs nothing.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// By one of these a tree is a product in Python.
const PROJECT: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];

/// What says that a build makes a part of the packages, which a tree without it has not.
const EXTENSIONS: [&str; 7] = [
    "Extension(",
    "ext_modules",
    "cffi_modules",
    "maturin",
    "mesonpy",
    "scikit_build",
    "setuptools-rust",
];

/// Names of the standard library's which people give to packages that they import as `src.NAME`.
const STANDARD: [&str; 24] = [
    "ast",
    "calendar",
    "code",
    "collections",
    "copy",
    "email",
    "enum",
    "html",
    "http",
    "io",
    "json",
    "logging",
    "numbers",
    "parser",
    "platform",
    "profile",
    "queue",
    "secrets",
    "select",
    "signal",
    "statistics",
    "string",
    "token",
    "types",
];

/// No file that says how a product is built has more bytes.
const LONGEST: u64 = 1 << 20;

/// Directories of a product's root that hold no package of it.
const BESIDE: [&str; 6] = ["test", "tests", "docs", "examples", "scripts", "tools"];

/// Returns the value of `PYTHONPATH` for what works in a tree that lies at `lies` and is seen at `seen`: the
/// tree, and before it its `src` where its packages are in there.
pub fn python_path(lies: &Path, seen: &Path) -> OsString {
    let mut path = OsString::new();
    if has_src(lies) {
        path.push(seen.join("src"));
        path.push(":");
    }
    path.push(seen);
    path
}

/// Returns whether the product in the tree at `root` has its packages in `src`, and imports them by that.
pub fn has_src(root: &Path) -> bool {
    let src = root.join("src");
    let packages = packages_in(&src);
    is_project(root)
        && !packages.is_empty()
        && !src.join("__init__.py").exists()
        && !packages.iter().any(|name| STANDARD.contains(&name.as_str()))
        && !PROJECT.iter().any(|file| {
            let text = text_of(&root.join(file)).unwrap_or_default();
            EXTENSIONS.iter().any(|word| text.contains(word))
        })
}

/// Returns the names of the packages of the product in the tree at `root`, sorted: those in its `src`, else those
/// in the root. Empty where it is no product in Python.
pub fn python_packages(root: &Path) -> Vec<String> {
    let mut names = packages_in(&root.join("src"));
    if names.is_empty() {
        names = packages_in(root);
    }
    names.retain(|name| is_project(root) && !BESIDE.contains(&name.as_str()));
    names
}

/// Returns what stands in a file; none where there is none of a sane size: the tree may be an agent's, and what is
/// no file would be waited for.
fn text_of(file: &Path) -> Option<String> {
    let found = fs::metadata(file).ok()?;
    (found.is_file() && found.len() <= LONGEST).then(|| fs::read_to_string(file).ok())?
}

fn is_project(root: &Path) -> bool {
    PROJECT.iter().any(|file| root.join(file).is_file())
}

fn packages_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let packages = entries.filter(|entry| entry.path().join("__init__.py").is_file());
    let mut names: Vec<String> =
        packages.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], path: &str, packages: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let place = dir.path().join(file);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
        }
        assert_eq!(python_path(dir.path(), Path::new("/t")), path, "{files:?}");
        assert_eq!(python_packages(dir.path()), packages, "{files:?}");
    }

    #[test]
    fn src_goes_first_where_the_layout_has_it() {
        let package = ("src/words/__init__.py", "");
        for file in ["pyproject.toml", "setup.py", "setup.cfg"] {
            check(&[(file, ""), package], "/t/src:/t", &["words"]);
        }
        check(&[package], "/t", &[]);
        check(&[("pyproject.toml", ""), ("src/main.rs", "")], "/t", &[]);
        let flat = [("setup.py", ""), ("words/__init__.py", ""), ("tests/__init__.py", "")];
        check(&flat, "/t", &["words"]);
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("src/words")).unwrap();
        fs::write(dir.path().join("src/words/__init__.py"), "").unwrap();
        fs::write(dir.path().join("pyproject.toml"), "").unwrap();
        let pipe = dir.path().join("setup.cfg");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        assert!(has_src(dir.path()));
    }

    #[test]
    fn what_src_would_break_is_left_as_it_is() {
        let package = ("src/words/__init__.py", "");
        check(&[("setup.py", ""), package, ("src/__init__.py", "")], "/t", &["words"]);
        check(&[("setup.py", "ext_modules=[]"), package], "/t", &["words"]);
        let shadow = ("src/logging/__init__.py", "");
        check(&[("setup.py", ""), package, shadow], "/t", &["logging", "words"]);
    }
}
