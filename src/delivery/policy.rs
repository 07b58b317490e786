//! Which paths may come back, and the decision over a whole turn.
//!
//! A path that may not come back is dropped and named, and the rest of the turn applies; what of
//! the rest a turn may bring is decided in `fit`. Only what can't be told from an attack refuses a
//! whole turn. What is dropped can neither refuse the turn nor count towards its limits.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::fit::fit;
use super::links::{Links, OtherNames, Way};
use super::steering::STEERING;
use super::{Delivery, DropReason, Dropped, Found, Refusal, Scan, What};
use crate::text::{Subtree, TreePath};

/// How much one turn may deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most paths that are written, and the most that are removed; each counts by itself, so
    /// that a moved file counts once.
    pub files: usize,
    /// The most bytes of one file; a larger one is dropped.
    pub file_bytes: u64,
    /// The most bytes of all files together.
    pub total_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 500, file_bytes: 5_000_000, total_bytes: 50_000_000 }
    }
}

/// A pattern that can't be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is no pattern of paths: {why}")]
pub struct PolicyError {
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

/// What the agent may write.
///
/// Patterns are globs in which `*` and `?` stop at a slash and `**` does not. One without a slash
/// (`CLAUDE.md`, `*.lock`) holds at any depth; one with a slash (`specs/**`, `/Makefile`) is
/// relative to the root. A protected pattern also protects all that lies below what it matches,
/// and `DIR/**` protects `DIR` itself. Protection ignores case, and what else some file systems
/// ignore in a name; the write list is taken literally. Names that mean the same by Unicode
/// normalisation alone are different names.
#[derive(Debug, Clone)]
pub struct Policy {
    write: Option<GlobSet>,
    protected: GlobSet,
    /// Directories above protected places, folded: a file or link in their stead would displace
    /// what is protected, or lead around it.
    holders: BTreeSet<Vec<u8>>,
    /// By which other names the base's links show a path, folded.
    names: OtherNames,
    /// Links that protected places are reached by, folded.
    on_the_way: BTreeSet<Vec<u8>>,
    /// The base's links.
    links: Links,
    /// Where in the tree the product lies.
    product: Subtree,
    limits: Limits,
}

impl Policy {
    /// The name of the file, in the product's directory, by which an agent asks a person.
    pub const QUESTION: &'static str = "QUESTION.md";

    /// Makes a policy.
    ///
    /// `write` lists what may be written, none for all that is not protected. `protected` lists
    /// what may not, the built-in patterns included. `scenarios_dir` is relative to the root, and
    /// is protected too; a directory outside needs no protection.
    ///
    /// # Errors
    /// Names the first pattern that can't be used.
    pub fn new(
        write: Option<&[String]>,
        protected: &[String],
        scenarios_dir: &str,
        limits: Limits,
    ) -> Result<Self, PolicyError> {
        let mut set = GlobSetBuilder::new();
        let mut holders = BTreeSet::new();
        let scenarios = scenarios_pattern(scenarios_dir)?;
        for pattern in protected
            .iter()
            .map(String::as_str)
            .chain(STEERING.map(|(name, _)| name))
            .chain(scenarios.as_deref())
        {
            let glob = Anchored::parse(pattern)?;
            let glob = Anchored { text: fold_text(&glob.text), ..glob };
            let base = glob.text.strip_suffix("/**").unwrap_or(&glob.text);
            if glob.anchored {
                holders.extend(literal_parents(base));
            }
            let prefix = if glob.anchored { "" } else { "**/" };
            set.add(compile(pattern, &format!("{prefix}{base}"))?);
            set.add(compile(pattern, &format!("{prefix}{base}/**"))?);
        }
        let write = write.map(write_list).transpose()?;
        let protected = build(&set)?;
        Ok(Self {
            write,
            protected,
            holders,
            names: OtherNames::default(),
            on_the_way: BTreeSet::new(),
            links: Links::default(),
            product: Subtree::default(),
            limits,
        })
    }

    /// Names where in the tree the product lies; else it is the whole of it.
    #[must_use]
    pub fn of_product(self, product: Subtree) -> Self {
        Self { product, ..self }
    }

    /// Lets what is protected be protected where the base's links lead, too: else the file behind a
    /// protected link could be changed, or one of the links on the way to it.
    #[must_use]
    pub fn with_links(mut self, links: Links) -> Self {
        let ways: Vec<_> =
            links.all().filter_map(|(at, _)| Some((fold(at), links.way(at)?))).collect();
        let ends = |ways: &[(Vec<u8>, Way)]| {
            OtherNames::of(ways.iter().map(|(at, way)| (at.clone(), fold(&way.end))))
        };
        let (to_root, mut ways): (Vec<_>, Vec<_>) =
            ways.into_iter().partition(|(_, way)| way.end.is_empty());
        self.names = ends(&ways);
        // One to the root would protect all that there is, and leave an agent nothing to write.
        ways.extend(to_root.into_iter().filter(|(at, _)| !self.protects(at)));
        self.names = ends(&ways);
        // A place may be protected by the link on the way to a link: until nothing is added.
        loop {
            let before = (self.holders.len(), self.on_the_way.len());
            for (at, way) in &ways {
                let holds = self.holds_protected(at);
                if !holds && !self.protects(at) {
                    continue;
                }
                self.on_the_way.extend(way.links.iter().map(|link| fold(link)));
                let end = fold(&way.end);
                self.holders.extend(parents(&end));
                if holds {
                    self.holders.insert(end);
                }
            }
            if before == (self.holders.len(), self.on_the_way.len()) {
                break;
            }
        }
        self.links = links;
        self
    }

