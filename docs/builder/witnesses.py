"""Who answers the questions of `conventions`: jaxrl, plain JAX, Flax and Optax, and PyTorch from its golden file."""

import json
from functools import partial
from importlib import metadata

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from builder import quotes
from builder.conventions import NONE, text
from jaxrl import layers, losses
from jaxrl.audit.gradients import QUICK
from jaxrl.layers import reference

GOLDEN = quotes.ROOT / "tests" / "golden" / "pytorch_conventions.json"
NAMES = {"ours": "jaxrl", "plain": "plain JAX", "flax": "Flax, Optax", "torch": "PyTorch"}


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


def _actor_critic(logits, v, a, advantage, target, weight=None, entropy_coefficient=0.01, value_coefficient=0.5):
    log_pi = jax.nn.log_softmax(logits)
    policy = -jnp.take_along_axis(log_pi, a[..., None], -1)[..., 0] * advantage
    entropy = -jnp.sum(jnp.exp(log_pi) * log_pi, -1)
    return weighed(policy - entropy_coefficient * entropy + value_coefficient * 0.5 * (target - v) ** 2, weight)


def weighed(each, weight):
    """The mean, or the sum of products, as one writes them."""
    return each.mean() if weight is None else jnp.sum(weight * each)


PLAIN = {"relu": lambda x: jnp.maximum(x, 0), "dueling": _dueling, "actor_critic_loss": _actor_critic}


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


def answers(of, rows) -> list[dict | None]:
    """What a witness answers: for each row its answers by name, or None where it has no such function.

    Args:
      of: gives the witness's function of a layer's name, or None.
      rows: of `conventions`.
    """
    found = [None] * len(rows)

    def all_of(values):
        each = enumerate(zip(rows, values, strict=True))
        return [_asked(of(row.layer), row, args, found, i) for i, (row, args) in each]

    values = [{name: _array(value) for name, value in row.args.items()} for row in rows]
    computed = jax.jit(all_of, compiler_options=QUICK)(values)  # one program, because compiling many takes longer
    return [f if c is None else {k: np.asarray(v).tolist() for k, v in c.items()}
            for f, c in zip(found, computed, strict=True)]  # fmt: skip


def _array(value):
    array = np.asarray(value)
    return jnp.asarray(array, float if array.dtype == float else int)


def _asked(function, row, args, found, i):
    """The answers to one row; if there are none, what there is goes into `found`."""
    if function is None:
        return None
    try:
        return {name: _answer(partial(function, **row.settings), args, name) for name in row.ours}
    except Exception as error:  # whatever a library raises is its answer
        found[i] = dict.fromkeys(row.ours, type(error).__name__)


def _answer(function, args, name):
    if name.startswith("dd"):
        return jax.grad(lambda x: jnp.sum(_answer(function, args | {name[2:]: x}, name[1:])))(args[name[2:]])
    if name.startswith("d"):
        y, vjp = jax.vjp(lambda x: _named(function(*(args | {name[1:]: x}).values()), "y"), args[name[1:]])
        return vjp(jnp.arange(1.0, y.size + 1, dtype=y.dtype).reshape(y.shape))[0]
    return _named(function(*args.values()), name)


def _named(value, name):
    return value[name] if isinstance(value, dict) else value


def version(library: str) -> str:
    """Of a library that was asked."""
    return json.loads(GOLDEN.read_text())["torch"].partition("+")[0] if library == "torch" else metadata.version(library)


def torch_answers(rows) -> list[dict | None]:
    """Those of PyTorch, from the golden file."""
    golden = json.loads(GOLDEN.read_text())
    return [golden["rows"].get(row.call) for row in rows]


def agree(a, b) -> bool:
    """Whether two answers are the same."""
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str)  # errors have other names in other libraries
    a, b = np.asarray(a, float), np.asarray(b, float)
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-7, equal_nan=True)


def table(rows) -> str:
    """Markdown of the rows, each with the answers of all witnesses, and the reasons below.

    Raises: AssertionError where jaxrl answers otherwise than the row says, or another does so and no reason is given.
    """
    columns = {"ours": answers(ours, rows), "plain": answers(plain, rows), "flax": answers(FLAX.get, rows),
               "torch": torch_answers(rows)}  # fmt: skip
    reasons, lines = [], []
    for i, row in enumerate(rows):
        said = {who: column[i] for who, column in columns.items()}
        others = [a for who, a in said.items() if who != "ours" and a]
        differ = [a for a in others if not all(agree(row.ours[name], a[name]) for name in row.ours)]
        assert all(agree(value, said["ours"][name]) for name, value in row.ours.items()), f"{row.call}: {said['ours']}"
        assert bool(differ) == bool(row.why), f"{row.call}: others differ without a reason, or the reverse: {said}"
        mark = ""
        if row.why:
            reasons += [] if row.why in reasons else [row.why]
            mark = f" <sup>{reasons.index(row.why) + 1}</sup>"
        lines.append([_question(row) + mark, "<br>".join(row.ours), *(_cell(row, a) for a in said.values())])
    head = ["", "", *NAMES.values()]
    grid = [head, ["---"] * len(head), *lines]
    notes = "\n".join(f"{n}. {reason}" for n, reason in enumerate(reasons, 1))
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in grid) + "\n\n" + notes + "\n"


def _question(row):
    what = f"<br>{row.what}" if row.what else ""
    return f"`{row.call}`{what}"


def _cell(row, said):
    """A witness's answers, one a line, bold where they are not ours."""
    if said is None:
        return "–"
    if isinstance(next(iter(said.values())), str):
        shown = [next(iter(said.values()))]
    else:
        shown = [text(value) for value in said.values()]
    differ = [not agree(row.ours[name], value) for name, value in said.items()]
    if len(shown) == 1:
        differ = [any(differ)]
    return "<br>".join(f"**{s}**" if d else s for s, d in zip(shown, differ, strict=True))


def without() -> str:
    """A sentence on what is in no table."""
    return "In no table: " + "; ".join(f"`{name}` ({why})" for name, why in NONE.items()) + "."
