//! The scenarios by which this repository judges itself can fail: with binaries that do nothing,
//! whatever they end with, not one of them is satisfied; with the real ones all are.
//!
//! Where a loop works on this repository the scenarios are not in its trees, and nothing is shown
//! here; it is `make factory-local` that insists on them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const BINARIES: [(&str, &str); 5] = [
    ("factory", env!("CARGO_BIN_EXE_factory")),
    ("iterate", env!("CARGO_BIN_EXE_iterate")),
    ("run-scenarios", env!("CARGO_BIN_EXE_run-scenarios")),
    ("compile-feedback", env!("CARGO_BIN_EXE_compile-feedback")),
    ("shuffle-scenarios", env!("CARGO_BIN_EXE_shuffle-scenarios")),
];

/// Judges a copy of this repository's scenarios in which `install` puts each binary in its place,
/// and returns the results with the exit code; none where the scenarios are kept from this tree.
fn judge(install: impl Fn(&str, &Path)) -> Option<(Value, Option<i32>)> {
    let copy = TempDir::new().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_scenario = |path: &Path| path.extension().is_some_and(|ending| ending == "md");
    let mut files = fs::read_dir(here.join("scenarios")).into_iter().flatten();
    if !files.any(|file| is_scenario(&file.unwrap().path())) {
        return None;
    }
    for dir in ["scenarios", "target/release", "tmp"] {
        fs::create_dir_all(copy.path().join(dir)).unwrap();
    }
    fs::copy(here.join("dark-factory.yaml"), copy.path().join("dark-factory.yaml")).unwrap();
    for file in fs::read_dir(here.join("scenarios")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join("scenarios").join(file.file_name())).unwrap();
    }
    for (name, real) in BINARIES {
        install(real, &copy.path().join("target/release").join(name));
    }
    let status = Command::new(env!("CARGO_BIN_EXE_run-scenarios"))
        .args(["--jobs", "auto", "--quiet", "--workdir"])
        .arg(copy.path())
        .env("TMPDIR", copy.path().join("tmp"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let results = fs::read(copy.path().join("artifacts/factory/scenario_results.json")).unwrap();
    let left: Vec<_> = fs::read_dir(copy.path().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "scenarios have left files behind: {left:?}");
    Some((serde_json::from_slice(&results).unwrap(), status.code()))
}

/// Installs scripts that do nothing but what `command` does.
fn stub(command: &str) -> impl Fn(&str, &Path) {
    move |_, path| {
        fs::write(path, format!("#!/bin/sh\nexec {command}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Returns the ids whose `passed` is `passed`, each with its summary.
fn ids(results: &Value, passed: bool) -> Vec<String> {
    let all = results["results"].as_array().unwrap();
    all.iter()
        .filter(|one| one["passed"] == passed)
        .map(|one| format!("{}: {}", one["id"], one["error_summary"]))
        .collect()
}

fn check_none_is_satisfied(command: &str) {
    let Some((results, code)) = judge(stub(command)) else { return };
    let satisfied = ids(&results, true);
    assert!(satisfied.is_empty(), "satisfied by `{command}`:\n{}", satisfied.join("\n"));
    assert_eq!((&results["failed"], code), (&results["total"], Some(1)));
}

#[test]
fn no_scenario_is_satisfied_by_binaries_that_succeed() {
    check_none_is_satisfied("true");
}

#[test]
fn no_scenario_is_satisfied_by_binaries_that_fail() {
    check_none_is_satisfied("false");
}

#[test]
fn every_scenario_is_satisfied_by_the_real_binaries() {
    let install = |real: &str, path: &Path| symlink(real, path).unwrap();
    let Some((results, code)) = judge(install) else { return };
    let missed = ids(&results, false);
    assert!(missed.is_empty(), "not satisfied:\n{}", missed.join("\n"));
    assert_eq!(code, Some(0));
    assert!(results["total"].as_u64() >= Some(24), "there are {} scenarios", results["total"]);
}
