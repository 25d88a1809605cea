"""What a kernel's BTF lacks, found out by trying (tools/lib/bpf/features.c).

A feature's smallest BTF is loaded; a kernel that refuses it, for whatever reason, is without.
What to do about it is `anybpf.btf.sanitize`'s part, whose names these are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from anybpf import uapi
from anybpf.btf import sanitize
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.libbpf import bpf, log

_INT = t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED)
_VAR = t.Var("x", 1, uapi.BTF_VAR_STATIC)
_PROTO = t.FuncProto(0, (t.Param("a", 1),))
_ROWS = (t.SecVar(2, 0, 4),)

#: feature -> types with which a kernel shows it
PROBES: dict[str, tuple[t.Type, ...]] = {
    "func": (_INT, _PROTO, t.Func("x", 2, uapi.BTF_FUNC_STATIC)),
    "global_func": (_INT, _PROTO, t.Func("x", 2, uapi.BTF_FUNC_GLOBAL)),
    "datasec": (_INT, _VAR, t.Datasec(".data", 4, _ROWS)),
    "qmark_datasec": (_INT, _VAR, t.Datasec("?.data", 4, _ROWS)),
    "float": (t.Float("float", 4),),
    "decl_tag": (_INT, _VAR, t.DeclTag("x", 2, -1)),
    "type_tag": (_INT, t.TypeTag("x", 1), t.Ptr(2)),
    "enum64": (t.Enum64("x", 8, (t.EnumValue("a", 1),)),),
}
_KNOWN: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()


def supported(backend: bpf.Backend, names: Iterable[str] = sanitize.ALL) -> frozenset[str]:
    """Those of the features that the backend has; each is tried once for a backend."""
    known = _KNOWN.setdefault(backend, {})
    for name in names:
        if name not in known:
            known[name] = _takes(backend, PROBES[name])
            log.debug("kernel %s BTF feature '%s'", "has" if known[name] else "lacks", name)
    return frozenset(name for name in names if known[name])


def _takes(backend: bpf.Backend, types: tuple[t.Type, ...]) -> bool:
    builder = BtfBuilder(sys.byteorder)
    builder.add_all(types)
    try:
        backend.close(bpf.btf_load(backend, builder.to_bytes()))
    except BpfError:
        return False
    return True


def sanitized(backend: bpf.Backend, btf: Btf) -> Btf:
    """The BTF without what the backend lacks; the same object if it lacks nothing of it."""
    used = sanitize.used_features(btf)
    lacks = used - supported(backend, used)
    return sanitize.sanitize(btf, sanitize.ALL - lacks)
