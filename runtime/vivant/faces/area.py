"""Adaptive average pooling of a picture and of any of its crops, from one integral image.

MTCNN's networks were trained on pictures reduced this way (``interpolate(mode="area")`` in
PyTorch): output pixel *i* of *n* is the mean over input pixels floor(i*size/n) to
ceil((i+1)*size/n) - 1. OpenCV's INTER_AREA weighs the border pixels instead, which moves boxes
by tens of pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.roles import Image

Edges = NDArray[np.intp]

_ROWS = 8  # rows at once: as many as stay in the processor's cache


class AreaSampler:
    """Reduces one picture to many sizes at the cost of four look-ups per output pixel.

    The integral image is int32 and wraps around in pictures of more than 8 megapixels; a
    window's sum is a difference, in which the wrap cancels as long as the window itself holds
    fewer than 8 megapixels.
    """

    def __init__(self, picture: Image) -> None:
        self.height, self.width = picture.shape[:2]
        self._integral: NDArray[np.int32] = cv2.integral(picture, sdepth=cv2.CV_32S)  # type: ignore[assignment]

    def resize(self, height: int, width: int) -> NDArray[np.float32]:
        """Return the whole picture at another size: float32 [1,height,width,3], 0..255."""
        top, bottom = _window_edges(np.zeros(1, np.intp), np.full(1, self.height), height)
        left, right = _window_edges(np.zeros(1, np.intp), np.full(1, self.width), width)
        sums = np.empty((1, height, width, 3), np.int32)
        for row in range(0, height, _ROWS):
            some = slice(row, row + _ROWS)
            rows = self._integral[bottom[0, some]]
            rows -= self._integral[top[0, some]]
            ends, starts = rows.take(right[0], axis=1), rows.take(left[0], axis=1)
            np.subtract(ends, starts, out=sums[0, some])
        return _mean(sums, bottom - top, right - left)

    def crops(self, boxes: NDArray[np.intp], side: int) -> NDArray[np.float32]:
        """Return crops of the picture reduced or enlarged to a square.

        Args:
            boxes: [N,4], x1, y1, x2, y2: first and one-past-last pixel, inside the picture,
                not empty.
            side: of the squares, in pixels.

        Returns:
            float32 [N,side,side,3], 0..255.
        """
        left, right = _window_edges(boxes[:, 0], boxes[:, 2], side)
        top, bottom = _window_edges(boxes[:, 1], boxes[:, 3], side)
        flat = self._integral.reshape(-1, 3)
        above, below = top[:, :, None] * (self.width + 1), bottom[:, :, None] * (self.width + 1)
        left_, right_ = left[:, None, :], right[:, None, :]
        sums = flat.take(below + right_, axis=0) - flat.take(below + left_, axis=0)
        sums -= flat.take(above + right_, axis=0) - flat.take(above + left_, axis=0)
        return _mean(sums, bottom - top, right - left)


def _window_edges(start: Edges, stop: Edges, count: int) -> tuple[Edges, Edges]:
    """Return first and one-past-last pixel [N,count] of ``count`` windows from start to stop."""
    size = (stop - start)[:, None]
    index = np.arange(count)
    first = index * size // count
    last = -(-(index + 1) * size // count)
    return start[:, None] + first, start[:, None] + last


def _mean(sums: NDArray[np.int32], heights: Edges, widths: Edges) -> NDArray[np.float32]:
    """Divide sums [N,h,w,3] by the areas of their windows: heights [N,h] times widths [N,w]."""
    # One area per value and not per pixel: NumPy is slow along an axis of three.
    widths = np.repeat(widths.astype(np.float32), 3, axis=1)
    areas = heights.astype(np.float32)[:, :, None] * widths[:, None, :]
    mean: NDArray[np.float32] = np.divide(sums.reshape(areas.shape), areas, dtype=np.float32)
    return mean.reshape(sums.shape)
