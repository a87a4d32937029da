# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes a tap of the director spread packets over its queues as a NIC with RSS does."""

import ctypes
import fcntl
import os
import platform
import re
import subprocess
from pathlib import Path

LAB = Path(__file__).resolve().parent.parent
KEY = bytes(7 * place % 251 for place in range(1, 41))
FIELDS = {"tuple": 0, "source": 1, "destination": 2}
TUPLE_BYTES = 12
TUNSETSTEERINGEBPF = 0x800454E0
SYS_PIDFD_GETFD = 438


def attach(pid: int, interface: str, fields: str, scratch: Path) -> None:
    """Lets the tap `interface` of process `pid` choose queues by a Toeplitz hash."""
    program = load(FIELDS[fields], scratch)
    pidfd = os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    for number in queues_of(pid, interface):
        tap = libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0)
        assert tap >= 0, os.strerror(ctypes.get_errno())
        fcntl.ioctl(tap, TUNSETSTEERINGEBPF, program.to_bytes(4, "little"))
        os.close(tap)
        break
    else:
        raise AssertionError(f"process {pid} has no queue of {interface}")
    os.close(pidfd)


def queues_of(pid: int, interface: str) -> list[int]:
    """The descriptors by which a process holds the queues of a tap."""
    facts = Path(f"/proc/{pid}/fdinfo").iterdir()
    named = re.compile(rf"^iff:\s*{re.escape(interface)}$", re.M)
    return sorted(int(fact.name) for fact in facts if named.search(fact.read_text()))


def load(fields: int, scratch: Path) -> int:
    """Compiles and loads the program; returns its descriptor."""
    compiled = scratch / "toeplitz.bpf.o"
    command = ("clang", "-O2", "-g", "-Wall", "-Werror", "-target", "bpf",
        f"-I/usr/include/{platform.machine()}-linux-gnu", "-c", str(LAB / "toeplitz.bpf.c"),
        "-o", str(compiled))
    subprocess.run(command, check=True)
    bpf = libbpf()
    loaded = bpf.bpf_object__open(str(compiled).encode())
    assert loaded and bpf.bpf_object__load(loaded) == 0, "the kernel refuses toeplitz.bpf.o"
    for index, word in enumerate(contributions(KEY)):
        fill(bpf, loaded, b"contributions", index, word)
    fill(bpf, loaded, b"fields", 0, fields)
    program = bpf.bpf_object__find_program_by_name(loaded, b"queue")
    return bpf.bpf_program__fd(program)


def libbpf() -> ctypes.CDLL:
    bpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    for name in ("bpf_object__open", "bpf_object__find_program_by_name",
                 "bpf_object__find_map_by_name"):
        getattr(bpf, name).restype = ctypes.c_void_p
    bpf.bpf_object__open.argtypes = [ctypes.c_char_p]
    bpf.bpf_object__load.argtypes = [ctypes.c_void_p]
    bpf.bpf_object__find_program_by_name.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    bpf.bpf_object__find_map_by_name.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    bpf.bpf_program__fd.argtypes = [ctypes.c_void_p]
    bpf.bpf_map__fd.argtypes = [ctypes.c_void_p]
    return bpf


def fill(bpf: ctypes.CDLL, loaded: int, name: bytes, key: int, value: int) -> None:
    which = bpf.bpf_map__fd(bpf.bpf_object__find_map_by_name(loaded, name))
    key_word, value_word = ctypes.c_uint32(key), ctypes.c_uint32(value)
    done = bpf.bpf_map_update_elem(which, ctypes.byref(key_word), ctypes.byref(value_word),
                                   ctypes.c_uint64(0))
    assert done == 0, os.strerror(ctypes.get_errno())


def contributions(key: bytes) -> list[int]:
    """What each byte at each place adds to the hash, by Microsoft's definition."""
    bits = int.from_bytes(key, "big")
    length = 8 * len(key)

    def window(bit: int) -> int:
        return bits >> (length - 32 - bit) & 0xFFFFFFFF

    words = []
    for place in range(TUPLE_BYTES):
        for byte in range(256):
            word = 0
            for bit in range(8):
                if byte & 0x80 >> bit:
                    word ^= window(8 * place + bit)
            words.append(word)
    return words
