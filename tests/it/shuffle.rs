//! The shuffle against what can go wrong: killed at every step and at every call of the system, a
//! full disk, another file system, planted links, tampering, other calls beside it. The scenarios
//! are there byte for byte, and a trace shows that each copy is durable before the other goes.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::bad_input::on_small_disk;
use crate::crash::each;
use crate::support::{ITERATE, Product, Ran, wait_until, walk};

mod trace;

const SHUFFLE: &str = env!("CARGO_BIN_EXE_shuffle-scenarios");

/// Mode and bytes of everything in a directory, or what a link says.
type Image = BTreeMap<PathBuf, (u32, Vec<u8>)>;

/// A product with an exam of plain names: a script, links, an empty directory.
fn exam() -> Product {
    let product = Product::new()
        .scenario("one", "true")
        .scenario("two", "false")
        .executable("scenarios/data/run.sh", "echo the exam\n");
    product.write("scenarios/data/large", "x".repeat(9000));
    symlink("data/run.sh", product.path("scenarios/link")).unwrap();
    fs::create_dir(product.path("scenarios/empty")).unwrap();
    fs::set_permissions(product.path("scenarios/data"), Permissions::from_mode(0o555)).unwrap();
    product
}

fn image(root: &Path) -> Image {
    let mut found = Image::new();
    let mut add = |path: &Path, metadata: &fs::Metadata| {
        let bytes = if metadata.is_symlink() {
            fs::read_link(path).unwrap().into_os_string().into_vec()
        } else if metadata.is_file() {
            fs::read(path).unwrap()
        } else {
            Vec::new()
        };
        found.insert(path.strip_prefix(root).unwrap().to_owned(), (metadata.mode(), bytes));
    };
    let Ok(metadata) = fs::symlink_metadata(root) else { return found };
    add(root, &metadata);
    if metadata.is_dir() {
        walk(root, &mut |path, metadata| {
            add(path, metadata);
            true
        });
    }
    found
}

/// A process on whose behalf scenarios are hidden; it ends with this.
struct Owner(Child);

