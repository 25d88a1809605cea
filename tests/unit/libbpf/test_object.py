"""Objects on both backends: load, run, look. Each test says the same of Machine and Linux."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError, NotSupported, VerifierError
from anybpf.isa.insn import Insn
from anybpf.libbpf import Object
from anybpf.libbpf import elf as e
from anybpf.libbpf.attach_target import in_program
from anybpf.libbpf.load import last_insn
from anybpf.libbpf.spec import ring_size
from conftest import Build
from objects.elfbuild import EXIT, MOV, ElfBuilder, smallest

PACKET = bytes(64)
DROP, PASS = 1, 2


@pytest.fixture
def features(build: Build, backend: Any) -> Iterator[Object]:
    with Object.open(build("features.bpf.c")) as obj:
        yield obj.load(backend)


def test_globals_before_and_after_loading(build: Build, backend: Any) -> None:
    with Object.open(build("features.bpf.c")) as obj:
        assert (obj.rodata.limit, obj.data.start, obj.data_cold.cold) == (7, 40, 9)
        assert obj.rodata.defaults == {"count": 3, "name": "default"}
        obj.rodata.limit = 100
        obj.data.start = 1
        obj.load(backend)
        assert obj.programs["first"].test_run(PACKET).retval == 2 + 6 + 400
        assert (obj.bss.counter, obj.data["hidden_total"]) == (1, 6)
        assert str(obj.bss.last_verdict) == "PASS"
        obj.bss.counter = 50
        obj.programs["first"].test_run(PACKET)
        assert obj.bss.counter == 51
        with pytest.raises(BpfError) as caught:
            obj.rodata.limit = 5
        assert caught.value.errno == errno.EPERM
        assert obj.rodata.limit == 100


def test_custom_sections(features: Object) -> None:
    features.programs["second"].test_run(PACKET)
    assert features.data_cold.cold == 10
    assert features.bss_more.zeroed == [0, 0x1234, 0]


def test_unknown_names(build: Build) -> None:
    obj = Object.open(build("features.bpf.c"))
    with pytest.raises(AttributeError, match="no variable 'nothing'"):
        _ = obj.rodata.nothing
    with pytest.raises(AttributeError, match="no variable 'nothing'"):
        obj.rodata.nothing = 3
    with pytest.raises(AttributeError, match="no attribute or section 'elsewhere'"):
        _ = obj.elsewhere
    with pytest.raises(KeyError, match="no variable 'nothing'"):
        _ = obj.rodata["nothing"]
    with pytest.raises(ValueError, match="limit: 'many' is not a number of"):
        obj.rodata.limit = "many"
    with pytest.raises(ValueError, match=r"defaults\.count: .* does not fit"):
        obj.rodata.defaults = {"count": 1 << 70, "name": ""}
    with pytest.raises(KeyError, match="no map 'nothing'; the object has: "):
        _ = obj.maps["nothing"]
    with pytest.raises(KeyError, match=r"no program 'nothing'; the object has: .*first"):
        _ = obj.programs["nothing"]
    assert (obj.maps.get("nothing"), "nothing" in obj.maps) == (None, False)
    assert repr(obj.maps["programs"]) == "<Map 'programs' prog_array, not loaded>"
    assert "limit" in dir(obj.rodata)
    assert obj.rodata.as_dict()["limit"] == 7


def test_hash_map_by_btf_and_by_bytes(features: Object) -> None:
    table = features.maps["table"]
    key = {"id": 1, "port": 80, "tag": b"ab"}
    assert features.programs["second"].test_run(PACKET).retval == 99
    table[key] = {"count": 12, "name": "web"}
    assert features.programs["second"].test_run(PACKET).retval == 12
    assert table[key] == {"count": 12, "name": "web"}
    raw = b"\1\0\0\0\x50\0ab"
    assert table.raw[raw][:8] == (12).to_bytes(8, "little")
    assert list(table.raw) == [raw]
    assert [(k["port"], v["count"]) for k, v in table.items()] == [(80, 12)]
    assert len(table) == 1
    del table[key]
    assert len(table) == 0
    for act in (lambda: table[key], lambda: table.__delitem__(key)):
        with pytest.raises(KeyError):
            act()
    with pytest.raises(ValueError, match="key has 3 bytes, not 8"):
        table.raw[b"abc"] = bytes(24)


def test_array_without_btf(features: Object) -> None:
    plain = features.maps["plain"]
    plain[3] = 7
    assert plain[3] == bytes([7, 0, 0, 0, 0, 0, 0, 0])
    assert list(plain) == [0, 1, 2, 3]
    with pytest.raises(KeyError):
        _ = plain[4]
    with pytest.raises(BpfError) as caught:
        del plain[0]
    assert caught.value.errno == errno.EINVAL
    assert str(caught.value).endswith("map 'plain' (array, max_entries 4): Invalid argument")
    with pytest.raises(BpfError, match=r"'plain' \(array, max_entries 4\): Argument list too long"):
        plain[4] = 0


def test_per_cpu_values_are_lists(features: Object) -> None:
    per_cpu = features.maps["per_cpu"]
    count = features.maps["per_cpu"].backend.num_possible_cpus
    assert per_cpu[0] == [0] * count
    features.programs["second"].test_run(PACKET)
    assert sum(per_cpu[0]) == 1
    per_cpu[1] = list(range(count))
    assert per_cpu[1] == list(range(count))
    with pytest.raises(ValueError, match=f"a list of {count} elements"):
        per_cpu[1] = 5


def test_queue(features: Object) -> None:
    queue = features.maps["queue"]
    queue.push(1)
    features.programs["send"].test_run(PACKET)
    assert (queue.peek(), queue.pop(), queue.pop()) == (1, 1, 11)
    with pytest.raises(KeyError):
        queue.pop()


def test_maps_of_maps(features: Object) -> None:
    inner_b = features.maps["inner_b"]
    features.maps["plain"][1] = 30
    assert features.programs["nested"].test_run(PACKET).retval == 30
    assert inner_b[0] == 5
    assert features.maps["outer"][2] == inner_b.info()["id"]
    features.maps["outer"][3] = inner_b
    assert features.maps["outer"][3] == inner_b.info()["id"]


def test_tail_call_through_initial_values(features: Object) -> None:
    assert features.programs["jump"].test_run(PACKET).retval == 77
    assert features.maps["programs"][1] == features.programs["tail"].info()["id"]
    assert 1 in list(features.maps["programs"])
    del features.maps["programs"][1]
    assert 1 not in list(features.maps["programs"])
    assert dict(features.maps["programs"]).keys() == set(features.maps["programs"].keys())
    assert features.programs["jump"].test_run(PACKET).retval == 1
    features.maps["programs"][1] = features.programs["tail"]
    assert features.programs["jump"].test_run(PACKET).retval == 77


def test_ring_buffer(features: Object) -> None:
    events, send = features.maps["events"], features.programs["send"]
    assert events.max_entries == 8192
    assert list(events.records()) == []
    features.bss.counter = 4
    send.test_run(PACKET)
    raw = list(events.records())
    assert [len(r) for r in raw] == [16, 16]
    for _ in range(300):                     # more than the ring holds at once
        send.test_run(PACKET)
        both = list(events.records("event"))
        assert [r["sum"] for r in both] == [2**64 - 1, 4]
        assert both[0]["number"] == 7
        assert str(both[0]["verdict"]) == "DROP"
    with pytest.raises(KeyError, match="no type 'struct nothing' in the object's BTF"):
        list(events.records("struct nothing"))
    with pytest.raises(NotSupported, match="records of <Map 'programs' prog_array"):
        list(features.maps["programs"].records())


def test_perf_event_array(features: Object) -> None:
    perf, send = features.maps["perf"], features.programs["send"]
    assert perf.max_entries == perf.backend.num_possible_cpus
    assert list(perf.records()) == []                 # opens the buffers
    for _ in range(2000):
        send.test_run(PACKET)
        assert [r["number"] for r in perf.records("struct event")] == [7]


def test_program_facts(features: Object) -> None:
    info = features.programs["first"].info()
    assert info["type"] == uapi.BPF_PROG_TYPE_XDP
    assert info["name"] == b"first"
    assert features.programs["not_by_itself"].fd is None
    with pytest.raises(BpfError) as caught:
        features.programs["not_by_itself"].test_run(PACKET)
    assert caught.value.errno == errno.EBADF


def test_sizes_of_test_run(features: Object) -> None:
    tail = features.programs["tail"]
    answer = tail.test_run(bytes(range(64)), repeat=3)
    assert (answer.retval, answer.data) == (77, bytes(range(64)))
    assert tail.test_run(PACKET, {"rx_queue_index": 0}).ctx[4:8] == (64).to_bytes(4, "little")
    for wrong, number in (({"data": b"short"}, errno.EINVAL),
                          ({"data": PACKET, "ctx": b"\1" * 400}, errno.E2BIG),
                          ({"data": PACKET, "data_size_out": 10}, errno.ENOSPC)):
        with pytest.raises(BpfError) as caught:
            tail.test_run(**wrong)
        assert caught.value.errno == number
        size = len(wrong["data"])                # type: ignore[arg-type]
        assert f"test run of 'tail' (xdp) on {size} bytes of data: " in str(caught.value)
    for repeat in (-1, 1 << 32):
        with pytest.raises(ValueError, match="repeat is "):
            tail.test_run(PACKET, repeat=repeat)
    with pytest.raises(ValueError, match="no member 'color'"):
        tail.test_run(PACKET, {"color": 1})


def test_legacy_object(build: Build, backend: Any) -> None:
    with Object.open(build("legacy.bpf.c", debug=False, cpu="v1")) as obj:
        obj.data.step = 5
        obj.load(backend)
        obj.programs["count"].test_run(PACKET)
        assert obj.maps["hits"][1] == (5).to_bytes(8, "little")
        assert obj.data.step == (5).to_bytes(4, "little")


def test_close_gives_everything_back(build: Build, backend: Any) -> None:
    obj = Object.open(build("features.bpf.c"))
    table = obj.maps["table"]
    with pytest.raises(BpfError) as caught:
        len(table)
    assert caught.value.errno == errno.EBADF
    obj.load(backend)
    with pytest.raises(BpfError) as caught:
        obj.load(backend)
    assert caught.value.errno == errno.EINVAL
    assert "load can't be attempted twice" in str(caught.value)
    with pytest.raises(BpfError) as caught:
        table.max_entries = 5
    assert caught.value.errno == errno.EBUSY
    obj.close()
    obj.close()
    assert table.fd is None
    assert obj.programs["first"].fd is None
    obj.load(backend)
    obj.close()


def test_nothing_stays_after_a_refusal(backend: Any) -> None:
    obj = Object.open(failing(), name="obj")
    with pytest.raises(BpfError) as caught:
        obj.load(backend)
    assert caught.value.errno == errno.EINVAL
    assert obj.maps["obj.data"].fd is None
    assert obj.backend is None


def failing() -> bytes:
    """An instruction with reserved bits, behind a map."""
    made = smallest()
    made.section(".data", bytes(8), flags=e.SHF_ALLOC | e.SHF_WRITE)
    made.function("bad", made.code("xdp.frags", [MOV._replace(src=1), EXIT]), 0, 16)
    return made.to_bytes()


def test_change_before_loading(build: Build, backend: Any) -> None:
    with Object.open(build("features.bpf.c")) as obj:
        obj.maps["table"].max_entries = 1
        obj.programs["send"].autoload = False
        obj.load(backend)
        assert obj.programs["send"].fd is None
        assert obj.maps["table"].info()["max_entries"] == 1


def test_sources(build: Build, tmp_path: Path) -> None:
    path = build("legacy.bpf.c")
    data = path.read_bytes()
    with path.open("rb") as file:
        assert Object.open(file).name == Object.open(str(path)).name == "legacy"
    assert Object.open(data).name == ""
    assert Object.open(data, name="given").maps["given.data"].max_entries == 1
    with pytest.raises(FileNotFoundError):
        Object.open(tmp_path / "missing.o")


def test_big_endian_object_is_not_loaded(build: Build, backend: Any) -> None:
    with pytest.raises(NotSupported, match="big-endian"):
        Object.open(build("features.bpf.c", arch="bpfeb")).load(backend)


def test_unknown_section_needs_a_type(backend: Any) -> None:
    made = ElfBuilder()
    made.function("prog", made.code("whatever", [MOV, EXIT]), 0, 16)
    obj = Object.open(made.to_bytes())
    with pytest.raises(BpfError, match="missing BPF prog type"):
        obj.load(backend)
    obj.programs["prog"].type = uapi.BPF_PROG_TYPE_SOCKET_FILTER
    with obj.load(backend):
        assert obj.programs["prog"].test_run(PACKET).retval == 0


@pytest.mark.kernel
def test_kernel_config_and_symbols(build: Build, linux: Any) -> None:
    text = 'CONFIG_ON=y\nCONFIG_THREE=m\nCONFIG_TEXT="hi"\nCONFIG_NUMBER=0x40\n'
    with Object.open(build("externs.bpf.c"), kconfig=text) as obj:
        assert obj.kconfig.CONFIG_THREE == 0
        obj.load(linux)
        assert obj.programs["configured"].test_run(PACKET).retval == 0x40
        assert obj.kconfig.CONFIG_TEXT == "hi"
        found = linux.symbol_address("bpf_prog_put") is not None
        assert obj.programs["symbols"].test_run(PACKET).retval == (2 if found else 3)
    missing = "extern 'CONFIG_THREE' \\(strong\\): not resolved"
    with (pytest.raises(BpfError, match=missing) as caught,
          Object.open(build("externs.bpf.c"), kconfig="CONFIG_ON=n\n") as obj):
        obj.load(linux)
    assert caught.value.errno == errno.ESRCH


@pytest.mark.kernel
def test_kernel_functions_and_variables(build: Build, linux: Any) -> None:
    with Object.open(build("kernel.bpf.c")).load(linux) as obj:
        assert obj.programs["guarded"].test_run(PACKET).retval == PASS


def test_program_for_another_program(build: Build, backend: Any) -> None:
    path = build("features.bpf.c")
    extension = Object.open(build("kernel.bpf.c")).programs["replacement"]
    assert extension.spec.attach_target == "replaceable"
    with Object.open(path).load(backend) as target:
        extension.attach_prog_fd = target.programs["first"].fd or 0
        with pytest.raises(BpfError, match="'replaceable': -2") as caught:
            in_program(extension, backend, extension.attach_target)
        assert caught.value.errno == errno.ENOENT
        assert target.btf is not None
        assert in_program(extension, backend, "twice") == (
            target.programs["first"].fd, target.btf.find("twice", uapi.BTF_KIND_FUNC))


def test_kernel_parts_that_a_machine_does_not_offer(build: Build) -> None:
    machine = pytest.importorskip("anybpf.machine").Machine()
    obj = Object.open(build("kernel.bpf.c"))
    with pytest.raises(NotSupported, match="offers no kernel BTF"):
        obj.load(machine)
    assert machine.open_fds == ()


def test_what_is_not_loaded_needs_no_types(build: Build) -> None:
    machine = pytest.importorskip("anybpf.machine").Machine()
    obj = Object.open(build("kernel.bpf.c"))
    obj.programs["guarded"].autoload = False
    with obj.load(machine):
        assert obj.programs["caller"].test_run(PACKET).retval == PASS


def test_a_machine_with_types_resolves_them(build: Build) -> None:
    machine = pytest.importorskip("anybpf.machine").Machine(btf=kernel_like())
    with Object.open(build("kernel.bpf.c")).load(machine) as obj:
        info = obj.programs["guarded"].info()
        assert info["type"] == uapi.BPF_PROG_TYPE_XDP
        calls = [i for i in obj.programs["guarded"].spec.references if i.kind == "kfunc"]
        assert len(calls) == 2


def kernel_like() -> Btf:
    """The types that kernel.bpf.c asks a kernel for."""
    builder = BtfBuilder()
    struct = builder.add(t.Struct("rq", 8, ()))
    builder.add(t.Var("runqueues", struct))
    proto = builder.add(t.FuncProto(0))
    for name in ("bpf_rcu_read_lock", "bpf_rcu_read_unlock"):
        builder.add(t.Func(name, proto))
    return builder.build()


def relaxed_object() -> bytes:
    """A map definition with a member that nobody knows."""
    builder = BtfBuilder()
    number = builder.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))
    members = []
    for i, (name, value) in enumerate((("type", 2), ("key_size", 4), ("value_size", 8),
                                       ("max_entries", 1), ("colour", 5))):
        pointer = builder.add(t.Ptr(builder.add(t.Array(number, number, value))))
        members.append(t.Member(name, pointer, 64 * i))
    var = builder.add(t.Var("m", builder.add(t.Struct("", 40, tuple(members)))))
    builder.add(t.Datasec(".maps", 40, (t.SecVar(var, 0, 40),)))
    made = smallest()
    section = made.section(".maps", bytes(40), flags=e.SHF_ALLOC | e.SHF_WRITE)
    made.symbol("m", section, 0, 40)
    made.section(".BTF", builder.to_bytes(), flags=0)
    return made.to_bytes()


def test_relaxed_maps(backend: Any) -> None:
    with pytest.raises(LoadError, match="unknown field 'colour'"):
        Object.open(relaxed_object())
    with Object.open(relaxed_object(), relaxed_maps=True).load(backend) as obj:
        assert obj.maps["m"].info()["value_size"] == 8


@pytest.mark.kernel
def test_the_log_level_is_an_open_option(linux: Any) -> None:
    with Object.open(smallest().to_bytes(), kernel_log_level=2).load(linux) as obj:
        assert "exit" in obj.programs["prog"].log


def test_pinned_maps_are_reused(build: Build) -> None:
    machine = pytest.importorskip("anybpf.machine").Machine()
    path = build("features.bpf.c")
    with Object.open(path).load(machine, pin_root="/sys/fs/bpf") as first:
        first.maps["pinned"][1] = 2
        number = first.maps["pinned"].info()["id"]
    with Object.open(path).load(machine, pin_root="/sys/fs/bpf") as second:
        assert second.maps["pinned"][1] == 2
        assert second.maps["pinned"].info()["id"] == number
    other = Object.open(path)
    other.maps["pinned"].max_entries = 3
    with pytest.raises(BpfError, match="mismatch \\(max_entries is 1, not 3\\)") as caught:
        other.load(machine, pin_root="/sys/fs/bpf")
    assert caught.value.errno == errno.EINVAL
    with Object.open(path).load(machine) as third:
        assert third.maps["pinned"].info()["id"] != number


@pytest.mark.kernel
def test_the_verifiers_log(linux: Any) -> None:
    made = ElfBuilder()
    made.function("loose", made.code("xdp", [Insn(0xBF, 0, 3), EXIT]), 0, 16)
    with pytest.raises(VerifierError) as caught:
        Object.open(made.to_bytes()).load(linux)
    error = caught.value
    assert (error.errno, error.insn, error.program) == (errno.EACCES, 0, "loose")
    assert "R3 !read_ok" in error.log
    with Object.open(smallest().to_bytes()).load(linux, log_level=2) as obj:
        assert "exit" in obj.programs["prog"].log


@pytest.mark.parametrize(("wanted", "size"), [(1, 4096), (4096, 4096), (4097, 8192),
                                              (5000, 8192), (1 << 31, 1 << 31)])
def test_ring_size(wanted: int, size: int) -> None:
    assert ring_size(wanted) == size


def test_last_insn() -> None:
    assert last_insn("0: (b7) r0 = 0\n1: (95) exit\nR0 bad\n") == 1
    assert last_insn("unknown opcode 06\n") is None
