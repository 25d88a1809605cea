from collections.abc import Mapping
from typing import Any

from anybpf.core.context import ContextTable
from anybpf.core.kernel import Kernel
from anybpf.maps import Map

class Image: ...

class Prog:
    image: Image
    kernel: Kernel
    name: str
    prog_type: int
    insns: bytes
    id: int
    def __init__(self, insns: bytes | bytearray, *, kernel: Kernel, prog_type: int = 0,
                 name: str = "", maps: Mapping[int, tuple[Map, int | None]] | None = None,
                 context: ContextTable | None = None, gpl: bool = False,
                 addresses: Mapping[int, int] | None = None) -> None: ...
    def __len__(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def gpl(self) -> bool: ...
    @property
    def run_cnt(self) -> int: ...
    @property
    def run_time_ns(self) -> int: ...
    def __getattr__(self, name: str) -> Any: ...
