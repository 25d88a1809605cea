"""What the checks of BTF_LOAD share: the records, the log, the refusal (kernel/bpf/btf.c).

The log is what the kernel writes with log level 1: every type as it is looked at, then the reason.
"""

from __future__ import annotations

import errno
from array import array
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError

HEAD_SIZE = 12
#: bytes in the longest name (KSYM_NAME_LEN)
MAX_NAME = 512
#: characters of log that are kept; no buffer of a caller is as large
MAX_LOG = 1 << 26
WORD = 4


class BadBtf(BpfError):
    """The kernel refuses this BTF: `errno`, `log` as BPF_BTF_LOAD gives it, `type_id` or None."""

    def __init__(self, errno: int, log: str, type_id: int | None = None) -> None:
        self.log = log
        self.type_id = type_id
        last = log.rstrip("\n").rpartition("\n")[2].strip()
        super().__init__(errno, f"invalid BTF: {last}" if last else "")


class Rec(NamedTuple):
    """A type record as the kernel has it: the common words, and where the further ones begin."""

    pos: int
    name_off: int
    info: int
    size: int

    @property
    def kind(self) -> int:
        return self.info >> 24 & 0x1F

    @property
    def vlen(self) -> int:
        return self.info & 0xFFFF

    @property
    def kflag(self) -> int:
        return self.info >> 31


VOID = Rec(0, 0, 0, 0)


class Env:
    """One BTF under check. Ids below `start_id` are those of `base`, which is known to be good."""

    def __init__(self, base: Btf | None, verbose: bool) -> None:
        self.base = base
        self.start_id = 1 if base is None else len(base)
        self.start_str = 0 if base is None else base.end_str
        self.verbose = verbose
        self.words: array[int] = array("I")
        self.strings = b""
        self.recs: list[Rec] = []
        self.log_type_id: int | None = None
        self.meta_phase = True
        self.lines: list[str] = []
        self._room = MAX_LOG
        self._base_recs: dict[int, Rec] = {}

    # -- types and names ----------------------------------------------------------------------

    @property
    def end_id(self) -> int:
        return self.start_id + len(self.recs)

    def rec(self, type_id: int) -> Rec | None:
        """The record of a type, None if there is no such id."""
        if type_id >= self.end_id:
            return None
        if type_id >= self.start_id:
            return self.recs[type_id - self.start_id]
        return self._base_rec(type_id)

    def _base_rec(self, type_id: int) -> Rec:
        """A record of the base; its further words are copied behind ours so that `word` works."""
        if not type_id or self.base is None:
            return VOID
        known = self._base_recs.get(type_id)
        if known is None:
            owner = self.base
            while type_id < owner.start_id and owner.base is not None:
                owner = owner.base
            name_off, info, size, *rest = owner.record_words(type_id)
            known = self._base_recs[type_id] = Rec(len(self.words), name_off, info, size)
            self.words.extend(rest)
        return known

    def word(self, rec: Rec, index: int) -> int:
        return self.words[rec.pos + index]

    def name_ok(self, offset: int) -> bool:
        """Is there a string at this offset?"""
        return offset < self.start_str + len(self.strings)

    def text(self, offset: int) -> bytes:
        """The string at an offset that exists."""
        if offset < self.start_str and self.base is not None:
            return self.base.string(offset).encode("utf-8", "surrogateescape")
        start = offset - self.start_str
        return self.strings[start : self.strings.index(b"\0", start)]

    def name(self, offset: int) -> bytes:
        """The string at an offset that exists, cut off where no name may be as long."""
        if offset < self.start_str:
            return self.text(offset)
        start = offset - self.start_str
        return self.strings[start : start + MAX_NAME + 1].partition(b"\0")[0]

    def shown(self, offset: int) -> str:
        """The name as the log shows it."""
        if not offset:
            return "(anon)"
        if not self.name_ok(offset):
            return "(invalid-name-offset)"
        return self.text(offset).decode("utf-8", "surrogateescape")

    # -- the log ------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        if self.verbose:
            self.put(line)

    def put(self, line: str) -> None:
        """Append to the log, as long as there is room."""
        self._room -= len(line)
        if self._room > 0:
            self.lines.append(line)

    def describe(self, rec: Rec, message: str = "", details: bool = True) -> None:
        """Log a type: `[1] INT int size=4 ... message`."""
        if not (self.verbose or message):
            return
        kind = LOG_NAMES[rec.kind]
        line = f"[{self.log_type_id}] {kind} {self.shown(rec.name_off)}"
        if details:
            line += " " + DETAILS[rec.kind](self, rec)
        self.put(f"{line} {message}\n" if message else line + "\n")

    def describe_member(self, struct: Rec, member: tuple[int, int, int], message: str = "") -> None:
        """Log a member: a tab, name, type and place; after the first phase its struct before it."""
        if not (self.verbose or message):
            return
        if not self.meta_phase:
            self.describe(struct)
        name_off, type_id, offset = member
        line = f"\t{self.shown(name_off)} type_id={type_id} "
        if struct.kflag:
            line += f"bitfield_size={offset >> 24} bits_offset={offset & 0xFFFFFF}"
        else:
            line += f"bits_offset={offset}"
        self.put(f"{line} {message}\n" if message else line + "\n")

    def describe_var(self, section: Rec, var: tuple[int, int, int], message: str = "") -> None:
        """Log a data section's variable."""
        if not (self.verbose or message):
            return
        if not self.meta_phase:
            self.describe(section)
        line = "\t type_id={} offset={} size={}".format(*var)
        self.put(f"{line} {message}\n" if message else line + "\n")

    # -- refusing -----------------------------------------------------------------------------

    def refuse(self, number: int = errno.EINVAL, line: str = "") -> NoReturn:
        """Give up with this error; `line` is logged as it is."""
        if line:
            self.lines.append(line)
        raise BadBtf(number, "".join(self.lines), self.log_type_id)

    def bad(
        self, rec: Rec, message: str, number: int = errno.EINVAL, details: bool = True
    ) -> NoReturn:
        """Refuse because of a type."""
        self.describe(rec, message, details)
        self.refuse(number)

    def bad_member(self, struct: Rec, member: tuple[int, int, int], message: str) -> NoReturn:
        """Refuse because of a struct's member."""
        self.describe_member(struct, member, message)
        self.refuse()

    def bad_var(self, section: Rec, var: tuple[int, int, int], message: str) -> NoReturn:
        """Refuse because of a data section's variable."""
        self.describe_var(section, var, message)
        self.refuse()

    def rows(self, rec: Rec) -> list[tuple[int, int, int]]:
        """The triples that follow a struct, union, data section or 64-bit enum."""
        flat = iter(self.words[rec.pos : rec.pos + 3 * rec.vlen])
        return list(zip(flat, flat, flat, strict=True))

    def pairs(self, rec: Rec) -> list[tuple[int, int]]:
        """The pairs that follow an enum or function prototype."""
        flat = iter(self.words[rec.pos : rec.pos + 2 * rec.vlen])
        return list(zip(flat, flat, strict=True))


