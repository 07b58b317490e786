//! The view as a tree of mounts in namespaces of its own, and the rights that are given away there.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, fchown, fstat, mkfifoat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::{Gid, Uid, chdir, getgid, getuid, pivot_root};
use rustix::thread::{
    CapabilitySet, CapabilitySets, LinkNameSpaceType, UnshareFlags, capability_is_in_bounding_set,
    clear_ambient_capability_set, configure_capability_in_ambient_set, move_into_link_name_space,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::loopback;
use super::spec::{self, Network, Spec, Start, Step};
use super::view::Use;

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Makes the namespaces: this process is in all of them but that of the numbers of processes, in which
/// its first child will be the first.
pub(super) fn unshare(step: Step, network: &Network) -> io::Result<()> {
    let mut flags = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    let as_user = step == Step::UserNamespace;
    match network {
        Network::Own => flags |= UnshareFlags::NEWNET,
        Network::Shared(pid) => join_network(step, *pid)?,
        Network::Open => {}
    }
    if as_user && !matches!(network, Network::Shared(_)) {
        leave_as_user(flags)?;
    } else {
        leave(flags)?;
    }
    if as_user {
        keep_rights()?;
    }
    Ok(())
}

/// Holds a network of its own for others to join: makes it, brings its loopback up.
pub(super) fn unshare_network(step: Step) -> io::Result<()> {
    if step == Step::UserNamespace {
        leave_as_user(UnshareFlags::NEWNET)?;
    } else {
        leave(UnshareFlags::NEWNET)?;
    }
    loopback::up()
}

/// Joins this process to the network that the process `pid` holds.
pub(super) fn join_network(step: Step, pid: i32) -> io::Result<()> {
    if step == Step::UserNamespace {
        join(pid, "user", LinkNameSpaceType::User)?;
    }
    join(pid, "net", LinkNameSpaceType::Network)
}

/// Joins this process to everything that the process `pid` runs in but its view; its next child will be
/// among the processes there.
///
/// # Errors
/// Not found where it is gone.
pub(super) fn join_all(step: Step, pid: i32) -> io::Result<()> {
    use LinkNameSpaceType as Type;
    let kinds = [
        ("user", Type::User),
        ("ipc", Type::InterProcessCommunication),
        ("uts", Type::HostNameAndNISDomainName),
        ("cgroup", Type::ControlGroup),
        ("net", Type::Network),
        ("pid", Type::ProcessID),
    ];
    let as_user = step == Step::UserNamespace;
    for (kind, which) in kinds.into_iter().filter(|(kind, _)| *kind != "user" || as_user) {
        join(pid, kind, which)?;
    }
    if as_user { keep_rights() } else { Ok(()) }
}

/// Joins this process to the view of the process `pid`.
pub(super) fn join_view(pid: i32) -> io::Result<()> {
    join(pid, "mnt", LinkNameSpaceType::Mount)?;
    Ok(chdir("/")?)
}

fn join(pid: i32, kind: &str, which: LinkNameSpaceType) -> io::Result<()> {
    let file = File::open(format!("/proc/{pid}/ns/{kind}"))?;
    Ok(move_into_link_name_space(file.as_fd(), Some(which))?)
}

fn leave(flags: UnshareFlags) -> io::Result<()> {
    // What makes the function unsound is sharing descriptors, which it is not asked to stop.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of a flag that is not used"
    )]
    Ok(rustix::thread::unshare(flags)?)
}

/// Makes namespaces in one of this user's own, in which it is who it was and has every right.
fn leave_as_user(flags: UnshareFlags) -> io::Result<()> {
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    leave(flags | UnshareFlags::NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))
}

/// Keeps the rights that a user namespace gives over the start of the inner launcher.
fn keep_rights() -> io::Result<()> {
    let each = [
        CapabilitySet::SYS_ADMIN,
        CapabilitySet::NET_ADMIN,
        CapabilitySet::SETPCAP,
        // To join the view of another.
        CapabilitySet::SYS_CHROOT,
        CapabilitySet::SYS_PTRACE,
    ];
    let needed = each.into_iter().fold(CapabilitySet::empty(), |all, one| all | one);
    let all = rustix::thread::capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: needed, ..all })?;
    for one in each {
        configure_capability_in_ambient_set(one, true)?;
    }
    Ok(())
}

