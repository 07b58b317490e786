//! What a checkout has where a tree has a blob: line endings, encodings, `$Id$` and filters, as the attributes of the
//! tree and the person's settings ask for them.
//!
//! git converts, in directories of the factory's own that hold the tree's `.gitattributes` and nothing else of it. A
//! filter is a program that the person has configured: it makes files of blobs, in the person's checkout as for
//! `git checkout`, and is never run on what an agent wrote. Large file storage is left out: whoever sets a tree looks
//! for the large files by themselves.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::command::{answer, fed, output};
use super::repo::unread;
use super::{Change, GitError, Mode, Oid, Repo, Scratch, Tree};
use crate::id::Digest;
use crate::process::Call;
use crate::text::TreePath;

/// Settings for every call: what does not round-trip is converted as asked.
const SETTINGS: &[&str] = &[
    "core.safecrlf=false",
    "core.sparseCheckout=false",
    "core.splitIndex=false",
    "index.sparse=false",
];

/// The filter of large file storage.
const LFS: &str = "lfs";

/// The attributes that convert.
const ATTRIBUTES: [&str; 6] = ["text", "crlf", "eol", "ident", "filter", "working-tree-encoding"];

/// How the files of one tree are converted.
#[derive(Debug)]
pub struct Conversions {
    repo: Repo,
    place: Scratch,
    settings: Settings,
    info: Vec<u8>,
    files: Vec<TreePath>,
    has_large: bool,
    fingerprint: String,
}

/// What becomes of the file at a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conversion {
    /// Whether a checkout may have other bytes than the blob.
    pub on_checkout: bool,
    /// Whether git may store other bytes than the file has.
    pub on_add: bool,
    /// Whether its content is kept in large file storage.
    pub is_large: bool,
    /// Whether a filter makes it, which stores nothing here.
    pub is_filtered: bool,
}

/// A setting of a filter: its name, which one, and its value.
type FilterSetting = (String, String, String);

/// What the person's settings say of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Settings {
    /// `core.autocrlf`; none where it is off.
    auto: Option<String>,
    /// `core.eol`.
    eol: Option<String>,
    /// The filters' settings.
    filters: Vec<FilterSetting>,
}

impl Repo {
    /// Returns how files of `tree` are converted; none where no attribute and no setting speaks of it.
    ///
    /// # Errors
    /// git failed, or the disk refuses.
    pub fn conversions(&self, tree: &Tree) -> Result<Option<Conversions>, GitError> {
        let own: Vec<(&TreePath, &Oid)> = tree
            .iter()
            .filter(|(path, entry)| is_attributes(path) && entry.mode.is_file())
            .map(|(path, entry)| (path, &entry.oid))
            .collect();
        let (settings, attributes_file, said) = self.conversion_settings()?;
        let (everywhere, info) = self.attributes_outside(attributes_file.as_deref());
        if own.is_empty() && everywhere.is_empty() && info.is_empty() && settings.auto.is_none() {
            return Ok(None);
        }
        let mut known = String::new();
        for (path, oid) in &own {
            known.push_str(&format!("{path}\0{oid}\0"));
        }
        let known = [known.as_bytes(), &everywhere, b"\0", &info, b"\0", &said].concat();
        let fingerprint = Digest::of(&known).as_str()[..32].to_owned();
        let place = self.private_place()?;
        let files = own.iter().map(|(path, _)| (*path).clone()).collect();
        let speaks_of_large = |text: &[u8]| text.windows(LFS.len()).any(|w| w == LFS.as_bytes());
        let has_large = speaks_of_large(&everywhere) || speaks_of_large(&info);
        let mut conversions = Conversions {
            repo: self.clone(),
            place,
            settings,
            info,
            files,
            has_large,
            fingerprint,
        };
        let top = conversions.top();
        fs::create_dir(&top).map_err(GitError::writing(&top))?;
        self.read_blobs(own.iter().map(|(_, oid)| (*oid).clone()), &mut |index, bytes| {
            conversions.has_large |= speaks_of_large(bytes);
            put(&top, own[index].0, bytes)
        })?;
        Ok(Some(conversions))
    }

