"""CO-RE records that need no target: local ids, and structs of the user ABI."""

from __future__ import annotations

import pytest

from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.ext import CoreRelo
from anybpf.errors import LoadError
from anybpf.libbpf.core_local import (
    FIELD_BYTE_OFFSET,
    FIELD_EXISTS,
    TYPE_EXISTS,
    TYPE_ID_LOCAL,
    TYPE_SIZE,
    is_settled,
)

BUILDER = BtfBuilder()
U32 = BUILDER.add(t.Int("u32", 4))
POINTER = BUILDER.add(t.Ptr(0))
MEMBERS = (t.Member("data", U32, 0), t.Member("data_end", U32, 32))
MD = BUILDER.add(t.Struct("xdp_md___v1", 8, MEMBERS))
MOVED = BUILDER.add(t.Struct("xdp_md", 24, (t.Member("data", U32, 32),)))
BITS = BUILDER.add(t.Struct("__sk_buff", 192, (t.Member("len", U32, 0, 4),), kind_flag=True))
UNION = BUILDER.add(t.Union("", 8, (t.Member("flow_keys", POINTER, 0),)))
SKB = BUILDER.add(t.Struct("__sk_buff", 192, (t.Member("", UNION, 144 * 8),)))
TASK = BUILDER.add(t.Struct("task_struct", 8, (t.Member("pid", U32, 0),)))
ACCESS = {text: BUILDER.string(text)
          for text in ("0", "0:0", "0:1", "0:5", "0:0:0", "0:0:7", "x:0", "1:0")}
BTF = BUILDER.build()


@pytest.mark.parametrize(("type_id", "kind", "access", "settled"), [
    (MD, FIELD_BYTE_OFFSET, "0:0", True), (MD, FIELD_BYTE_OFFSET, "0:1", True),
    (MD, FIELD_EXISTS, "0:1", True), (MD, FIELD_BYTE_OFFSET, "0:5", False),
    (MD, FIELD_BYTE_OFFSET, "x:0", False), (MD, FIELD_BYTE_OFFSET, "1:0", False),
    (MD, FIELD_BYTE_OFFSET, "0", False), (MOVED, FIELD_BYTE_OFFSET, "0:0", False),
    (BITS, FIELD_BYTE_OFFSET, "0:0", False), (SKB, FIELD_BYTE_OFFSET, "0:0:0", True),
    (TASK, FIELD_BYTE_OFFSET, "0:0", False), (TASK, TYPE_ID_LOCAL, "0", True),
    (MD, TYPE_SIZE, "0", False), (MOVED, TYPE_SIZE, "0", True), (MD, TYPE_EXISTS, "0", True),
    (TASK, TYPE_EXISTS, "0", False), (MD, 11, "0", False),
])
def test_settled(type_id: int, kind: int, access: str, settled: bool) -> None:
    assert is_settled(BTF, CoreRelo(0, type_id, ACCESS[access], kind)) is settled


def test_access_outside_of_a_union() -> None:
    with pytest.raises(LoadError):
        is_settled(BTF, CoreRelo(0, SKB, ACCESS["0:0:7"], FIELD_BYTE_OFFSET))
