"""What the running kernel's verifier says about tiny programs: the oracle of the proto tables."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from anybpf import uapi
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.libbpf.kernel_btf import KernelBtf
from anybpf.linux import Linux
from anybpf.proto import contexts, helpers, progs
from guest.backend import Guest
from guest.modules import Modules

SOURCES = Path(__file__).resolve().parents[2] / "src"
LOG_SIZE = 1 << 14
LOG = ctypes.create_string_buffer(LOG_SIZE)
LINUX = Linux()
#: the same, where the kernel is the guest's
GUEST = LINUX if isinstance(LINUX, Guest) else None
PERMISSION = 1  # EPERM

#: an expected attach type that each program type accepts, where 0 is none
ATTACH = {
    uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: uapi.BPF_CGROUP_INET4_BIND,
    uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT: uapi.BPF_CGROUP_GETSOCKOPT,
    uapi.BPF_PROG_TYPE_CGROUP_SOCK: uapi.BPF_CGROUP_INET_SOCK_CREATE,
    uapi.BPF_PROG_TYPE_SK_LOOKUP: uapi.BPF_SK_LOOKUP,
    uapi.BPF_PROG_TYPE_NETFILTER: uapi.BPF_NETFILTER,
}
#: types whose context is told by BTF: they load only for a target
BY_BTF = {uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_PROG_TYPE_STRUCT_OPS, uapi.BPF_PROG_TYPE_EXT,
          uapi.BPF_PROG_TYPE_LSM}
#: attach types that change what programs of these types may do, beside those they must name
ALSO = {
    uapi.BPF_PROG_TYPE_KPROBE: (0, uapi.BPF_TRACE_KPROBE_MULTI, uapi.BPF_TRACE_KPROBE_SESSION,
                                uapi.BPF_TRACE_UPROBE_MULTI),
    uapi.BPF_PROG_TYPE_XDP: (0, uapi.BPF_XDP, uapi.BPF_XDP_DEVMAP, uapi.BPF_XDP_CPUMAP),
}


class Verdict(NamedTuple):
    """The error number (0: loaded) and the verifier's log."""

    errno: int
    log: str

    @property
    def message(self) -> str:
        """The first line of the log that is no instruction, state or statistics; or empty."""
        noise = re.compile(r"\d+: |processed |from |mark_precise|func#|$")
        return next((x for x in self.log.splitlines() if not noise.match(x)), "")


class Case(NamedTuple):
    """A program type under an expected attach type."""

    prog: progs.Prog
    attach: int
    target: str = ""
    """What the program is for, where BTF tells its context: a type of the kernel's."""
    sleepable: bool = False

    def __str__(self) -> str:
        return f"{self.prog.name}-{self.target or self.attach}{'-sleeps' * self.sleepable}"

    @property
    def flags(self) -> int:
        """Programs that call bpf(2) sleep, too."""
        sleeps = self.sleepable or self.prog.type == uapi.BPF_PROG_TYPE_SYSCALL
        return uapi.BPF_F_SLEEPABLE if sleeps else 0