impl Owner {
    fn new() -> Self {
        Self(Command::new("sleep").arg("614").stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An exam, and what it was.
struct Place {
    product: Product,
    before: Image,
    state: PathBuf,
}

impl Drop for Place {
    fn drop(&mut self) {
        make_removable(&self.product);
    }
}

/// Lets a plain user remove directories that nobody may write to.
fn make_removable(product: &Product) {
    let _ = Command::new("chmod").args(["-R", "u+w"]).arg(product.base()).status();
}

impl Place {
    fn new() -> Self {
        let product = exam();
        let before = image(&product.path("scenarios"));
        let state = product.state();
        Self { product, before, state }
    }

    fn call(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = self.product.clean(SHUFFLE);
        command.args(args).env("XDG_STATE_HOME", &self.state).envs(env.iter().copied());
        self.product.start(command).wait()
    }

    /// Hides the scenarios on behalf of a process that is dead afterwards.
    #[track_caller]
    fn hide(&self) -> Ran {
        let owner = Owner::new();
        self.call(&["hide", "--owner", &owner.pid()], &[])
    }

    fn vault(&self) -> PathBuf {
        let mut found = Vec::new();
        walk(&self.state, &mut |path, metadata| {
            if path.ends_with("shuffle") {
                found.push(path.to_owned());
            }
            metadata.is_dir() && !path.ends_with("shuffle")
        });
        assert_eq!(found.len(), 1, "{found:?}");
        fs::canonicalize(&found[0]).unwrap()
    }

    fn place(&self) -> PathBuf {
        self.product.path("scenarios")
    }

    /// Fails unless a whole copy is somewhere.
    #[track_caller]
    fn assert_safe(&self, when: &str) {
        let mut whole = false;
        for root in [self.product.root(), self.state.clone()] {
            walk(&root, &mut |path, metadata| {
                whole |= metadata.is_dir() && image(path) == self.before;
                metadata.is_dir() && !path.ends_with(".git")
            });
        }
        assert!(whole, "no whole copy is left {when}");
    }

    /// Fails unless the scenarios are in their place as they were, beside `others` alone, and the
    /// vault holds nothing.
    #[track_caller]
    fn assert_whole(&self, others: &[&str], when: &str) {
        assert_eq!(image(&self.place()), self.before, "{when}");
        let names = |dir: &Path| {
            let mut names: Vec<String> = fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| !name.starts_with(".git") && name != "artifacts")
                .collect();
            names.sort();
            names
        };
        let mut expected = [others, &["scenarios"]].concat();
        expected.sort_unstable();
        assert_eq!(names(&self.product.root()), expected, "{when}");
        let in_vault = names(&self.vault());
        // A journal in the making holds nothing of the exam, and the next one is written over it.
        let known = in_vault.iter().all(|name| name == "lock" || name == "journal.json.new");
        assert!(known, "{when}: {in_vault:?}");
    }
}

/// Kills one call after each step that it takes; `prepare` goes before, and `recover` after it.
fn check_killed_after_each_step(
    make: fn() -> Place,
    action: &str,
    prepare: fn(&Place),
    others: &[&str],
    steps: u32,
) {
    for number in 1.. {
        let place = make();
        prepare(&place);
        let owner = Owner::new();
        let args = [action, "--owner", &owner.pid()];
        let args = if action == "hide" { &args[..] } else { &args[..1] };
        let die = number.to_string();
        let ran = place.call(args, &[("DARK_FACTORY_TEST_SHUFFLE_DIES_AFTER", &die)]);
        let when = format!("after step {number} of {action}");
        place.assert_safe(&when);
        drop(owner);
        place.call(&["recover"], &[]).code(0);
        place.assert_whole(others, &when);
        if ran.code == 0 {
            assert_eq!(number, steps + 1, "steps of {action}");
            break;
        }
        assert_eq!(ran.code, -9, "{when}: {ran:?}");
    }
}

fn nothing(_: &Place) {}

fn hidden(place: &Place) {
    place.hide().code(0);
}

/// Hidden, and a link of the agent's in the place.
fn hidden_behind_a_link(place: &Place) {
    hidden(place);
    symlink("/etc", place.place()).unwrap();
}

#[test]
fn a_kill_after_each_step_of_hiding_loses_nothing() {
    check_killed_after_each_step(Place::new, "hide", nothing, &[], 11);
}

#[test]
fn a_kill_after_each_step_of_putting_back_loses_nothing() {
    for action in ["restore", "recover"] {
        let others = ["scenarios.displaced-1"];
        check_killed_after_each_step(Place::new, action, hidden_behind_a_link, &others, 10);
    }
}

/// Makes `action` fail in the way of `inject` at each of its calls that changes anything, and
/// passes what it came to to `look`.
fn at_each_call(
    action: &str,
    prepare: fn(&Place),
    inject: impl Fn(&trace::Call) -> Vec<String> + Sync,
    look: impl Fn(&Place, Ran, &str) + Sync,
) {
    if !trace::is_possible() {
        return;
    }
    let run = |place: &Place, inject: &str| {
        prepare(place);
        let owner = Owner::new();
        let args = [SHUFFLE, action, "--owner", &owner.pid()];
        trace::run(&place.product, inject, if action == "hide" { &args } else { &args[..2] })
    };
    let (ran, calls) = run(&Place::new(), "");
    ran.code(0);
    let faults: Vec<String> = calls.iter().filter(|call| call.changes()).flat_map(inject).collect();
    assert!(faults.len() > 40, "{faults:?}");
    each(faults, |fault| {
        let place = Place::new();
        let (ran, _) = run(&place, &fault);
        let when = format!("at {fault} of {action}");
        place.assert_safe(&when);
        look(&place, ran, &when);
    });
}

fn check_killed_at_each_call(action: &str, prepare: fn(&Place), others: &[&str]) {
    let kill = |call: &trace::Call| vec![format!("{}:signal=KILL:when={}", call.name, call.number)];
    at_each_call(action, prepare, kill, |place, ran, when| {
        assert_eq!(ran.code, -9, "{when}: {ran:?}");
        place.call(&["recover"], &[]).code(0);
        if image(&place.place()).is_empty() {
            panic!("{when}: the scenarios are gone");
        }
        // Killed before the vault was there.
        if fs::read_dir(&place.state).unwrap().next().is_some() {
            place.assert_whole(others, when);
        }
    });
}

#[test]
fn a_kill_at_each_call_of_hiding_loses_nothing() {
    check_killed_at_each_call("hide", nothing, &[]);
}

#[test]
fn a_kill_at_each_call_of_restoring_loses_nothing() {
    check_killed_at_each_call("restore", hidden_behind_a_link, &["scenarios.displaced-1"]);
}

/// One failure that passes, and one that stays, of each call.
fn full(call: &trace::Call) -> Vec<String> {
    let error = if call.name == "fsync" { "EIO" } else { "ENOSPC" };
    ["", "+"]
        .iter()
        .map(|stays| format!("{}:error={error}:when={}{stays}", call.name, call.number))
        .collect()
}

#[test]
fn an_error_of_each_call_of_hiding_loses_nothing() {
    at_each_call("hide", nothing, full, |place, ran, when| {
        assert!(ran.code == 3 || ran.code == 0, "{when}: {ran:?}");
        let back = place.call(&["restore"], &[]);
        assert!(back.code == 0 || back.stderr.contains("nothing is hidden"), "{when}: {back:?}");
        place.assert_whole(&[], when);
    });
}

#[test]
fn an_error_of_each_call_of_restoring_loses_nothing() {
    at_each_call("restore", hidden, full, |place, ran, when| {
        assert!(ran.code == 3 || ran.code == 0, "{when}: {ran:?}");
        let back = place.call(&["restore"], &[]);
        assert!(back.code == 0 || back.stderr.contains("nothing is hidden"), "{when}: {back:?}");
        place.assert_whole(&[], when);
    });
}

#[test]
fn a_vault_on_a_full_disk_leaves_the_scenarios_in_their_place() {
    let mut refused = 0;
    for size in (4..=48).step_by(4) {
        let place = Place::new();
        let script = format!(
            "'{SHUFFLE}' hide --owner $$; echo \"code $?\"; \
             '{SHUFFLE}' restore; find \"$FULL\" -name '*.md'"
        );
        let Some(ran) = on_small_disk(&place.product, "../state", &format!("{size}k"), &script)
        else {
            return;
        };
        assert_eq!(image(&place.place()), place.before, "{size}k");
        assert!(!ran.stdout.contains(".md"), "{size}k leaves a part behind: {ran:?}");
        if ran.stdout.contains("code 3") {
            assert!(ran.stderr.contains("No space left on device"), "{size}k: {ran:?}");
            refused += 1;
        } else {
            assert!(ran.stdout.contains("code 0"), "{size}k: {ran:?}");
        }
    }
    assert!((2..12).contains(&refused), "{refused} of 12 disks were too small");
}

#[test]
fn a_checkout_on_a_full_disk_leaves_the_vault_its_copy() {
    let place = Place::new();
    fs::rename(place.place(), place.product.base().join("exam")).unwrap();
    let script = format!(
        "cp -a ../exam disk/scenarios && '{SHUFFLE}' hide --owner $$ --scenarios-dir disk/scenarios \
         && dd if=/dev/zero of=disk/full bs=4k; \
         '{SHUFFLE}' restore; echo \"code $?\"; ls -A disk; \
         rm disk/full && '{SHUFFLE}' restore && cp -a disk/scenarios scenarios"
    );
    let Some(ran) = on_small_disk(&place.product, "disk", "64k", &script) else { return };
    let ran = ran.code(0).says("code 3").says("No space left on device");
    assert!(ran.stdout.contains("code 3\nfull\n"), "a part is left: {ran:?}");
    place.assert_whole(&["disk"], "after the disk was full");
}

/// Returns a directory on another file system than `than`; none, with the reason printed, where
/// all that may be written to are on the same.
#[expect(clippy::print_stdout, reason = "whoever reads the tests' output is to know")]
fn elsewhere(than: &Path) -> Option<TempDir> {
    let device = than.metadata().unwrap().dev();
    let found = ["/dev/shm", "/tmp", "/var/tmp", env!("CARGO_TARGET_TMPDIR")]
        .iter()
        .filter(|dir| Path::new(dir).metadata().is_ok_and(|found| found.dev() != device))
        .find_map(|dir| tempfile::Builder::new().prefix("factory-it-").tempdir_in(dir).ok());
    if found.is_none() {
        println!("skipped: there is no second file system to write to");
    }
    found
}

#[test]
fn a_vault_on_another_file_system_keeps_and_gives_back_the_same() {
    let mut place = Place::new();
    let Some(other) = elsewhere(&place.place()) else { return };
    let moved = fs::rename(place.place(), other.path().join("moved"));
    assert_eq!(moved.unwrap_err().kind(), io::ErrorKind::CrossesDevices, "the control");
    other.path().clone_into(&mut place.state);
    place.hide().code(0);
    assert!(!place.place().exists());
    assert_eq!(image(&place.vault().join("copy")), place.before);
    place.call(&["recover"], &[]).code(0);
    place.assert_whole(&[], "on another file system");

    for (action, steps) in [("hide", 11), ("restore", 10)] {
        for number in 1..=steps {
            let owner = Owner::new();
            let pid = owner.pid();
            if action == "restore" {
                place.call(&["hide", "--owner", &pid], &[]).code(0);
            }
            let args = [action, "--owner", &pid];
            let args = if action == "hide" { &args[..] } else { &args[..1] };
            let die = number.to_string();
            place.call(args, &[("DARK_FACTORY_TEST_SHUFFLE_DIES_AFTER", &die)]).code(-9);
            place.assert_safe(&format!("after step {number} of {action}"));
            drop(owner);
            place.call(&["recover"], &[]).code(0);
            place.assert_whole(&[], &format!("after step {number} of {action}"));
        }
    }
}

#[test]
fn a_run_whose_state_is_on_another_file_system_survives_a_kill() {
    let product = Product::new()
        .file("words.txt", "one\n")
        .scenario("two", "grep -q two words.txt")
        .config("agent: {backend: replay, recording: ../recording}\n")
        .turn(1, &[("words.txt", "one two\n")], "say: done\n")
        .committed();
    let Some(other) = elsewhere(&product.root()) else { return };
    let before = product.checkout();
    let state = other.path().to_str().unwrap();
    let die = [("XDG_STATE_HOME", state), ("DARK_FACTORY_TEST_DIE_AFTER", "15")];
    assert_eq!(product.iterate_with(&[], &die).code, -9);
    product.iterate_with(&["--resume"], &die[..1]).code(0).says("converged");
    product.assert_untouched(&before);
    product.assert_nothing_alive();
}

#[test]
fn a_link_in_the_place_is_moved_aside_and_never_written_through() {
    let place = Place::new();
    let outside = place.product.base().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("theirs"), "kept").unwrap();
    let theirs = image(&outside);
    let mut displaced = Vec::new();
    for (number, target) in
        [&*outside, &outside.join("theirs"), Path::new("nowhere")].into_iter().enumerate()
    {
        place.hide().code(0);
        symlink(target, place.place()).unwrap();
        // The names that restoring uses are no secret in this tier.
        let journal = fs::read_to_string(place.vault().join("journal.json")).unwrap();
        let journal: serde_json::Value = serde_json::from_str(&journal).unwrap();
        let token = journal["entry"]["token"].as_str().unwrap().to_owned();
        for name in ["restored", "removed"] {
            symlink(&outside, place.product.path(&format!(".factory-{name}-{token}"))).unwrap();
        }
        displaced.push(format!("scenarios.displaced-{}", number + 1));
        place.call(&["restore"], &[]).code(0).says(displaced.last().unwrap());
        let names: Vec<&str> = displaced.iter().map(String::as_str).collect();
        place.assert_whole(&names, &format!("with a link to {}", target.display()));
        assert_eq!(image(&outside), theirs);
        assert_eq!(fs::read_link(place.product.path(names[number])).unwrap(), target);
    }
}

#[test]
fn a_link_above_the_place_is_refused_until_the_directory_is_back() {
    let product = exam();
    fs::create_dir(product.path("t")).unwrap();
    fs::rename(product.path("scenarios"), product.path("t/exam")).unwrap();
    let before = image(&product.path("t/exam"));
    let outside = product.base().join("outside");
    fs::create_dir(&outside).unwrap();
    let call =
        |args: &[&str]| product.shuffle_scenarios(&[args, &["--scenarios-dir", "t/exam"]].concat());
    call(&["hide"]).code(0);
    fs::remove_dir(product.path("t")).unwrap();
    symlink(&outside, product.path("t")).unwrap();
    for args in [&["restore"][..], &["restore", "--workdir", "."]] {
        call(args).code(3).says("symbolic link");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    fs::remove_file(product.path("t")).unwrap();
    call(&["restore"]).code(0);
    assert_eq!(image(&product.path("t/exam")), before);
    make_removable(&product);
}

/// Hides, tampers, and sees that nothing is touched and `words` are said; then does what they
/// advise, and has the scenarios back.
fn check_tampered(tamper: fn(&Path), words: &[&str], heed: fn(&Place, &Path)) {
    let place = Place::new();
    place.hide().code(0);
    let vault = place.vault();
    tamper(&vault);
    let tampered = image(&vault);
    for args in [&["restore"][..], &["recover"], &["hide"]] {
        let ran = place.call(args, &[]);
        assert!(ran.code == 3 || args == ["hide"], "{args:?}: {ran:?}");
        assert_ne!(ran.code, 0, "{args:?}: {ran:?}");
        for word in words.iter().filter(|_| args != ["hide"]) {
            assert!(ran.stderr.contains(word), "{args:?} does not say {word}: {ran:?}");
        }
    }
    assert_eq!(image(&vault), tampered, "nothing is touched");
    heed(&place, &vault);
    place.call(&["recover"], &[]).code(0);
    place.assert_whole(&[], words[0]);
    place.hide().code(0);
    place.call(&["recover"], &[]).code(0);
}

/// Puts the scenarios to their place from what somebody else kept.
fn from_a_backup(place: &Place, vault: &Path) {
    for (path, (mode, bytes)) in &place.before {
        let at = place.place().join(path);
        let at = if path.as_os_str().is_empty() { place.place() } else { at };
        match mode & 0o170_000 {
            0o120_000 => symlink(std::ffi::OsStr::from_bytes(bytes), &at).unwrap(),
            0o040_000 => fs::create_dir(&at).unwrap(),
            _ => fs::write(&at, bytes).unwrap(),
        }
    }
    for (path, (mode, _)) in place.before.iter().rev().filter(|(_, (mode, _))| mode >> 12 != 0o12) {
        fs::set_permissions(place.place().join(path), Permissions::from_mode(*mode)).unwrap();
    }
    let _ = fs::rename(vault.join("copy"), place.product.base().join("damaged"));
    fs::remove_file(vault.join("journal.json")).unwrap();
}

#[test]
fn a_copy_that_was_tampered_with_is_found_and_left_alone() {
    let tampers: [fn(&Path); 4] = [
        |vault| fs::write(vault.join("copy/data/large"), "x".repeat(8999) + "y").unwrap(),
        |vault| fs::write(vault.join("copy/data/large"), "x".repeat(8000)).unwrap(),
        |vault| fs::remove_file(vault.join("copy/one.md")).unwrap(),
        |vault| fs::write(vault.join("copy/three.md"), "").unwrap(),
    ];
    for tamper in tampers {
        check_tampered(tamper, &["is not what was hidden", "nothing was touched"], from_a_backup);
    }
    let gone = |vault: &Path| fs::rename(vault.join("copy"), vault.join("../gone")).unwrap();
    check_tampered(gone, &["is not what was hidden"], from_a_backup);
}

/// Moves the vault's copy to the place by hand.
fn by_hand(place: &Place, vault: &Path) {
    fs::rename(vault.join("copy"), place.place()).unwrap();
    let _ = fs::remove_file(vault.join("journal.json"));
}

#[test]
fn a_journal_that_was_tampered_with_is_found_and_the_copy_stays() {
    let words = ["journal.json` can't be used", "move that to its place"];
    let changes: [fn(&str) -> String; 5] = [
        |text| text.replace("/scenarios\"", "/scenariot\""),
        |text| text.replacen("\"token\": \"", "\"token\": \"/../", 1),
        |text| text.replacen("\"pid\": ", "\"pid\": 1", 1),
        |text| text[..text.len() / 2].to_owned(),
        |_| String::new(),
    ];
    for change in changes {
        let place = Place::new();
        place.hide().code(0);
        let path = place.vault().join("journal.json");
        let text = fs::read_to_string(&path).unwrap();
        assert_ne!(change(&text), text, "the control");
        fs::write(&path, change(&text)).unwrap();
        for action in ["restore", "recover", "hide", "status"] {
            let ran = place.call(&[action], &[]).code(3);
            assert!(words.iter().all(|word| ran.stderr.contains(word)), "{action}: {ran:?}");
        }
        assert_eq!(image(&place.vault().join("copy")), place.before);
        by_hand(&place, &place.vault());
        place.call(&["recover"], &[]).code(0).says("nothing to recover");
        place.assert_whole(&[], "moved by hand");
    }
}

#[test]
fn a_journal_that_is_gone_does_not_cost_the_copy() {
    let gone = |vault: &Path| fs::remove_file(vault.join("journal.json")).unwrap();
    check_tampered(gone, &["is gone", "nothing was touched"], by_hand);
}

#[test]
fn a_second_call_beside_the_first_is_told_of_it() {
    let place = Place::new();
    hidden(&place);
    let path = place.vault().join("lock");
    let lock = File::options().write(true).open(&path).unwrap();
    lock.lock().unwrap();
    for action in ["hide", "restore", "recover"] {
        place.call(&[action], &[]).code(3).says("another shuffle is at work");
    }
    place.call(&["status"], &[]).code(0).says("needs recovery");
    drop(lock);
    place.call(&["recover"], &[]).code(0);
    place.assert_whole(&[], "once the lock was free");
}

#[test]
fn calls_in_a_crowd_leave_one_whole_exam() {
    let place = Place::new();
    let owner = Owner::new();
    let pid = owner.pid();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (place, pid) = (&place, &pid);
            scope.spawn(move || {
                for round in 0..8 {
                    let ran = if (thread + round) % 2 == 0 {
                        place.call(&["hide", "--owner", pid], &[])
                    } else {
                        place.call(&["restore"], &[])
                    };
                    assert!([0, 2, 3].contains(&ran.code), "{ran:?}");
                    let known = ["", "hidden", "no scenarios directory", "another shuffle"];
                    assert!(known.iter().any(|word| ran.stderr.contains(word)), "{ran:?}");
                }
            });
        }
    });
    let last = place.call(&["restore"], &[]);
    assert!(last.code == 0 || last.stderr.contains("nothing is hidden"), "{last:?}");
    place.assert_whole(&[], "after a crowd");
}

