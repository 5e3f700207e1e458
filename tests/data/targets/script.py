"""A script: model and optimizer are made as it runs."""

import torch
from nets import Net
from nets import groups as split

model = Net(1 << 16)
optimizer = torch.optim.AdamW(split(model)[1]["params"], lr=3e-4)
