"""The same calls on our maps and on the running kernel's: same answers, order and error numbers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from answers import Refused, errno_of, outcome
from anybpf import maps, uapi
from anybpf.maps import Map, MapAttr, type_name
from kernel.kernel_maps import KernelMap, possible_cpus

# LRU maps have lists per CPU
pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("one_cpu")]

ZERO_SEED = uapi.BPF_F_ZERO_SEED
KEYLESS = (uapi.BPF_MAP_TYPE_QUEUE, uapi.BPF_MAP_TYPE_STACK, uapi.BPF_MAP_TYPE_BLOOM_FILTER,
           uapi.BPF_MAP_TYPE_RINGBUF)
SUPPORTED = [t for _, t in uapi.BPF_MAP_TYPE if maps.is_supported(t)]
OF_MAPS = (uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, uapi.BPF_MAP_TYPE_HASH_OF_MAPS)
TRIE = uapi.BPF_MAP_TYPE_LPM_TRIE


def pair(attr: MapAttr) -> tuple[KernelMap, Map]:
    return KernelMap(attr), maps.create(attr, possible_cpus())


def same_errno(attr: MapAttr) -> None:
    kernel = errno_of(lambda: KernelMap(attr))
    assert errno_of(lambda: maps.create(attr, possible_cpus())) == kernel, attr


KEY_SIZES = (0, 4, 8, 1 << 22)
VALUE_SIZES = (0, 4, 32769, (1 << 22) - 56, 1 << 31)
TOKEN = uapi.BPF_F_TOKEN_FD     # asks for a descriptor, which is the syscall layer's matter
FLAGS = (0, *(1 << i for i in range(20) if 1 << i != TOKEN), 8 | 16, 128 | 256, 1 | 64, 2 | 4)


@pytest.mark.parametrize("map_type", [t for t in SUPPORTED if t not in OF_MAPS], ids=type_name)
def test_create(map_type: int) -> None:
    sizes = itertools.product(KEY_SIZES, VALUE_SIZES, (0, 3))
    for (key, value, entries), flags in itertools.product(sizes, FLAGS):
        same_errno(MapAttr(map_type, key, value, entries, flags))


EDGES = [
    *(MapAttr(27, 0, 0, n) for n in (1, 4095, 4096, 8192, 12288, 1 << 20)),
    *(MapAttr(30, 0, 4, 10, map_extra=n) for n in (1, 5, 15, 16, 255, 1 << 40)),
    *(MapAttr(1, 4, 4, 10, map_extra=n) for n in (1, 1 << 40)),
    *(MapAttr(2, 4, 4, 1, 4, numa_node=n) for n in (0, 1, 5, uapi.U32)),
    *(MapAttr(TRIE, 8, n, 1, 1) for n in (4194023, 4194024, 4194025)),
    *(MapAttr(TRIE, n, 4, 1, 1) for n in (4, 5, 260, 261)),
    *(MapAttr(t, 0, n, 1) for t in (22, 23, 30) for n in (1 << 22, (1 << 22) + 1)),
    *(MapAttr(1, 4, 4, n, 1) for n in ((1 << 31) + 1, uapi.U32)),
]


@pytest.mark.parametrize("attr", EDGES, ids=lambda a: "-".join(map(str, (*a[:5], a.map_extra))))
def test_create_edges(attr: MapAttr) -> None:
    same_errno(attr)


# -- one operation of each kind, before and after freezing

CALLS: dict[str, Callable[[Any, bytes, bytes], Any]] = {
    "lookup": lambda m, k, v: m.lookup(k),
    "lookup flags": lambda m, k, v: m.lookup(k, 8),
    "lookup lock": lambda m, k, v: m.lookup(k, uapi.BPF_F_LOCK),
    "delete": lambda m, k, v: m.delete(k),
    "first key": lambda m, k, v: m.next_key(),
    "next key": lambda m, k, v: m.next_key(k),
    "pop": lambda m, k, v: m.lookup_and_delete(k),
    "pop flags": lambda m, k, v: m.lookup_and_delete(k, 1),
    "pop lock": lambda m, k, v: m.lookup_and_delete(k, uapi.BPF_F_LOCK),
    "lookup batch": lambda m, k, v: m.lookup_batch(None, 2)[:2],
    "lookup and delete batch": lambda m, k, v: m.lookup_and_delete_batch(None, 2)[:2],
    "update batch": lambda m, k, v: m.update_batch(k * 2, v * 2, 2)[:2],
    "delete batch": lambda m, k, v: m.delete_batch(k * 2, 2)[:2],
    "freeze": lambda m, k, v: m.freeze(),
    "freeze again": lambda m, k, v: m.freeze(),
    "update frozen": lambda m, k, v: m.update(k, v),
    "delete frozen": lambda m, k, v: m.delete(k),
    "pop frozen": lambda m, k, v: m.lookup_and_delete(k),
    "update batch frozen": lambda m, k, v: m.update_batch(k, v, 1)[:2],
    "delete batch frozen": lambda m, k, v: m.delete_batch(k, 1)[:2],
    "lookup frozen": lambda m, k, v: m.lookup_batch(None, 1)[:2],
}


@pytest.mark.parametrize("map_type", [t for t in SUPPORTED
                                      if t not in (*OF_MAPS, uapi.BPF_MAP_TYPE_BLOOM_FILTER)],
                         ids=type_name)
def test_each_operation(map_type: int) -> None:
    key_size = 0 if map_type in KEYLESS else 8 if map_type == TRIE else 4
    value_size = 0 if map_type == uapi.BPF_MAP_TYPE_RINGBUF else 4
    attr = MapAttr(map_type, key_size, value_size, 4096, int(map_type == TRIE))
    kernel, ours = pair(attr)
    key, value = bytes(key_size), bytes(ours.user_value_size)
    for name, call in CALLS.items():
        assert outcome(call, ours, key, value) == outcome(call, kernel, key, value), name


def test_bloom_filter() -> None:
    kernel, ours = pair(MapAttr(uapi.BPF_MAP_TYPE_BLOOM_FILTER, 0, 4, 30, ZERO_SEED, map_extra=3))
    for n in range(30):
        value = (n * n).to_bytes(4, "little")
        assert outcome(ours.update, b"", value, n % 3) == outcome(kernel.update, b"", value, n % 3)
    answers = [outcome(ours.lookup, b"", 0, n.to_bytes(4, "little")) for n in range(1000)]
    assert answers == [outcome(kernel.lookup, b"", 0, n.to_bytes(4, "little"))
                       for n in range(1000)]
    assert 0 < sum(isinstance(x, bytes) for x in answers) < 300


# -- long random sequences

def contents(m: Any, attr: MapAttr) -> list[Any]:
    """Keys in the map's own order, with their values."""
    found: list[Any] = []
    key = outcome(m.next_key) if attr.key_size else Refused(0)
    while isinstance(key, bytes) and len(found) < 2000:
        found.append((key, outcome(m.lookup, key)))
        key = outcome(m.next_key, key)
    return [*found, key]


