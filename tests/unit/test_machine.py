"""A Machine as a whole: runs, statistics, trace, lifetime, isolation."""

from __future__ import annotations

import ctypes
import gc
import struct
import threading
import weakref

import pytest

from anybpf import uapi as u
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, Fault, NotSupported
from anybpf.isa import build as b
from anybpf.isa.insn import Insn
from anybpf.machine import Machine, Task, TraceLine
from kernel.calls import RETURN_1, Calls, u32, u64
from kernel.errno_cases import BTF

PACKET = bytes(range(64))


def run(calls: Calls, prog: int, **fields: object) -> int | str:
    """A test run on a packet: the program's return value, or the errno."""
    given = {"test__data_in": PACKET, "test__data_size_in": len(PACKET), **fields}
    answer = calls.call(u.BPF_PROG_TEST_RUN, test__prog_fd=prog, **given)
    return calls.out("test.retval") if answer == 0 else answer


def xdp(calls: Calls, *insns: Insn, name: bytes = b"") -> int:
    """An XDP program's descriptor."""
    return calls.prog(insns, prog_type=u.BPF_PROG_TYPE_XDP, prog_name=name)


def count_in(fd: int) -> list[Insn]:
    """Add one to the first value of an array with one element; return it."""
    return [*b.ld_map_value(1, fd, 0), b.ldx_mem(u.BPF_DW, 0, 1, 0),
            b.alu64_imm(u.BPF_ADD, 0, 1), b.stx_mem(u.BPF_DW, 1, 0, 0), b.exit_insn()]


def say(number: int) -> list[Insn]:
    """bpf_trace_printk("n %d", number)."""
    return [*b.ld_imm64(1, int.from_bytes(b"n %d", "little")), b.stx_mem(u.BPF_DW, 10, 1, -8),
            b.mov64_reg(1, 10), b.alu64_imm(u.BPF_ADD, 1, -8), b.mov64_imm(2, 5),
            b.mov64_imm(3, number), b.emit_call(u.BPF_FUNC_trace_printk), *RETURN_1]


@pytest.fixture
def machine() -> Machine:
    return Machine(cpus=2, seed=7)


@pytest.fixture
def calls(machine: Machine) -> Calls:
    return Calls(machine)


@pytest.fixture
def lenient() -> Machine:
    """It takes programs that the verifier would refuse."""
    return Machine(cpus=2, seed=7, verify=False)


def test_a_program_runs_on_a_packet(calls: Calls) -> None:
    out = calls.buffer(100)
    prog = xdp(calls, b.mov64_imm(0, 2), b.exit_insn())
    assert run(calls, prog, test__data_out=ctypes.addressof(out), test__data_size_out=100) == 2
    assert calls.out("test.data_size_out") == len(PACKET)
    assert out.raw == PACKET.ljust(100, b"\0")


@pytest.mark.parametrize("checked", [True, False])
def test_programs_and_callers_share_map_values(checked: bool) -> None:
    machine = Machine(checked=checked)
    calls = Calls(machine)
    fd = calls.map(max_entries=1)
    prog = xdp(calls, *count_in(fd))
    assert [run(calls, prog) for _ in range(3)] == [1, 2, 3]
    assert run(calls, prog, test__repeat=10) == 13
    assert machine.map_of(fd).lookup(u32(0)) == u64(13)


def test_a_wild_access_is_a_fault_and_the_machine_goes_on(lenient: Machine) -> None:
    calls = Calls(lenient)
    prog = xdp(calls, b.mov64_imm(1, 8), b.ldx_mem(u.BPF_DW, 0, 1, 0), b.exit_insn(), name=b"wild")
    with pytest.raises(Fault) as caught:
        run(calls, prog)
    assert (caught.value.insn, caught.value.address, caught.value.size) == (1, 8, 8)
    assert caught.value.program == "wild"
    assert run(calls, xdp(calls, *RETURN_1)) == 1


def test_an_endless_program_ends(lenient: Machine) -> None:
    calls = Calls(lenient)
    lenient.budget = 1000
    with pytest.raises(Fault, match="budget"):
        run(calls, xdp(calls, b.jmp_a(-1), b.exit_insn()))
    for budget in (-1, 1 << 64):
        with pytest.raises(ValueError, match="a budget of"):
            lenient.budget = budget


