"""Who is asked the questions of `conventions`: jaxrl, plain JAX, Flax and Optax. What they say is in `answers`."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxrl import layers, losses
from jaxrl.layers import reference

# A row's arguments are the fewest that its question needs; these functions add the rest.


def image_row(f):
    """Of one image of one row and one channel, x [W]."""
    return lambda x, window, **settings: f(_image(x), (1, window), **_across(settings)).reshape(-1)


def _image(x):
    return x[None, None, :, None]


def _across(settings):
    """A stride and a padding of columns alone."""
    settings = dict(settings)
    if "stride" in settings:
        settings["stride"] = (1, settings["stride"])
    if isinstance(settings.get("padding"), int):
        settings["padding"] = ((0, 0), (settings["padding"],) * 2)
    return settings


def kernel_row(f):
    """Of one image of one row and one channel, x [W], and a kernel w [k] without a bias."""
    return lambda x, w, **settings: f(_image(x), w[None, :, None, None], None, **_across(settings)).reshape(-1)


def norm(f):
    """With a scale of 1 and a shift of 0."""
    return lambda x, **settings: f(x, jnp.ones(x.shape), jnp.zeros(x.shape), **settings)


def batch(f):
    """Of one channel, x [N]."""

    def call(x, mean=0.0, var=1.0, **settings):
        one = jnp.ones(1)
        y, (mean, var) = f(x[:, None], one, 0 * one, mean * one, var * one, **settings)
        return {"y": y[:, 0], "mean": mean[0], "var": var[0]}

    return call


def cell(f, gates, states, biases):
    """Of one unit, from a state of 0, with weights of 1 and no bias."""
    zero, w = jnp.zeros((1, 1)), jnp.ones((1, gates))
    return lambda x: jax.tree.leaves(f(x[None, None], *[zero] * states, w, w, *[None] * biases))[0][0, 0]


def sequence(f, gates, states, biases):
    """The same over x [T]."""
    w = jnp.ones((1, gates))

    def call(x, h_0, reset):
        y, last = f(x[:, None, None], *[h_0[None, None]] * states, w, w, *[None] * biases, reset[:, None] == 1)
        return {"y": y[:, 0, 0], "h": jax.tree.leaves(last)[0][0, 0]}

    return call


SCENES = {
    "max_pool2d": image_row, "avg_pool2d": image_row, "conv2d": kernel_row, "conv_transpose2d": kernel_row,
    "global_avg_pool2d": lambda f: lambda x: f(_image(x))[0],
    "layer_norm": norm, "batch_norm": batch,
    "dropout": lambda f: lambda x, rate: f(x, jax.random.key(0), rate),
    "lstm_cell": partial(cell, gates=4, states=2, biases=1), "lstm": partial(sequence, gates=4, states=2, biases=1),
    "gru_cell": partial(cell, gates=3, states=1, biases=2), "gru": partial(sequence, gates=3, states=1, biases=2),
}  # fmt: skip


def _of(module, name):
    return SCENES.get(name, lambda f: f)(getattr(module, name))


def ours(name):
    """The function of jaxrl."""
    return _of(layers if hasattr(layers, name) else losses, name)


def plain(name):
    """The same in plain JAX, as one writes it who thinks of no special case."""
    return PLAIN.get(name) or _of(reference, name)


def _dueling(v, advantage, combine="mean"):
    return v[..., None] + advantage - getattr(jnp, combine)(advantage, -1, keepdims=True)


def weighed(each, weight):
    """The mean, or the sum of products, as one writes them."""
    return each.mean() if weight is None else jnp.sum(weight * each)


PLAIN = {"relu": lambda x: jnp.maximum(x, 0), "dueling": _dueling}


def optax_loss(f):
    """A loss of Optax that gives rows."""
    return lambda prediction, target, weight=None, **settings: weighed(f(prediction, target, **settings), weight)


def linen(module, *args, **params):
    """A module of Flax with these parameters."""
    return module.apply({"params": params}, *args)


def flax_pool(f):
    """As `image_row`, with Flax's names."""

    def call(x, window, stride=None, padding=0, count_padding=None):
        counted = {} if count_padding is None else {"count_include_pad": count_padding}
        pads = ((0, 0), (padding, padding))
        return f(_image(x), (1, window), (1, stride or window), pads, **counted).reshape(-1)

    return call


def flax_conv(module):
    """As `kernel_row`."""

    def call(x, w, padding="VALID", stride=1):
        made = module(1, (1, w.shape[0]), (1, stride), padding, use_bias=False)
        return linen(made, _image(x), kernel=w[None, :, None, None]).reshape(-1)

    return call


def flax_batch_norm(x, mean=0.0, var=1.0, training=True, epsilon=1e-5):
    """Of one channel."""
    state = {"mean": mean * jnp.ones(1), "var": var * jnp.ones(1)}
    module = nn.BatchNorm(not training, momentum=0.9, epsilon=epsilon, use_bias=False, use_scale=False)
    y, new = module.apply({"batch_stats": state}, x[:, None], mutable=["batch_stats"])
    return {"y": y[:, 0]} | {name: value[0] for name, value in new["batch_stats"].items()}


def flax_cell(module, gates):
    """Of one unit, with weights of 1 and no bias but one of 0."""

    def call(x):
        one = {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}
        params = {side + gate: one for side in "ih" for gate in gates}
        zero = jnp.zeros((1, 1))
        carry = (zero, zero) if len(gates) == 4 else zero
        return linen(module(1), carry, x[None, None], **params)[1][0, 0]

    return call


FLAX = {
    "relu": nn.relu, "elu": nn.elu, "sigmoid": nn.sigmoid, "tanh": nn.tanh, "softplus": nn.softplus,
    "softmax": nn.softmax, "log_softmax": nn.log_softmax,
    "leaky_relu": lambda x, slope: nn.leaky_relu(x, slope),
    "gelu": lambda x, approximate=False: nn.gelu(x, approximate),
    "max_pool2d": flax_pool(nn.max_pool), "avg_pool2d": flax_pool(nn.avg_pool),
    "conv2d": flax_conv(nn.Conv), "conv_transpose2d": flax_conv(nn.ConvTranspose),
    "linear": lambda x, w, b: linen(nn.Dense(b.shape[0]), x, kernel=w, bias=b),
    "embedding": lambda ids, table: linen(nn.Embed(*table.shape), ids, embedding=table),
    "dropout": lambda x, rate: nn.Dropout(rate, deterministic=False).apply({}, x, rngs={"dropout": jax.random.key(0)}),
    "layer_norm": lambda x, epsilon=1e-5: linen(nn.LayerNorm(epsilon=epsilon, use_bias=False, use_scale=False), x),
    "batch_norm": flax_batch_norm,
    "lstm_cell": flax_cell(nn.OptimizedLSTMCell, "ifgo"), "gru_cell": flax_cell(nn.GRUCell, "rzn"),
    "squared_loss": optax_loss(optax.l2_loss),
    "huber_loss": optax_loss(optax.huber_loss),
    "q_learning_loss": lambda q_tm1, a_tm1, target, weight=None: weighed(
        optax.huber_loss(jnp.take_along_axis(q_tm1, a_tm1[..., None], -1)[..., 0], target), weight),
    "softmax_cross_entropy": optax_loss(optax.softmax_cross_entropy_with_integer_labels),
    "categorical_cross_entropy": optax_loss(optax.softmax_cross_entropy),
    "binary_cross_entropy": optax_loss(optax.sigmoid_binary_cross_entropy),
}  # fmt: skip
