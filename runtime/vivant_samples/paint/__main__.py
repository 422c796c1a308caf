"""Paint the sample artworks into their folders: ``python -m vivant_samples.paint``."""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vivant.files import write_atomic
from vivant_samples import ARTWORKS
from vivant_samples.paint.fields import Array
from vivant_samples.paint.painting import Painting
from vivant_samples.paint.scenes import SCENES

QUALITY, OCCLUDER_QUALITY = 88, 92


def save(painting: Painting, folder: Path) -> None:
    """Write ``painting.webp`` and the occluders, which wear the colours of the written file."""
    folder.mkdir(parents=True, exist_ok=True)
    written = io.BytesIO()
    Image.fromarray(painting.image).save(written, "WEBP", quality=QUALITY, method=6)
    write_atomic(folder / "painting.webp", written.getvalue())
    colors = np.asarray(Image.open(written).convert("RGB"))
    for name, alpha in painting.occluders.items():
        occluder = Image.fromarray(_occluder(colors, alpha), "RGBA")
        stream = io.BytesIO()
        occluder.save(stream, "WEBP", quality=OCCLUDER_QUALITY, alpha_quality=100, method=6)
        write_atomic(folder / name, stream.getvalue())


def _occluder(colors: Array, alpha: Array) -> Array:
    """Return RGBA, uint8; colours far from any opaque pixel are dropped, they cost bytes."""
    near = cv2.dilate(alpha, np.ones((33, 33), np.uint8)) > 0
    return np.dstack([np.where(near[..., None], colors, 0), alpha])


def main() -> None:
    """Paint what was asked for and say how long it took."""
    parser = argparse.ArgumentParser("vivant_samples.paint", description=__doc__)
    parser.add_argument("--out", type=Path, default=ARTWORKS, help="folder of the artworks")
    parser.add_argument("--only", choices=sorted(SCENES), help="paint one artwork")
    parser.add_argument("--height", type=int, help="pixels, instead of the published height")
    options = parser.parse_args()
    for name, (paint, height) in SCENES.items():
        if options.only in (None, name):
            start = time.perf_counter()
            save(paint(options.height or height), options.out / name)
            print(f"{name}: {time.perf_counter() - start:.1f} s")  # noqa: T201 (a command)


if __name__ == "__main__":
    main()
