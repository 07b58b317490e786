//! What is installed on the machine, for the agent in the tier `sandbox`: packages that the judge finds without a
//! network, and toolchains that stand in an environment or below a manager's root; no login beside them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::Product;

/// Stands in every login that is planted.
const CANARY: &str = "kanari-5f0c1d";

/// A product whose agent runs `turn`, whose gate runs `gate`, and which is done once both were good.
fn product(turn: &str, gate: &str) -> Product {
    let product = Product::new();
    let script = product.base().join("agent.sh");
    let base = product.base().display().to_string();
    fs::write(&script, format!("base={base}\nset -e\n{turn}\necho two > words.txt\n")).unwrap();
    let gate = gate.replace("BASE", &base);
    product
        .config(&format!(
            "satisfaction: {{threshold: 1.0}}\nbudget: {{max_iterations: 1}}\nagent:\n  backend: command\n  \
             command: [bash, \"{}\"]\nisolation: {{}}\ngates: [{{name: it, run: '{gate}'}}]\n",
            script.display()
        ))
        .scenario("words", "grep -q two words.txt")
}

fn plant(product: &Product, file: &str, text: &str) {
    let path = product.base().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text.replace("CANARY", CANARY)).unwrap();
}

/// Makes a virtual environment, and returns where its packages are.
fn environment(product: &Product) -> String {
    let place = product.base().join("venv");
    done(product.clean("python3").args(["-m", "venv", "--without-pip"]).arg(&place));
    let version = fs::read_dir(place.join("lib")).unwrap().flatten().next().unwrap().file_name();
    format!("venv/lib/{}/site-packages", version.into_string().unwrap())
}

