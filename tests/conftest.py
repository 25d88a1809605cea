"""What every test may ask for: backends, a BPF compiler, objects that other people wrote."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import guest_differences
import uncompiled

uncompiled.install()

import anybpf.linux  # noqa: E402
import oracle  # noqa: E402
from anybpf import toolchain  # noqa: E402
from anybpf.linux import Linux  # noqa: E402

# `make test` tries the same examples every time, so that it says something about the change alone;
# `make fuzz` (ANYBPF_FUZZ) looks for new ones.
settings.register_profile("anybpf", derandomize=os.environ.get("ANYBPF_FUZZ", "1") == "1",
                          database=None)
settings.load_profile("anybpf")

OBJECTS = Path(__file__).parent / "objects"
LIBXDP = Path("/usr/lib/x86_64-linux-gnu/bpf")
LIRC = Path("/lib/udev/rc_keymaps/protocols")

Build = Callable[..., Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update` rewrites the expectations of case files; `--kernel` chooses the oracle."""
    parser.addoption("--update", action="store_true", help="rewrite what case files expect")
    parser.addoption("--kernel", choices=oracle.KERNELS, default=oracle.chosen(),
                     help="the kernel to compare with: the running one, or Debian's in a guest")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the kernel, before any test imports `Linux`."""
    os.environ[oracle.VARIABLE] = config.getoption("--kernel")
    oracle.choose(oracle.chosen())


def linux_backend() -> Linux:
    """The kernel to compare with; skips the test, with the reason, where bpf(2) is refused."""
    reason = anybpf.linux.Linux.probe()
    if reason:
        pytest.skip(reason)
    return anybpf.linux.Linux()


def machine_backend() -> Any:
    """A fresh kernel in memory; skips where the native modules are not built."""
    if importlib.util.find_spec("anybpf.machine") is None:
        pytest.skip("this build has no Machine")
    from anybpf.machine import Machine

    return Machine()


@pytest.fixture(params=["machine", pytest.param("linux", marks=pytest.mark.kernel)])
def backend(request: pytest.FixtureRequest) -> Any:
    """Each test that takes this runs twice: on a Machine and on the running kernel."""
    return linux_backend() if request.param == "linux" else machine_backend()


@pytest.fixture
def linux() -> Linux:
    """The running kernel."""
    return linux_backend()


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """build("features.bpf.c", arch=..., cpu=..., options=...) -> path of the compiled object.

    The source is a file of tests/objects. Skips where neither clang nor ziglang is installed.
    """
    compiler = toolchain.find_compiler()
    if compiler is None:
        pytest.skip("no clang and no ziglang package installed")
    folder = tmp_path_factory.mktemp("objects")
    built: dict[tuple[Any, ...], Path] = {}

    def make(source: str, **how: Any) -> Path:
        key = (source, *sorted((k, str(v)) for k, v in how.items()))
        if key not in built:
            target = folder / str(len(built)) / source.replace(".c", ".o")
            target.parent.mkdir(exist_ok=True)     # a refused source may have left it
            built[key] = toolchain.compile_file(OBJECTS / source, target, compiler=compiler,
                                                **how)
        return built[key]

    return make


def installed(folder: Path, pattern: str, package: str) -> list[Path]:
    """The files of a Debian package; skips, naming it, where it is not installed."""
    found = sorted(folder.glob(pattern))
    if not found:
        pytest.skip(f"Debian package {package} is not installed")
    return found


@pytest.fixture(scope="session")
def libxdp_objects() -> list[Path]:
    """The object files of Debian's libxdp1."""
    return installed(LIBXDP, "*.o", "libxdp1")


@pytest.fixture(scope="session")
def lirc_objects() -> list[Path]:
    """The infrared decoders of Debian's ir-keytable."""
    return installed(LIRC, "*.o", "ir-keytable")


@pytest.fixture(scope="session")
def embedded_objects() -> dict[str, bytes]:
    """The objects inside the programs of Debian's libbpf-tools, by program name."""
    programs = package_files("libbpf-tools", "/sbin/")
    if not programs:
        pytest.skip("Debian package libbpf-tools is not installed")
    return dict(embedded(programs))


def package_files(package: str, where: str) -> list[Path]:
    """An installed Debian package's files with `where` in their paths; none if it is not there."""
    try:
        listing = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True,
                                 check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [Path(line) for line in listing.splitlines() if where in line]


def embedded(programs: list[Path]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the BPF object that each program carries in its read-only data."""
    for program in programs:
        data = program.read_bytes()
        at = data.find(b"\x7fELF", 4)
        while at >= 0:
            if int.from_bytes(data[at + 18:at + 20], "little") == 247:
                yield program.name, data[at:at + object_size(data, at)]
                break
            at = data.find(b"\x7fELF", at + 4)


def object_size(data: bytes, at: int) -> int:
    """The object's end is that of its section headers, which come last."""
    headers = int.from_bytes(data[at + 40:at + 48], "little")
    return headers + 64 * int.from_bytes(data[at + 60:at + 62], "little")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """ANYBPF_FUZZ=N: every property test tries N times as many examples (`make fuzz`).

    With `--kernel guest`, that kernel's differences from the reference are expected.
    """
    if config.getoption("--kernel") == "guest":
        guest_differences.mark(items)
    factor = int(os.environ.get("ANYBPF_FUZZ", "1"))
    for item in items if factor > 1 else ():
        function = getattr(item, "obj", None)
        known = getattr(function, "_hypothesis_internal_use_settings", None)
        if known is not None:
            function = getattr(function, "__func__", function)
            function._hypothesis_internal_use_settings = settings(
                known, max_examples=known.max_examples * factor, deadline=None)
