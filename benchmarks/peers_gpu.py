"""Our engines on a GPU beside torch on the same GPU: matte, harmonizer's encoder, score.

The network alone, with its inputs on the device: what a library makes of one and the same graph.
Torch runs the module that our engine was exported from, in FP32 (eager; convolutions in TF32, its
default), in FP16 (eager) and compiled (FP16). Ours run it in ONNX Runtime's CUDA provider and in
TensorRT, where there are plans. All in turn, each in a process of its own; every parity is that to
the FP32 engine on the processor, on the same inputs. Who cannot run here gets a row that says why.

On "host" the processor stands in for the GPU. That shows that the comparison works, not how fast
anything is.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gpu_ways
from comparison import Parity, Settings
from gpu_ways import Ran, Task
from interleave import Contender, Interleaved, Timing, interleave_all, median_ratio
from peers_score import candidates
from pictures import sample_composite, sample_frame
from report import Row, percentile, row
from vivant import machine
from vivant.backends import open_engine
from vivant.resampling import resample
from vivant.store import EngineStore

MODELS = {"matte": "rmbg-1.4", "harmonize": "inr-harmonization", "score": "bargainnet"}
"""By stage."""
BASE = "torch eager, fp32"
_ENCODER_SIDE = 256


@dataclass(frozen=True)
class Way:
    """How a graph is run: the library, the precision, and what ``gpu_ways`` is told."""

    backend: str
    precision: str
    arguments: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.backend}, {self.precision}"

    @property
    def contender(self) -> Any:
        """The function of ``gpu_ways`` that makes it."""
        return gpu_ways.torch_way if "half" in self.arguments else gpu_ways.engine_way


TORCH = (
    Way("torch eager", "fp32", {"half": False, "compiled": False}),
    Way("torch eager", "fp16", {"half": True, "compiled": False}),
    Way("torch.compile", "fp16", {"half": True, "compiled": True}),
)
OURS = {
    "onnxruntime-cuda": ("fp32", "fp16"),
    "tensorrt": ("fp32", "fp16", "int8-tensorrt"),
    "tensorrt-rtx": ("fp32", "fp16", "int8-tensorrt"),
}
"""The engine's variants that each backend is given."""


def engines(stages: Sequence[str], *, made: bool) -> list[tuple[str, str]]:
    """Return the engines that have to be there: FP32, and FP16 where they are made for this.

    In a store of somebody's own, what is missing becomes a row that says so.
    """
    precisions = ("fp32", "fp16") if made else ("fp32",)
    return [(MODELS[stage], precision) for stage in stages for precision in precisions]


def ways(store: EngineStore, model: str, device: str) -> list[Way]:
    """Return every way to run an engine of ``model``; INT8 where the store has it.

    On "host" FP32 alone: a processor takes forty times as long for torch's FP16.
    """
    host = device == "host"
    backends = {"onnxruntime": ("fp32",)} if host else OURS
    return [
        *(TORCH[:1] if host else TORCH),
        *(
            Way(backend, variant.partition("-")[0], {"variant": variant, "backend": backend})
            for backend, variants in backends.items()
            for variant in variants
            if not variant.startswith("int8") or variant in store.variants(model)
        ),
    ]


def tasks() -> dict[str, Task]:
    """Return the graphs that are run, and on what, by stage."""
    image, mask = sample_composite(1920, 1080)
    small = resample(image, _ENCODER_SIDE, _ENCODER_SIDE, "bilinear")
    share = resample(mask, _ENCODER_SIDE, _ENCODER_SIDE, "bilinear") / np.float32(255)
    photo = resample(sample_frame(), 1024, 1024, "bilinear")
    composites, masks = candidates(4, (1920, 1080))
    side = "bilinear-antialiased"
    scored = {
        "image": np.stack([resample(each, 256, 256, side) for each in composites]),
        "foreground": np.stack([resample(each, 256, 256, side) for each in masks]),
        "background": np.stack([resample(255 - each, 256, 256, side) for each in masks]),
    }
    encoded = {"image": small[np.newaxis], "mask": share[np.newaxis]}
    every = (
        Task("matte", MODELS["matte"], "model", "1024x1024", {"image": photo[np.newaxis]}),
        Task("harmonize", MODELS["harmonize"], "encoder", "256x256, encoder", encoded),
        Task("score", MODELS["score"], "model", "4 composites of 256x256", scored),
    )
    return {task.stage: task for task in every}


