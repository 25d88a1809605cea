"""Which statements a program is made of: each seed leans towards something."""

from __future__ import annotations

from kernel.fuzz import control, memory, numbers, typed
from kernel.fuzz.program import Statement

_SIMPLE: tuple[Statement, ...] = (
    numbers.alu, numbers.alu, numbers.alu, numbers.move, numbers.move, numbers.mask, numbers.unary,
    memory.store, memory.store, memory.load, memory.load, memory.spill_pointer,
    memory.fill_pointer, memory.atomic, memory.context)
numbers.SIMPLE += _SIMPLE

_NUMBERS: tuple[Statement, ...] = (
    *_SIMPLE, numbers.branch, numbers.branch, numbers.either, numbers.bounded, numbers.linked,
    numbers.linked, numbers.same)
_MEMORY: tuple[Statement, ...] = (
    memory.stack_variable, memory.packet, memory.packet, memory.packet_else, memory.packet_meta,
    memory.map_value, memory.keep_value, memory.constant, memory.variable_memory,
    memory.value_address, memory.old_packet, memory.wrong)
_PROFILES: tuple[tuple[Statement, ...], ...] = (
    (*_NUMBERS, *_MEMORY, *control.LOOPS[:3], control.call),
    (*_NUMBERS, *_MEMORY, *control.LOOPS, *control.CALLS, *control.HELPERS, control.early_exit),
    (*_NUMBERS, *_NUMBERS, memory.stack_variable, control.early_exit),
    (*_NUMBERS, *control.CALLS, *control.CALLS, memory.wrong),
    (*_NUMBERS, *control.LOOPS, *control.LOOPS, memory.wrong, control.early_exit),
    (*_NUMBERS, *control.HELPERS, *control.HELPERS, memory.wrong, memory.map_value),
    (*_NUMBERS, *_MEMORY, *_MEMORY, control.packet_changes),
    (*_NUMBERS, *typed.TYPED, *typed.TYPED, *control.LOOPS, control.call, memory.wrong),
)


def profile(seed: int) -> tuple[Statement, ...]:
    """The statements that the program of `seed` may have."""
    return _PROFILES[seed % len(_PROFILES)]
