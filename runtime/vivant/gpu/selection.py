"""Of several candidates the best, on a device: ``vivant.selection`` for buffers."""

from __future__ import annotations

from collections.abc import Sequence

from vivant.backends.device import Buffer, Stream
from vivant.backends.workspace import Workspace
from vivant.gpu.roles import DeviceHarmonizer
from vivant.gpu.scene import DeviceComposite
from vivant.gpu.scorer import DeviceScorer
from vivant.selection import Selection, choose


def select(
    workspace: Workspace,
    composites: Sequence[DeviceComposite],
    harmonizer: DeviceHarmonizer,
    scorer: DeviceScorer,
    *,
    strengths: Sequence[float],
    budget_s: float,
    stream: Stream,
) -> Selection[Buffer]:
    """Harmonize each composite at each of ``strengths``, score them all, keep the best.

    Waits for the scores of each placement. The picture is in the workspace, until the next is
    selected.

    Raises:
        VivantError: there are no composites, or a strength is outside 0..1.
        ImageError: a mask marks no foreground, or leaves no background.
        ModelError: the scorer returned a score that is not finite.
        EngineError: the harmonizer's engine did not return numbers.
    """
    device = workspace.device

    def make(index: int, strengths: Sequence[float]) -> tuple[list[Buffer], Sequence[float]]:
        laid = composites[index]
        images = [laid.image]
        if strengths:
            images += harmonizer.enqueue(laid.image, laid.mask, laid.region, strengths, stream)
        scorer.enqueue(images, laid.mask, stream)
        device.synchronise(stream)
        if strengths:
            harmonizer.check()
        return images, scorer.finish()

    def keep(image: Buffer) -> Buffer:
        kept = workspace.buffer("scene.selected", image.shape)
        device.copy(image, kept, stream)
        return kept

    names = [laid.name for laid in composites]
    return choose(names, make, strengths=strengths, budget_s=budget_s, keep=keep)
