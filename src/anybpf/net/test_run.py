"""BPF_PROG_TEST_RUN: programs on packets and arguments that the caller brings (net/bpf/test_run.c).

`test_run` makes the kernel's checks in the kernel's order, runs, and gives back what the kernel
would write to user space. The caller (bpf(2), or Python) does the reading and writing: input that
it cannot hand over as bytes it hands over as a reader, which is called when the kernel would copy.
"""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from anybpf import uapi
from anybpf.core.interpreter import DEFAULT_BUDGET
from anybpf.core.kernel import Kernel
from anybpf.core.prog import Prog
from anybpf.core.run_ctx import RunCtx
from anybpf.errors import ENOTSUPP, BpfError, Bug, NotSupported
from anybpf.net import xdp
from anybpf.net.dev import NetDevice, devices_of, index_array
from anybpf.net.entry import Memory, enter_socket, run_repeated
from anybpf.net.filter import MAX_LINEAR as SKB_MAX
from anybpf.net.filter import SkBuff
from anybpf.net.flow_dissector import FlowDissector
from anybpf.proto import contexts, progs

ETH_HLEN = 14
GSO_LEGACY_MAX_SIZE = 65536
GSO_MAX_SEGS = 65535
#: live frames: frames handled in one batch, unless the caller says how many
MAX_BATCH = 256
#: what the fragments of a frame hold: MAX_SKB_FRAGS pages
MAX_FRAGS_SIZE = 17 * 4096
MAX_TRACEPOINT_ARGS = uapi.MAX_BPF_FUNC_ARGS * 8
MAX_SYSCALL_CTX = 65535


class Input:
    """Bytes of the caller: `size` as claimed, `present` if it gave a pointer, read when needed."""

    __slots__ = ("_data", "_reader", "present", "size")

    def __init__(self, data: bytes | None = None, *, size: int | None = None,
                 present: bool | None = None,
                 reader: Callable[[int], bytes] | None = None) -> None:
        self.size = len(data or b"") if size is None else size
        self.present = (data is not None or reader is not None) if present is None else present
        self._data = data or b""
        self._reader = reader

    def read(self, size: int) -> bytes:
        """The first `size` bytes; raises BpfError(EFAULT) where they cannot be read."""
        data = self._reader(size) if self._reader else self._data[:size]
        if len(data) < size:
            raise BpfError(errno.EFAULT)
        return data


@dataclass(slots=True)
class TestRun:
    """A request: the members of `union bpf_attr` for BPF_PROG_TEST_RUN, with the bytes read.

    `data_out` and `ctx_out` say whether the caller wants output (None: if the program type has
    any); `data_size_out` and `ctx_size_out` how much room it has in bytes (0 for data: no limit,
    as in the kernel).
    """

    __test__ = False

    data_in: Input = field(default_factory=Input)
    ctx_in: Input = field(default_factory=Input)
    data_out: bool | None = None
    data_size_out: int = 0
    ctx_out: bool = False
    ctx_size_out: int = 0
    repeat: int = 0
    duration: int = 0
    flags: int = 0
    cpu: int = 0
    batch_size: int = 0
    attach_type: int = 0
    """The program's expected attach type."""
    max_ctx_offset: int = 0
    """Bytes of the context that the program may touch: a smaller one is refused."""
    checked: bool = True
    budget: int = DEFAULT_BUDGET
    """Instructions that each checked run may execute."""
    observer: Callable[[RunCtx], None] | None = None
    """Called with the RunCtx after the run, also when it ended with a Fault."""


@dataclass(slots=True)
class TestRunResult:
    """What the kernel would write back; None: it would not write that member.

    `error` is 0, or the errno of a call that wrote its results all the same (ENOSPC). `run` is
    the RunCtx of the run: printk lines, redirects, perf records.
    """

    __test__ = False

    retval: int | None = None
    duration: int | None = None
    data_out: bytes | None = None
    data_size_out: int | None = None
    ctx_out: bytes | None = None
    ctx_size_out: int | None = None
    ctx_in: bytes | None = None
    """New content of the caller's ctx_in (BPF_PROG_TYPE_SYSCALL writes it back)."""
    error: int = 0
    run: RunCtx | None = None


