"""Rows about programs: load, references to maps, func and line records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from anybpf import uapi as u
from anybpf.isa import build as b
from anybpf.isa.insn import Insn, encode
from anybpf.syscall.tags import stable
from kernel.calls import BAD, CLOSED, RETURN_1, Calls, u32
from kernel.errno_base import BTF, IDS, Case, address, case
from kernel.errno_maps import MAPS

# -- programs


def _load(name: str, change: dict[str, Any] | None = None,
          insns: Iterable[Insn] = RETURN_1) -> None:
    code = list(insns)
    case(f"load {name}", lambda k: k.open(
        u.BPF_PROG_LOAD, **k.prog_fields(code, **(change or {}))))


#: types that this kernel may be built without, or that its policy may keep to itself
_ELSEWHERE = (u.BPF_PROG_TYPE_LIRC_MODE2, u.BPF_PROG_TYPE_TRACING, u.BPF_PROG_TYPE_STRUCT_OPS,
              u.BPF_PROG_TYPE_EXT, u.BPF_PROG_TYPE_LSM)
for number in [*range(35), u.U32]:
    if number in _ELSEWHERE:
        continue
    case(f"load type {number} expecting each attach type", lambda k, n=number: [
        k.open(u.BPF_PROG_LOAD, **k.prog_fields(prog_type=n, expected_attach_type=expected))
        for expected in (*range(60), u.U32)])
    _load(f"type {number} with btf id", {"prog_type": number, "attach_btf_id": 1})
    _load(f"type {number} sleepable", {"prog_type": number, "prog_flags": 16})
    _load(f"type {number} on device", {"prog_type": number, "prog_ifindex": 1})
    _load(f"type {number} attach fd", {"prog_type": number, "attach_prog_fd": CLOSED})
for name, change in {
    "no insns": {"insn_cnt": 0}, "too many": {"insn_cnt": 1_000_001}, "max": {"insn_cnt": u.U32},
    "bad insns": {"insns": BAD}, "null insns": {"insns": 0}, "bad licence": {"license": BAD},
    "null licence": {"license": 0}, "no licence": {"license": b"\0"},
    "long licence": {"license": b"x" * 300 + b"\0"}, "name 16": {"prog_name": b"a" * 16},
    "name": {"prog_name": b"a.b_C9"}, "bad name": {"prog_name": b"a-b"},
    "bad name and insns": {"prog_name": b"a-b", "insns": BAD},
    "unknown type, bad insns": {"prog_type": 99, "insns": BAD},
    "unknown type, no insns": {"prog_type": 99, "insn_cnt": 0},
    "version": {"kern_version": 5}, "btf unused": {"prog_btf_fd": CLOSED},
    "token": {"prog_flags": u.BPF_F_TOKEN_FD, "prog_token_fd": CLOSED},
    "token unused": {"prog_token_fd": CLOSED}, "keyring": {"keyring_id": 5},
    "signature size": {"signature_size": 5},
    "fd array unused": {"fd_array": BAD}, "fd array bad": {"fd_array": BAD, "fd_array_cnt": 1},
    "fd array huge": {"fd_array": BAD, "fd_array_cnt": u.U32},
    "fd array null": {"fd_array_cnt": 1}, "fd array closed": {"fd_array": u32(CLOSED),
                                                             "fd_array_cnt": 1},
    "core relos unused": {"core_relo_cnt": 1, "core_relo_rec_size": 3},
    **{f"flag {1 << bit:#x}": {"prog_flags": 1 << bit} for bit in range(32) if bit != 16},
    **{f"log {level} {size} {label}": {"log_level": level, "log_size": size, "log_buf": where}
       for level in (0, 1, 2, 3, 4, 8, 9, 16, 32, u.U32)
       for size in (0, 1, 20, 4096, u.U32 >> 2, (u.U32 >> 2) + 1)
       for label, where in (("null", 0), ("bad", BAD)) if level or where},
    "log 0 with room": {"log_buf": bytes(4096), "log_size": 4096},
}.items():
    _load(name, change)
_load("licence of 127 without nul", {"license": b"G" * 127})


def _insn_loads() -> None:
    wild = Insn(0x18, 1, 9, 0, 0), Insn(0, 0, 0, 0, 0)
    for name, insns in {
        "no exit": (b.mov64_imm(0, 0),), "jump out": (b.jmp_a(5), b.exit_insn()),
        "jump back": (b.jmp_a(-5), b.exit_insn()), "unknown opcode": (Insn(0xFF, 0, 0, 0, 0),
                                                                      b.exit_insn()),
        "map closed": (*b.ld_map_fd(1, CLOSED), *RETURN_1),
        "value closed": (*b.ld_map_value(1, CLOSED, 0), *RETURN_1),
        "index without array": (*b.ld_map_idx(1, 0), *RETURN_1),
        "index value without array": (*b.ld_map_idx_value(1, 0, 0), *RETURN_1),
        "half imm64": (b.ld_map_fd(1, 3)[0],), "unknown pseudo": (*wild, *RETURN_1),
        "map fd with high": (*(b.ld_map_fd(1, CLOSED)[0], Insn(0, 0, 0, 0, 5)), *RETURN_1),
        "call outside": (b.call_rel(50), b.exit_insn()), "call before": (b.call_rel(-5),
                                                                         b.exit_insn()),
        "unknown helper": (b.emit_call(999), b.exit_insn()),
        "negative helper": (b.emit_call(-1), b.exit_insn()),
        "helper 0": (b.emit_call(0), b.exit_insn()),
        "helper of XDP": (b.emit_call(u.BPF_FUNC_xdp_adjust_head), b.exit_insn()),
        "neg with imm": (b.mov64_imm(0, 1), Insn(0x87, 0, 0, 0, 1), b.exit_insn()),
        "mov with off": (Insn(0xB7, 0, 0, 9, 1), b.exit_insn()),
        "exit with imm": (b.mov64_imm(0, 1), Insn(0x95, 0, 0, 0, 1)),
        "register 11": (Insn(0xB7, 11, 0, 0, 1), b.exit_insn()),
        "write fp": (Insn(0xB7, 10, 0, 0, 1), *RETURN_1),
        "shift 64": (b.mov64_imm(0, 1), b.alu64_imm(u.BPF_LSH, 0, 64), b.exit_insn()),
        "division by 0": (b.mov64_imm(0, 1), b.alu64_imm(u.BPF_DIV, 0, 0), b.exit_insn()),
        "ldx with imm": (Insn(0x61, 0, 1, 0, 5), b.exit_insn()),
        "code 0": (Insn(0, 0, 0, 0, 0), b.exit_insn()),
        "into imm64": (b.jmp_imm(u.BPF_JEQ, 1, 0, 1), *b.ld_imm64(0, 1), b.exit_insn()),
    }.items():
        _load(f"insns: {name}", insns=insns)
    for licence in (b"BSD\0", b"\0", b"GPL2\0", b"Proprietary\0", b"gpl\0", b"GPL v3\0"):
        _load(f"GPL-only helper under {licence!r}", {"license": licence},
              (b.emit_call(6), b.exit_insn()))


_insn_loads()


def _on_map(insns: Callable[[int], Iterable[Insn]], **make: Any) -> Case:
    """Load a program that refers to a new map."""
    return lambda k: k.open(u.BPF_PROG_LOAD, **k.prog_fields([*insns(k.map(**make)), *RETURN_1]))


for name, make in MAPS.items():
    case(f"load with {name}", _on_map(lambda fd: b.ld_map_fd(1, fd), **make))
    for off in (0, 7, 8, 1 << 29, u.U32):
        case(f"load with value of {name} at {off}",
             _on_map(lambda fd, o=off: b.ld_map_value(1, fd, o), **make))
for off in (0, 7, 8, 9, 1 << 28, (1 << 29) - 1, 1 << 29):
    case(f"load with value of single array at {off}",
         _on_map(lambda fd, o=off: b.ld_map_value(1, fd, o), max_entries=1))


def _by_index(index: int, pad: int = 0) -> Case:
    def run(k: Calls) -> Any:
        array = u32(*[CLOSED] * pad, k.map())
        insns = [*b.ld_map_idx(1, index), *RETURN_1]
        return k.open(u.BPF_PROG_LOAD, **k.prog_fields(insns, fd_array=array))
    return run


case("load by index 0", _by_index(0))
case("load by index 1", _by_index(1, 1))
case("load by index of closed", _by_index(0, 1))
case("load with map in fd array", lambda k: k.open(
    u.BPF_PROG_LOAD, **k.prog_fields(fd_array=u32(k.map()), fd_array_cnt=1)))
case("load with btf in fd array", lambda k: k.open(
    u.BPF_PROG_LOAD, **k.prog_fields(fd_array=u32(k.btf(BTF)), fd_array_cnt=1)))
case("load with program in fd array", lambda k: k.open(
    u.BPF_PROG_LOAD, **k.prog_fields(fd_array=u32(k.prog()), fd_array_cnt=1)))
case("load with program as map", lambda k: k.open(
    u.BPF_PROG_LOAD, **k.prog_fields([*b.ld_map_fd(1, k.prog()), *RETURN_1])))


def _many_maps(count: int) -> Case:
    return lambda k: k.open(u.BPF_PROG_LOAD, **k.prog_fields(
        [i for _ in range(count) for i in b.ld_map_fd(1, k.map())] + list(RETURN_1)))


case("load with 64 maps", _many_maps(64))
case("load with 65 maps", _many_maps(65))


def _exclusive(digest: Callable[[bytes], bytes]) -> Case:
    """A map for one program only, then a program."""
    def run(k: Calls) -> Any:
        insns = [*b.ld_map_fd(1, 0), *RETURN_1]
        fd = k.map(excl_prog_hash=digest(stable(encode(insns))), excl_prog_hash_size=32)
        return k.open(u.BPF_PROG_LOAD, **k.prog_fields([*b.ld_map_fd(1, fd), *RETURN_1]))
    return run


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


case("load with its exclusive map", _exclusive(_sha256))
case("load with another's exclusive map", _exclusive(lambda data: bytes(32)))

# -- func and line records

_WITH_SUB = (b.call_rel(1), b.exit_insn(), *RETURN_1)
_NAME = 1


def _records(fields: dict[str, Any], insns: Iterable[Insn] = RETURN_1) -> Case:
    """Load with records; the record sizes and the log's text are compared too."""
    code = list(insns)

    def run(k: Calls) -> Any:
        log = k.buffer(4096)
        given = {"prog_btf_fd": k.btf(BTF), "func_info_rec_size": 8, "line_info_rec_size": 16,
                 "log_level": 1, "log_buf": address(log), "log_size": 4096, **fields}
        answer = k.open(u.BPF_PROG_LOAD, **k.prog_fields(code, **given))
        return answer, log.value, k.out("func_info_rec_size"), k.out("line_info_rec_size")
    return run


