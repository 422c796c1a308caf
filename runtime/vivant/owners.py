"""Whose is each pixel of a group: the cut between people who touch.

Bodies are where heads say: below each face a body of the canon's proportions, in head heights.
Where two of them overlap one person stands before the other. Both orders are tried, and the one
whose outlines the photo bears out is kept. The outlines themselves come from random walks (L.
Grady, "Multilabel Random Walker Image Segmentation Using Prior Models", CVPR 2005): every pixel
goes to the person whom a walker, held back by edges of colour, most likely reaches first; the
bodies' shape and the colours of each person's clothes are its prior. All of this is done on a
small picture; at full size a watershed then draws the cut along the photo's own edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.roles import Face, Image, Matte

HEAD = 24  # height of a head in the small picture, pixels: the unit of all that is below
LARGEST = 400  # longest side of the small picture

# All of this was set on nine pictures of people put together from others, whose owners are known.
HEAD_TO_FACE = 1.3  # height of a head, in heights of a face's box
SHOULDERS = 1.15  # half their width, in heads
LEGS = 4.0  # heads below the chin at which a body ends where another could begin
SHAPE, HIDING, CLOTHES = 3.0, 6.0, 2.0  # weights of a body's outline, of who is in front, of colour
MOST_CLOTHES = 6.0  # colours say no more than that
PRIOR = 0.01  # a pixel's prior, beside the 1 of a link between equal pixels
SHARPNESS = 0.4  # of links: their fall with each unit of CIE Lab
WEAKEST_LINK = 0.01
CUT_OFF = 1e-3  # a link out of the matte
STEPS = 40  # of conjugate gradients
BINS = 12  # of a colour histogram, along each axis
SMOOTH = 7  # diameter of the median that takes the frays out of a cut, pixels of the photo

_NEARBY = (0.25, 0.5, 0.25)  # by which histograms are smoothed
_TINY = 1e-20
_LEFT, _RIGHT = np.s_[..., :-1], np.s_[..., 1:]
_UPPER, _LOWER = np.s_[..., :-1, :], np.s_[..., 1:, :]

Owners: TypeAlias = NDArray[np.uint8]
"""uint8 [H,W]: the index of a person."""

_Floats: TypeAlias = NDArray[np.float32]
_Mask: TypeAlias = NDArray[np.bool_]


def find_owners(photo: Image, matte: Matte, faces: Sequence[Face]) -> Owners:
    """Return whose each pixel is, uint8 [H,W]: an index into ``faces``.

    A connected part of the matte with one face belongs to that person, one without a face to
    the person whose body is there. Beyond the matte owners have no meaning.

    Args:
        photo: uint8 [H,W,3] RGB.
        matte: uint8 [H,W].
        faces: of the people that the matte shows, two or more, in pixels of the photo.
    """
    scale = HEAD / (HEAD_TO_FACE * float(np.median([face.height for face in faces])))
    scale = min(scale, LARGEST / max(matte.shape), 1.0)
    size = max(round(matte.shape[1] * scale), 2), max(round(matte.shape[0] * scale), 2)
    small = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
    opaque = cv2.resize(matte, size, interpolation=cv2.INTER_AREA) >= 128
    group = _stand(faces, scale, opaque)
    return _drawn(photo, matte, _settled(group, _shares(group, small)), opaque)


@dataclass(frozen=True)
class _Group:
    """Where N people are in the small picture, before its colours are looked at.

    Attributes:
        opaque: bool [h,w], the matte.
        centers: row and column of each face.
        bodies: float32 [N,h,w], 0 on a body's axis, 1 on its outline, more outside.
        seeds: bool [N,h,w], what is surely theirs: face and upper chest.
    """

    opaque: _Mask
    centers: tuple[tuple[int, int], ...]
    bodies: _Floats
    seeds: _Mask


def _stand(faces: Sequence[Face], scale: float, opaque: _Mask) -> _Group:
    rows, columns = np.indices(opaque.shape, np.float32)
    centers, bodies, heads, chests = [], [], [], []
    for face in faces:
        head = HEAD_TO_FACE * face.height * scale
        x, y = face.center[0] * scale, face.center[1] * scale - 0.1 * head
        aside, down = np.abs(columns - x) / head, (rows - y) / head
        widths = 0.45, 0.45, 0.7 * SHOULDERS, SHOULDERS
        width = np.interp(down, (-0.3, 0.45, 0.75, 1.2), widths)
        above, below = np.maximum(-down, 0) / 0.6, np.maximum(down - 0.5, 0) / LEGS
        bodies.append((aside / width) ** 2 + above**2 + below**2)
        heads.append((aside / 0.3) ** 2 + (down / 0.42) ** 2 < 1)
        chests.append((aside < 0.22) & (down > 0.3) & (down < 1.3))
        centers.append(
            (min(max(round(y), 0), opaque.shape[0] - 1), min(max(round(x), 0), opaque.shape[1] - 1))
        )
    owner = np.zeros(opaque.shape, np.uint8)
    lowest_last = sorted(range(len(faces)), key=lambda number: faces[number].box[3])
    for masks in (chests, heads):  # a face that is seen is before every chest
        for number in lowest_last:
            owner[masks[number] & opaque] = number + 1
    seeds = np.stack([owner == number + 1 for number in range(len(faces))])
    return _Group(opaque, tuple(centers), np.stack(bodies).astype(np.float32), seeds)


# The random walks --------------------------------------------------------------------------------


_Links: TypeAlias = tuple[_Floats, _Floats]
"""How easily a walker goes between a pixel and its right, and its lower neighbour, 0..1."""


def _shares(group: _Group, small: Image) -> _Floats:
    """Return the chance of each person at each pixel, float32 [N,h,w]."""
    lab = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.uint8)
    links = _links(lab, group.opaque)
    others = [np.delete(group.bodies, number, 0).min(0) for number in range(len(group.bodies))]
    alone = (np.stack(others) > 1.3) & (group.bodies < 1.5)
    known = np.where(group.seeds.any(0), group.seeds, alone)
    clothes = _clothes(lab, known & group.opaque)
    hidden = _hidden(group, links, clothes)
    shares = _walk(group, links, hidden + clothes)
    for _ in range(2):
        clothes = _clothes(lab, np.where(shares > 0.8, shares, 0) * group.opaque)
        shares = _walk(group, links, hidden + clothes)
    return shares


def _links(lab: Image, opaque: _Mask) -> _Links:
    smooth = cv2.GaussianBlur(lab.astype(np.float32), (0, 0), 0.7)
    right = np.linalg.norm(smooth[:, 1:] - smooth[:, :-1], axis=2)
    down = np.linalg.norm(smooth[1:] - smooth[:-1], axis=2)
    inside = opaque[:, 1:] & opaque[:, :-1], opaque[1:] & opaque[:-1]
    right, down = (
        np.where(both, np.exp(-SHARPNESS * step) + WEAKEST_LINK, CUT_OFF).astype(np.float32)
        for step, both in zip((right, down), inside, strict=True)
    )
    return right, down


def _clothes(lab: Image, weights: NDArray[Any]) -> _Floats:
    """Return what each pixel's colour says against each person, float32 [N,h,w].

    It is the negative logarithm of a person's share in the colour, by the histograms of all.
    """
    spread = np.clip(2 * lab[..., 1:].astype(np.int32) - 128, 0, 255)  # a and b seldom go far
    index = (lab[..., 0].astype(np.int32) * BINS // 256) * BINS**2
    index += (spread[..., 0] * BINS // 256) * BINS + spread[..., 1] * BINS // 256
    found = []
    for weight in weights:
        histogram = np.bincount(index.ravel(), weight.ravel(), BINS**3).reshape((BINS,) * 3)
        for axis in range(3):
            histogram = np.apply_along_axis(np.convolve, axis, histogram, _NEARBY, "same")
        found.append(histogram.ravel()[index] / max(histogram.sum(), 1) + 1e-4)
    against = -CLOTHES * np.log(np.stack(found) / np.sum(found, axis=0))
    return np.asarray(np.minimum(against, MOST_CLOTHES), np.float32)


def _hidden(group: _Group, links: _Links, clothes: _Floats) -> _Floats:
    """Return what stands against each person where others are before them, float32 [N,h,w]."""
    hidden = np.zeros_like(group.bodies)
    for one, other in combinations(range(len(hidden)), 2):
        if not (group.opaque & (group.bodies[[one, other]] < 1).all(0)).any():
            continue
        ways = [_before(group, hidden, one, other), _before(group, hidden, other, one)]
        # A face that is seen within another's body is before it.
        within = group.bodies[other][group.centers[one]], group.bodies[one][group.centers[other]]
        if min(within) < 1:
            hidden = ways[int(np.argmin(within))]
        else:
            hidden = min(ways, key=lambda way: _misfit(group, links, way, clothes))
    return hidden


def _before(group: _Group, hidden: _Floats, front: int, back: int) -> _Floats:
    hidden = hidden.copy()
    inside = HIDING * np.clip(1 - group.bodies[front], 0, 1)
    hidden[back] = np.maximum(hidden[back], inside)
    return hidden


def _misfit(group: _Group, links: _Links, hidden: _Floats, clothes: _Floats) -> float:
    """Return by how much cuts miss the photo's edges, and people the colours of their clothes."""
    shares = _walk(group, links, hidden + clothes)
    right, down = links
    cut = (right * np.diff(shares, axis=2) ** 2).sum() + (down * np.diff(shares, axis=1) ** 2).sum()
    strange = (shares * (clothes - clothes.min(0)))[:, group.opaque].sum()
    return float(cut + PRIOR * strange)