/// Returns the search path with that environment in front.
fn path_with(product: &Product, more: &str) -> String {
    let (base, path) = (product.base().display(), std::env::var("PATH").unwrap());
    format!("{base}/venv/bin:{more}{path}")
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns where the toolchains of rustup are, which a home of the test's own does not have.
fn rustup() -> String {
    let named = std::env::var("RUSTUP_HOME").ok();
    named.unwrap_or_else(|| format!("{}/.rustup", std::env::var("HOME").unwrap()))
}

/// Returns the agent's words on which of the files it could read a planted login in.
fn leaks(files: &str) -> String {
    format!("if grep -rl {CANARY} {files} > leaks.txt 2> /dev/null; then exit 3; fi\nrm leaks.txt")
}

#[test]
fn an_agent_builds_offline_with_the_crates_that_its_gates_have() {
    // By the strongest step, as a plain user would, and without namespaces.
    for without in ["", "root", "root,user-namespace,bubblewrap,sudo"] {
        builds_offline(without);
    }
}

fn builds_offline(without: &str) {
    let turn = format!(
        "cargo check --offline\n\
         crate=$(echo ~/.cargo/registry/cache/*/pair-1.0.0.crate)\n\
         if echo more >> $crate; then exit 4; fi 2> /dev/null\n\
         touch ${{crate%/*}}/own.crate\n{}",
        leaks("$base/home ~ $base/home/.cargo/credentials.toml $base/home/.cargo/config.toml")
    );
    let product = product(&turn, "cargo check --offline")
        .file("src/main.rs", "fn main() {\n    println!(\"{}\", pair::two());\n}\n")
        .file(".gitignore", "/target\n");
    let base = product.base().display().to_string();
    plant(&product, "pair-1.0.0/Cargo.toml", "[package]\nname = \"pair\"\nversion = \"1.0.0\"\n");
    plant(&product, "pair-1.0.0/src/lib.rs", "pub fn two() -> u8 { 2 }\n");
    plant(&product, "index/config.json", &format!("{{\"dl\": \"file://{base}/{{crate}}.crate\"}}"));
    done(product.clean("tar").current_dir(&base).args(["czf", "pair.crate", "pair-1.0.0"]));
    let sum = product.clean("sha256sum").arg(format!("{base}/pair.crate")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let entry = format!(
        "{{\"name\":\"pair\",\"vers\":\"1.0.0\",\"deps\":[],\"features\":{{}},\"yanked\":false,\"cksum\":\"{}\"}}\n",
        &sum[..64]
    );
    plant(&product, "index/pa/ir/pair", &entry);
    for args in [&["init", "-q", "."][..], &["add", "--all"], &["commit", "-q", "-m", "Begin"]] {
        let mut git = product.clean("git");
        git.current_dir(format!("{base}/index"));
        done(git.args(["-c", "user.name=a", "-c", "user.email=a@localhost"]).args(args));
    }
    plant(&product, "home/.cargo/credentials.toml", "[registries.own]\ntoken = \"CANARY\"\n");
    plant(&product, "home/.cargo/config.toml", "[registries.own]\ntoken = \"CANARY\"\n");
    plant(&product, "home/.npmrc", "_authToken=CANARY\n");
    product.write(
        ".cargo/config.toml",
        format!("[registries.own]\nindex = \"file://{base}/index\"\n"),
    );
    product.write(
        "Cargo.toml",
        "[package]\nname = \"words\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\
         [dependencies]\npair = { version = \"1\", registry = \"own\" }\n",
    );
    done(product.clean("cargo").env("RUSTUP_HOME", rustup()).arg("fetch"));
    let product = product.committed();
    let env = [("RUSTUP_HOME", rustup()), ("DARK_FACTORY_WITHOUT", without.to_owned())];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    product.iterate_with(&[], &env).code(0).says("converged");
    assert!(!Path::new(&base).join("home/.cargo/registry/cache/own.crate").exists());
}

#[test]
fn an_environment_on_the_path_and_a_managers_root_are_seen_whole_without_logins() {
    let python = "python3 -c \"import word; assert word.two == 2\" && tool";
    let logins = "$base/venv/pip.conf $base/manager/.netrc $base/manager/installs/tool/1/etc/npmrc";
    let product = product(&format!("{python}\n{}", leaks(logins)), python);
    let base = product.base().display().to_string();
    let packages = environment(&product);
    plant(&product, &format!("{packages}/word.py"), "two = 2\n");
    plant(&product, "venv/pip.conf", "[global]\nindex-url = https://me:CANARY@pypi.example/\n");
    plant(&product, "manager/.netrc", "password CANARY\n");
    plant(&product, "manager/installs/tool/1/etc/npmrc", "_authToken=CANARY\n");
    plant(&product, "manager/installs/tool/1/data", "two\n");
    for (file, text) in [
        ("shims/tool", "exec \"${0%/*}/../installs/tool/1/bin/tool\"\n"),
        ("installs/tool/1/bin/tool", "grep -q two \"${0%/*}/../data\"\n"),
    ] {
        let file = format!("manager/{file}");
        plant(&product, &file, &format!("#!/bin/bash\n{text}"));
        let path = product.base().join(file);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let product = product.committed();
    let path = path_with(&product, &format!("{base}/manager/shims:"));
    product.iterate_with(&[], &[("PATH", &path)]).code(0).says("converged");
}

#[test]
fn the_packages_of_a_products_src_go_before_those_that_are_installed() {
    let tested = |value: u8| format!("python3 -B -c \"import words; assert words.two == {value}\"");
    let turn = format!("{}\necho two = 2 > src/words/__init__.py", tested(1));
    let product = product(&turn, &tested(2))
        .file("pyproject.toml", "[project]\nname = \"words\"\nversion = \"1\"\n")
        .file("src/words/__init__.py", "two = 1\n");
    let packages = environment(&product);
    plant(&product, &format!("{packages}/words/__init__.py"), "two = 2\n");
    let product = product.committed();
    let path = path_with(&product, "");
    let found = "the package `words` is installed on this machine";
    product.iterate_with(&["--no-agent"], &[("PATH", &path)]).code(1).says(found);
    product.iterate_with(&[], &[("PATH", &path)]).code(0).says("converged");
    let mut doctor = product.clean(env!("CARGO_BIN_EXE_factory"));
    doctor.arg("doctor").env("PATH", &path);
    product.start(doctor).wait().code(0).says("warn  python").says(found);
}
