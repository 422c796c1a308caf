"""MTCNN: Vivant beside facenet-pytorch's ``detect``, interleaved, on one 1920x1080 picture.

The peer is the package facenet-pytorch 2.6.0 as published (``make bench`` installs it). It
imports torchvision for non-maximum suppression only; that one function is supplied here, so that
torchvision itself, which comes with gigabytes of CUDA, need not be installed.
"""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interleave import Timing, interleave, median_ratio
from pictures import sample_frame
from report import plot, write_json
from vivant.faces.mtcnn import MtcnnDetector
from vivant.images import load_image
from vivant.store import open_store

Result = tuple[NDArray[Any], NDArray[Any]]


def main() -> None:
    """Print the comparison; write it as JSON and as a plot where asked."""
    arguments = _parser().parse_args()
    photo = load_image(arguments.photo) if arguments.photo else sample_frame()
    settings = {"photo": photo, "min_face": arguments.min_face, "threads": arguments.threads}
    timings = interleave(
        {"vivant": (ours, settings), "facenet-pytorch": (facenet_pytorch, settings)},
        processors=arguments.threads,
        rounds=arguments.rounds,
    )
    row = _row(timings["vivant"], timings["facenet-pytorch"], arguments, photo.shape)
    _print(row)
    if arguments.json:
        write_json(arguments.json, [row])
    if arguments.plot:
        title = f"MTCNN, {row['size']}, {row['threads']} thread(s): {row['ratio']}x"
        plot(arguments.plot, {name: t.milliseconds for name, t in timings.items()}, title)


def ours(photo: NDArray[np.uint8], min_face: int, threads: int) -> Callable[[], Result]:
    """Vivant's detector."""
    import cv2

    cv2.setNumThreads(threads)
    detector = MtcnnDetector.open(open_store(), threads=threads)

    def run() -> Result:
        faces = detector.detect(photo, min_face=min_face)
        return np.array([f.box for f in faces]), np.array([f.landmarks for f in faces])

    return run


def facenet_pytorch(photo: NDArray[np.uint8], min_face: int, threads: int) -> Callable[[], Result]:
    """The peer's detector, in float32 on the CPU."""
    import torch

    torch.set_num_threads(threads)
    _supply_torchvision()
    from facenet_pytorch import MTCNN

    detector = MTCNN(keep_all=True, min_face_size=min_face)

    def run() -> Result:
        boxes, _, landmarks = detector.detect(photo, landmarks=True)
        return (np.empty((0, 4)), np.empty((0, 5, 2))) if boxes is None else (boxes, landmarks)

    return run


def _supply_torchvision() -> None:
    """Stand in for the two names that facenet-pytorch imports from torchvision."""
    import torch

    def batched_nms(boxes: Any, scores: Any, _groups: Any, threshold: float) -> Any:
        """Torchvision's semantics for one group: best first, suppress above the threshold."""
        array = boxes.numpy()
        order = np.argsort(-scores.numpy(), kind="stable")
        areas = (array[:, 2] - array[:, 0]) * (array[:, 3] - array[:, 1])
        keep = []
        while order.size:
            best, order = order[0], order[1:]
            keep.append(best)
            start = np.maximum(array[best, :2], array[order, :2])
            size = np.maximum(np.minimum(array[best, 2:], array[order, 2:]) - start, 0)
            overlap = size[:, 0] * size[:, 1]
            order = order[~(overlap / (areas[best] + areas[order] - overlap) > threshold)]
        return torch.as_tensor(np.array(keep, np.int64))

    names = ("", ".transforms", ".transforms.functional", ".ops", ".ops.boxes")
    modules = {f"torchvision{name}": types.ModuleType(f"torchvision{name}") for name in names}
    modules["torchvision.transforms"].functional = modules["torchvision.transforms.functional"]  # type: ignore[attr-defined]
    modules["torchvision.ops.boxes"].batched_nms = batched_nms  # type: ignore[attr-defined]
    sys.modules.update(modules)


def _row(
    own: Timing, peer: Timing, arguments: argparse.Namespace, shape: tuple[int, ...]
) -> dict[str, Any]:
    same = len(own.result[0]) == len(peer.result[0])
    deviations = (
        [float(np.abs(a - b).max()) for a, b in zip(own.result, peer.result, strict=True)]
        if same and len(own.result[0])
        else []
    )
    return {
        "stage": "faces",
        "peer": "facenet-pytorch 2.6.0",
        "size": f"{shape[1]}x{shape[0]}",
        "min_face": arguments.min_face,
        "faces": [len(own.result[0]), len(peer.result[0])],
        "ours_ms": round(own.median, 2),
        "peer_ms": round(peer.median, 2),
        "ratio": round(median_ratio(peer, own), 2),
        "parity": max(deviations, default=0.0) if same else None,
        "peak_mb": round(own.peak_mb),
        "peer_peak_mb": round(peer.peak_mb),
        "backend": "onnxruntime cpu",
        "precision": "fp32",
        "threads": arguments.threads,
        "rounds": len(own.milliseconds),
    }


def _print(row: dict[str, Any]) -> None:
    parity = "different number of faces" if row["parity"] is None else f"{row['parity']:.5f} px"
    print(f"MTCNN, {row['size']}, min_face {row['min_face']}, {row['threads']} thread(s)")
    print(f"  vivant           {row['ours_ms']:8.1f} ms   peak {row['peak_mb']:5} MB")
    print(f"  facenet-pytorch  {row['peer_ms']:8.1f} ms   peak {row['peer_peak_mb']:5} MB")
    print(f"  ratio            {row['ratio']:8.2f} x    (median of {row['rounds']} pairs)")
    print(f"  faces {row['faces'][0]} and {row['faces'][1]}, largest difference: {parity}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photo", type=Path, help="a picture instead of the 1920x1080 sample")
    parser.add_argument("--min-face", type=int, default=60, help="smallest face, pixels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, help="write the row to this file")
    parser.add_argument("--plot", type=Path, help="write a PNG to this file")
    return parser


if __name__ == "__main__":
    main()
