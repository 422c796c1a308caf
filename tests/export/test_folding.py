"""Batch norms folded into convolutions."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from vivant_export.networks.birefnet import DeformableBranch  # noqa: E402
from vivant_export.networks.folding import with_folded_batchnorms  # noqa: E402


@pytest.fixture
def network() -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        DeformableBranch(8, 8, 3),
        nn.BatchNorm2d(8),  # after no convolution: it stays
        nn.Conv2d(8, 4, 1, bias=False),
        nn.BatchNorm2d(4),
    )
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return network.eval().requires_grad_(False)


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_the_norms_after_convolutions_go_and_nothing_changes(network):
    x = torch.randn(1, 3, 7, 5, generator=torch.Generator().manual_seed(4))
    folded = with_folded_batchnorms(network)
    assert norms(folded) == 1
    torch.testing.assert_close(folded(x), network(x), atol=0, rtol=1e-5)


def test_the_original_keeps_its_norms_and_shares_the_other_weights(network):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = with_folded_batchnorms(network)
    assert norms(network) == 4
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    offset = "3.atrous_conv.offset_conv.weight"
    assert folded.get_parameter(offset) is network.get_parameter(offset)
    regular = "3.atrous_conv.regular_conv.weight"
    assert not torch.equal(folded.get_parameter(regular), network.get_parameter(regular))