    /// Returns where protected links of the base lead, sorted.
    pub fn led_to(&self) -> Vec<TreePath> {
        let links = self.links.all().filter_map(|(at, _)| TreePath::parse(at).ok());
        let ends = links.filter(|at| self.is_protected(at));
        let ends: BTreeSet<TreePath> = ends.filter_map(|at| self.links.leads_to(&at)).collect();
        ends.into_iter().collect()
    }

    /// Returns whether no agent may write, remove or replace `path`.
    ///
    /// Git's own directory is not asked about here; [`decide`] drops it by itself.
    pub fn is_protected(&self, path: &TreePath) -> bool {
        self.protects(&fold(path.as_bytes()))
    }

    fn protects(&self, folded: &[u8]) -> bool {
        let trimmed = trimmed(folded);
        self.protects_by_name(folded)
            || [folded, &trimmed].into_iter().any(|place| {
                self.on_the_way.contains(place)
                    || self.names.of_path(place).iter().any(|name| self.protects_by_name(name))
            })
    }

    fn protects_by_name(&self, folded: &[u8]) -> bool {
        let matches = |bytes: &[u8]| self.protected.is_match(Path::new(OsStr::from_bytes(bytes)));
        matches(folded) || matches(&trimmed(folded))
    }

    /// Returns whether a file or link at `folded` would stand where a directory with protected
    /// paths belongs.
    fn holds_protected(&self, folded: &[u8]) -> bool {
        self.holders.contains(folded) || self.holders.contains(&trimmed(folded))
    }

    fn may_write(&self, path: &TreePath) -> bool {
        self.write.as_ref().is_none_or(|write| write.is_match(path.as_path()))
    }

    /// Returns whether `path` lies outside of the product, and the person did not name it as one that may be written.
    pub fn is_outside(&self, path: &TreePath) -> bool {
        !self.is_of_product(path) && !self.may_write(path)
    }

    fn is_of_product(&self, path: &TreePath) -> bool {
        TreePath::parse(self.product.as_str()).map_or(true, |product| path.is_within(&product))
    }

    /// Decides about one path by itself: none to keep it, or why it is dropped.
    fn reason(&self, found: &Found, candidate: &Candidate) -> Option<DropReason> {
        let path = &found.path;
        let folded = fold(path.as_bytes());
        let placed = matches!(found.what, What::File { .. } | What::Symlink { .. });
        if is_git(&folded) {
            return Some(DropReason::GitInternals);
        }
        if let Some(module) = candidate.submodules.iter().rfind(|module| path.is_within(module)) {
            return Some(DropReason::InSubmodule { module: module.clone() });
        }
        let output = candidate.outputs.iter().find(|output| path.is_within(output));
        if let Some(output) = output.filter(|_| !candidate.paths.contains(path)) {
            return Some(DropReason::Output { output: output.clone() });
        }
        if self.protects(&folded) || (placed && self.holds_protected(&folded)) {
            return Some(DropReason::Protected);
        }
        let question = self.product.path(Self::QUESTION);
        if path.as_bytes() == question.as_bytes() && matches!(found.what, What::File { .. }) {
            return Some(DropReason::Question);
        }
        if !self.may_write(path) {
            return Some(match self.is_of_product(path) {
                true => DropReason::NotInWriteList,
                false => DropReason::OutsideProduct { product: self.product.as_str().to_owned() },
            });
        }
        match &found.what {
            What::File { bytes, .. } if *bytes > self.limits.file_bytes => {
                Some(DropReason::TooLarge { bytes: *bytes, limit: self.limits.file_bytes })
            }
            What::File { .. } | What::Symlink { .. } if candidate.large.contains(path) => {
                Some(DropReason::LargeFileStorage)
            }
            What::File { .. } if candidate.filtered.contains(path) => Some(DropReason::Filtered),
            What::File { .. } if candidate.not_stored.contains_key(path) => {
                let why = candidate.not_stored.get(path).cloned().unwrap_or_default();
                Some(DropReason::NotStored { why })
            }
            What::Symlink { target, .. } => match lead(path, target) {
                Lead::Out => Some(DropReason::LinkOutOfTree { target: target.clone() }),
                Lead::Winding => Some(DropReason::WindingLink { target: target.clone() }),
                Lead::To(place) => {
                    // Where the base's own links take it from there.
                    let end = self.links.way(&place).map_or_else(Vec::new, |way| fold(&way.end));
                    let place = fold(&place);
                    (end.is_empty()
                        || is_git(&place)
                        || [&place, &end]
                            .into_iter()
                            .any(|place| self.protects(place) || self.holds_protected(place)))
                    .then(|| DropReason::LinkToProtected { target: target.clone() })
                }
            },
            What::Other(kind) => Some(DropReason::NotAFile { kind: *kind }),
            // What these come to is decided beside all that is new.
            What::Directory { .. } | What::Unlisted { .. } => None,
            What::File { .. } | What::Removed => None,
        }
    }
}

/// What a turn's work is compared with: the tree that the workspace was set to.
#[derive(Debug, Clone, Default)]
pub struct Candidate {
    /// Its paths, submodules included.
    pub paths: BTreeSet<TreePath>,
    /// Paths of the scan that are kept in large file storage.
    pub large: BTreeSet<TreePath>,
    /// Those that a filter makes.
    pub filtered: BTreeSet<TreePath>,
    /// Those that git can't store, each with what it says.
    pub not_stored: BTreeMap<TreePath, String>,
    /// Where it has commits of other repositories.
    pub submodules: Vec<TreePath>,
    /// What set-up commands make: of that its own files alone are an agent's to change.
    pub outputs: Vec<TreePath>,
}

/// Decides what of `scan` becomes the next candidate.
///
/// Of new paths that exclude one another the first in order of bytes is kept.
pub fn decide(policy: &Policy, scan: &Scan, candidate: &Candidate) -> Delivery {
    let mut found: Vec<&Found> = scan.found.iter().collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|b, a| a.path == b.path);

