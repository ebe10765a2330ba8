"""What layers and losses do where there is a choice, or nothing to compute from: one row for each question.

The page, its test and the golden file of PyTorch are made from these rows. Nothing here needs JAX, because the script
that asks PyTorch runs without it.
"""

import math
from typing import NamedTuple

INF, NAN = math.inf, math.nan
HALF, TENTH = math.log(2), 0.1  # the loss of a probability of ½; a rate of the running statistics


class Row(NamedTuple):
    """One question to one layer or loss.

    Attributes:
      layer: its name in jaxrl.
      what: the question, in a few words.
      args: the arguments by name: numbers and lists, in which those of integer type are indices and flags.
      ours: what jaxrl answers, by the name of the answer: y or L is the value, dx the gradient in x (from the
        cotangents 1, 2, 3 … of y), ddx the gradient of the sum of dx in x; the name of an error in its place.
      settings: further arguments, which are Python's own.
      why: a sentence for readers of other libraries, wherever one of them answers otherwise.
    """

    layer: str
    what: str
    args: dict
    ours: dict
    settings: dict = {}
    why: str = ""

    @property
    def call(self) -> str:
        """The question as code, unlike that of any other row."""
        args = {name: text(value) for name, value in self.args.items()}
        named = len(args) > 1
        parts = [f"{name}={value}" if named else value for name, value in args.items()]
        parts += [f"{name}={text(value)}" for name, value in self.settings.items()]
        return f"{self.layer}({', '.join(parts)})"


