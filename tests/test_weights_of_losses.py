"""What the weight of a row does in every loss: 0 masks, in value and gradient, at first and second order."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import losses
from jaxrl.audit.gradients import QUICK

RNG = np.random.default_rng(0)
ROWS, MASKED = 3, 1


def normal(*size):
    return RNG.normal(size=size)


CHOICE = np.array([0, 2, 1])
TAU = np.array([0.2, 0.5, 0.8])
# For each loss its arguments without the weight, and which of them have rows.
ARGUMENTS = {
    "actor_critic_loss": (
        dict(logits=normal(3, 3), v=normal(3), a=CHOICE, advantage=normal(3), target=normal(3),
             entropy_coefficient=np.array(0.3), value_coefficient=np.array(0.5)),
        ("logits", "v", "advantage", "target"),
    ),
    "binary_cross_entropy": (dict(logits=normal(3), targets=RNG.random(3)), ("logits", "targets")),
    "categorical_cross_entropy": (dict(logits=normal(3, 3), p=RNG.random((3, 3))), ("logits", "p")),
    "gaussian_kl": (
        dict(mean_p=normal(3, 2), log_std_p=normal(3, 2), mean_q=normal(3, 2), log_std_q=normal(3, 2)),
        ("mean_p", "log_std_p", "mean_q", "log_std_q"),
    ),
    "gaussian_nll": (dict(x=normal(3, 2), mean=normal(3, 2), log_std=normal(3, 2)), ("x", "mean", "log_std")),
    "huber_loss": (dict(prediction=normal(3), target=2 * normal(3)), ("prediction", "target")),
    "q_learning_loss": (dict(q_tm1=normal(3, 3), a_tm1=CHOICE, target=normal(3)), ("q_tm1", "target")),
    "quantile_huber_loss": (dict(theta=normal(3, 3), target=normal(3, 4), tau=TAU), ("theta", "target")),
    "softmax_cross_entropy": (dict(logits=normal(3, 3), labels=CHOICE), ("logits",)),
    "squared_loss": (dict(prediction=normal(3), target=normal(3)), ("prediction", "target")),
}  # fmt: skip
BAD = [np.inf, -np.inf, np.nan, 1e30, -1e30]
WEIGHT = np.array([0.5, 0.0, 2.0])


def test_every_loss_with_a_weight_is_in_the_table():
    weighted = {name for name, loss in vars(losses).items() if callable(loss)} - {"tanh_gaussian_log_prob"}
    assert weighted == set(ARGUMENTS)


def variants(name, dtype):
    """The arguments as they are, then each with one bad number in one entry and in the whole of the masked row."""
    arguments, with_rows = ARGUMENTS[name]
    arguments = {k: jnp.asarray(x, dtype if np.asarray(x).dtype == np.float64 else None) for k, x in arguments.items()}
    made = [arguments]
    for which, bad in itertools.product(with_rows, BAD):
        place = (MASKED, 0) if arguments[which].ndim > 1 else MASKED
        made += [arguments | {which: arguments[which].at[p].set(bad)} for p in {place, MASKED}]
        zeros = {k: arguments[k].at[MASKED].set(0) for k in with_rows}  # beside which a loss may be finite
        made.append(arguments | zeros | {which: arguments[which].at[MASKED].set(bad)})
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)


def derivatives(name, weight, dtype):
    """The loss of every variant, its gradients, and the gradients of a function of both."""

    def value(free, fixed):
        loss = getattr(losses, name)(**free, **fixed)
        return loss + 0.5 * loss**2, loss  # what comes back to the loss depends on it

    def along(free, fixed):
        slopes, _ = jax.grad(value, has_aux=True)(free, fixed)
        unmasked = {k: s[::2] if k == "weight" and s.ndim else s for k, s in slopes.items()}
        return sum(jnp.sum(jnp.sin(1.0 + jnp.arange(s.size)).reshape(s.shape) * s) for s in unmasked.values())

    def all_of(arguments):
        free = {k: x for k, x in arguments.items() if jnp.issubdtype(x.dtype, jnp.floating)} | {"weight": weight}
        fixed = {k: x for k, x in arguments.items() if k not in free}
        slopes, loss = jax.grad(value, has_aux=True)(free, fixed)
        return loss, slopes, jax.grad(along)(free, fixed)

    weight = jnp.asarray(weight, dtype)
    return jax.jit(jax.vmap(all_of), compiler_options=QUICK)(variants(name, dtype))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_row_of_weight_0_takes_no_part(name, dtype):
    """Whatever is in it: the others' derivatives are those beside an ordinary row, its own are 0."""
    _, with_rows = ARGUMENTS[name]
    loss, first, second = derivatives(name, WEIGHT, dtype)
    np.testing.assert_array_equal(loss, loss[0])
    for order, slopes in (("first", first), ("second", second)):
        for which, slope in slopes.items():
            slope = np.asarray(slope, np.float32)
            if which in with_rows or which == "weight":
                assert not np.any(np.isnan(slope[:, MASKED])), (order, which)
                slope = np.delete(slope, MASKED, 1)
            np.testing.assert_array_equal(slope, np.broadcast_to(slope[0], slope.shape), f"{order}, {which}")
    for which in with_rows:
        np.testing.assert_array_equal(first[which][:, MASKED], 0)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_one_weight_of_0_masks_all_rows(name):
    _, with_rows = ARGUMENTS[name]
    loss, first, second = derivatives(name, 0.0, "float32")
    np.testing.assert_array_equal(loss, 0)
    for which in with_rows:
        np.testing.assert_array_equal(first[which], 0)
    for leaf in jax.tree.leaves((first, second)):
        assert not np.any(np.isnan(leaf))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_finite_row_of_weight_0_keeps_the_derivatives_of_its_weight(name):
    """Its loss, and its slope as the derivative of both orders of (weight, input)."""
    arguments, (which, *_) = ARGUMENTS[name]
    arguments = {k: jnp.asarray(x) for k, x in arguments.items()}
    weight = jnp.asarray(WEIGHT, jnp.float32)
    loss = getattr(losses, name)
    weighed = lambda x, weight: loss(**arguments | {which: x}, weight=weight)  # noqa: E731
    x, alone = arguments[which], jnp.zeros(ROWS).at[MASKED].set(1.0)
    direction = jnp.arange(1.0, x.size + 1).reshape(x.shape)

    def all_of(x, weight):
        first = jax.value_and_grad(weighed)(x, alone), jax.grad(weighed, 1)(x, weight)[MASKED]
        by_weight = jax.grad(lambda w: jnp.vdot(direction, jax.grad(weighed)(x, w)))(weight)[MASKED]
        return first, by_weight, jax.grad(lambda x: jax.grad(weighed, 1)(x, weight)[MASKED])(x)

    ((row, slope), dweight), by_weight, by_input = jax.jit(all_of, compiler_options=QUICK)(x, weight)
    np.testing.assert_allclose(dweight, row, rtol=1e-6)
    np.testing.assert_allclose(by_weight, jnp.vdot(direction, slope), rtol=1e-5)
    np.testing.assert_allclose(by_input, slope, rtol=1e-6)


