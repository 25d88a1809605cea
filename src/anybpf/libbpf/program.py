"""A program of an object (tools/lib/bpf/libbpf.c, bpf_program)."""

from __future__ import annotations

import errno
import mmap
from collections.abc import Mapping
from typing import TYPE_CHECKING

from anybpf import uapi, uapi_structs
from anybpf.errors import BpfError
from anybpf.libbpf import bpf
from anybpf.libbpf.spec import ProgramSpec

if TYPE_CHECKING:
    from anybpf.isa.insn import Insn

#: these take their input as context alone, and refuse to be given data or a repeat count
CONTEXT_ONLY = frozenset({uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, uapi.BPF_PROG_TYPE_SYSCALL,
                          uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_PROG_TYPE_LIRC_MODE2})
#: the user-visible context of a program type that test_run can take as a dict
CONTEXTS = {
    uapi.BPF_PROG_TYPE_XDP: "xdp_md",
    uapi.BPF_PROG_TYPE_SK_LOOKUP: "bpf_sk_lookup",
    **dict.fromkeys((uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_PROG_TYPE_SCHED_ACT,
                     uapi.BPF_PROG_TYPE_SOCKET_FILTER, uapi.BPF_PROG_TYPE_CGROUP_SKB,
                     uapi.BPF_PROG_TYPE_LWT_IN, uapi.BPF_PROG_TYPE_LWT_OUT,
                     uapi.BPF_PROG_TYPE_LWT_XMIT), "__sk_buff"),
}
#: how much a packet can grow: a frame of XDP stays in its pages, a socket buffer below 64 KiB
GROWTH = {uapi.BPF_PROG_TYPE_XDP: 2 * mmap.PAGESIZE}
LARGEST_GROWTH = 1 << 16


class Program:
    """One program: its `spec` before loading, `test_run` after.

    `autoload` (and `type`, `expected_attach_type`) may be set before loading; `attach_prog_fd` is
    the program that an extension program replaces; `log` is the verifier's log, if `load` was
    given a log level.
    """

    def __init__(self, spec: ProgramSpec) -> None:
        self.spec = spec
        self.autoload = spec.autoload
        self.type = spec.type
        self.expected_attach_type = spec.expected_attach_type
        self.attach_prog_fd = 0
        self.log = ""
        self.fd: int | None = None
        self._backend: bpf.Backend | None = None

    def __repr__(self) -> str:
        state = "not loaded" if self.fd is None else f"fd {self.fd}"
        return f"<Program {self.name!r} of section {self.spec.section!r}, {state}>"

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def section(self) -> str:
        return self.spec.section

    @property
    def instructions(self) -> list[Insn]:
        """The program's slots with all that it calls, before loading fills in references."""
        return self.spec.instructions

    @property
    def backend(self) -> bpf.Backend:
        if self._backend is None:
            raise BpfError(errno.EBADF, f"program '{self.name}' is not loaded")
        return self._backend

    def loaded(self, backend: bpf.Backend, fd: int, log: str) -> None:
        """The program exists now; called by the loader."""
        self._backend, self.fd, self.log = backend, fd, log

    def close(self) -> None:
        """Give the program back; harmless if it is not loaded."""
        if self._backend is not None and self.fd is not None:
            self._backend.close(self.fd)
        self._backend = self.fd = None

    def info(self) -> dict[str, int | bytes]:
        """The kernel's `struct bpf_prog_info` by member (numbers and names)."""
        return bpf.obj_info(self.backend, self.fd or 0, "bpf_prog_info")

    def test_run(self, data: bytes | None = None,
                 ctx: bytes | Mapping[str, int] | None = None, *, repeat: int = 0,
                 data_size_out: int | None = None, ctx_size_out: int | None = None,
                 flags: int = 0, cpu: int = 0, batch_size: int = 0) -> bpf.TestRun:
        """Run once (or `repeat` times) on `data`: BPF_PROG_TEST_RUN.

        `ctx` is the context's bytes, or a dict of members of `xdp_md` or `__sk_buff`. The answer
        has `retval` (unsigned 32 bits), `data` and `ctx` as the program left them, and the average
        `duration` in nanoseconds. Room for output is made by itself unless sizes are given.

        Raises BpfError: EINVAL for input that the program type does not take, ENOSPC if the output
        is larger than `data_size_out`, ENOTSUPP (524) if the type cannot be run at all.
        """
        backend = self.backend
        raw = self._context(ctx, len(data or b""))
        wants_output = self.type not in CONTEXT_ONLY
        if data_size_out is None and data is not None and wants_output:
            data_size_out = len(data) + GROWTH.get(self.type, LARGEST_GROWTH)
        if ctx_size_out is None and raw is not None and wants_output:
            ctx_size_out = len(raw)
        return bpf.prog_test_run(backend, self.fd or 0, data=data, ctx=raw,
                                 data_size_out=data_size_out, ctx_size_out=ctx_size_out,
                                 repeat=repeat, flags=flags, cpu=cpu, batch_size=batch_size)

    def _context(self, ctx: bytes | Mapping[str, int] | None, size: int) -> bytes | None:
        if ctx is None or isinstance(ctx, bytes):
            return ctx
        name = CONTEXTS.get(self.type)
        if name is None:
            raise ValueError(f"the context of program '{self.name}' is given as bytes")
        if name == "xdp_md":                      # zero would mean a packet without linear part
            ctx = {"data_end": size, **ctx}
        return context_bytes(name, ctx)


def context_bytes(struct_name: str, members: Mapping[str, int]) -> bytes:
    """The bytes of a context struct with these members, all others zero.

    Raises ValueError for a member that it does not have.
    """
    layout = uapi_structs.STRUCTS[struct_name]
    raw = bytearray(layout.size)
    places = {m.name: (m.offset, bpf.SIZES[m.type]) for m in layout.members if m.type in bpf.SIZES}
    places |= {f"cb[{i}]": (48 + 4 * i, 4) for i in range(5) if struct_name == "__sk_buff"}
    for name, value in members.items():
        if name not in places:
            raise ValueError(f"{struct_name} has no member '{name}' to set")
        offset, size = places[name]
        raw[offset:offset + size] = bpf.to_bytes(value, size)
    return bytes(raw)
