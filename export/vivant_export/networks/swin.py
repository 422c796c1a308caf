"""Swin Transformer, the backbone of BiRefNet (https://arxiv.org/abs/2103.14030).

Modules and parameters carry the names of BiRefNet's checkpoints (``bb.*``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name
from numpy.typing import NDArray
from torch import Tensor, nn

_APART = -1e4
"""What the attention between tokens that do not see each other is lowered by.

Within FP16, and no weight is left. The originals use -100 (RMBG-2.0), whose weights of 4e-44 are
denormal numbers that slow a CPU down several times, or -inf (BiRefNet)."""


@dataclass(frozen=True)
class SwinConfig:
    """The sizes of a Swin Transformer: per stage its depth and heads, channels doubling."""

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int

    @property
    def widths(self) -> tuple[int, ...]:
        """The channels of each stage."""
        return tuple(self.width * 2**stage for stage in range(len(self.depths)))


SWIN_T = SwinConfig(width=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), window=7)
SWIN_L = SwinConfig(width=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), window=12)


class Swin(nn.Module):
    """A picture in, one feature map per stage out, at 1/4, 1/8, 1/16 and 1/32 of its size."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.width)
        last = len(config.depths) - 1
        self.layers = nn.ModuleList(
            Stage(width, depth, heads, config.window, downsample=stage < last)
            for stage, (width, depth, heads) in enumerate(
                zip(config.widths, config.depths, config.heads, strict=True)
            )
        )
        for stage, width in enumerate(config.widths):
            self.add_module(f"norm{stage}", nn.LayerNorm(width))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the stages' maps, float [N,C,h,w], of ``image``, float [N,3,H,W].

        H and W are multiples of 4; odd maps are padded to the next even size on their way down.
        """
        x = self.patch_embed(image)
        maps = []
        for stage, layer in enumerate(self.layers):
            full, x = layer(x)
            maps.append(self.get_submodule(f"norm{stage}")(full).permute(0, 3, 1, 2))
        return maps


class PatchEmbed(nn.Module):
    """Patches of 4x4 pixels to tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=4, stride=4)
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Tensor) -> Tensor:
        """Return the tokens of ``image``: [N,H/4,W/4,C]."""
        tokens: Tensor = self.norm(self.proj(image).permute(0, 2, 3, 1))
        return tokens


class PatchMerging(nn.Module):
    """Four neighbouring tokens to one of twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Halve ``x``, [N,H,W,C], to [N,H/2,W/2,2C]; odd sizes count as one more, of zeros."""
        if x.shape[1] % 2 or x.shape[2] % 2:
            x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        batch, height, width, channels = x.shape
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
        x = x.permute(0, 1, 3, 4, 2, 5).flatten(3)  # a column's two rows stay together
        merged: Tensor = self.reduction(self.norm(x))
        return merged


class Stage(nn.Module):
    """Transformer blocks at one resolution, every second one on shifted windows."""

    def __init__(
        self, width: int, depth: int, heads: int, window: int, *, downsample: bool
    ) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(Block(width, heads, window) for _ in range(depth))
        self.downsample = PatchMerging(width) if downsample else nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Transform ``x``, [N,H,W,C]; return the result at this size and for the next stage."""
        plain = Windows.of(x, self.window, shift=0)
        shifted = Windows.of(x, self.window, shift=self.window // 2)
        tokens = x.flatten(1, 2)
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, shifted if index % 2 else plain)
        x = tokens.reshape(x.shape)
        return x, self.downsample(x)


class Block(nn.Module):
    """Attention within windows, then a perceptron for each token."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, tokens: Tensor, windows: Windows) -> Tensor:
        """Transform ``tokens``, [N,H*W,C]."""
        attended = self.attn(windows.cut(self.norm1(tokens)), windows.mask)
        tokens = tokens + windows.join(attended, len(tokens))
        transformed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return transformed


