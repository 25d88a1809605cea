"""anybpf: the Linux BPF subsystem as a Python library."""

from __future__ import annotations

from anybpf.errors import BpfError, Bug, Fault, LoadError, NotSupported, VerifierError

__version__ = "0.1.0"
__all__ = ["BpfError", "Bug", "Fault", "LoadError", "NotSupported", "VerifierError", "__version__"]