/// Puts the view together and makes it the root; brings up the loopback of a network of its own.
pub(super) fn enter(spec: &Spec, start: &Start) -> io::Result<()> {
    if start.network == Network::Own {
        loopback::up()?;
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let root = Path::new(&spec.root);
    tmpfs(root, "mode=755,size=16m")?;
    let mut view = Building { root, shown: Vec::new() };
    // A tree may lie in the memory of /dev/shm.
    view.devices()?;
    for (from, at, using) in spec::places(spec, start) {
        view.show(&from, &at, using)?;
    }
    for (path, mode) in [("/proc", 0o755), ("/run", 0o755), ("/tmp", 0o1777), ("/var/tmp", 0o1777)]
    {
        view.dir(Path::new(path), mode)?;
    }
    let none = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let proc = view.at(Path::new("/proc"));
    let hidden = spec.hides.then_some(c"hidepid=ptraceable");
    naming("/proc", mount("proc", &proc, "proc", none, hidden))?;
    if spec.hides {
        // Nobody writes to the memory of another either.
        view.shown.push((proc, true));
    } else if is_root(spec) {
        view.lock_switches()?;
    }
    view.close()?;
    chdir(root)?;
    naming("the root", pivot_root(".", "."))?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(chdir("/")?)
}

/// Returns whether the program will have root's number, though none of its rights.
pub(super) fn is_root(spec: &Spec) -> bool {
    spec.step == Step::Root && spec.user.is_none()
}

struct Building<'a> {
    root: &'a Path,
    /// What was mounted, and whether it is read alone.
    shown: Vec<(PathBuf, bool)>,
}

impl Building<'_> {
    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        let at = self.at(path);
        if at.is_dir() {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&at)?;
        let mode = rustix::fs::Mode::from_raw_mode(mode);
        Ok(rustix::fs::chmod(&at, mode)?)
    }

    fn show(&mut self, from: &Path, path: &Path, using: Use) -> io::Result<()> {
        let Ok(kind) = fs::symlink_metadata(from) else { return Ok(()) };
        if let Some(parent) = path.parent() {
            self.dir(parent, 0o755)?;
        }
        let at = self.at(path);
        if kind.is_symlink() && using == Use::Read {
            // Its target is seen where it lies.
            return match symlink(fs::read_link(from)?, &at) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            };
        }
        if fs::metadata(from)?.is_dir() {
            self.dir(path, 0o755)?;
        } else if fs::symlink_metadata(&at).is_err() {
            File::create(&at)?;
        }
        naming(&path.display().to_string(), mount_bind_recursive(from, &at))?;
        self.shown.push((at, using == Use::Read));
        Ok(())
    }

    fn devices(&mut self) -> io::Result<()> {
        self.dir(Path::new("/dev"), 0o755)?;
        for name in DEVICES {
            let path = Path::new("/dev").join(name);
            // A container may lack one. There is no terminal in here.
            if fs::symlink_metadata(&path).is_ok() {
                self.show(&path, &path, Use::Device)?;
            }
        }
        for (name, target) in LINKS {
            symlink(target, self.at(&Path::new("/dev").join(name)))?;
        }
        for (path, mode) in [("/dev/shm", 0o1777), ("/dev/pts", 0o755)] {
            self.dir(Path::new(path), mode)?;
        }
        tmpfs(&self.at(Path::new("/dev/shm")), "mode=1777")?;
        let none = MountFlags::NOSUID | MountFlags::NOEXEC;
        let options = c"newinstance,ptmxmode=0666,mode=620";
        let pts = self.at(Path::new("/dev/pts"));
        naming("/dev/pts", mount("devpts", pts, "devpts", none, Some(options)))
    }

    /// Takes away the switches of the machine that belong to root's number, whatever its rights.
    fn lock_switches(&mut self) -> io::Result<()> {
        let at = self.at(Path::new("/proc/sys"));
        naming("/proc/sys", mount_bind_recursive(&at, &at))?;
        self.shown.push((at, true));
        let trigger = self.at(Path::new("/proc/sysrq-trigger"));
        // Not every kernel has it.
        if trigger.exists() {
            naming("/proc/sysrq-trigger", mount_bind_recursive("/dev/null", trigger))?;
        }
        Ok(())
    }

    /// Makes what is read alone unwritable, whatever is mounted within, and the frame around it.
    fn close(&self) -> io::Result<()> {
        let table = fs::read("/proc/self/mountinfo")?;
        for (place, flags) in mounts(&table) {
            let around = self.shown.iter().filter(|(shown, _)| place.starts_with(shown));
            let innermost = around.max_by_key(|(shown, _)| shown.components().count());
            if innermost.is_some_and(|(_, read)| *read) {
                let flags = flags | MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
                naming(&place.display().to_string(), mount_remount(&place, flags, c""))?;
            }
        }
        let frame = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        naming("the view", mount_remount(self.root, frame, c""))
    }
}

