//! Version 2 has no device files: an eBPF program on the group decides each access instead. This is
//! that program, written by hand because it is twenty instructions, and its attachment.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// One eBPF instruction, as the kernel lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination register in the low half, source in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// Character devices a container may open, as (major, minor); no minor means any.
const ALLOWED: [(i32, Option<i32>); 9] = [
    (1, Some(3)), // null
    (1, Some(5)), // zero
    (1, Some(7)), // full
    (1, Some(8)), // random
    (1, Some(9)), // urandom
    (5, Some(0)), // tty
    (5, Some(1)), // console
    (5, Some(2)), // ptmx
    (136, None),  // terminals
];

const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE_REGISTER: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
const MOVE_VALUE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const AND_VALUE: u8 = 0x57; // BPF_ALU64 | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x77; // BPF_ALU64 | BPF_RSH | BPF_K
const JUMP_EQUAL: u8 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_NOT_EQUAL: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

const DEVICE_CHARACTER: i32 = 2; // BPF_DEVCG_DEV_CHAR
const ACCESS_MAKE_NODE: i32 = 1; // BPF_DEVCG_ACC_MKNOD

/// The program: making a node is allowed, opening only [`ALLOWED`] is.
fn program() -> Vec<Instruction> {
    let i = |code, dst: u8, src: u8, offset, immediate| Instruction {
        code,
        registers: dst | (src << 4),
        offset,
        immediate,
    };
    let allow = [i(MOVE_VALUE, 0, 0, 0, 1), i(EXIT, 0, 0, 0, 0)];
    let mut program = vec![
        // r2 = access << 16 | type, r4 = major, r5 = minor; then r3 = access, r2 = type.
        i(LOAD_WORD, 2, 1, 0, 0),
        i(LOAD_WORD, 4, 1, 4, 0),
        i(LOAD_WORD, 5, 1, 8, 0),
        i(MOVE_REGISTER, 3, 2, 0, 0),
        i(SHIFT_RIGHT, 3, 0, 0, 16),
        i(AND_VALUE, 2, 0, 0, 0xffff),
        i(JUMP_NOT_EQUAL, 3, 0, 2, ACCESS_MAKE_NODE),
    ];
    program.extend(allow);
    let denial = [i(MOVE_VALUE, 0, 0, 0, 0), i(EXIT, 0, 0, 0, 0)];
    program.push(i(JUMP_EQUAL, 2, 0, 2, DEVICE_CHARACTER));
    program.extend(denial);
    for (major, minor) in ALLOWED {
        match minor {
            Some(minor) => {
                program.push(i(JUMP_NOT_EQUAL, 4, 0, 3, major));
                program.push(i(JUMP_NOT_EQUAL, 5, 0, 2, minor));
            }
            None => program.push(i(JUMP_NOT_EQUAL, 4, 0, 2, major)),
        }
        program.extend(allow);
    }
    program.extend(denial);
    program
}

/// Loads the program and attaches it to the group at `dir`. It stays attached while the group exists.
pub(super) fn attach(dir: &Path) -> io::Result<()> {
    const PROG_LOAD: libc::c_long = 5;
    const PROG_ATTACH: libc::c_long = 8;
    const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;

    #[repr(C)]
    struct Load {
        program_type: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
    }
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }

    let code = program();
    let license = c"Apache-2.0";
    let load = Load {
        program_type: PROG_TYPE_CGROUP_DEVICE,
        count: code.len() as u32,
        instructions: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let program = bpf(PROG_LOAD, &load)?;
    // SAFETY: PROG_LOAD returned a new descriptor that nothing else owns.
    #[allow(unsafe_code)]
    let program = unsafe { OwnedFd::from_raw_fd(program) };
    let group = std::fs::File::open(dir)?;
    let attach = Attach {
        target: group.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_TYPE_CGROUP_DEVICE,
        flags: 0,
    };
    bpf(PROG_ATTACH, &attach).map(drop)
}

/// The system call, with the structure its command takes.
fn bpf<T>(command: libc::c_long, argument: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a live structure whose pointers the caller keeps alive.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(argument), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would, on (type, access, major, minor).
    fn decide(kind: i32, access: i32, major: i32, minor: i32) -> bool {
        let (program, mut pc, mut r) = (program(), 0usize, [0i64; 11]);
        loop {
            let i = program[pc];
            let (dst, src) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            pc += 1;
            let mut jump = |taken: bool| {
                if taken {
                    pc = pc.checked_add_signed(i.offset.into()).unwrap()
                }
            };
            match i.code {
                LOAD_WORD => r[dst] = i64::from([(access << 16) | kind, major, minor][i.offset as usize / 4]),
                MOVE_REGISTER => r[dst] = r[src],
                MOVE_VALUE => r[dst] = i.immediate.into(),
                AND_VALUE => r[dst] &= i64::from(i.immediate),
                SHIFT_RIGHT => r[dst] >>= i.immediate,
                JUMP_EQUAL => jump(r[dst] == i64::from(i.immediate)),
                JUMP_NOT_EQUAL => jump(r[dst] != i64::from(i.immediate)),
                EXIT => return r[0] == 1,
                code => panic!("code {code:#x}"),
            }
        }
    }

    /// Attaches the program to a real group of the version 2 hierarchy, which every kernel has whether it is
    /// mounted or not (beside version 1 it has no controllers), and has a shell in it try.
    #[test]
    fn the_kernel_accepts_and_obeys_the_program() {
        assert!(rustix::process::geteuid().is_root(), "needs root");
        let mount = tempfile::tempdir().unwrap();
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount("none", mount.path(), "cgroup2", none, c"").unwrap();
        let group = mount.path().join(format!("stead-test-filter-{}", std::process::id()));
        std::fs::create_dir(&group).unwrap();
        let attached = attach(&group);
        let script =
            "echo $$ > \"$1/cgroup.procs\" && (: < /dev/null) && (: < /dev/urandom) && ! (: < /dev/kmsg) 2> /dev/null";
        let status = std::process::Command::new("sh").args(["-c", script, "sh"]).arg(&group).status();
        std::fs::remove_dir(&group).unwrap();
        rustix::mount::unmount(mount.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
        attached.unwrap();
        assert!(status.unwrap().success());
        assert!(std::fs::File::open("/dev/kmsg").is_ok(), "the device is there to be denied");
    }

    #[test]
    fn only_the_default_devices_open() {
        const BLOCK: i32 = 1;
        const READ: i32 = 2;
        const WRITE: i32 = 4;
        assert!(decide(DEVICE_CHARACTER, READ | WRITE, 1, 3), "null");
        assert!(decide(DEVICE_CHARACTER, READ, 136, 17), "a terminal");
        assert!(decide(BLOCK, ACCESS_MAKE_NODE, 254, 0), "making a node");
        assert!(!decide(BLOCK, READ, 254, 0), "a disk");
        assert!(!decide(BLOCK, READ, 1, 3), "a disk with null's numbers");
        assert!(!decide(DEVICE_CHARACTER, READ, 1, 1), "memory");
        assert!(!decide(BLOCK, READ | ACCESS_MAKE_NODE, 254, 0), "making and opening at once");
    }
}
