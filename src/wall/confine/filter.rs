//! The system calls that nothing confined needs, and that each have been a way out.
//!
//! A list of what is refused, not of what is allowed: the view and the namespaces are the wall, this
//! takes away the tools that climb it. Refused calls fail with EPERM, as in a container.

use std::io;

use libc::c_long;
use seccompiler::{BpfProgram, apply_filter, sock_filter};

/// Refused whatever their arguments are.
const REFUSED: &[c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Another view of the files.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // Calls that no filter sees, and code in the kernel.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    // Keys that are not of this namespace.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_quotactl,
];

/// The families of sockets that there is a use for; others reach past a network namespace.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

const NAMESPACES: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP)
    .cast_unsigned();

/// What the kernel calls this architecture; programs of another one, which number calls otherwise, are
/// ended.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xC000_00F3;
/// Where it has no name here nothing runs under the filter, and no step holds.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
const ARCHITECTURE: u32 = 0;
/// From this number on the same calls are numbered for programs of the x32 kind, which nobody has.
const X32: u32 = 0x4000_0000;

// Where the kernel lays a call's number, its architecture and the lower half of its arguments.
const NUMBER: u32 = 0;
const KIND: u32 = 4;
const FIRST: u32 = 16;
const SECOND: u32 = 24;

// Instructions of the kernel's filters: load, jumps, a mask, the verdict.
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const MASK: u16 = 0x54;
const VERDICT: u16 = 0x06;

const ALLOW: u32 = 0x7FFF_0000;
const END: u32 = 0x8000_0000;

/// Puts the filter on this process and on all that it starts, for good. `without_unix_sockets` says
/// whether sockets of the file system and of abstract names are refused as well, where no namespace
/// keeps them apart; `only_streams` whether no datagram leaves, where rules hold for TCP alone.
///
/// # Errors
/// The kernel has no filters.
pub(super) fn apply(without_unix_sockets: bool, only_streams: bool) -> io::Result<()> {
    let program = program(without_unix_sockets, only_streams)?;
    apply_filter(&program).map_err(io::Error::other)
}

/// Returns the filter. The kernel tries it on every number when it is put on a process, so that a list
/// which is searched by halves costs a tenth of one that is gone through.
fn program(without_unix_sockets: bool, only_streams: bool) -> io::Result<BpfProgram> {
    let mut calls: Vec<(u32, BpfProgram)> = Vec::new();
    let number = |call: c_long| u32::try_from(call).map_err(io::Error::other);
    for call in REFUSED {
        calls.push((number(*call)?, vec![refuse(libc::EPERM)]));
    }
    // A program that is told that it does not exist takes `clone`, whose arguments can be looked at.
    calls.push((number(libc::SYS_clone3)?, vec![refuse(libc::ENOSYS)]));
    for call in [libc::SYS_clone, libc::SYS_unshare] {
        calls.push((number(call)?, refuse_if(FIRST, IF_ANY_BIT, NAMESPACES)));
    }
    // What is typed into a terminal for somebody else.
    let typing = u32::try_from(libc::TIOCSTI).map_err(io::Error::other)?;
    calls.push((number(libc::SYS_ioctl)?, refuse_if(SECOND, IF_EQUAL, typing)));
    calls.push((number(libc::SYS_socket)?, socket(without_unix_sockets, only_streams)));
    calls.sort_by_key(|(number, _)| *number);
    let mut out = vec![
        plain(LOAD, KIND),
        jump(IF_EQUAL, ARCHITECTURE, 1, 0),
        plain(VERDICT, END),
        plain(LOAD, NUMBER),
        jump(IF_AT_LEAST, X32, 0, 1),
        refuse(libc::ENOSYS),
    ];
    out.extend(search(&calls)?);
    Ok(out)
}

/// Returns the instructions that find a call among `calls`, which are sorted, and do what stands with it;
/// any other is allowed.
fn search(calls: &[(u32, BpfProgram)]) -> io::Result<BpfProgram> {
    let length = |program: &BpfProgram| {
        u8::try_from(program.len()).map_err(|_| io::Error::other("the filter has a jump too far"))
    };
    match calls {
        [] => Ok(vec![plain(VERDICT, ALLOW)]),
        [(number, then)] => {
            let mut out = vec![jump(IF_EQUAL, *number, 0, length(then)?)];
            out.extend(then.iter().cloned());
            out.push(plain(VERDICT, ALLOW));
            Ok(out)
        }
        _ => {
            let (below, above) = calls.split_at(calls.len() / 2);
            let (first, below) = (above[0].0, search(below)?);
            let mut out = vec![jump(IF_AT_LEAST, first, length(&below)?, 0)];
            out.extend(below);
            out.extend(search(above)?);
            Ok(out)
        }
    }
}