def text(value) -> str:
    """A number or a list of them as a reader writes it."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(text, value))}]"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f'"{value}"' if isinstance(value, str) else repr(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return "NaN" if math.isnan(value) else f"{value + 0.0:.4g}".replace("-", "−")


# Reasons that several rows share.
LIMIT = "There is a limit, and it is what comes out; the plain formula meets 0 · ∞ or ∞ − ∞ on the way, which is NaN."
LARGEST = (
    "The limit where all that are largest grow together. A row that is masked as a whole, in attention for example, "
    "then brings no NaN into the gradients of other rows."
)
TRANSPOSE = (
    "It is the transpose of `conv2d` with the same kernel, so a single 1 shows the kernel as it is. Flax turns it "
    "round unless `transpose_kernel=True`."
)
SQUARE = "An error of δ belongs to the square, as in the definition, and so does that of −δ."
KEPT = "A reset replaces the state by 0, not multiplies it by 0, so an episode that broke does not spoil the next."
AXIS = "A mean over nothing, along an axis that is known when the function is traced, is a mistake, and said to be one."
ENDS = (
    "An index that is not there is a mistake in the caller, which JAX cannot report from compiled code. One that is "
    "beyond an end counts as that end in all losses, so that nothing else in the batch becomes NaN."
)
TABLE = (
    "As `table[ids]` in JAX. Flax fills in NaN beyond the end; PyTorch, which can look at the numbers, raises an error."
)
MASK = (
    "A weight of 0 masks: what is in the row does not matter. In a plain product 0 · ∞ and 0 · NaN are NaN, and one "
    "row that was to be left out spoils the loss and the gradient of all."
)
NOTHING = "A batch that has no rows, after filtering for example, adds nothing to a sum and moves no weight."

KINK = [
    Row("relu", "at 0", dict(x=0.0), dict(dx=0.0), why="The left slope, as in `jax.nn.relu` and nearly all libraries. "
        "Plain JAX is `jnp.maximum(x, 0)` here, which halves the gradient of a tie."),
    Row("leaky_relu", "at 0", dict(x=0.0), dict(dx=0.25), {"slope": 0.25}, "The left slope, as for `relu`; "
        "`jax.nn.leaky_relu` takes the right one."),
    Row("elu", "at 0", dict(x=0.0), dict(dx=2.0), {"alpha": 2.0}),
    Row("huber_loss", "second derivative at e = δ", dict(prediction=1.0, target=0.0), dict(dprediction=1.0,
        ddprediction=1.0), {"delta": 1.0}, SQUARE),
    Row("huber_loss", "second derivative at e = −δ", dict(prediction=-1.0, target=0.0), dict(dprediction=-1.0,
        ddprediction=1.0), {"delta": 1.0}, SQUARE),
    Row("quantile_huber_loss", "at e = 0", dict(theta=[0.0], target=[0.0], tau=[0.25]), dict(dtheta=[0.0])),
    Row("binary_cross_entropy", "at 0, although its formula has an absolute value", dict(logits=0.0, targets=1.0),
        dict(dlogits=-0.5, ddlogits=0.25)),
    Row("softplus", "the same", dict(x=0.0), dict(dx=0.5, ddx=0.25)),
    Row("sigmoid", "the same", dict(x=0.0), dict(dx=0.25, ddx=0.0)),
    Row("tanh_gaussian_log_prob", "the same", dict(u=[0.0], mean=[0.0], log_std=[0.0]), dict(du=[0.0],
        ddu=[1.0])),
]  # fmt: skip

TIE = [
    Row("max_pool2d", "two equal entries in one window", dict(x=[1.0, 1.0]), dict(dx=[1.0, 0.0]), {"window": 2}),
    Row("dueling", "two largest advantages", dict(v=0.0, advantage=[1.0, 1.0]), dict(q=[0.0, 0.0],
        dadvantage=[-2.0, 2.0]), {"combine": "max"}, "The first of the largest takes the whole gradient, as `argmax` "
        "takes the first. `jnp.max` would split it."),
    Row("softmax", "two largest entries", dict(x=[1.0, 1.0]), dict(y=[0.5, 0.5], dx=[-0.25, 0.25])),
    Row("layer_norm", "all entries equal", dict(x=[3.0, 3.0]), dict(y=[0.0, 0.0], dx=[-0.5, 0.5]), {"epsilon": 1.0}),
    Row("batch_norm", "all entries equal", dict(x=[3.0, 3.0]), dict(y=[0.0, 0.0], dx=[-0.5, 0.5]), {"epsilon": 1.0}),
]  # fmt: skip

PADDING = [
    Row("max_pool2d", "padding beside negative entries", dict(x=[-1.0]), dict(y=[-1.0, -1.0]), {"window": 2,
        "padding": 1, "stride": 1}),
    Row("max_pool2d", "a window of −∞ beside padding", dict(x=[-INF]), dict(y=[-INF, -INF], dx=[3.0]), {"window": 2,
        "padding": 1, "stride": 1}, "Padding is no entry: it has no part in the gradient, though it is −∞ too."),
    Row("max_pool2d", "a window of padding alone", dict(x=[1.0]), dict(y="ValueError"), {"window": 2, "padding": 2,
        "stride": 1}, "The maximum of nothing is a mistake in the settings, and is reported as one."),
    Row("avg_pool2d", "padding counts as zeros", dict(x=[2.0]), dict(y=[1.0, 1.0], dx=[1.5]), {"window": 2,
        "padding": 1, "stride": 1}),
    Row("avg_pool2d", "padding is not counted", dict(x=[2.0]), dict(y=[2.0, 2.0], dx=[3.0]), {"window": 2, "padding": 1,
        "stride": 1, "count_padding": False}),
    Row("avg_pool2d", "a window of padding alone", dict(x=[2.0]), dict(y="ValueError"), {"window": 2, "padding": 2,
        "stride": 1, "count_padding": False}, "The mean of nothing is a mistake in the settings, reported "
        "as one."),
    Row("conv2d", "SAME, an even kernel", dict(x=[1.0, 2.0, 3.0], w=[1.0, 1.0]), dict(y=[3.0, 5.0, 3.0]),
        {"padding": "SAME"}),
    Row("conv_transpose2d", "which way round the kernel is", dict(x=[1.0, 0.0], w=[1.0, 2.0, 3.0]),
        dict(y=[1.0, 2.0, 3.0, 0.0]), {"padding": "VALID"}, TRANSPOSE),
    Row("conv_transpose2d", "SAME, stride 2", dict(x=[1.0, 0.0], w=[1.0, 2.0, 3.0]), dict(y=[1.0, 2.0, 3.0, 0.0]),
        {"padding": "SAME", "stride": 2}, TRANSPOSE),
]  # fmt: skip

INFINITY = [
    Row("relu", "−∞", dict(x=-INF), dict(y=0.0, dx=0.0)),
    Row("leaky_relu", "−∞ and a slope of 0", dict(x=-INF), dict(y=0.0, dx=0.0), {"slope": 0.0}, LIMIT),
    Row("elu", "−∞", dict(x=-INF), dict(y=-2.0, dx=0.0), {"alpha": 2.0}),
    Row("elu", "∞", dict(x=INF), dict(y=INF, dx=1.0), {"alpha": 2.0}),
    Row("sigmoid", "−∞", dict(x=-INF), dict(y=0.0, dx=0.0)),
    Row("tanh", "∞", dict(x=INF), dict(y=1.0, dx=0.0)),
    Row("softplus", "−∞", dict(x=-INF), dict(y=0.0, dx=0.0)),
    Row("softplus", "∞", dict(x=INF), dict(y=INF, dx=1.0)),
    Row("gelu", "−∞", dict(x=-INF), dict(y=0.0, dx=0.0), {}, LIMIT),
    Row("gelu", "∞", dict(x=INF), dict(y=INF, dx=1.0), {}, LIMIT),
    Row("gelu", "−∞, with tanh", dict(x=-INF), dict(y=0.0, dx=0.0), {"approximate": True}, LIMIT),
    Row("softmax", "−∞: an entry that is masked", dict(x=[0.0, -INF]), dict(y=[1.0, 0.0], dx=[0.0, 0.0])),
    Row("softmax", "all are −∞", dict(x=[-INF, -INF]), dict(y=[0.5, 0.5], dx=[-0.25, 0.25]), {}, LARGEST),
    Row("softmax", "∞", dict(x=[INF, 0.0]), dict(y=[1.0, 0.0], dx=[0.0, 0.0]), {}, LARGEST),
    Row("log_softmax", "−∞: an entry that is masked", dict(x=[0.0, -INF]), dict(y=[0.0, -INF], dx=[-2.0, 2.0])),
    Row("log_softmax", "all are −∞", dict(x=[-INF, -INF]), dict(y=[-HALF, -HALF], dx=[-0.5, 0.5]), {}, LARGEST),
    Row("log_softmax", "∞", dict(x=[INF, 0.0]), dict(y=[0.0, -INF], dx=[-2.0, 2.0]), {}, LARGEST),
    Row("max_pool2d", "∞", dict(x=[INF, 0.0]), dict(y=[INF], dx=[1.0, 0.0]), {"window": 2}),
    Row("avg_pool2d", "∞", dict(x=[INF, 0.0]), dict(y=[INF], dx=[0.5, 0.5]), {"window": 2}),
    Row("global_avg_pool2d", "∞", dict(x=[INF, 0.0]), dict(y=[INF], dx=[0.5, 0.5])),
    Row("dueling", "an advantage of −∞", dict(v=0.0, advantage=[1.0, -INF]), dict(q=[0.0, -INF],
        dadvantage=[-2.0, 2.0]), {"combine": "max"}),
    Row("dueling", "one of ∞", dict(v=0.0, advantage=[1.0, INF]), dict(q=[-INF, 0.0], dadvantage=[1.0, -1.0]),
        {"combine": "max"}, LIMIT),
    Row("layer_norm", "∞", dict(x=[0.0, INF]), dict(y=[NAN, NAN], dx=[NAN, NAN])),
    Row("batch_norm", "a running variance of ∞", dict(x=[1.0], mean=0.0, var=INF), dict(y=[0.0], dx=[0.0]),
        {"training": False}),
    Row("linear", "∞ times a weight of 0", dict(x=[INF], w=[[0.0]], b=[1.0]), dict(y=[NAN], dx=[0.0])),
    Row("noisy_linear", "∞ times a weight of 0", dict(x=[INF], w=[[0.0]], b=[1.0], w_sigma=[[0.0]], b_sigma=[0.0],
        noise_in=[1.0], noise_out=[1.0]), dict(y=[NAN], dx=[0.0])),
    Row("conv2d", "∞ in one window", dict(x=[INF, 1.0, 2.0], w=[1.0, 1.0]), dict(y=[INF, 3.0], dw=[INF, 5.0])),
    Row("conv_transpose2d", "∞ at one position", dict(x=[INF, 1.0], w=[1.0]), dict(y=[INF, 1.0], dx=[1.0, 2.0])),
    Row("lstm_cell", "∞", dict(x=INF), dict(y=math.tanh(1.0), dx=0.0)),
    Row("gru_cell", "−∞", dict(x=-INF), dict(y=-1.0, dx=0.0)),
    Row("squared_loss", "∞", dict(prediction=INF, target=0.0), dict(L=INF, dprediction=INF)),
    Row("huber_loss", "∞", dict(prediction=INF, target=0.0), dict(L=INF, dprediction=1.0), {"delta": 1.0}, LIMIT),
    Row("quantile_huber_loss", "a target of ∞", dict(theta=[0.0], target=[INF], tau=[0.25]), dict(L=INF,
        dtheta=[-0.25]), {}, LIMIT),
    Row("q_learning_loss", "the action taken", dict(q_tm1=[1.0, INF], a_tm1=1, target=0.0), dict(L=INF,
        dq_tm1=[0.0, 1.0]), {}, LIMIT),
    Row("q_learning_loss", "another action", dict(q_tm1=[1.0, INF], a_tm1=0, target=0.0), dict(L=0.5,
        dq_tm1=[1.0, 0.0])),
    Row("softmax_cross_entropy", "the label has −∞", dict(logits=[0.0, -INF], labels=1), dict(L=INF,
        dlogits=[1.0, -1.0])),
    Row("softmax_cross_entropy", "another has −∞", dict(logits=[0.0, -INF], labels=0), dict(L=0.0, dlogits=[0.0, 0.0])),
    Row("categorical_cross_entropy", "−∞ where p is 0", dict(logits=[0.0, -INF], p=[1.0, 0.0]), dict(L=0.0,
        dlogits=[0.0, 0.0]), {}, "p log q is 0 at p = 0, its limit, so actions and classes can be masked by −∞."),
    Row("categorical_cross_entropy", "−∞ where p is not 0", dict(logits=[0.0, -INF], p=[0.5, 0.5]), dict(L=INF,
        dlogits=[0.5, -0.5])),
    Row("binary_cross_entropy", "certain, and right", dict(logits=INF, targets=1.0), dict(L=0.0, dlogits=0.0), {},
        LIMIT),
    Row("binary_cross_entropy", "certain, and wrong", dict(logits=INF, targets=0.0), dict(L=INF, dlogits=1.0)),
    Row("gaussian_nll", "a sample at ∞", dict(x=[INF], mean=[0.0], log_std=[0.0]), dict(L=INF, dmean=[-INF],
        dlog_std=[-INF])),
    Row("gaussian_nll", "σ = 0 at the mean", dict(x=[1.0], mean=[1.0], log_std=[-INF]), dict(L=-INF, dmean=[0.0],
        dlog_std=[1.0]), {}, LIMIT),
    Row("gaussian_kl", "σ of q is ∞", dict(mean_p=[0.0], log_std_p=[0.0], mean_q=[0.0], log_std_q=[INF]), dict(L=INF,
        dlog_std_q=[1.0]), {}, LIMIT),
    Row("gaussian_kl", "σ of q is 0", dict(mean_p=[1.0], log_std_p=[0.0], mean_q=[0.0], log_std_q=[-INF]), dict(L=INF,
        dlog_std_q=[-INF]), {}, LIMIT),
    Row("tanh_gaussian_log_prob", "an action of 1", dict(u=[INF], mean=[0.0], log_std=[0.0]), dict(L=-INF, du=[-INF]),
        {}, LIMIT),
    Row("actor_critic_loss", "an action that cannot be taken", dict(logits=[0.0, -INF], v=0.0, a=0, advantage=1.0,
        target=0.0), dict(L=0.0, dlogits=[0.0, 0.0]), {}, "p log p is 0 at p = 0, its limit, so actions can be masked "
        "by −∞."),
]  # fmt: skip

NANS = [
    Row("relu", "", dict(x=NAN), dict(y=NAN, dx=0.0), why="No entry is above 0, so none lets the gradient through; the "
        "value shows the NaN."),
    Row("leaky_relu", "", dict(x=NAN), dict(y=NAN, dx=0.25), {"slope": 0.25}),
    Row("elu", "", dict(x=NAN), dict(y=NAN, dx=NAN), why="The slope depends on x, and so is NaN too."),
    Row("tanh", "", dict(x=NAN), dict(y=NAN, dx=NAN)),
    Row("softmax", "one entry", dict(x=[NAN, 0.0]), dict(y=[NAN, NAN], dx=[NAN, NAN])),
    Row("log_softmax", "one entry", dict(x=[NAN, 0.0]), dict(y=[NAN, NAN], dx=[NAN, NAN])),
    Row("max_pool2d", "one entry: it is the largest of all", dict(x=[1.0, NAN]), dict(y=[NAN], dx=[0.0, 1.0]),
        {"window": 2}),
    Row("dueling", "one advantage", dict(v=0.0, advantage=[1.0, NAN]), dict(q=[NAN, NAN], dadvantage=[1.0, -1.0]),
        {"combine": "max"}, "NaN counts as the largest, as in `argmax`, and takes the gradient alone."),
    Row("dropout", "an entry that is dropped", dict(x=[NAN]), dict(y=[0.0], dx=[0.0]), {"rate": 1.0}, "What is dropped "
        "is gone: it is replaced by 0, not multiplied by it."),
    Row("lstm", "a state before a reset", dict(x=[0.0], h_0=NAN, reset=[1]), dict(y=[0.0], dh_0=0.0), why=KEPT),
    Row("gru", "a state before a reset", dict(x=[0.0], h_0=NAN, reset=[1]), dict(y=[0.0], dh_0=0.0), why=KEPT),
    Row("huber_loss", "", dict(prediction=NAN, target=0.0), dict(L=NAN, dprediction=NAN), {"delta": 1.0}),
    Row("squared_loss", "", dict(prediction=NAN, target=0.0), dict(L=NAN, dprediction=NAN)),
    Row("q_learning_loss", "an action that was not taken", dict(q_tm1=[1.0, NAN], a_tm1=0, target=0.0), dict(L=0.5,
        dq_tm1=[1.0, 0.0])),
    Row("categorical_cross_entropy", "one logit, though p is 0 there", dict(logits=[0.0, NAN], p=[1.0, 0.0]),
        dict(L=NAN, dlogits=[NAN, NAN])),
]  # fmt: skip

WEIGHT = [
    Row("squared_loss", "a row of ∞", dict(prediction=[2.0, INF], target=[0.0, 0.0], weight=[1.0, 0.0]), dict(L=2.0,
        dprediction=[2.0, 0.0], dweight=[2.0, 0.0]), {}, MASK),
    Row("huber_loss", "a row of NaN", dict(prediction=[2.0, NAN], target=[0.0, 0.0], weight=[1.0, 0.0]), dict(L=1.5,
        dprediction=[1.0, 0.0]), {"delta": 1.0}, MASK),
    Row("quantile_huber_loss", "a row of ∞", dict(theta=[[0.0], [INF]], target=[[1.0], [0.0]], tau=[0.5],
        weight=[1.0, 0.0]), dict(L=0.25, dtheta=[[-0.5], [0.0]]), {}, MASK),
    Row("q_learning_loss", "a row of ∞", dict(q_tm1=[[2.0, 0.0], [INF, 0.0]], a_tm1=[0, 0], target=[0.0, 0.0],
        weight=[1.0, 0.0]), dict(L=1.5, dq_tm1=[[1.0, 0.0], [0.0, 0.0]]), {}, MASK),
    Row("softmax_cross_entropy", "a label that has −∞", dict(logits=[[0.0, 0.0], [0.0, -INF]], labels=[0, 1],
        weight=[1.0, 0.0]), dict(L=HALF, dlogits=[[-0.5, 0.5], [0.0, 0.0]]), {}, MASK),
    Row("categorical_cross_entropy", "a row of NaN", dict(logits=[[0.0, 0.0], [0.0, NAN]], p=[[1.0, 0.0], [1.0, 0.0]],
        weight=[1.0, 0.0]), dict(L=HALF, dlogits=[[-0.5, 0.5], [0.0, 0.0]]), {}, MASK),
    Row("binary_cross_entropy", "a row of ∞", dict(logits=[0.0, INF], targets=[1.0, 0.0], weight=[1.0, 0.0]),
        dict(L=HALF, dlogits=[-0.5, 0.0]), {}, MASK),
    Row("gaussian_nll", "a row of NaN", dict(x=[[1.0], [NAN]], mean=[[0.0], [0.0]], log_std=[[0.0], [0.0]],
        weight=[1.0, 0.0]), dict(dmean=[[-1.0], [0.0]], dlog_std=[[0.0], [0.0]]), {}, MASK),
    Row("gaussian_kl", "a row of ∞", dict(mean_p=[[1.0], [INF]], log_std_p=[[0.0], [0.0]], mean_q=[[0.0], [0.0]],
        log_std_q=[[0.0], [0.0]], weight=[1.0, 0.0]), dict(L=0.5, dmean_p=[[1.0], [0.0]]), {}, MASK),
    Row("actor_critic_loss", "a row of NaN", dict(logits=[[0.0, 0.0], [NAN, 0.0]], v=[0.0, 0.0], a=[0, 0],
        advantage=[1.0, 1.0], target=[1.0, 0.0], weight=[1.0, 0.0]), dict(dlogits=[[-0.5, 0.5], [0.0, 0.0]],
        dv=[-0.5, 0.0]), {}, MASK),
]  # fmt: skip

INDEX = [
    Row("embedding", "beyond the end", dict(ids=[3], table=[[1.0], [2.0], [3.0]]), dict(y=[[3.0]],
        dtable=[[0.0], [0.0], [0.0]]), {}, TABLE),
    Row("embedding", "negative", dict(ids=[-1], table=[[1.0], [2.0], [3.0]]), dict(y=[[3.0]],
        dtable=[[0.0], [0.0], [1.0]]), {}, TABLE),
    Row("softmax_cross_entropy", "beyond the end", dict(logits=[0.0, 0.0], labels=2), dict(L=HALF, dlogits=[0.5, -0.5]),
        {}, ENDS),
    Row("softmax_cross_entropy", "negative", dict(logits=[0.0, 0.0], labels=-1), dict(L=HALF, dlogits=[-0.5, 0.5]), {},
        ENDS),
    Row("q_learning_loss", "beyond the end", dict(q_tm1=[1.0, 0.5], a_tm1=2, target=0.0), dict(L=0.125,
        dq_tm1=[0.0, 0.5]), {}, ENDS),
    Row("q_learning_loss", "negative", dict(q_tm1=[1.0, 0.5], a_tm1=-1, target=0.0), dict(L=0.5, dq_tm1=[1.0, 0.0]), {},
        ENDS),
    Row("actor_critic_loss", "beyond the end", dict(logits=[0.0, 0.0], v=0.0, a=2, advantage=1.0, target=0.0),
        dict(dlogits=[0.5, -0.5]), {}, ENDS),
    Row("actor_critic_loss", "negative", dict(logits=[0.0, 0.0], v=0.0, a=-1, advantage=1.0, target=0.0),
        dict(dlogits=[-0.5, 0.5]), {}, ENDS),
]  # fmt: skip

EMPTY = [
    Row("squared_loss", "no rows", dict(prediction=[], target=[]), dict(L=0.0), {}, NOTHING),
    Row("huber_loss", "no rows", dict(prediction=[], target=[]), dict(L=0.0), {"delta": 1.0}, NOTHING),
    Row("quantile_huber_loss", "no targets", dict(theta=[0.0], target=[], tau=[0.5]), dict(L="ValueError"), {}, AXIS),
    Row("softmax", "no entries", dict(x=[]), dict(y="ValueError"), {}, "There is no distribution over nothing."),
    Row("log_softmax", "no entries", dict(x=[]), dict(y="ValueError"), {}, "There is no distribution over nothing."),
    Row("global_avg_pool2d", "no positions", dict(x=[]), dict(y="ValueError"), {}, AXIS),
    Row("dueling", "no actions", dict(v=0.0, advantage=[]), dict(q="ValueError"), {}, "There is no action to choose."),
    Row("layer_norm", "no entries", dict(x=[]), dict(y=[])),
    Row("batch_norm", "no rows", dict(x=[], mean=0.5, var=2.0), dict(y=[], mean=0.5, var=2.0), {}, "Nothing was seen, "
        "so the running statistics stay; a NaN in them would stay for ever."),
    Row("batch_norm", "one row", dict(x=[1.0], mean=0.0, var=1.0), dict(y=[0.0], var=1 - TENTH), {}, "The variance of "
        "one entry counts as 0; PyTorch divides by n − 1 and refuses."),
    Row("batch_norm", "two rows", dict(x=[0.0, 2.0], mean=0.0, var=1.0), dict(mean=TENTH, var=1 - TENTH + 2 * TENTH),
        {}, "The running variance is the unbiased one, n / (n − 1), as PyTorch's is; Flax keeps the other."),
    Row("lstm", "no steps", dict(x=[], h_0=2.0, reset=[]), dict(y=[], h=2.0), {}, "A sequence without steps leaves the "
        "state as it is."),
    Row("gru", "no steps", dict(x=[], h_0=2.0, reset=[]), dict(y=[], h=2.0), {}, "A sequence without steps leaves the "
        "state as it is."),
]  # fmt: skip

KINDS = {"kink": KINK, "tie": TIE, "padding": PADDING, "infinity": INFINITY, "NaN": NANS, "weight 0": WEIGHT,
         "index": INDEX, "empty": EMPTY}  # fmt: skip
ROWS = [row for rows in KINDS.values() for row in rows]
NONE = {  # public, without a convention
    "factorized_noise": "random numbers from finite ones, without a gradient",
    "lstm_states": "what `lstm` keeps, without a gradient",
}
