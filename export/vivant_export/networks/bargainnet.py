"""BargainNet's domain code extractor, the network behind its harmony score.

W. Cong et al., "BargainNet: Background-Guided Domain Translation for Image Harmonization",
ICME 2021 (bcmi/BargainNet-Image-Harmonization, ``StyleEncoder``). Its convolutions are partial:
G. Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions", ECCV 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CODE = 16
"""Numbers in a domain code."""


class DomainCodeExtractor(nn.Module):
    """Sums up the light and colour of one region of a picture in ``CODE`` numbers.

    Parameter names are those of the published checkpoint, strictly: 23 keys.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1f = PartialConvolution(3, 64, bias=True)
        self.conv2f = PartialConvolution(64, 128, bias=False)
        self.norm2f = nn.BatchNorm2d(128)
        self.conv3f = PartialConvolution(128, 256, bias=False)
        self.norm3f = nn.BatchNorm2d(256)
        self.conv4f = PartialConvolution(256, 512, bias=False)
        self.norm4f = nn.BatchNorm2d(512)
        self.conv5f = PartialConvolution(512, 512, bias=False)
        self.convs = nn.Conv2d(512, CODE, 1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return the domain codes, float32 [N,16].

        Args:
            image: float32 [N,3,H,W], RGB, -1..1; 256x256 is what the network was trained on.
            mask: float32 [N,1,H,W], 1 in the region and 0 outside. Pixels outside count as zero
                in the last average, so that the code depends on the region's area too.
        """
        x, mask = self.conv1f(image, mask)
        x, mask = self.conv2f(functional.relu(x), mask)
        x, mask = self.conv3f(functional.relu(self.norm2f(x)), mask)
        x, mask = self.conv4f(functional.relu(self.norm3f(x)), mask)
        x, mask = self.conv5f(functional.relu(self.norm4f(x)), mask)
        code: Tensor = self.convs(x.mean(dim=(2, 3), keepdim=True))
        return code.flatten(1)


class PartialConvolution(nn.Module):
    """A 3x3 convolution, stride 2, of what the mask shows, made up for what it hides.

    It is no ``Conv2d``: the batch normalisation that follows it cannot be folded into a bias,
    which is added before what is hidden is cut away.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the convolution, float32 [N,outputs,h,w], and the next mask [N,1,h,w], 0..1.

        A window's sum is scaled by 9 over the sum of its mask, by 9 at most, and is 0 where its
        mask is. The published form, ``9 / (sum + 1e-8) * min(sum, 1)``, says the same with a
        number that half precision does not have: it would divide 0 by 0.
        """
        shown = functional.avg_pool2d(mask, 3, stride=2)
        following = torch.clamp(9 * shown, max=1)
        ratio = (shown > 0).to(x.dtype) / torch.clamp(shown, min=1 / 9)
        x = functional.conv2d(x * mask, self.weight, stride=2) * ratio
        if self.bias is not None:
            x = (x + self.bias[:, None, None]) * following
        return x, following
