//! What set-up commands made: kept by what they read, and put into the trees as copies.
//!
//! Nothing is run here; see `handlers::prepare`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::PrepareSettings;
use crate::delivery::{Found, What};
use crate::git::{ObjectFormat, Tree, blob_id, blob_id_of};
use crate::id::Digest;
use crate::journal::write_durably;
use crate::text::TreePath;
use crate::wall::confine::hand_over;
use crate::wall::{copy_entry, copy_tree, remove_tree};

use super::run::private_dir;
use super::{Failure, Halt, Run};

/// Returns for each step its key, under which what it makes is kept, and whether what it makes lasts.
///
/// The key is of the command, the path and blob of each tracked file that its inputs name or that lies below an output,
/// where the command sees its tree, which outputs may have written down, and all of that of the steps before it, of
/// whose work it makes use. What it makes lasts from one candidate to the next where the inputs are the base's, and
/// `is_kept` says that it was made there: for what it reads beside its inputs nobody answers but the person who
/// committed that. Else, and where it names no inputs, the whole candidate is a part of the key.
fn keys(
    steps: &[PrepareSettings],
    [tree, base]: [&Tree; 2],
    candidate: &str,
    at: &Path,
    is_kept: impl Fn(&str) -> bool,
) -> Vec<(String, bool)> {
    let digest = |text: &str| Digest::of(text.as_bytes()).as_str()[..32].to_owned();
    let mut before =
        format!("{}\0{}\0{}\0", std::env::consts::OS, std::env::consts::ARCH, at.display());
    let mut lasts = true;
    let each = steps.iter().map(|step| {
        let mut text = format!("{before}\0{}\0", step.run);
        let own = inputs(step, tree);
        for (path, oid) in &own {
            text.push_str(&format!("{path}\0{oid}\0"));
        }
        for output in &step.outputs {
            text.push_str(&format!("-> {output}\0"));
        }
        before = digest(&text);
        // Of a step without outputs there is nothing to keep.
        let is_kept = step.outputs.is_empty() || is_kept(&before);
        lasts = lasts && !step.inputs.is_empty() && own == inputs(step, base) && is_kept;
        if !lasts {
            before = digest(&format!("{text}{candidate}"));
        }
        (before.clone(), lasts)
    });
    each.collect()
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

/// What a step makes for a candidate.
#[derive(Debug, Clone)]
pub(super) struct Made {
    /// Tells it from what was made for another candidate.
    pub(super) key: String,
    /// Where its outputs are kept.
    pub(super) dir: PathBuf,
    /// Whether they are what inputs alone make, and kept from one run to the next; else they are the last candidate's.
    pub(super) lasts: bool,
}

/// Returns what each step makes for the candidate, in their order.
pub(super) fn made(run: &mut Run) -> Result<Vec<Made>, Halt> {
    let frozen = run.frozen.clone();
    let candidate = run.summary().candidate.0.clone();
    let base = run.summary().started.base.clone();
    let trees = [run.files_of(&candidate)?, run.files_of(&base)?];
    let at = frozen.at.under(&run.judged_at()?);
    let versioned = run.versioned()?;
    let (run_dir, cache) = (&versioned.paths.dir, versioned.state.prepare_cache());
    // What other runs will read is made of a base alone.
    let is_kept = |key: &str| candidate == base || cache.join(key).is_dir();
    let steps = frozen.prepare();
    let keys = keys(&steps, [&*trees[0], &*trees[1]], &candidate, &at, is_kept);
    let made = keys.into_iter().enumerate().map(|(index, (key, lasts))| {
        let last = run_dir.join("prepared").join(index.to_string());
        Made { dir: if lasts { cache.join(&key) } else { last }, key, lasts }
    });
    Ok(made.collect())
}

/// Returns the first step whose outputs have to be put into a tree that holds those of the keys `held`, and with it
/// those of all that come after it, as they were made one in another; the number of the steps where it holds them all.
/// `is_there` says of a step whether it finds its outputs unharmed.
pub(super) fn first_to_place(
    steps: &[PrepareSettings],
    made: &[Made],
    held: &[String],
    is_there: impl Fn(usize) -> bool,
) -> usize {
    let same = made.iter().zip(held).take_while(|(made, held)| made.key == **held).count();
    let mut first = (0..same).find(|step| !is_there(*step)).unwrap_or(same);
    let meet = |one: &String, other: &String| {
        Path::new(one).starts_with(other) || Path::new(other).starts_with(one)
    };
    let is_written_into = |step: usize, first: usize| {
        let mut later = steps[first..].iter().flat_map(|later| &later.outputs);
        later.any(|later| steps[step].outputs.iter().any(|output| meet(output, later)))
    };
    while let Some(earlier) = (0..first).find(|step| is_written_into(*step, first)) {
        first = earlier;
    }
    first
}

/// Puts the kept outputs of each step into the agent's workspace, where they are not there yet.
pub(super) fn place_in_workspace(run: &mut Run) -> Result<(), Halt> {
    let frozen = run.frozen.clone();
    let steps = &frozen.prepare();
    let made = made(run)?;
    let tree = run.files_of(&run.summary().candidate.0.clone())?;
    let owner = run.walls.agent_user();
    let paths = &run.versioned()?.paths;
    let file = paths.dir.join("prepare-workspace.json");
    let first = first_to_place(steps, &made, &read_held(&file), |step| {
        are_there(&steps[step], &made[step].dir, &paths.workspace)
            && !makes_tracked(&steps[step], &tree)
    });
    write_held(&file, &made[..first])?;
    for (step, made) in steps.iter().zip(&made).skip(first) {
        if !step.outputs.is_empty() && made.dir.is_dir() {
            place_outputs(step, &made.dir, &paths.workspace, owner)?;
        }
    }
    write_held(&file, &made)
}

/// Takes out of `found` what [`place_in_workspace`] put there and is as it was.
pub(super) fn without_outputs(run: &mut Run, found: &mut Vec<Found>) -> Result<(), Halt> {
    let frozen = run.frozen.clone();
    if frozen.outputs().is_empty() {
        return Ok(());
    }
    let made = made(run)?;
    let format = run.versioned()?.repo.format();
    let steps = &frozen.prepare();
    found.retain(|one| {
        let mut steps = steps.iter().zip(&made);
        !steps.any(|(step, made)| is_output(step, &one.path) && is_as_kept(&made.dir, format, one))
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

/// Returns the keys of `made`.
pub(super) fn keys_of(made: &[Made]) -> Vec<String> {
    made.iter().map(|made| made.key.clone()).collect()
}

/// Returns the file that says which steps' outputs the judge tree holds, in a run's directory.
pub(super) fn held_in_judge(run_dir: &Path) -> PathBuf {
    run_dir.join("prepare-judge.json")
}

/// Reads the keys of the steps whose outputs a tree holds, in their order; empty where nobody knows.
pub(super) fn read_held(file: &Path) -> Vec<String> {
    read_json(file)
}

/// Writes which steps' outputs a tree holds.
pub(super) fn write_held(file: &Path, made: &[Made]) -> Result<(), Halt> {
    write_json(file, &keys_of(made))
}

/// Reads what was written here; without it things are placed once more.
pub(super) fn read_json<T: DeserializeOwned + Default>(file: &Path) -> T {
    let bytes = std::fs::read(file).ok();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

pub(super) fn write_json<T: Serialize>(file: &Path, value: &T) -> Result<(), Halt> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    write_durably(file, &bytes).map_err(disk("writing", file))
}

/// Where among kept outputs that stands which a step and those before it left in their home: no output is there.
pub(super) const KEPT_HOME: &str = ".git/home";

/// Copies a step's outputs out of the judge tree, and with them a home, all of them or none. Those of an earlier
/// candidate go, those of the same inputs stay.
pub(super) fn keep_outputs(
    step: &PrepareSettings,
    from: &Path,
    made: &Made,
    home: Option<&Path>,
) -> Result<(), Halt> {
    let to = &made.dir;
    let parent = to.parent().unwrap_or(to);
    private_dir(parent)?;
    if !made.lasts {
        remove_tree(to).map_err(disk("removing", to))?;
    }
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

/// Returns whether no output is missing in a tree that was given them: what runs there may have
/// removed one.
pub(super) fn are_there(step: &PrepareSettings, kept: &Path, tree: &Path) -> bool {
    let is_there = |dir: &Path, output| dir.join(output).symlink_metadata().is_ok();
    let may_lack = |output| kept.is_dir() && !is_there(kept, output);
    step.outputs.iter().all(|output| is_there(tree, output) || may_lack(output))
}

/// Returns what stands on the way to one of the step's outputs in a tree and is no directory: what is read and written
/// through a link there would be somebody else's.
pub(super) fn in_the_way(step: &PrepareSettings, tree: &Path) -> Option<PathBuf> {
    let mut above = step.outputs.iter().flat_map(|output| Path::new(output).ancestors().skip(1));
    let is_other =
        |path: &Path| tree.join(path).symlink_metadata().is_ok_and(|found| !found.is_dir());
    above.find(|path| !path.as_os_str().is_empty() && is_other(path)).map(Path::to_owned)
}

/// Removes a step's outputs from a tree.
pub(super) fn remove_outputs(step: &PrepareSettings, tree: &Path) -> Result<(), Halt> {
    step.outputs.iter().try_for_each(|output| {
        clear_way(tree, output)?;
        remove(&tree.join(output))
    })
}

/// Replaces a step's outputs in a tree by copies of the kept ones.
pub(super) fn place_outputs(
    step: &PrepareSettings,
    from: &Path,
    to: &Path,
    owner: Option<(u32, u32)>,
) -> Result<(), Halt> {
    remove_outputs(step, to)?;
    for output in &step.outputs {
        let (source, target) = (from.join(output), to.join(output));
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

pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Halt> {
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
pub(super) mod tests {
    use super::*;
    use crate::config::Span;
    use crate::git::{Mode, Oid, TreeEntry};
    use crate::text::TreePath;

    pub(in crate::engine) fn step() -> PrepareSettings {
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

    fn named(name: &str, inputs: &[&str], outputs: &[&str]) -> PrepareSettings {
        let all = |texts: &[&str]| texts.iter().map(|&text| text.into()).collect();
        PrepareSettings { name: name.into(), inputs: all(inputs), outputs: all(outputs), ..step() }
    }

    pub(in crate::engine) fn made(keys: &[&str], dir: &Path) -> Vec<Made> {
        let each = keys.iter();
        each.map(|key| Made { key: (*key).into(), dir: dir.join(key), lasts: true }).collect()
    }

    #[test]
    fn a_key_is_made_of_the_command_its_inputs_and_the_steps_before() {
        let (deps, built) = (step(), named("built", &["*.lock"], &["out"]));
        let files = |package, lock, other| {
            tree(&[("package.json", package), ("a.lock", lock), ("src/a.js", other)])
        };
        let base = files('a', 'a', 'a');
        let of = |steps: &[PrepareSettings], tree: &Tree, candidate: &str| {
            keys(steps, [tree, tree], candidate, Path::new("/p"), |_| true)
        };
        let steps = [deps.clone(), built.clone()];
        let before = of(&steps, &base, "c1");
        assert!(before.iter().all(|(_, lasts)| *lasts));
        assert_eq!(of(&steps, &files('a', 'a', 'b'), "c2"), before);
        let other = of(&steps, &files('a', 'b', 'a'), "c1");
        assert!(other[0] == before[0] && other[1] != before[1]);
        let other = of(&steps, &files('b', 'a', 'a'), "c1");
        assert!(other[0] != before[0] && other[1] != before[1]);
        let other = PrepareSettings { run: "npm install".into(), ..deps };
        let other = of(&[other, built.clone()], &base, "c1");
        assert!(other[0] != before[0] && other[1] != before[1]);
        let elsewhere = keys(&steps, [&base, &base], "c1", Path::new("/q"), |_| true);
        assert_ne!(elsewhere, before);
        // Without inputs a step reads everything, and what comes after it makes use of its work.
        let all = [named("all", &[], &[]), built];
        let (one, other) = (of(&all, &base, "c1"), of(&all, &base, "c2"));
        assert!(one.iter().zip(&other).all(|(one, other)| one.0 != other.0 && !one.1));
        // What an agent has changed the inputs of, or was not made of the base, is of one candidate alone.
        let changed = files('b', 'a', 'a');
        let of = |candidate, is_kept: bool| {
            keys(&steps, [&changed, &base], candidate, Path::new("/p"), |_| is_kept)
        };
        assert!(of("c1", true).iter().zip(of("c2", true)).all(|(one, other)| *one != other));
        let of = |candidate| keys(&steps, [&base, &base], candidate, Path::new("/p"), |_| false);
        assert!(of("c1").iter().zip(of("c2")).all(|(one, other)| one.0 != other.0 && !one.1));
    }

    #[test]
    fn what_is_made_one_in_another_is_placed_in_order() {
        let steps = [
            named("env", &["a"], &["env"]),
            named("other", &["b"], &["lib"]),
            named("more", &["c"], &["env/more"]),
        ];
        let made = made(&["1", "2", "3"], Path::new("/none"));
        for (held, harmed, first) in [
            (&["1", "2", "3"][..], None, 3),
            (&[], None, 0),
            (&["1"], None, 0),
            // `more` is another candidate's, and lies in what `env` made.
            (&["1", "2", "9"], None, 0),
            (&["1", "2", "3"], Some(2), 0),
            (&["1", "9", "3"], None, 0),
            (&["9", "2", "3"], None, 0),
        ] {
            let held: Vec<String> = held.iter().map(|&key| key.into()).collect();
            let found = first_to_place(&steps, &made, &held, |step| Some(step) != harmed);
            assert_eq!(found, first, "{held:?}, {harmed:?}");
            let found = first_to_place(&steps[..2], &made[..2], &held, |_| true);
            let apart = held.iter().zip(["1", "2"]).take_while(|(held, key)| held == key).count();
            assert_eq!(found, apart, "{held:?}");
        }
    }

    #[test]
    fn a_link_on_the_way_to_an_output_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let step = named("deps", &[], &["a/b/out", "out"]);
        assert_eq!(in_the_way(&step, dir.path()), None);
        std::fs::remove_dir(dir.path().join("a/b")).unwrap();
        assert_eq!(in_the_way(&step, dir.path()), None);
        std::os::unix::fs::symlink("/tmp", dir.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("/tmp", dir.path().join("out")).unwrap();
        assert_eq!(in_the_way(&step, dir.path()), Some("a/b".into()));
    }

    #[test]
    fn a_file_and_a_link_are_outputs_too() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("cache/key"));
        let made = &made(&["key"], &dir.path().join("cache"))[0];
        std::fs::create_dir_all(tree.join("out")).unwrap();
        std::fs::write(tree.join("out/got"), "1").unwrap();
        std::os::unix::fs::symlink("out/got", tree.join("link")).unwrap();
        let step = PrepareSettings { outputs: vec!["out/got".into(), "link".into()], ..step() };
        keep_outputs(&step, &tree, made, None).unwrap();
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
        let made = &made(&["key"], &dir.path().join("cache"))[0];
        std::fs::create_dir_all(tree.join("vendor/out")).unwrap();
        std::fs::write(tree.join("vendor/out/x"), "1").unwrap();
        let step = PrepareSettings { outputs: vec!["vendor/out".into()], ..step() };
        keep_outputs(&step, &tree, made, None).unwrap();
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
        let made = &made(&["key"], &dir.path().join("cache"))[0];
        std::fs::create_dir_all(tree.join("node_modules/a")).unwrap();
        std::fs::write(tree.join("node_modules/a/x"), "1").unwrap();
        keep_outputs(&step(), &tree, made, None).unwrap();
        std::fs::write(tree.join("node_modules/a/x"), "spoilt").unwrap();
        std::fs::write(tree.join("node_modules/stray"), "2").unwrap();
        place_outputs(&step(), &kept, &tree, None).unwrap();
        assert_eq!(std::fs::read(tree.join("node_modules/a/x")).unwrap(), b"1");
        assert!(!tree.join("node_modules/stray").exists());
    }
}
