import builtins
from collections.abc import Iterable
from typing import NamedTuple

from anybpf.core.run_ctx import RunCtx

KINDS: tuple[str, ...]

class Region(NamedTuple):
    base: int
    size: int
    stride: int = 0
    value_off: int = 0
    value_size: int = 0
    flags: int = 3
    kind: int = 0
    object: int = 0
    name: str = ""
    owner: builtins.object = None

class RegionTable:
    rows: list[Region]
    def __init__(self, rows: Iterable[Region] = (), changes: int = 0) -> None: ...
    def __len__(self) -> int: ...

def copy_from_user(address: int, size: int) -> bytes: ...
def copy_to_user(address: int, data: bytes | bytearray | memoryview) -> None: ...
def pipe_copy_works() -> bool: ...
def describe(run: RunCtx, address: int) -> tuple[str, str]: ...
def read_memory(run: RunCtx, address: int, size: int) -> bytes: ...
def write_memory(run: RunCtx, address: int, data: bytes) -> None: ...
