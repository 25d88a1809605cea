"""Every XDP object of Debian's libxdp1 on a Machine and on the running kernel.

Not those of AF_XDP, whose map type is another story, nor xdpdump's tracing programs. What a packet
gives (return value, bytes, context) and what is in the maps afterwards must be the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.libbpf import Map, Object, Program, bpf
from anybpf.linux import Linux
from anybpf.machine import Machine
from conftest import LIBXDP
from kernel import packets

pytestmark = pytest.mark.kernel
FILTERS = sorted(p.name for p in LIBXDP.glob("xdpfilt_*.o")) or ["xdpfilt_alw_all.o"]
DISPATCHER, DUMP = "xdp-dispatcher.o", "xdpdump_xdp.o"
OTHERS = {"xdpdump_bpf.o", "xsk_def_xdp_prog.o", "xsk_def_xdp_prog_5.3.o"}

#: bits of a filter rule: which end of the connection, which protocol
SRC, DST, BY_TCP, BY_UDP = 1, 2, 4, 8
RULE_MAPS = {"filter_ports", "filter_ipv4", "filter_ipv6", "filter_ethernet"}
Rules = Mapping[str, Mapping[bytes, int]]


def port(number: int) -> bytes:
    """A key of filter_ports: the port as the packet has it."""
    return number.to_bytes(2, "big") + bytes(2)


FILLINGS: dict[str, Rules] = {
    "nothing": {},
    "ports": {"filter_ports": {port(80): 15, port(22): SRC | BY_TCP, port(53): DST | BY_UDP}},
    "ports both ways": {"filter_ports": {port(80): SRC | DST | BY_UDP, port(0): DST | BY_TCP}},
    "ipv4": {"filter_ipv4": {packets.V4[0]: SRC, packets.V4[1]: DST, packets.V4[2]: 0}},
    "ipv4 to us": {"filter_ipv4": {packets.V4[0]: DST, packets.V4[3]: SRC | DST}},
    "ipv6": {"filter_ipv6": {packets.V6[0]: SRC, packets.V6[3]: DST, packets.V6[2]: 0}},
    "ethernet": {"filter_ethernet": {packets.MACS[0]: SRC, packets.MACS[3]: DST}},
    "everything": {"filter_ports": {port(443): 15, port(53): 15},
                   "filter_ipv4": {packets.V4[2]: SRC | DST},
                   "filter_ipv6": {packets.V6[2]: SRC | DST},
                   "filter_ethernet": {packets.MACS[2]: SRC | DST}},
}


class Seen(NamedTuple):
    """What one run gave: an error's name, or everything that came back."""

    error: str
    retval: int = 0
    data: bytes = b""
    ctx: bytes = b""


class Pair(NamedTuple):
    """The same object on both sides."""

    machine: Object
    linux: Object

    def run(self, name: str, data: bytes, **how: Any) -> tuple[Seen, Seen]:
        here, there = (run(obj.programs[name], data, **how) for obj in self)
        return here, there

    def fill(self, rules: Rules) -> None:
        """Replace the rules: only these are there now."""
        for made in (m for obj in self for m in obj.maps.values() if m.name in RULE_MAPS):
            clear(made)
            fill(made, rules.get(made.name, {}))


def run(program: Program, data: bytes, **how: Any) -> Seen:
    try:
        answer = program.test_run(data, **how)
    except BpfError as error:
        return Seen(error.name)
    return Seen("", answer.retval, answer.data, answer.ctx)


def clear(made: Map) -> None:
    if made.name == "filter_ports":
        fill(made, dict.fromkeys(map(port, packets.PORTS), 0))
        return
    for key in list(made.raw):
        made.delete(key)


def fill(made: Map, rows: Mapping[bytes, int]) -> None:
    copies = made.user_value_size // made.value_size
    for key, flags in rows.items():
        made.update(key, struct.pack("=Q", flags) * copies)


def contents(obj: Object) -> dict[str, dict[bytes, list[int]]]:
    """What is in each map. Which CPU counted is nobody's business: the copies are added up."""
    return {m.name: {k: v for k, v in elements(m) if any(v)}
            for m in obj.maps.values() if m.type != uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY}


def small_contents(obj: Object) -> dict[str, dict[bytes, list[int]]]:
    """The same without the 65536 ports but those of our packets."""
    small = {m.name: {k: totals(v, m.value_size) for k, v in m.raw.items()}
             for m in obj.maps.values() if m.name != "filter_ports"}
    ports = obj.maps.get("filter_ports")
    if ports is not None:
        keys = map(port, packets.PORTS)
        small[ports.name] = {k: totals(ports.lookup(k), ports.value_size) for k in keys}
    return small


def elements(made: Map) -> Iterator[tuple[bytes, list[int]]]:
    if not made.is_per_cpu:
        yield from ((k, list(v)) for k, v in made.raw.items())
        return
    assert made.fd is not None
    step, after = 1 << 14, None
    while True:
        batch = bpf.map_lookup_batch(made.backend, made.fd, made.key_size, made.user_value_size,
                                     step, after)
        yield from ((k, totals(v, made.value_size)) for k, v in
                    zip(batch.keys, batch.values, strict=True) if any(v))
        after = batch.next
        if after is None:
            return