    let mut dropped = Vec::new();
    let mut kept = Vec::new();
    for one in found {
        match policy.reason(one, candidate) {
            Some(reason) => dropped.push(Dropped { path: one.path.clone(), reason }),
            None => kept.push(one),
        }
    }
    let (floods, kept): (Vec<&Found>, Vec<&Found>) = kept
        .into_iter()
        .partition(|one| matches!(one.what, What::Directory { .. } | What::Unlisted { .. }));
    let changes = without_collisions(kept, &candidate.paths, &mut dropped);
    let changes = fit(changes, &floods, &candidate.paths, policy.limits, &mut dropped);
    dropped.sort_by(|a, b| a.path.cmp(&b.path));

    if scan.truncated {
        return Delivery::Refused { refusal: Refusal::ScanTruncated, dropped };
    }
    if changes.is_empty() {
        return Delivery::Unchanged { dropped };
    }
    Delivery::Accepted { changes, dropped }
}

/// Drops the new paths of `kept` that can't stand beside what stays.
fn without_collisions(
    kept: Vec<&Found>,
    candidate: &BTreeSet<TreePath>,
    dropped: &mut Vec<Dropped>,
) -> Vec<Found> {
    let removed: BTreeSet<&TreePath> =
        kept.iter().filter(|f| f.what == What::Removed).map(|f| &f.path).collect();
    let mut staying = BTreeMap::new();
    for path in candidate {
        if !removed.contains(path) {
            staying.insert(fold(path.as_bytes()), path.clone());
        }
    }
    let mut changes = Vec::new();
    for found in kept {
        if found.what != What::Removed && !candidate.contains(&found.path) {
            let folded = fold(found.path.as_bytes());
            if let Some(reason) = collision(&staying, &found.path, &folded) {
                dropped.push(Dropped { path: found.path.clone(), reason });
                continue;
            }
            staying.insert(folded, found.path.clone());
        }
        changes.push(found.clone());
    }
    changes
}

/// Finds what keeps a new path from existing beside those that stay, which are keyed by their
/// folded form.
fn collision(
    staying: &BTreeMap<Vec<u8>, TreePath>,
    path: &TreePath,
    folded: &[u8],
) -> Option<DropReason> {
    let below = [folded, b"/"].concat();
    let at_or_above = std::iter::once(folded.len())
        .chain(folded.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at))
        .find_map(|end| staying.get(&folded[..end]));
    let other = at_or_above.or_else(|| {
        let (key, other) = staying.range(below.clone()..).next()?;
        key.starts_with(&below).then_some(other)
    })?;
    Some(if path.is_within(other) || other.is_within(path) {
        DropReason::Blocked { by: other.clone() }
    } else {
        DropReason::CaseCollision { with: other.clone() }
    })
}

/// Where a symbolic link leads.
enum Lead {
    /// To this place in the tree; empty is the root.
    To(Vec<u8>),
    /// Out of the tree, or nowhere.
    Out,
    /// It depends on what other links say.
    Winding,
}

/// Resolves a link's target from the directory of the link.
///
/// Above a tree path there are no links, so `..` at the beginning climbs exactly; after a name it
/// could climb from wherever a link of that name leads.
fn lead(path: &TreePath, target: &[u8]) -> Lead {
    if target.is_empty() || target.starts_with(b"/") || target.contains(&0) {
        return Lead::Out;
    }
    let mut place: Vec<&[u8]> = path.components().collect();
    place.pop();
    let mut named = false;
    let mut winding = false;
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                winding |= named;
                if place.pop().is_none() {
                    return Lead::Out;
                }
            }
            name => {
                named = true;
                place.push(name);
            }
        }
    }
    if winding { Lead::Winding } else { Lead::To(place.join(&b'/')) }
}

