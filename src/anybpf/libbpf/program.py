"""A program of an object (tools/lib/bpf/libbpf.c, bpf_program)."""

from __future__ import annotations

import errno
import mmap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from anybpf import uapi, uapi_structs
from anybpf.errors import BpfError, error_text
from anybpf.libbpf import bpf, log
from anybpf.libbpf.spec import ProgramSpec
from anybpf.proto import progs

if TYPE_CHECKING:
    from anybpf.isa.insn import Insn
    from anybpf.proto.sections import SectionDef

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


class _Setting:
    """A number for BPF_PROG_LOAD, which may be changed until the program is loaded."""

    def __init__(self, key: str, doc: str) -> None:
        self.key = key
        self.__doc__ = doc

    def __get__(self, owner: Program, kind: object = None) -> int:
        return owner._values[self.key]

    def __set__(self, owner: Program, value: int) -> None:
        owner.change()
        owner._values[self.key] = value


class Program:
    """One program: its `spec` before loading, `test_run` after.

    What loading takes (`autoload`, `type`, `expected_attach_type`, `flags`, `log_level`,
    `instructions`, the attach target) can be set until it is loaded, then BpfError says EBUSY
    (EINVAL for `autoload`, as libbpf has it). `log` is the verifier's log, if there was a log
    level.
    """

    expected_attach_type = _Setting("expected_attach_type", "The BPF_* attach type to load for.")
    flags = _Setting("flags", "BPF_F_* of BPF_PROG_LOAD, besides those that the section asks for.")
    log_level = _Setting("log_level", "The verifier's log level; 0: as `load` says.")
    attach_prog_fd = _Setting("attach_prog_fd", "The loaded program that this one attaches to.")

    def __init__(self, spec: ProgramSpec) -> None:
        self.spec = spec
        #: what the section's name means; None once `type` was changed by hand
        self.definition: SectionDef | None = spec.definition
        #: whether loading an object's skeleton attaches it
        self.autoattach = True
        self.log = ""
        self.fd: int | None = None
        self._values = {"expected_attach_type": spec.expected_attach_type, "flags": spec.flags,
                        "log_level": 0, "attach_prog_fd": 0}
        self._autoload = spec.autoload
        self._type = spec.type
        self._target = spec.attach_target
        self._insns: list[Insn] | None = None
        #: the kernel's BTF id of what a struct_ops program is for; set by the loader
        self.struct_ops_id = 0
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
        """The program's slots with all that it calls, before loading fills in references.

        What is set here is loaded as it is: references and CO-RE records no longer apply.
        """
        return self.spec.instructions if self._insns is None else self._insns

    @instructions.setter
    def instructions(self, insns: Sequence[Insn]) -> None:
        self.change()
        self._insns = list(insns)

    @property
    def is_replaced(self) -> bool:
        """Its instructions were set by hand."""
        return self._insns is not None

    def change(self, number: int = errno.EBUSY) -> None:
        """Raises BpfError if the program is loaded, and so cannot be changed."""
        if self.fd is not None:
            raise BpfError(number, f"prog '{self.name}': is loaded already")

    @property
    def type(self) -> int:
        """The BPF_PROG_TYPE_*; another one than the section says makes the section mean nothing."""
        return self._type

    @type.setter
    def type(self, number: int) -> None:
        if number == self._type:
            return
        self.change()
        self._type = number
        self.definition = None

    @property
    def autoload(self) -> bool:
        """Whether loading the object loads this program."""
        return self._autoload

    @autoload.setter
    def autoload(self, wanted: bool) -> None:
        self.change(errno.EINVAL)
        self._autoload = wanted

    @property
    def attach_target(self) -> str:
        """The function, hook or tracepoint that the program is loaded for; "" if none."""
        return self._target

    def set_attach_target(self, function: str = "", program: Program | int = 0) -> None:
        """Load for `function` of the kernel, or of a loaded `program` (or its descriptor).

        Without a function the section's name says it. Raises BpfError (EINVAL) if loaded.
        """
        self.change(errno.EINVAL)
        fd = program if isinstance(program, int) else program.fd
        if fd is None or fd < 0 or not (fd or function):
            raise BpfError(errno.EINVAL, f"prog '{self.name}': no attach target is given")
        self._values["attach_prog_fd"] = fd
        self._target = function or self._target

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

    def pin(self, path: str) -> None:
        """Give the program a name in a bpffs. Raises BpfError (EEXIST, ENOENT, EPERM)."""
        if self.fd is None:
            log.fail(errno.EINVAL, f"prog '{self.name}': can't pin program that wasn't loaded")
        bpf.make_parent(self.backend, path)
        try:
            bpf.obj_pin(self.backend, self.fd, path)
        except BpfError as e:
            log.fail(e.errno or 0, f"prog '{self.name}': failed to pin at '{path}': "
                                   f"{log.reason(e)}")
        log.debug("prog '%s': pinned at '%s'", self.name, path)

    def unpin(self, path: str) -> None:
        """Take the name away. Raises BpfError (ENOENT)."""
        if self.fd is None:
            log.fail(errno.EINVAL, f"prog '{self.name}': can't unpin program that wasn't loaded")
        bpf.unlink(self.backend, path)
        log.debug("prog '%s': unpinned from '%s'", self.name, path)

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
        is larger than `data_size_out`, ENOTSUPP (524) if the type cannot be run at all; Fault if a
        checked run stops; ValueError for a `repeat` that is no unsigned 32-bit number.
        """
        if not 0 <= repeat <= uapi.U32:
            raise ValueError(f"repeat is {repeat}, not 0 to {uapi.U32}")
        backend = self.backend
        raw = self._context(ctx, len(data or b""))
        wants_output = self.type not in CONTEXT_ONLY
        if data_size_out is None and data is not None and wants_output:
            data_size_out = len(data) + GROWTH.get(self.type, LARGEST_GROWTH)
        if ctx_size_out is None and raw is not None and wants_output:
            ctx_size_out = len(raw)
        try:
            return bpf.prog_test_run(backend, self.fd or 0, data=data, ctx=raw,
                                     data_size_out=data_size_out, ctx_size_out=ctx_size_out,
                                     repeat=repeat, flags=flags, cpu=cpu, batch_size=batch_size)
        except BpfError as e:
            raise BpfError(e.errno or 0, self._refusal(e.errno or 0, data)) from None

    def _refusal(self, number: int, data: bytes | None) -> str:
        """The kernel gives a number alone; say whose it is, and what it was given."""
        given = ("no data" if data is None else
                 f"{len(data)} byte{'s' * (len(data) != 1)} of data")
        return (f"test run of '{self.name}' ({type_name(self.type)}) on {given}: "
                f"{error_text(number)}")

    def _context(self, ctx: bytes | Mapping[str, int] | None, size: int) -> bytes | None:
        if ctx is None or isinstance(ctx, bytes):
            return ctx
        name = CONTEXTS.get(self.type)
        if name is None:
            raise ValueError(f"the context of program '{self.name}' is given as bytes")
        if name == "xdp_md":                      # zero would mean a packet without linear part
            ctx = {"data_end": size, **ctx}
        return context_bytes(name, ctx)


def type_name(number: int) -> str:
    """What bpftool calls a program type, the number if it has no name."""
    if number == uapi.BPF_PROG_TYPE_UNSPEC:
        return "unspec"
    row = progs.BY_TYPE.get(number)
    return row.name if row is not None else f"type {number}"


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