def rows(settings: Settings, stages: Sequence[str], device: str) -> Iterator[Row]:
    """Compare on the task of each stage; a row for every way, in the order of ``ways``."""
    every = tasks()
    for task in (every[stage] for stage in stages):
        given = ways(settings.store, task.model, device)
        contenders = {
            way.name: Contender(
                way.contender,
                {"store": settings.store, "task": task, "device": device, **way.arguments},
                warmup=5,
            )
            for way in given
        }
        done = interleave_all(contenders, processors=settings.threads, rounds=settings.rounds)
        now = dataclasses.asdict(machine.state())
        reference = _reference(settings.store, task)
        for way in given:
            yield {**_row(task, way, done, reference, device), "state": now}


def _reference(store: EngineStore, task: Task) -> dict[str, NDArray[Any]]:
    """Return the outputs of the FP32 engine in ONNX Runtime on the processor."""
    with open_engine(store.engine(task.model), task.graph) as engine:
        return engine.run(task.inputs)


def _row(
    task: Task,
    way: Way,
    done: Interleaved,
    reference: Mapping[str, NDArray[Any]],
    device: str,
) -> Row:
    facts: Row = {
        "backend": way.backend,
        "precision": way.precision,
        "size": task.size,
        "device": device,
        "compared": "gpu",
    }
    if way.name in done.left_out:
        return row(task.stage, **facts, missing=done.left_out[way.name])
    timing, base = done.timings[way.name], done.timings.get(BASE)
    ran: Ran = timing.result
    counted = _counted(timing, ran.gpu_ms)
    difference = parity(ran.outputs, reference)
    taken = ran.device_bytes
    against: Row = {}
    if base is not None:
        counted_base = _counted(base, base.result.gpu_ms)
        against = {
            "peer": BASE,
            "peer_ms": round(statistics.median(counted_base), 3),
            "ratio": round(median_ratio(counted_base, counted), 2),
        }
    return row(
        task.stage,
        **facts,
        **against,
        ours_ms=round(statistics.median(counted), 3),
        p95_ms=percentile(counted, 0.95, digits=3),
        wall_ms=round(statistics.median(_counted(timing, ran.wall_ms)), 3),
        parity=difference.value,
        parity_meaning=difference.meaning,
        peak_mb=round(timing.peak_mb),
        device_mb=None if taken is None else round(taken / 2**20),
        rounds=len(counted),
    )


def _counted(timing: Timing, runs: Sequence[float]) -> Sequence[float]:
    """Return the runs of the rounds; those before them warmed up."""
    return runs[-len(timing.milliseconds) :]


def parity(outputs: Mapping[str, NDArray[Any]], reference: Mapping[str, NDArray[Any]]) -> Parity:
    """Return the largest difference of any output, as a share of that output's largest value."""
    worst = 0.0
    for name, expected in reference.items():
        found = outputs[name].astype(np.float64)
        if found.shape != expected.shape:
            return Parity(None, f"{name} is {list(found.shape)}, not {list(expected.shape)}")
        if not np.isfinite(found).all():
            return Parity(None, f"{name} is not numbers")
        scale = float(np.abs(expected).max()) or 1.0
        worst = max(worst, float(np.abs(found - expected).max()) / scale)
    return Parity(worst, "largest difference, as a share of the output's largest value")


def print_row(each: Row) -> None:
    """Print what a row says, on a line or two."""
    name = f"{each['stage']}, {each['size']}: {each['precision']} in {each['backend']}"
    if reason := each.get("missing"):
        print(f"{name}\n  not here: {reason}", flush=True)
        return
    ratio = "" if each["ratio"] is None else f", {each['ratio']:.2f}x of {each['peer']}"
    memory = "" if each["device_mb"] is None else f", {each['device_mb']} MB of the device's memory"
    value = "none: " if each["parity"] is None else f"{each['parity']:.2g}: "
    print(
        f"{name}\n  {each['ours_ms']:.3f} ms on the device, {each['wall_ms']:.3f} ms in all"
        f"{ratio}{memory}\n  parity {value}{each['parity_meaning']}",
        flush=True,
    )
