"""The process that runs jaxrl's layers ("derived"), autodiff of their plain forms ("autodiff"), and their "floor".

    python benchmarks/contestant_jax.py
    python benchmarks/contestant_jax.py describe      # the rows: name, layer, shapes and settings
"""

import json
import sys

import contestant
import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import audit, layers, losses
from jaxrl.audit import gradients
from jaxrl.layers import reference
from jaxrl.shell import runtime


def a3c_network(m, loss, p, x, h, c, first, a, advantage, target, weight):
    """The loss of the A3C network: four convolutions 3x3/2 with ELU, an LSTM, two heads."""
    y = x.reshape(-1, *x.shape[2:]).astype(jnp.float32) / 255
    for w, b in p["conv"]:
        y = m.elu(m.conv2d(y, w, b, 2, 1))
    y, _ = m.lstm(y.reshape(*x.shape[:2], -1), h, c, *p["lstm"], first)
    return loss.actor_critic_loss(
        m.linear(y, *p["actor"]), m.linear(y, *p["critic"])[..., 0], a, advantage, target, weight
    )


def nature_network(m, loss, p, x, a, target):
    """The Huber loss of the Nature network's values of the actions taken."""
    y = x.astype(jnp.float32) / 255
    for (w, b), stride in zip(p["conv"], (4, 2, 1), strict=True):
        y = m.relu(m.conv2d(y, w, b, stride))
    q = m.linear(m.relu(m.linear(y.reshape(len(y), -1), *p["hidden"])), *p["out"])
    return loss.huber_loss(jnp.take_along_axis(q, a[:, None], -1)[:, 0], target)


class Draw:
    """Random arrays."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def normal(self, *shape):
        return jnp.asarray(self.rng.normal(size=shape), jnp.float32)

    def integers(self, high, *shape, dtype=jnp.int32):
        return jnp.asarray(self.rng.integers(0, high, shape), dtype)

    def affine(self, *shape):
        """A weight in the size of an initialiser's, and its bias."""
        return self.normal(*shape) * np.prod(shape[:-1]) ** -0.5, self.normal(shape[-1]) * 0.1


def a3c_arguments(steps=20, batch=16):
    d, hidden = Draw(), 256
    p = {
        "conv": [d.affine(3, 3, channels, 32) for channels in (1, 32, 32, 32)],
        "lstm": (d.affine(288, 4 * hidden)[0], *d.affine(hidden, 4 * hidden)),
        "actor": d.affine(hidden, 18),
        "critic": d.affine(hidden, 1),
    }
    x, first = d.integers(256, steps, batch, 42, 42, 1, dtype=jnp.uint8), d.integers(50, steps, batch) == 0
    rows = [d.normal(steps, batch) for _ in range(2)]
    weight = jnp.full((steps, batch), 1 / (steps * batch))
    return p, x, d.normal(batch, hidden), d.normal(batch, hidden), first, d.integers(18, steps, batch), *rows, weight


def nature_arguments(batch=32):
    d = Draw()
    p = {
        "conv": [d.affine(8, 8, 4, 32), d.affine(4, 4, 32, 64), d.affine(3, 3, 64, 64)],
        "hidden": d.affine(3136, 512),
        "out": d.affine(512, 18),
    }
    return p, d.integers(256, batch, 84, 84, 4, dtype=jnp.uint8), d.integers(18, batch), d.normal(batch)


NETWORKS = {
    "A3C network, T 20, batch 16": (a3c_network, a3c_arguments),
    "Nature network, batch 32": (nature_network, nature_arguments),
}
CASES = {case.title: case for case in audit.cases(audit.TIMED)}


def floor(layer: str):
    """What forward and backward cannot do without, as a function of (arguments, cotangents of the value); or None.

    Arguments and cotangents are read, and as many numbers are written: values and gradients. A softmax takes the
    exponential of each number, a recurrent layer multiplies by its weights, one step after the other where it must.
    """
    if layer in ("lstm", "gru"):
        return jax.jit(products)
    if layer in NETWORKS or layer.startswith(("conv", "linear", "noisy", "quantile")) or layer.endswith("_cell"):
        return None  # nearly all of their work is arithmetic
    through = jnp.exp if "softmax" in layer else lambda a: a + 1
    return jax.jit(lambda args, cotangents: jax.tree.map(through, (gradients.free(args), cotangents)))


def products(args, cotangents):
    """The matrix products of a recurrent layer x [T, B, D] > [T, B, H]: three for each of its two weights."""
    x, (w_ih, w_hh) = args[0], (a for a in args[1:] if a.ndim == 2 and a.shape[-1] > args[1].shape[-1])
    dy = cotangents[0]
    z = x @ w_ih
    step = lambda h, z: (z[:, : h.shape[-1]] + (h @ w_hh)[:, : h.shape[-1]],) * 2  # noqa: E731
    _, y = jax.lax.scan(step, args[1], z)
    back = lambda dh, dy: ((dz := jnp.tile(dy + dh, w_hh.shape[-1] // dh.shape[-1])) @ w_hh.T, dz)  # noqa: E731
    _, dz = jax.lax.scan(back, dy[-1], dy, reverse=True)
    rows = dz.reshape(-1, dz.shape[-1])
    return y, dz @ w_ih.T, x.reshape(-1, x.shape[-1]).T @ rows, y.reshape(-1, y.shape[-1]).T @ rows


def prepare(name: str, variant: str):
    """Forward and backward of a row, compiled; None where the variant has no such row."""
    layer = name if name in NETWORKS else CASES[name].name
    if variant == "floor" and floor(layer) is None:
        return None
    if name in NETWORKS:
        network, arguments = NETWORKS[name]
        modules = (layers, losses) if variant == "derived" else (reference, reference)
        gradient, args = jax.jit(jax.value_and_grad(lambda *a: network(*modules, *a))), arguments()
        return lambda: jax.block_until_ready(gradient(*args))
    case = CASES[name]
    pair = gradients.Pair.of(*case.pair)
    args = audit.cast(case.args, np.float32)
    cotangents = pair.cotangents(args)
    gradient = {"derived": pair.ours, "autodiff": pair.theirs, "floor": floor(layer)}[variant]
    return lambda: jax.block_until_ready(gradient(args, cotangents))


def describe() -> dict:
    """What another library needs to know to run the same rows."""
    rows = {}
    for name, case in CASES.items():
        shapes = [None if a is None else list(np.shape(a)) for a in case.args]
        rows[name] = {"layer": case.name, "shapes": shapes, "settings": case.settings}
    return {name: {"layer": name, "shapes": [], "settings": {}} for name in NETWORKS} | rows


if __name__ == "__main__":
    if sys.argv[1:] == ["describe"]:
        print(json.dumps(describe()))
    else:
        runtime.prepare()
        contestant.serve(prepare)
