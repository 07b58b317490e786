//! What of a turn's changes is taken where there are more than a turn may bring.
//!
//! Within the limits everything is. Beyond one of them whole directories go first that look like
//! a tool's output; of what is left then, changes of known files are taken before new ones, and
//! those by path. Which paths may come back at all is `policy`'s.

use std::collections::{BTreeMap, BTreeSet};

use super::{DropReason, Dropped, Found, Limits, What};
use crate::text::TreePath;

/// Names of directories that tools make and fill.
const MADE_BY_TOOLS: [&[u8]; 27] = [
    b".cache",
    b".eggs",
    b".gradle",
    b".mypy_cache",
    b".next",
    b".nox",
    b".nuxt",
    b".parcel-cache",
    b".pnpm-store",
    b".pytest_cache",
    b".ruff_cache",
    b".terraform",
    b".tox",
    b".venv",
    b".yarn",
    b"__pycache__",
    b"bower_components",
    b"build",
    b"coverage",
    b"dist",
    b"env",
    b"htmlcov",
    b"node_modules",
    b"obj",
    b"out",
    b"target",
    b"venv",
];

/// Files by which a tool says that the directory is its own: Python's virtual environments, and
/// the tag of caches that cargo and others leave.
const TAGS: [&[u8]; 2] = [b"pyvenv.cfg", b"CACHEDIR.TAG"];

/// A directory with fewer new files than this is not taken for a tool's output by its name.
const MANY: usize = 20;

/// Returns what of `changes`, which are sorted by path, a turn may bring; the rest goes to
/// `dropped`. `floods` are the new directories and files that nobody listed one by one, and `known`
/// holds the candidate's paths.
pub(super) fn fit(
    changes: Vec<Found>,
    floods: &[&Found],
    known: &BTreeSet<TreePath>,
    limits: Limits,
    dropped: &mut Vec<Dropped>,
) -> Vec<Found> {
    let mut left = Left { changes, limits, known, dropped, moved: BTreeSet::new() };
    let mut floods = floods.to_vec();
    if left.is_beyond() || !floods.is_empty() {
        left.without_tools_output(&mut floods);
    }
    for flood in floods {
        let reason = match flood.what {
            What::Unlisted { files } => DropReason::Unlisted { files },
            What::Directory { files, .. } => DropReason::Generated { files },
            _ => continue,
        };
        left.dropped.push(Dropped { path: flood.path.clone(), reason });
    }
    left.without_floods();
    left.within_the_limits();
    left.without_half_moves();
    left.changes
}

/// What is not dropped yet.
struct Left<'a> {
    changes: Vec<Found>,
    limits: Limits,
    known: &'a BTreeSet<TreePath>,
    dropped: &'a mut Vec<Dropped>,
    /// The names of new files that may be the other halves of moves, and were dropped.
    moved: BTreeSet<Vec<u8>>,
}

