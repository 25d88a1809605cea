"""Functions and rows: one function per row, same name."""

from __future__ import annotations

from importlib import import_module

from anybpf import helpers, uapi
from anybpf.proto.helpers import BY_ID


def test_every_function_has_its_row() -> None:
    found = helpers.named_addresses()
    assert {BY_ID[getattr(uapi, f"BPF_FUNC_{name}")].name for name in found} == set(found)


def test_no_name_is_in_two_families() -> None:
    names = [name for family in helpers.FAMILIES
             for name in import_module(f"anybpf.helpers.{family}").addresses()]
    assert len(names) == len(set(names))


def test_addresses_are_by_id() -> None:
    addresses = helpers.addresses()
    assert addresses[uapi.BPF_FUNC_map_lookup_elem] > 0
    assert set(addresses) <= set(BY_ID)
    assert uapi.BPF_FUNC_tail_call not in addresses  # the engine's own
