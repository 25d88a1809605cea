"""Functions that catch exceptions are put behind their program."""

from __future__ import annotations

import pytest

from anybpf.errors import LoadError
from anybpf.libbpf import Object
from conftest import Build


def test_the_function_is_behind_the_program(build: Build) -> None:
    spec = Object.open(build("catches.bpf.c")).spec.programs
    assert list(spec["throws"].linked.functions.values()) == ["throws", "caught"]
    assert list(spec["plain"].linked.functions.values()) == ["plain"]
    assert len(spec["throws"].linked.func_info.rows) == 2


def test_one_that_is_not_there(build: Build) -> None:
    spec = Object.open(build("catches.bpf.c")).spec.programs["not_there"]
    with pytest.raises(LoadError, match="cannot find exception callback 'nowhere'"):
        _ = spec.linked


@pytest.mark.kernel
def test_the_kernel_takes_it(build: Build, linux: object) -> None:
    obj = Object.open(build("catches.bpf.c"))
    obj.programs["not_there"].autoload = False
    with obj.load(linux):
        assert obj.programs["throws"].fd is not None