def test_what_the_verifier_refuses_is_not_loaded(calls: Calls) -> None:
    with pytest.raises(AssertionError, match="EACCES"):
        xdp(calls, b.mov64_imm(1, 8), b.ldx_mem(u.BPF_DW, 0, 1, 0), b.exit_insn())
    log = calls.buffer(200)
    answer = calls.open(u.BPF_PROG_LOAD, log_level=1, log_buf=ctypes.addressof(log), log_size=200,
                        **calls.prog_fields([b.mov64_reg(0, 5), b.exit_insn()]))
    assert answer == "EACCES"
    assert b"R5 !read_ok\n" in log.value


def test_trace_lines_name_their_program(machine: Machine, calls: Calls) -> None:
    machine.clock_ns = 5_000
    run(calls, xdp(calls, *say(42), name=b"talk"))
    line = machine.trace[0]
    assert line == TraceLine("talk", "n 42", line.time_ns, 0)
    assert line.time_ns >= 5_000
    assert machine.take_trace() == [line]
    assert machine.trace == []


def test_lines_before_a_fault_are_kept(lenient: Machine) -> None:
    calls = Calls(lenient)
    insns = [*say(1)[:-2], b.mov64_imm(1, 0), b.ldx_mem(u.BPF_W, 0, 1, 0), b.exit_insn()]
    with pytest.raises(Fault):
        run(calls, xdp(calls, *insns))
    assert [line.text for line in lenient.trace] == ["n 1"]


def test_statistics_count_only_while_they_are_on(machine: Machine, calls: Calls) -> None:
    prog = xdp(calls, *RETURN_1)
    run(calls, prog)
    stats = calls.must(u.BPF_ENABLE_STATS, enable_stats__type=u.BPF_STATS_RUN_TIME)
    run(calls, prog, test__repeat=5)
    machine.close(stats)
    run(calls, prog)
    assert machine.prog_of(prog).run_cnt == 5


def test_the_task_is_what_programs_see(machine: Machine, calls: Calls) -> None:
    machine.task = Task(pid=77, tgid=66, uid=5, comm="me")
    prog = calls.prog([b.emit_call(u.BPF_FUNC_get_current_pid_tgid), b.exit_insn()],
                      prog_type=u.BPF_PROG_TYPE_RAW_TRACEPOINT)
    assert calls.call(u.BPF_PROG_TEST_RUN, test__prog_fd=prog) == 0
    assert calls.out("test.retval") == 77
    info = calls.buffer(232)
    calls.call(u.BPF_OBJ_GET_INFO_BY_FD, info__bpf_fd=calls.prog(), info__info_len=232,
               info__info=ctypes.addressof(info))
    assert struct.unpack_from("<I", info.raw, 48) == (5,)


def test_same_seed_same_random_numbers() -> None:
    def numbers(seed: int) -> list[int | str]:
        calls = Calls(Machine(seed=seed))
        prog = xdp(calls, b.emit_call(u.BPF_FUNC_get_prandom_u32), b.exit_insn())
        return [run(calls, prog) for _ in range(4)]
    assert numbers(1) == numbers(1)
    assert numbers(1) != numbers(2)


def test_two_machines_never_meet() -> None:
    one, other = Calls(Machine()), Calls(Machine())
    fd = one.map()
    assert other.call(u.BPF_MAP_FREEZE, map_fd=fd) == "EBADF"
    assert other.call(u.BPF_MAP_GET_NEXT_ID) == "ENOENT"
    assert fd == other.map()


def test_kernel_btf_has_id_1() -> None:
    machine = Machine(btf=Btf(BTF))
    calls = Calls(machine)
    fd = calls.must(u.BPF_BTF_GET_FD_BY_ID, btf_id=1)
    info, name = calls.buffer(32), calls.buffer(16)
    struct.pack_into("<QI", info, 16, ctypes.addressof(name), 16)
    assert calls.call(u.BPF_OBJ_GET_INFO_BY_FD, info__bpf_fd=fd, info__info_len=32,
                      info__info=ctypes.addressof(info)) == 0
    assert (name.value, info.raw[28]) == (b"vmlinux", 1)
    assert calls.call(u.BPF_MAP_CREATE, map_type=2, key_size=4, value_size=8, max_entries=1,
                      btf_fd=fd, btf_key_type_id=1, btf_value_type_id=2) == "EACCES"
    assert machine.kernel_btf() == BTF
    assert Machine().kernel_btf() is None


