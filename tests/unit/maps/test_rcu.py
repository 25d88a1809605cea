from __future__ import annotations

import gc
import threading
import weakref

from anybpf import maps, uapi
from anybpf.maps import MapAttr
from anybpf.maps.exercise import exercise
from anybpf.maps.rcu import synchronize


class Thing:
    address, id, prog_type = 0x1000, 1, uapi.BPF_PROG_TYPE_XDP


def test_nothing_is_let_go_while_a_program_runs() -> None:
    array = maps.create(MapAttr(uapi.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1), 2)
    thing = Thing()
    gone = weakref.ref(thing)
    array.update_object(bytes(4), thing)
    del thing
    busy = maps.create(MapAttr(uapi.BPF_MAP_TYPE_HASH, 4, 4, 1), 2)
    runner = threading.Thread(target=exercise, args=(busy, "lookup", bytes(4), 20_000_000))
    runner.start()
    while synchronize() and runner.is_alive():      # until the run has begun
        pass
    array.delete(bytes(4))
    gc.collect()
    kept = gone() is not None or not runner.is_alive()
    runner.join()
    assert kept
    assert gone() is None       # the run let go at its end
