"""The process that runs PyTorch, where it is installed; rows without a plain counterpart there are left out.

    python benchmarks/contestant_torch.py ROWS.json       # what `contestant_jax.py describe` prints
"""

import json
import sys
from pathlib import Path

import contestant
import torch
import torch.nn.functional as F
from torch import nn

IMAGES = torch.channels_last


def image(*shape):
    """A batch of images, given as NHWC, with gradients, in the layout that is fastest here."""
    n, h, w, c = shape
    return torch.randn(n, c, h, w).contiguous(memory_format=IMAGES).requires_grad_()


def kernel(kh, kw, i, o):
    return torch.randn(o, i, kh, kw).mul((kh * kw * i) ** -0.5).contiguous(memory_format=IMAGES).requires_grad_()


def free(*shape):
    return torch.randn(*shape).requires_grad_()


def conv2d(x, w, b, stride=1, padding=0):
    inputs = image(*x), kernel(*w), free(*b)
    return lambda: F.conv2d(*inputs, stride, padding), inputs


def conv_transpose2d(x, w, b, stride=1):
    kh, kw, outputs, channels = w
    inputs = image(*x), kernel(kh, kw, outputs, channels), free(*b)
    return lambda: F.conv_transpose2d(*inputs, stride), inputs


def pool(function):
    def prepare(x, window, stride=None):
        inputs = (image(*x),)
        return lambda: function(*inputs, window, stride), inputs

    return prepare


def recurrent(module):
    def prepare(x, *shapes):
        x, cell = free(*x), module(x[2], shapes[0][1])
        memory = [free(1, *shape) for shape in shapes[: 2 if module is nn.LSTM else 1]]
        return lambda: cell(x, tuple(memory) if len(memory) == 2 else memory[0])[0], (x, *memory, *cell.parameters())

    return prepare


def elementwise(function, **settings):
    def prepare(x):
        inputs = (free(*x),)
        return lambda: function(*inputs, **settings), inputs

    return prepare


def linear(x, w, b):
    inputs = free(*x), free(w[1], w[0]), free(*b)
    return lambda: F.linear(*inputs), inputs


def embedding(ids, table):
    ids, table = torch.randint(0, table[0], ids), free(*table)
    return lambda: F.embedding(ids, table), (table,)


def layer_norm(x, scale, bias):
    inputs = free(*x), free(*scale), free(*bias)
    return lambda: F.layer_norm(inputs[0], scale, *inputs[1:]), inputs


def batch_norm(x, scale, bias, mean, var, training=True):
    inputs, running = (image(*x), free(*scale), free(*bias)), (torch.zeros(mean), torch.ones(var))
    return lambda: F.batch_norm(inputs[0], *running, *inputs[1:], training), inputs


class A3C(nn.Module):
    """Four convolutions 3x3/2 with ELU, an LSTM, two heads."""

    def __init__(self):
        super().__init__()
        self.conv = nn.ModuleList([nn.Conv2d(channels, 32, 3, 2, 1) for channels in (1, 32, 32, 32)])
        self.lstm, self.actor, self.critic = nn.LSTM(288, 256), nn.Linear(256, 18), nn.Linear(256, 1)

    def forward(self, x, memory):
        y = (x.reshape(-1, 1, 42, 42).float() / 255).contiguous(memory_format=IMAGES)
        for conv in self.conv:
            y = F.elu(conv(y))
        y, _ = self.lstm(y.flatten(1).view(*x.shape[:2], -1), memory)
        return self.actor(y), self.critic(y)[..., 0]


def a3c_network():
    net = A3C().to(memory_format=IMAGES)
    x, memory = torch.randint(0, 256, (20, 16, 1, 42, 42), dtype=torch.uint8), tuple(torch.randn(2, 1, 16, 256))
    a, advantage, target = torch.randint(0, 18, (20, 16, 1)), torch.randn(20, 16), torch.randn(20, 16)

    def loss():
        logits, v = net(x, memory)
        log_pi = logits.log_softmax(-1)
        policy = -log_pi.gather(-1, a)[..., 0] * advantage
        entropy = -(log_pi.exp() * log_pi).sum(-1)
        return (policy - 0.01 * entropy + 0.25 * (target - v) ** 2).mean()

    return loss, tuple(net.parameters())


def nature_network():
    sizes = ((4, 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1))
    convs = [layer for i, o, k, s in sizes for layer in (nn.Conv2d(i, o, k, s), nn.ReLU())]
    net = nn.Sequential(*convs, nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 18))
    net.to(memory_format=IMAGES)
    x, a, target = (
        torch.randint(0, 256, (32, 4, 84, 84), dtype=torch.uint8),
        torch.randint(0, 18, (32, 1)),
        torch.randn(32),
    )

    def loss():
        q = net((x.float() / 255).contiguous(memory_format=IMAGES))
        return F.huber_loss(q.gather(1, a)[:, 0], target)

    return loss, tuple(net.parameters())


ROWS = {
    "A3C network, T 20, batch 16": a3c_network, "Nature network, batch 32": nature_network,
    "conv2d": conv2d, "conv_transpose2d": conv_transpose2d, "linear": linear, "embedding": embedding,
    "max_pool2d": pool(F.max_pool2d), "avg_pool2d": pool(F.avg_pool2d), "lstm": recurrent(nn.LSTM),
    "gru": recurrent(nn.GRU), "layer_norm": layer_norm, "batch_norm": batch_norm, "elu": elementwise(F.elu),
    "relu": elementwise(F.relu), "sigmoid": elementwise(torch.sigmoid), "tanh": elementwise(torch.tanh),
    "softplus": elementwise(F.softplus), "softmax": elementwise(F.softmax, dim=-1),
    "log_softmax": elementwise(F.log_softmax, dim=-1),
}  # fmt: skip


def prepare(row: dict):
    """Forward and backward of a row."""
    if row["layer"] not in ROWS or "approximate" in row["settings"]:
        return None
    forward, inputs = ROWS[row["layer"]](*(shape for shape in row["shapes"] if shape is not None), **row["settings"])
    cotangent = torch.randn_like(forward())

    def run():
        torch.autograd.grad(forward(), inputs, cotangent)

    return run


if __name__ == "__main__":
    rows = json.loads(Path(sys.argv[1]).read_text())
    contestant.serve(lambda name, variant: prepare(rows[name]))
