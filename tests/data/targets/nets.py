"""Small models, and the ways in which people build them."""

import torch
from torch import nn

BUILT = []


class Net(nn.Module):
    def __init__(self, width: int = 8, depth: int = 2):
        super().__init__()
        self.embed = nn.Embedding(16, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 16, bias=False)
        BUILT.append(self)

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def build(width: int = 8, *, depth: int = 2, lists=()):
    assert not lists or lists == ["are", ["lists"]]
    return Net(width, depth)


def frozen_half(width: int = 8):
    net = Net(width)
    net.embed.weight.requires_grad_(False)
    return net.eval()


def everything_on_cuda():
    device = torch.device("cuda")
    with device:
        net = Net(1 << 15)
    net.extra = nn.Parameter(torch.empty(1 << 18, 1 << 18, device="cuda:1", dtype=torch.bfloat16))
    net.old_style = nn.Parameter(torch.Tensor(1 << 18, 1 << 17).cuda())
    net.on_cpu = nn.Linear(1 << 17, 1 << 17, device="cpu")
    net.tied = net.embed.weight
    net.to(0).cuda().to("cuda", torch.bfloat16).to(device=device)
    net.emptied = nn.Linear(4, 4, device="meta").to_empty(device="cuda")
    net.register_buffer("mask", torch.zeros_like(net.extra, device="cuda"))
    net.half().cpu()
    return net


def reads_rates_back(rates_on=None):
    rates = [r.item() for r in torch.linspace(0, 0.1, 3, device=rates_on)]
    net = Net(depth=len(rates))
    net.big = nn.Parameter(torch.empty(1 << 20, 1 << 20))
    return net


def reads_weights_back():
    net = Net()
    net.scale = nn.Parameter(torch.tensor(float(net.head.weight.abs().max())))
    return net


def from_array():
    import numpy as np

    net = Net()
    net.head.weight.data = torch.from_numpy(np.zeros((16, 8), dtype=np.float32))
    net.table = nn.Parameter(torch.from_numpy(np.zeros((4, 8), dtype=np.float32)))
    return net


def groups(model):
    if not isinstance(model, Net) or model is not BUILT[-1]:
        raise TypeError("this is another module's Net")
    matrices = [b.weight for b in model.blocks]
    ids = {id(p) for p in matrices}
    return [{"params": matrices, "use_muon": True}, {"params": [p for p in model.parameters() if id(p) not in ids]}]


def optimizers(model):
    return torch.optim.AdamW(groups(model)[1]["params"]), torch.optim.SGD(groups(model)[0]["params"], lr=0.1)


def groups_that_fail(model):
    return [p for p in model.parameter()]


async def later():
    return Net()


def pair():
    return Net(), None


def nothing():
    Net()


class Config:
    width = 8