#[test]
fn hiding_beside_a_run_changes_nothing_for_either() {
    let product = Product::new();
    let base = product.base().display().to_string();
    fs::write(product.base().join("slow"), "").unwrap();
    let agent = format!(
        "touch {base}/there\nwhile [ -e {base}/slow ]; do sleep 0.05; done\necho two >> words.txt\n"
    );
    fs::write(product.base().join("agent.sh"), agent).unwrap();
    let product = product
        .file("words.txt", "one\n")
        .scenario("two", "grep -q two words.txt")
        .config(&format!("agent: {{backend: command, command: [bash, {base}/agent.sh]}}\n"))
        .committed();
    let before = product.checkout();
    let running = product.start_iterate(&[], &[]);
    wait_until("the agent is in its turn", || product.base().join("there").exists());
    product.iterate(&[]).code(3).says("another run is active here");
    product.shuffle_scenarios(&["hide"]).code(0);
    fs::remove_file(product.base().join("slow")).unwrap();
    running.wait().code(0).says("converged");
    product.shuffle_scenarios(&["restore"]).code(0);
    product.assert_untouched(&before);
}

/// Which way the scenarios go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Hide,
    Restore,
}

/// Reads the steps out of a trace, and fails at the first that is taken before what it relies on
/// is durable.
fn steps(
    calls: &[trace::Call],
    vault: &Path,
    place: &Path,
    mut disk: trace::Disk,
) -> Result<Vec<&'static str>, String> {
    let (copying, copy) = (vault.join("copying"), vault.join("copy"));
    let (journal, new_journal) = (vault.join("journal.json"), vault.join("journal.json.new"));
    let beside = |path: &Path, kind: &str| {
        path.strip_prefix(place.parent().unwrap()).is_ok_and(|below| {
            let mark = format!(".factory-{kind}-");
            below.as_os_str().as_bytes().starts_with(mark.as_bytes())
        })
    };
    let mut steps = Vec::new();
    for call in calls {
        let paths = disk.paths(call);
        let target = paths.last().map(PathBuf::as_path).unwrap_or(Path::new(""));
        let removes = matches!(call.name.as_str(), "unlink" | "unlinkat" | "rmdir");
        let reads = call.name == "openat" && !call.args.contains("O_CREAT");
        let is_file = !call.args.contains("O_DIRECTORY") && target.extension().is_some();
        let renames = call.name.starts_with("rename");
        // The step, and what must be durable before it.
        let everything: &[&Path] = &[Path::new("/")];
        let step: Option<(&'static str, &[&Path])> = if renames && target == journal {
            if disk.has_loose_bytes(&new_journal) {
                return Err("the journal's name before its bytes".to_owned());
            }
            Some(("journal", everything))
        } else if renames && target == copy {
            Some(("named", everything))
        } else if renames && beside(target, "hidden") {
            Some(("set aside", everything))
        } else if renames && beside(target, "removed") {
            Some(("doomed", everything))
        } else if renames && target == copying {
            Some(("given up", everything))
        } else if renames && target == place {
            Some(("put back", &[]))
        } else if removes && beside(target, "removed") {
            Some(("removed", everything))
        } else if removes && target.starts_with(&copying) {
            Some(("copy removed", everything))
        } else if removes && target == journal {
            Some(("journal removed", everything))
        } else if reads && is_file && target.starts_with(&copying) {
            Some(("copy read back", &[&copying]))
        } else if reads && is_file && beside(target, "hidden") {
            Some(("original compared", &[]))
        } else if reads && is_file && beside(target, "restored") {
            Some(("stage read back", &[]))
        } else {
            None
        };
        if let Some((step, relies_on)) = step {
            // What is about to be removed or renamed need not be durable itself.
            let own = |path: &Path| match step {
                "journal" => path == new_journal,
                "removed" => beside(path, "removed"),
                "copy removed" => path.starts_with(&copying),
                _ => false,
            };
            if let Some(early) = disk.pending(relies_on).iter().find(|path| !own(path)) {
                return Err(format!("`{step}` before {} is durable", early.display()));
            }
            if steps.last() != Some(&step) {
                steps.push(step);
            }
        }
        disk.apply(call);
    }
    match disk.all_pending().first() {
        Some(early) => Err(format!("the end before {} is durable", early.display())),
        None => Ok(steps),
    }
}

