"""Ids and reference counts."""

from __future__ import annotations

import pytest

from anybpf.errors import BpfError, Bug
from anybpf.syscall import ids as module
from anybpf.syscall.ids import Ids, KernelObject


class Thing(KernelObject):
    """Remembers what happened to it."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def unused(self) -> None:
        self.events.append("unused")

    def free(self) -> None:
        self.events.append("free")


def test_ids_go_up_and_are_not_used_again_soon() -> None:
    ids: Ids[Thing] = Ids()
    assert [ids.add(Thing()) for _ in range(3)] == [1, 2, 3]
    ids.remove(3)
    assert ids.add(Thing()) == 4
    assert [ids.after(n) for n in (0, 1, 2)] == [1, 2, 4]


def test_ids_go_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INT_MAX", 5)
    ids: Ids[Thing] = Ids()
    assert [ids.add(Thing()) for _ in range(4)] == [1, 2, 3, 4]
    ids.remove(2)
    assert ids.add(Thing()) == 2
    with pytest.raises(BpfError) as caught:
        ids.add(Thing())
    assert caught.value.name == "ENOSPC"


@pytest.mark.parametrize("look", [lambda ids: ids[1], lambda ids: ids.after(0)])
def test_no_such_id(look: object) -> None:
    with pytest.raises(BpfError) as caught:
        look(Ids())    # type: ignore[operator]
    assert caught.value.name == "ENOENT"


def test_users_go_before_the_object() -> None:
    thing = Thing()
    thing.opened()
    thing.get()
    thing.closed()
    assert thing.events == ["unused"]
    thing.put()
    assert thing.events == ["unused", "free"]
    with pytest.raises(Bug):
        thing.put()
