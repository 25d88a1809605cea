"""What helpers do: one C function per row of proto.helpers, same name (kernel/bpf/helpers.c)."""

from __future__ import annotations

from importlib import import_module

from anybpf import uapi

#: the modules that hold helpers, by family
FAMILIES = ("maps", "system", "strings", "probe", "printf", "ringbuf", "perf", "dynptr", "skb",
            "sock", "csum", "xdp", "redirect", "lirc")


def named_addresses() -> dict[str, int]:
    """Every helper that is modelled: its name without `bpf_`, and its C function's address."""
    found: dict[str, int] = {}
    for family in FAMILIES:
        found.update(import_module(f"anybpf.helpers.{family}").addresses())
    return found


def addresses() -> dict[int, int]:
    """Helper id -> address of its C function `u64 f(r1, .., r5, run_ctx *)`.

    A helper that is not modelled is absent; the engine stops with its name when it is called.
    """
    return {getattr(uapi, f"BPF_FUNC_{name}"): at for name, at in named_addresses().items()}