/// Traces one call, looks at its steps, and sees that each sync which does anything is missed.
fn check_order(way: Way, prepare: fn(&Place), expected: &[&str], fresh: bool) {
    if !trace::has_names() {
        return;
    }
    let place = Place::new();
    prepare(&place);
    let scenarios = fs::canonicalize(place.product.root()).unwrap().join("scenarios");
    let disk = if fresh { trace::Disk::with_fresh(&scenarios) } else { trace::Disk::default() };
    let action = if way == Way::Hide { "hide" } else { "restore" };
    let (ran, calls) = trace::run(&place.product, "", &[SHUFFLE, action]);
    ran.code(0);
    let calls: Vec<trace::Call> =
        calls.into_iter().filter(|call| !trace::is_output(call)).collect();
    let vault = place.vault();
    let read = |calls: &[trace::Call]| steps(calls, &vault, &scenarios, disk.clone());
    assert_eq!(read(&calls).as_deref(), Ok(expected));
    // What each call is about.
    let opened: Vec<_> = calls
        .iter()
        .scan(disk.clone(), |disk, call| {
            let paths = disk.paths(call);
            disk.apply(call);
            Some(paths)
        })
        .collect();
    let mut now = disk.clone();
    let mut needed = 0;
    for (index, call) in calls.iter().enumerate() {
        let pending = now.all_pending();
        now.apply(call);
        if call.name == "fsync" && now.all_pending() != pending {
            // Without it, and without another that does the same before anything else happens.
            let rest = calls[index..].iter().position(|c| c.changes() && c.name != "fsync");
            let until = rest.map_or(calls.len(), |rest| index + rest);
            let same = |at: usize| {
                (index..until).contains(&at)
                    && calls[at].name == "fsync"
                    && opened[at] == opened[index]
            };
            let without: Vec<_> =
                (0..calls.len()).filter(|at| !same(*at)).map(|at| calls[at].clone()).collect();
            let found = read(&without);
            assert!(found.is_err(), "{call:?} could be left out: {found:?}");
            needed += 1;
        }
    }
    assert!(needed >= 9, "{needed}");
}