def _func(*numbers: int, size: int = 8, **more: Any) -> dict[str, Any]:
    return {"func_info": u32(*numbers), "func_info_cnt": len(numbers) * 4 // size,
            "func_info_rec_size": size, **more}


def _line(*numbers: int, size: int = 16, **more: Any) -> dict[str, Any]:
    return {"line_info": u32(*numbers), "line_info_cnt": len(numbers) * 4 // size,
            "line_info_rec_size": size, **more}


_MAIN, _SUB = IDS["main"], IDS["sub"]
for name, (fields, insns) in {
    "one func": (_func(0, _MAIN), RETURN_1), "two funcs": (_func(0, _MAIN, 2, _SUB), _WITH_SUB),
    "one of two": (_func(0, _MAIN), _WITH_SUB), "two of one": (_func(0, _MAIN, 1, _SUB), RETURN_1),
    "wrong start": (_func(0, _MAIN, 1, _SUB), _WITH_SUB),
    "first not 0": (_func(1, _MAIN), RETURN_1),
    "same start": (_func(0, _MAIN, 0, _SUB), _WITH_SUB),
    "int as func": (_func(0, IDS["int"]), RETURN_1), "no such type": (_func(0, 999), RETURN_1),
    "size 4": (_func(0, _MAIN, size=4), RETURN_1), "size 12": (_func(0, _MAIN, 0, size=12),
                                                              RETURN_1),
    "size 12, tail": (_func(0, _MAIN, 1, size=12), RETURN_1),
    "size 252": (_func(0, _MAIN, *[0] * 61, size=252), RETURN_1),
    "size 256": (_func(0, _MAIN, *[0] * 62, size=256), RETURN_1),
    "size 10": (_func(0, _MAIN, 0, size=10), RETURN_1),
    "bad address": (_func(0, _MAIN, func_info=BAD), RETURN_1),
    "closed btf": (_func(0, _MAIN, prog_btf_fd=CLOSED), RETURN_1),
    "one line": (_line(0, _NAME, _NAME, 0), RETURN_1),
    "two lines": (_line(0, _NAME, _NAME, 0, 1, _NAME, _NAME, 5), RETURN_1),
    "line not at 0": (_line(1, _NAME, _NAME, 0), RETURN_1),
    "line twice": (_line(0, _NAME, _NAME, 0, 0, _NAME, _NAME, 0), RETURN_1),
    "line outside": (_line(0, _NAME, _NAME, 0, 2, _NAME, _NAME, 0), RETURN_1),
    "line string": (_line(0, 9999, _NAME, 0), RETURN_1),
    "file string": (_line(0, _NAME, 9999, 0), RETURN_1),
    "line size 12": (_line(0, _NAME, _NAME, size=12), RETURN_1),
    "line size 20": (_line(0, _NAME, _NAME, 0, 0, size=20), RETURN_1),
    "line size 20, tail": (_line(0, _NAME, _NAME, 0, 1, size=20), RETURN_1),
    "line size 18": (_line(0, _NAME, _NAME, 0, 1, size=18), RETURN_1),
    "line address": (_line(0, _NAME, _NAME, 0, line_info=BAD), RETURN_1),
    "line in imm64": (_line(0, _NAME, _NAME, 0, 1, _NAME, _NAME, 0),
                      (*b.ld_imm64(0, 1), b.exit_insn())),
    "second func without line": (_line(0, _NAME, _NAME, 0), _WITH_SUB),
    "second func late line": (_line(0, _NAME, _NAME, 0, 3, _NAME, _NAME, 0), _WITH_SUB),
    "too many lines": (_line(line_info_cnt=0x0800_0000), RETURN_1),
}.items():
    case(f"records: {name}", _records(fields, insns))
case("records: btf is a map", lambda k: k.open(u.BPF_PROG_LOAD, **k.prog_fields(
    **_func(0, _MAIN), prog_btf_fd=k.map())))
