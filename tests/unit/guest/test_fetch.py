"""Finding the guest's kernel: the machine's mirror, the package's name, the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest import fetch
from guest.initramfs import NoGuest

ONE_LINE = """# deb http://old.example/debian x main
deb [arch=amd64] http://a.example/debian y main
"""
DEB822 = "Types: deb\nURIs: http://b.example/debian\nSuites: y\nComponents: main\n"
OTHER = "deb http://c.example/apt z main\n"


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    monkeypatch.setattr(fetch, "SOURCES", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "text", "wanted"), [
    ("sources.list", ONE_LINE, "http://a.example/debian"),
    ("sources.list.d/debian.sources", DEB822, "http://b.example/debian"),
])
def test_the_mirror_is_the_machines_own(sources: Path, name: str, text: str, wanted: str) -> None:
    (sources / "sources.list.d/another.list").write_text(OTHER)
    (sources / name).write_text(text)
    assert fetch.mirror() == wanted


def test_no_debian_archive(sources: Path) -> None:
    (sources / "sources.list").write_text(OTHER)
    with pytest.raises(NoGuest, match="ANYBPF_GUEST_PACKAGE"):
        fetch.mirror()


def test_apt_stays_in_its_folder(sources: Path, tmp_path: Path) -> None:
    (sources / "sources.list").write_text(ONE_LINE)
    options = fetch._options(tmp_path / "apt")
    assert f"Dir::State::Lists={tmp_path}/apt/lists" in options
    assert "Dir::Etc::SourceParts=/dev/null" in options
    written = (tmp_path / "apt/sources.list").read_text()
    assert written.endswith("http://a.example/debian trixie-backports main\n")


def kernel_in(folder: Path, release: str) -> None:
    (folder / "guest/kernels" / release / "boot").mkdir(parents=True)
    (folder / "guest/kernels" / release / "boot" / f"vmlinuz-{release}").touch()


def test_the_newest_kernel_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "user_cache_path", lambda name: tmp_path)
    monkeypatch.delenv(fetch.PACKAGE, raising=False)
    assert fetch.kept() is None
    for release in ("6.18.9+deb13-cloud-amd64", "6.18.15+deb13-cloud-amd64",
                    "7.2.1+deb13-cloud-amd64"):
        kernel_in(tmp_path, release)
    (tmp_path / "guest/kernels/6.18.99+deb13-cloud-amd64").mkdir()      # half unpacked
    found = fetch.kept()
    assert found is not None
    assert found.release == "6.18.15+deb13-cloud-amd64"
    assert found.image.exists()
    monkeypatch.setenv(fetch.PACKAGE, "/x/linux-image-7.2.1+deb13-cloud-amd64_7.2.1-1_amd64.deb")
    assert fetch.fetch().release == "7.2.1+deb13-cloud-amd64"


def test_a_package_without_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "user_cache_path", lambda name: tmp_path)
    monkeypatch.setenv(fetch.PACKAGE, str(tmp_path / "linux-image-9.9_1.deb"))
    with pytest.raises(NoGuest):
        fetch.fetch()
    assert list((tmp_path / "guest/kernels").iterdir()) == []