#[test]
fn a_trace_shows_that_hiding_makes_each_step_durable_before_the_next() {
    let expected = [
        "copy read back",
        "journal",
        "named",
        "set aside",
        "original compared",
        "doomed",
        "removed",
    ];
    check_order(Way::Hide, nothing, &expected, false);
}

#[test]
fn a_trace_shows_that_restoring_makes_each_step_durable_before_the_next() {
    let expected = ["stage read back", "put back", "given up", "journal removed", "copy removed"];
    check_order(Way::Restore, hidden, &expected, false);
    check_order(Way::Restore, hidden_behind_a_link, &expected, false);
}

#[test]
fn a_trace_shows_that_scenarios_put_back_by_hand_are_made_durable_before_the_copy_goes() {
    let by_hand = |place: &Place| {
        place.hide().code(0);
        let status = Command::new("cp")
            .arg("-a")
            .args([place.vault().join("copy"), place.place()])
            .status()
            .unwrap();
        assert!(status.success());
    };
    check_order(Way::Restore, by_hand, &["given up", "journal removed", "copy removed"], true);
}

#[test]
fn a_trace_shows_that_a_turn_is_recorded_before_and_after_its_agent() {
    if !trace::has_names() {
        return;
    }
    let product = Product::new();
    let agent = product.base().join("the-agent");
    fs::write(&agent, "#!/bin/sh\necho two >> words.txt\n").unwrap();
    fs::set_permissions(&agent, Permissions::from_mode(0o755)).unwrap();
    let product = product
        .file("words.txt", "one\n")
        .scenario("two", "grep -q two words.txt")
        .config(&format!("agent: {{backend: command, command: [{}]}}\n", agent.display()))
        .committed();
    let (ran, calls) = trace::run(&product, "", &[ITERATE]);
    ran.code(0).says("converged");
    let first = |what: &str, found: &dyn Fn(&trace::Call) -> bool| {
        calls.iter().find(|call| found(call)).unwrap_or_else(|| panic!("no {what}")).lines
    };
    let says = |event: &'static str| {
        move |call: &trace::Call| call.name == "write" && call.args.contains(event)
    };
    // The first sync of any file that began after `line`, by name of the call.
    let synced =
        |call: &str, line: usize| first("sync", &|one| one.name == call && one.lines.0 > line).1;
    let renamed = |name: &str| {
        first(name, &|call| call.name.starts_with("rename") && call.args.contains(name))
    };
    let begun = first("agent", &|call| call.name == "execve" && call.args.contains("/the-agent\""));
    let announced = synced("fdatasync", first("start", &says("\\\"agent.started\\\"")).0);
    assert!(announced < begun.0, "the journal tells of the turn before it begins");
    let started = renamed("/started.json\"");
    assert!(synced("fsync", started.1) < begun.0, "so does the turn's own record");
    let ended = renamed("/ended.json\"");
    assert!(ended.0 > begun.1);
    let finished = first("end", &says("\\\"agent.finished\\\""));
    assert!(synced("fsync", ended.1) < finished.0, "its end is durable before it is told");
    let delivered = first("delivery", &says("\\\"delivery.")).0;
    assert!(synced("fdatasync", finished.0) < delivered, "and told before anything follows");
}
