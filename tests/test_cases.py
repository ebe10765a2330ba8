"""Every small case of the table in `jaxrl/audit/cases/`: against autodiff of its reference, and against differences."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxrl import audit, layers, losses
from jaxrl.audit.gradients import QUICK, Pair, free, gradient, merge, random_like
from jaxrl.audit.transformations import each_and_sum, shard_map
from jaxrl.layers import reference

CASES = {case.title: case for case in audit.cases(audit.SMALL, audit.TESTED, audit.KINK)}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def chosen(condition):
    """The cases that meet a condition, as a parameter of a test."""
    found = {title: case for title, case in CASES.items() if condition(case)}
    return pytest.mark.parametrize("case", found.values(), ids=found)


@every_case
def test_value_and_cotangents_equal_autodiff_of_the_reference(case):
    with jax.enable_x64(True):
        assert max(audit.errors(*case.pair, audit.cast(case.args, np.float64))) < 1e-10
    assert max(audit.errors(*case.pair, audit.cast(case.args, np.float32))) < 2e-4


def dependence(reference, args) -> dict[tuple, list]:
    """Leaves of the value by the places, in `free(args)`, of what the reference passes their gradient to."""
    pair, found = Pair.of(reference, reference), {}
    leaves, tree = jax.tree.flatten(pair.cotangents(args))
    for i in range(len(leaves)):
        alone = tree.unflatten([leaf if i == j else jnp.zeros_like(leaf) for j, leaf in enumerate(leaves)])
        slopes = pair.theirs(args, alone)[1]
        found.setdefault(tuple(k for k, slope in enumerate(slopes) if jnp.any(slope)), []).append(i)
    return found


# The other layers are checked at second order too, in their plainest cases.
FIRST_ORDER = ("conv2d", "conv_transpose2d", "huber_loss", "quantile_huber_loss", "q_learning_loss")


@chosen(lambda case: case.kind != audit.KINK and all(np.size(a) for a in case.args))
def test_finite_differences(case, x64):
    args = audit.cast(case.args, np.float64)
    checked = dependence(case.pair[1], args)
    assert any(checked)
    for places, leaves in checked.items():

        def function(*xs, places=places, leaves=leaves):
            moved = dict(zip(places, xs, strict=True))
            value = case.pair[0](*merge(args, [moved.get(k, x) for k, x in enumerate(free(args))]))
            return [jax.tree.leaves(value)[i] for i in leaves]

        order = 2 if case.kind == audit.SMALL and case.name not in FIRST_ORDER else 1
        xs = [free(args)[k] for k in places]
        check_grads(jax.jit(function), xs, order=order, modes=["rev"], atol=1e-5, rtol=1e-5, eps=1e-6)


@chosen(lambda case: case.kind == audit.KINK)
def test_the_gradient_of_a_gradient_is_that_of_the_reference_at_kinks_and_ties(case, x64):
    args = audit.cast(case.args, np.float64)
    xs = free(args)

    def hessian(function):
        def scalar(*xs):
            y = function(*merge(args, xs))
            return jnp.sum(jnp.sin(y)) + y.sum() * xs[0].sum() + y.sum() ** 2

        places = tuple(range(len(xs)))
        return jax.jacrev(jax.grad(scalar, places), places)(*xs)

    for got, expected in zip(*(jax.tree.leaves(hessian(f)) for f in case.pair), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


# What takes no gradient on purpose: the noise, the running statistics, the quantiles.
STOPPED = {
    "noisy_linear 3x2x5>6": (5, 6), "batch_norm 2x3x4x5": (3, 4), "quantile_huber_loss weighted 4x3x5x7": (2,),
}  # fmt: skip


@pytest.mark.parametrize(("title", "places"), STOPPED.items(), ids=STOPPED)
def test_what_takes_no_gradient_takes_none_in_the_gradient_of_a_gradient(title, places, x64):
    args = audit.cast(CASES[title].args, np.float64)

    def slope(*stopped):
        merged = list(args)
        for i, x in zip(places, stopped, strict=True):
            merged[i] = x

        def scalar(first):
            return jnp.sum(jax.tree.leaves(CASES[title].pair[0](first, *merged[1:]))[0] ** 2)

        return jnp.sum(jax.grad(scalar)(merged[0]) ** 2)

    stopped = [args[i] for i in places]
    for second in jax.grad(slope, range(len(stopped)))(*stopped):
        np.testing.assert_array_equal(second, 0)


@chosen(lambda case: case.kind == audit.SMALL)
def test_forward_over_reverse_meets_no_derived_function(case):
    """Traced alone: a rule that calls a derived function, which has no forward derivative, is an error by then."""
    args = audit.cast(case.args, np.float32)

    def scalar(*xs):
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(case.pair[0](*merge(args, xs))))

    xs = tuple(free(args))
    _, found = jax.eval_shape(lambda *xs: jax.jvp(jax.grad(scalar, range(len(xs))), xs, xs), *xs)
    assert [leaf.shape for leaf in found] == [x.shape for x in xs]


@every_case
def test_bfloat16_in_bfloat16_out(case):
    layer, args = case.pair[0], audit.cast(case.args, jnp.bfloat16)
    both = jax.eval_shape(gradient(layer), args, jax.eval_shape(layer, *args))
    assert {leaf.dtype for leaf in jax.tree.leaves(both)} == {jnp.dtype(jnp.bfloat16)}


@chosen(lambda case: sum(a is not None and np.asarray(a).dtype == np.float64 for a in case.args) > 1)
@pytest.mark.parametrize("half", [slice(0, 1), slice(1, None)], ids=["first", "others"])
def test_a_gradient_has_the_type_of_its_argument_where_types_differ(case, half):
    args = list(audit.cast(case.args, np.float32))
    args[half] = audit.cast(args[half], jnp.bfloat16)
    places = tuple(i for i, a in enumerate(args) if a is not None and jnp.issubdtype(a.dtype, jnp.floating))

    def total(*args):
        value = case.pair[0](2 * args[0], *args[1:])
        return sum(jnp.sum(jnp.sin(2.0 * leaf)) for leaf in jax.tree.leaves(value))

    gradients = jax.eval_shape(jax.grad(total, places), *args)
    assert [g.dtype for g in gradients] == [args[i].dtype for i in places]


@chosen(lambda case: case.kind == audit.SMALL and hasattr(layers, case.name))
def test_what_holds_no_floating_point_numbers_is_named(case):
    args = audit.cast(case.args, np.float32)
    for place, array in enumerate(args):
        if array is not None and array.dtype == np.float32:
            for wrong in (np.ones(array.shape, bool), np.ones(array.shape, int), [1.0], "x"):
                with pytest.raises(TypeError, match="^[a-z_]+ must hold floating-point numbers in an array,.*got .*$"):
                    case.pair[0](*args[:place], wrong, *args[place + 1 :])


MAPPED = ["conv2d by residues", "lstm 5x3 4>6", "elu 3x5", "actor_critic_loss 4x3x5", "conv_transpose2d 4x4/2",
          "max_pool2d overlapping", "gru 5x3 4>6", "batch_norm 2x3x4x5", "dropout 2x3x5, rate 0.3",
          "embedding 7x4, 3x5 ids", "noisy_linear 3x2x5>6", "gaussian_kl one weight 4x3x5"]  # fmt: skip


@pytest.mark.parametrize("title", MAPPED)
def test_the_same_under_vmap_scan_and_pmap(title):
    """Of each family one; the audit tries all small cases."""
    twice = [jnp.stack([a, a]) for a in audit.cast(CASES[title].args, np.float32)]

    def gradients(*xs):
        places = tuple(i for i, x in enumerate(xs) if jnp.issubdtype(x.dtype, jnp.floating))

        def total(*xs):
            return sum(jnp.sum(jnp.sin(v)) for v in jax.tree.leaves(CASES[title].pair[0](*xs)))

        return jax.grad(total, places)(*xs)

    once = jax.jit(gradients)(*(x[0] for x in twice))
    scanned = jax.jit(lambda xs: jax.lax.map(lambda x: gradients(*x), xs))(twice)
    for mapped in (jax.jit(jax.vmap(gradients))(*twice), jax.pmap(gradients)(*twice), scanned):
        for got, expected in zip(mapped, once, strict=True):
            np.testing.assert_allclose(got[1], expected, rtol=2e-3, atol=2e-3)


def two_examples(case):
    """(args, cotangents) of two devices."""
    args = audit.cast(case.args, np.float32)
    cotangents = random_like(jax.eval_shape(case.pair[1], *args), 1)
    return [(args, cotangents), jax.tree.map(jnp.flip, (args, cotangents))]


@chosen(lambda case: case.kind == audit.SMALL)
def test_gradients_in_shard_map_have_the_type_of_their_arguments(case):
    """Traced alone: a gradient that varies over the devices where its argument does not is an error by then."""
    examples = two_examples(case)
    (_, first), others = jax.eval_shape(partial(shard_map, case.pair[0]), examples)
    shapes = [a.shape for a in free(examples[0][0])]
    assert [g.shape[1:] for g in first] + [g.shape for g in others] == shapes


SHARDED = ["linear 20x16x256>18", "lstm 5x3 4>6", "embedding 7x4, 3x5 ids", "huber_loss weighted 4x3"]


def test_in_shard_map_gradients_of_replicated_arguments_are_summed_over_the_devices():
    """Some of each kind, with weights alike on both devices; the audit tries all small cases."""
    cases = [CASES[title] for title in SHARDED]

    @partial(jax.jit, compiler_options=QUICK)
    def both(examples):
        each = list(zip(cases, examples, strict=True))
        ours = [shard_map(case.pair[0], of_case) for case, of_case in each]
        return ours, [each_and_sum(gradient(case.pair[1]), of_case) for case, of_case in each]

    ours, theirs = both([two_examples(case) for case in cases])
    for got, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_every_layer_and_loss_has_a_case_and_a_reference_of_the_same_signature():
    members = {**vars(losses), **vars(layers)}
    public = {name for name, member in members.items() if inspect.isfunction(member) and name[0] != "_"}
    public -= {"factorized_noise", "lstm_states"}  # without a gradient
    assert public == {case.name for case in CASES.values()}
    for name in public:
        ours, theirs = (inspect.signature(f).parameters for f in (members[name], getattr(reference, name)))
        assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def kept(function, *args) -> list:
    """The shapes of what the forward pass keeps for the backward pass."""
    _, vjp = jax.vjp(function, *args)
    return sorted(leaf.shape for leaf in jax.tree.leaves(vjp))


def test_few_residuals_are_kept():
    """Activations keep their output alone; the LSTM its outputs, cells and gates, and no tanh(c)."""
    x = jnp.ones((3, 5))
    for name in ("elu", "relu", "sigmoid", "tanh", "softplus", "softmax", "log_softmax"):
        assert kept(getattr(layers, name), x) == [(3, 5)], name
    assert kept(layers.gelu, x) == [(3, 5), (3, 5)]
    image = jnp.ones((2, 4, 6, 3))
    _, vjp = jax.vjp(lambda x: layers.max_pool2d(x, 2), image)
    assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(vjp)] == [((2, 2, 3, 3), jnp.uint8)]
    for pool in (lambda x: layers.avg_pool2d(x, 2), layers.global_avg_pool2d):
        assert kept(pool, image) == []
    assert kept(layers.layer_norm, x, x[0], x[0]) == [(3, 1), (3, 1), (3, 1), (3, 5), (5,)]
    assert kept(lambda table: layers.embedding(jnp.zeros(4, int), table), x) == [(4,)]
    assert kept(layers.linear, x, jnp.ones((5, 2)), jnp.ones(2)) == [(3, 5), (5, 2)]
    x, h, w_ih, w_hh = (jnp.ones(shape) for shape in ((7, 2, 3), (2, 4), (3, 16), (4, 16)))
    over_time = [shape for shape in kept(layers.lstm, x, h, h, w_ih, w_hh, jnp.ones(16)) if shape[0] == 7]
    assert over_time == [(7, 2, 3), (7, 2, 4), (7, 2, 4), (7, 2, 16)]
