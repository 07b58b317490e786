//! Behaviours of a managed tree, against real repositories.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::delivery::{Found, OtherKind, Scan, What};
use crate::git::testing::{Fixture, fixture, git, path};
use crate::git::{Change, Mode, ObjectFormat, Oid, Tree};
use crate::id::hex;

struct Managed {
    fixture: Fixture,
    tree: ManagedTree,
}

impl Managed {
    fn new() -> Self {
        Self::with(ObjectFormat::Sha1)
    }

    fn with(format: ObjectFormat) -> Self {
        let fixture = fixture(format);
        let state = fixture.dir.path().join("state");
        let tree = ManagedTree::open(&state.join("tree"), &state.join("tree.manifest")).unwrap();
        Self { fixture, tree }
    }

    fn at(&self, at: &str) -> PathBuf {
        self.tree.root().join(at)
    }

    fn put(&self, at: &str, text: &str) {
        fs::create_dir_all(self.at(at).parent().unwrap()).unwrap();
        fs::write(self.at(at), text).unwrap();
    }

    fn text(&self, at: &str) -> String {
        fs::read_to_string(self.at(at)).unwrap()
    }

    /// Sets the tree to these plain files.
    fn set(&mut self, files: &[(&str, &str)]) -> SyncReport {
        let tree = self.fixture.tree(files);
        self.sync(&tree)
    }

    fn sync(&mut self, tree: &Oid) -> SyncReport {
        let listed = self.fixture.repo.list(tree).unwrap();
        self.tree.sync(&self.fixture.repo, &listed).unwrap()
    }

    fn scan(&self) -> Scan {
        self.tree.scan(&self.fixture.repo, ScanLimits::default()).unwrap()
    }

    /// Forgets what is in memory, as a new process does.
    fn reopen(&mut self) {
        let state = self.fixture.dir.path().join("state");
        self.tree = ManagedTree::open(&state.join("tree"), &state.join("tree.manifest")).unwrap();
    }

    /// Checks what a scan finds, as `path: what`.
    fn check(&self, expected: &[&str]) {
        let scan = self.scan();
        let found: Vec<_> = scan
            .found
            .iter()
            .map(|found| {
                let what = match &found.what {
                    What::File { executable, bytes, .. } => {
                        format!("{bytes}{}", if *executable { "x" } else { "" })
                    }
                    What::Symlink { target, .. } => {
                        format!("-> {}", String::from_utf8_lossy(target))
                    }
                    What::Directory { files, .. } => format!("{files} files"),
                    What::Unlisted { files } => format!("{files} more files"),
                    What::Removed => "removed".to_owned(),
                    What::Other(kind) => format!("{kind:?}").to_lowercase(),
                };
                format!("{}: {what}", found.path)
            })
            .chain(scan.ignored.iter().map(|path| format!("{path}: ignored")))
            .collect();
        assert_eq!(found, expected);
        assert!(!scan.truncated);
    }
}

#[test]
fn a_tree_is_exactly_the_candidate() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let mut managed = Managed::with(format);
        let f = &managed.fixture;
        let changes = [
            f.set("a/run", Mode::Executable, b"#!/bin/sh\n"),
            f.set("a/empty", Mode::File, b""),
            f.set(b"b\n\xff\t", Mode::File, b"\0\r\n\xff"),
            f.set("link", Mode::Symlink, b"/etc/passwd"),
            f.set("Case", Mode::File, b"1"),
            f.set("case", Mode::File, b"2"),
        ];
        let tree = f.repo.write_tree(None, &changes).unwrap();
        let report = managed.sync(&tree);
        assert_eq!(report, SyncReport { written: 6, removed: 0, notices: vec![] });
        assert_eq!(managed.at("a/run").metadata().unwrap().mode() & 0o777, 0o755);
        assert_eq!(fs::read_link(managed.at("link")).unwrap(), Path::new("/etc/passwd"));
        let odd = managed.tree.root().join(OsStr::from_bytes(b"b\n\xff\t"));
        assert_eq!(fs::read(odd).unwrap(), b"\0\r\n\xff");
        assert_eq!((managed.text("Case"), managed.text("case")), ("1".into(), "2".into()));
        managed.check(&[]);
        assert_eq!(managed.sync(&tree), SyncReport::default());
        managed.reopen();
        managed.check(&[]);
        assert_eq!(managed.sync(&tree), SyncReport::default());
        assert_eq!(managed.tree.root().metadata().unwrap().mode() & 0o777, 0o700);
    }
}

