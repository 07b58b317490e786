//! Where the packages of a product in Python lie in its tree. Looks at names and at how it is built; imports and
//! runs nothing.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Environment, Variables};
use crate::id::Digest;

/// The directory of the state that holds them.
const DIR: &str = "python";

/// What Python runs first where something is judged.
const START: &str = include_str!("sitecustomize.py");

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
    let roots = roots(lies, seen);
    roots.iter().map(|root| root.as_os_str()).collect::<Vec<_>>().join(OsStr::new(":"))
}

fn roots(lies: &Path, seen: &Path) -> Vec<PathBuf> {
    let src = has_src(lies).then(|| seen.join("src"));
    src.into_iter().chain([seen.to_owned()]).collect()
}

/// Returns the value of `PYTHONPATH` for what is judged in such a tree: a directory below `state` that holds nothing of
/// the tree's, but a file by which Python finds its modules there, behind its own. Those called `own` come before what
/// is installed; see `sitecustomize.py`.
///
/// # Errors
/// It can't be written.
pub fn python_start(
    state: &Path,
    lies: &Path,
    seen: &Path,
    own: &BTreeSet<String>,
) -> io::Result<PathBuf> {
    let roots: Vec<String> =
        roots(lies, seen).iter().map(|root| root.to_string_lossy().into_owned()).collect();
    // A list of texts means the same in JSON and in Python.
    let (roots, own) = (serde_json::to_string(&roots)?, serde_json::to_string(own)?);
    let text = format!("{START}start({roots}, {own})\n");
    let dir = state.join(DIR).join(&Digest::of(text.as_bytes()).as_str()[..16]);
    let file = dir.join("sitecustomize.py");
    if fs::read(&file).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(dir);
    }
    fs::create_dir_all(&dir)?;
    // What is judged may be another user's.
    for dir in [state.join(DIR), dir.clone()] {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
    }
    let mut new = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(state.join(DIR))?;
    new.write_all(text.as_bytes())?;
    new.persist(&file)?;
    Ok(dir)
}

/// Returns the value of `PYTHONPATH` for what is judged where it lies, at `root`; as for an agent where nothing can be
/// written.
pub fn python_in_place(env: &Environment, root: &Path) -> OsString {
    let start = env
        .state_dir()
        .ok()
        .and_then(|state| python_start(&state, root, root, &python_names_in(root)).ok());
    start.map_or_else(|| python_path(root, root), OsString::from)
}

/// Returns where the directories of [`python_start`] lie below `state`, where an environment has one of them on
/// `PYTHONPATH`; none where a person's is there.
pub fn python_start_of(env: &Variables, state: &Path) -> Option<PathBuf> {
    let all = state.join(DIR);
    Path::new(env.get(OsStr::new("PYTHONPATH"))?).starts_with(&all).then_some(all)
}

/// Returns the names by which Python imports what `files` are, paths of a product: its packages and modules in the root
/// and, where its packages are there, in `src`.
pub fn python_names<'a>(files: impl IntoIterator<Item = &'a Path>) -> BTreeSet<String> {
    let name = |path: &Path| {
        let parts: Vec<&str> = path.iter().filter_map(OsStr::to_str).collect();
        match parts.as_slice() {
            [module] => module.strip_suffix(".py").map(str::to_owned),
            [package, "__init__.py"] => Some((*package).to_owned()),
            _ => None,
        }
    };
    let (mut names, mut in_src, mut is_project) = (BTreeSet::new(), BTreeSet::new(), false);
    for path in files {
        is_project |= path.to_str().is_some_and(|path| PROJECT.contains(&path));
        match path.strip_prefix("src") {
            Ok(below) => in_src.extend(name(below)),
            Err(_) => names.extend(name(path)),
        }
    }
    let imported_by_src = |name: &String| name == "__init__" || STANDARD.contains(&name.as_str());
    if is_project && !in_src.iter().any(imported_by_src) {
        names.append(&mut in_src);
    }
    names
}

