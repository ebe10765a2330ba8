"""Make `pytorch_layers.npz` with PyTorch: the referee of every layer and loss. Run it only to make the file anew.

    pip install torch==2.13.0 numpy && python tests/golden/make_pytorch_layers.py

For each case the file has one float64 vector: the value, then the gradients of all floating-point arguments, from the
cotangents of the case. Arguments and cotangents are `numbers`, a formula, so the file need not have them. They stand in
the layout of jaxrl: images NHWC, kernels HWIO, weights [in, out]; the functions below turn them to PyTorch's.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from make_pytorch_a3c import numbers

FILE = Path(__file__).with_name("pytorch_layers.npz")


class Case(NamedTuple):
    """A layer or loss with its settings.

    Attributes:
      name: that of the function in jaxrl.
      arguments: for each a shape, or what it holds.
      torch: the same in PyTorch: a function of the module `torch`, then the arguments.
      settings: of the function in jaxrl.
      fixed: the places of the arguments that have no gradient in PyTorch, though they have one in jaxrl.
    """

    name: str
    arguments: tuple
    torch: Callable
    settings: dict = {}
    fixed: tuple = ()

    @property
    def title(self) -> str:
        """The name and the settings."""
        return " ".join([self.name, *(f"{k}={v}" for k, v in self.settings.items())])

    def draw(self) -> list:
        """The arguments: a tuple is the shape of `numbers`, anything else is the argument."""
        return [2 * numbers(100 + i, a).astype(np.float64) if isinstance(a, tuple) else a
                for i, a in enumerate(self.arguments)]  # fmt: skip

    def cotangents(self, shapes) -> list:
        """Of the values of these shapes."""
        return [numbers(200 + i, shape).astype(np.float64) for i, shape in enumerate(shapes)]


def images(function):
    """`function(torch, x, *rest)` of images NCHW as one of images NHWC."""
    return lambda t, x, *rest: function(t, x.permute(0, 3, 1, 2), *rest).permute(0, 2, 3, 1)


def unit(*shape):
    """Numbers from 0 to 1, none at an end."""
    return 0.1 + 0.4 * (numbers(300, shape).astype(np.float64) + 1)


def mean_density(t, x, mean, log_std):
    """Log-density of each row under independent Gaussians."""
    return t.distributions.Normal(mean, log_std.exp()).log_prob(x).sum(-1)


def squashed(t, u, mean, log_std):
    """Log-probability of the action tanh(u)."""
    tanh = t.distributions.TanhTransform(cache_size=1)
    policy = t.distributions.TransformedDistribution(t.distributions.Normal(mean, log_std.exp()), [tanh])
    return policy.log_prob(tanh(u)).sum(-1)


def divergence(t, mean_p, log_std_p, mean_q, log_std_q):
    """KL(p ‖ q)."""
    p, q = (t.distributions.Normal(mean, s.exp()) for mean, s in ((mean_p, log_std_p), (mean_q, log_std_q)))
    return t.distributions.kl_divergence(p, q).sum(-1).mean()


def quantile(t, theta, target, tau, delta=1.0):
    """As in the paper; PyTorch has no such loss."""
    theta, target = t.broadcast_tensors(theta[..., :, None], target[..., None, :])
    each = t.nn.functional.huber_loss(theta, target, reduction="none", delta=delta) / delta
    return (each * (tau.detach()[:, None] - (target < theta).to(tau.dtype)).abs()).mean(-1).sum(-1).mean()


def actor_critic(t, logits, v, a, advantage, target, weight, beta, c):
    """The sum over rows."""
    policy = t.distributions.Categorical(logits=logits)
    value = 0.5 * c * (target - v) ** 2
    return (weight * (-policy.log_prob(a) * advantage - beta * policy.entropy() + value)).sum()


def huber(t, prediction, target, delta=1.0):
    """The mean."""
    return t.nn.functional.huber_loss(prediction, target, delta=delta)


def lstm(t, x, h, c, w_ih, w_hh, b):
    """Of sequences."""
    weights = [w_ih.T, w_hh.T, b, t.zeros_like(b)]
    y, h, c = t.lstm(x, (h[None], c[None]), weights, True, 1, 0.0, False, False, False)
    return y, h[0], c[0]


def gru_weights(t, w_ih, w_hh, b, b_hn):
    """PyTorch has two biases, of which only the new gate's second one is one of its own."""
    return [w_ih.T, w_hh.T, b, t.cat([t.zeros(2 * len(b_hn), dtype=b.dtype), b_hn])]