fn tmpfs(at: &Path, options: &str) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let options = CString::new(options)?;
    naming(&at.display().to_string(), mount("tmpfs", at, "tmpfs", flags, Some(&*options)))
}

fn naming<T>(what: &str, result: rustix::io::Result<T>) -> io::Result<T> {
    result.map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{what} can't be mounted: {error}"))
    })
}

/// Returns the mounts that a `mountinfo` lists, with the flags that a mount keeps.
fn mounts(table: &[u8]) -> Vec<(PathBuf, MountFlags)> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ').skip(4);
            let place = PathBuf::from(unescape(fields.next()?));
            let options = fields.next()?.split(|byte| *byte == b',');
            let flags = options.fold(MountFlags::empty(), |flags, option| {
                flags
                    | match option {
                        b"ro" => MountFlags::RDONLY,
                        b"nosuid" => MountFlags::NOSUID,
                        b"nodev" => MountFlags::NODEV,
                        b"noexec" => MountFlags::NOEXEC,
                        b"noatime" => MountFlags::NOATIME,
                        b"nodiratime" => MountFlags::NODIRATIME,
                        b"relatime" => MountFlags::RELATIME,
                        _ => MountFlags::empty(),
                    }
            });
            Some((place, flags))
        })
        .collect()
}

/// Reads what the kernel wrote as `\040`.
fn unescape(text: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let number = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = number.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, byte) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                rest = &after[3..];
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    OsStr::from_bytes(&out).to_owned()
}

/// Makes a pipe with a name, for this user alone.
pub(super) fn make_pipe(path: &Path) -> io::Result<()> {
    Ok(mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?)
}

/// Gives the pipes that are this process's streams to `user`, as whom the program could otherwise use but not open
/// them, by `/dev/stdout` and its like.
pub(super) fn hand_over_pipes((user, group): (u32, u32)) {
    let streams = [
        io::stdin().as_fd().try_clone_to_owned(),
        io::stdout().as_fd().try_clone_to_owned(),
        io::stderr().as_fd().try_clone_to_owned(),
    ];
    for stream in streams.into_iter().flatten() {
        let is_pipe = fstat(&stream)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        if is_pipe {
            // Where this process may not, the program is left with what it has.
            let _ = fchown(&stream, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        }
    }
}

/// Gives up every right there is beyond that of a plain user, for good, and becomes `user`.
pub(super) fn give_up_rights(user: Option<(u32, u32)>) -> io::Result<()> {
    // Whoever may not is without the right that would be given up.
    for one in CapabilitySet::all().iter() {
        if capability_is_in_bounding_set(one).unwrap_or(false) {
            let _ = remove_capability_from_bounding_set(one);
        }
    }
    clear_ambient_capability_set()?;
    if let Some(user) = user {
        become_user(user)?;
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(set_no_new_privs(true)?)
}

/// Becomes another user, with one group.
fn become_user((user, group): (u32, u32)) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    Ok(set_thread_res_uid(user, user, user)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_spaces_in_their_names() {
        let table = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
                      30 25 0:27 /a /m\\040y ro,nosuid,nodev master:1 - tmpfs x rw\nnonsense\n";
        assert_eq!(
            mounts(table),
            [
                ("/proc".into(), MountFlags::RELATIME),
                ("/m y".into(), MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV),
            ]
        );
    }
}
