//! The factory's side of a turn, with shell scripts in the supervisor's place.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::super::Usage;
use super::*;

struct Stage {
    dir: tempfile::TempDir,
    paths: TurnPaths,
    launch: Launch,
}

fn stage() -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let paths = TurnPaths {
        workspace: at("ws"),
        home: at("home"),
        tmp: at("tmp"),
        record: at("record"),
        prompt_file: at("prompt.md"),
        feedback_file: at("feedback.md"),
    };
    let launch = Launch {
        backend: "command",
        program: "true".into(),
        args: vec!["an argument".into()],
        stdin: LaunchStdin::Null,
        env_extra: BTreeMap::from([("EXTRA".into(), "1".into())]),
        env_aliases: vec![("UNSET", "SET")],
        home_dirs: Vec::new(),
        home_files: BTreeMap::new(),
        reads: Vec::new(),
        confined: None,
        way_out: None,
        secret_files: Vec::new(),
        secrets: crate::text::Redaction::default(),
    };
    Stage { dir, paths, launch }
}

fn env() -> Variables {
    [("PATH", "relative:/nowhere:/usr/bin:/bin"), ("SET", "value")]
        .map(|(name, value)| (OsString::from(name), OsString::from(value)))
        .into()
}

fn limits() -> TurnLimits {
    let time = Duration::from_secs(10);
    TurnLimits { timeout: time, idle: time, budget: TurnBudget::default(), crash: None }
}

impl Stage {
    /// Runs a turn whose supervisor is `script`, called with `supervise-agent SPEC`.
    fn run(&self, script: &str, token: &str, cancel: &Cancel) -> Result<TurnRecord, AgentError> {
        let program = self.dir.path().join("supervisor");
        fs::write(&program, format!("#!/bin/bash\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let attending = Attending { cancel, live: &mut |_| {} };
        run_turn(&self.launch, &self.paths, &env(), &limits(), token, &program, attending)
    }
}

const ENDED: &str = r#"{"v":1,"record":{"ended":{"class":"failed","code":2},"started":"2026-11-20T09:15:00.250Z","duration":{"secs":3,"nanos":0},"class":"crashed","reading":{"usage":{"input_tokens":5}},"stdout_bytes":1,"stderr_bytes":2,"reaped":0},"survivors":SURVIVORS}"#;

fn ended(survivors: &str) -> String {
    ENDED.replace("SURVIVORS", survivors)
}

#[test]
fn the_record_is_read_once_the_supervisor_says_so() {
    let stage = stage();
    let script = format!("printf '%s' '{}' > ended.json; echo '\"recorded\"'", ended("0"));
    let record = stage.run(&script, "turn-a", &Cancel::never()).unwrap();
    assert_eq!(record.ended, Ended::Failed { code: 2 });
    assert_eq!(record.reading.usage.input_tokens, Some(5));
}

#[test]
fn a_record_with_survivors_vouches_for_nothing() {
    let script = format!("printf '%s' '{}' > ended.json; echo '\"recorded\"'", ended("3"));
    let error = stage().run(&script, "turn-b", &Cancel::never()).unwrap_err();
    assert!(matches!(error, AgentError::Survived { count: 3, .. }), "{error}");
}

#[test]
fn the_spec_is_complete_and_gone_when_nobody_took_it() {
    let stage = stage();
    let error =
        stage.run("cp \"$2\" copy; echo $1 > first", "turn-c", &Cancel::never()).unwrap_err();
    assert!(matches!(error, AgentError::Supervisor { .. }), "{error}");
    assert!(!stage.paths.record.join("spec.json").exists());
    assert_eq!(fs::read_to_string(stage.paths.record.join("first")).unwrap(), "supervise-agent\n");
    let spec: Spec =
        serde_json::from_slice(&fs::read(stage.paths.record.join("copy")).unwrap()).unwrap();
    assert!(spec.program == "/usr/bin/true" || spec.program == "/bin/true");
    let env: Variables = spec.env.into_iter().collect();
    for (name, value) in
        [("EXTRA", "1"), ("UNSET", "value"), ("SET", "value"), (TOKEN_VARIABLE, "turn-c")]
    {
        assert_eq!(env.get(OsStr::new(name)).unwrap(), value);
    }
}

#[test]
fn a_supervisor_that_was_killed_leaves_nothing_alive() {
    let stage = stage();
    let script = "setsid sleep 300 >/dev/null 2>&1 &\n\
                  echo '{\"v\":1,\"pid\":1,\"process_start\":0,\"boot\":null,\
                  \"time\":\"2026-11-20T09:15:00Z\"}' > started.json\n\
                  sleep 0.2; kill -KILL $$";
    let error = stage.run(script, "turn-d", &Cancel::never()).unwrap_err();
    assert!(matches!(error, AgentError::SupervisorDied { ended_processes: 1, .. }), "{error}");
}

#[test]
fn an_interrupted_factory_closes_the_supervisors_stdin() {
    let stage = stage();
    let cancel = Cancel::new().unwrap();
    cancel.trip(crate::process::Signal::Interrupt);
    let script = format!("cat; printf '%s' '{}' > ended.json; echo '\"recorded\"'", ended("0"));
    stage.run(&script, "turn-e", &cancel).unwrap();
}

#[test]
fn a_program_that_is_not_on_the_agents_path_is_not_started() {
    let mut stage = stage();
    stage.launch.program = "no-such-agent".into();
    let error = stage.run("touch started", "turn-f", &Cancel::never()).unwrap_err();
    assert!(error.to_string().starts_with("can't find the agent's program `no-such-agent`"));
    assert!(!stage.paths.record.exists());
}

#[test]
fn usage_adds_up_what_is_known() {
    let some = Usage { input_tokens: Some(1), cost_usd: Some(0.5), ..Usage::default() };
    let other = Usage { input_tokens: Some(2), output_tokens: Some(3), ..Usage::default() };
    let both = Usage {
        input_tokens: Some(3),
        output_tokens: Some(3),
        cost_usd: Some(0.5),
        ..Usage::default()
    };
    assert_eq!(some.plus(other), both);
}

#[test]
fn classes_are_named_as_they_are_written() {
    for ended in [
        Ended::Done,
        Ended::Failed { code: 1 },
        Ended::Signalled { signal: 9 },
        Ended::TimedOut { limit: Duration::from_secs(1) },
        Ended::Idle { limit: Duration::from_secs(1) },
        Ended::Interrupted,
        Ended::CouldNotStart { why: String::new() },
    ] {
        assert_eq!(serde_json::to_value(&ended).unwrap()["class"], ended.class());
    }
}
