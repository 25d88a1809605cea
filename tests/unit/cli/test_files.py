"""Files that the user names: size limits, endless devices."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from anybpf.cli import cli, files
from anybpf.errors import LoadError

ZERO = Path("/dev/zero")


def test_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "some"
    path.write_bytes(b"abcd")
    assert files.read(path, 4) == b"abcd"
    with pytest.raises(LoadError, match="some: larger than 3 bytes"):
        files.read(path, 3)


@pytest.mark.skipif(not ZERO.is_char_device(), reason="no /dev/zero here")
@pytest.mark.parametrize("words", [["run", "/dev/zero"], ["inspect", "/dev/zero"],
                                   ["asm", "/dev/zero"], ["disasm", "/dev/zero"]])
def test_an_endless_file(words: list[str]) -> None:
    answer = CliRunner().invoke(cli, words)
    assert (answer.exit_code, answer.output) == (
        2, f"Error: /dev/zero: larger than {files.MAX_SIZE} bytes\n")