def _walk(group: _Group, links: _Links, against: _Floats) -> _Floats:
    """Return where walkers from each pixel end, float32 [N,h,w], by conjugate gradients."""
    cost = SHAPE * np.clip(group.bodies - 1, -1, 4) + against
    likely = np.exp(cost.min(0) - cost)
    seeded = group.seeds.any(0)
    prior = np.where(seeded, group.seeds, likely / likely.sum(0)).astype(np.float32)
    hold = np.where(seeded, 1, PRIOR) * np.where(group.opaque, 1, CUT_OFF)
    hold = np.asarray(hold, np.float32)
    return _diffused(prior, hold, links)


def _diffused(prior: _Floats, hold: _Floats, links: _Links) -> _Floats:
    """Return ``prior`` [N,h,w] smoothed along ``links`` where ``hold`` [h,w] lets it.

    It minimises the sum of hold (x - prior)^2 and of link (x - neighbour)^2.
    """
    right, down = links
    diagonal = hold.copy()
    for side, link in ((_LEFT, right), (_RIGHT, right), (_UPPER, down), (_LOWER, down)):
        diagonal[side] += link

    def applied(x: _Floats) -> _Floats:
        y = hold * x
        for link, near, far in ((right, _LEFT, _RIGHT), (down, _UPPER, _LOWER)):
            flow = link * (x[near] - x[far])
            y[near] += flow
            y[far] -= flow
        return y

    x = prior
    rest = hold * prior - applied(x)
    scaled = rest / diagonal
    way = scaled
    size = np.vdot(rest, scaled)
    for _ in range(STEPS):
        turned = applied(way)
        length = size / max(np.vdot(way, turned), _TINY)
        x, rest = x + length * way, rest - length * turned
        scaled = rest / diagonal
        last, size = size, np.vdot(rest, scaled)
        way = scaled + size / max(last, _TINY) * way
    return x


