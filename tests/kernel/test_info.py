"""Objects tell about themselves what the kernel's tell: info structs, ids, tags, logs."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

import pytest

from anybpf import uapi as u
from anybpf.isa import build as b
from anybpf.isa.insn import Insn, encode
from anybpf.syscall.record import Record
from anybpf.syscall.tags import digest, tag
from kernel.calls import RETURN_1, Calls, u32
from kernel.errno_cases import BTF, IDS

pytestmark = pytest.mark.kernel

#: fields that are one kernel's own affair: ids, time, machine code and its counts
OWN = {
    "bpf_prog_info": ("id", "load_time", "jited_prog_len", "jited_prog_insns",
                      "btf_id", "jited_ksyms", "jited_func_lens", "jited_line_info",
                      "nr_jited_line_info", "map_ids", "xlated_prog_insns", "prog_tags",
                      "func_info", "line_info"),
    "bpf_map_info": ("id", "btf_id"),
    "bpf_btf_info": ("id", "btf", "name"),
}


def info(calls: Calls, kind: str, fd: int, **fields: int) -> Record:
    """The info struct of an object, asked with these fields set."""
    asked = Record(kind)
    for name, value in fields.items():
        asked[name] = value
    buffer = calls.buffer(bytes(asked.bytes))
    answer = calls.call(u.BPF_OBJ_GET_INFO_BY_FD, info__bpf_fd=fd,
                        info__info=ctypes.addressof(buffer), info__info_len=len(asked.bytes))
    assert answer == 0
    assert calls.out("info.info_len") == len(asked.bytes)
    return Record(kind, buffer.raw)


def comparable(kind: str, record: Record) -> bytes:
    """The struct without what is one kernel's own."""
    for name in OWN[kind]:
        record[name] = 0
    return bytes(record.bytes)


def same(both: tuple[Calls, Calls], kind: str, make: Any) -> None:
    """Both kernels give the same struct of the object that `make` makes."""
    machine, host = (comparable(kind, info(calls, kind, make(calls))) for calls in both)
    assert machine == host


PROGRAMS: dict[str, Iterable[Insn]] = {
    "plain": RETURN_1,
    "with a subprogram": (b.call_rel(1), b.exit_insn(), *RETURN_1),
    "with imm64": (*b.ld_imm64(0, 0x1122334455667788), b.exit_insn()),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_prog_info(both: tuple[Calls, Calls], name: str) -> None:
    same(both, "bpf_prog_info", lambda calls: calls.prog(PROGRAMS[name], prog_name=b"a.b_C"))


@pytest.mark.parametrize(("licence", "gpl"), [
    (b"GPL\0", 1), (b"GPL v2\0", 1), (b"GPL and additional rights\0", 1), (b"Dual BSD/GPL\0", 1),
    (b"Dual MIT/GPL\0", 1), (b"Dual MPL/GPL\0", 1), (b"BSD\0", 0), (b"gpl\0", 0), (b"\0", 0),
])
def test_licence(both: tuple[Calls, Calls], licence: bytes, gpl: int) -> None:
    for calls in both:
        record = info(calls, "bpf_prog_info", calls.prog(license=licence))
        assert record["gpl_compatible"] == gpl


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 6, 9, 10])
def test_map_info(both: tuple[Calls, Calls], kind: int) -> None:
    value = 4 if kind in (3, 4) else 12
    same(both, "bpf_map_info", lambda calls: calls.map(kind, 4, value, 7, map_name=b"m.a_p"))


def test_map_info_with_btf(both: tuple[Calls, Calls]) -> None:
    same(both, "bpf_map_info", lambda calls: calls.map(
        btf_fd=calls.btf(BTF), btf_key_type_id=IDS["int"], btf_value_type_id=IDS["long"]))


def test_btf_info_and_bytes(both: tuple[Calls, Calls]) -> None:
    for calls in both:
        out = calls.buffer(len(BTF))
        record = info(calls, "bpf_btf_info", calls.btf(BTF), btf=ctypes.addressof(out),
                      btf_size=len(BTF))
        assert out.raw == BTF
        assert record["btf_size"] == len(BTF)
        assert record["kernel_btf"] == record["name_len"] == 0


def references(fd: int) -> dict[str, list[Insn]]:
    """Programs that name a map in each way."""
    return {
        "map": [*b.ld_map_fd(1, fd), *RETURN_1],
        "value": [*b.ld_map_value(1, fd, 4), *RETURN_1],
        "index": [*b.ld_map_idx(1, 0), *RETURN_1],
        "index value": [*b.ld_map_idx_value(1, 0, 4), *RETURN_1],
    }