#[test]
fn only_what_differs_is_written() {
    let mut managed = Managed::new();
    managed.set(&[("a", "1"), ("b", "1"), ("d/e", "1")]);
    let times = |managed: &Managed| managed.at("a").metadata().unwrap().modified().unwrap();
    let before = times(&managed);
    let report = managed.set(&[("a", "1"), ("b", "2"), ("c", "1")]);
    assert_eq!((report.written, report.removed), (2, 1));
    assert_eq!(times(&managed), before);
    assert!(!managed.at("d").exists(), "an empty directory is gone");
}

#[test]
fn a_scan_tells_what_an_agent_did() {
    let mut managed = Managed::new();
    managed.set(&[("a", "1"), ("b", "1"), ("c", "1"), ("d/x", "1"), ("e", "1"), ("f", "1")]);
    managed.put("a", "22");
    managed.put("b", "1");
    fs::set_permissions(managed.at("c"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(managed.at("d"), managed.at("moved")).unwrap();
    symlink("/etc", managed.at("d")).unwrap();
    fs::remove_file(managed.at("e")).unwrap();
    managed.put("e/inside", "");
    fs::remove_file(managed.at("f")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, managed.at("f"), at::permissions(0o600)).unwrap();
    fs::create_dir(managed.at("empty")).unwrap();
    let expected = [
        "a: 2",
        "c: 1x",
        "d: -> /etc",
        "d/x: removed",
        "e: removed",
        "e/inside: 0",
        "f: fifo",
        "moved/x: 1",
    ];
    managed.check(&expected);
    managed.reopen();
    managed.check(&expected);
    managed.set(&[("a", "1"), ("b", "1"), ("c", "1"), ("d/x", "1"), ("e", "1"), ("f", "1")]);
    managed.check(&[]);
}

#[test]
fn a_change_of_the_same_size_and_time_is_found() {
    let mut managed = Managed::new();
    managed.set(&[("a", "1")]);
    let times = managed.at("a").metadata().unwrap().modified().unwrap();
    managed.put("a", "2");
    fs::File::options().write(true).open(managed.at("a")).unwrap().set_modified(times).unwrap();
    managed.check(&["a: 1"]);
}

#[test]
fn a_git_directory_is_not_looked_at_and_does_not_stay() {
    let mut managed = Managed::new();
    managed.set(&[("a", "1"), ("src/b", "1")]);
    managed.put(".git/config", "[core]\n\tfsmonitor = touch /tmp/x\n");
    managed.put("src/.GIT/hooks/post-checkout", "");
    managed.put("vendor/new/.git/HEAD", "");
    managed.put("vendor/new/code", "1");
    managed.check(&["vendor/new/code: 1"]);
    managed.set(&[("a", "1"), ("src/b", "1")]);
    assert!(!managed.at(".git").exists() && !managed.at("src/.GIT").exists());
    assert!(!managed.at("vendor").exists());
}

#[test]
fn ignored_output_stays_and_is_named_once() {
    let mut managed = Managed::new();
    let files =
        [(".gitignore", "target/\n*.log\n!keep.log\n"), ("sub/.gitignore", "/own\n"), ("a", "1")];
    managed.set(&files);
    managed.put("target/deep/x", "");
    managed.put("x.log", "");
    managed.put("keep.log", "");
    managed.put("sub/own", "");
    managed.put("own", "");
    managed.put("venv/.gitignore", "*\n");
    managed.put("venv/bin/python", "");
    managed.check(&[
        "keep.log: 0",
        "own: 0",
        "sub/own: ignored",
        "target: ignored",
        "venv: ignored",
        "x.log: ignored",
    ]);
    let report = managed.set(&files);
    assert_eq!(report.removed, 2);
    for kept in ["target/deep/x", "x.log", "sub/own", "venv/bin/python"] {
        assert!(managed.at(kept).exists(), "{kept}");
    }
    managed.put("target/deep/y", "");
    managed.check(&[]);
}

#[test]
fn what_is_tracked_is_never_ignored() {
    let mut managed = Managed::new();
    let files = [(".gitignore", "out\n*.log\n"), ("out/kept", "1"), ("a.log", "1")];
    managed.set(&files);
    managed.put("out/kept", "2");
    managed.put("out/new", "");
    managed.put("a.log", "22");
    managed.check(&["a.log: 2", "out/kept: 1", "out/new: ignored"]);
    managed.set(&files);
    managed.check(&[]);
    assert!(managed.at("out/new").exists());
    assert_eq!(managed.text("out/kept"), "1");
    // Once it is no longer tracked it goes, and what was ignored beside it stays.
    managed.set(&files[..1]);
    assert!(!managed.at("out/kept").exists() && !managed.at("a.log").exists());
    assert!(managed.at("out/new").exists());
}

#[test]
fn an_agents_own_patterns_hide_nothing_among_tracked_files() {
    let mut managed = Managed::new();
    managed.set(&[("src/a", "1")]);
    managed.put("src/.gitignore", "*\n");
    managed.put("src/hidden", "");
    managed.check(&["src/.gitignore: ignored", "src/hidden: ignored"]);
    managed.set(&[("src/a", "1")]);
    assert!(!managed.at("src/hidden").exists() && !managed.at("src/.gitignore").exists());
}

#[test]
fn nothing_is_written_through_links_of_an_agent() {
    let mut managed = Managed::new();
    let files = [("d/a", "1"), ("h", "1"), ("l", "1"), ("x/.gitignore", "y\n")];
    managed.set(&files);
    let outside = managed.fixture.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for name in ["a", "hard", "l", ".gitignore"] {
        fs::write(outside.join(name), "mine").unwrap();
    }
    for at in ["d", "x"] {
        fs::remove_dir_all(managed.at(at)).unwrap();
        symlink(&outside, managed.at(at)).unwrap();
    }
    fs::remove_file(managed.at("l")).unwrap();
    symlink(outside.join("l"), managed.at("l")).unwrap();
    fs::remove_file(managed.at("h")).unwrap();
    fs::hard_link(outside.join("hard"), managed.at("h")).unwrap();
    assert!(managed.tree.read(&path("d/a"), 100).is_err(), "a link is on the way");
    assert!(managed.tree.read(&path("l"), 100).is_err(), "a link is no file");
    managed.set(&files);
    managed.check(&[]);
    for name in ["a", "hard", "l", ".gitignore"] {
        assert_eq!(fs::read_to_string(outside.join(name)).unwrap(), "mine", "{name}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 4);
    assert!(!managed.at("d").is_symlink());
    // A second name outside with the right bytes could still change them later.
    fs::write(outside.join("same"), "1").unwrap();
    fs::remove_file(managed.at("h")).unwrap();
    fs::hard_link(outside.join("same"), managed.at("h")).unwrap();
    managed.set(&files);
    fs::write(outside.join("same"), "evil").unwrap();
    assert_eq!(managed.text("h"), "1");
}

#[test]
fn whatever_an_agent_left_in_the_way_goes() {
    let mut managed = Managed::new();
    let files = [("a", "1"), ("d/e", "1"), ("f", "1")];
    managed.set(&files);
    fs::remove_file(managed.at("a")).unwrap();
    managed.put("a/full/of/things", "");
    fs::remove_dir_all(managed.at("d")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, managed.at("d"), at::permissions(0o600)).unwrap();
    let mut deep = managed.at("deep");
    for _ in 0..300 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    for at in ["deep/d", "a/full", "a"] {
        fs::set_permissions(managed.at(at), fs::Permissions::from_mode(0o555)).unwrap();
    }
    fs::set_permissions(managed.at("f"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(managed.tree.root(), fs::Permissions::from_mode(0o500)).unwrap();
    assert!(
        managed.scan().found.iter().any(|found| found.what == What::Other(OtherKind::Unreadable)
            && found.path.components().count() == MAX_DEPTH)
    );
    managed.set(&files);
    managed.check(&[]);
    assert_eq!(fs::read_dir(managed.tree.root()).unwrap().count(), 3);
    assert_eq!(managed.at("f").metadata().unwrap().mode() & 0o777, 0o644);
}

#[test]
fn a_flood_truncates_the_scan_and_is_swept_away() {
    let mut managed = Managed::new();
    managed.set(&[("a", "1")]);
    for index in 0..300 {
        managed.put(&format!("flood/{index}"), "x");
    }
    let limits = |set: fn(&mut ScanLimits)| {
        let mut limits = ScanLimits::default();
        set(&mut limits);
        managed.tree.scan(&managed.fixture.repo, limits).unwrap()
    };
    let counted = limits(|l| l.differing = 10);
    assert_eq!((counted.found.len(), counted.truncated), (11, false));
    let last = counted.found.iter().find(|found| found.what == What::Unlisted { files: 290 });
    assert!(last.is_some(), "{counted:?}");
    let unread = limits(|l| l.total_bytes = 100);
    assert!(unread.found.iter().any(|found| found.what == What::Unlisted { files: 200 }));
    let whole = limits(|l| l.directory = 10);
    let flood = Found { path: path("flood"), what: What::Directory { files: 300, bytes: 300 } };
    assert_eq!((whole.found.as_slice(), whole.truncated), ([flood].as_slice(), false));
    assert!(limits(|l| l.entries = 100).truncated);
    let unread = limits(|l| l.file_bytes = 0);
    assert!(!unread.truncated);
    assert!(matches!(&unread.found[0].what, What::File { blob, bytes: 1, .. } if blob.is_empty()));
    assert_eq!(managed.set(&[("a", "1")]).removed, 300);
    managed.check(&[]);
}

#[test]
fn of_new_directories_the_innermost_with_too_much_is_listed_itself() {
    let mut managed = Managed::new();
    managed.set(&[("src/a", "1")]);
    for index in 0..30 {
        managed.put(&format!("app/modules/{}/{index}", index % 3), "x");
        managed.put(&format!("src/{index}"), "x");
    }
    managed.put("app/main.js", "x");
    managed.put("app/zoo/a", "x");
    managed.put("src/a", "2");
    let limits = ScanLimits { directory: 12, ..ScanLimits::default() };
    let scan = managed.tree.scan(&managed.fixture.repo, limits).unwrap();
    let of = |at: &str| scan.found.iter().find(|found| found.path == path(at)).map(|f| &f.what);
    assert_eq!(of("app/modules"), Some(&What::Directory { files: 30, bytes: 30 }));
    assert!(of("app/main.js").is_some() && of("app/zoo/a").is_some(), "{scan:?}");
    // Where something is tracked nothing is hidden in an entry.
    assert!(of("src/29").is_some() && of("src/a").is_some() && of("src").is_none());
    assert_eq!(scan.found.len(), 3 + 31);
}

#[test]
fn a_file_is_read_up_to_a_limit() {
    let mut managed = Managed::new();
    managed.set(&[("a", "12345")]);
    assert_eq!(managed.tree.read(&path("a"), 5).unwrap(), b"12345");
    assert!(matches!(managed.tree.read(&path("a"), 4), Err(TreeError::TooLarge { .. })));
    for missing in ["b", "a/b", "."] {
        let Ok(at) = TreePath::parse(missing) else { continue };
        assert!(matches!(managed.tree.read(&at, 4), Err(TreeError::NotAFile { .. })));
    }
}

#[test]
fn a_link_in_place_of_the_tree_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    symlink("/etc", dir.path().join("tree")).unwrap();
    let opened = ManagedTree::open(&dir.path().join("tree"), &dir.path().join("m"));
    assert!(matches!(opened, Err(TreeError::NotADirectory { .. })));
}

#[test]
fn a_tree_that_was_never_whole_is_not_compared() {
    let mut managed = Managed::new();
    let scan = managed.tree.scan(&managed.fixture.repo, ScanLimits::default());
    assert!(matches!(scan, Err(TreeError::NotSynced { .. })));
    managed.set(&[("a", "1")]);
    // A blob that is missing cuts the next sync short.
    let mut tree: Tree = managed.fixture.repo.list(&managed.fixture.tree(&[("a", "2")])).unwrap();
    tree.values_mut().for_each(|entry| entry.oid = Oid::parse(&"1".repeat(40)).unwrap());
    assert!(matches!(
        managed.tree.sync(&managed.fixture.repo, &tree),
        Err(TreeError::Git(GitError::Missing { .. }))
    ));
    let scan = managed.tree.scan(&managed.fixture.repo, ScanLimits::default());
    assert!(matches!(scan, Err(TreeError::NotSynced { .. })));
    managed.reopen();
    managed.set(&[("a", "2")]);
    managed.check(&[]);
    assert_eq!(managed.text("a"), "2");
}

#[test]
fn without_its_manifest_a_tree_is_compared_by_bytes() {
    let mut managed = Managed::new();
    managed.set(&[("a", "1"), ("b", "1")]);
    fs::write(managed.fixture.dir.path().join("state/tree.manifest"), "damaged").unwrap();
    managed.put("b", "2");
    managed.reopen();
    assert_eq!(managed.set(&[("a", "1"), ("b", "1")]).written, 1);
    managed.check(&[]);
}

#[test]
fn a_tree_made_by_hand_writes_no_git_directory() {
    let mut managed = Managed::new();
    let f = &managed.fixture;
    let mut tree = f.repo.list(&f.tree(&[("a", "1")])).unwrap();
    let entry = tree[&path("a")].clone();
    tree.insert(path("x/.Git/config"), entry);
    let error = managed.tree.sync(&managed.fixture.repo, &tree).unwrap_err();
    assert!(matches!(error, TreeError::Forbidden { .. }), "{error}");
}

#[test]
fn large_files_come_from_where_git_lfs_keeps_them() {
    let mut managed = Managed::new();
    let bytes = vec![b'x'; 300_000];
    let digest = hex(&Sha256::digest(&bytes));
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 300000\n");
    // Where no attribute says so, such a text is a text.
    assert_eq!(managed.set(&[("big.bin", pointer.as_str())]).notices, Vec::<String>::new());
    let files =
        [(".gitattributes", "*.bin filter=lfs\n"), ("big.bin", pointer.as_str()), ("a", "1")];
    let missing = managed.set(&files);
    assert_eq!(missing.notices.len(), 1);
    assert!(
        missing.notices[0].contains("`big.bin`") && missing.notices[0].contains("git lfs fetch")
    );
    assert_eq!(managed.text("big.bin"), pointer);
    managed.check(&[]);
    assert_eq!(managed.set(&files), SyncReport { written: 0, ..missing.clone() });

    let home = managed.fixture.repo.common_dir().join("lfs/objects");
    let home = home.join(&digest[..2]).join(&digest[2..4]);
    fs::create_dir_all(&home).unwrap();
    // The right size and the wrong bytes: the pointer stays.
    fs::write(home.join(&digest), vec![b'y'; 300_000]).unwrap();
    assert_eq!(managed.set(&files).notices, missing.notices);
    assert_eq!(managed.text("big.bin"), pointer);
    fs::write(home.join(&digest), &bytes).unwrap();
    assert_eq!(managed.set(&files), SyncReport { written: 1, removed: 0, notices: vec![] });
    assert_eq!(fs::read(managed.at("big.bin")).unwrap(), bytes);
    managed.check(&[]);
    managed.reopen();
    managed.put("big.bin", &"x".repeat(300_000));
    managed.check(&[]);
    assert_eq!(managed.set(&files), SyncReport::default());
    managed.put("big.bin", "small");
    managed.check(&["big.bin: 5"]);
    managed.set(&files);
    assert_eq!(fs::read(managed.at("big.bin")).unwrap(), bytes);
}

#[test]
fn submodules_come_from_this_machine_or_are_named() {
    let mut managed = Managed::new();
    let root = managed.fixture.repo.root().to_owned();
    let (inner, lib) =
        (managed.fixture.dir.path().join("inner"), managed.fixture.dir.path().join("lib"));
    for (dir, name) in [(&inner, "deep"), (&lib, "code")] {
        fs::create_dir(dir).unwrap();
        git(dir, &["init", "--quiet"]);
        fs::write(dir.join(name), name).unwrap();
        git(dir, &["add", "."]);
        git(dir, &["commit", "--quiet", "-m", "Begin"]);
    }
    git(&lib, &["submodule", "--quiet", "add", inner.to_str().unwrap(), "in"]);
    git(&lib, &["commit", "--quiet", "-m", "Use inner"]);
    let url = lib.to_str().unwrap();
    git(&root, &["submodule", "--quiet", "add", "--name", "a name", url, "vendor/lib"]);
    git(&root, &["commit", "--quiet", "-m", "Use lib"]);
    let head = managed.fixture.head();

    let report = managed.sync(&head);
    assert_eq!(managed.text("vendor/lib/code"), "code");
    assert!(managed.at("vendor/lib/in").is_dir());
    assert_eq!(report.notices.len(), 1, "{report:?}");
    assert!(report.notices[0].contains("git submodule update --init"));
    assert_eq!(managed.tree.submodules(), [path("vendor/lib"), path("vendor/lib/in")]);
    managed.check(&[]);

    git(&root, &["submodule", "--quiet", "update", "--init", "--recursive"]);
    assert_eq!(managed.sync(&head), SyncReport { written: 1, removed: 0, notices: vec![] });
    assert_eq!(managed.text("vendor/lib/in/deep"), "deep");
    managed.put("vendor/lib/code", "changed");
    managed.check(&["vendor/lib/code: 7"]);

    // Kept in the checkout alone, it is found as well.
    fs::remove_dir_all(managed.at("vendor")).unwrap();
    fs::remove_dir_all(root.join(".git/modules")).unwrap();
    fs::remove_dir_all(root.join("vendor/lib")).unwrap();
    git(&root, &["clone", "--quiet", url, "vendor/lib"]);
    managed.sync(&head);
    assert_eq!(managed.text("vendor/lib/code"), "code");
    fs::remove_dir_all(root.join("vendor/lib")).unwrap();
    let report = managed.sync(&head);
    assert!(managed.at("vendor/lib").is_dir() && !managed.at("vendor/lib/code").exists());
    assert!(report.notices[0].contains("`vendor/lib` is empty"), "{report:?}");
    managed.check(&[]);
}

#[test]
fn a_submodule_with_a_hostile_name_reaches_nothing() {
    let mut managed = Managed::new();
    let f = &managed.fixture;
    let text = b"[submodule \"../../outside\"]\n\tpath = s\n\turl = x\n";
    let commit = f.head();
    let changes = [
        f.set(".gitmodules", Mode::File, text),
        Change::Set { path: path("s"), mode: Mode::Submodule, oid: commit },
    ];
    let outside = f.repo.git_dir().join("outside");
    git(f.dir.path(), &["clone", "--quiet", "--bare", "repo", outside.to_str().unwrap()]);
    let tree = f.repo.write_tree(None, &changes).unwrap();
    assert!(managed.sync(&tree).notices[0].contains("is empty"));
}

type Files = BTreeMap<Vec<u8>, (Mode, Vec<u8>)>;

/// Names of any bytes, short, so that files and directories meet; and contents.
fn files() -> impl Strategy<Value = Files> {
    let name = prop_oneof![
        4 => prop::sample::select(vec![&b"a"[..], b"b", b"A", b"a b", b"\n", b"\xff\xfe", b"-x", b"\\"]),
        1 => Just(&b".gitattributes"[..]),
    ];
    let place = prop::collection::vec(name, 1..4).prop_map(|parts| parts.join(&b'/'));
    let mode = prop::sample::select(vec![Mode::File, Mode::Executable, Mode::Symlink]);
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        Just(b"* text=auto eol=crlf filter=lfs\n".to_vec()),
        Just(vec![b'\n'; 5_000]),
    ];
    prop::collection::btree_map(place, (mode, bytes), 0..12).prop_map(|all| {
        let mut files = Files::new();
        for (place, (mode, mut bytes)) in all {
            if mode == Mode::Symlink {
                bytes.retain(|byte| *byte != 0);
                bytes.truncate(200);
                bytes.push(b't');
            }
            // A path that lies below a file is left out.
            let below =
                |a: &[u8], b: &[u8]| a.strip_prefix(b).is_some_and(|rest| rest.starts_with(b"/"));
            if !files.keys().any(|other| below(&place, other) || below(other, &place)) {
                files.insert(place, (mode, bytes));
            }
        }
        files
    })
}

fn write(managed: &Managed, files: &Files) -> Oid {
    let repo = &managed.fixture.repo;
    let bytes: Vec<_> = files.values().map(|(_, bytes)| bytes).collect();
    let oids = repo.write_blobs(&bytes).unwrap();
    let changes: Vec<_> = files
        .iter()
        .zip(oids)
        .map(|((at, (mode, _)), oid)| Change::Set { path: path(at), mode: *mode, oid })
        .collect();
    repo.write_tree(None, &changes).unwrap()
}

/// Makes the tree on disk what `files` says, as an agent would.
fn edit(managed: &Managed, files: &Files, removed: &[&Vec<u8>]) {
    for at in removed {
        let at = path(at).under(managed.tree.root());
        let _ = if at.is_dir() { fs::remove_dir_all(&at) } else { fs::remove_file(&at) };
    }
    for (at, (mode, bytes)) in files {
        let at = path(at).under(managed.tree.root());
        let mut above = managed.tree.root().to_owned();
        for part in at.parent().unwrap().strip_prefix(managed.tree.root()).unwrap() {
            above.push(part);
            if above.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
                fs::remove_file(&above).unwrap();
            }
        }
        fs::create_dir_all(&above).unwrap();
        if at.is_dir() && !at.is_symlink() {
            fs::remove_dir_all(&at).unwrap();
        } else {
            let _ = fs::remove_file(&at);
        }
        if *mode == Mode::Symlink {
            symlink(OsStr::from_bytes(bytes), &at).unwrap();
        } else {
            fs::write(&at, bytes).unwrap();
            let bits = if *mode == Mode::Executable { 0o755 } else { 0o644 };
            fs::set_permissions(&at, fs::Permissions::from_mode(bits)).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_and_any_edit_make_the_round_trip(
        before in files(),
        after in files(),
        drop in any::<u64>(),
    ) {
        let mut managed = Managed::new();
        let base = write(&managed, &before);
        managed.sync(&base);
        managed.check(&[]);

        let removed: Vec<_> = before
            .keys()
            .enumerate()
            .filter(|(index, _)| drop >> (index % 64) & 1 == 1)
            .map(|(_, at)| at)
            .collect();
        edit(&managed, &after, &removed);
        let scan = managed.scan();
        let mut changes = Vec::new();
        for found in scan.found {
            let (mode, expected) = match found.what {
                What::File { executable: true, blob, .. } => (Mode::Executable, blob),
                What::File { blob, .. } => (Mode::File, blob),
                What::Symlink { blob, .. } => (Mode::Symlink, blob),
                What::Removed => {
                    changes.push(Change::Remove { path: found.path });
                    continue;
                }
                what @ (What::Other(_) | What::Directory { .. } | What::Unlisted { .. }) => {
                    panic!("{what:?}")
                }
            };
            let bytes = if mode == Mode::Symlink {
                fs::read_link(found.path.under(managed.tree.root())).unwrap().into_os_string().into_encoded_bytes()
            } else {
                managed.tree.read(&found.path, 10_000).unwrap()
            };
            let oid = managed.fixture.repo.write_blobs(&[bytes]).unwrap().remove(0);
            prop_assert_eq!(oid.as_str(), expected);
            changes.push(Change::Set { path: found.path, mode, oid });
        }
        let result = managed.fixture.repo.write_tree(Some(&base), &changes).unwrap();
        let report = managed.sync(&result);
        prop_assert_eq!(report.removed, 0);
        managed.check(&[]);
        // Whatever was kept and whatever was edited, the edited files are in the result.
        let listed = managed.fixture.repo.list(&result).unwrap();
        for (at, (mode, bytes)) in &after {
            let entry = &listed[&path(at)];
            prop_assert_eq!(entry.mode, *mode);
            prop_assert_eq!(&entry.oid, &crate::git::blob_id(ObjectFormat::Sha1, bytes));
        }
        // And back.
        managed.sync(&base);
        managed.check(&[]);
    }
}

#[test]
fn what_is_kept_stays_though_no_pattern_names_it() {
    let mut managed = Managed::new();
    managed.tree = managed.tree.keeping(vec![path("deps/out"), path("made.txt")]);
    managed.set(&[("a", "1"), ("deps/list", "1")]);
    for kept in ["deps/out/lib/x", "made.txt"] {
        managed.put(kept, "kept");
    }
    for stray in ["deps/stray", "deps/outer", "stray"] {
        managed.put(stray, "gone");
    }
    managed.set(&[("a", "2"), ("deps/list", "1")]);
    assert_eq!(
        (managed.text("deps/out/lib/x"), managed.text("made.txt")),
        ("kept".into(), "kept".into())
    );
    for stray in ["deps/stray", "deps/outer", "stray"] {
        assert!(!managed.at(stray).exists(), "{stray}");
    }
}

#[test]
fn a_fresh_tree_holds_nothing_of_what_was_built_there() {
    let mut managed = Managed::new();
    managed.tree = managed.tree.keeping(vec![path("deps")]);
    let files = [(".gitignore", "target/\n"), ("src/a", "1")];
    managed.set(&files);
    for built in ["target/deep/x", "deps/x", "venv/.gitignore", "venv/x", "src/stray"] {
        managed.put(built, "*\n");
    }
    let tree = managed.fixture.tree(&files);
    let listed = managed.fixture.repo.list(&tree).unwrap();
    managed.tree.sync_fresh(&managed.fixture.repo, &listed).unwrap();
    for gone in ["target", "deps", "venv", "src/stray"] {
        assert!(!managed.at(gone).exists(), "{gone}");
    }
    assert_eq!(managed.text("src/a"), "1");
    managed.check(&[]);
}

#[test]
fn converted_files_are_made_once_and_anew_with_other_settings() {
    let mut managed = Managed::new();
    let files = |end: &str| [(".gitattributes", format!("*.txt {end}\n")), ("a.txt", "1\n".into())];
    let set = |managed: &mut Managed, end: &str| {
        let files = files(end);
        let files: Vec<(&str, &str)> = files.iter().map(|(at, text)| (*at, &**text)).collect();
        managed.set(&files)
    };
    assert_eq!(set(&mut managed, "eol=crlf").written, 2);
    assert_eq!(managed.text("a.txt"), "1\r\n");
    assert_eq!(set(&mut managed, "eol=crlf").written, 0);
    managed.reopen();
    assert_eq!(set(&mut managed, "eol=crlf").written, 0);
    managed.check(&[]);
    // The blob's own bytes are not what a checkout has.
    managed.put("a.txt", "1\n");
    managed.check(&["a.txt: 2"]);
    assert_eq!(set(&mut managed, "eol=crlf").written, 1);
    assert_eq!(managed.text("a.txt"), "1\r\n");
    set(&mut managed, "eol=lf");
    assert_eq!(managed.text("a.txt"), "1\n");
}