# From shares to owners ---------------------------------------------------------------------------


def _settled(group: _Group, shares: _Floats) -> Owners:
    """Return the owner of each pixel of the small picture.

    A part of the matte goes to those whose faces are in it. What is apart from its owner's face
    and chest, though in one part with them, is an island and goes to its surroundings.
    """
    count, parts = _pieces(group.opaque)
    within = _counted(parts, count, group.seeds) > 0
    faceless = ~within.any(0)
    within[_counted(parts, count, shares)[:, faceless].argmax(0), faceless] = True
    owners = np.where(within[:, parts], shares, -1).argmax(0)
    shared = within.sum(0)[parts] > 1
    kept = group.opaque & ~shared
    for number, seeds in enumerate(group.seeds):
        count, pieces = _pieces(group.opaque & (owners == number))
        kept |= np.isin(pieces, np.setdiff1d(pieces[seeds], 0)) & shared
    return _nearest(owners, kept)


def _pieces(mask: _Mask) -> tuple[int, NDArray[np.int32]]:
    """Return the number of connected pieces, 0 (all else) among them, and each pixel's."""
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    return count, np.asarray(pieces, np.int32)


def _counted(parts: NDArray[np.int32], count: int, layers: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sum of each layer in each part, [N,count]."""
    return np.stack([np.bincount(parts.ravel(), layer.ravel(), count) for layer in layers])


def _nearest(owners: NDArray[Any], kept: _Mask) -> Owners:
    """Return ``owners`` where ``kept``, elsewhere that of the nearest such pixel."""
    _, index = cv2.distanceTransformWithLabels(
        (~kept).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(index.max() + 1, np.uint8)
    table[index[kept]] = owners[kept]
    return np.asarray(table[index], np.uint8)


def _drawn(photo: Image, matte: Matte, owners: Owners, opaque: _Mask) -> Owners:
    """Return the owners at the photo's size, the cuts between them along its edges."""
    size = photo.shape[1], photo.shape[0]
    near = np.ones((5, 5), np.uint8)
    unsure = cv2.morphologyEx(owners, cv2.MORPH_GRADIENT, near)
    unsure[cv2.dilate(opaque.astype(np.uint8), near) == 0] = 0
    unsure = cv2.resize(unsure, size, interpolation=cv2.INTER_NEAREST)
    drawn = np.asarray(cv2.resize(owners, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    x, y, width, height = cv2.boundingRect(unsure)
    if width:
        box = np.s_[max(y - 2, 0) : y + height + 2, max(x - 2, 0) : x + width + 2]
        drawn[box] = _flooded(photo[box], matte[box] >= 128, drawn[box], unsure[box] > 0)
    return drawn


def _flooded(photo: Image, opaque: _Mask, owners: Owners, unsure: _Mask) -> Owners:
    """Return ``owners``, where ``unsure`` those that a watershed of the photo finds.

    It floods what is ``opaque``; soft edges go with what they are the edge of.
    """
    wall = int(owners.max()) + 2
    markers = np.where(opaque, np.where(unsure, 0, owners.astype(np.int32) + 1), wall)
    markers = cv2.watershed(cv2.GaussianBlur(photo, (0, 0), 1.0), markers)
    found = (markers > 0) & (markers < wall) & opaque
    if not found.any():
        return owners
    flooded = _nearest(markers - 1, found)
    return np.where(unsure, cv2.medianBlur(flooded, SMOOTH), owners)