def batch(result: Any, attr: MapAttr) -> Any:
    """A batch's answer without the padding after a position."""
    if not isinstance(result, maps.Batch):
        return result
    size = attr.key_size if attr.map_type in (2, 6, TRIE) else 4
    return result[:4] + ((result.next[:size],) if result.count else ())


class Steps:
    """Random calls, made on both maps alike."""

    def __init__(self, attr: MapAttr, rng: random.Random, pool: list[bytes], size: int) -> None:
        self.attr, self.rng, self.pool, self.size = attr, rng, pool, size

    def key(self) -> bytes:
        return self.rng.choice(self.pool)

    def update(self) -> Callable[[Any], Any]:
        key, value, flags = self.key(), self.rng.randbytes(self.size), self.flags()
        return lambda m: m.update(key, value, flags)

    def flags(self) -> int:
        return self.rng.choice([0, 0, 0, 0, 1, 2, 3, 4, 8, 1 << 40])

    def lookup(self) -> Callable[[Any], Any]:
        key = self.key()
        return lambda m: m.lookup(key)

    def delete(self) -> Callable[[Any], Any]:
        key = self.key()
        return lambda m: m.delete(key)

    def pop(self) -> Callable[[Any], Any]:
        key, flags = self.key(), self.flags()
        return lambda m: m.lookup_and_delete(key, flags)

    def walk(self) -> Callable[[Any], Any]:
        return lambda m: contents(m, self.attr)

    def start(self) -> bytes | None:
        if self.attr.map_type in (2, 6, TRIE):
            return self.rng.choice([None, self.key()])
        return self.rng.choice([None, None, self.rng.randrange(40).to_bytes(4, "little")])

    def lookup_batch(self) -> Callable[[Any], Any]:
        name = self.rng.choice(["lookup_batch", "lookup_and_delete_batch"])
        args = (self.start(), self.rng.choice([0, 1, 3, 1000]), self.rng.choice([0, 0, 0, 1, 4]),
                self.rng.choice([0, 0, 0, 1]))
        return lambda m: batch(getattr(m, name)(*args), self.attr)

    def update_batch(self) -> Callable[[Any], Any]:
        n, flags = self.rng.choice([0, 1, 4]), self.rng.choice([0, 0, 0, 1, 4])
        keys = b"".join(self.key() for _ in range(n))
        values = self.rng.randbytes(self.size * n)
        return lambda m: m.update_batch(keys, values, n, flags)

    def delete_batch(self) -> Callable[[Any], Any]:
        n, flags = self.rng.choice([0, 1, 4]), self.rng.choice([0, 0, 0, 1, 4])
        keys = b"".join(self.key() for _ in range(n))
        return lambda m: m.delete_batch(keys, n, flags)

    def any(self) -> tuple[str, Callable[[Any], Any]]:
        name = self.rng.choice(["update"] * 6 + ["lookup", "delete", "pop", "walk", "lookup_batch",
                                                 "update_batch", "delete_batch"])
        return name, getattr(self, name)()