def totals(value: bytes, size: int) -> list[int]:
    words = size // 8
    numbers = struct.unpack(f"={len(value) // 8}Q", value)
    return [sum(numbers[i::words]) for i in range(words)]


@pytest.fixture(autouse=True)
def installed(libxdp_objects: list[Path], linux: Linux) -> None:
    """Skips all of this without the package, or where bpf(2) is refused."""


@contextmanager
def loaded(name: str, **variables: Any) -> Iterator[Pair]:
    """The object on both sides, with global variables set before loading."""
    kernel = Linux()
    sides = [Object.open(LIBXDP / name) for _ in range(2)]
    for obj in sides:
        for path, value in variables.items():
            section, variable = path.split("__")
            obj.globals[section][variable] = value
    with (Machine(cpus=kernel.num_possible_cpus) as machine, sides[0].load(machine) as here,
          sides[1].load(kernel) as there):
        yield Pair(here, there)


def test_no_object_is_forgotten(libxdp_objects: list[Path]) -> None:
    assert {p.name for p in libxdp_objects} == {*FILTERS, DISPATCHER, DUMP} | OTHERS
    assert len(FILTERS) == 10


# xdp-filter

@pytest.mark.parametrize("name", FILTERS)
def test_filter(name: str) -> None:
    with loaded(name) as pair:
        for filling, rules in FILLINGS.items():
            pair.fill(rules)
            for label, data in packets.TABLE.items():
                here, there = pair.run(Path(name).stem, data)
                assert here == there, (filling, label)
                assert not here.error
            assert contents(pair.machine) == contents(pair.linux), filling


@pytest.mark.parametrize("name", ["xdpfilt_alw_all.o", "xdpfilt_dny_all.o"])
def test_filter_verdicts(name: str) -> None:
    """The two policies are opposites, and each rule tells packets apart."""
    with loaded(name) as pair:
        pair.fill(FILLINGS["everything"])
        retvals = {pair.run(Path(name).stem, data)[0].retval for data in packets.TABLE.values()}
        assert {1, 2} <= retvals
        stats = contents(pair.linux)["xdp_stats_map"]
        assert sum(row[0] for row in stats.values()) == len(packets.TABLE)


def rule_sets() -> st.SearchStrategy[Rules]:
    flags = st.integers(0, 15)
    return st.fixed_dictionaries({}, optional={
        "filter_ports": st.dictionaries(st.sampled_from(packets.PORTS).map(port), flags),
        "filter_ipv4": st.dictionaries(st.sampled_from(packets.V4), flags),
        "filter_ipv6": st.dictionaries(st.sampled_from(packets.V6), flags),
        "filter_ethernet": st.dictionaries(st.sampled_from(packets.MACS), flags)})


@pytest.mark.parametrize("name", FILTERS)
def test_filter_on_any_packets(name: str) -> None:
    """Any rules, any packets, one after the other on the same maps."""
    with loaded(name) as pair:
        @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
        @given(rule_sets(), st.lists(packets.packets(), min_size=1, max_size=40))
        def check(rules: Rules, frames: list[bytes]) -> None:
            pair.fill(rules)
            for frame in frames:
                here, there = pair.run(Path(name).stem, frame)
                assert here == there
            assert small_contents(pair.machine) == small_contents(pair.linux)

        check()
        assert contents(pair.machine) == contents(pair.linux)


@pytest.mark.parametrize("data", packets.REFUSED, ids=len)
@pytest.mark.parametrize("name", [*FILTERS[:2], DISPATCHER, DUMP])
def test_refused_packets(name: str, data: bytes) -> None:
    with loaded(name) as pair:
        for program in pair.linux.programs:
            here, there = pair.run(program, data)
            assert here == there
            assert here.error == "EINVAL"


def test_repeat_counts_every_run() -> None:
    with loaded("xdpfilt_alw_all.o") as pair:
        here, there = pair.run("xdpfilt_alw_all", packets.TABLE["udp"], repeat=1000)
        assert here == there
        counted = [contents(obj)["xdp_stats_map"] for obj in pair]
        assert counted[0] == counted[1]
        assert [sum(row[0] for row in c.values()) for c in counted] == [1000, 1000]


# xdp-dispatcher

CONFIGS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "no programs": {"num_progs_enabled": 0, "chain_call_actions": [0xFFFFFFFF] * 10},
    "one, not chained": {"num_progs_enabled": 1},
    "one, chained": {"num_progs_enabled": 1, "chain_call_actions": [1 << 31] + [0] * 9},
    "five, chained": {"num_progs_enabled": 5, "chain_call_actions": [1 << 31] * 10},
    "ten, chained": {"num_progs_enabled": 10, "chain_call_actions": [1 << 31] * 10},
    "ten, chained on pass alone": {"num_progs_enabled": 10, "chain_call_actions": [1 << 2] * 10},
    "more than there are": {"num_progs_enabled": 200, "chain_call_actions": [1 << 31] * 10},
    "broken in the middle": {"num_progs_enabled": 10,
                             "chain_call_actions": [1 << 31] * 4 + [4] + [1 << 31] * 5},
    "with priorities": {"magic": 236, "dispatcher_version": 2, "num_progs_enabled": 2,
                        "is_xdp_frags": 1, "run_prios": [10, 20] + [50] * 8,
                        "program_flags": [0, 32] + [0] * 8,
                        "chain_call_actions": [1 << 31 | 1 << 2] * 10},
}