def gru(t, x, h, *weights):
    """Of sequences."""
    y, h = t.gru(x, h[None], gru_weights(t, *weights), True, 1, 0.0, False, False, False)
    return y, h[0]


def batch_norm(training):
    """Of images, with momentum 0.9 here, which PyTorch calls 0.1."""

    def function(t, x, scale, bias, mean, var):
        mean, var = mean.clone(), var.clone()
        f = images(lambda t, x: t.nn.functional.batch_norm(x, mean, var, scale, bias, training, 0.1, 1e-5))
        return f(t, x), mean, var

    return function


def noisy(t, x, w, b, w_sigma, b_sigma, noise_in, noise_out):
    """A linear layer of noisy weights; noise has no gradient."""
    noise_in, noise_out = noise_in.detach(), noise_out.detach()
    return t.nn.functional.linear(x, (w + w_sigma * t.outer(noise_in, noise_out)).T, b + b_sigma * noise_out)


KINKS = np.array([[-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 30.0]])
TIES = np.round(2 * numbers(400, (1, 6, 6, 2)).astype(np.float64))
RECURRENT = ((4, 2, 3), (2, 5), (2, 5))
CHOICES = np.array([[0, 2, 1], [1, 1, 0]])
ELEMENTWISE = {
    "relu": lambda t, x: t.relu(x),
    "sigmoid": lambda t, x: t.sigmoid(x),
    "tanh": lambda t, x: t.tanh(x),
    "softplus": lambda t, x: t.nn.functional.softplus(x, threshold=1e9),  # else x itself from 20 on, 2e-9 from it
    "elu": lambda t, x: t.nn.functional.elu(x),
    "leaky_relu": lambda t, x: t.nn.functional.leaky_relu(x),
    "gelu": lambda t, x: t.nn.functional.gelu(x),
    "softmax": lambda t, x: t.softmax(x, -1),
    "log_softmax": lambda t, x: t.log_softmax(x, -1),
}
CASES = [
    *(Case(name, (np.concatenate([KINKS[0], 2 * numbers(0, (8,))]).astype(np.float64),), f)
      for name, f in ELEMENTWISE.items()),
    Case("gelu", ((3, 5),), lambda t, x: t.nn.functional.gelu(x, approximate="tanh"), {"approximate": True}),
    Case("elu", (KINKS,), lambda t, x: t.nn.functional.elu(x, 0.5), {"alpha": 0.5}),
    Case("softmax", ((3, 4, 2),), lambda t, x: t.softmax(x, 1), {"axis": 1}),
    Case("linear", ((3, 2, 4), (4, 5), (5,)), lambda t, x, w, b: t.nn.functional.linear(x, w.T, b)),
    Case("noisy_linear", ((3, 4), (4, 5), (5,), (4, 5), (5,), (4,), (5,)), noisy),
    Case("embedding", (np.array([[0, 3], [3, 1]]), (4, 3)), lambda t, ids, w: t.nn.functional.embedding(ids, w)),
    Case("dueling", ((3,), (3, 4)), lambda t, v, a: v[:, None] + a - a.mean(-1, keepdim=True)),
    Case("dueling", ((3,), (3, 4)), lambda t, v, a: v[:, None] + a - a.max(-1, keepdim=True).values,
         {"combine": "max"}),
    *(Case("conv2d", ((2, 6, 5, 4), (3, 2, 4 // groups, 6), (6,)),
           images(lambda t, x, w, b, p=p, s=s, d=d, groups=groups: t.nn.functional.conv2d(
               x, w.permute(3, 2, 0, 1), b, s, p, d, groups)),
           {"padding": p, "stride": s, "dilation": d, "groups": groups})
      for p, s, d, groups in [((1, 2), (2, 1), (1, 1), 1), ((0, 1), (1, 2), (2, 1), 2)]),
    *(Case("conv_transpose2d", ((2, 3, 2, 4), (3, 2, 5, 4), (5,)),
           images(lambda t, x, w, b, p=p, s=s, o=o: t.nn.functional.conv_transpose2d(
               x, w.permute(3, 2, 0, 1), b, s, p, o)),
           {"padding": p, "stride": s, "output_padding": o})
      for p, s, o in [((0, 0), (1, 1), (0, 0)), ((1, 0), (2, 3), (1, 2))]),
    *(Case(name, (x,), images(lambda t, x, f=f: getattr(t.nn.functional, f)(x, 3, 2, 1)),
           {"window": 3, "stride": 2, "padding": 1})
      for name, f in [("max_pool2d", "max_pool2d"), ("avg_pool2d", "avg_pool2d")] for x in [(2, 6, 5, 2)]),
    Case("max_pool2d", (TIES,), images(lambda t, x: t.nn.functional.max_pool2d(x, 3, 1)), {"window": 3, "stride": 1}),
    Case("global_avg_pool2d", ((2, 3, 4, 2),), lambda t, x: t.nn.functional.adaptive_avg_pool2d(
        x.permute(0, 3, 1, 2), 1)[:, :, 0, 0]),
    Case("dropout", ((3, 4), None), lambda t, x, key: t.nn.functional.dropout(x, 0.5, training=False),
         {"deterministic": True}),
    Case("layer_norm", ((3, 2, 5), (5,), (5,)), lambda t, x, s, b: t.nn.functional.layer_norm(x, (5,), s, b)),
    *(Case("batch_norm", ((3, 2, 4, 2), (2,), (2,), (2,), unit(2)), batch_norm(training),
           {"training": training}, (3, 4))
      for training in (True, False)),
    Case("lstm_cell", ((2, 3), (2, 5), (2, 5), (3, 20), (5, 20), (20,)),
         lambda t, x, h, c, w, u, b: t.lstm_cell(x, (h, c), w.T, u.T, b, t.zeros_like(b))),
    Case("lstm", (*RECURRENT, (3, 20), (5, 20), (20,)), lstm),
    Case("gru_cell", ((2, 3), (2, 5), (3, 15), (5, 15), (15,), (5,)),
         lambda t, x, h, *weights: t.gru_cell(x, h, *gru_weights(t, *weights))),
    Case("gru", (*RECURRENT[:2], (3, 15), (5, 15), (15,), (5,)), gru),
    Case("squared_loss", ((3, 4), (3, 4)), lambda t, x, y: t.nn.functional.mse_loss(x, y) / 2),
    Case("huber_loss", (KINKS, np.zeros_like(KINKS)), huber),
    Case("huber_loss", ((3, 4), (3, 4)), lambda t, x, y: huber(t, x, y, 0.5), {"delta": 0.5}),
    Case("quantile_huber_loss", ((2, 3, 4), (2, 3, 5), unit(4)), quantile),
    Case("quantile_huber_loss", ((3, 4), (3, 5), unit(4)), lambda t, *a: quantile(t, *a, 0.5), {"delta": 0.5}),
    Case("q_learning_loss", ((2, 3, 4), CHOICES, (2, 3)), lambda t, q, a, target: huber(
        t, q.gather(-1, a[..., None])[..., 0], target)),
    Case("softmax_cross_entropy", ((2, 3, 4), CHOICES), lambda t, x, y: t.nn.functional.cross_entropy(
        x.reshape(6, 4), y.reshape(6))),
    Case("categorical_cross_entropy", ((3, 4), unit(3, 4)), lambda t, x, p: t.nn.functional.cross_entropy(x, p)),
    Case("binary_cross_entropy", ((3, 4), unit(3, 4)),
         lambda t, x, p: t.nn.functional.binary_cross_entropy_with_logits(x, p)),
    Case("gaussian_nll", ((3, 4),) * 3, lambda t, *a: -mean_density(t, *a).mean()),
    Case("gaussian_kl", ((3, 4),) * 4, divergence),
    Case("tanh_gaussian_log_prob", ((3, 4),) * 3, squashed),
    Case("actor_critic_loss", ((2, 3, 4), (2, 3), CHOICES, (2, 3), (2, 3), unit(2, 3), np.array(0.1), np.array(0.5)),
         actor_critic),
]  # fmt: skip


def run(case) -> np.ndarray:
    """The value and the gradients in one vector."""
    import torch

    tensors = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in case.draw()]
    free = [a.requires_grad_() for i, a in enumerate(tensors)
            if i not in case.fixed and torch.is_tensor(a) and a.is_floating_point()]  # fmt: skip
    value = case.torch(torch, *tensors)
    value = value if isinstance(value, tuple) else (value,)
    moved = [v for v in value if v.requires_grad]
    dy = [torch.tensor(c) for c, v in zip(case.cotangents([v.shape for v in value]), value, strict=True)
          if v.requires_grad]  # fmt: skip
    slopes = torch.autograd.grad(moved, free, dy, allow_unused=True, materialize_grads=True)
    return np.concatenate([x.detach().numpy().ravel() for x in (*value, *slopes)])


def main():
    import torch

    golden = {"torch_version": np.asarray(torch.__version__), **{case.title: run(case) for case in CASES}}
    assert len(golden) == len(CASES) + 1
    np.savez_compressed(FILE, **golden)
    print(FILE.name, FILE.stat().st_size, "bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
