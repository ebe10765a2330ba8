"""Make `pytorch_conventions.json`: what PyTorch answers to the rows of `docs/builder/conventions.py`.

    pip install torch==2.13.0 numpy && PYTHONPATH=docs python tests/golden/make_pytorch_conventions.py

Run it when rows are new: a test says so. All is in float64. The file has for each row its answers by name, as the row
itself has those of jaxrl; an error is its name.
"""

import json
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from builder.conventions import ROWS
from torch.nn import functional as F

FILE = Path(__file__).with_name("pytorch_conventions.json")
Normal = torch.distributions.Normal


def pool(f):
    """Of one image of one row and one channel, x [W]."""

    def call(x, window, stride=None, padding=0, count_padding=None):
        counted = {} if count_padding is None else {"count_include_pad": count_padding}
        return f(x[None, None, None], (1, window), (1, stride or window), (0, padding), **counted).reshape(-1)

    return call


def conv2d(x, w, padding="VALID"):
    return F.conv2d(x[None, None, None], w[None, None, None], padding=padding.lower()).reshape(-1)


def conv_transpose2d(x, w, padding="VALID"):
    return F.conv_transpose2d(x[None, None, None], w[None, None, None]).reshape(-1)


def batch_norm(x, mean=0.0, var=1.0, training=True, epsilon=1e-5):
    """Of one channel."""
    mean, var = (torch.as_tensor(s, dtype=x.dtype).detach().reshape(1).clone() for s in (mean, var))
    y = F.batch_norm(x[:, None], mean, var, training=training, momentum=0.1, eps=epsilon)[:, 0]
    return {"y": y, "mean": mean[0], "var": var[0]}


def noisy_linear(x, w, b, w_sigma, b_sigma, noise_in, noise_out):
    return F.linear(x, (w + w_sigma * torch.outer(noise_in, noise_out)).T, b + b_sigma * noise_out)


def cell(kind):
    """Of one unit, from a state of 0, with weights of 1 and no bias."""
    return lambda x: _first(_with_ones(kind(1, 1, bias=False))(x[None, None]))[0, 0]


def sequence(kind):
    """The same over x [T]; a reset multiplies the first state, as is the custom."""

    def call(x, h_0, reset):
        h = ((1 - reset[:1]) * h_0).reshape(1, 1, 1)
        state = (h, h) if kind is torch.nn.LSTM else h
        y, last = _with_ones(kind(1, 1, bias=False))(x[:, None, None], state)
        return {"y": y[:, 0, 0], "h": _first(last)[0, 0, 0]}

    return call


def _with_ones(module):
    for weight in module.parameters():
        torch.nn.init.ones_(weight)
    return module


def _first(value):
    return value[0] if isinstance(value, tuple) else value


def loss(f):
    """A loss of `torch.nn.functional`."""

    def call(prediction, target, weight=None, **settings):
        return weighed(f(prediction, target, **settings, reduction="none"), weight)

    return call


def weighed(each, weight):
    """The mean, or the sum of products, as one writes them."""
    return each.mean() if weight is None else (weight * each).sum()


def q_learning_loss(q_tm1, a_tm1, target, weight=None):
    taken = q_tm1.gather(-1, a_tm1[..., None])[..., 0]
    return weighed(F.huber_loss(taken, target, reduction="none"), weight)


def gaussian_nll(x, mean, log_std, weight=None):
    return weighed(-Normal(mean, log_std.exp(), validate_args=False).log_prob(x).sum(-1), weight)


def gaussian_kl(mean_p, log_std_p, mean_q, log_std_q, weight=None):
    p, q = (Normal(m, s.exp(), validate_args=False) for m, s in ((mean_p, log_std_p), (mean_q, log_std_q)))
    return weighed(torch.distributions.kl_divergence(p, q).sum(-1), weight)


def tanh_gaussian_log_prob(u, mean, log_std):
    tanh = torch.distributions.TanhTransform(cache_size=1)
    normal = Normal(mean, log_std.exp(), validate_args=False)
    policy = torch.distributions.TransformedDistribution(normal, [tanh], validate_args=False)
    return policy.log_prob(tanh(u)).sum(-1)


