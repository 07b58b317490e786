//! What every backend keeps to, and the sample turn that their tests share.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;

/// A turn in `/s`, of settings that suit every backend.
pub(super) struct Sample {
    settings: AgentSettings,
    root: PathBuf,
    paths: TurnPaths,
    pub(super) model: Option<&'static str>,
    base_url: Option<&'static str>,
    confined: bool,
}

impl Default for Sample {
    fn default() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let at = |path: &str| Path::new("/s").join(path);
        Self {
            settings: AgentSettings {
                command: ["true", "{prompt_file}", "{model}"].map(str::to_owned).into(),
                args: vec!["--extra".into(), "a={b=\"c\"}".into()],
                recording: "tests/fixtures".into(),
                ..AgentSettings::default()
            },
            root,
            paths: TurnPaths {
                workspace: at("ws"),
                home: at("home"),
                tmp: at("tmp"),
                record: at("record"),
                prompt_file: at("prompt.md"),
                feedback_file: at("ws/feedback.md"),
            },
            model: Some("m-1"),
            base_url: None,
            confined: false,
        }
    }
}

impl Sample {
    pub(super) fn turn(&self) -> Turn<'_> {
        Turn {
            settings: &self.settings,
            root: &self.root,
            factory: Path::new("/bin/factory"),
            paths: &self.paths,
            number: 2,
            attempt: 1,
            money: None,
            is_metered: false,
            model: self.model,
            base_url: self.base_url,
            confined: self.confined,
        }
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables: BTreeMap<OsString, OsString> =
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Environment::from_parts(variables, "/".into())
}

fn every(check: impl Fn(&dyn Backend, Launch)) {
    let sample = Sample::default();
    for backend in BACKENDS {
        check(backend, backend.launch(&sample.turn()).unwrap());
    }
}

/// A directory with a program for each backend that needs one.
fn programs() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["codex", "claude", "opencode", "gemini", "qwen", "true"] {
        let path = dir.path().join(name);
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    dir
}

#[test]
fn each_is_found_by_its_name_and_reads_its_own_stream() {
    every(|one, launch| {
        let settings =
            AgentSettings { backend: Some(one.name().into()), ..AgentSettings::default() };
        assert_eq!(backend(&settings).unwrap().name(), one.name());
        assert_eq!(launch.backend, one.name());
    });
}

#[test]
fn each_gets_prompt_model_and_extra_arguments() {
    every(|one, launch| {
        if one.name() == "replay" {
            return;
        }
        let has = |text: &str| launch.args.iter().any(|argument| argument == text);
        let prompt = Path::new("/s/prompt.md");
        assert!(launch.stdin == LaunchStdin::File(prompt.into()) || has("/s/prompt.md"));
        assert!(has("m-1") && has("a={b=\"c\"}"), "{}: {:?}", one.name(), launch.args);
    });
}

#[test]
fn each_keeps_what_it_sets_up_inside_the_private_home() {
    every(|one, launch| {
        for value in launch.env_extra.values().filter_map(|value| value.to_str()) {
            assert!(!value.starts_with('/') || value.starts_with("/s/home/"), "{}", one.name());
        }
        assert!(launch.home_dirs.iter().all(|dir| dir.is_relative()));
    });
}

#[test]
fn each_is_pointed_at_another_address_and_unbound_where_the_factory_confines_it() {
    const URL: &str = "http://[::ffff:127.0.0.1]:8080/v1";
    let asks = ["acceptEdits", "auto_edit", "auto-edit", "workspace-write", "deny"];
    for backend in BACKENDS.into_iter().filter(|one| one.tool().is_some()) {
        let sample = Sample { base_url: Some(URL), confined: true, ..Sample::default() };
        let launch = format!("{:?}", backend.launch(&sample.turn()).unwrap());
        assert!(launch.contains(URL), "{}: {launch}", backend.name());
        assert!(!asks.iter().any(|word| launch.contains(word)), "{}: {launch}", backend.name());
        let launch = format!("{:?}", backend.launch(&Sample::default().turn()).unwrap());
        assert!(asks.iter().any(|word| launch.contains(word)), "{}: {launch}", backend.name());
    }
}

#[test]
fn effort_and_turns_are_passed_on_where_there_is_an_option_for_them() {
    let mut sample = Sample::default();
    sample.settings.effort = Some("high".to_owned());
    sample.settings.max_turns = Some(7);
    let told = |name: &str| format!("{:?}", named(name).unwrap().launch(&sample.turn()).unwrap());
    for (name, words) in [
        ("codex", &["model_reasoning_effort=\\\"high\\\""][..]),
        ("claude", &["\"--effort\", \"high\"", "\"--max-turns\", \"7\""]),
        ("opencode", &["\"--variant\", \"high\"", "\\\"steps\\\":7"]),
        ("gemini", &["\\\"maxSessionTurns\\\":7"]),
        ("qwen", &["\"--max-session-turns\", \"7\""]),
    ] {
        let told = told(name);
        assert!(words.iter().all(|word| told.contains(word)), "{name}: {told}");
    }
}

#[test]
fn opencode_gets_no_option_twice() {
    let mut sample = Sample::default();
    sample.settings.args = ["--title=mine", "--log-level", "DEBUG"].map(str::to_owned).into();
    let launch = named("opencode").unwrap().launch(&sample.turn()).unwrap();
    let count = |name: &str| {
        let names = launch.args.iter().filter_map(|one| one.to_str()?.split('=').next());
        names.filter(|one| *one == name).count()
    };
    assert_eq!(["--title", "--log-level", "--print-logs"].map(count), [1, 1, 1]);
}

