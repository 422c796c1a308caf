"""wip"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vivant_export.networks.hinet import HiNet
from vivant_export.networks.hinet_mlps import SLOPE, WIDTH, run_cells


class EncoderGraph(nn.Module):
    def __init__(self, network: HiNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, mask: Tensor):
        x = image.float().permute(0, 3, 1, 2) * (1 / 127.5) - 1
        e = self.network.encode(x, mask[:, None])
        d = self.network.decoder
        quarter = d.cell_mlps(2)(e.f2).flatten(2)[0].t()
        half = d.cell_mlps(1)(e.f1).flatten(2)[0].t()
        hidden = d.cell_mlps(0).cont_extraction_net[:2](e.f0).flatten(2)[0].t()
        layers = d.appearance_mlps.layers(e.appearance_params)
        w = torch.cat([layer.weight.flatten() for layer in layers])
        b = torch.cat([layer.bias.flatten() for layer in layers])
        return quarter, half, hidden, w, b, e.lut3d


class CellsGraph(nn.Module):
    def __init__(self, network: HiNet) -> None:
        super().__init__()
        net = network.decoder.cell_mlps(0).cont_extraction_net
        g = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
        b = torch.tensor([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], dtype=torch.float32)
        a = torch.tensor([[1, 1, 1, 0], [0, 1, -1, -1]], dtype=torch.float32)
        u = torch.einsum("ay,bx,oiyx->abio", g, g, net[2].weight.double()).flatten(0, 1)
        self.register_buffer("spread", torch.kron(b, b))
        self.register_buffer("gather", torch.kron(a, a))
        self.register_buffer("weight", u.float())
        self.head = nn.Linear(512, net[4].out_channels)
        self.head.weight.data = net[4].weight.data[:, :, 0, 0]
        self.head.bias.data = net[4].bias.data

    def forward(self, hidden: Tensor, tiles: Tensor):
        padded = torch.cat([hidden, torch.zeros_like(hidden[:1])])
        t = padded.index_select(0, tiles.flatten()).reshape(-1, 16, 512)
        t = (self.spread @ t).transpose(0, 1) @ self.weight
        t = self.gather @ t.transpose(0, 1)
        return self.head(F.relu(t.flatten(0, 1)))


class LevelGraph(nn.Module):
    def __init__(self, network: HiNet, level: int) -> None:
        super().__init__()
        self.level = level
        self.cell_mlps = network.decoder.cell_mlps(level)
        enc = network.decoder.INR_encoding
        self.ffm = enc.predict_embed["ffm"]
        self.table = enc.fourier_embed["input"]

    def position(self, weight, yn, yb, yt, ytb, xn, xb, xt, xtb):
        c, n, t = xn.shape[0], xn.shape[1], xt.shape[1]
        yy = yn[None, :, None].expand(c, n, n)
        xx = xn[:, None, :].expand(c, n, n)
        yx = torch.stack([yy, xx], -1)
        f = torch.cat([yx, torch.sin(self.ffm(yx))], -1).flatten(1, 2)
        s = (f @ weight.weight[:, :34] + weight.bias).reshape(c, n, n, 32)
        s = (xb[:, None] @ s).transpose(0, 1)  # n, c, K, 32
        idx = (yt[None, :, None] * 256 + xt[:, None, :])
        tab = self.table[0].index_select(0, idx.flatten()).reshape(c, -1, 32)
        tab = (tab @ weight.weight[:, 34:66]).reshape(c, yt.shape[0], t, 32)
        tab = (xtb[:, None] @ tab).transpose(0, 1)
        nodes = torch.cat([s, tab])
        k = xb.shape[1]
        return (torch.cat([yb, ytb], 1) @ nodes.flatten(1)).reshape(-1, c, k, 32)

    def forward(self, pixels, params, cells, yn, yb, yt, ytb, xn, xb, xt, xtb, xp, xr, below=None, near=None, far=None, aw=None, ab=None):
        p = pixels.float()
        f = pixels.shape[1]
        if f == 1:
            p = p[:, 0, :, 0]
        else:
            m = f // 2 - 1
            p = p[:, m:m + 2, :, m:m + 2].mean((1, 3))
        scale = torch.tensor([2 / 255.0] * 3 + [1 / 255.0])
        offset = torch.tensor([-1.0] * 3 + [0.0])
        p = p * scale + offset
        flat = xp.flatten()
        own = params.index_select(0, cells).t()[None, :, None]
        layers = [type(q)(q.weight[0, 0], q.bias[0, 0]) for q in self.cell_mlps.layers(own)]
        w = layers[0].weight
        pos = self.position(layers[0], yn, yb, yt, ytb, xn, xb, xt, xtb)
        rows = pixels.shape[0]
        c, k = xp.shape
        p = p.index_select(1, flat)
        if below is not None:
            v = below.index_select(0, near.flatten()) + below.index_select(0, far.flatten()) * (1 / 3)
            side = v * (1 / 3)
            left = torch.cat([side[:, :1], side[:, :-1]], 1)
            right = torch.cat([side[:, 1:], side[:, -1:]], 1)
            e = (v + left).reshape(rows, -1, 16)
            o = (v + right).reshape(rows, -1, 16)
            eo = torch.cat([e, o], -1).index_select(1, flat)
            x = torch.cat([p, eo], -1)
            w = torch.cat([w[:, 66:70], w[:, 70::2] * 0.5625, w[:, 71::2] * 0.5625], 1)
        else:
            x = p
            w = w[:, 66:]
        x = x.reshape(rows, c, k, x.shape[-1]) @ w + pos
        x = F.leaky_relu(x, SLOPE)
        x = run_cells(layers[1:], x)
        if aw is None:
            return x.reshape(rows, c * k, 32).index_select(1, xr).permute(2, 0, 1)
        x = x.reshape(-1, 32)
        for i in range(3):
            x = F.leaky_relu(torch.addmm(ab[32 * i : 32 * i + 32], x, aw[1024 * i : 1024 * i + 1024].reshape(32, 32)), SLOPE)
        x = torch.tanh(torch.addmm(ab[96:], x, aw[3072:].reshape(32, 3)))
        return x.reshape(rows, c * k, 3).index_select(1, xr)


class Quarter(LevelGraph):
    def forward(self, pixels, params, cells, yn, yb, yt, ytb, xn, xb, xt, xtb, xp, xr):
        return super().forward(pixels, params, cells, yn, yb, yt, ytb, xn, xb, xt, xtb, xp, xr)


class Half(LevelGraph):
    def forward(self, pixels, params, cells, yn, yb, yt, ytb, xn, xb, xt, xtb, xp, xr, below, near, far):
        return super().forward(pixels, params, cells, yn, yb, yt, ytb, xn, xb, xt, xtb, xp, xr, below, near, far)


class Full(LevelGraph):
    pass
