"""Map operations as programs call them: nanoseconds each, and how many Python dict operations fit.

Run:  python bench/maps.py
"""

from __future__ import annotations

import time

from anybpf import maps, uapi
from anybpf.maps import Map, MapAttr, type_name
from anybpf.maps.exercise import exercise

ENTRIES = 4096
OPERATIONS = 2_000_000
TYPES = (uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_ARRAY, uapi.BPF_MAP_TYPE_HASH,
         uapi.BPF_MAP_TYPE_PERCPU_HASH, uapi.BPF_MAP_TYPE_LRU_HASH, uapi.BPF_MAP_TYPE_LPM_TRIE)


def make(map_type: int) -> tuple[Map, bytes]:
    """A map with half of its elements, and their keys."""
    trie = map_type == uapi.BPF_MAP_TYPE_LPM_TRIE
    attr = MapAttr(map_type, 8 if trie else 4, 8, ENTRIES, uapi.BPF_F_NO_PREALLOC if trie else 0)
    numbers = [(i * 2654435761 % 2**32 if trie else i).to_bytes(4, "little")
               for i in range(ENTRIES // 2)]
    keys = b"".join((b" \0\0\0" if trie else b"") + n for n in numbers)
    m = maps.create(attr, 4, seed=1)
    exercise(m, "update", keys, 1)
    return m, keys


def nanoseconds(m: Map, keys: bytes, operation: str) -> float:
    """The best of three runs."""
    steps = len(keys) // m.key_size
    rounds = max(1, OPERATIONS // steps)
    return min(exercise(m, operation, keys, rounds)[0] for _ in range(3)) / (rounds * steps) * 1e9


def dict_lookup() -> float:
    """The yardstick: one lookup in a dict with as many bytes keys, in a Python loop."""
    keys = [i.to_bytes(4, "little") for i in range(ENTRIES // 2)]
    table = dict.fromkeys(keys, 0)
    start = time.perf_counter()
    for _ in range(100):
        for key in keys:
            table[key]
    return (time.perf_counter() - start) / (100 * len(keys)) * 1e9


def main() -> None:
    yardstick = dict_lookup()
    print(f"{'dict lookup':24}{yardstick:8.1f} ns")
    for map_type in TYPES:
        m, keys = make(map_type)
        for operation in ("lookup", "update"):
            ns = nanoseconds(m, keys, operation)
            print(f"{type_name(map_type) + ' ' + operation:24}{ns:8.1f} ns"
                  f"   {yardstick / ns:5.1f} x dict lookup")


if __name__ == "__main__":
    main()
