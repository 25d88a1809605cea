"""The section of __kconfig variables: where they lie, and how large it may claim to be."""

from __future__ import annotations

import pytest

from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.libbpf.externs import KCONFIG, kconfig_section
from anybpf.libbpf.spec import MAX_DATA_SIZE, ExternSpec


def variable(name: str, offset: int) -> ExternSpec:
    return ExternSpec(name, KCONFIG, False, False, 1, 1, offset, 4)


@pytest.fixture
def btf() -> Btf:
    return BtfBuilder().build()


def test_variables_in_order_of_their_place(btf: Btf) -> None:
    section = kconfig_section({"B": variable("B", 8), "A": variable("A", 0)}, btf)
    assert section is not None
    assert (list(section.variables), section.size) == (["A", "B"], 12)


def test_none_without_variables(btf: Btf) -> None:
    assert kconfig_section({}, btf) is None


def test_a_section_of_a_gigabyte_is_refused(btf: Btf) -> None:
    with pytest.raises(LoadError, match="bytes of variables are too many") as error:
        kconfig_section({"A": variable("A", MAX_DATA_SIZE)}, btf)
    assert error.value.section == KCONFIG
