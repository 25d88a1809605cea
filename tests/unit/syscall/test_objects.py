"""Who holds whom."""

from __future__ import annotations

import ctypes
import gc
import weakref

from anybpf import uapi as u
from anybpf.isa import build as b
from anybpf.machine import Machine
from kernel.calls import RETURN_1, Calls, u32
from kernel.errno_cases import BTF, IDS


def ids(calls: Calls, cmd: int) -> list[int]:
    """All ids that a NEXT_ID command finds."""
    found = [0]
    while calls.call(cmd, start_id=found[-1]) == 0:
        found.append(calls.out("next_id"))
    return found[1:]


def test_a_program_holds_its_maps_and_btf(machine: Machine, calls: Calls) -> None:
    fd, btf = calls.map(), calls.btf(BTF)
    prog = calls.prog([*b.ld_map_fd(1, fd), *RETURN_1], prog_btf_fd=btf, func_info_cnt=1,
                      func_info=u32(0, IDS["main"]), func_info_rec_size=8)
    machine.close(fd)
    machine.close(btf)
    assert ids(calls, u.BPF_MAP_GET_NEXT_ID) == ids(calls, u.BPF_BTF_GET_NEXT_ID) == [1]
    machine.close(prog)
    assert ids(calls, u.BPF_MAP_GET_NEXT_ID) == ids(calls, u.BPF_BTF_GET_NEXT_ID) == []


def test_a_bound_map_is_held_once(machine: Machine, calls: Calls) -> None:
    fd, prog = calls.map(), calls.prog()
    for _ in range(2):
        assert calls.call(u.BPF_PROG_BIND_MAP, prog_bind_map__prog_fd=prog,
                          prog_bind_map__map_fd=fd) == 0
    machine.close(fd)
    assert ids(calls, u.BPF_MAP_GET_NEXT_ID) == [1]
    machine.close(prog)
    assert ids(calls, u.BPF_MAP_GET_NEXT_ID) == []


def test_a_prog_array_and_its_program_do_not_live_for_ever(machine: Machine, calls: Calls) -> None:
    array = calls.map(u.BPF_MAP_TYPE_PROG_ARRAY, 4, 4)
    prog = calls.prog([*b.ld_map_fd(2, array), *RETURN_1])
    assert calls.call(u.BPF_MAP_UPDATE_ELEM, map_fd=array, key=u32(0), value=u32(prog)) == 0
    native = weakref.ref(machine.prog_of(prog))
    machine.close(prog)
    assert ids(calls, u.BPF_PROG_GET_NEXT_ID) == [1]
    machine.close(array)
    assert ids(calls, u.BPF_PROG_GET_NEXT_ID) == ids(calls, u.BPF_MAP_GET_NEXT_ID) == []
    gc.collect()
    assert native() is None


def test_a_map_of_maps_holds_inner_maps(machine: Machine, calls: Calls) -> None:
    template, inner = calls.map(), calls.map()
    outer = calls.map(u.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, inner_map_fd=template)
    assert calls.call(u.BPF_MAP_UPDATE_ELEM, map_fd=outer, key=u32(0), value=u32(inner)) == 0
    machine.close(inner)
    out = calls.buffer(4)
    assert calls.call(u.BPF_MAP_LOOKUP_ELEM, map_fd=outer, key=u32(0),
                      value=ctypes.addressof(out)) == 0
    assert out.raw == u32(2)
    assert calls.call(u.BPF_MAP_DELETE_ELEM, map_fd=outer, key=u32(0)) == 0
    assert ids(calls, u.BPF_MAP_GET_NEXT_ID) == [1, 3]


def test_a_pin_holds_without_descriptors(machine: Machine, calls: Calls) -> None:
    fd = calls.map()
    machine.bpf(u.BPF_OBJ_PIN, calls.packed({"pathname": b"/sys/fs/bpf/m\0", "bpf_fd": fd}))
    machine.close(fd)
    assert ids(calls, u.BPF_MAP_GET_NEXT_ID) == [1]
    machine.bpffs.unlink("/sys/fs/bpf/m")
    assert ids(calls, u.BPF_MAP_GET_NEXT_ID) == []
