"""Objects that nobody here wrote: those of Debian's libxdp1, ir-keytable and libbpf-tools."""

from __future__ import annotations

import errno
import struct
from pathlib import Path
from typing import Any

import pytest

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.libbpf import Object
from anybpf.linux import Linux
from conftest import LIBXDP

ABORTED, DROP, PASS = 0, 1, 2
#: these need a map type (xskmap) or targets (fentry) of their own
NOT_PLAIN_XDP = ("xsk_def_xdp_prog.o", "xsk_def_xdp_prog_5.3.o", "xdpdump_bpf.o")
XDP_OBJECTS = sorted(p.name for p in LIBXDP.glob("*.o") if p.name not in NOT_PLAIN_XDP)


def ethernet(protocol: int, rest: bytes) -> bytes:
    head = bytes.fromhex("020000000001 020000000002") + struct.pack(">H", protocol)
    return (head + rest).ljust(64, b"\0")


def ipv4(protocol: int, payload: bytes, source: bytes = b"\x0a\0\0\1") -> bytes:
    total = 20 + len(payload)
    head = struct.pack(">BBHHHBBH", 0x45, 0, total, 1, 0, 64, protocol, 0)
    return ethernet(0x0800, head + source + b"\x0a\0\0\2" + payload)


def ipv6(protocol: int, payload: bytes) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
    return ethernet(0x86DD, head + bytes(15) + b"\1" + bytes(15) + b"\2" + payload)


def ports(source: int, target: int) -> bytes:
    return struct.pack(">HHH", source, target, 20) + bytes(14)


PACKETS = {
    "arp": ethernet(0x0806, bytes(46)),
    "stranger": bytes.fromhex("020000000009") * 2 + ethernet(0x0806, bytes(46))[12:],
    "tcp 80": ipv4(6, ports(1000, 80)),
    "tcp 22": ipv4(6, ports(22, 1000)),
    "udp 80": ipv4(17, ports(4000, 80)),
    "udp other": ipv4(17, ports(4000, 54), b"\x0b\0\0\1"),
    "tcp over ipv6": ipv6(6, ports(80, 443)),
    "cut": ipv4(6, b"")[:34],
    "vlan": ethernet(0x8100, struct.pack(">HH", 5, 0x0800) + ipv4(6, ports(80, 80))[14:]),
}
#: (map, key, value) put into filter maps before the run: allow or deny both ways
RULES = (
    ("filter_ports", struct.pack("=I", int.from_bytes(struct.pack(">H", 80), "little")), 0x3F),
    ("filter_ipv4", b"\x0a\0\0\1", 3),
    ("filter_ipv6", bytes(15) + b"\1", 3),
    ("filter_ethernet", bytes.fromhex("020000000002"), 3),
)


def run_all(path: Path, backend: Any) -> list[Any]:
    """What every packet gives, and the maps afterwards, of all programs of an object."""
    seen: list[Any] = []
    with Object.open(path).load(backend) as obj:
        for name, key, flags in RULES:
            made = obj.maps.get(name)
            if made is not None:
                copies = made.user_value_size // 8
                made.update(key, struct.pack("=Q", flags) * copies)
        for program in obj.programs.values():
            for label, packet in PACKETS.items():
                answer = program.test_run(packet)
                seen.append((program.name, label, answer.retval, answer.data))
        seen += [(m.name, sorted((k, totals(m, v)) for k, v in m.raw.items()))
                 for m in obj.maps.values() if m.type != uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY
                 and m.max_entries <= 10000]
    return seen


def totals(made: Any, value: bytes) -> Any:
    """The numbers of a per-CPU value summed up: which CPU a test runs on is not the program's."""
    if not made.is_per_cpu:
        return value
    words = made.value_size // 8
    numbers = struct.unpack(f"={len(value) // 8}Q", value)
    return [sum(numbers[i::words]) for i in range(words)]


@pytest.mark.parametrize("name", XDP_OBJECTS or ["libxdp1"])
def test_xdp_objects_run(name: str, libxdp_objects: list[Path], backend: Any) -> None:
    seen = run_all(LIBXDP / name, backend)
    verdicts = {row[2] for row in seen if len(row) == 4}
    assert verdicts <= {ABORTED, DROP, PASS}
    assert {DROP, PASS} <= verdicts or not name.startswith("xdpfilt_")


@pytest.mark.kernel
@pytest.mark.parametrize("name", XDP_OBJECTS or ["libxdp1"])
def test_machine_and_kernel_agree(name: str, libxdp_objects: list[Path], linux: Linux) -> None:
    machine = pytest.importorskip("anybpf.machine")
    here = run_all(LIBXDP / name, machine.Machine(cpus=linux.num_possible_cpus))
    assert here == run_all(LIBXDP / name, linux)


@pytest.mark.parametrize("name", NOT_PLAIN_XDP)
def test_other_xdp_objects_open(name: str, libxdp_objects: list[Path]) -> None:
    obj = Object.open(LIBXDP / name)
    assert obj.programs
    assert obj.license in ("GPL", "Dual BSD/GPL")


def test_infrared_decoders_load(lirc_objects: list[Path]) -> None:
    machine = pytest.importorskip("anybpf.machine")
    assert len(lirc_objects) >= 9
    for path in lirc_objects:
        obj = Object.open(path)
        if path.stem == "raw":          # as long as its keys' pulses and spaces, which say so
            obj.maps["raw_map"].value_size = 4 + 2 * 64
        with obj.load(machine.Machine()):
            decoder = obj.programs["bpf_decoder"]
            assert decoder.type == uapi.BPF_PROG_TYPE_LIRC_MODE2
            assert obj.btf is None
            assert obj.maps["decoder_state_map"].max_entries == 1


def test_embedded_objects_open(embedded_objects: dict[str, bytes]) -> None:
    assert len(embedded_objects) > 40
    for name, data in embedded_objects.items():
        obj = Object.open(data, name=name)
        assert obj.programs
        for program in obj.programs.values():
            assert program.spec.definition is not None
            assert program.instructions[-1].code in (0x95, 0x05, 0x06)    # exit or a jump
            assert program.spec.linked.func_info.rows[0].insn == 0


@pytest.mark.kernel
def test_embedded_objects_load(embedded_objects: dict[str, bytes], linux: Linux) -> None:
    for name in ("opensnoop", "execsnoop", "filetop", "runqlat"):
        with Object.open(embedded_objects[name], name=name).load(linux) as obj:
            assert all(p.fd is not None for p in obj.programs.values() if p.autoload)


def test_core_relocations_need_types(embedded_objects: dict[str, bytes]) -> None:
    machine = pytest.importorskip("anybpf.machine")
    obj = Object.open(embedded_objects["runqlat"])
    with pytest.raises(BpfError) as refused:
        obj.load(machine.Machine())
    assert refused.value.errno == errno.ESRCH
    assert "relo #0: backend machine has no kernel BTF" in str(refused.value)
