//! What set-up commands made: kept by what they read, and put into the trees as copies.
//!
//! Nothing is run here; see `handlers::prepare`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::PrepareSettings;
use crate::delivery::{Found, What};
use crate::git::{ObjectFormat, Tree, blob_id, blob_id_of};
use crate::id::Digest;
use crate::journal::write_durably;
use crate::text::TreePath;
use crate::wall::confine::hand_over;
use crate::wall::{copy_entry, copy_tree};

use super::run::private_dir;
use super::{Failure, Halt, Run, RunPaths};

/// Which key of each step a tree holds, by the step's name.
pub(super) type Applied = BTreeMap<String, String>;

/// Returns the key under which a step's outputs are kept: the command, the path and blob of each tracked file
/// that its inputs name or that lies below an output, and where the command sees its tree, which outputs may
/// have written down.
pub(super) fn key(step: &PrepareSettings, tree: &Tree, at: &Path) -> String {
    let mut text = format!("{}\0{}\0{}\0", step.run, std::env::consts::OS, std::env::consts::ARCH);
    text.push_str(&format!("{}\0", at.display()));
    for (path, oid) in inputs(step, tree) {
        text.push_str(&format!("{path}\0{oid}\0"));
    }
    for output in &step.outputs {
        text.push_str(&format!("-> {output}\0"));
    }
    Digest::of(text.as_bytes()).as_str()[..32].to_owned()
}

/// Returns the path and blob of each file that makes the key.
pub(super) fn inputs(step: &PrepareSettings, tree: &Tree) -> Vec<(String, String)> {
    let mut set = globset::GlobSetBuilder::new();
    for glob in &step.inputs {
        if let Ok(glob) = globset::GlobBuilder::new(glob).literal_separator(true).build() {
            set.add(glob);
        }
    }
    let Ok(set) = set.build() else { return Vec::new() };
    tree.iter()
        .filter(|(path, _)| set.is_match(path.as_path()) || is_output(step, path))
        .map(|(path, entry)| (path.to_string(), entry.oid.as_str().to_owned()))
        .collect()
}

/// Returns whether tracked files lie among the step's outputs.
pub(super) fn makes_tracked(step: &PrepareSettings, tree: &Tree) -> bool {
    tree.keys().any(|path| is_output(step, path))
}

/// Returns whether a path is one of the step's outputs or lies in one.
fn is_output(step: &PrepareSettings, path: &TreePath) -> bool {
    let path = path.as_path();
    step.outputs.iter().any(|output| path.starts_with(output))
}

/// What a step made for the candidate, where it is kept.
struct KeptOutputs {
    /// Tells what is there from what was there for another candidate.
    key: String,
    dir: PathBuf,
}

/// Returns what each step made for the candidate, in their order.
fn kept_outputs(run: &mut Run) -> Result<Vec<KeptOutputs>, Halt> {
    let frozen = run.frozen.clone();
    let candidate = run.summary().candidate.0.clone();
    let (tree, at) = (run.files_of(&candidate)?, frozen.at.under(&run.judged_at()?));
    let versioned = run.versioned()?;
    let (run_dir, cache) = (&versioned.paths.dir, versioned.state.prepare_cache());
    let steps = frozen.prepare();
    let kept = steps.iter().enumerate().map(|(index, step)| {
        let key = key(step, &tree, &at);
        match step.inputs.is_empty() {
            false => KeptOutputs { dir: cache.join(&key), key },
            true => KeptOutputs { key: key + &candidate, dir: last_outputs(run_dir, index) },
        }
    });
    Ok(kept.collect())
}

/// Puts the kept outputs of each step into the agent's workspace, where they are not there yet.
pub(super) fn place_in_workspace(run: &mut Run) -> Result<(), Halt> {
    let frozen = run.frozen.clone();
    let kept = kept_outputs(run)?;
    let tree = run.files_of(&run.summary().candidate.0.clone())?;
    let owner = run.walls.agent_user();
    let versioned = run.versioned()?;
    let file = versioned.paths.dir.join("prepare-workspace.json");
    let mut applied = read_applied(&file);
    for (step, KeptOutputs { key, dir }) in frozen.prepare().iter().zip(kept) {
        let workspace = &versioned.paths.workspace;
        let placed = applied.get(&step.name) == Some(&key)
            && are_there(step, &dir, workspace)
            && !makes_tracked(step, &tree);
        if step.outputs.is_empty() || placed || !dir.is_dir() {
            continue;
        }
        place_outputs(step, &dir, workspace, owner)?;
        applied.insert(step.name.clone(), key);
    }
    write_applied(&file, &applied)
}

