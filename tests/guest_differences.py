"""Comparisons in which Debian's 6.18.15 is not like the reference, a newer 6.18: by test, why."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

CASES = "tests/verifier/test_cases.py::test_kernels_verdict_and_log"
OBJECTS = "tests/kernel/test_verifier_objects.py::test_the_same_log"
EFFECTS = "tests/kernel/test_helper_effects.py::test_the_result_is_of_that_kind"

#: what holds for the reference and not for the guest -> the tests in which that shows
DIFFERENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "byte swaps keep bounds, and links where they change nothing": {
        CASES: ("alu-swaps of bounds", "random-le64 keeps what is linked", "registers-byte swaps"),
        OBJECTS: ("xdpfilt_dny_udp", "firewall.bpf")},
    "numbers are linked at negative distances and through subtraction, too": {
        CASES: ("jump-linked registers at a distance",
                "random-a number that stands alone covers a linked one",
                "random-a number at a distance from another one than before"),
        OBJECTS: ("xdpfilt_alw_eth", "xdpfilt_alw_ip")},
    "only the register that is asked for must be exact, not what is linked to it": {
        CASES: ("alu-bounded negative number is too far below",
                "loops-linked registers must be exact together", "stack-unbounded offset",
                "stack-variable write unbounded", "stack-variable read unbounded",
                "stack-helper reads unbounded")},
    "a number that is 0 or -1 is looked at as two paths": {
        CASES: ("registers-a number that is 0 or -1 is two paths",)},
    "packet loads in functions may leave the program": {
        CASES: ("abnormal_exits-stack written behind a hidden exit",
                "abnormal_exits-result of a hidden exit must be exact",
                "abnormal_exits-packet load in a callback",
                "btf_info-packet loads in a function that returns a number",
                "btf_info-packet loads in a function that returns a byte",
                "effects-packet loads through what a callback is given",
                "effects-packet loads in a function",
                "callbacks-load from the packet in a callback",
                "callbacks-load from the packet below a callback")},
    "what bpf_throw may not leave behind is said of bpf_throw": {
        CASES: ("exceptions-throw with an iterator", "exceptions-throw in a read section",
                "exceptions-throw in a function with what its caller holds",
                "exceptions-reference held over a static function that throws")},
    "elements of inner arrays are there, however small the array": {
        CASES: ("maps-element of an inner array that may be smaller",)},
    "a number becomes what is added to it": {
        CASES: ("user_memory-number to which untrusted memory is added",)},
    "unsigned bounds that cross say less of the low half": {
        CASES: ("jump-unsigned bounds that cross bound the low half as well",
                "jump-unsigned bounds that cross, with tests of the bounds")},
    "a register is not told from another one when it is compared with itself": {
        CASES: ("jump-a register against itself",)},
    "objects that may be gone are not looked at, before it is asked whether they are written": {
        CASES: ("kptrs-object in a map that may be 0 looked at after the section",)},
    "32-bit comparisons narrow the 64-bit bounds": {
        CASES: ("jump-what 32-bit comparisons teach",)},
    "a forgotten state in a loop keeps its place until the loop is left": {
        CASES: ("random-a state in a loop that was forgotten counts until the loop is left",)},
    "what an arena's pointer is added to is a number": {
        CASES: tuple(f"user_memory-{how} arena" for how in (
            "r known +=", "r known -=", "w unknown -=", "r ctx +=", "r map +=", "w fp -="))},
    "struct bpf_map has no members for security modules": {
        CASES: ("maps-members of structs of other maps",)},
    "connection tracking, XFS and KVM are modules, or not there": {
        CASES: ("kernel_types-argument that points to a union",
                "kernel_types-argument that points to anything",
                "kernel_types-mark of a connection",
                "kernel_types-mark of a connection by 64 bits",
                "kernel_types-part of a connection's mark",
                "kernel_types-another member of a connection")},
    "there is more than one CPU": {EFFECTS: ("get_smp_processor_id-sched_cls",)},
}


#: programs that make the guest's kernel fall over
FATAL: dict[str, str] = {
    f"{CASES}[kptrs-untrusted pointer in a map set to a register's number]":
        "6.18.15 looks for the type of what has none to name it",
}

#: the same in the sweeps (tests/kernel/sweep_programs.py): names of programs
SWEPT = (
    # byte swaps keep bounds, and say something of 32 bits
    re.compile(r"(number|arena.*): (swap|be16)"),
    # numbers are linked at negative distances and through subtraction, too
    re.compile(r"number: (32|64) [-+] (3|r8)"),
    # what an arena's pointer is added to is a number
    re.compile(r"arena.*: (32|64) number "),
)


def explained(program: str) -> bool:
    """Whether the guest's kernel is known to say something else of a program of the sweeps."""
    return any(pattern.search(program) for pattern in SWEPT)


def mark(items: Iterable[pytest.Item]) -> None:
    """Expect the differences; that one is gone is a failure, too."""
    reasons = {f"{file}[{name}]": reason for reason, files in DIFFERENCES.items()
               for file, names in files.items() for name in names}
    for item in items:
        if item.nodeid in FATAL:
            item.add_marker(pytest.mark.skip(reason=FATAL[item.nodeid]))
        if item.nodeid in reasons:
            item.add_marker(pytest.mark.xfail(reason=reasons[item.nodeid], strict=True))
