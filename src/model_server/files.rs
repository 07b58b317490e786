//! A directory as the shell commands that write it: what an agent runs to play a recorded turn.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::text::base64;

/// How long a command gets: what one argument of a program may hold is 128 KiB, and the agents put
/// something around it.
const LONG: usize = 60_000;

/// How many bytes of a file are written at a time; a multiple of three, so that parts join.
const PART: usize = 30_000;

/// Returns the commands that remove `delete` and then write what is in `dir`, in this order, into the
/// directory `into` of where they run.
///
/// Files keep whether they can be executed, links what they point to; directories that hold no file are
/// left out.
pub(super) fn commands(
    dir: Option<&Path>,
    into: Option<&str>,
    delete: &[String],
) -> io::Result<Vec<String>> {
    // No `rm -f` in it, which codex takes for dangerous, and does not run.
    let removal = |path: &String| {
        let path = quoted(path);
        format!("{{ [ ! -e {path} ] || rm -r -- {path}; }}")
    };
    let mut steps: Vec<String> = delete.iter().map(removal).collect();
    if let Some(dir) = dir {
        let prefix = into.map_or(String::new(), |into| format!("{into}/"));
        below(dir, &prefix, &mut steps)?;
    }
    let mut commands: Vec<String> = Vec::new();
    for step in steps {
        match commands.last_mut() {
            Some(last) if last.len() + step.len() < LONG => {
                last.push_str(" && ");
                last.push_str(&step);
            }
            _ => commands.push(step),
        }
    }
    Ok(commands)
}

fn below(dir: &Path, prefix: &str, steps: &mut Vec<String>) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().into_string();
        names.push(name.map_err(|_| io::Error::other("the name of a file is no UTF-8"))?);
    }
    names.sort();
    for name in names {
        let (path, shown) = (dir.join(&name), format!("{prefix}{name}"));
        let metadata = fs::symlink_metadata(&path)?;
        let to = quoted(&shown);
        let parent = match prefix.trim_end_matches('/') {
            "" => String::new(),
            parent => format!("mkdir -p {} && ", quoted(parent)),
        };
        if metadata.is_dir() {
            below(&path, &format!("{shown}/"), steps)?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path)?;
            let target = quoted(&target.to_string_lossy());
            steps.push(format!("{parent}ln -sfn -- {target} {to}"));
        } else if metadata.is_file() {
            // Renamed, so that nothing is written through a link that is there.
            let (bytes, new) = (fs::read(&path)?, quoted(&format!("{shown}.new")));
            steps.push(format!("{parent}: > {new}"));
            for part in bytes.chunks(PART) {
                steps.push(format!("printf %s {} | base64 -d >> {new}", base64(part)));
            }
            let mode = if metadata.permissions().mode() & 0o111 == 0 { "644" } else { "755" };
            steps.push(format!("chmod {mode} {new} && mv -- {new} {to}"));
        }
    }
    Ok(())
}

/// Returns `path` as a word of the shell that is no option.
fn quoted(path: &str) -> String {
    let path = if path.starts_with('-') { format!("./{path}") } else { path.to_owned() };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/+".contains(&b);
    if !path.is_empty() && path.bytes().all(plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_written_again_by_a_shell() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| from.path().join(name);
        fs::create_dir_all(at("a b/c")).unwrap();
        let long: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        fs::write(at("a b/c/long"), &long).unwrap();
        fs::write(at("it's"), "x\n").unwrap();
        fs::set_permissions(at("it's"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("-empty"), "").unwrap();
        symlink("a b/c", at("link")).unwrap();
        fs::write(to.path().join("old"), "").unwrap();

        let commands = commands(Some(from.path()), Some("in/it"), &["old".to_owned()]).unwrap();
        assert!(commands.len() > 5 && commands.iter().all(|command| command.len() < LONG));
        for command in &commands {
            assert!(sh(command, to.path()), "{command}");
        }
        assert_eq!(fs::read(to.path().join("in/it/link/long")).unwrap(), long);
        assert_eq!(fs::read(to.path().join("in/it/-empty")).unwrap(), b"");
        let mode = fs::metadata(to.path().join("in/it/it's")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert!(!to.path().join("old").exists());
    }

    fn sh(command: &str, dir: &Path) -> bool {
        let call = crate::process::Call::new("/bin/sh", dir)
            .args(["-c", command])
            .envs([("PATH", "/usr/bin:/bin")]);
        let finished = crate::process::run(&call, &crate::process::Cancel::never(), &mut |_, _| {});
        matches!(finished.ending, crate::verdict::Ending::Exited { code: 0 })
    }
}
