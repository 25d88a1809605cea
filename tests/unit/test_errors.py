"""Tests of the exceptions: what they say, and what a program can read from them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from anybpf.errors import (
    ENOTSUPP,
    KERNEL_ERRORS,
    BpfError,
    Fault,
    LoadError,
    NotSupported,
    VerifierError,
    error_name,
    error_text,
    reading,
)


def test_an_error_of_the_c_library() -> None:
    error = BpfError(errno.EINVAL)
    assert (error.errno, error.name, error.strerror) == (22, "EINVAL", os.strerror(22))


def test_the_kernels_own_errors_have_names_and_words() -> None:
    error = BpfError(ENOTSUPP)
    assert (error.errno, error.name) == (524, "ENOTSUPP")
    assert str(error) == "[Errno 524] Operation is not supported"
    assert BpfError(517).name == "EPROBE_DEFER"


@pytest.mark.parametrize("number", KERNEL_ERRORS)
def test_the_c_library_has_no_name_for_them(number: int) -> None:
    assert number not in errno.errorcode
    assert error_name(number).startswith("E")
    assert "Unknown" not in error_text(number)


def test_a_number_without_a_name_is_its_own_name() -> None:
    assert BpfError(520).name == "520"
    assert "520" in BpfError(520).strerror


def test_a_message_of_ones_own_is_kept() -> None:
    assert BpfError(ENOTSUPP, "no BTF here").strerror == "no BTF here"


def test_a_rejection_is_short_and_counts_the_rest() -> None:
    log = "\n".join(f"line {i}" for i in range(10)) + "\nprocessed 5 insns\n"
    error = VerifierError(errno.EACCES, log, 3, "filter")
    assert str(error).endswith("filter rejected:\n  line 7\n  line 8\n  line 9\n"
                               "  (7 more lines in .log)")
    assert (error.log, error.insn, error.program) == (log, 3, "filter")


@pytest.mark.parametrize(("section", "offset", "text"), [
    ("", None, "bad"),
    ("xdp", None, "section 'xdp': bad"),
    ("", 16, "offset 0x10: bad"),
    ("xdp", 16, "section 'xdp' offset 0x10: bad"),
])
def test_a_malformed_file_says_where(section: str, offset: int | None, text: str) -> None:
    assert str(LoadError("bad", section, offset)) == text


def test_a_malformed_file_is_named_once() -> None:
    with pytest.raises(LoadError) as caught, reading("outer.o"), reading(Path("inner.o")):
        raise LoadError("bad", "xdp", 16)
    assert str(caught.value) == "inner.o: section 'xdp' offset 0x10: bad"
    assert caught.value.file == "inner.o"


def test_a_fault_names_its_source_line() -> None:
    fault = Fault("invalid read of 1 byte, at instruction 3", 3)
    fault.name_source("drop.bpf.c:7: return *data;")
    assert str(fault) == "invalid read of 1 byte, at instruction 3 (drop.bpf.c:7: return *data;)"
    assert fault.source == "drop.bpf.c:7: return *data;"


def test_what_is_not_supported_says_since_when_the_kernel_has_it() -> None:
    assert str(NotSupported("arenas", "6.9")) == "not supported: arenas (in Linux since 6.9)"