INT_ENCODINGS = {0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL"}

#: kind number -> its name in the log
LOG_NAMES = tuple("UNKNOWN" if n == "UNKN" else n for n in t.KIND_NAMES)


def _int(env: Env, rec: Rec) -> str:
    data = env.word(rec, 0)
    encoding = INT_ENCODINGS.get(data >> 24 & 0xF, "UNKN")
    bits = f"bits_offset={data >> 16 & 0xFF} nr_bits={data & 0xFF}"
    return f"size={rec.size} {bits} encoding={encoding}"


def _array(env: Env, rec: Rec) -> str:
    element, index, count = env.words[rec.pos : rec.pos + 3]
    return f"type_id={element} index_type_id={index} nr_elems={count}"


def _proto(env: Env, rec: Rec) -> str:
    params = env.pairs(rec)
    shown = [f"{type_id} {env.shown(name)}" for name, type_id in params]
    if params and not params[-1][1]:
        shown[-1] = "vararg"
    return f"return={rec.size} args=({', '.join(shown) or 'void'})"


def _ref(env: Env, rec: Rec) -> str:
    return f"type_id={rec.size}"


def _sized(env: Env, rec: Rec) -> str:
    return f"size={rec.size} vlen={rec.vlen}"


#: kind number -> what the log says of it behind its name
DETAILS: dict[int, Callable[[Env, Rec], str]] = {
    uapi.BTF_KIND_INT: _int,
    uapi.BTF_KIND_PTR: _ref,
    uapi.BTF_KIND_ARRAY: _array,
    uapi.BTF_KIND_STRUCT: _sized,
    uapi.BTF_KIND_UNION: _sized,
    uapi.BTF_KIND_ENUM: _sized,
    uapi.BTF_KIND_FWD: lambda env, rec: "union" if rec.kflag else "struct",
    uapi.BTF_KIND_TYPEDEF: _ref,
    uapi.BTF_KIND_VOLATILE: _ref,
    uapi.BTF_KIND_CONST: _ref,
    uapi.BTF_KIND_RESTRICT: _ref,
    uapi.BTF_KIND_FUNC: _ref,
    uapi.BTF_KIND_FUNC_PROTO: _proto,
    uapi.BTF_KIND_VAR: lambda env, rec: f"type_id={rec.size} linkage={env.word(rec, 0)}",
    uapi.BTF_KIND_DATASEC: _sized,
    uapi.BTF_KIND_FLOAT: lambda env, rec: f"size={rec.size}",
    uapi.BTF_KIND_DECL_TAG: lambda env, rec: (
        f"type={rec.size} component_idx={(env.word(rec, 0) ^ 0x80000000) - 0x80000000}"
    ),
    uapi.BTF_KIND_TYPE_TAG: _ref,
    uapi.BTF_KIND_ENUM64: _sized,
}
