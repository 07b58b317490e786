//! Programs in a view of their own: what they see, what they can't reach, how their end is told.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dark_factory::process::{Call, Cancel, Finished, Variables, run};
use dark_factory::verdict::Ending;
use dark_factory::wall::confine::{
    Chosen, Confined, Network, Report, Step, View, Wanted, hand_over, strongest,
};
use tempfile::TempDir;

use crate::support::Busy;

/// A place with a tree that is seen and a secret that is not, and the way in which this machine keeps
/// them apart.
struct Room {
    base: TempDir,
    chosen: Chosen,
}

impl Room {
    fn new(without: &[&str]) -> Self {
        let base = tempfile::tempdir().unwrap();
        for dir in ["tree", "secret", "state", "tmp"] {
            fs::create_dir(base.path().join(dir)).unwrap();
        }
        fs::write(base.path().join("secret/exam"), "the exam").unwrap();
        let without: Vec<String> = without.iter().map(|&name| name.to_owned()).collect();
        let state = base.path().join("state");
        let chosen = strongest(&state, launcher(), &variables(), &without).unwrap();
        Self { base, chosen }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    fn confined(&self) -> Confined {
        let tree = [self.path("tree")];
        let view = View::of(&Wanted {
            env: &variables(),
            home: None,
            secret: &[self.path("secret"), self.path("state")],
            read: &[],
            stores: &[],
            handed: &[],
            tree: None,
            write: &tree,
            devices: &[],
        });
        if let Some(user) = self.chosen.user() {
            for dir in ["tree", "tmp"] {
                hand_over(&self.path(dir), user).unwrap();
            }
        }
        let confined =
            Confined::begin(&self.path("state"), launcher(), &self.chosen, view).unwrap();
        confined.showing(&self.path("tmp"), Path::new("/tmp"))
    }

    fn bash(&self, script: &str) -> (Finished, Option<Report>) {
        self.bash_on(Network::Own, script)
    }

    fn bash_on(&self, network: Network, script: &str) -> (Finished, Option<Report>) {
        let confined = self.confined().on(network);
        let call = Call::new("bash", self.path("tree"))
            .args(["-c", script, "bash"])
            .env(variables())
            .limit(Duration::from_secs(60));
        let finished = run(&confined.wrap(call).unwrap(), &Cancel::never(), &mut |_, _| {});
        (confined.tell(finished), confined.report())
    }

    #[track_caller]
    fn check(&self, script: &str, said: &str) {
        let (finished, report) = self.bash(script);
        let all = format!("{}{}", finished.stdout.text(), finished.stderr.text());
        assert_eq!(all, said, "{:?} {report:?}", finished.ending);
    }
}

fn launcher() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_factory"))
}

fn variables() -> Variables {
    BTreeMap::from([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())])
}

#[test]
fn a_confined_program_has_its_tree_and_the_system_and_nothing_else() {
    let room = Room::new(&[]);
    assert_ne!(room.chosen.step, Step::Landlock, "{:?}", room.chosen);
    room.check("echo made > file; cat file; cd /; pwd", "made\n/\n");
    assert_eq!(fs::read_to_string(room.path("tree/file")).unwrap(), "made\n");
    let secret = room.path("secret/exam");
    room.check(&format!("cat {} 2>/dev/null || echo none", secret.display()), "none\n");
    room.check("ls -A /home /root /mnt 2>/dev/null | head -3; echo over", "over\n");
    room.check("touch /usr/x /etc/x /x 2>/dev/null || echo read only", "read only\n");
    room.check("echo a > /tmp/a && cat /tmp/a; ls /tmp/a", "a\n/tmp/a\n");
    assert!(room.path("tmp/a").exists());
}

#[test]
fn how_a_confined_program_ended_is_told_with_what_it_left() {
    let room = Room::new(&[]);
    let check = |script: &str, ending: Ending, report: Report| {
        let (finished, found) = room.bash(script);
        assert_eq!((finished.ending, found), (ending, Some(report)), "{script}");
    };
    let left = |left| Report { left, ..Report::default() };
    check("exit 7", Ending::Exited { code: 7 }, left(0));
    let signalled = Report { signal: Some(11), ..Report::default() };
    check("kill -SEGV $$", Ending::Signalled { signal: 11 }, signalled);
    check("setsid sleep 300 & setsid sleep 300 & exit 0", Ending::Exited { code: 0 }, left(2));
    check("exit 125", Ending::Exited { code: 125 }, left(0));
}

#[test]
fn a_program_that_is_not_in_its_view_is_named() {
    let room = Room::new(&[]);
    let hidden = room.path("secret/tool");
    fs::write(&hidden, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o755)).unwrap();
    let confined = room.confined();
    let call = Call::new(&hidden, room.path("tree")).env(variables());
    let finished = run(&confined.wrap(call).unwrap(), &Cancel::never(), &mut |_, _| {});
    let Ending::CouldNotStart { why } = confined.tell(finished).ending else { panic!() };
    let expected = format!("`{}` can't be started in its view: No such file", hidden.display());
    assert!(why.contains(&expected) && why.contains("isolation.read"), "{why}");
}

#[test]
fn nothing_of_a_confined_program_outlives_it_or_its_limit() {
    let room = Room::new(&[]);
    let script = "(setsid bash -c 'trap \"\" TERM; while :; do date +%N > alive; sleep 0.01; done' &) ; \
                  sleep 0.2";
    let (finished, _) = room.bash(script);
    assert_eq!(finished.ending, Ending::Exited { code: 0 });
    let alive = || fs::read_to_string(room.path("tree/alive")).unwrap();
    let before = alive();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(alive(), before);

    let confined = room.confined();
    let limit = Duration::from_millis(300);
    let script = "trap 'echo told; exit 1' TERM; setsid sleep 300 & wait";
    let call = Call::new("bash", room.path("tree")).args(["-c", script]).env(variables());
    let call = confined.wrap(call.limit(limit)).unwrap();
    let finished = run(&call, &Cancel::never(), &mut |_, _| {});
    assert_eq!(finished.ending, Ending::TimedOut { limit });
    assert_eq!(finished.stdout.text(), "told\n");
    assert!(finished.duration < Duration::from_secs(60), "{:?}", finished.duration);
}

#[test]
fn a_long_path_of_the_factorys_own_keeps_no_step_from_holding() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("a-name-that-is-long-".repeat(10));
    fs::create_dir(&state).unwrap();
    let near = strongest(base.path(), launcher(), &variables(), &[]).unwrap();
    let far = strongest(&state, launcher(), &variables(), &[]).unwrap();
    assert_eq!(near, far);
}

/// A leader that was written down by a path, after the start, was not found by some of these: the view is the
/// root by then.
#[test]
fn what_goes_on_begins_on_a_busy_machine_too() {
    let _busy = Busy::begin();
    let room = Room::new(&[]);
    let confined = room.confined().going_on();
    let failed: Vec<_> = (0..40)
        .filter_map(|_| {
            let call =
                Call::new("bash", room.path("tree")).args(["-c", "sleep 0.01 &"]).env(variables());
            let finished = run(&confined.wrap(call).unwrap(), &Cancel::never(), &mut |_, _| {});
            Some(confined.tell(finished).ending).filter(|ending| !ending.is_success())
        })
        .collect();
    assert_eq!(failed, []);
}
