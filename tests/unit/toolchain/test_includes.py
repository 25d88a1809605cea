"""Following includes and collecting names."""

from __future__ import annotations

import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf.toolchain.includes import names_in, reached


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("_", ".")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return folder


def names(paths: list[Path]) -> list[str]:
    return [p.name for p in paths]


def test_reached(tmp_path: Path) -> None:
    write(tmp_path / "here", x_c='#include "a.h"\n  #  include <b.h>\n#include "gone.h"\n',
          a_h='#include "c.h"\n')
    write(tmp_path / "there", b_h='#include "b2.h"\n', b2_h="", c_h='#include "c.h"\n')
    found = reached(tmp_path / "here" / "x.c", [tmp_path / "there"])
    assert names(found.files) == ["x.c", "a.h", "b.h", "c.h", "b2.h"]
    assert found.missing == {"gone.h"}


def test_angles_do_not_look_beside_the_source(tmp_path: Path) -> None:
    write(tmp_path, x_c="#include <a.h>\n", a_h="")
    assert reached(tmp_path / "x.c", []).missing == {"a.h"}


def test_no_includes_in_odd_places(tmp_path: Path) -> None:
    write(tmp_path, x_c='char *s = "#include <no.h>";\n#include_next <no.h>\nint include;\n')
    assert reached(tmp_path / "x.c", []) == ([tmp_path / "x.c"], set())


def test_circles_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path, x_c='#include "y.c"\n', y_c='#include "x.c"\n')
    (tmp_path / "y.c").write_bytes(b'\xff\xfe#include\n#include "x.c"\n')
    assert names(reached(tmp_path / "x.c", []).files) == ["x.c", "y.c"]


def test_names() -> None:
    found = names_in('#include <linux/bpf.h>\n/* struct no */ // union no\n'
                     'struct one { enum two *t; }; char *s = "struct no \\" no"; u32 three;')
    assert found.tags == {"one", "two"}
    assert found.words == {"struct", "one", "enum", "two", "t", "char", "s", "u32", "three"}


def test_what_does_not_end_takes_the_rest() -> None:
    for text in ("a /* b ", 'a "b ', "a // b "):
        assert names_in(text).words == {"a"}


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='/*"\\\n a#', max_size=40))
def test_any_text(text: str) -> None:
    assert names_in(text).words <= {"a", "aa"} | {"a" * n for n in range(41)}


def test_many_openings_are_read_once() -> None:
    began = time.monotonic()
    for piece in ("/*", '"\\', '\\"', "/", '"', "#include "):
        names_in(piece * 100_000)
    assert time.monotonic() - began < 5
