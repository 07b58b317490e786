//! `factory doctor`, and logins of agents that nobody can keep.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::{Product, Ran};

fn tally() -> Product {
    Product::tally()
}

/// Puts a program called `name` on a PATH of the product's own, and returns that.
fn program(product: &Product, name: &str, says: &str) -> String {
    let dir = product.base().join("bin");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(name), format!("#!/bin/sh\n{says}\n")).unwrap();
    fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", dir.display(), std::env::var("PATH").unwrap())
}

fn doctor(product: &Product, args: &[&str], env: &[(&str, &str)]) -> Ran {
    let mut command = product.clean(env!("CARGO_BIN_EXE_factory"));
    command.arg("doctor").args(args).envs(env.iter().copied());
    product.start(command).wait()
}

/// Returns the line that begins with a mark and this name, with what is to be done.
#[track_caller]
fn finding<'a>(ran: &'a Ran, name: &str) -> &'a str {
    let words = |line: &str| line.split_whitespace().nth(1) == Some(name);
    let line = ran.stdout.lines().position(words).unwrap_or_else(|| panic!("{}", ran.stdout));
    let at = ran.stdout.lines().take(line).map(|line| line.len() + 1).sum::<usize>();
    let rest = &ran.stdout[at..];
    let end = rest.match_indices('\n').map(|(at, _)| at + 1);
    let end = end.into_iter().find(|at| !rest[*at..].starts_with("      ")).unwrap_or(rest.len());
    &rest[..end]
}

#[test]
fn a_product_with_its_agent_is_fit() {
    let product = tally();
    let ran = doctor(&product, &[], &[]).code(0).says("A run can begin");
    assert!(finding(&ran, "git").contains("branch main"), "{}", ran.stdout);
    assert!(finding(&ran, "scenarios").contains("10 scenarios"), "{}", ran.stdout);
    assert!(finding(&ran, "agent").contains("replay"), "{}", ran.stdout);
    assert!(finding(&ran, "disk").contains("free at"), "{}", ran.stdout);
    assert!(!product.path("artifacts").exists(), "looking leaves nothing behind");
}

#[test]
fn machines_get_the_same_with_a_version() {
    let product = tally();
    let ran = doctor(&product, &["--json"], &[]).code(0);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&json["schema"], &json["fit"]), (&1.into(), &true.into()));
    assert_eq!(json["checks"][0]["name"], "git");
}

#[test]
fn a_directory_that_is_none_and_a_repository_without_a_commit_say_what_to_do() {
    let product = Product::bare();
    let ran = doctor(&product, &["--workdir", "."], &[]).code(3);
    assert!(finding(&ran, "git").contains("git init"), "{}", ran.stdout);
    assert!(finding(&ran, "agent").contains("`agent.backend`"), "{}", ran.stdout);
    let ran = doctor(&Product::new(), &[], &[]).code(3);
    assert!(finding(&ran, "git").contains("no commit yet"), "{}", ran.stdout);
}

#[test]
fn settings_that_make_no_sense_end_with_2() {
    let product = tally().file("dark-factory.yaml", "agnet: {}\n").committed();
    let ran = doctor(&product, &[], &[]).code(2);
    assert!(finding(&ran, "settings").contains("factory lint"), "{}", ran.stdout);
}

#[test]
fn isolation_that_is_required_and_can_not_be_had_ends_with_6() {
    let yaml = "agent: {backend: replay, recording: ../recording}\nisolation: {require: sandbox}\n";
    let product = tally().file("dark-factory.yaml", yaml).committed();
    let without = "root,user-namespace,bubblewrap,sudo,landlock";
    let ran = doctor(&product, &[], &[("DARK_FACTORY_WITHOUT", without)]).code(6);
    assert!(finding(&ran, "isolation").contains("is required"), "{}", ran.stdout);
}

