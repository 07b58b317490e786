//! The system calls that nothing confined needs, and that each have been a way out.
//!
//! A list of what is refused, not of what is allowed: the view and the namespaces are the wall, this
//! takes away the tools that climb it. Refused calls fail with EPERM, as in a container.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

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

const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// The same calls have other numbers for programs of the x32 kind.
#[cfg(target_arch = "x86_64")]
const X32: c_long = 0x4000_0000;
/// Those which are numbered anew there: ptrace, process_vm_readv, process_vm_writev, kexec_load.
#[cfg(target_arch = "x86_64")]
const X32_OWN: [c_long; 4] = [521, 539, 540, 528];

/// Puts the filter on this process and on all that it starts, for good. `without_unix_sockets` says
/// whether sockets of the file system and of abstract names are refused as well, where no namespace
/// keeps them apart; `only_streams` whether no datagram leaves, where rules hold for TCP alone.
///
/// # Errors
/// The kernel has no filters, or this architecture has none here.
pub(super) fn apply(without_unix_sockets: bool, only_streams: bool) -> io::Result<()> {
    // Two, since each refuses in one way: a program that is told that `clone3` does not exist takes
    // `clone`, whose arguments can be looked at.
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let refused = refused(without_unix_sockets, only_streams)?;
    for (rules, code) in [(absent, libc::ENOSYS), (refused, libc::EPERM)] {
        let code = u32::try_from(code).unwrap_or_default();
        let program = compile(rules, code)?;
        apply_filter(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn compile(rules: BTreeMap<c_long, Vec<SeccompRule>>, code: u32) -> io::Result<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(code), arch)
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)
}

fn refused(
    without_unix_sockets: bool,
    only_streams: bool,
) -> io::Result<BTreeMap<c_long, Vec<SeccompRule>>> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let mut namespaces = Vec::new();
    for flag in NAMESPACES {
        let flag = u64::from(flag.cast_unsigned());
        namespaces.push(rule([(0, SeccompCmpOp::MaskedEq(flag), flag)])?);
    }
    rules.insert(libc::SYS_clone, namespaces.clone());
    rules.insert(libc::SYS_unshare, namespaces);
    // What is typed into a terminal for somebody else.
    rules.insert(libc::SYS_ioctl, vec![rule([(1, SeccompCmpOp::Eq, libc::TIOCSTI)])?]);
    let allowed = FAMILIES.iter().filter(|one| !(without_unix_sockets && **one == libc::AF_UNIX));
    let other = allowed.map(|family| (0, SeccompCmpOp::Ne, u64::from(family.cast_unsigned())));
    let mut sockets = vec![rule(other)?];
    if only_streams {
        for family in [libc::AF_INET, libc::AF_INET6] {
            let of_family = (0, SeccompCmpOp::Eq, u64::from(family.cast_unsigned()));
            // Beside the kind stand flags.
            for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET] {
                let kind = u64::from(kind.cast_unsigned());
                sockets.push(rule([of_family.clone(), (1, SeccompCmpOp::MaskedEq(0xf), kind)])?);
            }
        }
    }
    rules.insert(libc::SYS_socket, sockets);
    #[cfg(target_arch = "x86_64")]
    {
        let own = X32_OWN.iter().map(|call| (X32 | *call, Vec::new()));
        let same: Vec<_> = rules.iter().map(|(call, rule)| (X32 | *call, rule.clone())).collect();
        rules.extend(own.chain(same));
    }
    Ok(rules)
}

/// Returns a rule that holds where all of `conditions` do: of an argument, by its first 32 bits.
fn rule(conditions: impl IntoIterator<Item = (u8, SeccompCmpOp, u64)>) -> io::Result<SeccompRule> {
    let conditions = conditions
        .into_iter()
        .map(|(argument, is, value)| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, value)
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(io::Error::other)?;
    SeccompRule::new(conditions).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_filters_compile_within_what_the_kernel_takes() {
        for strict in [false, true] {
            let program = compile(refused(strict, strict).unwrap(), 1).unwrap();
            assert!((50..4096).contains(&program.len()), "{}", program.len());
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_calls_of_x32_are_refused_as_well() {
        let rules = refused(false, false).unwrap();
        for call in [X32 | 521, X32 | libc::SYS_mount, X32 | libc::SYS_unshare] {
            assert!(rules.contains_key(&call), "{call}");
        }
    }
}