class _Job(NamedTuple):
    kernel: Kernel
    prog: Prog
    request: TestRun

    def new_run(self) -> RunCtx:
        return RunCtx(self.kernel)

    def execute(self, run: RunCtx, address: int) -> tuple[int, int]:
        """Return value of the last run, and the mean time of all in nanoseconds."""
        request = self.request
        times = request.repeat or 1
        begin = time.perf_counter_ns()
        try:
            retval = run_repeated(self.prog, run, address, times, request.checked, request.budget)
        finally:
            if request.observer is not None:
                request.observer(run)
        mean = (time.perf_counter_ns() - begin) // times
        return retval & uapi.U32, min(mean, uapi.U32)


def _require(condition: bool, number: int = errno.EINVAL) -> None:
    if not condition:
        raise BpfError(number)


def test_run(kernel: Kernel, prog: Prog, request: TestRun) -> TestRunResult:
    """Run `prog` on what `request` brings.

    Raises BpfError with the kernel's errno, Fault where a checked run did what it may not, and
    NotSupported for program types and options that are not modelled.
    """
    _require(bool(request.ctx_in.size) == request.ctx_in.present)
    _require(bool(request.ctx_size_out) == request.ctx_out)
    run = _RUNNERS.get(prog.prog_type)
    if run is None:
        row = progs.BY_TYPE.get(prog.prog_type)
        if row is not None and row.test_run:
            raise NotSupported(f"BPF_PROG_TEST_RUN for {row.name} programs")
        raise BpfError(ENOTSUPP)
    return run(_Job(kernel, prog, request))


test_run.__test__ = False  # type: ignore[attr-defined]


# --- reading and writing what the caller brought ---

def _read_packet(given: Input, size: int, limit: int) -> bytes:
    """The first `size` bytes of the packet, which has at least an Ethernet header."""
    _require(given.size >= ETH_HLEN and size <= limit)
    return given.read(size)


def _read_context(request: TestRun, size: int) -> bytearray | None:
    """The caller's context, zero-filled to `size` bytes; None if it neither brings nor wants one.

    What it brings beyond must be zero: E2BIG.
    """
    given = request.ctx_in
    if not given.present and not request.ctx_out:
        return None
    data = given.read(given.size) if given.present else b""
    _require(not any(data[size:]), errno.E2BIG)
    return bytearray(data[:size].ljust(size, b"\0"))


def _clamp(size: int, room: int) -> tuple[int, int]:
    """How much of `size` bytes to write, and the error if that is not all."""
    return (room, errno.ENOSPC) if 0 < room < size else (size, 0)


def _finish_data(result: TestRunResult, request: TestRun, data: bytes) -> None:
    copied, result.error = _clamp(len(data), request.data_size_out)
    if request.data_out is not False:
        result.data_out = data[:copied]
    result.data_size_out = len(data)


def _finish_context(result: TestRunResult, request: TestRun, context: bytearray | None) -> None:
    if context is None or not request.ctx_out or result.error:
        return
    copied = min(len(context), request.ctx_size_out)
    result.error = errno.ENOSPC if copied < len(context) else 0
    result.ctx_out = bytes(context[:copied])
    result.ctx_size_out = len(context)


@cache
def _where(context: str, name: str) -> slice:
    row = contexts.find(context, name)
    if row is None:
        raise Bug(f"no row for {context}.{name}")
    return slice(row.offset, row.offset + row.size)


def _get(context: bytearray, kind: str, name: str) -> int:
    return int.from_bytes(context[_where(kind, name)], "little")


def _put(context: bytearray, kind: str, name: str, value: int) -> None:
    at = _where(kind, name)
    context[at] = value.to_bytes(at.stop - at.start, "little")