@pytest.mark.parametrize("weight", [np.zeros(2), np.zeros(())], ids=["rows", "one"])
def test_a_masked_row_of_infinite_loss_counts_as_absent_in_the_gradient_of_its_weight(weight):
    prediction = jnp.array([np.inf, 3.0])
    dweight = jax.grad(lambda w: losses.squared_loss(prediction, jnp.zeros(2), w))(jnp.asarray(weight, jnp.float32))
    np.testing.assert_array_equal(dweight, [0.0, 4.5] if weight.ndim else 4.5)
    unmasked = jax.grad(lambda w: losses.squared_loss(prediction, jnp.zeros(2), w))(jnp.ones(2))
    np.testing.assert_array_equal(unmasked, [np.inf, 4.5])


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("weight", [None, 0.3, WEIGHT], ids=["none", "one", "rows"])
def test_reductions(name, weight):
    """The rows, with a cotangent each, their sum and their mean."""
    arguments = {k: jnp.asarray(x) for k, x in ARGUMENTS[name][0].items()}
    which = ARGUMENTS[name][1][0]
    weighted = 1.0 if weight is None else weight
    dy = jnp.array([1.0, 0.0, -0.5])

    def reduced(reduction, dy, weight):
        loss = lambda x: getattr(losses, name)(**arguments | {which: x}, weight=weight, reduction=reduction)  # noqa: E731
        value, vjp = jax.vjp(loss, arguments[which])
        return value, *vjp(dy)

    def all_of():
        alone = [reduced("sum", 1.0, jnp.zeros(ROWS).at[i].set(1.0))[0] for i in range(ROWS)]
        weighed = reduced("sum", 1.0, jnp.full(ROWS, weighted) * dy)[1]
        return (
            jnp.stack(alone),
            weighed,
            *(reduced(r, d, weight) for r, d in [("none", dy), ("sum", 1.0), ("mean", 3.0)]),
        )

    alone, weighed, (rows, slopes), total, mean = jax.jit(all_of, compiler_options=QUICK)()
    np.testing.assert_allclose(rows, alone * weighted, rtol=1e-5)
    np.testing.assert_allclose(slopes, weighed, rtol=1e-5)
    np.testing.assert_allclose(total[0], np.sum(rows), rtol=1e-5)
    np.testing.assert_allclose(mean[0] * ROWS, total[0], rtol=1e-5)
    np.testing.assert_allclose(mean[1], total[1], rtol=1e-5)  # the cotangent is the number of rows


def test_a_row_whose_cotangent_is_0_is_masked():
    """So `jnp.where` on the rows masks, as one expects of it."""
    x = jnp.array([1.0, np.inf, np.nan])

    def loss(x):
        return jnp.sum(jnp.where(jnp.isfinite(x), losses.squared_loss(x, jnp.zeros(3), reduction="none"), 0))

    np.testing.assert_array_equal(jax.grad(loss)(x), [1.0, 0.0, 0.0])


@pytest.mark.parametrize("dtype", [bool, np.int32, np.float64, list])
def test_a_mask_is_a_weight(dtype):
    mask = [1, 0, 1] if dtype is list else np.array([1, 0, 1], dtype)
    value, slope = jax.value_and_grad(losses.squared_loss)(jnp.array([1.0, np.nan, 3.0]), jnp.zeros(3), mask)
    assert value == 5.0 and value.dtype == jnp.float32
    np.testing.assert_array_equal(slope, [1.0, 0.0, 3.0])
    half = losses.squared_loss(jnp.ones(3, jnp.bfloat16), jnp.zeros(3, jnp.bfloat16), mask)
    assert half == 1.0 and half.dtype == jnp.bfloat16


def test_numbers_are_arguments():
    assert losses.huber_loss(3.0, np.float64(1.0), delta=np.float32(1.0)) == 1.5
    assert losses.softmax_cross_entropy(np.array([0.0, -np.inf]), 0) == 0.0
