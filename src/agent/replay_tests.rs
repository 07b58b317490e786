//! Tests of the recorded agent: what a turn leaves in the workspace, and what it says.

use std::os::unix::fs::PermissionsExt as _;

use super::super::stream::{Reading, read_all};
use super::*;

fn read(out: &[u8]) -> Reading {
    read_all(Replay.reader(), out, Some(0))
}

struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    fn new(recording: &[(&str, &str)], workspace: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (part, files) in [("rec", recording), ("ws", workspace)] {
            fs::create_dir(dir.path().join(part)).unwrap();
            for (path, text) in files {
                let path = dir.path().join(part).join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
        }
        Self { dir }
    }

    fn rec(&self, path: &str) -> PathBuf {
        self.dir.path().join("rec").join(path)
    }

    fn ws(&self, path: &str) -> PathBuf {
        self.dir.path().join("ws").join(path)
    }

    fn play(&self, number: u32) -> (io::Result<u8>, Vec<u8>) {
        let mut out = Vec::new();
        (replay(&self.rec(""), number, 1, &self.dir.path().join("ws"), &mut out), out)
    }
}

#[test]
fn a_turn_copies_its_files_over_the_workspace() {
    let stage = Stage::new(
        &[("turn-1/src/a.py", "new"), ("turn-1/run.sh", "#!/bin/sh"), ("turn-2/src/a.py", "2")],
        &[("src/a.py", "old"), ("src/b.py", "kept")],
    );
    fs::set_permissions(stage.rec("turn-1/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let (code, out) = stage.play(1);
    assert_eq!(code.unwrap(), 0);
    assert_eq!(fs::read_to_string(stage.ws("src/a.py")).unwrap(), "new");
    assert_eq!(fs::read_to_string(stage.ws("src/b.py")).unwrap(), "kept");
    assert_eq!(fs::metadata(stage.ws("run.sh")).unwrap().permissions().mode() & 0o111, 0o111);
    assert_eq!(read(&out).said.as_deref(), Some("replayed turn 1"));
}

#[test]
fn a_script_says_deletes_asks_and_claims_usage() {
    let script = "say: Fixed it.\ndelete: [old, gone.txt]\nexit: 3\nquestion: Which port?\n\
                  usage: {input_tokens: 10, cost_usd: 0.5}\n";
    let stage = Stage::new(&[("turn-1.yaml", script)], &[("old/a", ""), ("b", "")]);
    let (code, out) = stage.play(1);
    assert_eq!(code.unwrap(), 3);
    assert!(!stage.ws("old").exists() && stage.ws("b").exists());
    assert_eq!(fs::read_to_string(stage.ws("QUESTION.md")).unwrap(), "Which port?");
    assert_eq!(read(&out).said.as_deref(), Some("Fixed it."));
    let usage = Usage { input_tokens: Some(10), cost_usd: Some(0.5), ..Usage::default() };
    assert_eq!(read(&out).usage, usage);
}

#[test]
fn a_turn_without_a_recording_changes_nothing_and_says_so() {
    let stage = Stage::new(&[("turn-1/a", "")], &[("b", "kept")]);
    let (code, out) = stage.play(2);
    assert_eq!(code.unwrap(), 0);
    assert_eq!(fs::read_dir(stage.ws("")).unwrap().count(), 1);
    assert!(read(&out).said.unwrap().starts_with("turn 2 has no recording in "));
    assert_eq!(read(&out).usage, Usage::default());
}

#[test]
fn recorded_links_are_links_and_nothing_is_written_through_one() {
    let stage = Stage::new(&[("turn-1/dir/a", "new"), ("outside", "untouched")], &[]);
    symlink("/etc/passwd", stage.rec("turn-1/link")).unwrap();
    symlink(stage.rec(""), stage.ws("dir")).unwrap();
    symlink(stage.rec("outside"), stage.ws("link")).unwrap();
    stage.play(1).0.unwrap();
    assert_eq!(fs::read_link(stage.ws("link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::read_to_string(stage.ws("dir/a")).unwrap(), "new");
    assert!(!stage.rec("a").exists());
    assert_eq!(fs::read_to_string(stage.rec("outside")).unwrap(), "untouched");
}

#[test]
fn a_script_that_makes_no_sense_is_named() {
    for (script, part) in [
        ("sya: a\n", "unknown field `sya`"),
        ("delete: [../x]\n", "`..` component"),
        ("sleep: -1\n", "negative"),
    ] {
        let stage = Stage::new(&[("turn-1.yaml", script)], &[]);
        let message = stage.play(1).0.unwrap_err().to_string();
        assert!(message.contains("turn-1.yaml") && message.contains(part), "{message}");
    }
}

#[test]
fn an_attempt_of_its_own_goes_before_the_turn_and_may_end_in_trouble() {
    let script = "trouble: {class: rate_limited, resets_in: 90}\nuses: [{output_tokens: 7}]\n";
    let stage = Stage::new(&[("turn-1/a", "new"), ("turn-1-attempt-1.yaml", script)], &[]);
    let (_, out) = stage.play(1);
    let trouble = read(&out).end.unwrap().unwrap();
    assert_eq!(trouble.class, TurnClass::RateLimited);
    assert!(trouble.resets.unwrap() > SystemClock.now());
    assert!(!stage.ws("a").exists());
    let mut out = Vec::new();
    replay(&stage.rec(""), 1, 2, &stage.ws(""), &mut out).unwrap();
    assert_eq!(read(&out).end, Some(None));
    assert!(stage.ws("a").exists());
}
