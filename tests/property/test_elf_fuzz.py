"""Broken object files: one LoadError, never a traceback, a hang or a mountain of memory."""

from __future__ import annotations

import logging
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anybpf.errors import LoadError
from anybpf.libbpf import read_object
from anybpf.libbpf.spec import MAX_DATA_SIZE
from conftest import Build
from objects.elfbuild import smallest

#: a hang, not a slow machine
SECONDS = 20.0
SOURCES = ["features.bpf.c", "externs.bpf.c", "legacy.bpf.c", "ops.bpf.c", "arena.bpf.c",
           "tags.bpf.c", "words.bpf.c"]
INTERESTING = (0, 1, 4, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def survives(data: bytes) -> bool:
    """Reading gives a spec (True), or a LoadError in time (False). All programs are linked."""
    began = time.monotonic()
    try:
        spec = read_object(data, "fuzz")
        for program in spec.programs.values():
            _ = program.linked
        for section in spec.data_sections:
            assert section.size < MAX_DATA_SIZE
    except LoadError:
        return False
    finally:
        assert time.monotonic() - began < SECONDS
    return True


@pytest.fixture(autouse=True)
def someone_listens() -> Iterator[None]:
    """What is told of a file must stand broken files too."""
    logger = logging.getLogger("anybpf.libbpf")
    before, logger.propagate = logger.level, False
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(before)
    logger.propagate = True


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(data: bytes) -> None:
    assert not survives(data)
    assert not survives(b"\x7fELF\x02\x01\x01" + data)


@given(st.integers(0, 10**6), st.integers(0, 255))
@settings(max_examples=200, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_byte_of_a_small_object(at: int, value: int) -> None:
    raw = bytearray(smallest().to_bytes())
    raw[at % len(raw)] = value
    survives(bytes(raw))


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A copy with a few words replaced, most of them in the headers and tables."""
    raw = bytearray(data)
    headers = int.from_bytes(data[40:48], "little" if data[5] == 1 else "big")
    for _ in range(chance.randint(1, 4)):
        start, end = chance.choice([(0, 64), (headers, len(raw)), (64, headers), (64, headers)])
        at = chance.randrange(start, end - 4)
        word = chance.choice([*INTERESTING, chance.getrandbits(32), chance.getrandbits(8)])
        layout = chance.choice(["<I", ">I", "<B"])
        struct.pack_into(layout, raw, at, word & 0xFF if layout == "<B" else word)
    if chance.random() < 0.1:
        del raw[chance.randrange(len(raw)):]
    return bytes(raw)


@pytest.mark.parametrize("arch", ["bpfel", "bpfeb"])
@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=120, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_compiled_object(build: Build, arch: str, seed: int) -> None:
    chance = random.Random(seed)
    source = chance.choice(SOURCES)
    survives(mutated(build(source, arch=arch).read_bytes(), chance))


@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=120, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_installed_object(libxdp_objects: list[Path], lirc_objects: list[Path],
                                  seed: int) -> None:
    chance = random.Random(seed)
    path = chance.choice([*libxdp_objects, *lirc_objects])
    survives(mutated(path.read_bytes(), chance))


def test_every_cut_of_a_real_object(build: Build) -> None:
    data = build("legacy.bpf.c").read_bytes()
    for size in range(0, len(data), 97):
        assert not survives(data[:size])
    assert survives(data)