class Mlp(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform ``tokens``, [...,C]."""
        transformed: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return transformed


class WindowAttention(nn.Module):
    """Multi-head attention between the tokens of a window, biased by their relative position."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.relative_position_index: Tensor
        self.register_buffer("relative_position_index", _relative_position_index(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Attend within each of ``windows``, [windows,area,C]; ``mask`` is added where given."""
        count, area, width = windows.shape
        query, key, value = (
            part.reshape(count, area, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv(windows).chunk(3, dim=-1)
        )
        attention = (query * self.scale) @ key.transpose(-2, -1)
        bias = F.embedding(self.relative_position_index, self.relative_position_bias_table)
        attention = attention + bias.permute(2, 0, 1)
        if mask is not None:
            attention = attention + mask
        mixed = attention.softmax(-1) @ value
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, area, width))
        return projected


@dataclass(frozen=True)
class Windows:
    """How the tokens of a map of fixed size are dealt to windows and back.

    Padding, cyclic shift and cutting are one permutation, so they are one table: a single Gather
    in a graph where ``roll``, ``pad`` and ``view`` would leave a dozen nodes.

    Attributes:
        order: int64 [windows*area], the token at each place; H*W stands for padding.
        places: int64 [H*W], the place of each token.
        mask: float [N*windows,1,area,area], added to the attention: a shifted window can hold
            tokens of opposite borders, which do not see each other. None where nothing is shifted.
        area: tokens in a window.
    """

    order: Tensor
    places: Tensor
    mask: Tensor | None
    area: int

    @staticmethod
    def of(x: Tensor, window: int, *, shift: int) -> Windows:
        """Return the windows of ``x``, [N,H,W,C], moved down and right by ``shift``."""
        batch, height, width, _ = x.shape
        order, places, regions = _deal(height, width, window, shift)
        mask = None
        if shift:
            region = torch.tensor(regions, device=x.device)
            alike = region[:, None, :, None] == region[:, None, None, :]
            mask = torch.where(alike, 0.0, _APART).to(x.dtype)
            if batch > 1:
                mask = mask.repeat(batch, 1, 1, 1)
        return Windows(
            torch.tensor(order, device=x.device),
            torch.tensor(places, device=x.device),
            mask,
            window**2,
        )

    def cut(self, tokens: Tensor) -> Tensor:
        """Deal ``tokens``, [N,H*W,C], to windows, [N*windows,area,C]; padding is zero."""
        if len(self.order) > len(self.places):
            tokens = F.pad(tokens, (0, 0, 0, 1))
        return tokens.index_select(1, self.order).reshape(-1, self.area, tokens.shape[-1])

    def join(self, windows: Tensor, batch: int) -> Tensor:
        """Return ``windows`` to the tokens' own order, without the padding: [N,H*W,C]."""
        flat = windows.reshape(batch, -1, windows.shape[-1])
        return flat.index_select(1, self.places)


@lru_cache(maxsize=32)
def _deal(
    height: int, width: int, window: int, shift: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return ``order`` and ``places`` of ``Windows``, and each place's region [windows,area].

    Regions follow the original: the padded map counts as one plane, cut where the shift wraps.
    """
    rows, columns = -(-height // window) * window, -(-width // window) * window
    row, column = np.indices((rows, columns))
    inside = (row < height) & (column < width)
    token = np.where(inside, row * width + column, height * width)
    order = _cut(np.roll(token, (-shift, -shift), axis=(0, 1)), window)
    region = 2 * (row >= rows - shift) + (column >= columns - shift)
    places = np.empty(height * width + 1, np.int64)
    places[order] = np.arange(order.size)
    return order, places[:-1], _cut(region, window).reshape(-1, window**2)


def _cut(plane: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Return the values of ``plane`` window by window, each in reading order."""
    rows, columns = plane.shape
    tiles = plane.reshape(rows // window, window, columns // window, window)
    return np.ravel(tiles.transpose(0, 2, 1, 3))


def _relative_position_index(window: int) -> Tensor:
    """Return, for each pair of places in a window, the row of the bias table: int64 [area,area]."""
    row, column = torch.arange(window**2) // window, torch.arange(window**2) % window
    down = row[:, None] - row[None, :] + window - 1
    right = column[:, None] - column[None, :] + window - 1
    return down * (2 * window - 1) + right
