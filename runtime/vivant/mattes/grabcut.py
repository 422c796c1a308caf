"""The classic matter: no weights, no download, runs anywhere. It needs a face.

A face says where its body can be. From that silhouette, in units of the face, three judges
decide what is person: local colour evidence (`_evidence`), plain GrabCut at several sizes
(`_votes`), and about the hair GrabCut seeded by the evidence (`_seeded_cut`). A last minimal cut
of all three draws the line (`_settle`), and the edge is made soft at the photo's resolution
(`_refine`). It is the fallback that it looks like: good for upright people, weak for raised
arms and for clothes of the colour behind them. `Matting.confidence` says how far to believe it.

After Rother, Kolmogorov and Blake, "GrabCut" (2004). GrabCut alone is fickle: a picture a tenth
larger can lose a sleeve or win a window, hence the votes. The evidence is colour histograms in a
coarse grid over the picture, the bilateral grid of Chen, Paris and Durand (2007).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.errors import SubjectError
from vivant.filters import (
    Plane,
    apply_coefficients,
    blurred,
    guided_coefficients,
    guided_filter,
    local_alpha,
    resized,
    unit,
)
from vivant.mattes.silhouette import (
    ABOVE,
    ARMS,
    AROUND,
    ASIDE,
    BELOW,
    BESIDE_HEAD,
    COLLAR,
    HAIR,
    HAT,
    SPINE,
    SURE,
    Mask,
    Person,
    filled,
    locate,
    silhouette,
)
from vivant.roles import Face, Image, Matte, Matting

_WORK_SIDE = 384  # longest side at which the line is drawn
_VOTE_SIDES = (224, 288, 352)  # longest sides at which GrabCut votes
_EDGE_SIDE = 1024  # longest side at which the edge's opacity is solved
_FULL_SIDE = 3072  # above, the edge is enlarged without the photo's help: memory

# The last cut, in log-odds of person. Set on the same photos.
_EVIDENCE, _MOST_EVIDENCE = 0.8, 1.3  # weight of the evidence, and the most it speaks for person
_VOTE, _HAIR_VOTE = 1.4, 2.0  # what GrabCut's votes add or take; about the hair, the seeded cut's
_CERTAIN = 4.0  # from where the data term rises no further
_DATA_TERM = 30.0  # the most it can be; OpenCV's smoothness term is 50 at most

# Confidence. Set on a dozen photos, not an accuracy claim: 0 at the first, 1 at the second.
_AGREEMENT = (0.35, 0.75)  # IoU of the silhouette and the result
_SPARSE, _SPREAD = (0.3, 0.6), (2.6, 1.6)  # area of the result / of the silhouette
_CONTACT = (0.35, 0.05)  # share of the frame above the chins that the result touches
_BLACK = 24  # of 255: rows and columns no brighter are bars, not picture
_LEAST_FACE, _MOST_FRAME = 0.3, 0.97  # implausible: share of the faces' area, of the frame


class GrabCutMatter:
    """Separates people from their background by their faces and the photo's colours alone."""

    def matte(self, photo: Image, faces: Sequence[Face]) -> Matting:
        """Return the matte of the people whose ``faces`` are given, and a confidence.

        Args:
            photo: uint8 [H,W,3] RGB.
            faces: those to keep, boxes in pixels of ``photo``; they may reach beyond it.

        Raises:
            SubjectError: no face, or no plausible person around the faces.
        """
        if not faces:
            raise SubjectError(
                "no face found; face the camera, with more light and nothing before the face"
            )
        window = _window(photo, faces)
        area = photo[window]
        small = _reduced(area, min(1.0, _WORK_SIDE / max(area.shape[:2])))
        scale = small.shape[1] / area.shape[1]
        people = [locate(face, window[1].start, window[0].start, scale) for face in faces]
        prior = silhouette(small.shape[:2], people)
        chance = _evidence(small, prior, people)
        votes = _votes(area, small.shape[:2], people)
        hair = _seeded_cut(small, prior, chance, people)
        mask = _settle(small, chance, votes, hair, people)
        mask = _tidy(mask, chance, people)
        confidence = _confidence(mask, prior, people)
        full = np.zeros(photo.shape[:2], np.uint8)
        full[window] = _refine(area, mask, people)
        return Matting(full, confidence)