def _all_zero_but(context: bytearray, kind: str, names: tuple[str, ...]) -> bool:
    rest = bytearray(context)
    for name in names:
        at = _where(kind, name)
        rest[at] = bytes(at.stop - at.start)
    return not any(rest)


# --- XDP ---

def _run_xdp(job: _Job) -> TestRunResult:
    request = job.request
    _require(request.attach_type not in (uapi.BPF_XDP_DEVMAP, uapi.BPF_XDP_CPUMAP))
    _require(not request.flags & ~uapi.BPF_F_TEST_XDP_LIVE_FRAMES)
    live = bool(request.flags)
    _require(request.batch_size <= MAX_BATCH if live else not request.batch_size,
             errno.E2BIG if live else errno.EINVAL)
    context = _read_context(request, 24)
    meta, linear = _xdp_layout(request, context)
    limit = xdp.MAX_LINEAR + meta
    linear = min(linear, limit)
    _require(request.data_in.size - meta >= ETH_HLEN)
    if live:
        raise NotSupported("BPF_F_TEST_XDP_LIVE_FRAMES", "5.18")
    _require(request.data_in.size - linear <= MAX_FRAGS_SIZE, errno.ENOMEM)
    data = request.data_in.read(request.data_in.size)
    devices = devices_of(job.kernel)
    ingress, queue = _xdp_queue(devices, context)
    frame = xdp.XdpBuff(data, meta, linear, index_array(devices), ingress_ifindex=ingress,
                        rx_queue_index=queue)
    run = job.new_run()
    frame.enter(run)
    retval, duration = job.execute(run, frame.address)
    return _finish_xdp(job, TestRunResult(retval, duration, run=run), frame, context)


def _xdp_layout(request: TestRun, context: bytearray | None) -> tuple[int, int]:
    """Bytes of metadata, and of metadata and packet in the first page, as the caller asks."""
    if context is None:
        return 0, request.data_in.size
    data, data_end = _get(context, "xdp_md", "data"), _get(context, "xdp_md", "data_end")
    _require(not _get(context, "xdp_md", "data_meta") and data <= data_end <= request.data_in.size)
    _require(not data & 3 and data <= xdp.HEADROOM - xdp.FRAME_STRUCT)
    return data, data_end


def _xdp_queue(devices: Mapping[int, NetDevice], context: bytearray | None) -> tuple[int, int]:
    """The device and receive queue that the frame comes from."""
    if context is None:
        return 1, 0
    ifindex = _get(context, "xdp_md", "ingress_ifindex")
    queue = _get(context, "xdp_md", "rx_queue_index")
    _require(not _get(context, "xdp_md", "egress_ifindex") and (ifindex > 0 or not queue))
    if not ifindex:
        return 1, 0
    device = _device(devices, ifindex)
    _require(queue < device.rx_queues and device.xdp)
    return ifindex, queue


def _device(devices: Mapping[int, NetDevice], ifindex: int) -> NetDevice:
    if ifindex not in devices:
        raise BpfError(errno.ENODEV)
    return devices[ifindex]


def _finish_xdp(job: _Job, result: TestRunResult, frame: xdp.XdpBuff,
                context: bytearray | None) -> TestRunResult:
    request = job.request
    if context is not None:
        _put(context, "xdp_md", "data", frame.meta)
        _put(context, "xdp_md", "data_end", frame.linear_size)
    room = request.data_size_out
    if 0 < room < frame.frags_size:
        raise BpfError(errno.ENOSPC)
    _finish_data(result, request, bytes(frame))
    if result.error and frame.frags_size and request.data_out is not False:
        result.data_out = _scattered(frame, room)
    _finish_context(result, request, context)
    return result