@pytest.mark.parametrize("name", references(0))
def test_tags_and_instructions_with_maps(both: tuple[Calls, Calls], name: str) -> None:
    seen = []
    for calls in both:
        fd = calls.map(max_entries=1)
        prog = calls.prog(references(fd)[name], fd_array=u32(fd))
        map_id = info(calls, "bpf_map_info", fd)["id"]
        out, ids = calls.buffer(64), calls.buffer(8)
        record = info(calls, "bpf_prog_info", prog, xlated_prog_len=64,
                      xlated_prog_insns=ctypes.addressof(out), nr_map_ids=2,
                      map_ids=ctypes.addressof(ids))
        assert ids.raw == u32(map_id, 0)
        code = out.raw.replace(u32(map_id), b"*id*", 1)
        seen.append((bytes(record.bytes[8:16]), record["xlated_prog_len"], code))
    assert seen[0] == seen[1]


def test_tag_is_that_of_the_stable_instructions(both: tuple[Calls, Calls]) -> None:
    code = encode([*b.ld_map_fd(1, 0), *RETURN_1])
    for calls in both:
        prog = calls.prog([*b.ld_map_fd(1, calls.map()), *RETURN_1])
        assert bytes(info(calls, "bpf_prog_info", prog).bytes[8:16]) == tag(code)
    assert digest(code)[:8] == tag(code)


def test_records_come_back(both: tuple[Calls, Calls]) -> None:
    func, lines = u32(0, IDS["main"]), u32(0, 1, 1, 5 << 10, 1, 1, 1, 6 << 10)
    for calls in both:
        prog = calls.prog(prog_btf_fd=calls.btf(BTF), func_info=func, func_info_cnt=1,
                          func_info_rec_size=8, line_info=lines, line_info_cnt=2,
                          line_info_rec_size=16)
        got_func, got_lines = calls.buffer(8), calls.buffer(32)
        record = info(calls, "bpf_prog_info", prog, func_info_rec_size=8, nr_func_info=1,
                      func_info=ctypes.addressof(got_func), line_info_rec_size=16,
                      nr_line_info=2, line_info=ctypes.addressof(got_lines))
        assert (record["nr_func_info"], record["nr_line_info"]) == (1, 2)
        assert (got_func.raw, got_lines.raw) == (func, lines)


def test_ids_lead_to_the_same_object(both: tuple[Calls, Calls]) -> None:
    for calls in both:
        for kind, make, by_id in (
            ("bpf_prog_info", calls.prog, u.BPF_PROG_GET_FD_BY_ID),
            ("bpf_map_info", calls.map, u.BPF_MAP_GET_FD_BY_ID),
            ("bpf_btf_info", lambda c=calls: c.btf(BTF), u.BPF_BTF_GET_FD_BY_ID),
        ):
            first = info(calls, kind, make())
            again = calls.must(by_id, prog_id=first["id"])
            assert info(calls, kind, again)["id"] == first["id"]


def test_an_object_lives_while_it_is_held(both: tuple[Calls, Calls]) -> None:
    for calls in both:
        fd = calls.map()
        map_id = info(calls, "bpf_map_info", fd)["id"]
        prog = calls.prog([*b.ld_map_fd(1, fd), *RETURN_1])
        calls.backend.close(fd)
        again = calls.must(u.BPF_MAP_GET_FD_BY_ID, map_id=map_id)
        calls.backend.close(again)
        calls.backend.close(prog)
    # the kernel frees later, on a work queue; a Machine at once
    assert both[0].call(u.BPF_MAP_GET_FD_BY_ID, map_id=map_id) == "ENOENT"


@pytest.mark.parametrize("insns", [
    (b.mov64_imm(0, 0),), (b.jmp_a(5), b.exit_insn()), (*b.ld_map_fd(1, 999), *RETURN_1),
    (*b.ld_map_idx(1, 0), *RETURN_1), (b.call_rel(50), b.exit_insn()),
], ids=["no exit", "jump", "map", "index", "call"])
@pytest.mark.parametrize(("level", "size"), [
    (1, 4096), (2, 4096), (3, 4096), (1, 20), (9, 20), (1, 1), (1, 0)])
def test_log_of_a_refused_program(both: tuple[Calls, Calls], insns: tuple[Insn, ...], level: int,
                                  size: int) -> None:
    seen = []
    for calls in both:
        log = calls.buffer(max(size, 1))
        answer = calls.open(u.BPF_PROG_LOAD, **calls.prog_fields(
            insns, log_level=level, log_size=size, log_buf=ctypes.addressof(log) if size else 0))
        seen.append((answer, log.raw, calls.out("log_true_size")))
    assert seen[0] == seen[1]