fn socket(without_unix_sockets: bool, only_streams: bool) -> BpfProgram {
    let [unix, inet, inet6, netlink] = FAMILIES.map(i32::cast_unsigned);
    let unix_is = if without_unix_sockets { refuse(libc::EPERM) } else { plain(VERDICT, ALLOW) };
    let mut out = vec![
        plain(LOAD, FIRST),
        jump(IF_EQUAL, unix, 4, 0),
        jump(IF_EQUAL, netlink, 4, 0),
        jump(IF_EQUAL, inet, 4, 0),
        jump(IF_EQUAL, inet6, 3, 0),
        refuse(libc::EPERM),
        unix_is,
        plain(VERDICT, ALLOW),
    ];
    if only_streams {
        // Beside the kind stand flags.
        out.extend([plain(LOAD, SECOND), plain(MASK, 0xF)]);
        out.extend([jump(IF_EQUAL, libc::SOCK_STREAM.cast_unsigned(), 1, 0), refuse(libc::EPERM)]);
    }
    out.push(plain(VERDICT, ALLOW));
    out
}

fn refuse_if(argument: u32, is: u16, value: u32) -> BpfProgram {
    vec![plain(LOAD, argument), jump(is, value, 0, 1), refuse(libc::EPERM), plain(VERDICT, ALLOW)]
}

fn refuse(code: i32) -> sock_filter {
    plain(VERDICT, 0x0005_0000 | code.cast_unsigned())
}

fn plain(code: u16, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

/// Returns an instruction that goes over `yes` or `no` instructions.
fn jump(code: u16, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code, jt: yes, jf: no, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the verdict on a call, as the kernel comes to it.
    fn verdict(
        program: &[sock_filter],
        architecture: u32,
        number: u32,
        arguments: [u32; 2],
    ) -> u32 {
        let (mut at, mut held) = (0, 0_u32);
        loop {
            let one = &program[at];
            let is = match one.code {
                LOAD => {
                    held = match one.k {
                        NUMBER => number,
                        KIND => architecture,
                        FIRST => arguments[0],
                        SECOND => arguments[1],
                        other => panic!("nothing lies at {other}"),
                    };
                    None
                }
                MASK => {
                    held &= one.k;
                    None
                }
                VERDICT => return one.k,
                IF_EQUAL => Some(held == one.k),
                IF_AT_LEAST => Some(held >= one.k),
                IF_ANY_BIT => Some(held & one.k != 0),
                other => panic!("no instruction {other}"),
            };
            at += 1 + is.map_or(0, |is| usize::from(if is { one.jt } else { one.jf }));
        }
    }

    fn check(strict: bool, call: c_long, arguments: [i32; 2], expected: i32) {
        let program = program(strict, strict).unwrap();
        let number = u32::try_from(call).unwrap();
        let found = verdict(&program, ARCHITECTURE, number, arguments.map(i32::cast_unsigned));
        let expected = if expected == 0 { ALLOW } else { refuse(expected).k };
        assert_eq!(found, expected, "{call} {arguments:?}");
    }

    #[test]
    fn what_is_listed_is_refused_and_nothing_else() {
        let special = [libc::SYS_clone3, libc::SYS_clone, libc::SYS_unshare];
        for call in 0..500 {
            let refused = REFUSED.contains(&call);
            if !special.contains(&call) && ![libc::SYS_ioctl, libc::SYS_socket].contains(&call) {
                check(false, call, [0, 0], if refused { libc::EPERM } else { 0 });
            }
        }
        check(false, libc::SYS_clone3, [0, 0], libc::ENOSYS);
    }

    #[test]
    fn arguments_are_looked_at() {
        check(false, libc::SYS_clone, [libc::CLONE_VM | libc::SIGCHLD, 0], 0);
        for call in [libc::SYS_clone, libc::SYS_unshare] {
            check(false, call, [libc::CLONE_NEWUSER | libc::SIGCHLD, 0], libc::EPERM);
            check(false, call, [libc::CLONE_NEWNET, 0], libc::EPERM);
        }
        check(false, libc::SYS_ioctl, [0, libc::TIOCSTI as i32], libc::EPERM);
        check(false, libc::SYS_ioctl, [0, 0x5413], 0);
    }

    #[test]
    fn sockets_are_those_that_there_is_a_use_for() {
        for family in FAMILIES {
            check(false, libc::SYS_socket, [family, libc::SOCK_DGRAM], 0);
        }
        check(false, libc::SYS_socket, [libc::AF_VSOCK, libc::SOCK_STREAM], libc::EPERM);
        check(true, libc::SYS_socket, [libc::AF_UNIX, libc::SOCK_STREAM], libc::EPERM);
        let stream = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        for family in [libc::AF_INET, libc::AF_INET6] {
            check(true, libc::SYS_socket, [family, stream], 0);
            for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW | libc::SOCK_NONBLOCK] {
                check(true, libc::SYS_socket, [family, kind], libc::EPERM);
            }
        }
    }

    #[test]
    fn programs_of_other_kinds_get_nowhere() {
        let program = program(false, false).unwrap();
        assert_eq!(verdict(&program, 0x4000_0003, 0, [0, 0]), END);
        assert_eq!(verdict(&program, ARCHITECTURE, X32 | 1, [0, 0]), refuse(libc::ENOSYS).k);
    }
}