/// Returns those of the product that lies at `root`.
fn python_names_in(root: &Path) -> BTreeSet<String> {
    let below = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let mut files: Vec<PathBuf> =
        [root.to_owned(), root.join("src")].iter().flat_map(|dir| below(dir)).collect();
    let packages: Vec<PathBuf> =
        files.iter().map(|path| path.join("__init__.py")).filter(|path| path.is_file()).collect();
    files.extend(packages);
    python_names(files.iter().filter_map(|file| file.strip_prefix(root).ok()))
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
    fn names_are_those_of_packages_and_modules_at_the_top() {
        let files = [
            "setup.cfg",
            "app.py",
            "words/__init__.py",
            "words/deep.py",
            "src/other/__init__.py",
            "src/one.py",
            "x/y/__init__.py",
            "a.txt",
        ];
        let names: Vec<String> = python_names(files.iter().map(Path::new)).into_iter().collect();
        assert_eq!(names, ["app", "one", "other", "words"]);
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let place = dir.path().join(file);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, "").unwrap();
        }
        assert_eq!(python_names_in(dir.path()).into_iter().collect::<Vec<_>>(), names);
    }

    /// A tree of a product called `words`, with what would like to be taken for something else.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let forged = "raise SystemExit('forged')\n";
        for (file, text) in [
            ("words.py", "what = 'the tree'\n"),
            ("sub/helper.py", "what = 'beside the script'\n"),
            ("sub/script.py", "import helper, words; print(helper.what, words.what)\n"),
            ("plain.py", "what = 'new'\n"),
            ("top.py", "import colorsys; print(colorsys.__file__)\n"),
            ("sitecustomize.py", forged),
            ("usercustomize.py", forged),
            ("json/__init__.py", forged),
            ("encodings/__init__.py", forged),
            ("colorsys.py", ""),
            ("installed.py", forged),
        ] {
            let place = dir.path().join("tree").join(file);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
        }
        for (file, text) in [("installed.py", "what = 'installed'\n"), ("words.py", forged)] {
            fs::create_dir_all(dir.path().join("site-packages")).unwrap();
            fs::write(dir.path().join("site-packages").join(file), text).unwrap();
        }
        dir
    }

    /// Returns what Python says when it is started in the tree.
    fn python(dir: &Path, args: &[&str]) -> String {
        python_with(dir, args, &[])
    }

    fn python_with(dir: &Path, args: &[&str], env: &[(&str, &String)]) -> String {
        use crate::process::{Call, Cancel, run};
        let (tree, state) = (dir.join("tree"), dir.join("state"));
        let own = BTreeSet::from(["test".to_owned(), "words".to_owned()]);
        let start = python_start(&state, &tree, &tree, &own).unwrap();
        let path = Environment::read().unwrap().get("PATH").unwrap().to_owned();
        let call = Call::new("python3", &tree).args(args);
        let call = call.envs([("PATH", path), ("PYTHONPATH", start.into_os_string())]);
        let call = call.envs(env.iter().copied());
        let mut said = String::new();
        run(&call, &Cancel::never(), &mut |_, bytes| said += &String::from_utf8_lossy(bytes));
        said
    }

    #[test]
    fn no_file_of_the_tree_is_taken_for_pythons_own_or_for_something_installed() {
        let dir = tree();
        let site = dir.path().join("site-packages").display().to_string();
        let ask = format!(
            "import sys, json, encodings\nsys.path.insert(1, {site:?})\nimport installed, words, plain\n\
             print(installed.what, words.what, plain.what, 'sitecustomize' in sys.modules and sys.modules['sitecustomize'].__file__.endswith('tree/sitecustomize.py'))"
        );
        assert_eq!(python(dir.path(), &["-c", &ask]), "installed the tree new False\n");
        let help = python(dir.path(), &["-m", "json.tool", "--help"]);
        assert!(help.contains("usage"), "{help}");
        // Wherever it is started: what lies there may be the product's doing.
        let sub = |file: &str, text: &str| fs::write(dir.path().join("tree/sub").join(file), text);
        sub("json.py", "raise SystemExit('forged')\n").unwrap();
        let beside = "import os, sys, subprocess; os.chdir('sub'); sys.exit(subprocess.call([sys.executable, '-c', 'import json; print(json.loads(\"1\"))']))";
        assert_eq!(python(dir.path(), &["-c", beside]), "1\n");
        fs::remove_file(dir.path().join("tree/sub/json.py")).unwrap();
        // What is its own since before is the product's, also where Python has one, but for a script's own.
        fs::create_dir(dir.path().join("tree/test")).unwrap();
        fs::write(dir.path().join("tree/test/__init__.py"), "what = 'own'\n").unwrap();
        assert_eq!(python(dir.path(), &["-c", "import test; print(test.what)"]), "own\n");
        sub("words.py", "what = 'beside'\n").unwrap();
        assert_eq!(python(dir.path(), &["sub/script.py"]), "beside the script beside\n");
        fs::remove_file(dir.path().join("tree/sub/words.py")).unwrap();
        // What is called as something of its own beside whoever is started is found there first, as ever.
        let beside = dir.path().join("tree/sub");
        for args in [["-m", "words"], ["-c", "import words"]] {
            fs::write(beside.join("words.py"), "print('beside it')\n").unwrap();
            let text = format!(
                "import os, sys, subprocess; os.chdir('sub'); sys.exit(subprocess.call([sys.executable] + {args:?}))"
            );
            assert_eq!(python(dir.path(), &["-c", &text]), "beside it\n", "{args:?}");
        }
        fs::remove_file(beside.join("words.py")).unwrap();
        // A runner of tests puts their directory first.
        let runner = "import sys; sys.path.insert(0, 'sub'); import helper; print(helper.what)";
        assert_eq!(python(dir.path(), &["-c", runner]), "beside the script\n");
        // A package of no file is what the tree and what is installed have of it.
        for (place, part) in [("tree", "ours"), ("site-packages", "theirs")] {
            let package = dir.path().join(place).join("corp").join(part);
            fs::create_dir_all(&package).unwrap();
            fs::write(package.join("__init__.py"), "").unwrap();
        }
        let both = format!(
            "import sys; sys.path.append({site:?}); import corp.ours, corp.theirs; print('both')"
        );
        assert_eq!(python(dir.path(), &["-c", &both]), "both\n");
        // A script finds what lies beside it, and the tree; one of the tree's root is its own.
        assert_eq!(python(dir.path(), &["sub/script.py"]), "beside the script the tree\n");
        let top = python(dir.path(), &["top.py"]);
        assert!(top.ends_with("tree/colorsys.py\n"), "{top}");
    }

    #[test]
    fn a_tree_that_an_environment_names_itself_runs_nothing_first_either() {
        let dir = tree();
        let base = dir.path().join("user").display().to_string();
        let ask = "import site; print(site.getusersitepackages())";
        let user = |args: &[&str]| python_with(dir.path(), args, &[("PYTHONUSERBASE", &base)]);
        let site = PathBuf::from(user(&["-c", ask]).trim());
        fs::create_dir_all(&site).unwrap();
        let tree = dir.path().join("tree").display().to_string();
        fs::write(site.join("editable.pth"), format!("{tree}\n")).unwrap();
        let found = format!("import sys, json; print({tree:?} in sys.path, json.loads('1'))");
        assert_eq!(user(&["-c", &found]), "True 1\n");
    }

    #[test]
    fn what_python_runs_first_is_written_once_and_again_where_it_was_changed() {
        let dir = tree();
        let start = || python_start(dir.path(), dir.path(), dir.path(), &BTreeSet::new()).unwrap();
        let file = start().join("sitecustomize.py");
        let text = fs::read(&file).unwrap();
        fs::write(&file, "import os; os._exit(0)").unwrap();
        assert_eq!(start().join("sitecustomize.py"), file);
        assert_eq!(fs::read(&file).unwrap(), text);
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