def test_perf_events_receive_records(machine: Machine, calls: Calls) -> None:
    attr = struct.pack("<IIQ", 1, 136, 10).ljust(136, b"\0")
    event = machine.perf_event_open(attr, -1, 0)
    array = calls.map(u.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2)
    assert calls.call(u.BPF_MAP_UPDATE_ELEM, map_fd=array, key=u32(0), value=u32(event)) == 0
    prog = xdp(calls, b.st_mem(u.BPF_DW, 10, -8, 42), *b.ld_map_fd(2, array), b.mov64_imm(3, 0),
               b.mov64_reg(4, 10), b.alu64_imm(u.BPF_ADD, 4, -8), b.mov64_imm(5, 8),
               b.emit_call(u.BPF_FUNC_perf_event_output), b.exit_insn())
    assert run(calls, prog) == 0
    assert [record[:8] for record in machine.perf_event_of(event).records()] == [u64(42)]


@pytest.mark.parametrize(("attr", "pid", "cpu", "error"), [
    ((0, 136, 0), -1, 0, NotSupported), ((1, 136, 10), 5, 0, NotSupported),
    ((1, 136, 10), -1, 9, BpfError)])
def test_other_perf_events(machine: Machine, attr: tuple[int, int, int], pid: int, cpu: int,
                           error: type[Exception]) -> None:
    with pytest.raises(error):
        machine.perf_event_open(struct.pack("<IIQ", *attr), pid, cpu)
    with pytest.raises(BpfError):
        machine.perf_event_open(bytes(15), -1, 0)


def test_mmap_shows_what_programs_write(machine: Machine, calls: Calls) -> None:
    fd = calls.map(max_entries=1, map_flags=u.BPF_F_MMAPABLE)
    view = machine.mmap(fd, 4096)
    assert run(calls, xdp(calls, *count_in(fd))) == 1
    assert view[:8] == u64(1)
    assert calls.call(u.BPF_MAP_FREEZE, map_fd=fd) == "EBUSY"
    view.close()
    assert calls.call(u.BPF_MAP_FREEZE, map_fd=fd) == 0


def test_dup_and_close(machine: Machine, calls: Calls) -> None:
    fd = calls.map()
    again = machine.dup(fd)
    machine.close(fd)
    assert machine.open_fds == (again,)
    for bad in (fd, -1):
        with pytest.raises(BpfError) as caught:
            machine.close(bad)
        assert caught.value.name == "EBADF"
    with pytest.raises(BpfError):
        machine.prog_of(again)


def test_closing_frees_everything() -> None:
    with Machine() as machine:
        calls = Calls(machine)
        prog = xdp(calls, *count_in(calls.map(max_entries=1)))
        native = weakref.ref(machine.prog_of(prog))
        run(calls, prog)
    assert machine.open_fds == ()
    gc.collect()
    assert native() is None


def test_only_a_shutdown_closes_everything(machine: Machine, calls: Calls) -> None:
    fds = [calls.map(), calls.map()]
    with pytest.raises(BpfError) as caught:
        machine.close(None)    # type: ignore[arg-type]
    assert caught.value.name == "EBADF"
    assert machine.open_fds == tuple(fds)
    machine.shutdown()
    machine.shutdown()
    assert machine.open_fds == ()
    assert calls.call(u.BPF_MAP_GET_NEXT_ID) == "ENOENT"


def test_an_unclosed_machine_is_collected() -> None:
    machine = Machine()
    calls = Calls(machine)
    array = calls.map(u.BPF_MAP_TYPE_PROG_ARRAY, 4, 4)
    prog = calls.prog([*b.ld_map_fd(2, array), *RETURN_1])
    calls.call(u.BPF_MAP_UPDATE_ELEM, map_fd=array, key=u32(0), value=u32(prog))
    seen = weakref.ref(machine), weakref.ref(machine.prog_of(prog))
    del machine, calls
    gc.collect()
    assert [ref() for ref in seen] == [None, None]


def test_threads_may_share_a_machine(machine: Machine) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        calls = Calls(machine)
        try:
            for _ in range(30):
                fd = calls.map(max_entries=1)
                prog = xdp(calls, *count_in(fd))
                assert run(calls, prog, test__repeat=100) == 100
                machine.close(prog)
                machine.close(fd)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert machine.open_fds == ()
