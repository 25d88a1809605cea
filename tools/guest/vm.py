"""The guest as a process: starting and stopping qemu, and who may use it."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guest import initramfs
from guest.fetch import Kernel, cache, fetch
from guest.initramfs import NoGuest
from guest.remote import Remote

QEMU = "qemu-system-x86_64"
MEMORY = "1G"
#: four levels of page tables: kernel addresses look as they do elsewhere
CPU = "max,la57=off"
#: no address randomization: kernel addresses in logs are the same from run to run
COMMAND_LINE = "console=ttyS0 panic=-1 nokaslr quiet loglevel=4"
#: what was started by this process
_started: dict[int, subprocess.Popen[bytes]] = {}
#: seconds that a boot may take; an idle machine needs about ten
BOOT = 300


@dataclass(frozen=True)
class Place:
    """The folder of one guest: its port, console and process id."""

    folder: Path

    @property
    def port(self) -> Path:
        return self.folder / "port"

    @property
    def console(self) -> Path:
        return self.folder / "console"

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    @property
    def release_file(self) -> Path:
        return self.folder / "release"

    @property
    def pid(self) -> int:
        """The process id of its qemu, 0 if none runs."""
        try:
            pid = int(self.pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return 0
        return pid if str(self.port).encode() in command else 0


def default_place() -> Place:
    """The folder of the shared guest, or of the one that ANYBPF_GUEST names; both may run."""
    name = os.environ.get("ANYBPF_GUEST", "")
    return Place(cache() / (f"run-{name}" if name else "run"))


def command(kernel: Kernel, archive: Path, place: Place) -> list[str]:
    """What starts the guest."""
    qemu = shutil.which(QEMU)
    if qemu is None:
        raise NoGuest(f"{QEMU} is not installed (Debian package qemu-system-x86)")
    return [*_nice(), qemu, "-machine", "q35", "-accel", "tcg", "-cpu", CPU, "-smp", "1",
            "-m", MEMORY, "-nodefaults", "-no-reboot", "-display", "none", "-monitor", "none",
            "-kernel", str(kernel.image), "-initrd", str(archive), "-append", COMMAND_LINE,
            "-serial", f"file:{place.console}", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=port,path={place.port},server=on,wait=off",
            "-device", "virtserialport,chardev=port,name=anybpf"]


def _nice() -> list[str]:
    """The guest computes all the time; other work on this machine goes first."""
    return ["nice", "-n", "10"] if shutil.which("nice") else []


def _end_with_us() -> None:
    """In the child: be told to end when the parent has ended (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(ctypes.c_int(1), ctypes.c_ulong(signal.SIGTERM))


def start(place: Place, stay: bool = False) -> Kernel:
    """Boot a guest at `place` and wait until it answers; `stay`: it outlives this process.

    Raises NoGuest.
    """
    kernel = fetch()
    place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    archive = place.folder / "initramfs"
    initramfs.build(archive)
    for old in (place.port, place.console):
        old.unlink(missing_ok=True)
    with (place.folder / "qemu").open("w") as said:
        process = subprocess.Popen(command(kernel, archive, place), stdin=subprocess.DEVNULL,
                                   stdout=said, stderr=said, start_new_session=True,
                                   preexec_fn=None if stay else _end_with_us)
    _started[process.pid] = process
    place.pid_file.write_text(str(process.pid))
    place.release_file.write_text(kernel.release)
    _await(process, place)
    return kernel


def _await(process: subprocess.Popen[bytes], place: Place) -> None:
    """Until the agent says that it is there."""
    until = time.monotonic() + BOOT
    while time.monotonic() < until and process.poll() is None:
        if place.console.exists() and b"agent: ready" in place.console.read_bytes():
            return
        time.sleep(0.2)
    stop(place)
    raise NoGuest(f"the guest does not boot: {last_lines(place)}")


def last_lines(place: Place, count: int = 5) -> str:
    """The end of what the guest printed on its console."""
    try:
        return "\n".join(place.console.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return "(nothing on its console)"


def stop(place: Place) -> None:
    """End the guest at `place`, if one runs: what is in it is lost."""
    pid = place.pid
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if pid in _started:
            _started.pop(pid).wait()
    for made in (place.pid_file, place.port):
        made.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(place: Place) -> Iterator[None]:
    """Be the only client: others wait here, and are told so."""
    place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (place.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for the guest, which another process uses", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def connect(place: Place) -> Remote:
    """A client of the guest that runs at `place`. Raises NoGuest."""
    return Remote(place.port, lambda: bool(place.pid), lambda: last_lines(place))
