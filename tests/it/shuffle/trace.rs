//! What a program asked of the system, read from a trace of it, and what of that a power failure
//! at each moment could have taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Product, Ran};

/// What changes files, under all the names that it has.
const CALLS: &str = "?open,?creat,openat,close,write,?pwrite64,?writev,?sendfile,\
    ?copy_file_range,?ftruncate,fsync,fdatasync,?rename,?renameat,renameat2,?unlink,unlinkat,?rmdir,\
    ?mkdir,mkdirat,?symlink,symlinkat,?link,linkat,?chmod,fchmod,fchmodat,utimensat,execve";

/// A call that has succeeded.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// The line on which it began, and that on which it had ended.
    pub(super) lines: (usize, usize),
    pub(super) name: String,
    pub(super) args: String,
    pub(super) result: i64,
    /// How many calls of this name the process had made, this one included, failed ones as well.
    pub(super) number: u32,
}

/// Returns whether programs can be traced here; says why where they can't.
#[expect(clippy::print_stdout, reason = "whoever reads the tests' output is to know")]
pub(super) fn is_possible() -> bool {
    let possible = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).output();
    match possible {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            println!("skipped: strace can't: {}", String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(error) => {
            println!("skipped: strace can't be started: {error}");
            false
        }
    }
}

/// Returns whether a trace says which files the calls are about; says why where it doesn't.
#[expect(clippy::print_stdout, reason = "whoever reads the tests' output is to know")]
pub(super) fn has_names() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!(
            "skipped: the memory of the factory's programs is closed to a plain user's strace"
        );
    }
    is_root && is_possible()
}

/// Runs a program under strace; `inject` is what strace is to do to its calls.
pub(super) fn run(product: &Product, inject: &str, program: &[&str]) -> (Ran, Vec<Call>) {
    let log = product.base().join("trace");
    let mut command = product.clean("strace");
    command.args(["-f", "-qq", "-s", "300", "-e", "signal=none", "-o"]).arg(&log);
    command.arg("-e").arg(format!("trace={CALLS}"));
    if !inject.is_empty() {
        command.arg("-e").arg(format!("inject={inject}"));
    }
    command.args(program);
    let ran = product.start(command).wait();
    (ran, parse(&String::from_utf8_lossy(&fs::read(log).unwrap())))
}

/// Reads strace's lines, `PID NAME(ARGS) = RESULT`; a call during which another process made one
/// has two lines.
fn parse(text: &str) -> Vec<Call> {
    let mut begun: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let mut numbers: BTreeMap<(&str, String), u32> = BTreeMap::new();
    let mut calls = Vec::new();
    for (line_number, line) in text.lines().enumerate() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(head) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(pid, (line_number, head.to_owned()));
            continue;
        }
        let (began, whole) = if rest.starts_with("<... ") {
            let Some((began, head)) = begun.remove(pid) else { continue };
            let tail = rest.split_once(" resumed>").map_or("", |(_, tail)| tail);
            (began, format!("{head}{tail}"))
        } else {
            (line_number, rest.to_owned())
        };
        let Some((name, rest)) = whole.split_once('(') else { continue };
        let Some((args, result)) = rest.rsplit_once(" = ") else { continue };
        let number = numbers.entry((pid, name.to_owned())).or_default();
        *number += 1;
        let result = result.split_whitespace().next().and_then(|word| word.parse().ok());
        let Some(result) = result.filter(|result| *result >= 0) else { continue };
        let args = args.trim_end().trim_end_matches(')').to_owned();
        let lines = (began, line_number);
        calls.push(Call { lines, name: name.to_owned(), args, result, number: *number });
    }
    calls
}

impl Call {
    /// Returns the quoted arguments. The names in these tests have nothing to escape.
    fn quoted(&self) -> Vec<&str> {
        self.args.split('"').skip(1).step_by(2).collect()
    }

    fn number_at(&self, index: usize) -> i64 {
        self.args.split(", ").nth(index).and_then(|word| word.parse().ok()).unwrap_or(-1)
    }

    /// Returns whether the call changes a file or a directory, or makes one durable.
    pub(super) fn changes(&self) -> bool {
        match self.name.as_str() {
            "openat" | "open" => self.args.contains("O_CREAT"),
            "close" | "execve" => false,
            _ => true,
        }
    }
}

/// Returns whether the call writes to a stream that the program was started with.
pub(super) fn is_output(call: &Call) -> bool {
    call.name == "write" && matches!(call.number_at(0), 0..=2)
}

/// What was written and what of it is durable. Pessimistic: nothing is until it was asked for.
#[derive(Debug, Default, Clone)]
pub(super) struct Disk {
    open: BTreeMap<i64, PathBuf>,
    /// Files whose bytes or modes are not durable.
    contents: BTreeSet<PathBuf>,
    /// Names that came or went, and their directory was not synced since.
    names: BTreeSet<PathBuf>,
}

impl Disk {
    /// Takes what is at and below `root` for written and not durable.
    pub(super) fn with_fresh(root: &Path) -> Self {
        let mut disk = Self::default();
        disk.names.insert(root.to_owned());
        crate::support::walk(root, &mut |path, metadata| {
            disk.names.insert(path.to_owned());
            if metadata.is_file() {
                disk.contents.insert(path.to_owned());
            }
            true
        });
        disk
    }