def trie_keys(rng: random.Random, key_size: int, n: int) -> list[bytes]:
    bits = 8 * (key_size - 4)
    lengths = [rng.choice([0, 1, 7, 8, bits, bits + 1, rng.randrange(bits)]) for _ in range(n)]
    return [x.to_bytes(4, "little") + bytes(rng.choices([0, 1, 128, 192, 255], k=key_size - 4))
            for x in lengths]


FLAG_CHOICES = {
    uapi.BPF_MAP_TYPE_HASH: (ZERO_SEED, ZERO_SEED | uapi.BPF_F_NO_PREALLOC),
    uapi.BPF_MAP_TYPE_PERCPU_HASH: (ZERO_SEED, ZERO_SEED | uapi.BPF_F_NO_PREALLOC),
    uapi.BPF_MAP_TYPE_LRU_HASH: (ZERO_SEED, ZERO_SEED | uapi.BPF_F_NO_COMMON_LRU),
    uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH: (ZERO_SEED, ZERO_SEED | uapi.BPF_F_NO_COMMON_LRU),
    TRIE: (uapi.BPF_F_NO_PREALLOC,),
}
KEY_CHOICES = {uapi.BPF_MAP_TYPE_ARRAY: (4,), uapi.BPF_MAP_TYPE_PERCPU_ARRAY: (4,),
               uapi.BPF_MAP_TYPE_QUEUE: (0,), uapi.BPF_MAP_TYPE_STACK: (0,), TRIE: (5, 6, 8, 20)}


def random_map(map_type: int, rng: random.Random) -> tuple[MapAttr, list[bytes]]:
    key_size = rng.choice(KEY_CHOICES.get(map_type, (1, 3, 4, 8, 12, 13, 16, 21)))
    entries = rng.choice([1, 2, 3, 4, 5, 8, 16, 33, 64, 400])
    attr = MapAttr(map_type, key_size, rng.choice([1, 4, 7, 8, 12, 20]), entries,
                   rng.choice(FLAG_CHOICES.get(map_type, (0,))))
    n = rng.choice([entries, entries * 2, entries + 2])
    if map_type == TRIE:
        return attr, trie_keys(rng, key_size, n)
    return attr, [(i % 256 ** key_size).to_bytes(key_size, "little") for i in range(n)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("map_type", sorted({*KEY_CHOICES, *FLAG_CHOICES}),
                         ids=type_name)
def test_random_sequences(map_type: int, seed: int) -> None:
    rng = random.Random(seed * 100 + map_type)
    attr, pool = random_map(map_type, rng)
    kernel, ours = pair(attr)
    assert kernel.user_value_size == ours.user_value_size
    steps = Steps(attr, rng, pool, ours.user_value_size)
    for i in range(200):
        name, call = steps.any()
        assert outcome(call, ours) == outcome(call, kernel), (attr, i, name)
    assert contents(ours, attr) == contents(kernel, attr)


# -- maps of maps

INNER = [MapAttr(1, 4, 4, 4), MapAttr(2, 4, 4, 4), MapAttr(2, 4, 4, 5), MapAttr(2, 4, 4, 4, 4096),
         MapAttr(2, 4, 4, 9, 4096), MapAttr(3, 4, 4, 2), MapAttr(4, 4, 4, 2), MapAttr(5, 4, 4, 4),
         MapAttr(6, 4, 4, 4), MapAttr(6, 4, 4, 5), MapAttr(8, 4, 4, 1), MapAttr(9, 4, 4, 8),
         MapAttr(11, 8, 4, 4, 1), MapAttr(22, 0, 4, 4), MapAttr(27, 0, 0, 8192),
         MapAttr(30, 0, 4, 4), MapAttr(30, 0, 4, 4, map_extra=3), MapAttr(1, 4, 8, 4)]


@pytest.mark.parametrize("outer", OF_MAPS, ids=type_name)
def test_inner_maps(outer: int) -> None:
    inner = [pair(a) for a in INNER]
    for template, mine in inner:
        attr = MapAttr(outer, 4, 4, 3, inner=mine)
        kernel = outcome(KernelMap, attr, template.fd)
        ours = outcome(maps.create, attr, possible_cpus())
        if isinstance(kernel, tuple) or isinstance(ours, tuple):
            assert ours == kernel, mine
            continue
        for (other, mine_too), key, flags in itertools.product(inner, (b"\0" * 4, b"\5\0\0\0"),
                                                               (0, 1, 2, 3, 4)):
            got = outcome(ours.update_object, key, mine_too, flags)
            fd = other.fd.to_bytes(4, "little")
            assert got == outcome(kernel.update, key, fd, flags), (mine, mine_too, key, flags)