def actor_critic_loss(logits, v, a, advantage, target, weight=None):
    policy = torch.distributions.Categorical(logits=logits, validate_args=False)
    each = -policy.log_prob(a) * advantage - 0.01 * policy.entropy() + 0.5 * 0.5 * (target - v) ** 2
    return weighed(each, weight)


TORCH = {
    "relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "softplus": F.softplus, "elu": F.elu,
    "leaky_relu": lambda x, slope: F.leaky_relu(x, slope),
    "gelu": lambda x, approximate=False: F.gelu(x, approximate="tanh" if approximate else "none"),
    "softmax": partial(torch.softmax, dim=-1), "log_softmax": partial(torch.log_softmax, dim=-1),
    "max_pool2d": pool(F.max_pool2d), "avg_pool2d": pool(F.avg_pool2d),
    "global_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x[None, None, None], 1).reshape(-1),
    "dueling": lambda v, advantage, combine="mean": v[..., None] + advantage - advantage.max(-1, keepdim=True).values,
    "conv2d": conv2d, "conv_transpose2d": conv_transpose2d, "batch_norm": batch_norm,
    "layer_norm": lambda x, epsilon=1e-5: F.layer_norm(x, x.shape[-1:], eps=epsilon),
    "linear": lambda x, w, b: F.linear(x, w.T, b), "noisy_linear": noisy_linear, "embedding": F.embedding,
    "dropout": lambda x, rate: F.dropout(x, rate),
    "lstm_cell": cell(torch.nn.LSTMCell), "gru_cell": cell(torch.nn.GRUCell),
    "lstm": sequence(torch.nn.LSTM), "gru": sequence(torch.nn.GRU),
    "squared_loss": loss(lambda *args, reduction: F.mse_loss(*args, reduction=reduction) / 2),
    "huber_loss": loss(F.huber_loss), "q_learning_loss": q_learning_loss,
    "softmax_cross_entropy": loss(F.cross_entropy), "categorical_cross_entropy": loss(F.cross_entropy),
    "binary_cross_entropy": loss(F.binary_cross_entropy_with_logits),
    "gaussian_nll": gaussian_nll, "gaussian_kl": gaussian_kl, "tanh_gaussian_log_prob": tanh_gaussian_log_prob,
    "actor_critic_loss": actor_critic_loss,
}  # fmt: skip


def has(row) -> bool:
    """PyTorch has no quantile loss; its transposed convolution no SAME."""
    return row.layer in TORCH and (row.layer, row.settings.get("padding")) != ("conv_transpose2d", "SAME")


def ask(row) -> dict:
    """The answers to one row by name, or for each name the name of an error."""
    try:
        return {name: _answer(row, name).detach().numpy().tolist() for name in row.ours}
    except Exception as error:  # whatever it raises is its answer
        return dict.fromkeys(row.ours, type(error).__name__)


def _answer(row, name):
    args = {key: _tensor(value) for key, value in row.args.items()}
    value = TORCH[row.layer](*args.values(), **row.settings)
    if not name.startswith("d"):
        return value[name] if isinstance(value, dict) else value
    x, y = args[name[2 if name.startswith("dd") else 1 :]], value["y"] if isinstance(value, dict) else value
    dy = torch.arange(1.0, y.numel() + 1).reshape(y.shape)
    (dx,) = torch.autograd.grad(y, x, dy, create_graph=name.startswith("dd"))
    return torch.autograd.grad(dx.sum(), x)[0] if name.startswith("dd") else dx


def _tensor(value):
    array = np.asarray(value)
    return torch.tensor(array, requires_grad=True) if array.dtype == float else torch.tensor(array)


def main():
    torch.set_default_dtype(torch.float64)
    warnings.simplefilter("ignore")
    rows = {row.call: ask(row) for row in ROWS if has(row)}
    lines = ",\n".join(f"  {json.dumps(k, ensure_ascii=False)}: {json.dumps(v)}" for k, v in rows.items())
    FILE.write_text(f'{{"torch": "{torch.__version__}", "rows": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main()
