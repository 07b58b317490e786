//! Finds logins among the files of toolchains and stores, which are shown without them.
//!
//! Files are known by their names, and, where the name is one of settings of any kind, by what stands in
//! them. What a person put elsewhere under another name is not found.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Files that hold a login whatever stands in them.
const LOGINS: [&str; 9] = [
    ".git-credentials",
    ".netrc",
    ".pypirc",
    "_netrc",
    "auth.json",
    "credentials",
    "credentials.json",
    "credentials.toml",
    "hosts.yml",
];

/// Files that may hold one.
const SETTINGS: [&str; 14] = [
    ".condarc",
    ".env",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    "FETCH_HEAD",
    "config",
    "config.toml",
    "env",
    "gradle.properties",
    "npmrc",
    "pip.conf",
    "settings.xml",
    "uv.toml",
];

/// Directories of packages, which hold what was published.
const PACKAGES: [&str; 2] = ["node_modules", "site-packages"];

/// How far below a root its own settings stand: `versions/node/v20/etc/npmrc`.
const DEPTH: usize = 5;

/// The most of a file of settings that is looked at, in bytes.
const LOOKED_AT: u64 = 1_000_000;

/// Returns the files with logins among the settings below `root`; none where that is a place of packages.
pub(super) fn logins_below(root: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let is_package = root.iter().any(|name| PACKAGES.iter().any(|package| name == *package));
    let mut left = if is_package { Vec::new() } else { vec![(root.to_owned(), DEPTH)] };
    while let Some((dir, depth)) = left.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_str().unwrap_or_default();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                // What a repository has fetched is no settings.
                let depth = if name == ".git" { depth.min(2) } else { depth };
                if depth > 1 && !PACKAGES.contains(&name) {
                    left.push((path, depth - 1));
                }
            } else if LOGINS.contains(&name) || (SETTINGS.contains(&name) && holds_login(&path)) {
                out.push(path);
            }
        }
    }
    out
}

/// Returns whether a file has a login in it: in an address, or, where its name is one of settings, by the name of
/// one. What can't be read is taken to, and what is no file, which would be waited for.
pub fn holds_login(file: &Path) -> bool {
    if !fs::metadata(file).is_ok_and(|found| found.is_file()) {
        return true;
    }
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LOOKED_AT).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let is_settings = file.file_name().is_some_and(|name| SETTINGS.iter().any(|one| name == *one));
    read.is_err() || has_login_in_address(&text) || (is_settings && names_login(&text))
}

/// Returns whether settings with this text name a token or a password.
fn names_login(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["token", "passw", "secret", "_auth", "credential", "api-key", "api_key", "apikey"]
        .iter()
        .any(|word| text.contains(word))
        // cargo's `proxy = "me:pw@host:8080"`.
        || text.lines().any(|line| line.contains("proxy") && line.contains('@'))
}

/// Returns whether an address in the text has a name or password before its host.
fn has_login_in_address(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let end = rest.find(|c: char| c.is_whitespace() || "/\"'<>".contains(c));
        rest[..end.unwrap_or(rest.len())].contains('@')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_tell_a_login_by_its_name_or_in_an_address() {
        for text in [
            "[registries.own]\ntoken = \"x\"",
            "//registry.example/:_authToken=x",
            "index-url = https://me:pw@pypi.example/simple",
            "[http]\nproxy = \"me:pw@host:8080\"",
            "<server><password>x</password></server>",
            "x\tbranch 'main' of https://x-access@git.example/a",
        ] {
            assert!(names_login(text) || has_login_in_address(text), "{text}");
        }
        for text in [
            "",
            "[source.crates-io]\nreplace-with = \"mirror\"",
            "[source.mirror]\nregistry = \"sparse+https://crates.example/\" # ask a@b.example",
            "prefix=/opt/node",
        ] {
            assert!(!names_login(text) && !has_login_in_address(text), "{text}");
        }
    }

    #[test]
    fn logins_are_found_among_a_managers_settings_and_not_in_packages() {
        let root = tempfile::tempdir().unwrap();
        let package = "versions/node/v20/lib/node_modules/x";
        for (file, text) in [
            ("versions/node/v20/etc/npmrc", "_auth=x"),
            ("versions/3.11/pip.conf", "[global]\ntimeout = 1"),
            ("versions/3.12/pip.conf", "index-url = https://a:b@c/"),
            (".netrc", ""),
            (&format!("{package}/.npmrc"), "_auth=x"),
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut found = logins_below(root.path());
        found.sort();
        let expected = [".netrc", "versions/3.12/pip.conf", "versions/node/v20/etc/npmrc"];
        assert_eq!(found, expected.map(|file| root.path().join(file)));
    }
}