    /// Returns what the person's settings say of files, where they have attributes, and all of it as git tells it.
    fn conversion_settings(&self) -> Result<(Settings, Option<String>, Vec<u8>), GitError> {
        let wanted = r"^(core\.(autocrlf|eol|attributesfile)|filter\..*)$";
        let call =
            self.as_person([], self.git_dir()).args(["config", "-z", "--get-regexp", wanted]);
        // It exits with 1 where there is none.
        let said = answer(&call.envs([("GIT_DIR", self.git_dir())]), "config")?.stdout;
        let (mut settings, mut attributes_file) = (Settings::default(), None);
        for record in String::from_utf8_lossy(&said).split('\0') {
            // A name alone says that it is on.
            let (name, value) = record.split_once('\n').unwrap_or((record, "true"));
            match name {
                "core.autocrlf" => {
                    let value = value.to_ascii_lowercase();
                    let is_on = !matches!(value.as_str(), "" | "false" | "no" | "off" | "0");
                    settings.auto = is_on.then_some(value);
                }
                "core.eol" => settings.eol = Some(value.to_ascii_lowercase()),
                "core.attributesfile" => attributes_file = Some(value.to_owned()),
                // `filter.NAME.clean`; the name may hold dots.
                name => settings.filters.extend(name.strip_prefix("filter.").and_then(|rest| {
                    let (name, which) = rest.rsplit_once('.')?;
                    Some((name.to_owned(), which.to_owned(), value.to_owned()))
                })),
            }
        }
        Ok((settings, attributes_file, said))
    }

    /// Returns the person's attributes, which hold where a tree has none, and those of the repository, which hold
    /// before a tree's; empty where there are none.
    fn attributes_outside(&self, named: Option<&str>) -> (Vec<u8>, Vec<u8>) {
        let set = |name: &str| self.env().get(OsStr::new(name)).filter(|home| !home.is_empty());
        let below = |home: &str, path: &str| set(home).map(|home| Path::new(home).join(path));
        let everywhere = match named {
            Some(named) => match named.strip_prefix("~/") {
                Some(path) => below("HOME", path),
                None => Some(PathBuf::from(named)),
            },
            None => below("XDG_CONFIG_HOME", "git/attributes")
                .or_else(|| below("HOME", ".config/git/attributes")),
        };
        // git passes over what it can't read.
        let read = |file: PathBuf| fs::read(file).unwrap_or_default();
        let info = read(self.common_dir().join("info/attributes"));
        (everywhere.map(read).unwrap_or_default(), info)
    }
}

/// A file or link that becomes a blob.
#[derive(Debug, Clone, Copy)]
pub struct ToStore<'a> {
    /// Where it is in the tree.
    pub path: &'a TreePath,
    /// What it is.
    pub mode: Mode,
    /// The blob of the file that the tree has there; none where it has none.
    pub before: Option<&'a Oid>,
    /// What the file has, or what the link says.
    pub bytes: &'a [u8],
}

impl Repo {
    /// Writes what `git add` stores of `files` as blobs, and returns their ids in the same order, for one that git can't
    /// convert what it says. Without conversions the bytes are kept as they are, and so are those of a file that a
    /// filter makes, which is a program, and of attributes.
    ///
    /// # Errors
    /// git failed, or the disk is full.
    pub fn store(
        &self,
        conversions: Option<&Conversions>,
        files: &[ToStore<'_>],
    ) -> Result<Vec<Result<Oid, String>>, GitError> {
        let known = match conversions {
            Some(conversions) => conversions.of(files.iter().map(|file| file.path.as_bytes()))?,
            None => vec![Conversion::default(); files.len()],
        };
        let is_converted = |file: &ToStore<'_>, known: Conversion| {
            known.on_add && file.mode.is_file() && !is_attributes(file.path)
        };
        let is_converted: Vec<bool> =
            files.iter().zip(known).map(|(file, known)| is_converted(file, known)).collect();
        let part = |wanted: bool| {
            let each = files.iter().zip(&is_converted);
            each.filter(move |(_, is)| **is == wanted).map(|(file, _)| *file).collect::<Vec<_>>()
        };
        let added = match conversions {
            Some(conversions) => conversions.add(&part(true))?,
            None => Vec::new(),
        };
        let plain: Vec<&[u8]> = part(false).iter().map(|file| file.bytes).collect();
        let plain = self.write_blobs(&plain)?.into_iter().map(Ok);
        let (mut added, mut plain) = (added.into_iter(), plain);
        let oids = is_converted.iter().map(|is| if *is { added.next() } else { plain.next() });
        oids.collect::<Option<_>>().ok_or_else(|| unread("update-index", "a file was left out"))
    }
}

