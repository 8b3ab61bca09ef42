"""In a process that is to run foreign code: what it may do from here on. It cannot be undone.

Standard library alone. Linux.
"""

import ctypes
import os
import platform
import resource
import struct
import sys

SEEN = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr", "/nix", "/gnu", "/proc")
FOR_LIBRARIES = ("/etc/ld.so.cache", "/etc/alternatives")
ROOM = b"size=16m,mode=755"  # of each empty folder in place of what is not seen, in memory
BIND_ALL = 0x1000 | 0x4000
NO_NEW_PRIVILEGES, SET_SECCOMP, DROP_BOUND, SET_DUMPABLE = 38, 22, 24, 4  # of prctl
MOUNT_SETATTR, RECURSIVE, READ_ONLY, NO_SETUID = 442, 0x8000, 0x1, 0x2
DENIED = 0x00050000 | 1  # the call fails with EPERM
ALLOWED = 0x7FFF0000
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# clone, fork, vfork, clone3; socket; kill, tkill, tgkill, pidfd_send_signal, rt_sigqueueinfo,
# rt_tgsigqueueinfo; ptrace and process_vm_*; prlimit64, setpriority, sched_setparam,
# sched_setscheduler, sched_setaffinity, migrate_pages, move_pages, process_madvise, which may mean
# another process; io_uring_setup, which does what others are denied; unshare, setns, mount
CALLS = {
    "x86_64": (
        *(56, 57, 58, 435, 41, 62, 200, 234, 424, 129, 297, 101, 310, 311),
        *(302, 141, 142, 144, 203, 256, 279, 440, 425, 272, 308, 165),
    ),
    "aarch64": (
        *(220, 435, 198, 129, 130, 131, 424, 138, 240, 117, 270, 271),
        *(261, 140, 118, 119, 122, 238, 239, 440, 425, 97, 268, 40),
    ),
}
FCNTL = {"x86_64": 72, "aarch64": 25}
OWNERS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: the system sends the signal then
LIBC = ctypes.CDLL(None, use_errno=True)


def confine(limits: dict[str, int], *, namespaces: bool) -> None:
    """`namespaces`: the process has those that `sandbox.unshared` starts it with."""
    if namespaces:
        hide_files()
    drop_privileges()
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    deny_calls()


def hide_files() -> None:
    """Everything read-only; of what is not of the system only what Python runs from, wherever that
    lies; an empty folder to work in."""
    prefixes = [sys.prefix, *map(os.path.realpath, (sys.prefix, sys.base_prefix))]
    needed = filter(os.path.exists, (*prefixes, *FOR_LIBRARIES))
    kept = {path: os.open(path, os.O_PATH) for path in needed}
    folders = [one.path for one in os.scandir("/") if one.is_dir(follow_symlinks=False)]
    hidden = sorted({*folders} - {*SEEN}, key=lambda folder: (folder != "/tmp", folder))
    for folder in hidden:
        cover(folder)
    for path, descriptor in kept.items():
        if path.startswith(tuple(folder + "/" for folder in hidden)):
            show(path, descriptor)
        os.close(descriptor)
    attributes = struct.pack("QQQQ", READ_ONLY | NO_SETUID, 0, 0, 0)
    check(LIBC.syscall(MOUNT_SETATTR, -1, b"/", RECURSIVE, attributes, len(attributes)))
    own = next(one for one in hidden if not any(path.startswith(one + "/") for path in kept))
    cover(own)  # after the rest became read-only: here it may write
    os.chdir(own)


def cover(folder: str) -> None:
    check(LIBC.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, ROOM))


def show(path: str, descriptor: int) -> None:
    """What was there before its folder was covered."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.exists(f"/proc/self/fd/{descriptor}/."):
        os.makedirs(path, exist_ok=True)
    else:
        open(path, "x").close()
    source = f"/proc/self/fd/{descriptor}".encode()
    check(LIBC.mount(source, path.encode(), None, BIND_ALL, None))


def drop_privileges() -> None:
    check(LIBC.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    for capability in range(64):
        LIBC.prctl(DROP_BOUND, capability, 0, 0, 0)  # fails above the last one, or without any
    header = struct.pack("Ii", 0x20080522, 0)
    check(LIBC.capset(header, bytes(24)))
    check(LIBC.prctl(SET_DUMPABLE, 0, 0, 0, 0))  # others of the same user cannot look inside


def deny_calls() -> None:
    """By a filter of system calls, which binds root too."""
    machine = platform.machine()
    if machine not in CALLS:
        return
    program = [*of_this_machine(AUDIT[machine]), *denied_calls(CALLS[machine])]
    program += [*denied_commands(FCNTL[machine], OWNERS), (0x06, 0, 0, ALLOWED)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    address = ctypes.c_void_p(ctypes.addressof(code))
    filtered = struct.pack("HxxxxxxP", len(program), address.value)
    check(LIBC.prctl(SET_SECCOMP, 2, filtered, 0, 0))


Instruction = tuple[int, int, int, int]  # of a filter: code, jumps if true and if not, value


def of_this_machine(audit: int) -> list[Instruction]:
    """Denied otherwise, and where the number is of another table; the number stays loaded."""
    denied = (0x06, 0, 0, DENIED)
    other = [(0x20, 0, 0, 0), (0x35, 0, 1, 0x40000000), denied]
    return [(0x20, 0, 0, 4), (0x15, 1, 0, audit), denied, *other]


def denied_calls(calls: tuple[int, ...]) -> list[Instruction]:
    return [step for call in calls for step in ((0x15, 0, 1, call), (0x06, 0, 0, DENIED))]


def denied_commands(call: int, commands: tuple[int, ...]) -> list[Instruction]:
    """The second argument of a call names what it is to do."""
    second = (0x20, 0, 0, 24)
    return [(0x15, 0, 1 + 2 * len(commands), call), second, *denied_calls(commands)]


def check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