def slot(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One instruction of the host's byte order."""
    registers = dst | src << 4 if sys.byteorder == "little" else dst << 4 | src
    return (bytes((code, registers)) + off.to_bytes(2, sys.byteorder, signed=True)
            + (imm & uapi.U32).to_bytes(4, sys.byteorder))


def mov(dst: int, imm: int) -> bytes:
    return slot(0xB7, dst, imm=imm)


def copy(dst: int, src: int) -> bytes:
    return slot(0xBF, dst, src)


def call(number: int, src: int = 0) -> bytes:
    return slot(0x85, src=src, imm=number)


def map_fd(dst: int, fd: int, value: bool = False) -> bytes:
    """dst = the map, or the first byte of its value."""
    pseudo = uapi.BPF_PSEUDO_MAP_VALUE if value else uapi.BPF_PSEUDO_MAP_FD
    return slot(0x18, dst, pseudo, imm=fd) + slot(0)


def stack(dst: int, off: int = -64) -> bytes:
    """dst = fp + off."""
    return copy(dst, 10) + slot(0x07, dst, imm=off)


EXIT = mov(0, 1) + slot(0x95)
LDX = {1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79}
STX = {1: 0x73, 2: 0x6B, 4: 0x63, 8: 0x7B}


def packed(*fields: tuple[int, int]) -> bytearray:
    """An attribute from (value, bytes) pairs."""
    return bytearray(b"".join(v.to_bytes(n, sys.byteorder) for v, n in fields))


def bpf(cmd: int, attr: bytearray) -> int:
    """What the call returns; minus the error number if it failed."""
    try:
        return LINUX.bpf(cmd, attr)
    except BpfError as error:
        return -(error.errno or 0)


def open_program(case: Case, insns: bytes, license_text: str = "GPL", level: int = 0) -> int:
    """A program's descriptor, or minus the error number; the log goes to LOG."""
    code = ctypes.create_string_buffer(insns, len(insns))
    text = ctypes.create_string_buffer(license_text.encode())
    LOG[0] = b"\0"
    return bpf(uapi.BPF_PROG_LOAD, packed(
        (case.prog.type, 4), (len(insns) // 8, 4), (ctypes.addressof(code), 8),
        (ctypes.addressof(text), 8), (level, 4), (LOG_SIZE if level else 0, 4),
        (ctypes.addressof(LOG) if level else 0, 8), (0, 4), (case.flags, 4), (0, 16), (0, 4),
        (case.attach, 4), (0, 36), (target_id(case.target), 4)))


def load(case: Case, insns: bytes, *, license_text: str = "GPL", level: int = 1) -> Verdict:
    """The kernel's verdict on a program."""
    found = open_program(case, insns, license_text, level)
    if found >= 0:
        LINUX.close(found)
    return Verdict(max(-found, 0), LOG.value.decode())


def create_map(map_type: int, key: int, value: int, entries: int, flags: int = 0, *,
               inner: int = 0, btf: int = 0, extra: int = 0) -> int:
    """A map's descriptor, or minus the error number; `btf` has a 4-byte int as type 1."""
    type_id = 1 if btf else 0
    return bpf(uapi.BPF_MAP_CREATE, packed(
        (map_type, 4), (key, 4), (value, 4), (entries, 4), (flags, 4), (inner, 4), (0, 4), (0, 16),
        (0, 4), (btf, 4), (type_id, 4), (type_id, 4), (0, 4), (extra, 8)))


@cache
def kernel_btf() -> Btf:
    """The running kernel's types."""
    return Btf(LINUX.kernel_btf() or b"")


@cache
def kernel_module(name: str) -> Btf:
    """The types of a module, which is loaded where the kernel is the guest's. Raises KeyError."""
    if GUEST is not None:
        Modules(GUEST.kernel).load(GUEST.there, name)
        kernel_symbols.cache_clear()
    found = next((one for one in KernelBtf(LINUX).modules if one.name == name), None)
    if found is None:
        raise KeyError(name)
    return Btf(found.btf.data, base=kernel_btf())


@cache
def module_fd(name: str) -> int:
    """A descriptor of a module's types, which stays open."""
    kernel_module(name)
    known = KernelBtf(LINUX)
    return known.fd_of(next(one for one in known.modules if one.name == name))


def read_kernel_file(path: str) -> str:
    """A file of the kernel that is compared with."""
    return GUEST.there.read_file(path).decode() if GUEST is not None else Path(path).read_text()


@cache
def kernel_symbols() -> dict[str, int]:
    """The running kernel's variables and functions that it can name, and where they are."""
    lines = read_kernel_file("/proc/kallsyms").splitlines()
    return {name: int(address, 16) for address, _, name, *_ in map(str.split, lines)}


@cache
def target_id(name: str) -> int:
    """The BTF id of a function, struct or typedef of the kernel; 0 for no name."""
    kinds = (uapi.BTF_KIND_FUNC, uapi.BTF_KIND_STRUCT, uapi.BTF_KIND_TYPEDEF)
    return next(filter(None, (kernel_btf().find(name, k) for k in kinds)), 0) if name else 0


#: programs for a target, which load where the kernel has it
TARGETED = [
    Case(progs.BY_NAME["tracing"], uapi.BPF_TRACE_ITER, "bpf_iter_task"),
    Case(progs.BY_NAME["tracing"], uapi.BPF_TRACE_RAW_TP, "btf_trace_sched_switch"),
    # the attach type is the index of a member: ssthresh
    Case(progs.BY_NAME["struct_ops"], 0, "tcp_congestion_ops"),
    # test_2 and test_sleepable; enqueue, dispatch and init; enqueue and dequeue
    Case(progs.BY_NAME["struct_ops"], 1, "bpf_dummy_ops"),
    Case(progs.BY_NAME["struct_ops"], 2, "bpf_dummy_ops", sleepable=True),
    Case(progs.BY_NAME["struct_ops"], 1, "sched_ext_ops"),
    Case(progs.BY_NAME["struct_ops"], 3, "sched_ext_ops"),
    Case(progs.BY_NAME["struct_ops"], 32, "sched_ext_ops", sleepable=True),
    Case(progs.BY_NAME["struct_ops"], 5, "Qdisc_ops"),
    Case(progs.BY_NAME["struct_ops"], 6, "Qdisc_ops"),
    Case(progs.BY_NAME["tracing"], uapi.BPF_TRACE_ITER, "bpf_iter_tcp"),
    Case(progs.BY_NAME["tracing"], uapi.BPF_TRACE_ITER, "bpf_iter_task", sleepable=True),
    Case(progs.BY_NAME["tracing"], uapi.BPF_TRACE_FENTRY, "bpf_fentry_test1"),
    Case(progs.BY_NAME["tracing"], uapi.BPF_TRACE_FEXIT, "bpf_fentry_test2"),
    Case(progs.BY_NAME["tracing"], uapi.BPF_MODIFY_RETURN, "bpf_modify_return_test"),
    Case(progs.BY_NAME["tracing"], uapi.BPF_TRACE_FENTRY, "__x64_sys_getpgid", sleepable=True),
    Case(progs.BY_NAME["lsm"], uapi.BPF_LSM_MAC, "bpf_lsm_file_open"),
    Case(progs.BY_NAME["lsm"], uapi.BPF_LSM_MAC, "bpf_lsm_bprm_committed_creds", sleepable=True),
    Case(progs.BY_NAME["lsm"], uapi.BPF_LSM_CGROUP, "bpf_lsm_socket_post_create"),
]
#: programs that may sleep, and load by themselves
SLEEPING = [Case(progs.BY_NAME["kprobe"], 0, sleepable=True)]


@cache
def loadable(prog_type: int) -> bool:
    """True if this kernel was built with the type and the loader may use it."""
    case = Case(progs.BY_TYPE[prog_type], ATTACH.get(prog_type, 0))
    return load(case, EXIT).errno == 0


def cases() -> Iterator[Case]:
    """Every program type that loads by itself, under each attach type that matters to it."""
    for prog in progs.PROGS:
        if prog.type not in BY_BTF:
            for attach in ALSO.get(prog.type, prog.attach or (0,)):
                yield Case(prog, attach)


def each_case(function: object) -> object:
    """Run a test for every case."""
    return pytest.mark.parametrize("case", list(cases()), ids=str)(function)  # type: ignore[operator]


def need_type(case: Case) -> None:
    """Skip where the running kernel has no such program type, or not this target."""
    said = load(case, mov(0, 0) + slot(0x95))
    # an argument that must be given back shows that the target is there
    loads = said.errno == 0 or "Unreleased reference" in said.log if case.target \
        else loadable(case.prog.type)
    if not loads:
        pytest.skip(f"this kernel loads no {case} programs")


@cache
def lacking() -> frozenset[str]:
    """Helpers that the running kernel was built without, and stores that its policy keeps away."""
    case = Case(progs.BY_NAME["kprobe"], 0)
    names = ("probe_write_user", "override_return")
    found = {name for name in names if "cannot use helper" in load(
        case, call(helpers.BY_NAME[name].id) + EXIT).log}
    if load(case, slot(0x7A, 1) + EXIT).errno:
        found.add(contexts.KPROBE_WRITE)
    return frozenset(found)


def refusal() -> str:
    """Why the comparison cannot be made here, or nothing."""
    return Linux.probe() or ("" if LINUX.kernel_btf() else "no kernel BTF")


def with_caps(caps: list[int], code: str) -> object:
    """What `code` prints as JSON when it runs in a process that holds only these capabilities."""
    drop = f"from kernel.verdicts import drop_to\ndrop_to({caps})\n"
    top = SOURCES.parent
    done = subprocess.run(
        [sys.executable, "-c", drop + code], capture_output=True, text=True, check=True,
        timeout=120, env={"PYTHONPATH": f"{SOURCES}:{top / 'tests'}:{top / 'tools'}"})
    return json.loads(done.stdout)


def drop_to(caps: list[int]) -> None:
    """Keep only these capabilities in this process."""
    mask = sum(1 << cap for cap in caps)
    low, high = mask & uapi.U32, mask >> 32
    header = packed((0x20080522, 4), (0, 4))
    data = packed((low, 4), (low, 4), (0, 4), (high, 4), (high, 4), (0, 4))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset((ctypes.c_char * 8).from_buffer(header),
                   (ctypes.c_char * 24).from_buffer(data)):
        raise OSError(ctypes.get_errno(), "capset")