/// Returns whether a component of the folded path is git's directory to git, HFS+ or NTFS.
fn is_git(folded: &[u8]) -> bool {
    folded.split(|b| *b == b'/').any(|part| {
        let end = part.iter().position(|b| *b == b':').unwrap_or(part.len());
        matches!(trim_part(&part[..end]), b".git" | b"git~1")
    })
}

/// Returns `bytes` without differences of case and without the characters that HFS+ ignores;
/// bytes that are no UTF-8 stay.
fn fold(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_ascii() {
        return bytes.to_ascii_lowercase();
    }
    let mut folded = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        folded.extend_from_slice(fold_text(chunk.valid()).as_bytes());
        folded.extend_from_slice(chunk.invalid());
    }
    folded
}

fn fold_text(text: &str) -> String {
    text.chars()
        .filter(|c| {
            !matches!(c,
                '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}'
                | '\u{feff}')
        })
        // Up and down again, since some small letters share a capital: `ſ` and `s`.
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Returns the path without the dots and blanks at the ends of components that Windows ignores.
fn trimmed(folded: &[u8]) -> Vec<u8> {
    folded.split(|b| *b == b'/').map(trim_part).collect::<Vec<_>>().join(&b'/')
}

fn trim_part(part: &[u8]) -> &[u8] {
    let end = part.iter().rposition(|b| !matches!(b, b'.' | b' ')).map_or(part.len(), |at| at + 1);
    &part[..end]
}

/// A pattern as written, and whether it is relative to the root.
struct Anchored {
    text: String,
    anchored: bool,
}

impl Anchored {
    fn parse(pattern: &str) -> Result<Self, PolicyError> {
        let error = |why: &str| PolicyError { pattern: pattern.to_owned(), why: why.to_owned() };
        let text = pattern.trim_start_matches("./").trim_matches('/');
        if text.is_empty() {
            return Err(error("it names nothing"));
        }
        if text.starts_with('!') {
            return Err(error("exceptions with `!` are not supported"));
        }
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(error("it has an empty, `.` or `..` component"));
        }
        let anchored = pattern.contains('/') && !text.starts_with("**/");
        Ok(Self { text: text.to_owned(), anchored })
    }
}

/// Returns the pattern that protects the scenarios; none where they lie outside the tree.
fn scenarios_pattern(directory: &str) -> Result<Option<String>, PolicyError> {
    let mut parts = Vec::new();
    for part in directory.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return Ok(None),
            ".." => {}
            name => parts.push(globset::escape(name)),
        }
    }
    if directory.starts_with('/') {
        return Ok(None);
    }
    if parts.is_empty() {
        let why = "the scenarios need a directory of their own, below the root".to_owned();
        return Err(PolicyError { pattern: directory.to_owned(), why });
    }
    Ok(Some(format!("/{}", parts.join("/"))))
}

/// Returns the directories above the place that a folded pattern names, as far as it is literal.
fn literal_parents(base: &str) -> Vec<Vec<u8>> {
    let literal = base.split('/').take_while(|part| !is_glob(part)).collect::<Vec<_>>();
    let all = base.split('/').count();
    (1..=literal.len().min(all - 1)).map(|n| literal[..n].join("/").into_bytes()).collect()
}

/// Returns the directories above a path.
fn parents(path: &[u8]) -> Vec<Vec<u8>> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| path[..at].to_vec()).collect()
}

fn is_glob(part: &str) -> bool {
    part.contains(['*', '?', '[', '{', '\\'])
}

fn write_list(patterns: &[String]) -> Result<GlobSet, PolicyError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = Anchored::parse(pattern)?;
        let prefix = if glob.anchored { "" } else { "**/" };
        set.add(compile(pattern, &format!("{prefix}{}", glob.text))?);
        // A plain name may be that of a directory; `docs/*` means the files in it alone.
        if !glob.text.rsplit('/').next().is_some_and(is_glob) {
            set.add(compile(pattern, &format!("{prefix}{}/**", glob.text))?);
        }
    }
    build(&set)
}

fn compile(pattern: &str, glob: &str) -> Result<globset::Glob, PolicyError> {
    GlobBuilder::new(glob)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|e| PolicyError { pattern: pattern.to_owned(), why: e.kind().to_string() })
}

