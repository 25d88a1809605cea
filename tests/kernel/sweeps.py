"""Systematic programs put before the running kernel's verifier and ours, by program type.

A sweep is a generator of programs; `difference()` gives the first line that differs in the logs.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.fields import value_fields
from anybpf.btf.parse import Btf
from anybpf.errors import NotSupported
from anybpf.isa.insn import decode
from anybpf.verifier import Facts, MapFacts, Options, verify
from kernel.both_verifiers import errno_name, masked
from kernel.verdicts import (
    LINUX,
    Case,
    bpf,
    kernel_btf,
    kernel_symbols,
    lacking,
    packed,
    target_id,
)

LOG_SIZE = 1 << 18
LOG = ctypes.create_string_buffer(LOG_SIZE)
LEVEL = uapi.BPF_LOG_LEVEL2
UNSUPPORTED = "not supported: "


class Kind(NamedTuple):
    """What a map of the sweeps is made with."""

    type: str
    key: int = 4
    value: int = 64
    entries: int = 4
    flags: int = 0
    #: struct of the value in `types()`
    btf: str = ""
    #: what a frozen array's only value holds
    content: bytes = b""
    #: an arena's address, or the hash functions of a filter
    extra: int = 0


READ_ONLY = uapi.BPF_F_RDONLY_PROG
KINDS = {
    "array": Kind("ARRAY", entries=1),
    "hash": Kind("HASH"),
    "string": Kind("ARRAY", entries=1, flags=READ_ONLY, content=b"%d %s\0".ljust(64, b"\0")),
    "readonly": Kind("ARRAY", entries=1, flags=READ_ONLY),
    "writeonly": Kind("ARRAY", entries=1, flags=uapi.BPF_F_WRONLY_PROG),
    "percpu": Kind("PERCPU_ARRAY"),
    "percpu_hash": Kind("PERCPU_HASH"),
    "lru": Kind("LRU_HASH"),
    "lru_percpu": Kind("LRU_PERCPU_HASH"),
    "trie": Kind("LPM_TRIE", 8, flags=uapi.BPF_F_NO_PREALLOC),
    "progs": Kind("PROG_ARRAY", 4, 4),
    "events": Kind("PERF_EVENT_ARRAY", 4, 4),
    "stacks": Kind("STACK_TRACE", 4, 64),
    "cgroups": Kind("CGROUP_ARRAY", 4, 4),
    "devices": Kind("DEVMAP", 4, 4),
    "devices_hash": Kind("DEVMAP_HASH", 4, 4),
    "cpus": Kind("CPUMAP", 4, 4),
    "xsks": Kind("XSKMAP", 4, 4),
    "socks": Kind("SOCKMAP", 4, 4),
    "socks_hash": Kind("SOCKHASH", 4, 4),
    "reuseports": Kind("REUSEPORT_SOCKARRAY", 4, 4),
    "queue": Kind("QUEUE", 0),
    "stack": Kind("STACK", 0),
    "bloom": Kind("BLOOM_FILTER", 0),
    "ring": Kind("RINGBUF", 0, 0, 4096),
    "user_ring": Kind("USER_RINGBUF", 0, 0, 4096),
    "cgroup_storage": Kind("CGROUP_STORAGE", 16, entries=0),
    "percpu_cgroup_storage": Kind("PERCPU_CGROUP_STORAGE", 16, entries=0),
    "sk_storage": Kind("SK_STORAGE", entries=0, flags=uapi.BPF_F_NO_PREALLOC, btf="plain"),
    "task_storage": Kind("TASK_STORAGE", entries=0, flags=uapi.BPF_F_NO_PREALLOC, btf="plain"),
    "inode_storage": Kind("INODE_STORAGE", entries=0, flags=uapi.BPF_F_NO_PREALLOC, btf="plain"),
    "cgrp_storage": Kind("CGRP_STORAGE", entries=0, flags=uapi.BPF_F_NO_PREALLOC, btf="plain"),
    "locked": Kind("ARRAY", entries=1, btf="locked"),
    "locked_hash": Kind("HASH", btf="locked"),
    "timed": Kind("ARRAY", entries=1, btf="timed"),
    "timed_hash": Kind("HASH", btf="timed"),
    "arena": Kind("ARENA", 0, 0, 1, uapi.BPF_F_MMAPABLE, extra=1 << 44),
    "array_of_maps": Kind("ARRAY_OF_MAPS", 4, 4),
    "hash_of_maps": Kind("HASH_OF_MAPS", 4, 4),
}
#: where the locked and the timed value have theirs
LOCK_AT, TIMER_AT = 8, 16


@cache
def types() -> tuple[Btf, dict[str, int]]:
    """BTF of the values, and the ids by name."""
    made = BtfBuilder()
    ids = {"int": made.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))}
    byte = made.add(t.Int("char", 1, encoding=uapi.BTF_INT_SIGNED))
    bytes_ = made.add(t.Array(byte, ids["int"], 16))
    lock = made.add(t.Struct("bpf_spin_lock", 4, (t.Member("val", ids["int"], 0),)))
    timer = made.add(t.Struct("bpf_timer", 16, (t.Member("opaque", bytes_, 0),)))
    rows = (("plain", ()), ("locked", (t.Member("lock", lock, 8 * LOCK_AT),)),
            ("timed", (t.Member("timer", timer, 8 * TIMER_AT),)))
    for name, members in rows:
        first = t.Member("first", ids["int"], 0)
        ids[name] = made.add(t.Struct(name, 64, (first, *members)))
    return made.build(), ids


class Maps:
    """One map of each kind that the kernel makes, as descriptors and as facts."""

    def __init__(self) -> None:
        self.btf, self.ids = types()
        blob = bytes(self.btf.data)
        buffer = ctypes.create_string_buffer(blob, len(blob))
        self.btf_fd = bpf(uapi.BPF_BTF_LOAD, packed(
            (ctypes.addressof(buffer), 8), (0, 8), (len(blob), 4), (0, 12)))
        assert self.btf_fd > 0
        self.fds: dict[str, int] = {}
        self.facts: dict[int, MapFacts] = {}
        for name, kind in KINDS.items():
            self._create(name, kind)

    def close(self) -> None:
        for fd in (*self.fds.values(), self.btf_fd):
            LINUX.close(fd)

    def _create(self, name: str, kind: Kind) -> None:
        number = getattr(uapi, f"BPF_MAP_TYPE_{kind.type}")
        inner = self.fds["array"] if "OF_MAPS" in kind.type else 0
        typed = (self.btf_fd, self.ids["int"], self.ids[kind.btf]) if kind.btf else (0, 0, 0)
        fd = bpf(uapi.BPF_MAP_CREATE, packed(
            (number, 4), (kind.key, 4), (kind.value, 4), (kind.entries, 4), (kind.flags, 4),
            (inner, 4), (0, 4), (int.from_bytes(name.encode()[:15], "little"), 16), (0, 4),
            *((n, 4) for n in typed), (0, 4), (kind.extra, 8)))
        if fd < 0:
            return
        self.fds[name] = fd
        fields = value_fields(self.btf, self.ids[kind.btf]) if kind.btf else ()
        whole = kind.entries == 1 and kind.type == "ARRAY"
        self.facts[fd] = MapFacts(
            number, kind.key, kind.value, kind.entries, kind.flags, name[:15], fields=fields,
            has_btf=bool(kind.btf), inner=self.facts.get(inner),
            user_memory=range(kind.extra, kind.extra + kind.entries * mmap.PAGESIZE),
            content=kind.content.ljust(kind.value, b"\0") if whole else None)
        if kind.content:
            self._fill(fd, kind)

    def renew(self, name: str) -> None:
        """Another map of a kind that remembers the programs which use it."""
        self.facts.pop(self.fds[name])
        LINUX.close(self.fds[name])
        self._create(name, KINDS[name])

    def _fill(self, fd: int, kind: Kind) -> None:
        key = ctypes.create_string_buffer(4)
        value = ctypes.create_string_buffer(kind.content, kind.value)
        assert bpf(uapi.BPF_MAP_UPDATE_ELEM, packed(
            (fd, 4), (0, 4), (ctypes.addressof(key), 8), (ctypes.addressof(value), 8),
            (0, 8))) == 0
        assert bpf(uapi.BPF_MAP_FREEZE, packed((fd, 4))) == 0
        self.facts[fd].frozen = True


class Program(NamedTuple):
    """Code for one program type under one attach type."""

    case: Case
    code: bytes
    name: str = ""
    gpl: bool = True


def kernels(program: Program) -> tuple[str, str]:
    """The running kernel's verdict and log."""
    code = ctypes.create_string_buffer(program.code, len(program.code))
    text = ctypes.create_string_buffer(b"GPL" if program.gpl else b"Proprietary")
    LOG[0] = b"\0"
    case = program.case
    fd = bpf(uapi.BPF_PROG_LOAD, packed(
        (case.prog.type, 4), (len(program.code) // 8, 4), (ctypes.addressof(code), 8),
        (ctypes.addressof(text), 8), (LEVEL, 4), (LOG_SIZE, 4), (ctypes.addressof(LOG), 8),
        (0, 4), (case.flags, 4), (0, 16), (0, 4), (case.attach, 4), (0, 36),
        (target_id(case.target), 4)))
    if fd >= 0:
        LINUX.close(fd)
    return errno_name(max(-fd, 0)), masked(LOG.value.decode())


def ours(program: Program, maps: Maps) -> tuple[str, str]:
    """Our verdict and log; raises NotSupported."""
    case = program.case
    facts = Facts(case.prog.type, case.attach or case.prog.default_attach, gpl=program.gpl,
                  sleepable=bool(case.flags), flags=case.flags, maps=maps.facts,
                  lacks=lacking(), kernel_btf=kernel_btf(), attach_btf_id=target_id(case.target),
                  symbols=kernel_symbols(), cpus=LINUX.num_possible_cpus)
    verdict = verify(decode(program.code), facts, Options(LEVEL))
    return errno_name(verdict.errno), masked(verdict.log)


def difference(program: Program, maps: Maps) -> str:
    """Empty, or how the two differ."""
    kernel, kernel_log = kernels(program)
    try:
        mine, log = ours(program, maps)
    except NotSupported as error:
        return f"{UNSUPPORTED}{error.feature}"
    if kernel != mine:
        return f"verdict: kernel {kernel} {_last(kernel_log)}, ours {mine} {_last(log)}"
    theirs, own = kernel_log.splitlines(), log.splitlines()
    return next((f"kernel: {a} | ours: {b}" for a, b in zip(theirs, own, strict=False) if a != b),
                "" if len(theirs) == len(own) else "one log is longer")


def _last(log: str) -> str:
    """The line before the counters."""
    return next((line for line in reversed(log.splitlines()) if not line.startswith("processed")),
                "")


def differences(programs: Iterator[Program], maps: Maps) -> Iterator[tuple[Program, str]]:
    """The programs on which the two differ."""
    for program in programs:
        found = difference(program, maps)
        if found:
            yield program, found
