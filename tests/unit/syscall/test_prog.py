"""PROG_LOAD: structure, licence, log."""

from __future__ import annotations

import ctypes

import pytest

from anybpf import uapi as u
from anybpf.errors import NotSupported
from anybpf.isa import build as b
from anybpf.machine import Machine
from kernel.calls import RETURN_1, Calls, u32


def load_log(calls: Calls, insns: tuple[object, ...], **fields: object) -> tuple[object, str]:
    """The answer and the log."""
    log = calls.buffer(4096)
    answer = calls.open(u.BPF_PROG_LOAD, **calls.prog_fields(
        insns, log_level=1, log_buf=ctypes.addressof(log), log_size=4096, **fields))
    return answer, log.value.decode()


@pytest.mark.parametrize(("insns", "fields", "errno", "line"), [
    ((b.mov64_imm(0, 1),), {}, "EINVAL", "last insn is not an exit or jmp"),
    ((*b.ld_map_fd(1, 99), *RETURN_1), {}, "EBADF", "fd 99 is not pointing to valid bpf_map"),
    ((b.emit_call(999), b.exit_insn()), {}, "EINVAL", "invalid func unknown#999"),
    ((b.emit_call(6), b.exit_insn()), {"license": b"MIT\0"}, "EINVAL",
     "cannot call GPL-restricted function from non-GPL compatible program"),
    ((b.emit_call(44), b.exit_insn()), {}, "EINVAL",
     "program of this type cannot use helper bpf_xdp_adjust_head#44"),
    (RETURN_1, {"prog_type": u.BPF_PROG_TYPE_SYSCALL}, "EINVAL",
     "Syscall programs can only be sleepable"),
    ((b.mov64_imm(0, 1), b.alu64_imm(u.BPF_LSH, 0, 64), b.exit_insn()), {}, "EINVAL",
     "invalid shift 64"),
])
def test_refusals_say_why(calls: Calls, insns: tuple[object, ...], fields: dict[str, object],
                          errno: str, line: str) -> None:
    answer, log = load_log(calls, insns, **fields)
    assert answer == errno
    assert log.splitlines()[-2] == line
    assert log.splitlines()[-1].startswith("processed ")


def test_without_the_verifier_each_instruction_is_looked_at_by_itself() -> None:
    """What would be refused on a path that leads there is refused wherever it is."""
    calls = Calls(Machine(verify=False))
    assert load_log(calls, (b.ldx_mem(u.BPF_DW, 0, 2, 0), b.exit_insn()))[0] == "fd"
    dead = (*RETURN_1, b.emit_call(999), b.exit_insn())
    answer, log = load_log(calls, dead)
    assert (answer, log.splitlines()[0]) == ("EINVAL", "invalid func unknown#999")
    assert log.splitlines()[-1].startswith("processed 0 insns")


@pytest.mark.parametrize("number", [195_896_080, 2_001_000_003, 2_002_000_000])
def test_dead_code_may_call_nonsense(calls: Calls, number: int) -> None:
    insns = (b.mov64_imm(0, 0), b.jmp_imm(u.BPF_JNE, 0, 0, 1), b.exit_insn(),
             b.emit_call(number), b.exit_insn())
    assert load_log(calls, insns)[0] == "fd"
    unverified = Calls(Machine(verify=False))
    assert load_log(unverified, (b.emit_call(number), b.exit_insn()))[0] == "fd"


@pytest.mark.parametrize("kind", [u.BPF_PROG_TYPE_TRACING, u.BPF_PROG_TYPE_LSM])
def test_types_that_attach_to_btf_need_a_target(calls: Calls, kind: int) -> None:
    expected = {u.BPF_PROG_TYPE_TRACING: u.BPF_TRACE_RAW_TP}.get(kind, 0)
    answer, log = load_log(calls, RETURN_1, prog_type=kind, expected_attach_type=expected)
    assert answer == "EINVAL"
    assert "Tracing programs must provide btf_id" in log


def test_signatures_and_core_records_are_named(calls: Calls) -> None:
    with pytest.raises(NotSupported, match="signed"):
        calls.call(u.BPF_PROG_LOAD, **calls.prog_fields(signature=b"x", signature_size=1))


def test_infrared_decoders_load(calls: Calls) -> None:
    assert load_log(calls, RETURN_1, prog_type=u.BPF_PROG_TYPE_LIRC_MODE2)[0] == "fd"


def test_a_failed_load_leaves_nothing(machine: Machine, calls: Calls) -> None:
    fd = calls.map()
    bad = [*b.ld_map_fd(1, fd), *b.ld_map_fd(1, 99), *RETURN_1]
    assert calls.open(u.BPF_PROG_LOAD, **calls.prog_fields(bad)) == "EBADF"
    machine.close(fd)
    assert calls.call(u.BPF_MAP_GET_NEXT_ID) == "ENOENT"
    assert calls.call(u.BPF_PROG_GET_NEXT_ID) == "ENOENT"


def test_a_program_of_another_type_cannot_use_a_prog_array(machine: Machine, calls: Calls) -> None:
    array = calls.map(u.BPF_MAP_TYPE_PROG_ARRAY, 4, 4)
    calls.call(u.BPF_MAP_UPDATE_ELEM, map_fd=array, key=u32(0), value=u32(calls.prog()))
    user = calls.prog_fields([*b.ld_map_fd(2, array), *RETURN_1], prog_type=u.BPF_PROG_TYPE_XDP)
    assert calls.open(u.BPF_PROG_LOAD, **user) == "EINVAL"