def _window(photo: Image, faces: Sequence[Face]) -> tuple[slice, slice]:
    """Return the rows and columns in arm's reach of the faces, without black bars."""
    height, width = photo.shape[:2]
    reach = []
    for face in faces:
        if not all(map(math.isfinite, face.box)) or min(face.height, face.width) < 1:
            raise SubjectError(f"a face box of no size {face.box}; detect the faces again")
        x, chin, size = face.center[0], face.box[3], face.height
        sides = (x - ASIDE * size, chin - ABOVE * size, x + ASIDE * size, chin + BELOW * size)
        reach.append(sides)
    x1, y1 = (max(0, math.floor(min(sides[i] for sides in reach))) for i in (0, 1))
    x2 = min(width, math.ceil(max(sides[2] for sides in reach)))
    y2 = min(height, math.ceil(max(sides[3] for sides in reach)))
    if x2 - x1 < 2 or y2 - y1 < 2:
        raise SubjectError("the faces lie outside the picture; detect them again")
    step = max(1, max(y2 - y1, x2 - x1) // 512)
    lit = photo[y1:y2:step, x1:x2:step].max(axis=2) > _BLACK
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if rows.size:
        y1, y2 = y1 + int(rows[0]) * step, min(y2, y1 + int(rows[-1] + 1) * step)
        x1, x2 = x1 + int(columns[0]) * step, min(x2, x1 + int(columns[-1] + 1) * step)
    return slice(y1, y2), slice(x1, x2)


def _reduced(picture: Image, scale: float) -> Image:
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _logit(chance: Plane, limit: float = 0.01) -> Plane:
    chance = np.clip(chance, limit, 1 - limit)
    return np.asarray(np.log(chance / (1 - chance)), np.float32)


def _colour_cells(small: Image, cell: float) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Return each pixel's cell in a grid over place (y, x) and Lab colour, and the grid."""
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[..., 1:] = np.clip((lab[..., 1:] - 128) * 1.8 + 128, 0, 255)  # chroma spans little of 8 bit
    bins = (lab / 16).astype(np.int64)
    rows, columns = np.indices(small.shape[:2])
    place = np.round(np.stack([rows, columns]) / cell).astype(np.int64)
    grid = (int(place[0].max()) + 1, int(place[1].max()) + 1, 16, 16, 16)
    cells = np.ravel_multi_index((*place, bins[..., 0], bins[..., 1], bins[..., 2]), grid)
    return cells, grid


def _splat(cells: NDArray[np.int64], weights: Plane, grid: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the smoothed histogram of ``weights`` over the grid."""
    counts = np.bincount(cells.ravel(), weights.ravel(), minlength=math.prod(grid))
    out = counts.astype(np.float32).reshape(grid)
    for axis in range(out.ndim):
        values = np.moveaxis(out, axis, 0)
        mixed = values * np.float32(0.5)
        mixed[1:] += 0.25 * values[:-1]
        mixed[:-1] += 0.25 * values[1:]
        out = np.moveaxis(mixed, 0, axis)
    return out


def _evidence(small: Image, prior: Plane, people: Sequence[Person], rounds: int = 6) -> Plane:
    """Return the probability of person from place and colour, round by round.

    Each round counts how often every colour was person, over the whole picture and nearby,
    and adds both as log-likelihood ratios to the prior's log-odds. The prior's weight falls
    as the colours become known.
    """
    size = float(np.median([person.unit for person in people]))
    cells, grid = _colour_cells(small, max(size / 2, max(small.shape) / 12, 8.0))
    guide = unit(small)
    seen = _splat(cells, np.ones(prior.shape, np.float32), grid)
    seen_all, seen_here = seen.sum((0, 1)), seen.sum((2, 3, 4), keepdims=True)
    chance, sure = prior, prior >= SURE
    floor = np.where(prior > 0.91, -1.5, -5)  # the head: colour alone must not take its hair
    for weight in np.linspace(0.8, 0.55, rounds):
        person = _splat(cells, chance, grid)
        person_all = person.sum((0, 1))
        mean = person_all.sum() / seen_all.sum()
        mean_here = person.sum((2, 3, 4), keepdims=True) / np.maximum(seen_here, 1e-6)
        mean_here = np.clip(mean_here, 0.1, 0.9)
        overall = _logit((person_all + 2 * mean) / (seen_all + 2)) - _logit(mean)
        nearby = _logit((person + 30 * mean_here) / (seen + 30)) - _logit(mean_here)
        ratio = (1.2 * nearby + 0.8 * overall).ravel()[cells]
        odds = weight * _logit(prior, 0.004) + np.clip(ratio, floor, 5)
        chance = guided_filter(guide, (1 / (1 + np.exp(-odds))).astype(np.float32), 4, 1e-3)
        chance[sure] = 1
    return chance


def _votes(area: Image, shape: tuple[int, int], people: Sequence[Person]) -> Plane:
    """Return the share of GrabCut's runs, each at another size, that say person, 0..1."""
    longest = max(area.shape[:2])
    sides = sorted({min(side, longest) for side in _VOTE_SIDES})
    total = np.zeros(shape, np.float32)
    for side in sides:
        small = _reduced(area, side / longest)
        sized = [person.scaled(small.shape[1] / shape[1]) for person in people]
        mask = _plain_cut(small, sized).astype(np.float32)
        total += resized(mask, shape, cv2.INTER_AREA) / len(sides)
    return total


def _plain_cut(small: Image, people: Sequence[Person]) -> Mask:
    """Return the mask (0, 1) of GrabCut from the silhouette alone."""
    size = float(np.median([person.unit for person in people]))
    likely = filled(small.shape[:2], people, AROUND)
    near = _morphed(likely, cv2.MORPH_DILATE, 0.6 * size)
    labels = np.where(likely > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[near == 0] = cv2.GC_BGD
    labels[filled(small.shape[:2], people, SPINE) > 0] = cv2.GC_FGD
    return _grabcut(small, labels)


def _grabcut(picture: Image, labels: Mask) -> Mask:
    """Run GrabCut from ``labels``; return its mask (0, 1)."""
    if (labels & 1).any() and not (labels & 1).all():
        cv2.setRNGSeed(0)  # grabCut draws from OpenCV's global generator
        models = np.zeros((1, 65)), np.zeros((1, 65))
        unused = (0, 0, 1, 1)  # the rectangle, where a mask is given
        cv2.grabCut(picture, labels, unused, *models, 3, cv2.GC_INIT_WITH_MASK)
    return np.asarray(labels & 1, np.uint8)


def _seeded_cut(small: Image, prior: Plane, chance: Plane, people: Sequence[Person]) -> Mask:
    """Return the mask (0, 1) of GrabCut seeded by the evidence."""
    labels = np.where(chance > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[(chance < 0.12) & (prior < 0.7)] = cv2.GC_BGD
    beside = filled(prior.shape, people, BESIDE_HEAD) > 0  # bystanders more often than arms
    labels[(chance < 0.4) & (prior < 0.18) & beside] = cv2.GC_BGD
    head = filled(prior.shape, people, HAIR) > 0
    labels[(chance > np.where(head, 0.65, 0.88)) & (prior > 0.3)] = cv2.GC_FGD
    labels[prior >= SURE] = cv2.GC_FGD
    return _grabcut(small, labels)


def _settle(
    small: Image, chance: Plane, votes: Plane, hair: Mask, people: Sequence[Person]
) -> Mask:
    """Return the mask (0, 1) of a minimal cut of the evidence and the votes together.

    `cv2.grabCut` with frozen models is a plain minimal cut: here the picture's first channel is
    the log-odds of person, and one Gaussian at each of its ends makes the data term linear in
    them. The other channels, lightness and hue, only say where an edge costs little.
    """
    head = filled(small.shape[:2], people, HAT) > 0
    opinion = np.where(head, _HAIR_VOTE * (2.0 * hair - 1), _VOTE * (2 * votes - 1))
    odds = np.minimum(_EVIDENCE * _logit(chance), _MOST_EVIDENCE) + opinion
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    hue = 128 + 1.5 * (lab[..., 1] - 128) + 1.2 * (lab[..., 2] - 128)
    certainty = 127.5 * (1 + np.clip(odds / _CERTAIN, -1, 1))
    picture = np.clip(np.stack([certainty, lab[..., 0], hue], axis=-1), 0, 255).astype(np.uint8)
    labels = np.where(odds > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[filled(small.shape[:2], people, SPINE) > 0] = cv2.GC_FGD
    if not (labels & 1).all():
        models = _end_model(0), _end_model(255)
        cv2.grabCut(picture, labels, (0, 0, 1, 1), *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    return np.asarray(labels & 1, np.uint8)


def _end_model(end: float) -> NDArray[np.float64]:
    """Return OpenCV's model of one Gaussian at ``end`` of the first channel, flat in the others.

    The layout is that of its five components: weights, means, covariances.
    """
    weights, means, covariances = np.zeros(5), np.zeros((5, 3)), np.zeros((5, 3, 3))
    variance = 255**2 / (2 * _DATA_TERM)
    weights[0], means[0], covariances[0] = 1, (end, 128, 128), np.diag([variance, 1e6, 1e6])
    return np.concatenate([weights, means.ravel(), covariances.ravel()])[np.newaxis]


def _morphed(mask: Mask, how: int, radius: float) -> Mask:
    size = 2 * max(1, round(radius)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.morphologyEx(mask, how, disc), np.uint8)


def _attached(mask: Mask, seeds: Mask) -> Mask:
    """Return the connected parts of ``mask`` that hold a seed."""
    _, parts = cv2.connectedComponents(mask, connectivity=4)
    found = np.unique(parts[(seeds & mask) > 0])
    return np.asarray(np.isin(parts, found[found > 0]), np.uint8)


def _tidy(mask: Mask, chance: Plane, people: Sequence[Person]) -> Mask:
    """Keep what hangs together with the faces by more than a thread, and fill small holes."""
    size = float(np.median([person.unit for person in people]))
    sure = filled(mask.shape, people, SPINE)
    mask = mask | sure
    thick = _morphed(mask, cv2.MORPH_OPEN, 0.07 * size) | sure
    thick = _morphed(_attached(thick, sure), cv2.MORPH_DILATE, 0.12 * size)
    mask = _attached(thick & mask, sure)
    closed = _morphed(mask, cv2.MORPH_CLOSE, 0.3 * size)
    collar, arms = (filled(mask.shape, people, half) for half in (COLLAR, ARMS))
    mask |= closed & ((collar & (chance > 0.15)) | (arms & (chance > 0.45)))
    mask |= _holes(mask, chance, 0.05 * size**2)
    smooth = blurred(mask.astype(np.float32), 0.02 * size) > 0.5
    return _attached(smooth.astype(np.uint8) | sure, sure)


def _holes(mask: Mask, chance: Plane, small: float) -> Mask:
    """Return the holes to fill: small ones, and those that the evidence says are person."""
    count, parts = cv2.connectedComponents(1 - mask, connectivity=4)
    area = np.bincount(parts.ravel(), minlength=count)
    mean = np.bincount(parts.ravel(), chance.ravel(), minlength=count) / np.maximum(area, 1)
    hole = (area < small) | (mean > 0.3)
    hole[0] = False
    hole[np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])] = False
    return np.asarray(hole[parts], np.uint8)


def _ramp(value: float, ends: tuple[float, float]) -> float:
    return min(1.0, max(0.0, (value - ends[0]) / (ends[1] - ends[0])))


def _confidence(mask: Mask, prior: Plane, people: Sequence[Person]) -> float:
    """Return 0..1 from agreement, area and contact with the frame; see the thresholds above.

    Raises:
        SubjectError: next to nothing, or nearly the whole frame, was taken for a person.
    """
    inside, expected = mask > 0, prior > 0.5
    faces = sum(person.unit**2 for person in people)
    if inside.sum() < _LEAST_FACE * faces:
        raise SubjectError(
            "nobody could be cut out around the face; bring the whole head into the picture"
        )
    if inside.mean() > _MOST_FRAME:
        raise SubjectError(
            "person and background could not be told apart; step back from the camera, "
            "before a wall of another colour"
        )
    both, either = (inside & expected).sum(), (inside | expected).sum()
    above = max(1, min(mask.shape[0], math.ceil(min(person.chin for person in people))))
    frame = np.concatenate([inside[0], inside[:above, 0], inside[:above, -1]])
    ratio = float(inside.sum() / max(1, expected.sum()))
    return (
        _ramp(float(both / max(1, either)), _AGREEMENT)
        * min(_ramp(ratio, _SPARSE), _ramp(ratio, _SPREAD))
        * _ramp(float(frame.mean()), _CONTACT)
    )


def _refine(area: Image, mask: Mask, people: Sequence[Person]) -> Matte:
    """Return the matte of ``area`` whose edge follows the photo, from the small ``mask``.

    The edge is solved twice, the second time at twice the resolution in half the band.
    """
    zoom = min(_EDGE_SIDE, max(area.shape[:2])) / max(mask.shape)
    alpha = mask.astype(np.float32)
    for step, width in ((max(1.0, zoom / 2), 3.5), (zoom, 1.2)):
        shape = tuple(max(1, round(side * step)) for side in mask.shape)
        small = cv2.resize(area, shape[::-1], interpolation=cv2.INTER_AREA)
        guide = unit(np.asarray(small, np.uint8))
        alpha = resized(blurred(alpha, 0.7), shape, cv2.INTER_LINEAR)
        sized = [person.scaled(step) for person in people]
        alpha, certain = _edge(guide, alpha, sized, max(2.0, width * step))
    size = zoom * float(np.median([person.unit for person in people]))
    model = guided_coefficients(guide, alpha, max(2, round(0.008 * size)), 1e-4)
    # Above the limit the photo's help ends: its edges are wider than a pixel there anyway.
    full = unit(_reduced(area, min(1.0, _FULL_SIDE / max(area.shape))))
    alpha = apply_coefficients(full, resized(model, full.shape, cv2.INTER_LINEAR))
    low, high = (resized(bound, full.shape, cv2.INTER_LINEAR) for bound in certain)
    alpha = np.clip((alpha - 0.03) / 0.94, low, high)  # a haze of 3 % is no hair
    matte = np.round(alpha * 255).astype(np.uint8)
    return np.asarray(cv2.resize(matte, (area.shape[1], area.shape[0])), np.uint8)


def _edge(
    guide: NDArray[np.float32], alpha: Plane, people: Sequence[Person], band: float
) -> tuple[Plane, tuple[Plane, Plane]]:
    """Return the opacity within ``band`` pixels of the 0.5 line, and its lower and upper bound.

    Around the head the band is wider: hair has no line.
    """
    mask = (alpha > 0.5).astype(np.uint8)
    size = float(np.median([person.unit for person in people]))
    head = filled(mask.shape[:2], people, HAT) > 0
    reach = np.where(head, max(band, 0.07 * size), band).astype(np.float32)
    depth = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 3), np.float32)
    depth -= np.asarray(cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3), np.float32)
    inside, outside = (depth > reach).astype(np.float32), (depth < -reach).astype(np.float32)
    smooth = guided_filter(guide, mask.astype(np.float32), round(max(2, band)), 1e-4)
    solved, trust = local_alpha(guide, inside, outside, max(2 * band, 0.1 * size))
    trust *= np.clip(2 - 2 * np.abs(depth) / reach, 0, 1)
    low, high = blurred(inside, 1.0), 1 - blurred(outside, 1.0)
    return np.clip(smooth + trust * (solved - smooth), low, high), (low, high)
