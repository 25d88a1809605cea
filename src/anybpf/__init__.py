"""anybpf: the Linux BPF subsystem as a Python library.

`Object` reads a compiled object file, `Machine` is a kernel in memory and `Linux` the running one;
both answer the same binary bpf(2). `verify` says what the kernel's verifier says of an object. The
modules behind these names are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from anybpf.errors import BpfError, Bug, Fault, LoadError, NotSupported, VerifierError

if TYPE_CHECKING:
    from anybpf.libbpf.object import Object
    from anybpf.linux import Linux
    from anybpf.machine import Machine
    from anybpf.veristat import verify

__version__ = "0.1.0"
__all__ = [
    "BpfError", "Bug", "Fault", "Linux", "LoadError", "Machine", "NotSupported", "Object",
    "VerifierError", "__version__",
    "verify",
]

_LAZY = {"Linux": "anybpf.linux", "Machine": "anybpf.machine", "Object": "anybpf.libbpf.object",
         "verify": "anybpf.veristat"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'anybpf' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)
