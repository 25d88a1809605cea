"""Object ids and reference counts (lib/idr.c, kernel/bpf/syscall.c)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from errno import ENOENT, ENOSPC
from typing import Generic, TypeVar

from anybpf.errors import BpfError, Bug

INT_MAX = 0x7FFF_FFFF


class KernelObject:
    """What descriptors, pins, programs and maps refer to; freed with its last reference.

    A reference by a user (a descriptor or a pin) is counted twice, once as `users`: some maps
    drop their contents when the last user is gone although programs still hold them.
    """

    def __init__(self) -> None:
        self.refcnt = 0
        self.users = 0

    def get(self) -> None:
        """Take a reference."""
        self.refcnt += 1

    def put(self) -> None:
        """Drop a reference; the last one frees the object."""
        if self.refcnt <= 0:
            raise Bug(f"{type(self).__name__} dropped more often than held")
        self.refcnt -= 1
        if self.refcnt == 0:
            self.free()

    def opened(self) -> None:
        """A user holds it now."""
        self.users += 1
        self.get()

    def closed(self) -> None:
        """A user let it go."""
        self.users -= 1
        if self.users == 0:
            self.unused()
        self.put()

    def unused(self) -> None:
        """No user is left (programs may be)."""

    def free(self) -> None:
        """Nobody is left."""


T = TypeVar("T", bound=KernelObject)


class Ids(Generic[T]):
    """Ids of one kind of object: always the next higher one, round after INT_MAX, as the kernel."""

    def __init__(self) -> None:
        self._objects: dict[int, T] = {}
        self._sorted: list[int] = []
        self._next = 1

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return (self._objects[number] for number in self._sorted)

    def add(self, object: T) -> int:
        """Give the object an id."""
        number = self._next
        while number in self._objects:
            number = number % (INT_MAX - 1) + 1
            if number == self._next:
                raise BpfError(ENOSPC)
        self._next = number % (INT_MAX - 1) + 1
        self._objects[number] = object
        insort(self._sorted, number)
        return number

    def remove(self, number: int) -> None:
        """Give the id back; it is not used again before a whole round."""
        del self._objects[number]
        del self._sorted[bisect_left(self._sorted, number)]

    def __getitem__(self, number: int) -> T:
        """The object; ENOENT where there is none."""
        try:
            return self._objects[number]
        except KeyError:
            raise BpfError(ENOENT, f"no object with id {number}") from None

    def after(self, number: int) -> int:
        """The next id above `number`; ENOENT at the end."""
        place = bisect_left(self._sorted, number + 1)
        if place == len(self._sorted):
            raise BpfError(ENOENT, "no more ids")
        return self._sorted[place]
