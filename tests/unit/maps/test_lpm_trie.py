from __future__ import annotations

import errno
from collections.abc import Callable

from anybpf import maps, uapi
from anybpf.maps import MapAttr
from anybpf.maps.exercise import exercise

ErrnoOf = Callable[[Callable[[], object]], int]


def net(text: str) -> bytes:
    """"10.0.0.0/8" as a key."""
    address, _, length = text.partition("/")
    return int(length or 32).to_bytes(4, "little") + bytes(map(int, address.split(".")))


def table(*nets: str, entries: int = 16) -> maps.Map:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_LPM_TRIE, 8, 4, entries, uapi.BPF_F_NO_PREALLOC), 2)
    for number, text in enumerate(nets):
        m.update(net(text), number.to_bytes(4, "little"))
    return m


def test_longest_prefix_wins() -> None:
    m = table("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32")
    for address, number in (("10.1.2.3", 3), ("10.1.2.4", 2), ("10.2.0.0", 1), ("11.0.0.0", 0)):
        assert m.lookup(net(address))[0] == number


def test_deleting_a_branch_point_keeps_its_children() -> None:
    m = table("192.168.0.0/16", "192.168.0.0/24", "192.168.128.0/24")
    m.delete(net("192.168.0.0/16"))
    assert m.lookup(net("192.168.0.1"))[0] == 1
    assert m.lookup(net("192.168.128.1"))[0] == 2
    assert len(list(m.keys())) == 2


def test_walk_is_most_specific_first() -> None:
    m = table("0.0.0.0/0", "128.0.0.0/1", "64.0.0.0/2", "64.0.0.0/32")
    assert [k[0] for k in m.keys()] == [32, 2, 1, 0]     # noqa: SIM118 - a Map is no dict


def test_full_and_replace(errno_of: ErrnoOf) -> None:
    m = table("1.0.0.0/8", "2.0.0.0/8", entries=2)
    assert errno_of(lambda: m.update(net("3.0.0.0/8"), bytes(4))) == errno.ENOSPC
    m.update(net("1.0.0.0/8"), b"\7\0\0\0", uapi.BPF_EXIST)
    assert m.lookup(net("1.2.3.4"))[0] == 7


def test_nodes_are_used_again() -> None:
    m = table(entries=3)
    for i in range(200):
        for text in (f"{i}.0.0.0/8", f"{i}.128.0.0/9", f"{i}.1.0.0/16"):
            m.update(net(text), bytes(4))
        for text in (f"{i}.0.0.0/8", f"{i}.128.0.0/9", f"{i}.1.0.0/16"):
            m.delete(net(text))
    assert list(m.keys()) == []


def test_programs_look_up() -> None:
    m = table("10.0.0.0/8")
    assert exercise(m, "lookup", net("10.9.9.9"), 1)[1] == 0
    assert exercise(m, "lookup", net("11.9.9.9"), 1)[1] == 1
