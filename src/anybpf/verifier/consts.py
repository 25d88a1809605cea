"""Small numbers of the verifier's state, compiled in (include/linux/bpf_verifier.h).

`state` has the same names for modules that need no speed.
"""

from __future__ import annotations

from typing import Final

REGS: Final = 11
FP: Final = 10
SLOT_BYTES: Final = 8
MAX_STACK: Final = 512
MAX_FRAMES: Final = 8

AT_END: Final = -1
BEYOND_END: Final = -2

ADD_CONST64: Final = 1 << 31
ADD_CONST32: Final = 1 << 30
ADD_CONST: Final = ADD_CONST64 | ADD_CONST32

# what a byte of the stack holds
INVALID: Final = 0
SPILL: Final = 1
MISC: Final = 2
ZERO: Final = 3
DYNPTR: Final = 4
ITER: Final = 5
IRQ_FLAG: Final = 6

#: pointers may be moved by less than this (BPF_MAX_VAR_OFF)
MAX_OFFSET: Final = 1 << 29
#: how many registers may learn together (LINKED_REGS_MAX)
MAX_LINKED: Final = 6
#: slots of a frame
MAX_SLOTS: Final = 64
#: registers that calls take (a mask)
ARGUMENTS: Final = 0b111110
#: jumps after which a state is remembered whatever there is
MAX_HISTORY: Final = 40
MAX_PACKET_OFFSET: Final = 0xFFFF

#: times a kind: a slot whose eight bytes are all of it
EACH_BYTE: Final = 0x0101_0101_0101_0101

# how strictly states are compared
NOT_EXACT: Final = 0
EXACT: Final = 1
RANGE_WITHIN: Final = 2

# what a step says comes next
NEXT: Final = 0      # the following slot
JUMPED: Final = 1    # `env.idx` is set
DONE: Final = 2      # the path has ended