def _scattered(frame: xdp.XdpBuff, room: int) -> bytes:
    """What the kernel writes of a frame with fragments where there is too little room.

    It cuts the linear part by what is missing, then appends the fragments.
    """
    data = bytes(frame)
    return (data[:room - frame.frags_size] + data[frame.linear_size:])[:room]


# --- socket buffers ---

_L2 = frozenset({uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_PROG_TYPE_SCHED_ACT})
_WRITABLE = _L2 | {uapi.BPF_PROG_TYPE_LWT_XMIT}
_DIRECT = _WRITABLE | {uapi.BPF_PROG_TYPE_LWT_IN, uapi.BPF_PROG_TYPE_LWT_OUT,
                       uapi.BPF_PROG_TYPE_CGROUP_SKB}
#: members of __sk_buff that a caller may set
_SETTABLE = ("mark", "priority", "ingress_ifindex", "ifindex", "cb", "tstamp", "wire_len",
             "gso_segs", "gso_size", "hwtstamp")
_COPIED_IN = ("mark", "priority", "ingress_ifindex", "tstamp", "gso_segs", "hwtstamp")
_COPIED_OUT = ("mark", "priority", "ingress_ifindex", "ifindex", "tstamp", "wire_len", "gso_segs",
               "hwtstamp")
_CB, _CB_OFFSET = struct.Struct("<5I"), 48
_HEADER_SIZE = {0x0800: 20, 0x86dd: 40}


def _run_skb(job: _Job) -> TestRunResult:
    request = job.request
    _require(not request.flags & ~uapi.BPF_F_TEST_SKB_CHECKSUM_COMPLETE
             and not request.cpu and not request.batch_size)
    data = _read_packet(request.data_in, request.data_in.size, SKB_MAX)
    context = _read_context(request, 192)
    devices = devices_of(job.kernel)
    skb = _make_skb(job.prog.prog_type, data, devices, context)
    if request.flags:
        skb.start_checksum()
    run = job.new_run()
    skb.enter(run)
    enter_socket(run, skb)
    retval, duration = job.execute(run, skb.address)
    return _finish_skb(job, TestRunResult(retval, duration, run=run), skb, context)


def _make_skb(prog_type: int, data: bytes, devices: Mapping[int, NetDevice],
              context: bytearray | None) -> SkBuff:
    ifindex = _get(context, "__sk_buff", "ifindex") if context is not None else 0
    device = _device(devices, ifindex if ifindex > 1 else 1)
    skb = SkBuff(data, l2=prog_type in _L2, direct=prog_type in _DIRECT,
                 writable=prog_type in _WRITABLE, ifindex=device.ifindex, address=device.address,
                 broadcast=device.broadcast, devices=index_array(devices))
    protocol = int.from_bytes(data[12:14], "big")
    _require(len(data) - ETH_HLEN >= _HEADER_SIZE.get(protocol, 0))
    if context is not None:
        _context_to_skb(context, skb)
    return skb


def _context_to_skb(context: bytearray, skb: SkBuff) -> None:
    """convert___skb_to_skb: only some members may be set, the others must be zero."""
    _require(_all_zero_but(context, "__sk_buff", _SETTABLE))
    wire_len = _get(context, "__sk_buff", "wire_len")
    _require(not wire_len or skb.data_size <= wire_len <= GSO_LEGACY_MAX_SIZE)
    _require(_get(context, "__sk_buff", "gso_segs") <= GSO_MAX_SEGS)
    for name in _COPIED_IN:
        skb[name] = _get(context, "__sk_buff", name)
    skb.cb = _CB.unpack_from(context, _CB_OFFSET)
    skb["wire_len"] = wire_len or skb.data_size
    skb["gso_size"] = _get(context, "__sk_buff", "gso_size") & 0xFFFF


def _skb_to_context(skb: SkBuff, context: bytearray) -> None:
    for name in _COPIED_OUT:
        _put(context, "__sk_buff", name, skb[name])
    _CB.pack_into(context, _CB_OFFSET, *skb.cb)


