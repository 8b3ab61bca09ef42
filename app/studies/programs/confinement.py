"""In a process that is to run foreign code: what it may do from here on. It cannot be undone.

Standard library alone. Linux.
"""

import ctypes
import os
import platform
import resource
import struct
import sys

SEEN = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr", "/nix", "/gnu")
FOR_LIBRARIES = ("/etc/ld.so.cache", "/etc/alternatives")
ROOM = b"size=16m,mode=755"  # of each empty folder in place of what is not seen, in memory
BIND, BIND_ALL = 0x1000, 0x1000 | 0x4000
NO_NEW_PRIVILEGES, SET_SECCOMP, DROP_BOUND, SET_DUMPABLE = 38, 22, 24, 4  # of prctl
MOUNT_SETATTR, RECURSIVE, READ_ONLY, NO_SETUID = 442, 0x8000, 0x1, 0x2
CREATE_RULES, ADD_RULE, RESTRICT = 444, 445, 446  # of Landlock
ALL_OF_FILES, READ_AND_RUN, OF_A_FILE = 0x7FFF, 0b1101, 0b0101  # rights; version 3 knows 15
DENIED = 0x00050000 | 1  # the call fails with EPERM
ALLOWED = 0x7FFF0000
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# clone, fork, vfork, clone3; socket; kill, tkill, tgkill, pidfd_send_signal, rt_sigqueueinfo,
# rt_tgsigqueueinfo; ptrace, process_vm_*, pidfd_getfd; prlimit64, setpriority, sched_setparam,
# sched_setscheduler, sched_setattr, sched_setaffinity, ioprio_set, migrate_pages, move_pages,
# process_madvise, which may mean another process; io_uring_setup, which does what others are
# denied; unshare, setns, mount; memory that no limit counts or that outlives the process:
# memfd_create, memfd_secret, shmget, shmat, shmctl, msg*, sem*, mq_open, mq_unlink, add_key,
# request_key, keyctl
CALLS = {
    "x86_64": (
        *(56, 57, 58, 435, 41, 62, 200, 234, 424, 129, 297, 101, 310, 311, 438),
        *(302, 141, 142, 144, 314, 203, 251, 256, 279, 440, 425, 272, 308, 165),
        *(319, 447, 29, 30, 31, 68, 69, 70, 71, 64, 65, 66, 220, 240, 241, 248, 249, 250),
    ),
    "aarch64": (
        *(220, 435, 198, 129, 130, 131, 424, 138, 240, 117, 270, 271, 438),
        *(261, 140, 118, 119, 274, 122, 30, 238, 239, 440, 425, 97, 268, 40),
        *(279, 447, *range(186, 197), 180, 181, 217, 218, 219),
    ),
}
# What Landlock leaves to a path: chmod, chown, utime, setxattr and removexattr, each with its kind
# (fchmodat2, setxattrat, removexattrat, file_setattr); inotify_init, fanotify_init
CHANGES_OF_FILES = {
    "x86_64": (
        *(90, 91, 268, 452, 92, 93, 94, 260, 132, 235, 261, 280, 188, 189, 190, 463),
        *(197, 198, 199, 466, 469, 253, 294, 300),
    ),
    "aarch64": (52, 53, 452, 54, 55, 88, 5, 6, 7, 463, 14, 15, 16, 466, 469, 26, 262),
}
FCNTL, IOCTL = {"x86_64": 72, "aarch64": 25}, {"x86_64": 16, "aarch64": 29}
OWNERS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: the system sends the signal then
OWNERS_OF_SOCKETS = (0x8901, 0x8902)  # FIOSETOWN, SIOCSPGRP: likewise
LIBC = ctypes.CDLL(None, use_errno=True)


def confine(limits: dict[str, int], *, namespaces: bool, landlock: bool) -> None:
    """`namespaces`: the process has those that `sandbox.UNSHARE` starts it with."""
    if namespaces:
        hide_files()
    drop_privileges()
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    if landlock:
        restrict_files()
    deny_calls(CHANGES_OF_FILES if landlock else {})


def hide_files() -> None:
    """Everything read-only; of what is not of the system only what Python runs from, wherever that
    lies; an empty folder to work in."""
    kept = {path: os.open(path, os.O_PATH) for path in python_files()}
    entries = [one for one in os.scandir("/") if not one.is_symlink()]
    folders = {one.path for one in entries if one.is_dir()} - {*SEEN, "/proc"}
    hidden = sorted(folders, key=lambda folder: (folder != "/tmp", folder))
    for folder in hidden:
        cover(folder)
    for path, descriptor in kept.items():
        if path.startswith(tuple(folder + "/" for folder in hidden)):
            show(path, descriptor)
        os.close(descriptor)
    for entry in entries:
        if not entry.is_dir():
            cover_file(entry.path, hidden[0])
    attributes = struct.pack("QQQQ", READ_ONLY | NO_SETUID, 0, 0, 0)
    check(LIBC.syscall(MOUNT_SETATTR, -1, b"/", RECURSIVE, attributes, len(attributes)))
    own = next(one for one in hidden if not any(path.startswith(one + "/") for path in kept))
    cover(own)  # after the rest became read-only: here it may write
    os.chdir(own)


def python_files() -> set[str]:
    """What Python runs from beside the system's folders. Each once: a descriptor left open leads
    back to what was hidden."""
    prefixes = [sys.prefix, *map(os.path.realpath, (sys.prefix, sys.base_prefix))]
    return {path for path in (*prefixes, *FOR_LIBRARIES) if os.path.exists(path)}


def landlock_version() -> int:
    """0 or less where there is none."""
    if sys.platform != "linux":
        return 0
    return int(LIBC.syscall(CREATE_RULES, None, 0, 1))


def restrict_files() -> None:
    """The same files without namespaces, by Landlock; and no looking into processes that are not
    restricted by the same rules."""
    handled = struct.pack("Q", ALL_OF_FILES)
    rules = LIBC.syscall(CREATE_RULES, handled, len(handled), 0)
    check(min(rules, 0))
    allow(rules, ".", ALL_OF_FILES)
    for path in {*filter(os.path.exists, SEEN), *python_files()}:
        allow(rules, path, READ_AND_RUN if os.path.isdir(path) else OF_A_FILE)
    check(LIBC.syscall(RESTRICT, rules, 0))
    os.close(rules)


def allow(rules: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH)
    check(LIBC.syscall(ADD_RULE, rules, 1, struct.pack("=Qi", rights, descriptor), 0))
    os.close(descriptor)


def cover(folder: str) -> None:
    check(LIBC.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, ROOM))


def cover_file(path: str, folder: str) -> None:
    empty = os.path.join(folder, "empty")
    open(empty, "a").close()
    check(LIBC.mount(empty.encode(), path.encode(), None, BIND, None))


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


def deny_calls(more: dict[str, tuple[int, ...]]) -> None:
    """By a filter of system calls, which binds root too."""
    machine = platform.machine()
    if machine not in CALLS:
        return
    program = [*of_this_machine(AUDIT[machine]), *denied_calls(CALLS[machine])]
    program += denied_calls(more.get(machine, ()))
    program += denied_commands(FCNTL[machine], OWNERS)
    program += [*denied_commands(IOCTL[machine], OWNERS_OF_SOCKETS), (0x06, 0, 0, ALLOWED)]
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
    second, number = (0x20, 0, 0, 24), (0x20, 0, 0, 0)
    return [(0x15, 0, 2 + 2 * len(commands), call), second, *denied_calls(commands), number]


def check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