impl Left<'_> {
    fn is_new(&self, found: &Found) -> bool {
        found.what != What::Removed && !self.known.contains(&found.path)
    }

    /// Whether there is more than a turn may bring. A moved file counts once: what is written and
    /// what is removed have the same limit each.
    fn is_beyond(&self) -> bool {
        let removed = self.changes.iter().filter(|found| found.what == What::Removed).count();
        let bytes = self.changes.iter().fold(0_u64, |sum, found| sum.saturating_add(size(found)));
        removed.max(self.changes.len() - removed) > self.limits.files
            || bytes > self.limits.total_bytes
    }

    /// Whether nothing of the candidate lies at or below `directory`.
    fn is_new_directory(&self, directory: &TreePath) -> bool {
        // Between a directory and what lies below it other names sort: `a`, `a.b`, `a/b`.
        let from = self.known.range(directory.clone()..);
        let mut near = from.take_while(|path| path.as_bytes().starts_with(directory.as_bytes()));
        !near.any(|path| path.is_within(directory))
    }

    /// Drops the new directories that look like a tool's output by their name, or by what the tool
    /// left in them; the outermost of each.
    fn without_tools_output(&mut self, floods: &mut Vec<&Found>) {
        let tagged: BTreeSet<TreePath> = self
            .changes
            .iter()
            .filter(|found| self.is_new(found))
            .filter(|found| found.path.components().next_back().is_some_and(|n| TAGS.contains(&n)))
            .filter_map(|found| parents(&found.path).pop())
            .collect();
        let looks_made = |directory: &TreePath| {
            let name = directory.components().next_back().unwrap_or_default();
            MADE_BY_TOOLS.contains(&name) || tagged.contains(directory)
        };
        let mut new: BTreeMap<TreePath, bool> = BTreeMap::new();
        let mut root_of = |path: &TreePath, with_itself: bool| {
            let mut all = parents(path);
            all.extend(with_itself.then(|| path.clone()));
            all.into_iter().find(|directory| {
                looks_made(directory)
                    && *new
                        .entry(directory.clone())
                        .or_insert_with(|| self.is_new_directory(directory))
            })
        };
        let mut counts: BTreeMap<TreePath, usize> = BTreeMap::new();
        for found in self.changes.iter().filter(|found| self.is_new(found)) {
            if let Some(root) = root_of(&found.path, false) {
                *counts.entry(root).or_default() += 1;
            }
        }
        let mut others = Vec::new();
        for flood in std::mem::take(floods) {
            let files = match flood.what {
                What::Directory { files, .. } => Some(files),
                _ => None,
            };
            match files.and_then(|files| Some((files, root_of(&flood.path, true)?))) {
                Some((files, root)) => *counts.entry(root).or_default() += files,
                None => others.push(flood),
            }
        }
        *floods = others;
        counts.retain(|_, files| *files >= MANY);
        self.drop_directories(&counts, false);
    }

    /// Drops the innermost new directories that hold more new files than a turn may bring in all.
    fn without_floods(&mut self) {
        while self.is_beyond() {
            let mut counts: BTreeMap<TreePath, usize> = BTreeMap::new();
            for found in self.changes.iter().filter(|found| self.is_new(found)) {
                for directory in parents(&found.path) {
                    *counts.entry(directory).or_default() += 1;
                }
            }
            counts.retain(|_, files| *files > self.limits.files);
            let all: Vec<TreePath> = counts.keys().cloned().collect();
            counts.retain(|directory, _| {
                !all.iter().any(|inner| inner != directory && inner.is_within(directory))
                    && self.is_new_directory(directory)
            });
            if counts.is_empty() {
                return;
            }
            self.drop_directories(&counts, true);
        }
    }

    /// Drops what is new in the directories, each as one entry.
    fn drop_directories(&mut self, directories: &BTreeMap<TreePath, usize>, may_be_moved: bool) {
        for (directory, files) in directories {
            let reason = DropReason::Generated { files: *files };
            self.dropped.push(Dropped { path: directory.clone(), reason });
        }
        let moved = &mut self.moved;
        self.changes.retain(|found| {
            let is_in = parents(&found.path).iter().any(|above| directories.contains_key(above));
            if is_in && may_be_moved {
                moved.extend(name(&found.path));
            }
            !is_in
        });
    }

    /// Takes what fits: changes of known files first, then new files, both by path.
    fn within_the_limits(&mut self) {
        if !self.is_beyond() {
            return;
        }
        let (new, tracked): (Vec<Found>, Vec<Found>) =
            std::mem::take(&mut self.changes).into_iter().partition(|found| self.is_new(found));
        let (mut written, mut removed, mut bytes) = (0, 0, 0_u64);
        for found in tracked.into_iter().chain(new) {
            let count = if found.what == What::Removed { &mut removed } else { &mut written };
            let sum = bytes.saturating_add(size(&found));
            let reason = if *count >= self.limits.files {
                DropReason::BeyondFiles { limit: self.limits.files }
            } else if sum > self.limits.total_bytes {
                DropReason::BeyondBytes { limit: self.limits.total_bytes }
            } else {
                *count += 1;
                bytes = sum;
                self.changes.push(found);
                continue;
            };
            if self.is_new(&found) {
                self.moved.extend(name(&found.path));
            }
            self.dropped.push(Dropped { path: found.path, reason });
        }
        self.changes.sort_by(|a, b| a.path.cmp(&b.path));
    }

    /// Leaves files where they are whose new place may be among what is left out: a move that is
    /// taken by half would lose them.
    fn without_half_moves(&mut self) {
        let (moved, dropped) = (&self.moved, &mut self.dropped);
        self.changes.retain(|found| {
            let is_half = found.what == What::Removed
                && name(&found.path).is_some_and(|n| moved.contains(&n));
            if is_half {
                let reason = DropReason::HalfAMove;
                dropped.push(Dropped { path: found.path.clone(), reason });
            }
            !is_half
        });
    }
}

