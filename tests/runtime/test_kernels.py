"""The kernels of kernels.cu against their oracles, bit for bit.

Without a GPU the proof is in two parts: NVRTC compiles the source for every GPU that is meant, and
g++ compiles the very same text as C++ (``cuda_shim.h``), which is then run on real pictures. What
that cannot show is what NVRTC makes of it; the tests marked ``gpu`` do, where there is a GPU.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vivant.backends import compiler
from vivant.backends.device import Argument, Buffer, Device, Kernel, Stream
from vivant.backends.device_host import HostDevice
from vivant.backends.workspace import Workspace
from vivant.closing import Closing
from vivant.errors import DeviceError
from vivant.gpu import kernels, tables
from vivant.gpu.launching import SOURCE
from vivant.images import load_image
from vivant_samples import ARTWORKS, PORTRAIT

GUARD = 256  # bytes before and after every array, which nothing may touch
MADE_FOR = ((7, 5), (8, 0), (8, 6), (8, 7), (8, 9), (9, 0), (11, 0), (12, 0))


class Bench(Closing):
    """A device with arrays on it, each between two guards."""

    def __init__(self, device: Device) -> None:
        self.device, self.stream = device, device.stream()
        self.workspace = Workspace(device)
        self._whole: list[Buffer] = []

    def put(self, array: np.ndarray) -> Buffer:
        held = np.full(array.nbytes + 2 * GUARD, 0xA5, np.uint8)
        held[GUARD:-GUARD] = np.frombuffer(array.tobytes(), np.uint8)
        self._whole.append(self.workspace.uploaded(f"{len(self._whole)}", held, self.stream))
        return self._whole[-1].part(GUARD, array.shape, array.dtype)

    def empty(self, *shape: int, dtype: type = np.uint8) -> Buffer:
        return self.put(np.full(shape, 119, dtype))

    def taps(self, table: tables.Table) -> kernels.Taps:
        return kernels.Taps(self.put(table.first), self.put(table.weights))

    def finish(self) -> list[np.ndarray]:
        """Return all bytes of all arrays."""
        held = [self.workspace.pinned(f"{i}", each.shape) for i, each in enumerate(self._whole)]
        self.device.synchronise(self.stream)
        for buffer, pinned in zip(self._whole, held, strict=True):
            self.device.download(buffer, pinned, self.stream)
        self.device.synchronise(self.stream)
        found = [pinned.array.copy() for pinned in held]
        for each in found:
            assert (each[:GUARD] == 0xA5).all()
            assert (each[-GUARD:] == 0xA5).all()
        return found

    def close(self) -> None:
        self.workspace.close()


class CompiledDevice(HostDevice):
    """The host device with kernels compiled by g++ in place of their oracles."""

    def __init__(self, library: ctypes.CDLL) -> None:
        super().__init__()
        self.library, self.launched = library, set()

    def launch(
        self, kernel: Kernel, threads: int, arguments: Sequence[Argument], stream: Stream
    ) -> None:
        self.launched.add(kernel.name)
        work = partial(self._carry_out, kernel, threads)
        super().launch(replace(kernel, oracle=work), threads, arguments, stream)

    def _carry_out(self, kernel: Kernel, threads: int, *arguments: object) -> None:
        outputs = [arguments[i] for i in kernel.outputs]
        inputs = {
            i: each.copy()
            for i, each in enumerate(arguments)
            if isinstance(each, np.ndarray)
            and not any(np.may_share_memory(each, output) for output in outputs)
        }
        values = [_in_c(each) for each in arguments]
        where = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        getattr(self.library, f"launch_{kernel.name}")(ctypes.c_uint(threads), where)
        for i, before in inputs.items():
            np.testing.assert_array_equal(arguments[i], before, f"{kernel.name} wrote argument {i}")


def _in_c(argument: object) -> ctypes.c_void_p | ctypes.c_int32 | ctypes.c_float:
    if isinstance(argument, np.ndarray):
        return ctypes.c_void_p(argument.ctypes.data)
    if argument is None:
        return ctypes.c_void_p(None)
    return {np.int32: ctypes.c_int32, np.float32: ctypes.c_float}[type(argument)](argument)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Every kernel, compiled by g++ without contraction, as NVRTC is told to."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    folder = tmp_path_factory.mktemp("kernels")
    launchers = "\n".join(f"LAUNCH({kernel.name})" for kernel in kernels.KERNELS)
    (folder / "kernels.cpp").write_text(f"{SOURCE}\n{launchers}\n")
    shim = Path(__file__).with_name("cuda_shim.h")
    options = ["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-include", str(shim)]
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
    command = ["g++", *options, *warnings, "kernels.cpp", "-o", "kernels.so"]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    return ctypes.CDLL(str(folder / "kernels.so"))


@pytest.fixture(scope="module")
def given() -> SimpleNamespace:
    """Pictures of odd sizes, soft mattes, and floats that look like what networks give."""
    random = np.random.default_rng(5)
    photo = np.ascontiguousarray(load_image(PORTRAIT)[3:238, 110:311])
    artwork = load_image(ARTWORKS / "night-harbour" / "painting.webp")
    canvas = np.ascontiguousarray(artwork[100:263, 200:389])
    height, width = photo.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    alpha = np.clip(1.4 - np.hypot(y - height / 2, x - width / 2) / 70, 0, 1).astype(np.float32)
    matte = (alpha * 255).astype(np.uint8)
    assert (matte == 0).any()
    assert (matte == 255).any()
    mask = np.ascontiguousarray(matte[20:183, 3:192])
    mask[0] = 0
    occluder = np.dstack([canvas[::-1], np.roll(mask, 40, axis=1)])
    return SimpleNamespace(
        photo=photo,
        alpha=alpha,
        matte=matte,
        canvas=canvas,
        mask=mask,
        occluder=np.ascontiguousarray(occluder),
        fore=photo.astype(np.float32) + random.uniform(-20, 20, photo.shape).astype(np.float32),
        back=random.uniform(0, 255, photo.shape).astype(np.float32),
        random=random,
    )


def _resample(source: type, target: type, bench: Bench, given: SimpleNamespace) -> None:
    methods = (tables.bilinear, tables.opencv_area, tables.opencv_cubic)
    methods += (tables.antialiased_bilinear, tables.antialiased_bicubic)
    pictures = (given.photo, given.matte, given.occluder)
    for method in methods:
        for picture in pictures:
            height, width = picture.shape[:2]
            start = bench.put(picture.astype(source))
            for size in ((71, 64), (height, width), (1, 3), (301, 253)):
                taps = bench.taps(method(height, size[0])), bench.taps(method(width, size[1]))
                end = bench.empty(*size, *picture.shape[2:], dtype=target)
                kernels.resample(bench.device, start, end, *taps, bench.stream)
    rows = tables.opencv_area(100, 53).moved(30).window(5, 40)
    columns = tables.opencv_cubic(90, 131).mirrored(90).moved(111)
    start, end = bench.put(given.photo.astype(source)), bench.empty(35, 131, 3, dtype=target)
    kernels.resample(bench.device, start, end, bench.taps(rows), bench.taps(columns), bench.stream)


def _resample_fixed(bench: Bench, given: SimpleNamespace) -> None:
    for picture in (given.photo, given.matte):
        height, width = picture.shape[:2]
        for size in ((71, 64), (256, 256), (1, 3), (301, 503)):
            rows = bench.put(tables.fixed_linear(height, size[0]))
            columns = bench.put(tables.fixed_linear(width, size[1]))
            end = bench.empty(*size, *picture.shape[2:])
            start = bench.put(picture)
            kernels.resample_fixed(bench.device, start, end, rows, columns, bench.stream)


def _pool(bench: Bench, given: SimpleNamespace) -> None:
    height, width = given.photo.shape[:2]
    whole = np.array([[0, 0, width, height]], np.int32)
    boxes = np.array([[5, 7, 60, 41], [0, 0, 9, 230], [200, 234, 201, 235], [3, 3, 80, 80]])
    for where, size in ((whole, (12, 17)), (whole, (180, 90)), (boxes.astype(np.int32), (24, 24))):
        end = bench.empty(len(where), *size, 3, dtype=np.float32)
        kernels.pool(bench.device, bench.put(given.photo), bench.put(where), end, bench.stream)


def _moments(bench: Bench, given: SimpleNamespace) -> None:
    broken = given.alpha.copy()
    broken[100, 50] = np.nan
    for alpha in (given.alpha * np.float32(0.9) - np.float32(0.01), given.alpha[:3, :5], broken):
        scratch = bench.empty(kernels.SCRATCH, dtype=np.float32)
        end = bench.empty(4, dtype=np.float32)
        start = bench.put(np.ascontiguousarray(alpha))
        kernels.moments(bench.device, start, scratch, end, bench.stream)


def _stretch(bench: Bench, given: SimpleNamespace) -> None:
    for low, high in ((0.0, 1.0), (0.03, 0.98), (0.5, 0.55)):
        alpha = bench.put(np.float32(low) + given.alpha * np.float32(high - low))
        ends = bench.put(np.array([low, high, 0, 0], np.float32))
        matte = bench.empty(*given.alpha.shape)
        kernels.stretch(bench.device, alpha, ends, 0.1, matte, bench.stream)


def _to_bytes(bench: Bench, given: SimpleNamespace) -> None:
    alpha = bench.put(given.alpha * np.float32(1.2) - np.float32(0.1))
    kernels.to_bytes(bench.device, alpha, bench.empty(*given.alpha.shape), bench.stream)


def _mean_colour(bench: Bench, given: SimpleNamespace) -> None:
    for rows in (235, 3):
        image, weight = bench.put(given.fore[:rows]), bench.put(given.alpha[:rows])
        scratch = bench.empty(kernels.SCRATCH, dtype=np.float32)
        end = bench.empty(4, dtype=np.float32)
        kernels.mean_colour(bench.device, image, weight, scratch, end, bench.stream)


def _fade(bench: Bench, given: SimpleNamespace) -> None:
    image, weight = bench.put(given.fore), bench.put(given.alpha)
    colour = bench.put(np.array([12.5, 130, 250, 9], np.float32))
    end = bench.empty(*given.fore.shape, dtype=np.float32)
    kernels.fade(bench.device, image, weight, colour, end, bench.stream)


def _weighted_mean(bench: Bench, given: SimpleNamespace) -> None:
    values, weight = bench.put(given.fore), bench.put(given.alpha)
    for box, inverse in ((20, True), (15, False), (3, True), (1, False)):
        end = bench.empty(*given.fore.shape, dtype=np.float32)
        kernels.weighted_mean(bench.device, values, weight, inverse, box, end, bench.stream)


def _correct(bench: Bench, given: SimpleNamespace) -> None:
    alpha, image = bench.put(given.alpha), bench.put(given.photo.astype(np.float32))
    fore, back = bench.put(given.fore), bench.put(given.back)
    kernels.correct(bench.device, alpha, image, fore, back, bench.stream)


def _unmix(bench: Bench, given: SimpleNamespace) -> None:
    fore, back = (
        bench.put(np.clip(layer[8:190, 17:], 0, 255).astype(np.uint8))
        for layer in (given.fore, given.back)
    )
    photo, matte, end = bench.put(given.photo), bench.put(given.matte), bench.put(given.photo)
    kernels.unmix(bench.device, photo, matte, fore, back, 17, 8, end, bench.stream)


def _paste(bench: Bench, given: SimpleNamespace) -> None:
    front, alpha = bench.put(given.photo), bench.put(given.matte)
    for x, y, occluder in ((-20, 31, given.occluder), (40, -100, None), (500, 0, None)):
        image, mask = bench.put(given.canvas), bench.put(given.mask)
        hiding = None if occluder is None else bench.put(occluder)
        kernels.paste(bench.device, image, mask, front, alpha, hiding, x, y, bench.stream)


def _darken(bench: Bench, given: SimpleNamespace) -> None:
    darkness = bench.put(given.alpha * np.float32(0.83))
    for x, y in ((-20, 31), (40, -100), (0, 400)):
        kernels.darken(bench.device, bench.put(given.canvas), darkness, x, y, bench.stream)


def _invert(bench: Bench, given: SimpleNamespace) -> None:
    end = bench.empty(*given.matte.shape)
    kernels.invert(bench.device, bench.put(given.matte), end, bench.stream)


def _over(bench: Bench, given: SimpleNamespace) -> None:
    every = np.arange(256, dtype=np.uint8)
    front, back = np.meshgrid(every, every)
    end = bench.put(np.ascontiguousarray(back))
    kernels.over(bench.device, bench.put(np.ascontiguousarray(front)), end, end, bench.stream)


def _look_up(bench: Bench, given: SimpleNamespace) -> None:
    picture, mask = bench.put(given.canvas), bench.put(given.mask)
    for side in (7, 2, 33):
        table = bench.put(given.random.uniform(-0.1, 1.1, (1, 3, side, side, side)).astype("f4"))
        for strength in (0.7, 1.0):
            end = bench.empty(*given.canvas.shape)
            kernels.look_up(bench.device, picture, mask, table, strength, end, bench.stream)


def _blend(bench: Bench, given: SimpleNamespace) -> None:
    picture, mask = bench.put(given.canvas), bench.put(given.mask)
    for height, width, x, y in ((163, 189, 0, 0), (60, 70, 50, 80), (99, 300, -50, 100)):
        colours = given.random.uniform(-1.1, 1.1, (3, height, width)).astype(np.float32)
        colours[:, 0] = np.nan if y == 0 else 0  # where the mask is 0
        end = bench.empty(*given.canvas.shape)
        kernels.blend(
            bench.device, picture, mask, bench.put(colours), 0.6, end, bench.stream, x=x, y=y
        )


def _gather(bench: Bench, given: SimpleNamespace) -> None:
    picture, mask = bench.put(given.canvas), bench.put(given.mask)
    rows, columns = np.array([3, 5, 150, 159]), np.array([185, 0, 9, 50, 51])
    for shrink in (4, 2, 1):
        end = bench.empty(4, shrink, 5, shrink, 4)
        where = bench.put(rows.astype(np.int32)), bench.put(columns.astype(np.int32))
        kernels.gather(bench.device, picture, mask, *where, end, bench.stream)


def _scatter(bench: Bench, given: SimpleNamespace) -> None:
    values = bench.put(np.ascontiguousarray(given.back.transpose(2, 0, 1)[:, :40, :30]))
    target = bench.put(np.zeros((3, 50, 61), np.float32))
    kernels.scatter(bench.device, values, 10, 31, target, bench.stream)


Case = Callable[[Bench, SimpleNamespace], None]
CASES: dict[str, Case] = {
    "resample_u8_u8": partial(_resample, np.uint8, np.uint8),
    "resample_u8_f32": partial(_resample, np.uint8, np.float32),
    "resample_f32_u8": partial(_resample, np.float32, np.uint8),
    "resample_f32_f32": partial(_resample, np.float32, np.float32),
    "resample_fixed": _resample_fixed,
    "pool": _pool,
    "moments": _moments,
    "moments_end": _moments,
    "mean_colour": _mean_colour,
    "mean_colour_end": _mean_colour,
    "stretch": _stretch,
    "to_bytes": _to_bytes,
    "fade": _fade,
    "weighted_mean": _weighted_mean,
    "correct": _correct,
    "unmix": _unmix,
    "paste": _paste,
    "darken": _darken,
    "invert": _invert,
    "over": _over,
    "look_up": _look_up,
    "blend": _blend,
    "gather": _gather,
    "scatter": _scatter,
}


def _on(device: Device, case: Case, given: SimpleNamespace) -> list[np.ndarray]:
    given.random = np.random.default_rng(7)  # the same on every device
    with Bench(device) as bench:
        case(bench, given)
        return bench.finish()


def _assert_same(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_array_equal(one, other, f"array {number}")


def test_every_kernel_has_a_case() -> None:
    assert CASES.keys() == {kernel.name for kernel in kernels.KERNELS}


@pytest.mark.parametrize("name", CASES)
def test_compiled_by_gxx_a_kernel_gives_its_oracles_bits(
    name: str, library: ctypes.CDLL, given: SimpleNamespace, host_device: HostDevice
) -> None:
    wanted = _on(host_device, CASES[name], given)
    with CompiledDevice(library) as compiled:
        _assert_same(_on(compiled, CASES[name], given), wanted)
        assert name in compiled.launched


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_on_a_gpu_a_kernel_gives_its_oracles_bits(
    name: str, cuda_device: Device, given: SimpleNamespace, host_device: HostDevice
) -> None:
    wanted = _on(host_device, CASES[name], given)
    _assert_same(_on(cuda_device, CASES[name], given), wanted)


@pytest.mark.parametrize("capability", MADE_FOR, ids=lambda c: f"sm_{c[0]}{c[1]}")
def test_nvrtc_compiles_exactly_the_kernels_that_are_launched(
    capability: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIVANT_CUBINS", str(tmp_path))
    try:
        known = compiler.architectures()
    except DeviceError as error:
        pytest.skip(str(error))
    if capability not in known:
        pytest.skip(f"this NVRTC does not compile for {capability}")
    code = compiler.cubin(SOURCE, capability)
    sections = set(re.findall(rb"\0\.text\.(\w+)", code))
    assert {name.decode() for name in sections} == {kernel.name for kernel in kernels.KERNELS}


def test_a_buffer_that_does_not_fit_is_refused(host_device: HostDevice) -> None:
    with Bench(host_device) as bench:
        matte, wide = bench.empty(5, 7), bench.empty(5, 8)
        with pytest.raises(ValueError, match=r"back: uint8 \[5, 8\], not uint8 \[5, 7\]"):
            kernels.over(host_device, matte, wide, matte, bench.stream)
        values, whole = (bench.empty(2, *size, dtype=np.float32) for size in ((3, 4), (4, 5)))
        with pytest.raises(ValueError, match=r"4x3 at \(1, 2\): not within 5x4"):
            kernels.scatter(host_device, values, 2, 1, whole, bench.stream)
        bench.finish()
