"""What handlers of the logger get, whatever a broken file is called."""

from __future__ import annotations

import logging

import pytest

from anybpf.libbpf import log


def test_names_that_are_not_utf8(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "anybpf.libbpf"):
        log.debug("prog '%s': %d", b"a\xff".decode("utf-8", "surrogateescape"), 3)
        log.debug("prog '%s'", "plain")
    assert caplog.messages == ["prog 'a\\udcff': 3", "prog 'plain'"]
