//! The supervisor's core, called within the test's own process: it adopts nothing here, so that
//! what leaves the agent's group is found by the token alone.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;

use super::super::{Recovered, Usage, recover};
use super::*;
use crate::clock::Instant;

struct Stage {
    dir: tempfile::TempDir,
    spec: Spec,
}

/// A turn of `bash -c script`, of the backend `claude` so that its usage is read.
fn stage(script: &str) -> Stage {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let token = format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
    let env = [("PATH", "/usr/bin:/bin"), ("MY_API_KEY", "sk-0123456789")]
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let spec = Spec {
        backend: "claude".into(),
        program: "bash".into(),
        args: vec!["-c".into(), script.into()],
        stdin: None,
        env: super::super::record::with_token(env.iter().map(|(a, b)| (a, b)), &token),
        workspace: at("ws").into(),
        record: at("record").into(),
        home: at("home").into(),
        token,
        timeout: Duration::from_secs(60),
        idle: Duration::from_secs(60),
        budget: super::super::TurnBudget::default(),
        die: None,
        confined: None,
        way_out: None,
        secret_files: Vec::new(),
        secrets: Vec::new(),
    };
    Stage { dir, spec }
}

impl Stage {
    fn run(&self, cancel: &Cancel) -> EndedFile {
        supervise_call(&self.spec, cancel, false, &|_| {}).unwrap();
        Record(&self.path("record")).ended().unwrap().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn stdout(&self) -> String {
        fs::read_to_string(self.path("record/stdout")).unwrap()
    }

    fn alive(&self) -> usize {
        survivors::find(search(&self.spec.token, false)).len()
    }
}

fn check(script: &str, expected: &Ended) {
    let stage = stage(script);
    let ended = stage.run(&Cancel::never());
    assert_eq!(ended.record.ended, *expected, "{script}");
    assert_eq!((ended.survivors, stage.alive()), (0, 0));
}

#[test]
fn exit_codes_and_signals_are_told_apart() {
    check("exit 0", &Ended::Done);
    check("exit 7", &Ended::Failed { code: 7 });
    check("kill -SEGV $$", &Ended::Signalled { signal: 11 });
}

#[test]
fn an_agent_that_hangs_hits_its_limit() {
    let mut stage = stage("while :; do echo busy; sleep 0.05; done");
    stage.spec.timeout = Duration::from_millis(300);
    let ended = stage.run(&Cancel::never());
    assert_eq!(ended.record.ended, Ended::TimedOut { limit: Duration::from_millis(300) });
    assert!(ended.record.stdout_bytes > 0);
}

#[test]
fn an_agent_that_says_nothing_hits_its_idle_limit() {
    let mut stage = stage("echo working; sleep 300");
    stage.spec.idle = Duration::from_millis(300);
    let ended = stage.run(&Cancel::never());
    assert_eq!(ended.record.ended, Ended::Idle { limit: Duration::from_millis(300) });
    assert_eq!(stage.stdout(), "working\n");
}

#[test]
fn an_agent_that_is_not_there_could_not_start() {
    let mut stage = stage("");
    stage.spec.program = "no-such-agent".into();
    let ended = stage.run(&Cancel::never());
    assert!(matches!(ended.record.ended, Ended::CouldNotStart { .. }), "{:?}", ended.record);
}

#[test]
fn a_daemon_that_left_the_group_is_found_by_its_token() {
    let stage = stage("setsid sleep 300 >/dev/null 2>&1 & setsid sleep 300 & sleep 0.2");
    let began = Instant::now();
    let ended = stage.run(&Cancel::never());
    assert_eq!((ended.record.ended, ended.record.reaped), (Ended::Done, 2));
    assert_eq!((ended.survivors, stage.alive()), (0, 0));
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn what_descends_from_a_token_goes_with_it_though_it_cleared_its_environment() {
    let inner = "env -i sleep 300 & echo $! > pid; wait";
    let stage = stage(&format!("setsid bash -c '{inner}' >/dev/null 2>&1 & sleep 0.5"));
    let ended = stage.run(&Cancel::never());
    assert_eq!(ended.record.reaped, 2);
    let pid = fs::read_to_string(stage.path("ws/pid")).unwrap().trim().parse().unwrap();
    assert!(survivors::process_of(pid).is_none_or(|process| process.zombie));
}

#[test]
fn a_hangup_ends_the_agent_and_is_recorded_as_interrupted() {
    let stage = stage("echo begun > mark; echo begun; sleep 300");
    let cancel = Cancel::new().unwrap();
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stage.path("ws/mark").exists() {
                std::thread::sleep(Duration::from_millis(10));
            }
            cancel.trip(Signal::Terminate);
        });
        stage.run(&cancel)
    });
    assert_eq!(ended.record.ended, Ended::Interrupted);
    assert_eq!(stage.alive(), 0);
}

