"""CO-RE beside the real libbpf: the same instructions, the same words (bpftool is the judge)."""

from __future__ import annotations

import contextlib
import logging
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from anybpf import toolchain
from anybpf.btf.kernel import elf_section
from anybpf.errors import BpfError, VerifierError
from anybpf.libbpf import Object
from anybpf.linux import Linux
from conftest import LIBXDP, OBJECTS
from kernel.core_cases import CASES, Case
from kernel.libbpf_loader import Captured, RealLoader, Recorder, masked

pytestmark = pytest.mark.kernel

#: lines of libbpf's log about CO-RE
ABOUT_CORE = re.compile(r"prog '.*': relo #|CO-RE relocating|sec '.*': found \d+ CO-RE")
#: what we say in other words than libbpf, or it does not say at all
OWN_WORDS = re.compile(r".*(failed to patch insn|failed to relocate|error matching candidate"
                       r"|can't be (satisfied|applied)).*")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealLoader:
    reason = Linux.probe()
    if reason:
        pytest.skip(reason)
    return RealLoader(tmp_path_factory.mktemp("real"))


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, logger="anybpf.libbpf"):
        yield caplog


def about_core(text: str) -> list[str]:
    lines = (line.removeprefix("libbpf: ") for line in text.splitlines())
    return [x for x in lines if ABOUT_CORE.match(x) and not OWN_WORDS.match(x)]


def compare(real: RealLoader, path: Path, messages: pytest.LogCaptureFixture,
            btf: Path | None = None) -> Captured:
    """Load both ways; what either tells about CO-RE and gives to the kernel is the same."""
    recorder = Recorder()
    messages.clear()
    with Object.open(path, btf=btf) as obj:
        theirs = real.load(path, list(obj.programs), btf)
        with contextlib.suppress(BpfError):
            obj.load(recorder)
        assert (obj.backend is None) == theirs.failed
    ours = "\n".join(m for m in messages.messages)
    assert about_core(ours) == about_core(theirs.log)
    assert [n for n, _ in recorder.programs] == [n for n, _ in theirs.programs]
    for (name, mine), (_, wanted) in zip(recorder.programs, theirs.programs, strict=True):
        assert masked(mine) == masked(wanted), name
    return theirs


def test_installed_tools(real: RealLoader, embedded_objects: dict[str, bytes], tmp_path: Path,
                         messages: pytest.LogCaptureFixture) -> None:
    programs = 0
    for name, data in embedded_objects.items():
        path = tmp_path / f"{name}.o"
        path.write_bytes(data)
        programs += len(compare(real, path, messages).programs)
    assert programs > 250


def test_libxdp(real: RealLoader, libxdp_objects: list[Path],
                messages: pytest.LogCaptureFixture) -> None:
    for path in libxdp_objects:
        compare(real, path, messages)
    assert LIBXDP / "xdpdump_bpf.o" in libxdp_objects


@pytest.mark.parametrize("cpu", ["v2", "v3", "v4"])
def test_against_the_kernel(real: RealLoader, cpu: str, tmp_path: Path,
                            messages: pytest.LogCaptureFixture) -> None:
    path = compiled(OBJECTS / "core_host.bpf.c", tmp_path / "core_host.bpf.o", cpu)
    theirs = compare(real, path, messages)
    assert len(theirs.programs) == 7
    assert len(about_core(theirs.log)) > 400


@pytest.mark.parametrize("case", CASES, ids=[c.name.replace(" ", "-") for c in CASES])
def test_case(real: RealLoader, case: Case, tmp_path: Path,
              messages: pytest.LogCaptureFixture) -> None:
    program, kernel = tmp_path / "prog.bpf.c", tmp_path / "kernel.c"
    program.write_text(case.program())
    kernel.write_text(case.types())
    types = tmp_path / "kernel.btf"
    types.write_bytes(elf_section(compiled(kernel, tmp_path / "kernel.o").read_bytes()))
    path = compiled(program, tmp_path / "prog.bpf.o")
    theirs = compare(real, path, messages, types)
    assert about_core(theirs.log), theirs.log


def test_log_of_a_program_that_reaches_what_is_missing(real: RealLoader, tmp_path: Path) -> None:
    source = tmp_path / "prog.bpf.c"
    source.write_text(Case("", "struct task_struct { int a, b[4]; } CORE; enum pid_type { X = 3 };",
                           "", "if (ctx[0] == 1) put(enum_value(enum pid_type, X));"
                           "put(field_info(((struct task_struct *)ctx)->b[2], SIZE));").program())
    path = compiled(source, tmp_path / "prog.bpf.o")
    theirs = real.load(path, ()).log
    log = theirs.partition("-- BEGIN PROG LOAD LOG --\n")[2].partition("-- END PROG LOAD LOG --")[0]
    with pytest.raises(VerifierError) as refused:
        Object.open(path).load(Linux(), log_level=7)              # as bpftool -d does
    assert without_numbers(refused.value.log) == without_numbers(log)
    assert "<invalid CO-RE relocation>\nfailed to resolve CO-RE relocation <" in log
    assert "failed to resolve CO-RE relocation" in str(refused.value)


def without_numbers(log: str) -> str:
    log = re.sub(r"(0x)?ffff[0-9a-f]{12}", "ADDRESS", log)
    return re.sub(r"^(processed|verification time) .*$", "", log, flags=re.M).strip()


def compiled(source: Path, target: Path, cpu: str = "v3") -> Path:
    compiler = toolchain.find_compiler()
    if compiler is None or compiler.name == "ziglang":
        pytest.skip("no clang installed")
    try:
        return toolchain.compile_file(source, target, cpu=cpu, compiler=compiler,
                                      options=["-Wno-everything", f"-I{OBJECTS}"])
    except subprocess.TimeoutExpired:
        pytest.skip("the compiler takes too long")
