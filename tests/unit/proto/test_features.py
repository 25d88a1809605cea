"""Since when something exists."""

from __future__ import annotations

import pytest

from anybpf.proto import features


@pytest.mark.parametrize(("text", "pair"), [
    ("6.18", (6, 18)), ("4.9", (4, 9)), ("5.10.0-22-amd64", (5, 10)), ("6.1-rc3", (6, 1)),
    ("7", (7, 0))])
def test_version(text: str, pair: tuple[int, int]) -> None:
    assert features.version(text) == pair


@pytest.mark.parametrize("text", ["", "x", "6.x"])
def test_no_version(text: str) -> None:
    with pytest.raises(ValueError):
        features.version(text)


@pytest.mark.parametrize(("name", "since"), [
    ("BPF_MAP_TYPE_RINGBUF", "5.8"), ("BPF_FUNC_loop", "5.17"), ("BPF_PROG_TYPE_XDP", "4.8"),
    ("BPF_LINK_CREATE", "5.7"), ("BPF_LINK_TYPE_TCX", "6.6"), ("BPF_F_SLEEPABLE", "5.10"),
    ("BPF_XDP_DEVMAP", "5.8"), ("BPF_NO_SUCH_THING", None)])
def test_since(name: str, since: str | None) -> None:
    assert features.since(name) == since


def test_available() -> None:
    assert features.available("BPF_FUNC_loop", "5.17")
    assert not features.available("BPF_FUNC_loop", "5.9")
    with pytest.raises(KeyError):
        features.available("BPF_NO_SUCH_THING", "6.18")