/// Takes out of `found` what [`place_in_workspace`] put there and is as it was.
pub(super) fn without_outputs(run: &mut Run, found: &mut Vec<Found>) -> Result<(), Halt> {
    let frozen = run.frozen.clone();
    if frozen.outputs().is_empty() {
        return Ok(());
    }
    let kept = kept_outputs(run)?;
    let format = run.versioned()?.repo.format();
    let steps = frozen.prepare();
    found.retain(|one| {
        let mut steps = steps.iter().zip(&kept);
        !steps.any(|(step, kept)| is_output(step, &one.path) && is_as_kept(&kept.dir, format, one))
    });
    Ok(())
}

/// Returns whether what was found is what a step's kept outputs have there. What is told as a whole is: too much
/// of it is new for anybody's edits.
fn is_as_kept(kept: &Path, format: ObjectFormat, found: &Found) -> bool {
    let at = found.path.under(kept);
    let there = at.symlink_metadata();
    match (&found.what, there) {
        (What::File { blob, executable, bytes }, Ok(there)) if there.is_file() => {
            let id = std::fs::File::open(&at)
                .and_then(|mut file| blob_id_of(format, there.len(), &mut file));
            let same_mode = (there.permissions().mode() & 0o100 != 0) == *executable;
            same_mode && there.len() == *bytes && id.is_ok_and(|id| id.as_str() == blob)
        }
        (What::Symlink { blob, .. }, Ok(there)) if there.is_symlink() => std::fs::read_link(&at)
            .is_ok_and(|target| {
                blob_id(format, target.as_os_str().as_encoded_bytes()).as_str() == blob
            }),
        (What::Removed, there) => kept.is_dir() && there.is_err(),
        (What::Directory { .. } | What::Unlisted { .. }, _) => kept.is_dir(),
        _ => false,
    }
}

