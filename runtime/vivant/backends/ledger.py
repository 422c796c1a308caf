"""What a device has given out: every device checks what it is handed against its own list."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any, Generic, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from vivant.backends.device import Argument, Buffer, Kernel, Pinned
from vivant.closing import Closing
from vivant.errors import DeviceError

Held = TypeVar("Held")
Kind = TypeVar("Kind", bound="Part")
Memory: TypeAlias = "Buffer | Pinned"

_MOST_LISTED = 8


class PinnedMemory:
    """Host memory that a device has allocated; ``whole`` says where it lies and what is in it."""

    def __init__(self, array: NDArray[Any], mapped: Buffer | None = None) -> None:
        self.whole = Buffer(array.ctypes.data, array.shape, array.dtype)
        self._array: NDArray[Any] | None = array
        self._mapped = mapped

    @property
    def array(self) -> NDArray[Any]:
        """The memory, to read and write while no copy of it is under way.

        Raises:
            DeviceError: it was freed.
        """
        if self._array is None:
            raise DeviceError(f"{described(self)} was freed; free it after its last use")
        return self._array

    @property
    def mapped(self) -> Buffer | None:
        """The same memory as the device sees it, where it was asked to be."""
        return self._mapped

    def forget(self) -> None:
        """Let nobody have the array any more: touching what was freed ends the process."""
        self._array = None


class Ledger(Generic[Held]):
    """The memory that the device called ``name`` has allocated, and what it holds for each.

    Memory is known by identity: a buffer of another device is foreign, whatever its address.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._held: dict[Memory, Held] = {}
        self._freed: weakref.WeakSet[Memory] = weakref.WeakSet()

    def add(self, memory: Buffer | PinnedMemory, held: Held) -> None:
        """Note new memory."""
        with self._lock:
            self._held[memory] = held
            if alias := _alias(memory):
                self._held[alias] = held

    def held(self, memory: Memory) -> Held:
        """Return what is held for memory that is to be used."""
        if not isinstance(memory, Buffer):
            return self._find(memory, "was freed; free it after its last use")
        whole = memory.allocation
        held = self._find(whole, "was freed; free it after its last use")
        start = memory.pointer - whole.pointer
        if start < 0 or start + memory.nbytes > whole.nbytes:
            raise self.broken(
                f"{described(memory)} reaches beyond its allocation, {described(whole)}; "
                "make it with Buffer.part"
            )
        return held

    def take(self, memory: Memory) -> Held:
        """Return what is held for memory that is to be freed, and strike it out."""
        if isinstance(memory, Buffer) and memory.owner is not None:
            raise self.broken(f"{described(memory)} is a part of an allocation; free the whole")
        with self._lock:
            held = self._find(memory, "is freed twice; free it once")
            for each in (memory, _alias(memory) or memory):
                self._held.pop(each, None)
                self._freed.add(each)
        if isinstance(memory, PinnedMemory):
            memory.forget()
        return held

    def left(self) -> list[Memory]:
        """Return what is not yet freed, each once."""
        with self._lock:
            aliases = {_alias(memory) for memory in self._held}
            return [memory for memory in self._held if memory not in aliases]

    def broken(self, what: str) -> DeviceError:
        """Return an error of this device."""
        return DeviceError(f"{self.name}: {what}")

    def leaked(self, memories: Sequence[Memory]) -> DeviceError:
        """Return the error that memory was still there when the device was closed."""
        listed = ", ".join(described(memory) for memory in memories[:_MOST_LISTED])
        rest = f" and {len(memories) - _MOST_LISTED} more" if len(memories) > _MOST_LISTED else ""
        return self.broken(f"closed before {listed}{rest} was freed; free all memory first")

    def check_copy(self, source: Memory, target: Memory) -> None:
        """Refuse a copy between sizes that do not go together: pinned memory may be larger."""
        here, there = extent(source).nbytes, extent(target).nbytes
        larger_source = isinstance(source, PinnedMemory) and here >= there
        larger_target = isinstance(target, PinnedMemory) and there >= here
        if not (here == there or larger_source or larger_target):
            raise self.broken(
                f"a copy of {described(source)} to {described(target)} is one of {here} bytes to "
                f"{there}; give both one size"
            )

    def check_arguments(
        self, kernel: Kernel, arguments: Sequence[Argument]
    ) -> tuple[list[Buffer], list[Buffer]]:
        """Return which buffers a kernel reads and which it writes.

        Raises:
            DeviceError: one is of a kind that kernels do not take, or an output is no buffer.
        """
        if any(position >= len(arguments) for position in kernel.outputs):
            given = len(arguments)
            raise self.broken(f"{kernel.name}: {given} arguments are too few; give all of them")
        reads: list[Buffer] = []
        writes: list[Buffer] = []
        for position, argument in enumerate(arguments):
            written = position in kernel.outputs
            if isinstance(argument, Buffer):
                (writes if written else reads).append(argument)
            elif argument is not None and (
                written or not isinstance(argument, (np.int32, np.float32))
            ):
                raise self.broken(
                    f"{kernel.name}: argument {position} is of type {type(argument).__name__}; "
                    f"give a Buffer{'' if written else ', numpy.int32, numpy.float32'} or None"
                )
        return reads, writes

    def _find(self, memory: Memory, freed: str) -> Held:
        if memory in self._held:
            return self._held[memory]
        if memory in self._freed:
            raise self.broken(f"{described(memory)} {freed}")
        raise self.broken(f"{described(memory)} is not this device's memory; allocate it here")


class Part:
    """A stream, event or graph of a device's."""

    def __init__(self, device: object) -> None:
        self.device = device


class CheckedDevice(Closing, Generic[Held]):
    """What every device asks of what it is handed, and of the time when."""

    def __init__(self, name: str) -> None:
        self._ledger: Ledger[Held] = Ledger(name)
        self._capturing: set[int] = set()  # threads
        self._open = True

    def _own(self, part: object, kind: type[Kind]) -> Kind:
        """Return a stream, event or graph, if it is one of this device's."""
        self._check_open()
        if not isinstance(part, kind) or part.device is not self:
            what = kind.__name__.removeprefix("Host").removeprefix("Gpu").lower()
            raise self._ledger.broken(f"the {what} is not this device's; make it here")
        return part

    def _refuse_while_capturing(self, what: str) -> None:
        self._check_open()
        if threading.get_ident() in self._capturing:
            raise self._ledger.broken(f"{what} while a stream is recorded; do it before or after")

    def _check_open(self) -> None:
        if not self._open:
            raise self._ledger.broken("the device is closed; open it again")


def extent(memory: Memory) -> Buffer:
    """Return where memory lies, that of the host at its address there."""
    return memory if isinstance(memory, Buffer) else cast(PinnedMemory, memory).whole


def described(memory: Memory) -> str:
    """Return a name for memory: its dtype and shape, such as "float32 [2, 3]"."""
    if not isinstance(memory, (Buffer, PinnedMemory)):
        return f"a {type(memory).__name__}"
    where = extent(memory)
    return f"{'pinned ' * (where is not memory)}{where.dtype} {list(where.shape)}"


def _alias(memory: Memory) -> Buffer | None:
    """Return what pinned memory is called on the device, where it is mapped."""
    mapped = memory.mapped if isinstance(memory, PinnedMemory) else None
    return mapped.allocation if mapped else None
