"""Object names and licences."""

from __future__ import annotations

import pytest

from anybpf.errors import BpfError
from anybpf.syscall.names import is_gpl_compatible, object_name


@pytest.mark.parametrize("name", ["", "a", "A_9.z", "x" * 15, "\xff\xc0"])
def test_good_names(name: str) -> None:
    assert object_name(name.encode("latin-1").ljust(16, b"\0")) == name


@pytest.mark.parametrize("field", [b"x" * 16, b"a b\0", b"a-b\0", b"\x80\0", b"\xd7\0", b"\xf7\0",
                                   b"\xaa\0", b"\n\0"])
def test_bad_names(field: bytes) -> None:
    with pytest.raises(BpfError) as caught:
        object_name(field)
    assert caught.value.name == "EINVAL"


def test_what_follows_the_nul_does_not_count() -> None:
    assert object_name(b"ab\0-$%") == "ab"


def test_licences() -> None:
    assert is_gpl_compatible(b"Dual BSD/GPL")
    assert not is_gpl_compatible(b"GPL v3")
    assert not is_gpl_compatible(b"gpl")