#[test]
fn opencode_needs_a_model_at_another_address() {
    let sample = Sample { base_url: Some("http://a"), model: None, ..Sample::default() };
    let error = named("opencode").unwrap().launch(&sample.turn()).unwrap_err().to_string();
    assert!(error.contains("needs `agent.model`"), "{error}");
}

#[test]
fn each_tolerates_any_stream() {
    let streams: [&[u8]; 6] = [
        b"",
        b"\xff\xfe\n{",
        b"{\"type\":\"weather\",\"usage\":[]}\n{\"type\":7}\n[]\n{}",
        b"{\"type\":\"turn.completed\",\"usage\":\"many\"}",
        b"{\"type\":\"result\",\"usage\":{\"input_tokens\":-1},\"modelUsage\":[1],\"errors\":{}}",
        b"{\"type\":\"replay.finished\",\"usage\":7}",
    ];
    for backend in BACKENDS {
        for stream in streams {
            let reading = stream::read_all(backend.reader(), stream, Some(0));
            assert_eq!(reading.usage, Usage::default(), "{}", backend.name());
            assert!(!backend.tells_its_end() || reading.end != Some(None) || stream != b"");
        }
    }
}

#[test]
fn each_says_what_is_missing_before_anything_is_started() {
    let nothing = environment(&[("PATH", "/nowhere")]);
    for backend in BACKENDS {
        let error = backend.check(&AgentSettings::default(), &nothing).unwrap_err();
        let (expected, request) = match backend.name() {
            "command" => ("needs `agent.command`", true),
            "replay" => ("needs `agent.recording`", true),
            _ => ("install it with `npm install", false),
        };
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.is_request(), request);
    }
}

#[test]
fn each_with_logins_says_so_when_there_is_none() {
    let programs = programs();
    let path = programs.path().to_str().unwrap();
    let sample = Sample::default();
    for backend in BACKENDS {
        let result = backend.check(&sample.settings, &environment(&[("PATH", path)]));
        let Some(variable) = backend.login_variables().first() else {
            result.unwrap();
            continue;
        };
        assert!(matches!(result, Err(AgentError::NotLoggedIn { .. })), "{}", backend.name());
        let with_key = environment(&[("PATH", path), (*variable, "k")]);
        backend.check(&sample.settings, &with_key).unwrap();
        let files = AgentSettings { home: vec![".login".into()], ..sample.settings.clone() };
        backend.check(&files, &environment(&[("PATH", path)])).unwrap();
        // A variable that `agent.env` does not name does not reach the agent, and is no login.
        let named = AgentSettings { env: Some(vec!["OTHER".into()]), ..sample.settings.clone() };
        let error = backend.check(&named, &with_key).unwrap_err().to_string();
        assert!(error.contains("none of OTHER is set"), "{error}");
    }
}

#[test]
fn the_settings_know_the_same_backends() {
    let names = BACKENDS.map(Backend::name);
    assert_eq!(crate::config::AGENTS.map(|agent| agent.name), names);
}

#[test]
fn a_backend_that_nobody_knows_is_named_with_the_nearest() {
    let settings = AgentSettings { backend: Some("cluade".into()), ..AgentSettings::default() };
    assert_eq!(
        backend(&settings).err().unwrap().to_string(),
        "there is no agent backend `cluade` (did you mean `claude`?); the backends are `codex`, \
         `claude`, `opencode`, `gemini`, `qwen`, `command`, `replay`"
    );
    let none = backend(&AgentSettings::default()).err().unwrap();
    assert!(none.is_request());
    assert!(none.to_string().starts_with("no agent is chosen; set `agent.backend`"), "{none}");
}

#[test]
fn the_presets_speak_todays_flags() {
    let lines = |name: &str| {
        let sample = Sample::default();
        let launch = named(name).unwrap().launch(&sample.turn()).unwrap();
        let args: Vec<_> = launch.args.iter().map(|one| one.to_str().unwrap()).collect();
        args.join(" ")
    };
    assert_eq!(
        lines("codex"),
        "exec --json --skip-git-repo-check --color never -s workspace-write -C /s/ws \
         -c analytics.enabled=false -c features.plugins=false -m m-1 --extra a={b=\"c\"} -"
    );
    assert_eq!(
        lines("claude"),
        "-p --output-format stream-json --verbose --permission-mode acceptEdits --allowedTools \
         Bash(make:*) --model m-1 --extra a={b=\"c\"}"
    );
    assert_eq!(
        lines("opencode"),
        "run --format json --title dark-factory --print-logs --log-level ERROR -m m-1 --extra a={b=\"c\"}"
    );
    assert_eq!(
        lines("gemini"),
        "-o stream-json --skip-trust --approval-mode auto_edit -m m-1 --extra a={b=\"c\"}"
    );
    assert_eq!(
        lines("qwen"),
        "-o stream-json --approval-mode auto-edit --auth-type openai --allowed-tools \
         run_shell_command(make) -m m-1 --extra a={b=\"c\"}"
    );
    assert_eq!(
        lines("replay"),
        format!("replay-turn {}/tests/fixtures 2 1 /s/ws", env!("CARGO_MANIFEST_DIR"))
    );
}