#[test]
fn a_hangup_before_the_start_starts_nothing() {
    let stage = stage("echo begun > mark");
    let cancel = Cancel::new().unwrap();
    cancel.trip(Signal::Terminate);
    assert_eq!(stage.run(&cancel).record.ended, Ended::Interrupted);
    assert!(!stage.path("ws/mark").exists());
}

#[test]
fn the_agent_has_the_given_environment_and_workspace_and_no_other() {
    let stage = stage("exec 2>&1; /usr/bin/env -u _ -u SHLVL -u PWD env | sort; pwd");
    stage.run(&Cancel::never());
    let workspace = fs::canonicalize(stage.path("ws")).unwrap();
    assert_eq!(
        stage.stdout(),
        format!(
            "DARK_FACTORY_TURN={}\nMY_API_KEY=[redacted]\nPATH=/usr/bin:/bin\n{}\n",
            stage.spec.token,
            workspace.display()
        )
    );
}

#[test]
fn stdin_is_the_prompt_or_closed() {
    let mut stage = stage("cat");
    fs::write(stage.path("prompt"), "do it").unwrap();
    stage.spec.stdin = Some(stage.path("prompt").into());
    stage.run(&Cancel::never());
    assert_eq!(stage.stdout(), "do it");
    stage.spec.stdin = None;
    stage.run(&Cancel::never());
    assert_eq!(stage.stdout(), "");
}

#[test]
fn usage_is_read_from_the_stream_and_kept_in_the_record() {
    let fixture =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/streams/claude/2.1.197/done.jsonl");
    let stage = stage(&format!("cat '{fixture}'"));
    let record = stage.run(&Cancel::never()).record;
    let usage = Usage {
        input_tokens: Some(2_500),
        output_tokens: Some(60),
        cached_tokens: Some(1_400),
        cache_write_tokens: Some(0),
        cost_usd: Some(0.0077),
    };
    assert_eq!(record.reading.usage, usage);
    assert_eq!(record.class, TurnClass::Done);
    assert_eq!(
        recover(&stage.path("record"), &stage.spec.token).unwrap(),
        Recovered::Ended(Box::new(record))
    );
}

#[test]
fn a_crash_says_the_agents_last_words_on_stderr() {
    let stage = stage("echo 'Missing variable: KEY.' >&2; echo >&2; exit 1");
    let record = stage.run(&Cancel::never()).record;
    assert_eq!(record.class, TurnClass::Crashed);
    assert_eq!(record.reading.trouble.unwrap().message, "Missing variable: KEY.");
}

#[test]
fn an_agent_that_goes_on_after_its_last_event_is_ended_and_done() {
    let fixture =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/streams/claude/2.1.197/done.jsonl");
    let stage = stage(&format!("cat '{fixture}'; sleep 300"));
    let began = Instant::now();
    let ended = stage.run(&Cancel::new().unwrap());
    assert_eq!(ended.record.class, TurnClass::Done);
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(stage.alive(), 0);
}

#[test]
fn a_stream_is_stored_up_to_its_bound_and_counted_beyond() {
    let stage = stage("");
    let path = stage.path("record/stdout");
    let mut sink = Sink::open(&path, &stage.spec).unwrap();
    sink.room = 5;
    sink.take(b"abc");
    sink.take(b"defgh");
    sink.finish();
    assert_eq!(fs::read(&path).unwrap(), b"abcde");
}

#[test]
fn a_turn_that_never_began_is_told_from_one_that_was_cut_short() {
    let stage = stage("setsid sleep 300 >/dev/null 2>&1 & exec sleep 300");
    let (record, token) = (stage.path("record"), &stage.spec.token);
    assert_eq!(recover(&record, token).unwrap(), Recovered::NeverStarted);

    // A supervisor that is gone with no word on the end, and left the agent alive.
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let gone = Started {
        v: VERSION,
        pid: me,
        process_start: Some(0),
        boot: survivors::boot_id(),
        time: SystemClock.now(),
    };
    Record(&record).write_started(&gone).unwrap();
    fs::write(Record(&record).spec(), "secret").unwrap();
    let cancel = Cancel::new().unwrap();
    let recovered = std::thread::scope(|scope| {
        let agent = scope.spawn(|| run(&call(&stage.spec, false), &cancel, &mut |_, _| {}));
        while stage.alive() < 2 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let recovered = recover(&record, token).unwrap();
        agent.join().unwrap();
        recovered
    });
    assert_eq!(recovered, Recovered::CutShort { ended_processes: 2 });
    assert_eq!(stage.alive(), 0);
    assert!(!Record(&record).spec().exists());
}

#[test]
fn descriptors_that_close_on_exec_are_not_inherited() {
    let file = tempfile::tempfile().unwrap();
    let fd = u32::try_from(std::os::fd::AsRawFd::as_raw_fd(&file)).unwrap();
    assert!(!inherited().contains(&fd));
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    assert!(inherited().contains(&fd));
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC).unwrap();
}
