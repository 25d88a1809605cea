"""The demo: two XDP programs in a kernel in memory, ours and (where it is to be had) Debian's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIREWALL = HERE / "firewall.bpf.o"
TRAFFIC = HERE / "traffic.pcap"
#: where Debian's libxdp1 package puts the object files of xdp-tools
INSTALLED = Path("/usr/lib/x86_64-linux-gnu/bpf")
STRANGER = "xdpfilt_alw_udp.o"


def anybpf(*words: str | Path) -> None:
    """Show an anybpf command, then run it."""
    shown = [str(w).replace(f"{HERE.parent}/", "") for w in words]
    print(f"\n$ anybpf {' '.join(shown)}", flush=True)
    subprocess.run([sys.executable, "-m", "anybpf", *map(str, words)], check=True)


def own_firewall() -> None:
    print("A firewall of our own, compiled from demo/firewall.bpf.c:")
    anybpf("inspect", FIREWALL)
    anybpf("run", FIREWALL, "--pcap", TRAFFIC, "--map", f"allow={HERE / 'allow.json'}",
           "--record", "events=event")


def foreign_filter(folder: Path) -> None:
    """xdp-filter of xdp-tools drops UDP to port 53; its port map says 1 << 3 | 1 << 1."""
    ports = folder / "ports.json"
    ports.write_text('{"13568": 10}')          # the key is the port in network byte order
    found = stranger(folder)
    if found is None:
        print("\nxdp-filter (package libxdp1) is neither installed nor to be had: left out.")
        return
    print("\nA filter by somebody else, xdp-filter as Debian ships it, told to drop DNS:")
    anybpf("run", found, "--pcap", TRAFFIC, "--map", f"filter_ports={ports}")


def stranger(folder: Path) -> Path | None:
    """xdp-filter's object: installed, or unpacked from Debian's package without root."""
    if (INSTALLED / STRANGER).exists():
        return INSTALLED / STRANGER
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    subprocess.run(["apt-get", "download", "-qq", "libxdp1"], cwd=folder, capture_output=True)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return next(folder.rglob(STRANGER), None)


def main() -> None:
    own_firewall()
    with tempfile.TemporaryDirectory() as folder:
        foreign_filter(Path(folder))


if __name__ == "__main__":
    main()