    /// Returns what is not durable and lies at or below one of `roots`.
    pub(super) fn pending(&self, roots: &[&Path]) -> Vec<PathBuf> {
        let all = self.contents.iter().chain(&self.names);
        all.filter(|path| roots.iter().any(|root| path.starts_with(root))).cloned().collect()
    }

    /// Returns everything that is not durable.
    pub(super) fn all_pending(&self) -> Vec<PathBuf> {
        self.pending(&[Path::new("/")])
    }

    /// Returns whether the bytes of a file are not durable.
    pub(super) fn has_loose_bytes(&self, path: &Path) -> bool {
        self.contents.contains(path)
    }

    /// Returns the path of a call's target, and for a rename that from which it comes first.
    pub(super) fn paths(&self, call: &Call) -> Vec<PathBuf> {
        let at = |fd: i64, path: &str| match self.open.get(&fd) {
            Some(dir) if !path.starts_with('/') => dir.join(path),
            _ => PathBuf::from(path),
        };
        let quoted = call.quoted();
        match call.name.as_str() {
            "rename" => vec![quoted[0].into(), quoted[1].into()],
            "renameat" | "renameat2" => {
                vec![at(call.number_at(0), quoted[0]), at(call.number_at(2), quoted[1])]
            }
            "symlink" => vec![quoted[1].into()],
            "symlinkat" => vec![at(call.number_at(1), quoted[1])],
            "openat" | "unlinkat" | "mkdirat" | "fchmodat" => {
                vec![at(call.number_at(0), quoted[0])]
            }
            "open" | "creat" | "unlink" | "rmdir" | "mkdir" | "chmod" | "execve" => {
                vec![quoted[0].into()]
            }
            "copy_file_range" => self.open.get(&call.number_at(2)).cloned().into_iter().collect(),
            _ => self.open.get(&call.number_at(0)).cloned().into_iter().collect(),
        }
    }

    pub(super) fn apply(&mut self, call: &Call) {
        let paths = self.paths(call);
        let Some(path) = paths.last().cloned() else { return };
        match call.name.as_str() {
            "openat" | "open" | "creat" => {
                // Whether it was there before can't be seen; a lock is never anything but empty.
                if call.args.contains("O_CREAT") && !path.ends_with("lock") {
                    self.names.insert(path.clone());
                    self.contents.insert(path.clone());
                }
                self.open.insert(call.result, path);
            }
            "close" => {
                self.open.remove(&call.number_at(0));
            }
            "fsync" | "fdatasync" => {
                self.contents.remove(&path);
                self.names.retain(|name| name.parent() != Some(&path));
            }
            "mkdir" | "mkdirat" | "symlink" | "symlinkat" => {
                self.names.insert(path);
            }
            "unlink" | "unlinkat" | "rmdir" => {
                // With a directory goes what came and went in it.
                self.contents.retain(|held| !held.starts_with(&path));
                self.names.retain(|held| !held.starts_with(&path));
                self.names.insert(path);
            }
            "rename" | "renameat" | "renameat2" => {
                let from = &paths[0];
                for set in [&mut self.contents, &mut self.names] {
                    let moved: Vec<PathBuf> =
                        set.iter().filter(|held| held.starts_with(from)).cloned().collect();
                    for held in moved {
                        set.remove(&held);
                        let below = held.strip_prefix(from).unwrap();
                        let now = if below.as_os_str().is_empty() {
                            path.clone()
                        } else {
                            path.join(below)
                        };
                        set.insert(now);
                    }
                }
                self.names.extend([from.clone(), path]);
            }
            "chmod" | "fchmodat" | "execve" => {}
            _ => {
                self.contents.insert(path);
            }
        }
    }
}

#[test]
fn a_trace_is_read_and_what_is_not_durable_is_known() {
    let text = "7 mkdir(\"/v\", 0700) = 0\n\
        7 openat(AT_FDCWD, \"/v/a\", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3\n\
        7 write(3, \"x = (1)\", 7 <unfinished ...>\n\
        8 openat(AT_FDCWD, \"/lib\", O_RDONLY) = -1 ENOENT (No such file)\n\
        7 <... write resumed>) = 7\n\
        7 fsync(3) = 0\n\
        7 rename(\"/v\", \"/w\") = 0\n\
        7 openat(AT_FDCWD, \"/w\", O_RDONLY) = 4\n\
        7 fsync(4) = 0\n\
        7 openat(AT_FDCWD, \"/\", O_RDONLY) = 5\n\
        7 fsync(5) = 0\n";
    let calls = parse(text);
    let pending: Vec<String> = calls
        .iter()
        .scan(Disk::default(), |disk, call| {
            disk.apply(call);
            let shown: Vec<_> =
                disk.all_pending().iter().map(|path| path.display().to_string()).collect();
            Some(shown.join(" "))
        })
        .collect();
    assert_eq!(
        pending,
        [
            "/v",
            "/v/a /v /v/a",
            "/v/a /v /v/a",
            "/v /v/a",
            "/v /w /w/a",
            "/v /w /w/a",
            "/v /w",
            "/v /w",
            ""
        ]
    );
    assert_eq!(calls[2].lines, (2, 4));
    assert_eq!(calls[5].number, 2);
}