def _finish_skb(job: _Job, result: TestRunResult, skb: SkBuff,
                context: bytearray | None) -> TestRunResult:
    holds = not job.request.flags or skb.checksum_holds()
    if job.prog.prog_type not in _L2:
        skb.restore_header()
    if context is not None:
        _skb_to_context(skb, context)
    _require(holds, errno.EBADMSG)
    _finish_data(result, job.request, bytes(skb))
    _finish_context(result, job.request, context)
    return result


# --- flow dissector ---

_FLOW_FLAGS = slice(48, 52)


def _run_flow_dissector(job: _Job) -> TestRunResult:
    request = job.request
    _require(not request.flags and not request.cpu and not request.batch_size)
    data = _read_packet(request.data_in, request.data_in.size, 4096)
    context = _read_context(request, 56)
    flags = 0
    if context is not None:
        flags = int.from_bytes(context[_FLOW_FLAGS], "little")
        _require(not any(context[:_FLOW_FLAGS.start]) and not any(context[_FLOW_FLAGS.stop:]))
    run = job.new_run()
    keys = FlowDissector(data, flags)
    keys.enter(run)
    retval, duration = job.execute(run, keys.address)
    result = TestRunResult(retval, duration, run=run)
    _finish_data(result, request, bytes(keys))
    _finish_context(result, request, context)
    return result


# --- programs without a packet ---

def _plain_checks(request: TestRun, limit: int) -> None:
    _require(not (request.data_in.present or request.data_out or request.ctx_out
                  or request.duration or request.repeat or request.batch_size))
    _require(request.max_ctx_offset <= request.ctx_in.size <= limit)


def _run_raw_tracepoint(job: _Job) -> TestRunResult:
    request = job.request
    _plain_checks(request, MAX_TRACEPOINT_ARGS)
    on_cpu = bool(request.flags & uapi.BPF_F_TEST_RUN_ON_CPU)
    _require(on_cpu or not request.cpu)
    context = _argument_memory(request)
    run = job.new_run()
    if on_cpu:
        _require(request.cpu < run.kernel.ncpus, errno.ENXIO)
        run.cpu = request.cpu
    retval, _ = job.execute(run, context.enter(run, writable=False))
    return TestRunResult(retval, run=run)


def _run_syscall(job: _Job) -> TestRunResult:
    request = job.request
    _require(not request.flags)
    _plain_checks(request, MAX_SYSCALL_CTX)
    context = _argument_memory(request)
    run = job.new_run()
    retval, _ = job.execute(run, context.enter(run))
    written = bytes(context) if request.ctx_in.size else None
    return TestRunResult(retval, ctx_in=written, run=run)


def _argument_memory(request: TestRun) -> Memory:
    size = request.ctx_in.size
    return Memory(request.ctx_in.read(size) if size else b"")


_Runner = Callable[[_Job], TestRunResult]
_RUNNERS: dict[int, _Runner] = {
    uapi.BPF_PROG_TYPE_XDP: _run_xdp,
    uapi.BPF_PROG_TYPE_SOCKET_FILTER: _run_skb,
    uapi.BPF_PROG_TYPE_SCHED_CLS: _run_skb,
    uapi.BPF_PROG_TYPE_SCHED_ACT: _run_skb,
    uapi.BPF_PROG_TYPE_CGROUP_SKB: _run_skb,
    uapi.BPF_PROG_TYPE_LWT_IN: _run_skb,
    uapi.BPF_PROG_TYPE_LWT_OUT: _run_skb,
    uapi.BPF_PROG_TYPE_LWT_XMIT: _run_skb,
    uapi.BPF_PROG_TYPE_FLOW_DISSECTOR: _run_flow_dissector,
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT: _run_raw_tracepoint,
    uapi.BPF_PROG_TYPE_SYSCALL: _run_syscall,
}


def is_supported(prog_type: int) -> bool:
    """Whether `test_run` can run programs of this type."""
    return prog_type in _RUNNERS
