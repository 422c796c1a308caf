"""RMBG-1.4 at 1024x1024 beside its official pipe in torch, beside rembg, and our engines.

From a photo to a matte of the photo's size, all with the same weights.

**rembg** has a session for a model file of one's own that computes what RMBG-1.4 wants:
``dis_custom``, with mean 0.5 and deviation 1 at 1024x1024. It hands over normalised floats
[1,3,S,S] and takes [1,1,S,S] back, where our file takes bytes [1,S,S,3] and returns [1,S,S]. So
it gets our very file without its first four nodes (bytes to normalised floats) and its last (a
dimension less): everything from the first convolution to the sigmoid is the same, and what comes
before and after is rembg's own. It resizes with LANCZOS both ways and divides by the brightest
pixel, so that its matte is not the official one; its distance is told all the same. Both get the
same number of threads, told to rembg's session explicitly.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from comparison import Parity, Settings, compare
from engines import network_of
from interleave import Contender, Timing, interleave
from pictures import sample_frame
from report import Row
from standins import supply, unused
from vivant.mattes.rmbg import RmbgMatter
from vivant.roles import Face, Image, Matte, Matting
from vivant.store import EngineStore
from vivant.tuning import Choice

MODEL = "rmbg-1.4"
ENGINES = ((MODEL, "fp32"), (MODEL, "int8"))
_SIDE = 1024


@dataclass(frozen=True)
class Way:
    """A way to run our engine: its file, the library that runs it, the precision it has there."""

    variant: str
    backend: str
    precision: str


_BASE = Way("fp32", "onnxruntime", "fp32")
_OTHERS = (
    Way("int8", "onnxruntime", "int8"),
    Way("fp32", "openvino", "fp32"),
    Way("fp32", "openvino-bf16", "bf16"),
    Way("int8", "openvino", "int8"),
)


def rows(settings: Settings) -> Iterator[Row]:
    """Compare on one 1920x1080 picture: with the originals, then our engines with each other."""
    given = {"store": settings.store, "photo": sample_frame(), "threads": settings.threads}
    ways = {f"vivant {way.precision}, {way.backend}": way for way in (_BASE, *_OTHERS)}
    originals = {
        "RMBG-1.4 official pipe, torch eager": Contender(torch_pipe, given),
        "rembg 2.0.86, dis_custom": Contender(rembg, given),
    }
    timings = interleave(
        {
            **{name: Contender(ours, {**given, "way": way}) for name, way in ways.items()},
            **originals,
        },
        processors=settings.threads,
        rounds=settings.rounds,
    )
    base, *others = ways
    for peer in originals:
        yield _row(timings[base], timings[peer], peer, _BASE, settings.threads)
    for name in others:
        if name in timings:
            yield _row(timings[name], timings[base], base, ways[name], settings.threads)


def _row(own: Timing, peer: Timing, name: str, way: Way, threads: int) -> Row:
    distance = np.abs(own.result.astype(np.int16) - peer.result)
    words = f"mean difference of alpha, 0..1; largest {distance.max() / 255:.3g}"
    return compare(
        "matte",
        name,
        own,
        peer,
        size="1920x1080",
        parity=Parity(float(distance.mean() / 255), words),
        threads=threads,
        backend=way.backend,
        precision=way.precision,
    )


def ours(store: EngineStore, photo: Image, threads: int, way: Way) -> Callable[[], Matte]:
    """Vivant's matter."""
    cv2.setNumThreads(threads)
    chosen = replace(store, choices={MODEL: Choice(way.variant, way.backend)})
    matter = RmbgMatter.open(chosen, MODEL, threads=threads)
    return lambda: matter.matte(photo, ()).matte


def torch_pipe(store: EngineStore, photo: Image, threads: int) -> Callable[[], Matte]:
    """The official pipe."""
    matter = TorchMatter(store, threads)
    return lambda: matter.matte(photo, ()).matte


class TorchMatter:
    """RMBG-1.4's official pipe, in eager torch, as a ``vivant.roles.Matter``.

    The network has the authors' layers. It spares itself five side outputs that they compute for
    training.
    """

    def __init__(self, store: EngineStore, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._network = network_of(store, MODEL)

    def matte(self, photo: Image, _faces: Sequence[Face]) -> Matting:
        """Return the matte; the pipe has no confidence."""
        import torch
        from torch.nn import functional

        with torch.inference_mode():
            x = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
            x = functional.interpolate(x, (_SIDE, _SIDE), mode="bilinear") / 255 - 0.5
            alpha = self._network(x).sigmoid()
            alpha = functional.interpolate(alpha, photo.shape[:2], mode="bilinear")[0, 0]
            low, high = alpha.min(), alpha.max()
            matte = ((alpha - low) / (high - low) * 255).to(torch.uint8).numpy()
        return Matting(matte, 1.0)


def rembg(store: EngineStore, photo: Image, threads: int) -> Callable[[], Matte]:
    """rembg, asked for the mask alone."""
    _supply_imports()
    import onnxruntime
    from rembg import new_session, remove

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        os.environ["U2NET_HOME"] = folder  # it opens no file elsewhere
        model = Path(folder) / "model.onnx"
        model.write_bytes(_for_rembg(store.engine(MODEL, "fp32").read("model")))
        session = new_session(
            "dis_custom",
            sess_opts=options,
            providers=["CPUExecutionProvider"],
            model_path=str(model),
        )
    return lambda: np.asarray(remove(photo, session=session, only_mask=True))


def _for_rembg(file: bytes) -> bytes:
    """Return our engine's file between its normalised floats and its sigmoid."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(file)
    graph = model.graph
    first = next(n for n, node in enumerate(graph.node) if node.op_type == "Conv")
    last = next(n for n, node in enumerate(graph.node) if node.op_type == "Sigmoid")
    entry, result = graph.node[first].input[0], graph.node[last].output[0]
    shapes = {entry: (1, 3, _SIDE, _SIDE), result: (1, 1, _SIDE, _SIDE)}
    ends = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    kept = helper.make_graph(
        graph.node[first : last + 1],
        "from floats",
        [ends[entry]],
        [ends[result]],
        graph.initializer,
    )
    edited = helper.make_model(kept, opset_imports=model.opset_import, ir_version=model.ir_version)
    return bytes(edited.SerializeToString())


def _supply_imports() -> None:
    """Stand in for what rembg imports for other models, cut-outs and downloads."""
    supply(
        {
            "pooch": unused(["retrieve"]),
            "jsonschema": unused(["validate"]),
            "pymatting.alpha.estimate_alpha_cf": unused(["estimate_alpha_cf"]),
            "pymatting.foreground.estimate_foreground_ml": unused(["estimate_foreground_ml"]),
            "pymatting.util.util": unused(["stack_images"]),
            "scipy.ndimage": unused(["binary_erosion", "gaussian_filter", "map_coordinates"]),
            "skimage.morphology": unused(["disk", "opening"]),
        }
    )