fn is_attributes(path: &TreePath) -> bool {
    path.as_bytes() == ATTRIBUTES_FILE || path.as_bytes().ends_with(b"/.gitattributes")
}

const ATTRIBUTES_FILE: &[u8] = b".gitattributes";

impl Conversions {
    /// Returns what tells these conversions from others, for as long as it stays the same the same bytes come out.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Returns the settings that have git take converted files for what they stand for, as lines of `[core]`.
    pub(super) fn settings(&self) -> String {
        let auto = self.settings.auto.as_deref().map(|auto| match auto {
            "input" => "\tautocrlf = input\n",
            _ => "\tautocrlf = true\n",
        });
        let eol = match self.settings.eol.as_deref() {
            Some("crlf") => "\teol = crlf\n",
            _ => "",
        };
        auto.unwrap_or_default().to_owned() + eol
    }

    /// Returns whether attributes speak of large file storage at all.
    pub fn may_have_large(&self) -> bool {
        self.has_large
    }

    /// Returns the repository's own attributes, which hold before those of the tree.
    pub(super) fn info(&self) -> &[u8] {
        &self.info
    }

    /// Returns what becomes of the files at `paths`, in their order.
    ///
    /// # Errors
    /// git failed.
    pub fn of<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p [u8]>,
    ) -> Result<Vec<Conversion>, GitError> {
        let mut asked = Vec::new();
        let mut count = 0;
        for path in paths {
            asked.extend_from_slice(path);
            asked.push(0);
            count += 1;
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let check = self.git("check-attr").args(["-z", "--stdin"]).args(ATTRIBUTES);
        let said = output(&fed(check, asked), "check-attr")?;
        let words: Vec<&[u8]> = said.split(|byte| *byte == 0).collect();
        // For each path and attribute three words: the path, the attribute, its value.
        let values: Vec<&[u8]> = words.chunks_exact(3).map(|three| three[2]).collect();
        let found: Vec<Conversion> = values
            .chunks_exact(ATTRIBUTES.len())
            .map(|values| self.settings.conversion(|at| values[at]))
            .collect();
        match found.len() == count {
            true => Ok(found),
            false => Err(unread("check-attr", &format!("{} paths", found.len()))),
        }
    }

    /// Writes the files as a checkout has them into a directory, each at its path, and returns it. What was there
    /// from an earlier call goes.
    ///
    /// # Errors
    /// A blob is missing, a filter that is required failed, git failed, or the disk is full.
    pub fn check_out(&self, files: &[(&[u8], Mode, &Oid)]) -> Result<PathBuf, GitError> {
        let stage = self.place.path().join("stage");
        clear(&stage)?;
        if files.is_empty() {
            return Ok(stage);
        }
        self.fill_index(files)?;
        let mut option = OsString::from("--prefix=");
        option.push(&stage);
        option.push("/");
        let checkout = self.git_in("checkout-index", &self.top(), true);
        output(&checkout.args(["--all", "--force", "--quiet"]).arg(option), "checkout-index")?;
        Ok(stage)
    }

    /// Writes what git stores of `files`; for each that it can't convert what it says.
    fn add(&self, files: &[ToStore<'_>]) -> Result<Vec<Result<Oid, String>>, GitError> {
        let (first, second) = match (self.add_all(files), files) {
            (Ok(oids), _) => return Ok(oids.into_iter().map(Ok).collect()),
            (Err(GitError::Failed { stderr, .. }), [_]) => return Ok(vec![Err(stderr)]),
            // It stops at the first.
            (Err(GitError::Failed { .. }), files) => files.split_at(files.len() / 2),
            (Err(error), _) => return Err(error),
        };
        Ok([self.add(first)?, self.add(second)?].concat())
    }

    fn add_all(&self, files: &[ToStore<'_>]) -> Result<Vec<Oid>, GitError> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        // Line endings that git has stored so it leaves so.
        let before: Vec<(&[u8], Mode, &Oid)> = files
            .iter()
            .filter_map(|file| Some((file.path.as_bytes(), Mode::File, file.before?)))
            .collect();
        self.fill_index(&before)?;
        let added = self.place.path().join("added");
        clear(&added)?;
        fs::create_dir(&added).map_err(GitError::writing(&added))?;
        for path in &self.files {
            let meets = |other: &TreePath| path.is_within(other) || other.is_within(path);
            if !files.iter().any(|file| meets(file.path)) {
                let text = fs::read(path.under(&self.top())).map_err(GitError::writing(&added))?;
                put(&added, path, &text).map_err(GitError::writing(&added))?;
            }
        }
        let mut names = Vec::new();
        for ToStore { path, bytes, .. } in files {
            put(&added, path, bytes).map_err(GitError::writing(&path.under(&added)))?;
            names.extend_from_slice(path.as_bytes());
            names.push(0);
        }
        let update = self.git_in("update-index", &added, false).args(["--add", "-z", "--stdin"]);
        output(&fed(update, names), "update-index")?;
        let listed = output(&self.git("ls-files").args(["-s", "-z"]), "ls-files")?;
        let mut oids: BTreeMap<&[u8], Oid> = BTreeMap::new();
        for record in listed.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
            let tab = record.iter().position(|byte| *byte == b'\t').unwrap_or(record.len());
            let head = String::from_utf8_lossy(&record[..tab]);
            let oid = head.split(' ').nth(1).and_then(|oid| Oid::parse(oid).ok());
            if let (Some(oid), Some(path)) = (oid, record.get(tab + 1..)) {
                oids.insert(path, oid);
            }
        }
        let found = files.iter().map(|file| oids.get(file.path.as_bytes()).cloned());
        found.collect::<Option<_>>().ok_or_else(|| unread("update-index", "a file was left out"))
    }

    /// Sets the index to `files` alone.
    fn fill_index(&self, files: &[(&[u8], Mode, &Oid)]) -> Result<(), GitError> {
        output(&self.git("read-tree").arg("--empty"), "read-tree")?;
        let mut changes = Vec::new();
        for (path, mode, oid) in files {
            let path =
                TreePath::parse(*path).map_err(|error| unread("check-attr", &error.to_string()))?;
            changes.push(Change::Set { path, mode: *mode, oid: (*oid).clone() });
        }
        let update = self.git("update-index").args(["-z", "--index-info"]);
        output(&fed(update, self.repo.index_info(&changes)), "update-index")?;
        Ok(())
    }

    fn top(&self) -> PathBuf {
        self.place.path().join("top")
    }

    fn git(&self, command: &str) -> Call {
        self.git_in(command, &self.top(), false)
    }

    /// Begins a call with the person's settings whose work tree is `top`, with their filters or without.
    fn git_in(&self, command: &str, top: &Path, filtering: bool) -> Call {
        let index = self.place.path().join("index");
        let filters = self.settings.filters.iter().filter_map(|(name, which, value)| {
            let own = format!("filter.{name}.{which}=");
            match which.as_str() {
                "clean" | "smudge" | "process" | "required" if !filtering || name == LFS => {
                    Some(own + if which == "required" { "false" } else { "" })
                }
                // git runs them at the top of a checkout, where what they name may lie.
                "smudge" | "process" if !value.is_empty() && self.repo.has_checkout() => {
                    let top = self.repo.root().to_string_lossy().replace('\'', r"'\''");
                    Some(format!("{own}cd '{top}' && {value}"))
                }
                _ => None,
            }
        });
        let filters: Vec<String> = filters.collect();
        let settings = SETTINGS.iter().copied().chain(filters.iter().map(String::as_str));
        self.repo.as_person(settings.flat_map(|setting| ["-c", setting]), top).arg(command).envs([
            ("GIT_DIR", self.repo.git_dir().as_os_str()),
            ("GIT_WORK_TREE", top.as_os_str()),
            ("GIT_INDEX_FILE", index.as_os_str()),
            ("GIT_NO_LAZY_FETCH", OsStr::new("1")),
        ])
    }
}

impl Settings {
    /// Returns what becomes of a file with the values of [`ATTRIBUTES`]; from gitattributes(5).
    fn conversion<'v>(&self, value: impl Fn(usize) -> &'v [u8]) -> Conversion {
        let [text, crlf, eol, ident, filter, encoding] = [0, 1, 2, 3, 4, 5]
            .map(value)
            .map(|value| if value == b"unspecified" { None } else { Some(value) });
        if filter == Some(LFS.as_bytes()) {
            return Conversion { is_large: true, ..Conversion::default() };
        }
        let is_run = |(name, which, value): &FilterSetting| {
            let is_program = matches!(which.as_str(), "clean" | "smudge" | "process");
            filter == Some(name.as_bytes()) && is_program && !value.is_empty()
        };
        if self.filters.iter().any(is_run) {
            return Conversion { on_checkout: true, is_filtered: true, ..Conversion::default() };
        }
        let given = |value: Option<&[u8]>| value.is_some_and(|value| value != b"unset");
        let always = ident == Some(b"set") || given(encoding);
        // `crlf` is what `text` was called.
        let text = text.or(crlf);
        let is_binary = text == Some(b"unset");
        let is_text = text.is_some() || eol.is_some_and(|eol| eol == b"lf" || eol == b"crlf");
        let crlf = match eol {
            Some(b"crlf") => true,
            Some(b"lf") => false,
            // `core.autocrlf` outweighs `core.eol`.
            _ if self.auto.is_some() => self.auto.as_deref() != Some("input"),
            _ => is_text && self.eol.as_deref() == Some("crlf"),
        };
        Conversion {
            on_checkout: always || (!is_binary && crlf),
            on_add: always || (!is_binary && (is_text || self.auto.is_some())),
            ..Conversion::default()
        }
    }
}