def config(members: Mapping[str, Any]) -> dict[str, Any]:
    """The whole struct, as the object has it, with some members changed."""
    whole: dict[str, Any] = Object.open(LIBXDP / DISPATCHER).rodata.conf
    return {**whole, **members}


def check_dispatcher(members: Mapping[str, Any], frames: Mapping[str, bytes]) -> None:
    with loaded(DISPATCHER, rodata__conf=config(members)) as pair:
        for program in ("xdp_dispatcher", "xdp_pass"):
            for label, frame in frames.items():
                here, there = pair.run(program, frame)
                assert here == there, (program, label)
                assert here == Seen("", here.retval, frame)
        assert contents(pair.machine) == contents(pair.linux)
        assert pair.machine.rodata.conf == pair.linux.rodata.conf


@pytest.mark.parametrize("name", CONFIGS)
def test_dispatcher(name: str) -> None:
    check_dispatcher(CONFIGS[name], packets.TABLE)


Actions = st.lists(st.sampled_from((0, 1 << 31, 1 << 2, 0xFFFFFFFF)), min_size=10, max_size=10)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 11), Actions, packets.packets())
def test_dispatcher_of_any_configuration(count: int, actions: list[int], frame: bytes) -> None:
    check_dispatcher({"num_progs_enabled": count, "chain_call_actions": actions}, {"any": frame})


# xdpdump

def dump_config(ifindex: int = 1, snaplen: int = 64, index: int = 0) -> dict[str, Any]:
    return {"capture_if_ifindex": ifindex, "capture_snaplen": snaplen, "capture_prog_index": index}


def dumped(pair: Pair, frame: bytes) -> list[list[bytes]]:
    """The perf records of one packet, on both sides."""
    readers = [obj.maps["xdpdump_perf_map"].reader for obj in pair]
    here, there = pair.run("xdpdump", frame)
    assert here == there == Seen("", 2, frame)
    return [list(reader.read()) for reader in readers]


@pytest.mark.parametrize("setting", [
    dump_config(), dump_config(snaplen=0), dump_config(snaplen=1), dump_config(snaplen=65535),
    dump_config(index=0xFFFF), dump_config(index=0x12345), dump_config(ifindex=2),
    dump_config(ifindex=0)], ids=str)
def test_dump(setting: dict[str, Any]) -> None:
    with loaded(DUMP, data__trace_cfg=setting) as pair:
        for label, frame in packets.TABLE.items():
            here, there = dumped(pair, frame)
            assert here == there, label
            assert len(here) == (setting["capture_if_ifindex"] == 1)
        assert contents(pair.machine) == contents(pair.linux)


def test_dump_is_set_while_it_runs() -> None:
    """The settings are a writable section: what changes after loading counts for the next."""
    frame = packets.TABLE["tcp"]
    with loaded(DUMP) as pair:
        for snaplen in (8, 20, 1000):
            for obj in pair:
                obj.data.trace_cfg = dump_config(snaplen=snaplen, index=3)
            here, there = dumped(pair, frame)
            assert here == there
            captured = min(snaplen, len(frame))
            assert struct.unpack_from("=IIHHHHI", here[0]) == (1, 0, len(frame), captured, 0, 3, 0)
            assert here[0][20:20 + captured] == frame[:captured]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(packets.packets(), min_size=1, max_size=8), st.integers(0, 300))
def test_dump_of_any_packets(frames: list[bytes], snaplen: int) -> None:
    with loaded(DUMP, data__trace_cfg=dump_config(snaplen=snaplen)) as pair:
        for frame in frames:
            here, there = dumped(pair, frame)
            assert here == there


# contexts

@pytest.mark.parametrize("members", [
    {"ingress_ifindex": 1}, {"ingress_ifindex": 1, "rx_queue_index": 1}, {"ingress_ifindex": 9999},
    {"egress_ifindex": 1}, {"rx_queue_index": 1}, {"data": 4}, {"data": 6}, {"data": 32},
    {"data": 40, "data_end": 30}, {"data_end": 20}, {"data_end": 1000}, {"data_meta": 4},
    {"data": 4, "data_end": 40}], ids=str)
@pytest.mark.parametrize("name", ["xdpfilt_dny_all.o", DISPATCHER, DUMP])
def test_contexts(name: str, members: dict[str, int]) -> None:
    with loaded(name) as pair:
        for program in pair.linux.programs:
            here, there = pair.run(program, packets.TABLE["large tcp"], ctx=members)
            assert here == there
