//! The default seccomp profile: what it denies, compiled to BPF. Pure; the worker's launcher installs it.
//!
//! A deny list modelled on the default that container engines have shared for years: calls that only
//! matter to whoever administers the machine fail with `EPERM` unless the container was given the
//! capability they belong to. Two things must look absent instead (`ENOSYS`): `clone3`, whose flags a
//! filter cannot read, so that libraries fall back to `clone`; and the x32 numbers, which would
//! otherwise walk around a list of x86-64 numbers. Foreign architectures are killed.

use std::collections::BTreeMap;

use rustix::thread::CapabilitySet as Cap;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

/// Compiling a profile failed; a defect of this file, or an architecture without filters.
#[derive(Debug, thiserror::Error)]
#[error("failed to compile the seccomp profile: {0}")]
pub(crate) struct CompileError(String);

/// The default profile for a container holding `caps`.
pub(crate) fn default_profile(caps: Cap) -> Result<BpfProgram, CompileError> {
    let fail = |e: seccompiler::BackendError| CompileError(e.to_string());
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(fail)?;
    let filter = SeccompFilter::new(rules(caps)?, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32), arch)
        .map_err(fail)?;
    let mut program = absent_calls(caps);
    program.extend(BpfProgram::try_from(filter).map_err(fail)?);
    Ok(program)
}

/// Calls denied unless the container holds one of the capabilities beside them.
const GUARDED: &[(&[i64], Cap)] = &[
    // Nothing in a container has a reason for these.
    (
        &[
            libc::SYS_add_key,
            libc::SYS_keyctl,
            libc::SYS_request_key,
            libc::SYS_nfsservctl,
            libc::SYS_userfaultfd,
            libc::SYS_pivot_root,
            libc::SYS_swapon,
            libc::SYS_swapoff,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
        ],
        Cap::empty(),
    ),
    (
        &[
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fspick,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_mount_setattr,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_sethostname,
            libc::SYS_setdomainname,
            libc::SYS_fanotify_init,
            libc::SYS_lookup_dcookie,
            libc::SYS_quotactl,
            libc::SYS_quotactl_fd,
        ],
        Cap::SYS_ADMIN,
    ),
    (&[libc::SYS_bpf], Cap::SYS_ADMIN.union(Cap::BPF)),
    (&[libc::SYS_perf_event_open], Cap::SYS_ADMIN.union(Cap::PERFMON)),
    (&[libc::SYS_syslog], Cap::SYS_ADMIN.union(Cap::SYSLOG)),
    (&[libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module], Cap::SYS_MODULE),
    (&[libc::SYS_kexec_load, libc::SYS_kexec_file_load, libc::SYS_reboot], Cap::SYS_BOOT),
    (&[libc::SYS_settimeofday, libc::SYS_clock_settime], Cap::SYS_TIME),
    (&[libc::SYS_acct], Cap::SYS_PACCT),
    (&[libc::SYS_vhangup], Cap::SYS_TTY_CONFIG),
    (&[libc::SYS_open_by_handle_at], Cap::DAC_READ_SEARCH),
    (
        &[
            libc::SYS_mbind,
            libc::SYS_set_mempolicy,
            libc::SYS_get_mempolicy,
            libc::SYS_move_pages,
            libc::SYS_migrate_pages,
        ],
        Cap::SYS_NICE,
    ),
    (&[libc::SYS_kcmp], Cap::SYS_PTRACE),
];

/// The same, for calls only x86-64 has.
#[cfg(target_arch = "x86_64")]
const GUARDED_HERE: &[(&[i64], Cap)] = &[
    (&[libc::SYS_iopl, libc::SYS_ioperm], Cap::SYS_RAWIO),
    (&[libc::SYS_uselib, libc::SYS_ustat, libc::SYS_sysfs, libc::SYS__sysctl], Cap::empty()),
];
#[cfg(not(target_arch = "x86_64"))]
const GUARDED_HERE: &[(&[i64], Cap)] = &[];

/// Flags of `clone` that make a namespace. `CLONE_NEWTIME` is `clone3`'s alone: its bit is part of
/// the exit signal here.
const NAMESPACE_FLAGS: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWCGROUP,
];

/// The calls that fail with `EPERM`; an empty list of rules matches whatever the arguments.
fn rules(caps: Cap) -> Result<BTreeMap<i64, Vec<SeccompRule>>, CompileError> {
    let mut rules = BTreeMap::new();
    for (calls, needs) in GUARDED.iter().chain(GUARDED_HERE) {
        if !caps.intersects(*needs) {
            rules.extend(calls.iter().map(|call| (*call, Vec::new())));
        }
    }
    if !caps.contains(Cap::SYS_ADMIN) {
        let flags = NAMESPACE_FLAGS.iter().map(|flag| {
            let flag = u64::from(*flag as u32);
            argument_matches(0, SeccompCmpOp::MaskedEq(flag), flag)
        });
        rules.insert(libc::SYS_clone, flags.collect::<Result<_, _>>()?);
    }
    // A vsock reaches the hypervisor past every network rule.
    rules.insert(libc::SYS_socket, vec![argument_matches(0, SeccompCmpOp::Eq, libc::AF_VSOCK as u64)?]);
    Ok(rules)
}

fn argument_matches(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompRule, CompileError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|e| CompileError(e.to_string()))
}

/// The prologue that answers `ENOSYS`; falls through to the compiled filter behind it.
fn absent_calls(caps: Cap) -> BpfProgram {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_EQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const JUMP_GE: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const X32_BIT: u32 = 0x4000_0000;
    // With the capability to make namespaces there is nothing to hide, so the number is one no call has.
    let clone3 = if caps.contains(Cap::SYS_ADMIN) { X32_BIT } else { libc::SYS_clone3 as u32 };
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        instruction(LOAD_WORD, 0, 0, 0),
        instruction(JUMP_GE, 1, 0, X32_BIT),
        instruction(JUMP_EQ, 0, 1, clone3),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_opens_the_calls_that_belong_to_it() {
        let denied = rules(crate::caps::DEFAULT).unwrap();
        for call in [libc::SYS_mount, libc::SYS_unshare, libc::SYS_bpf, libc::SYS_keyctl, libc::SYS_clone] {
            assert!(denied.contains_key(&call), "call {call} should be denied");
        }
        let denied = rules(Cap::SYS_ADMIN).unwrap();
        for call in [libc::SYS_mount, libc::SYS_unshare, libc::SYS_bpf, libc::SYS_clone] {
            assert!(!denied.contains_key(&call), "call {call} should be allowed");
        }
        assert!(denied.contains_key(&libc::SYS_keyctl));
    }

    #[test]
    fn the_program_fits_the_kernels_limit() {
        let program = default_profile(Cap::empty()).unwrap();
        assert!(program.len() < 4096, "{} instructions", program.len());
    }
}