fn size(found: &Found) -> u64 {
    match &found.what {
        What::File { bytes, .. } => *bytes,
        What::Symlink { target, .. } => target.len() as u64,
        What::Directory { .. } | What::Unlisted { .. } | What::Removed | What::Other(_) => 0,
    }
}

fn name(path: &TreePath) -> Option<Vec<u8>> {
    path.components().next_back().map(<[u8]>::to_vec)
}

/// Returns the directories above a path, the outermost first.
fn parents(path: &TreePath) -> Vec<TreePath> {
    let bytes = path.as_bytes();
    let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.filter_map(|(at, _)| TreePath::parse(&bytes[..at]).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { files: 40, file_bytes: 1_000, total_bytes: 10_000 };

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    fn file(at: &str, bytes: u64) -> Found {
        let what = What::File { executable: false, bytes, blob: "0".repeat(40) };
        Found { path: path(at), what }
    }

    fn removed(at: &str) -> Found {
        Found { path: path(at), what: What::Removed }
    }

    fn many(directory: &str, count: usize) -> Vec<Found> {
        (0..count).map(|n| file(&format!("{directory}/{n:05}"), 1)).collect()
    }

    /// Returns what is taken, and what is dropped as `path class`, both sorted.
    fn fitted(mut changes: Vec<Found>, known: &[&str]) -> (Vec<String>, Vec<String>) {
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        let floods: Vec<Found> = changes
            .extract_if(.., |one| {
                matches!(one.what, What::Directory { .. } | What::Unlisted { .. })
            })
            .collect();
        let floods: Vec<&Found> = floods.iter().collect();
        let known = known.iter().map(|at| path(at)).collect();
        let mut dropped = Vec::new();
        let taken = fit(changes, &floods, &known, LIMITS, &mut dropped);
        let mut dropped: Vec<String> = dropped
            .iter()
            .map(|one| {
                let files = one.files().map_or_else(String::new, |files| format!(" {files}"));
                format!("{}{files} {}", one.shown_path(), one.reason.class())
            })
            .collect();
        dropped.sort();
        (taken.iter().map(|found| found.path.to_string()).collect(), dropped)
    }

    #[test]
    fn within_the_limits_everything_is_taken_whatever_its_name() {
        let (taken, dropped) = fitted(many("node_modules", 40), &[]);
        assert_eq!((taken.len(), dropped.len()), (40, 0));
    }

    #[test]
    fn a_tools_directory_is_one_entry_and_the_work_beside_it_is_taken() {
        let mut changes = many("app/venv/lib/site-packages", 41);
        changes.extend([file("app/venv/bin/activate", 1), file("app/main.py", 1)]);
        let (taken, dropped) = fitted(changes, &[]);
        assert_eq!(taken, ["app/main.py"]);
        assert_eq!(dropped, ["app/venv/ 42 generated"]);
    }

    #[test]
    fn a_tool_is_known_by_what_it_left() {
        let mut changes = many("my-python/lib", 41);
        changes.extend([file("my-python/pyvenv.cfg", 1), file("a", 1)]);
        let (taken, dropped) = fitted(changes, &[]);
        assert_eq!(taken, ["a"]);
        assert_eq!(dropped, ["my-python/ 42 generated"]);
    }

    #[test]
    fn a_directory_that_the_candidate_has_is_never_dropped_whole() {
        let (taken, dropped) = fitted(many("build", 41), &["build/known"]);
        assert_eq!(taken.len(), 40);
        assert_eq!(dropped, ["build/00040 too_many_files"]);
    }

    #[test]
    fn the_innermost_flood_is_dropped_and_not_what_stands_beside_it() {
        let mut changes = many("app/images", 41);
        changes.extend(many("app/src", 30));
        let (taken, dropped) = fitted(changes, &[]);
        assert_eq!(taken.len(), 30);
        assert_eq!(dropped, ["app/images/ 41 generated"]);
    }

    #[test]
    fn changes_of_known_files_come_before_new_ones() {
        let mut changes = many("a", 25);
        changes.extend(many("b", 25));
        changes.push(file("z.py", 1));
        let (taken, dropped) = fitted(changes, &["z.py"]);
        assert_eq!((taken.len(), dropped.len()), (40, 11));
        assert!(taken.contains(&"z.py".to_owned()) && taken.contains(&"b/00013".to_owned()));
        assert_eq!(dropped[0], "b/00014 too_many_files");
    }

    #[test]
    fn what_fits_beside_a_large_file_is_taken() {
        let changes =
            vec![file("a", 6_000), file("b", 6_000), file("c", 4_000), file("d", 1), removed("e")];
        let (taken, dropped) = fitted(changes, &["e"]);
        assert_eq!(taken, ["a", "c", "e"]);
        assert_eq!(dropped, ["b too_many_bytes", "d too_many_bytes"]);
    }

    #[test]
    fn a_moved_file_counts_once_and_no_move_is_taken_by_half() {
        let old: Vec<String> = (0..41).map(|n| format!("old/{n:05}")).collect();
        let known: Vec<&str> = old.iter().map(String::as_str).collect();
        let moved = |count: usize, to: &str| {
            let mut changes = many(to, count);
            changes.extend(old[..count].iter().map(|at| removed(at)));
            changes
        };
        assert_eq!(fitted(moved(40, "new"), &known).0.len(), 80);
        let mut known_too = known.clone();
        known_too.push("new/known");
        let (taken, dropped) = fitted(moved(41, "new"), &known_too);
        assert_eq!(taken.len(), 80);
        assert_eq!(dropped, ["new/00040 too_many_files", "old/00040 too_many_files"]);
        let (taken, dropped) = fitted(moved(41, "new"), &known);
        assert!(taken.is_empty(), "{taken:?}");
        assert_eq!(dropped.len(), 42);
        assert!(dropped.contains(&"old/00000 half_a_move".to_owned()), "{dropped:?}");
    }

    #[test]
    fn what_nobody_listed_is_counted_in_the_directory_that_it_belongs_to() {
        let flood = |at: &str, what| Found { path: path(at), what };
        let changes = vec![
            flood("node_modules/deep", What::Directory { files: 3_000, bytes: 9 }),
            file("node_modules/a", 1),
            flood("other", What::Directory { files: 2_500, bytes: 9 }),
            flood("src/x", What::Unlisted { files: 12 }),
            file("main.js", 1),
        ];
        let (taken, dropped) = fitted(changes, &[]);
        assert_eq!(taken, ["main.js"]);
        assert_eq!(
            dropped,
            ["node_modules/ 3001 generated", "other/ 2500 generated", "src/x 12 unlisted"]
        );
    }

    fn any_found() -> impl Strategy<Value = Found> {
        let part = prop::sample::select(vec!["a", "b", "c", "venv", "target", "pyvenv.cfg"]);
        let at = prop::collection::vec(part, 1..4);
        let what = prop_oneof![
            4 => (0_u64..900).prop_map(|bytes| What::File {
                executable: false, bytes, blob: String::new()
            }),
            1 => Just(What::Removed),
        ];
        (at, 0..60_u32, what).prop_map(|(parts, number, what)| Found {
            path: path(&format!("{}/{number}", parts.join("/"))),
            what,
        })
    }

    proptest! {
        #[test]
        fn what_is_taken_keeps_the_limits_and_everything_is_accounted_for(
            found in prop::collection::vec(any_found(), 0..200),
            known in prop::collection::btree_set(any_found().prop_map(|found| found.path), 0..20),
        ) {
            let mut changes = found;
            changes.sort_by(|a, b| a.path.cmp(&b.path));
            changes.dedup_by(|b, a| a.path == b.path);
            let mut dropped = Vec::new();
            let taken = fit(changes.clone(), &[], &known, LIMITS, &mut dropped);
            let removals = taken.iter().filter(|one| one.what == What::Removed).count();
            prop_assert!(removals <= LIMITS.files && taken.len() - removals <= LIMITS.files);
            prop_assert!(taken.iter().map(size).sum::<u64>() <= LIMITS.total_bytes);
            prop_assert!(taken.is_sorted_by(|a, b| a.path < b.path));
            for change in &changes {
                let is_taken = taken.contains(change);
                let is_dropped = dropped.iter().any(|one| match one.reason {
                    DropReason::Generated { .. } => change.path.is_within(&one.path),
                    _ => change.path == one.path,
                });
                prop_assert!(is_taken != is_dropped, "{:?}", change.path);
            }
            // What the candidate has is never hidden in a directory.
            for one in &dropped {
                if matches!(one.reason, DropReason::Generated { .. }) {
                    prop_assert!(!known.iter().any(|path| path.is_within(&one.path)));
                }
            }
        }
    }
}
