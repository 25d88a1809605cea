"""bpf(2) through the guest's marshalling says what it says without, and moves the same memory."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Iterator

import pytest

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.isa.build import exit_insn, mov64_imm
from anybpf.isa.insn import encode
from anybpf.linux.syscall import Linux
from guest import pointers
from guest.backend import Guest
from kernel.calls import BAD, RETURN_1, Calls, u32, u64
from unit.guest.here import Here

pytestmark = pytest.mark.kernel


@pytest.fixture
def there() -> Here:
    return Here()


@pytest.fixture
def calls(there: Here) -> Iterator[Calls]:
    reason = Linux.probe()
    if reason:
        pytest.skip(reason)
    made = Calls(Guest(there))
    yield made
    made.close()


def test_every_row_names_a_field() -> None:
    pointers.check_rows()


def test_keys_and_values_go_and_come(calls: Calls) -> None:
    fd = calls.map()
    assert calls.call(uapi.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(2), value=u64(77)) == 0
    value = calls.buffer(b"\xff" * 16)
    assert calls.call(uapi.BPF_MAP_LOOKUP_ELEM, map_fd=fd, key=u32(2),
                      value=ctypes.addressof(value)) == 0
    assert value.raw == u64(77) + b"\xff" * 8


def test_values_of_all_cpus(calls: Calls) -> None:
    cpus = calls.backend.num_possible_cpus
    fd = calls.map(uapi.BPF_MAP_TYPE_PERCPU_ARRAY, value_size=12)
    wanted = b"".join(bytes([cpu + 1]) * 12 + bytes(4) for cpu in range(cpus))
    assert calls.call(uapi.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(0), value=wanted) == 0
    found = calls.buffer(16 * cpus)
    assert calls.call(uapi.BPF_MAP_LOOKUP_ELEM, map_fd=fd, key=u32(0),
                      value=ctypes.addressof(found)) == 0
    assert found.raw == wanted


def test_batches(calls: Calls) -> None:
    fd = calls.map(max_entries=3)
    keys, values = u32(0, 1, 2), u64(5, 6, 7)
    assert calls.call(uapi.BPF_MAP_UPDATE_BATCH, batch__map_fd=fd, batch__keys=keys,
                      batch__values=values, batch__count=3) == 0
    token, k, v = calls.buffer(4), calls.buffer(12), calls.buffer(24)
    assert calls.call(uapi.BPF_MAP_LOOKUP_BATCH, batch__map_fd=fd, batch__count=3,
                      batch__out_batch=ctypes.addressof(token), batch__keys=ctypes.addressof(k),
                      batch__values=ctypes.addressof(v)) in (0, "ENOENT")
    assert (k.raw, v.raw, calls.out("batch.count")) == (keys, values, 3)


def test_the_log_ends_with_its_zero_byte(calls: Calls) -> None:
    log = calls.buffer(b"\xff" * 4096)
    answer = calls.call(uapi.BPF_PROG_LOAD, **calls.prog_fields(
        (exit_insn(),), log_level=1, log_size=4096, log_buf=ctypes.addressof(log)))
    assert answer == "EACCES"
    assert b"R0 !read_ok" in log.value
    assert log.raw[len(log.value) + 1:] == b"\xff" * (4095 - len(log.value))
    assert calls.out("log_true_size") == len(log.value) + 1
    assert calls.out("log_buf") == ctypes.addressof(log)        # our pointers, not the guest's


def test_memory_ends_where_ours_ends(calls: Calls) -> None:
    code = encode(list(RETURN_1))
    fields = calls.prog_fields()
    fits = calls.call(uapi.BPF_PROG_LOAD, **{**fields, "insns": calls.at_page_end(code)})
    assert isinstance(fits, int)
    calls.fds.append(fits)
    assert calls.call(uapi.BPF_PROG_LOAD, **{**fields, "license": BAD}) == "EFAULT"


@pytest.mark.parametrize("name", ["insns", "license"])
def test_an_address_of_nothing(calls: Calls, name: str) -> None:
    area = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, 0)
    assert calls.call(uapi.BPF_PROG_LOAD, **{**calls.prog_fields(), name: address}) == "EFAULT"


def test_info_and_what_it_points_to(calls: Calls) -> None:
    fd = calls.map()
    code = struct.pack("<BBhiQ", 0x18, 0x11, 0, fd, 0) + encode(list(RETURN_1))
    prog = calls.must(uapi.BPF_PROG_LOAD, **{**calls.prog_fields(), "insns": code,
                                             "insn_cnt": len(code) // 8})
    insns, ids, info = calls.buffer(len(code)), calls.buffer(4), calls.buffer(232)
    struct.pack_into("<I", info, 20, len(code))
    struct.pack_into("<Q", info, 32, ctypes.addressof(insns))
    struct.pack_into("<I", info, 52, 1)
    struct.pack_into("<Q", info, 56, ctypes.addressof(ids))
    assert calls.call(uapi.BPF_OBJ_GET_INFO_BY_FD, info__bpf_fd=prog, info__info_len=232,
                      info__info=ctypes.addressof(info)) == 0
    assert struct.unpack_from("<I", info)[0] == uapi.BPF_PROG_TYPE_SOCKET_FILTER
    assert struct.unpack_from("<Q", info, 32)[0] == ctypes.addressof(insns)
    assert insns.raw[-16:] == encode([mov64_imm(0, 1), exit_insn()])
    of_map = calls.buffer(104)
    assert calls.call(uapi.BPF_OBJ_GET_INFO_BY_FD, info__bpf_fd=fd, info__info_len=104,
                      info__info=ctypes.addressof(of_map)) == 0
    assert ids.raw == of_map.raw[4:8]


def test_a_run(calls: Calls) -> None:
    prog = calls.prog()
    out = calls.buffer(64)
    assert calls.call(uapi.BPF_PROG_TEST_RUN, test__prog_fd=prog, test__data_in=b"\x45" * 64,
                      test__data_size_in=64, test__data_out=ctypes.addressof(out),
                      test__data_size_out=64) == 0
    assert out.raw[14:] == b"\x45" * 50
    assert calls.out("test.retval") == 1


def test_many_programs_are_judged_with_one_question(calls: Calls, there: Here) -> None:
    guest = calls.backend
    good = calls.packed(calls.prog_fields())
    logs = [calls.buffer(4096) for _ in range(2)]
    bad = [calls.packed(calls.prog_fields(code, log_level=1, log_size=4096,
                                          log_buf=ctypes.addressof(log)))
           for code, log in zip(((exit_insn(),), (mov64_imm(10, 1), exit_insn())), logs,
                                strict=True)]
    before, frames = len(os.listdir("/proc/self/fd")), there.frames
    found = list(guest.judge([good, bad[0], good, bad[1]]))  # type: ignore[attr-defined]
    assert found == [0, errno.EACCES, 0, errno.EACCES]
    assert there.frames == frames + 1
    assert b"R0 !read_ok" in logs[0].value
    assert b"frame pointer is read only" in logs[1].value
    assert len(os.listdir("/proc/self/fd")) == before


def test_closing_waits_for_the_next_call(calls: Calls, there: Here) -> None:
    guest = calls.backend
    fd = calls.map()
    calls.fds.clear()
    before = there.frames
    guest.close(fd)
    assert there.frames == before
    with pytest.raises(BpfError) as refused:
        guest.close(fd)
    assert refused.value.errno == errno.EBADF


def test_mapped_memory(calls: Calls) -> None:
    fd = calls.map(map_flags=uapi.BPF_F_MMAPABLE, max_entries=8)
    with calls.backend.mmap(fd, 64) as memory:  # type: ignore[attr-defined]
        memory[8:16] = u64(99)
        assert memory[:24] == u64(0, 99, 0)
        value = calls.buffer(8)
        calls.call(uapi.BPF_MAP_LOOKUP_ELEM, map_fd=fd, key=u32(1), value=ctypes.addressof(value))
        assert value.raw == u64(99)
        with pytest.raises(IndexError):
            memory[0:8] = b"short"
    with pytest.raises(ValueError, match="not mapped"):
        memory[:8]