/// Writes a file at `path` below `top`.
fn put(top: &Path, path: &TreePath, bytes: &[u8]) -> io::Result<()> {
    let at = path.under(top);
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&at, bytes)
}

fn clear(dir: &Path) -> Result<(), GitError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(GitError::writing(dir)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, fixture, git, path};
    use super::*;
    use crate::git::ObjectFormat;

    /// Returns files that the tree does not have yet.
    fn new_files<'a>(paths: &'a [TreePath], texts: &'a [impl AsRef<[u8]>]) -> Vec<ToStore<'a>> {
        let each = paths.iter().zip(texts);
        each.map(|(path, text)| ToStore {
            path,
            mode: Mode::File,
            before: None,
            bytes: text.as_ref(),
        })
        .collect()
    }

    #[test]
    fn attributes_outweigh_settings_and_settings_decide_where_none_speaks() {
        let filters = vec![("up".to_owned(), "clean".to_owned(), "tr A-Z a-z".to_owned())];
        // text, crlf, eol, ident, filter, working-tree-encoding; autocrlf, eol; on checkout, on add.
        for (values, auto, eol, on_checkout, on_add) in [
            (["-"; 6], "", "", false, false),
            (["-"; 6], "", "crlf", false, false),
            (["-"; 6], "true", "", true, true),
            (["-"; 6], "input", "", false, true),
            (["unset", "-", "-", "-", "-", "-"], "true", "crlf", false, false),
            (["auto", "-", "-", "-", "-", "-"], "", "", false, true),
            (["set", "-", "-", "-", "-", "-"], "", "crlf", true, true),
            (["set", "-", "-", "-", "-", "-"], "input", "crlf", false, true),
            (["-", "set", "-", "-", "-", "-"], "", "crlf", true, true),
            (["-", "-", "crlf", "-", "-", "-"], "", "", true, true),
            (["set", "-", "lf", "-", "-", "-"], "true", "crlf", false, true),
            (["unset", "-", "crlf", "-", "-", "-"], "", "", false, false),
            (["unset", "-", "-", "set", "-", "-"], "", "", true, true),
            (["-", "-", "-", "unset", "unset", "unset"], "", "", false, false),
            (["-", "-", "-", "-", "up", "-"], "", "", true, false),
            (["set", "-", "-", "-", "none", "-"], "", "", false, true),
            (["-", "-", "-", "-", "-", "UTF-16"], "", "", true, true),
            (["set", "-", "crlf", "-", "lfs", "-"], "true", "", false, false),
        ] {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let settings = Settings { auto: some(auto), eol: some(eol), filters: filters.clone() };
            let value =
                |at: usize| if values[at] == "-" { "unspecified" } else { values[at] }.as_bytes();
            let found = settings.conversion(value);
            let (is_large, is_filtered) = (values[4] == "lfs", values[4] == "up");
            let expected = Conversion { on_checkout, on_add, is_large, is_filtered };
            assert_eq!(found, expected, "{values:?} {auto} {eol}");
        }
    }

    fn with_attributes(fixture: &Fixture, text: &str) -> Option<Conversions> {
        let tree = fixture.repo.list(&fixture.tree(&[(".gitattributes", text), ("a/b", "x\n")]));
        fixture.repo.conversions(&tree.unwrap()).unwrap()
    }

    #[test]
    fn a_checkout_and_an_addition_are_each_others_reverse() {
        for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
            let fixture = fixture(format);
            git(fixture.repo.root(), &["config", "filter.up.smudge", "tr a-z A-Z"]);
            git(fixture.repo.root(), &["config", "filter.up.clean", "tr A-Z a-z"]);
            let attributes =
                "*.bat eol=crlf\n*.up filter=up\n*.wide working-tree-encoding=UTF-16BE\n";
            let conversions = with_attributes(&fixture, attributes).unwrap();
            let stored = ["one\ntwo\n", "loud\n", "å\n", "as it is\r\n"];
            let oids = fixture.repo.write_blobs(&stored).unwrap();
            let paths = ["x/1.bat", "x/2.up", "3.wide", "4"].map(path);
            let files: Vec<_> = paths
                .iter()
                .zip(&oids)
                .map(|(path, oid)| (path.as_bytes(), Mode::File, oid))
                .collect();
            let stage = conversions.check_out(&files).unwrap();
            let had: Vec<Vec<u8>> =
                paths.iter().map(|path| fs::read(path.under(&stage)).unwrap()).collect();
            assert_eq!(had[0], b"one\r\ntwo\r\n");
            assert_eq!(had[1], b"LOUD\n");
            assert_eq!(had[2], b"\x00\xe5\x00\n");
            assert_eq!(had[3], b"as it is\r\n");
            let to_store = new_files(&paths, &had);
            let mut expected: Vec<Result<Oid, String>> = oids.into_iter().map(Ok).collect();
            // What the filter makes it does not take back.
            expected[1] = Ok(fixture.repo.write_blobs(&["LOUD\n"]).unwrap().remove(0));
            assert_eq!(fixture.repo.store(Some(&conversions), &to_store).unwrap(), expected);
            // Nothing of an earlier call is left, and nothing is asked of git for nothing.
            assert!(!conversions.check_out(&[]).unwrap().exists());
        }
    }

    #[test]
    fn line_endings_that_git_has_stored_stay_where_it_guesses() {
        let fixture = fixture(ObjectFormat::Sha1);
        let conversions = with_attributes(&fixture, "*.txt text=auto\n").unwrap();
        let before = fixture.repo.write_blobs(&["1\r\n"]).unwrap().remove(0);
        let stored = |before, bytes| {
            let path = path("a.txt");
            let file = ToStore { path: &path, mode: Mode::File, before, bytes };
            let oid = fixture.repo.store(Some(&conversions), &[file]).unwrap().remove(0).unwrap();
            fixture.repo.read_blob(&oid).unwrap()
        };
        assert_eq!(stored(Some(&before), b"1\r\n2\r\n"), b"1\r\n2\r\n");
        assert_eq!(stored(None, b"1\r\n2\r\n"), b"1\n2\n");
    }

    #[test]
    fn a_link_is_no_text_and_a_file_may_stand_where_attributes_were() {
        let fixture = fixture(ObjectFormat::Sha1);
        let tree = fixture.tree(&[("a/.gitattributes", "* eol=crlf\n"), ("a/b", "x\n")]);
        let conversions = fixture.repo.conversions(&fixture.repo.list(&tree).unwrap()).unwrap();
        let paths = [path("a"), path("b")];
        let files = [
            ToStore { path: &paths[0], mode: Mode::File, before: None, bytes: b"x\r\n" },
            ToStore { path: &paths[1], mode: Mode::Symlink, before: None, bytes: b"a\r\n" },
        ];
        let expected = fixture.repo.write_blobs(&["x\r\n", "a\r\n"]).unwrap();
        let expected: Vec<Result<Oid, String>> = expected.into_iter().map(Ok).collect();
        assert_eq!(fixture.repo.store(conversions.as_ref(), &files).unwrap(), expected);
    }

    #[test]
    fn a_file_that_git_cannot_convert_is_told_and_the_others_are_stored() {
        let fixture = fixture(ObjectFormat::Sha1);
        let conversions =
            with_attributes(&fixture, "*.txt text\n*.wide working-tree-encoding=UTF-16\n").unwrap();
        let paths = ["1.txt", "2.wide", "3.txt"].map(path);
        let bytes: [&[u8]; 3] = [b"a\r\n", b"no such encoding", b"b\r\n"];
        let files = new_files(&paths, &bytes);
        let stored = fixture.repo.store(Some(&conversions), &files).unwrap();
        assert!(stored[1].as_ref().unwrap_err().contains("2.wide"), "{stored:?}");
        for (at, text) in [(0, b"a\n"), (2, b"b\n")] {
            assert_eq!(fixture.repo.read_blob(stored[at].as_ref().unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn no_program_is_run_on_what_is_stored_and_no_attributes_count_but_the_trees() {
        let fixture = fixture(ObjectFormat::Sha1);
        let ran = fixture.dir.path().join("ran");
        for which in ["clean", "smudge", "process"] {
            let command = format!("touch {}; cat", ran.display());
            git(fixture.repo.root(), &["config", &format!("filter.up.{which}"), &command]);
        }
        let conversions = with_attributes(&fixture, "*.up filter=up\n* text\n").unwrap();
        let paths = [".gitattributes", "a.up", "b.txt"].map(path);
        let bytes: [&[u8]; 3] = [b"* filter=up\n", b"x\r\n", b"y\r\n"];
        let files = new_files(&paths, &bytes);
        let stored = fixture.repo.store(Some(&conversions), &files).unwrap();
        assert!(!ran.exists());
        for (oid, text) in stored.iter().zip([&b"* filter=up\n"[..], b"x\r\n", b"y\n"]) {
            assert_eq!(fixture.repo.read_blob(oid.as_ref().unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn a_filter_finds_what_it_names_in_the_checkout() {
        let fixture = fixture(ObjectFormat::Sha1);
        std::fs::write(fixture.repo.root().join("up.sh"), "tr a-z A-Z").unwrap();
        git(fixture.repo.root(), &["config", "filter.up.smudge", "sh ./up.sh"]);
        let conversions = with_attributes(&fixture, "*.up filter=up\n").unwrap();
        let oid = fixture.repo.write_blobs(&["loud\n"]).unwrap().remove(0);
        let stage = conversions.check_out(&[(b"a.up", Mode::File, &oid)]).unwrap();
        assert_eq!(std::fs::read(stage.join("a.up")).unwrap(), b"LOUD\n");
    }

    #[test]
    fn what_converts_has_a_fingerprint_of_its_own() {
        let fixture = fixture(ObjectFormat::Sha1);
        let plain = fixture.repo.list(&fixture.tree(&[("a", "")])).unwrap();
        assert!(fixture.repo.conversions(&plain).unwrap().is_none());
        let of = |text: &str| with_attributes(&fixture, text).unwrap().fingerprint().to_owned();
        let first = of("a eol=crlf\n");
        assert_eq!(of("a eol=crlf\n"), first);
        assert_ne!(of("a eol=lf\n"), first);
        git(fixture.repo.root(), &["config", "core.eol", "crlf"]);
        assert_ne!(of("a eol=crlf\n"), first);
        git(fixture.repo.root(), &["config", "core.autocrlf", "input"]);
        assert!(fixture.repo.conversions(&plain).unwrap().is_some());
        git(fixture.repo.root(), &["config", "core.autocrlf", "no"]);
        assert!(fixture.repo.conversions(&plain).unwrap().is_none());
    }

    #[test]
    fn a_filter_that_is_required_and_fails_is_an_error() {
        let fixture = fixture(ObjectFormat::Sha1);
        let conversions = || with_attributes(&fixture, "a/b filter=broken\n").unwrap();
        let oid = fixture.repo.write_blobs(&["x\n"]).unwrap().remove(0);
        let out = || conversions().check_out(&[(b"a/b", Mode::File, &oid)]);
        git(fixture.repo.root(), &["config", "filter.broken.smudge", "false"]);
        assert!(out().is_ok());
        git(fixture.repo.root(), &["config", "filter.broken.required", "true"]);
        let error = out().unwrap_err().to_string();
        assert!(error.contains("smudge filter broken failed"), "{error}");
    }
}