fn build(set: &GlobSetBuilder) -> Result<GlobSet, PolicyError> {
    set.build().map_err(|e| PolicyError {
        pattern: e.glob().unwrap_or_default().to_owned(),
        why: e.kind().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::delivery::OtherKind;

    fn path(bytes: impl Into<Vec<u8>>) -> TreePath {
        TreePath::parse(bytes).unwrap()
    }

    fn policy_with(write: Option<&[&str]>, protected: &[&str]) -> Policy {
        let write: Option<Vec<String>> = write.map(|w| w.iter().map(|p| (*p).to_owned()).collect());
        let protected: Vec<String> = protected.iter().map(|p| (*p).to_owned()).collect();
        Policy::new(write.as_deref(), &protected, "scenarios", Limits::default()).unwrap()
    }

    fn policy() -> Policy {
        policy_with(None, &["scenarios/**", "specs/**", ".github/**", "artifacts/factory/**"])
    }

    fn file(bytes: u64) -> What {
        What::File { executable: false, bytes, blob: "0".repeat(40) }
    }

    fn link(target: &[u8]) -> What {
        What::Symlink { target: target.to_vec(), blob: "0".repeat(40) }
    }

    fn turn(policy: &Policy, found: &[(&[u8], What)], candidate: &[&str]) -> Delivery {
        let found =
            found.iter().map(|(at, what)| Found { path: path(*at), what: what.clone() }).collect();
        let scan = Scan { found, ignored: Vec::new(), truncated: false };
        let paths = candidate.iter().map(|p| path(*p)).collect();
        decide(policy, &scan, &Candidate { paths, ..Candidate::default() })
    }

    /// The class that one path by itself comes to: `accepted`, or that of its drop or refusal.
    fn class_in(policy: &Policy, at: &[u8], what: What, candidate: &[&str]) -> &'static str {
        match turn(policy, &[(at, what)], candidate) {
            Delivery::Accepted { .. } => "accepted",
            Delivery::Unchanged { dropped } => dropped[0].reason.class(),
            Delivery::Refused { refusal, .. } => refusal.class(),
        }
    }

    fn check(at: &[u8], what: What, class: &str) {
        assert_eq!(class_in(&policy(), at, what, &[]), class, "{}", at.escape_ascii());
    }

    #[test]
    fn protected_paths_are_dropped_whatever_their_case_or_bytes() {
        for at in [
            &b"scenarios/a.md"[..],
            b"scenarios",
            b"Scenarios/a.md",
            b"scenarios/\xff\n.md",
            b"scen\xe2\x80\x8carios/x",
            "\u{17f}cenarios/x".as_bytes(),
            b"scenarios./x",
            b"specs /a",
            b"nested/CLAUDE.md",
            b"a/b/.claude/settings.json",
            b"agents.MD",
            b".github/workflows/ci.yaml",
            b"sub/.gitattributes",
        ] {
            check(at, file(1), "protected");
            check(at, What::Removed, "protected");
        }
    }

    #[test]
    fn names_that_only_look_protected_are_accepted() {
        for at in [
            &b".gitignore"[..],
            b"src/scenarios/a.md",
            b"scenarios.py",
            b"lib/specs/a_spec.rb",
            b"templates/.github/ci.yaml",
            b"artifacts/report.txt",
            b"\xff",
        ] {
            check(at, file(1), "accepted");
        }
    }

    #[test]
    fn git_internals_are_dropped_in_every_disguise() {
        for at in [
            &b".git/hooks/pre-commit"[..],
            b"sub/.GIT/config",
            b".git./config",
            b".git /config",
            b"git~1/config",
            b".git::$INDEX_ALLOCATION/config",
            b".g\xe2\x80\x8cit/config",
        ] {
            check(at, file(1), "git_internals");
        }
    }

    #[test]
    fn a_directory_of_protected_paths_is_not_replaced() {
        check(b"artifacts", file(1), "protected");
        check(b"artifacts", link(b"src"), "protected");
        let delivery = turn(
            &policy_with(None, &["**/golden/*.txt"]),
            &[(b"t/golden", file(1)), (b"t/golden/a.txt", What::Removed)],
            &["t/golden/a.txt"],
        );
        assert_eq!(delivery.class(), "unchanged");
        assert_eq!(
            delivery.dropped()[0].reason,
            DropReason::Blocked { by: path("t/golden/a.txt") }
        );
    }

    #[test]
    fn a_link_out_of_the_tree_is_dropped_and_the_rest_delivered() {
        for target in [&b"/etc/passwd"[..], b"..", b"../x", b"sub/../../x", b""] {
            check(b"l", link(target), "link_out_of_tree");
        }
        check(b"a/b/l", link(b"../../../x"), "link_out_of_tree");
        let both = [(&b"l"[..], link(b"/")), (&b"src/a"[..], file(1))];
        let delivery = turn(&policy(), &both, &[]);
        assert_eq!(delivery.changes().len(), 1);
        assert_eq!(delivery.dropped()[0].reason, DropReason::LinkOutOfTree { target: b"/".into() });
    }

    #[test]
    fn a_link_within_the_tree_is_accepted() {
        check(b"a/b/l", link(b"../../src/x"), "accepted");
        check(b"l", link(b"./src//x"), "accepted");
    }

    #[test]
    fn a_link_to_protected_files_or_to_what_holds_them_is_dropped() {
        for target in [&b"scenarios"[..], b"SCENARIOS/a.md", b".", b"artifacts", b".git/config"] {
            check(b"x", link(target), "link_to_protected");
        }
        check(b"src/x", link(b".."), "link_to_protected");
    }

    #[test]
    fn a_link_that_climbs_after_a_name_is_dropped() {
        // `p/q/r` may be a link to the root, and the place one above it.
        check(b"k", link(b"p/q/r/../secret"), "winding_link");
    }

    #[test]
    fn a_link_on_a_protected_path_is_dropped_and_refuses_nothing() {
        check(b"scenarios", link(b"/etc"), "protected");
    }

    #[test]
    fn the_write_list_is_literal() {
        let policy = policy_with(Some(&["src/**", "README.md", "docs/*"]), &[]);
        for (at, class) in [
            (&b"src/a"[..], "accepted"),
            (b"sub/README.md", "accepted"),
            (b"docs/a", "accepted"),
            (b"docs/a/b", "not_in_write_list"),
            (b"SRC/a", "not_in_write_list"),
            (b"srcs/a", "not_in_write_list"),
            (b"src/CLAUDE.md", "protected"),
        ] {
            assert_eq!(class_in(&policy, at, file(1), &[]), class, "{}", at.escape_ascii());
        }
        let nothing = policy_with(Some(&[]), &[]);
        assert_eq!(class_in(&nothing, b"a", file(1), &[]), "not_in_write_list");
    }

    #[test]
    fn a_question_is_read_and_not_delivered() {
        check(b"QUESTION.md", file(1), "question");
        check(b"docs/QUESTION.md", file(1), "accepted");
    }

    #[test]
    fn a_file_over_the_limit_is_dropped_alone() {
        let delivery =
            turn(&policy(), &[(b"big", file(5_000_001)), (b"small", file(5_000_000))], &[]);
        assert_eq!(delivery.changes().len(), 1);
        assert_eq!(delivery.dropped()[0].reason.class(), "too_large");
    }

    #[test]
    fn what_git_cannot_hold_is_dropped() {
        check(b"pipe", What::Other(OtherKind::Fifo), "not_a_file");
    }

    #[test]
    fn a_file_in_large_file_storage_keeps_its_pointer() {
        let scan =
            Scan { found: vec![Found { path: path("a.bin"), what: file(1) }], ..Scan::default() };
        let large = BTreeSet::from([path("a.bin")]);
        let delivery = decide(
            &policy(),
            &scan,
            &Candidate { paths: large.clone(), large, ..Candidate::default() },
        );
        assert_eq!(delivery.dropped()[0].reason, DropReason::LargeFileStorage);
    }

    #[test]
    fn a_new_name_that_differs_by_case_alone_is_dropped() {
        assert_eq!(class_in(&policy(), b"README", file(1), &["readme"]), "case_collision");
        assert_eq!(class_in(&policy(), b"Src", file(1), &["src/a"]), "case_collision");
        let two = turn(&policy(), &[(b"b", file(1)), (b"B", file(1))], &[]);
        assert_eq!(two.dropped()[0].reason, DropReason::CaseCollision { with: path("B") });
    }

    #[test]
    fn a_rename_that_changes_case_is_accepted() {
        let delivery =
            turn(&policy(), &[(b"readme", What::Removed), (b"README", file(1))], &["readme"]);
        assert_eq!(delivery.changes().len(), 2);
    }

    #[test]
    fn names_that_collided_before_may_change() {
        assert_eq!(class_in(&policy(), b"README", file(1), &["README", "readme"]), "accepted");
    }

    #[test]
    fn files_in_a_submodule_are_blocked_by_it() {
        assert_eq!(class_in(&policy(), b"vendor/lib/a.c", file(1), &["vendor/lib"]), "blocked");
    }

    #[test]
    fn what_lies_in_a_submodule_is_named_with_the_submodule() {
        let what = [file(1), What::Removed];
        let found = ["vendor/lib/a.c", "vendor/lib/in/b.c"].into_iter().zip(what);
        let found = found.map(|(at, what)| Found { path: path(at), what }).collect();
        let scan = Scan { found, ..Scan::default() };
        let submodules = vec![path("vendor/lib"), path("vendor/lib/in")];
        let candidate = Candidate { submodules, ..Candidate::default() };
        let delivery = decide(&policy(), &scan, &candidate);
        let of = |at: usize| &delivery.dropped()[at].reason;
        assert_eq!(of(0), &DropReason::InSubmodule { module: path("vendor/lib") });
        assert_eq!(of(1), &DropReason::InSubmodule { module: path("vendor/lib/in") });
    }

    fn linked(protected: &[&str], links: &[(&str, &str)]) -> Policy {
        let links = links.iter().map(|(at, target)| (path(*at), target.as_bytes().to_vec()));
        policy_with(None, protected).with_links(Links::of(links))
    }

    #[test]
    fn what_a_protected_link_of_the_base_leads_to_is_protected() {
        let policy = linked(
            &[".github/**", "specs/**", "dark-factory.yaml"],
            &[
                (".github/workflows/ci.yaml", "../../ci/main.yaml"),
                ("specs", "docs/book"),
                ("docs/book", "../text"),
                ("dark-factory.yaml", "conf/factory.yaml"),
                ("CLAUDE.md", "README.md"),
                ("src/link", "other"),
            ],
        );
        for at in [
            "ci/main.yaml",
            "CI/Main.yaml",
            // Through two links, with what lies below, and the link between.
            "text/a.md",
            "docs/book",
            "conf/factory.yaml",
            "README.md",
        ] {
            assert_eq!(class_in(&policy, at.as_bytes(), file(1), &[]), "protected", "{at}");
        }
        // A file or link in place of a directory on the way would lead elsewhere.
        assert_eq!(class_in(&policy, b"ci", link(b"src"), &[]), "protected");
        assert_eq!(class_in(&policy, b"x", link(b"text/a.md"), &[]), "link_to_protected");
        for at in ["ci/other.yaml", "docs/a.md", "src/other", "conf/b"] {
            assert_eq!(class_in(&policy, at.as_bytes(), file(1), &[]), "accepted", "{at}");
        }
        let led: Vec<String> = policy.led_to().iter().map(ToString::to_string).collect();
        assert_eq!(led, ["README.md", "ci/main.yaml", "conf/factory.yaml", "text"]);
    }

    #[test]
    fn a_directory_above_what_is_protected_may_be_a_link() {
        let policy = linked(
            &["deploy/prod/**", "**/golden/*.txt"],
            &[("deploy", "ops/deploy"), ("t/golden", "../data")],
        );
        for at in ["ops/deploy/prod/a", "data/a.txt"] {
            assert_eq!(class_in(&policy, at.as_bytes(), file(1), &[]), "protected", "{at}");
        }
        for at in ["ops/deploy/test/a", "data/a.bin", "ops/a"] {
            assert_eq!(class_in(&policy, at.as_bytes(), file(1), &[]), "accepted", "{at}");
        }
        assert_eq!(class_in(&policy, b"ops/deploy/prod", link(b"x"), &[]), "protected");
    }

    #[test]
    fn a_circle_of_links_ends() {
        let policy = linked(&["specs/**"], &[("specs", "a"), ("a", "b/c"), ("b", "a")]);
        assert_eq!(class_in(&policy, b"src/x", file(1), &[]), "accepted");
        let inner = linked(&["specs/**"], &[("specs/in", "../specs"), ("top", "specs/in")]);
        assert_eq!(class_in(&inner, b"src/x", file(1), &[]), "accepted");
    }

    #[test]
    fn a_file_may_become_a_directory() {
        let delivery = turn(&policy(), &[(b"a", What::Removed), (b"a/b", file(1))], &["a"]);
        assert_eq!(delivery.changes().len(), 2);
    }

    #[test]
    fn what_is_dropped_does_not_count_towards_the_limits() {
        let names: Vec<String> = (0..600).map(|n| format!("scenarios/{n}")).collect();
        let mut found: Vec<(&[u8], What)> = names.iter().map(|n| (n.as_bytes(), file(1))).collect();
        found.push((b"src/a", file(1)));
        assert_eq!(turn(&policy(), &found, &[]).changes().len(), 1);
    }

    #[test]
    fn a_scan_that_was_cut_refuses_the_turn() {
        let scan = Scan { truncated: true, ..Scan::default() };
        let delivery = decide(&policy(), &scan, &Candidate::default());
        assert!(matches!(delivery, Delivery::Refused { refusal: Refusal::ScanTruncated, .. }));
    }

    #[test]
    fn nothing_changed_is_unchanged() {
        assert_eq!(turn(&policy(), &[], &["a"]), Delivery::Unchanged { dropped: Vec::new() });
    }

    #[test]
    fn a_bad_pattern_is_named() {
        for bad in ["src/[", "!src", "../x", "", "a//b"] {
            let error =
                Policy::new(None, &[bad.to_owned()], "scenarios", Limits::default()).unwrap_err();
            assert_eq!(error.pattern, bad, "{error}");
        }
        assert!(Policy::new(None, &[], ".", Limits::default()).is_err());
    }

    #[test]
    fn a_scenarios_directory_with_glob_characters_is_protected_as_it_is_named() {
        let policy = Policy::new(None, &[], "./t/[x]/", Limits::default()).unwrap();
        assert!(policy.is_protected(&path("t/[x]/a.md")));
        assert!(!policy.is_protected(&path("t/x/a.md")));
    }

    /// Path components that an attacker would try, and harmless ones.
    fn component() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::sample::select(vec![
                "scenarios",
                "SCENARIOS",
                "Scenarios.",
                "specs",
                ".github",
                ".GIT",
                ".git",
                "git~1",
                "CLAUDE.md",
                "claude.MD ",
                ".claude",
                "src",
                "a",
                "A",
                "artifacts",
                "factory",
                "QUESTION.md",
                "scen\u{200c}arios",
                "\u{212a}",
            ])
            .prop_map(|s| s.as_bytes().to_vec()),
            prop::collection::vec(
                any::<u8>().prop_filter("a component", |b| !matches!(b, 0 | b'/')),
                1..4
            ),
        ]
    }

    fn any_path() -> impl Strategy<Value = TreePath> {
        prop::collection::vec(component(), 1..4)
            .prop_filter_map("a tree path", |parts| TreePath::parse(parts.join(&b'/')).ok())
    }

    fn any_what() -> impl Strategy<Value = What> {
        let target = prop_oneof![
            any_path().prop_map(|p| p.as_bytes().to_vec()),
            prop::collection::vec(prop::sample::select(b"./ab".to_vec()), 0..8),
        ];
        prop_oneof![
            (0..9_000_000_u64).prop_map(file),
            target.prop_map(|t| link(&t)),
            Just(What::Removed),
            Just(What::Other(OtherKind::Device)),
            Just(What::Directory { files: 3_000, bytes: 9 }),
            Just(What::Unlisted { files: 7 }),
        ]
    }

    /// Returns the parts of a path as the most careless of file systems reads them.
    fn plain_parts(path: &TreePath) -> Vec<String> {
        path.components()
            .map(|part| {
                let text = String::from_utf8_lossy(part).to_lowercase().replace('\u{200c}', "");
                text.trim_end_matches(['.', ' ']).to_owned()
            })
            .collect()
    }

    /// Says in the plainest way whether a path lies where no agent may write.
    fn forbidden(path: &TreePath) -> bool {
        let parts = plain_parts(path);
        matches!(parts[0].as_str(), "scenarios" | "specs" | ".github")
            || (parts[0] == "artifacts" && parts.get(1).is_some_and(|p| p == "factory"))
            || parts
                .iter()
                .any(|p| matches!(p.as_str(), ".git" | "git~1" | "claude.md" | ".claude"))
    }

    fn any_links() -> impl Strategy<Value = Links> {
        let target =
            prop::collection::vec(prop_oneof![3 => component(), 1 => Just(b"..".to_vec())], 1..4);
        let one = (any_path(), target.prop_map(|parts| parts.join(&b'/')));
        // A tree has nothing below a link, and nothing of git's own.
        prop::collection::vec(one, 0..6).prop_map(|all| {
            let mut links: BTreeMap<TreePath, Vec<u8>> = BTreeMap::new();
            for (at, target) in all {
                let is_gits = plain_parts(&at).iter().any(|part| part == ".git" || part == "git~1");
                let meets = |other: &TreePath| at.is_within(other) || other.is_within(&at);
                if !is_gits && !links.keys().any(meets) {
                    links.insert(at, target);
                }
            }
            Links::of(links)
        })
    }

    proptest! {
        #[test]
        fn nothing_that_a_protected_place_leads_to_is_ever_accepted(
            links in any_links(),
            protected in any_path(),
            found in prop::collection::vec((any_path(), any_what()), 0..12),
        ) {
            let policy = policy().with_links(links.clone());
            let mut found: Vec<Found> =
                found.into_iter().map(|(path, what)| Found { path, what }).collect();
            // And what lies there, as the agent would find it.
            let end = links.leads_to(&protected);
            found.extend(end.map(|path| Found { path, what: file(1) }));
            let scan = Scan { found, ..Scan::default() };
            let delivery = decide(&policy, &scan, &Candidate::default());
            let all = |(at, _): (&[u8], &[u8])| {
                links.way(at).is_some_and(|way| way.end.is_empty())
            };
            let to_root = links.all().any(all);
            if let Some(end) =
                links.leads_to(&protected).filter(|_| forbidden(&protected) && !to_root)
            {
                for change in delivery.changes() {
                    prop_assert!(change.path != end, "{protected:?} -> {end:?}");
                }
            }
        }

        #[test]
        fn nothing_protected_is_ever_accepted(
            found in prop::collection::vec((any_path(), any_what()), 0..12),
            candidate in prop::collection::btree_set(any_path(), 0..12),
            truncated in prop::bool::weighted(0.1),
        ) {
            let policy = policy();
            let found = found.into_iter().map(|(path, what)| Found { path, what }).collect();
            let scan = Scan { found, ignored: Vec::new(), truncated };
            let known = Candidate { paths: candidate.clone(), ..Candidate::default() };
            let delivery = decide(&policy, &scan, &known);
            let changes = delivery.changes();
            for change in changes {
                prop_assert!(!forbidden(&change.path), "{:?}", change.path);
                prop_assert!(!policy.is_protected(&change.path), "{:?}", change.path);
                let is_plain =
                    matches!(change.what, What::File { .. } | What::Symlink { .. } | What::Removed);
                prop_assert!(is_plain);
                if let What::Symlink { target, .. } = &change.what {
                    prop_assert!(matches!(lead(&change.path, target), Lead::To(_)));
                }
            }
            prop_assert!(changes.is_sorted_by(|a, b| a.path < b.path));
            prop_assert!(delivery.dropped().is_sorted_by(|a, b| a.path < b.path));

            // What is applied makes a tree: no path is both a file and a directory.
            let mut tree: BTreeSet<&TreePath> = candidate.iter().collect();
            for change in changes {
                if change.what == What::Removed {
                    tree.remove(&change.path);
                } else {
                    tree.insert(&change.path);
                }
            }
            let new = |p: &TreePath| !candidate.contains(p);
            for a in changes.iter().filter(|c| c.what != What::Removed && new(&c.path)) {
                for b in &tree {
                    prop_assert!(
                        &a.path == *b || !(a.path.is_within(b) || b.is_within(&a.path)),
                        "{:?} {b:?}", a.path
                    );
                }
            }
        }
    }
}