#[test]
fn an_agent_that_is_missing_or_of_another_version_is_told() {
    let product = tally().config("agent: {backend: codex}\n").committed();
    let nothing = product.base().join("bin");
    fs::create_dir_all(&nothing).unwrap();
    let path = format!("{}:/usr/bin:/bin", nothing.display());
    let ran = doctor(&product, &[], &[("PATH", &path)]).code(3);
    assert!(finding(&ran, "agent").contains("npm install -g @openai/codex"), "{}", ran.stdout);
    let path = program(&product, "codex", "echo codex-cli 0.1.2");
    let env = [("PATH", path.as_str()), ("OPENAI_API_KEY", "sk-a-secret-of-a-person")];
    let ran = doctor(&product, &[], &env).code(0);
    let agent = finding(&ran, "agent");
    assert!(agent.starts_with("warn") && agent.contains("0.1.2; tried with 0.169.0"), "{agent}");
    assert!(finding(&ran, "login").contains("OPENAI_API_KEY set"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("sk-a-secret"), "{}", ran.stdout);
    // The loop says it too, and goes on.
    let ran = product.iterate_with(&["--max-iterations", "0"], &env);
    let ran = ran.says("`codex` is version 0.1.2; the factory was tried with 0.169.0");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
}

#[test]
fn the_model_and_where_it_is_asked_for_are_shown_and_an_odd_path_is_told() {
    let check = |settings: &str, env: &[(&str, &str)], expected: &[&str]| {
        let product = tally().config(&format!("agent: {{{settings}}}\n")).committed();
        let ran = doctor(&product, &[], env);
        let model = finding(&ran, "model");
        assert!(expected.iter().all(|words| model.contains(words)), "{model}");
    };
    let claude = "backend: claude, model: m-1, base_url: 'http://a:8080";
    check(&format!("{claude}'"), &[], &["ok", "`m-1` at `http://a:8080`"]);
    check(&format!("{claude}/x/v1'"), &[], &["warn", "leave the version out"]);
    check("backend: codex, base_url: 'http://a:8080'", &[], &["warn", "`/v1`"]);
    check("backend: codex, base_url: 'http://a/v1/'", &[], &["ok", "at `http://a/v1/`"]);
    check("backend: codex, base_url: nowhere", &[], &["FAIL", "`nowhere`"]);
    let env = [("ANTHROPIC_BASE_URL", "http://a/v2")];
    check("backend: claude, env: [ANTHROPIC_BASE_URL]", &env, &["ok", "`http://a/v2`"]);
}

#[test]
fn a_login_that_is_missing_says_how_to_get_one() {
    let product = tally().config("agent: {backend: codex, home: [.codex/auth.json]}\n").committed();
    let path = program(&product, "codex", "echo codex-cli 0.169.0");
    let ran = doctor(&product, &[], &[("PATH", &path)]).code(3);
    assert!(finding(&ran, "login").contains("~/.codex/auth.json"), "{}", ran.stdout);
    let product = product.config("agent: {backend: codex}\n").committed();
    let ran = doctor(&product, &[], &[("PATH", &path)]).code(3);
    let login = finding(&ran, "login");
    assert!(login.contains("-> factory login codex, or set one of CODEX_API_KEY"), "{login}");
}

#[test]
fn what_keeps_a_run_from_beginning_is_told_at_once() {
    let product = Product::bare();
    let ran = product.iterate(&[]).code(2).says("is not in a git repository");
    for name in ["git", "scenarios", "agent"] {
        assert!(ran.stderr.contains(&format!("\nFAIL  {name:<9}  ")), "{}", ran.stderr);
    }
    assert_eq!(ran.stderr.matches("FAIL").count(), 3, "{}", ran.stderr);
    // Of a judgement without an agent no agent is asked for.
    let ran = product.iterate(&["--no-agent"]).code(2).says("FAIL  scenarios");
    assert!(!ran.stderr.contains("FAIL  agent"), "{}", ran.stderr);
    let product = Product::new().config("agent: {backend: replay}\n").committed();
    let ran = product.iterate(&["--agent", "codex"]).code(4).says("codex: no `codex` on PATH");
    assert!(!ran.stderr.contains("--scenarios-dir"), "{}", ran.stderr);
    // What stands in the way by itself is said alone.
    product.iterate(&["--resume"]).code(2);
    assert!(!product.iterate(&["--resume"]).stderr.contains("FAIL"));
}

#[test]
fn where_no_agent_is_chosen_the_one_that_is_there_is_named() {
    let product = Product::new().scenario("a", "true").committed();
    let path = program(&product, "claude", "2.1.197 (Claude Code)");
    let with = |key: &[(&str, &str)]| {
        let env = [&[("PATH", path.as_str())], key].concat();
        product.iterate_with(&[], &env).code(2)
    };
    with(&[]).says("no agent is chosen; `claude` is installed, and has no login: set");
    with(&[("ANTHROPIC_API_KEY", "key")])
        .says("`claude` is installed and logged in: set `agent.backend: claude`");
}

#[test]
fn fallback_agents_are_looked_at_as_well() {
    let yaml = "agent:\n  backend: replay\n  recording: ../recording\n  fallback:\n";
    let one = "  - {backend: command, command: [no-such-agent]}\n";
    let ran = doctor(&tally().config(&format!("{yaml}{one}")).committed(), &[], &[]).code(3);
    assert!(
        ran.stdout.contains("fallback 1") && ran.stdout.contains("`no-such-agent`"),
        "{}",
        ran.stdout
    );
    let nobody = "  - {backend: nobody}\n";
    let ran = doctor(&tally().config(&format!("{yaml}{nobody}")).committed(), &[], &[]).code(2);
    assert!(finding(&ran, "settings").contains("yaml:5:15: there is no agent backend `nobody`"));
}

#[test]
fn an_agents_own_command_logs_in_with_a_home_of_the_factorys() {
    let product = tally();
    let says = "case \"$*\" in \
                'login --device-auth') echo \"{\\\"home\\\": \\\"$HOME\\\"}\" >\"$CODEX_HOME/auth.json\" ;; \
                'login --bad') exit 7 ;; \
                logout) echo gone >\"$HOME/../told\" ;; esac";
    let path = program(&product, "codex", says);
    let login = |args: &[&str]| {
        let mut command = product.clean(env!("CARGO_BIN_EXE_factory"));
        command.arg("login").args(args).env("PATH", &path).env("CODEX_HOME", "/nowhere");
        product.start(command).wait()
    };
    login(&["codex", "--status"]).code(3);
    login(&["codex"]).code(0).says("codex is logged in");
    let home = product.state().join("dark-factory/logins/codex");
    let auth = home.join(".codex/auth.json");
    assert!(fs::read_to_string(&auth).unwrap().contains(home.to_str().unwrap()));
    assert_eq!(fs::metadata(&auth).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    login(&["codex", "--", "--bad"]).code(3).says("ended with 7; the earlier login stays");
    login(&["codex", "--status"]).code(0).says("logged in: ");
    login(&["codex", "--logout"]).code(0).says("logged out");
    assert!(!auth.exists() && home.join("../told").exists());
    login(&["replay"]).code(2).says("those that have one are codex, claude");
    login(&["codxe"]).code(2).says("did you mean `codex`");
}

#[cfg(not(feature = "model-server"))]
#[test]
fn a_program_without_a_model_server_says_how_to_get_one() {
    doctor(&tally(), &["--deep"], &[]).code(2).says("--features model-server");
}

#[cfg(feature = "model-server")]
mod deep {
    use std::path::Path;

    use super::*;

    #[test]
    fn an_agent_that_does_nothing_is_found_out() {
        let product = tally().config("agent: {backend: codex}\n").committed();
        let path = program(&product, "codex", "echo codex-cli 0.169.0");
        let env = [("PATH", path.as_str()), ("OPENAI_API_KEY", "sk-a-secret-of-a-person")];
        let ran = doctor(&product, &["--deep"], &env).code(3);
        let deep = finding(&ran, "deep");
        assert!(deep.starts_with("FAIL") && deep.contains("codex ended without"), "{deep}");
        let left = fs::read_dir(product.state().join("dark-factory")).unwrap();
        let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left: Vec<String> = names.filter(|name| name.contains("doctor")).collect();
        assert_eq!(left, Vec::<String>::new());
    }

    /// The real ones, where `make agents` has installed them.
    #[test]
    fn a_real_agents_command_runs_confined() {
        let agents = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/agents");
        let Ok(agents) = agents.canonicalize() else { return };
        let bin = agents.join("node_modules/.bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        for backend in ["codex", "claude"] {
            let read = agents.display();
            let yaml = format!(
                "agent: {{backend: {backend}}}\nisolation: {{require: sandbox, read: [{read}]}}\n"
            );
            let product = tally().file("dark-factory.yaml", yaml).committed();
            let env = [
                ("PATH", path.as_str()),
                ("OPENAI_API_KEY", "sk-a-secret-of-a-person"),
                ("ANTHROPIC_API_KEY", "sk-a-secret-of-a-person"),
            ];
            let ran = doctor(&product, &["--deep"], &env).code(0);
            assert!(finding(&ran, "deep").contains("its command ran confined"), "{}", ran.stdout);
        }
    }
}