/// Reads which keys a tree holds; empty where nobody knows.
pub(super) fn read_applied(file: &Path) -> Applied {
    // Without it the outputs are placed once more.
    std::fs::read(file)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// Writes which keys a tree holds.
pub(super) fn write_applied(file: &Path, applied: &Applied) -> Result<(), Halt> {
    let bytes = serde_json::to_vec(applied).unwrap_or_default();
    write_durably(file, &bytes).map_err(disk("writing", file))
}

/// Returns where the outputs of a step without inputs are kept, as the last candidate's set-up made them, in a
/// run's directory.
pub(super) fn last_outputs(dir: &Path, step: usize) -> PathBuf {
    dir.join("prepared").join(step.to_string())
}

/// Where among kept outputs that stands which a step and those before it left in their home: no output is there.
const KEPT_HOME: &str = ".git/home";

/// Copies a step's outputs out of the judge tree, and with them a home, all of them or none.
pub(super) fn keep_outputs(
    step: &PrepareSettings,
    from: &Path,
    to: &Path,
    home: Option<&Path>,
) -> Result<(), Halt> {
    let parent = to.parent().unwrap_or(to);
    private_dir(parent)?;
    let stage = tempfile::Builder::new()
        .prefix("new-")
        .tempdir_in(parent)
        .map_err(disk("making a directory in", parent))?;
    for output in &step.outputs {
        let (source, target) = (from.join(output), stage.path().join(output));
        if source.symlink_metadata().is_ok() {
            copy(&source, &target)?;
        }
    }
    if let Some(home) = home.filter(|home| home.is_dir()) {
        let place = stage.path().join(KEPT_HOME);
        private_dir(place.parent().unwrap_or(&place))?;
        copy_tree(home, &place).map_err(disk("copying to", &place))?;
    }
    match std::fs::rename(stage.path(), to) {
        Ok(()) => {
            let _ = stage.keep();
            Ok(())
        }
        // Another run has kept the same in the meantime.
        Err(_) if to.is_dir() => Ok(()),
        Err(error) => Err(disk("making", to)(error)),
    }
}

/// Puts into the judge's home what a step that is not run left there: gates may need of it what the outputs don't
/// hold, as packages in a cache. What is there stays.
pub(super) fn place_home(
    kept: &Path,
    paths: &RunPaths,
    key: &str,
    owner: Option<(u32, u32)>,
) -> Result<(), Halt> {
    let (from, to) = (kept.join(KEPT_HOME), &paths.judge_home);
    if from.is_dir() && !paths.dir.join(HOMES).join(key).exists() {
        private_dir(to)?;
        fill(&from, to)?;
        if let Some(owner) = owner {
            hand_over(to, owner).map_err(disk("handing over", to))?;
        }
        has_home(&paths.dir, key)?;
    }
    Ok(())
}

/// The directory of a run that has a file for each key whose home is in the judge's.
const HOMES: &str = "prepare-homes";

/// Notes that what the home of a key holds is in the judge's.
pub(super) fn has_home(run_dir: &Path, key: &str) -> Result<(), Halt> {
    let dir = run_dir.join(HOMES);
    private_dir(&dir)?;
    std::fs::write(dir.join(key), "").map_err(disk("writing", &dir))
}

/// Copies what `to` has not, directory by directory; a link is never followed.
fn fill(from: &Path, to: &Path) -> Result<(), Halt> {
    for entry in std::fs::read_dir(from).map_err(disk("reading", from))? {
        let name = entry.map_err(disk("reading", from))?.file_name();
        let (source, target) = (from.join(&name), to.join(&name));
        let is_dir = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
        if target.symlink_metadata().is_err() {
            copy(&source, &target)?;
        } else if is_dir(&source) && is_dir(&target) {
            fill(&source, &target)?;
        }
    }
    Ok(())
}

/// Returns whether no output is missing in a tree that was given them: what runs there may have
/// removed one.
pub(super) fn are_there(step: &PrepareSettings, kept: &Path, tree: &Path) -> bool {
    let is_there = |dir: &Path, output| dir.join(output).symlink_metadata().is_ok();
    let may_lack = |output| kept.is_dir() && !is_there(kept, output);
    step.outputs.iter().all(|output| is_there(tree, output) || may_lack(output))
}

/// Replaces a step's outputs in a tree by copies of the kept ones.
pub(super) fn place_outputs(
    step: &PrepareSettings,
    from: &Path,
    to: &Path,
    owner: Option<(u32, u32)>,
) -> Result<(), Halt> {
    for output in &step.outputs {
        let (source, target) = (from.join(output), to.join(output));
        clear_way(to, output)?;
        remove(&target)?;
        let on_the_way = Path::new(output).ancestors();
        let missing = on_the_way.take_while(|path| !to.join(path).exists()).last();
        if source.symlink_metadata().is_ok() {
            copy(&source, &target)?;
            // With the directories that were made on the way to it.
            let first = missing.map(|first| to.join(first));
            if let (Some(owner), Some(first)) = (owner, first) {
                hand_over(&first, owner).map_err(disk("handing over", &first))?;
            }
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Halt> {
    let (Some(source), Some(target), Some(name)) = (from.parent(), to.parent(), from.file_name())
    else {
        return Ok(());
    };
    std::fs::create_dir_all(target).map_err(disk("making", target))?;
    copy_entry(source, target, name).map(|_| ()).map_err(disk("copying to", to))
}

/// Removes what stands where directories have to be above an output: a link there would lead out of the tree, and what
/// is removed and written would be somebody else's.
fn clear_way(to: &Path, output: &str) -> Result<(), Halt> {
    let above: Vec<&Path> = Path::new(output).ancestors().skip(1).collect();
    for path in above.into_iter().rev().map(|path| to.join(path)).filter(|path| path != to) {
        if path.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            std::fs::remove_file(&path).map_err(disk("removing", &path))?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Halt> {
    let removed = match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    };
    removed.map_err(disk("removing", path))
}

/// Says what failed on the disk, and where.
pub(super) fn disk(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Halt {
    let path = path.display().to_string();
    move |error| Failure::of("disk", format!("{doing} {path} failed"), error).into()
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;
    use crate::git::{Mode, Oid, TreeEntry};
    use crate::text::TreePath;

    fn step() -> PrepareSettings {
        PrepareSettings {
            name: "deps".into(),
            run: "npm ci".into(),
            inputs: vec!["package*.json".into()],
            outputs: vec!["node_modules".into()],
            timeout: Span::seconds(1),
        }
    }

    fn tree(files: &[(&str, char)]) -> Tree {
        files
            .iter()
            .map(|(path, digit)| {
                let oid = Oid::parse(&digit.to_string().repeat(40)).unwrap();
                (TreePath::parse(*path).unwrap(), TreeEntry { mode: Mode::File, oid })
            })
            .collect()
    }

    #[test]
    fn only_the_command_and_its_inputs_make_the_key() {
        let before =
            key(&step(), &tree(&[("package.json", 'a'), ("src/a.js", 'a')]), Path::new("/p"));
        assert_eq!(
            key(&step(), &tree(&[("package.json", 'a'), ("src/a.js", 'b')]), Path::new("/p")),
            before
        );
        assert_ne!(
            key(&step(), &tree(&[("package.json", 'b'), ("src/a.js", 'a')]), Path::new("/p")),
            before
        );
        let other = PrepareSettings { run: "npm install".into(), ..step() };
        assert_ne!(
            key(&other, &tree(&[("package.json", 'a')]), Path::new("/p")),
            key(&step(), &tree(&[("package.json", 'a')]), Path::new("/p"))
        );
    }

    #[test]
    fn a_file_and_a_link_are_outputs_too() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("cache/key"));
        std::fs::create_dir_all(tree.join("out")).unwrap();
        std::fs::write(tree.join("out/got"), "1").unwrap();
        std::os::unix::fs::symlink("out/got", tree.join("link")).unwrap();
        let step = PrepareSettings { outputs: vec!["out/got".into(), "link".into()], ..step() };
        keep_outputs(&step, &tree, &kept, None).unwrap();
        let to = dir.path().join("to");
        std::fs::create_dir(&to).unwrap();
        place_outputs(&step, &kept, &to, None).unwrap();
        assert_eq!(std::fs::read_to_string(to.join("link")).unwrap(), "1");
        assert!(to.join("link").is_symlink());
    }

    #[test]
    fn nothing_is_removed_or_written_behind_a_link_on_the_way_to_an_output() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("cache/key"));
        std::fs::create_dir_all(tree.join("vendor/out")).unwrap();
        std::fs::write(tree.join("vendor/out/x"), "1").unwrap();
        let step = PrepareSettings { outputs: vec!["vendor/out".into()], ..step() };
        keep_outputs(&step, &tree, &kept, None).unwrap();
        let victim = dir.path().join("victim");
        std::fs::create_dir_all(victim.join("out")).unwrap();
        std::fs::write(victim.join("out/own"), "own").unwrap();
        std::fs::remove_dir_all(tree.join("vendor")).unwrap();
        std::os::unix::fs::symlink(&victim, tree.join("vendor")).unwrap();
        place_outputs(&step, &kept, &tree, None).unwrap();
        assert_eq!(std::fs::read(victim.join("out/own")).unwrap(), b"own");
        assert!(!victim.join("out/x").exists() && !tree.join("vendor").is_symlink());
        assert_eq!(std::fs::read(tree.join("vendor/out/x")).unwrap(), b"1");
    }

    #[test]
    fn outputs_are_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("cache/key"));
        std::fs::create_dir_all(tree.join("node_modules/a")).unwrap();
        std::fs::write(tree.join("node_modules/a/x"), "1").unwrap();
        keep_outputs(&step(), &tree, &kept, None).unwrap();
        std::fs::write(tree.join("node_modules/a/x"), "spoilt").unwrap();
        std::fs::write(tree.join("node_modules/stray"), "2").unwrap();
        place_outputs(&step(), &kept, &tree, None).unwrap();
        assert_eq!(std::fs::read(tree.join("node_modules/a/x")).unwrap(), b"1");
        assert!(!tree.join("node_modules/stray").exists());
    }
}
