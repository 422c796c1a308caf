"""Which devices there are, and how each is opened: imported when first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vivant.backends.device import Device
from vivant.errors import DeviceError


def _host() -> Device:
    from vivant.backends.device_host import HostDevice

    return HostDevice()


def _cuda() -> Device:
    from vivant.backends.device_cuda import CudaDevice

    return CudaDevice()


def _pycuda() -> Device:
    from vivant.backends.device_pycuda import PycudaDevice

    return PycudaDevice()


DEVICES: Mapping[str, Callable[[], Device]] = {"cuda": _cuda, "pycuda": _pycuda, "host": _host}
"""By name, how it is opened; "host" needs no GPU."""


def open_device(name: str = "cuda") -> Device:
    """Open a device.

    Raises:
        DeviceError: it cannot be had on this machine; nothing else is opened in its place.
    """
    if name not in DEVICES:
        raise DeviceError(f"device '{name}': this version has {', '.join(DEVICES)}; choose one")
    return DEVICES[name]()


def lacking_device(name: str) -> str | None:
    """Return why the device called ``name`` cannot be had here, and the remedy, or None.

    It is opened, and closed again: a GPU's first opening takes a moment.
    """
    try:
        open_device(name).close()
    except DeviceError as error:
        return str(error)
    return None
