"""What a loaded plan takes and gives: its tensors, and the shapes that it was built for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vivant.backends.device import Shape
from vivant.backends.ports import Port
from vivant.errors import EngineError
from vivant.manifest import Graph
from vivant.plans import Profile


def port_list(trt: Any, engine: Any, description: Graph, name: str) -> tuple[Port, ...]:
    """Return the inputs and outputs of the plan called ``name``.

    Raises:
        EngineError: they are not those of the graph that ``description`` is of.
    """
    ports = []
    for number in range(engine.num_io_tensors):
        tensor = engine.get_tensor_name(number)
        dtype = _dtype(trt, engine.get_tensor_dtype(tensor), f"{name}: '{tensor}'")
        shape = tuple(None if side < 0 else int(side) for side in engine.get_tensor_shape(tensor))
        is_input = engine.get_tensor_mode(tensor) == trt.TensorIOMode.INPUT
        ports.append(Port(tensor, dtype, shape, is_input))
    for tensors, is_input in ((description.inputs, True), (description.outputs, False)):
        wanted = {each.name: np.dtype(each.dtype) for each in tensors}
        got = {port.name: port.dtype for port in ports if port.is_input == is_input}
        if wanted != got:
            raise EngineError(
                f"{name}: the plan has {_named(got)} where the manifest has {_named(wanted)}; "
                "run 'vivant build' again"
            )
    return tuple(ports)


def profile_list(engine: Any, ports: Sequence[Port]) -> list[Profile]:
    """Return each profile's shapes of the inputs whose shape is free; one at the least."""
    free = [port.name for port in ports if port.is_input and None in port.shape]
    profiles: list[Profile] = []
    for number in range(engine.num_optimization_profiles):
        profile = {}
        for tensor in free:
            least, usual, most = map(tuple, engine.get_tensor_profile_shape(tensor, number))
            profile[tensor] = (least, usual, most)
        profiles.append(profile)
    return profiles or [{}]


def suitable(profiles: Sequence[Profile], shapes: Mapping[str, Shape], name: str) -> int:
    """Return which profile ``shapes`` lie in, the nearest to what it was built best for.

    Raises:
        EngineError: none; the message says what the plan called ``name`` was built for.
    """
    fitting = {
        number: sum(_distance(shapes[tensor], usual) for tensor, (_, usual, _) in profile.items())
        for number, profile in enumerate(profiles)
        if all(_within(shapes[tensor], least, most) for tensor, (least, _, most) in profile.items())
    }
    if fitting:
        return min(fitting, key=fitting.__getitem__)
    asked = ", ".join(f"'{tensor}' {list(shapes[tensor])}" for tensor in profiles[0])
    built = " or ".join(_described(profile) for profile in profiles)
    raise EngineError(
        f"{name}: the plan was built for {built}, not for {asked}; "
        "build it for these shapes with 'vivant build'"
    )


def _dtype(trt: Any, dtype: Any, name: str) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = np.dtype(trt.nptype(dtype))
    except TypeError as error:
        raise EngineError(f"{name} is {dtype}, which NumPy lacks; export it again") from error
    return found


def _within(shape: Shape, least: Shape, most: Shape) -> bool:
    return all(low <= side <= high for low, side, high in zip(least, shape, most, strict=True))


def _distance(shape: Shape, usual: Shape) -> int:
    return sum(abs(side - best) for side, best in zip(shape, usual, strict=True))


def _described(profile: Profile) -> str:
    return ", ".join(
        f"'{tensor}' {list(least)} to {list(most)}" for tensor, (least, _, most) in profile.items()
    )


def _named(tensors: Mapping[str, np.dtype[Any]]) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in sorted(tensors.items())) or "nothing"
