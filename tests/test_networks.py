"""The networks for images: as many parameters as is known of them, and gradients that are those of autodiff."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import audit
from jaxrl.audit.gradients import QUICK, free, merge, random_like
from jaxrl.layers import reference
from jaxrl.networks import VISION, ActorCriticLSTM, QNetwork, classifiers, modules, parameter_count

# Network, images, classes, and the parameters that the book (https://d2l.ai) or torchvision count.
KNOWN = [
    ("lenet", (28, 28, 1), 10, 61_706),
    ("vgg11", (224, 224, 3), 1000, 132_863_336),
    ("vgg11", (224, 224, 1), 10, 128_806_154),
    ("nin", (224, 224, 1), 10, 1_992_166),
    ("googlenet", (96, 96, 1), 10, 5_977_530),
    ("googlenet", (224, 224, 3), 1000, 6_998_552),
    ("resnet18", (224, 224, 3), 1000, 11_689_512),
    ("densenet121", (224, 224, 3), 1000, 7_978_856),
    ("alexnet", (224, 224, 3), 1000, 61_100_840),
]


@pytest.mark.parametrize(("name", "image", "classes", "count"), KNOWN)
def test_parameters_are_as_many_as_known(name, image, classes, count):
    network = VISION[name](classes=classes)
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *image)))
    assert parameter_count(variables["params"]) == count


def test_gradients_are_those_of_autodiff(monkeypatch):
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 1))
    network = VISION["lenet"](width=0.5)
    params = jax.tree.map(np.asarray, jax.jit(network.init)(jax.random.key(0), jnp.asarray(images, jnp.float32)))

    def gradient():
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
            return jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(network.apply(p, jnp.asarray(images))))))(wide)

    ours = gradient()
    for module in (modules, classifiers):
        monkeypatch.setattr(module, "layers", reference)
    for got, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(gradient()), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_running_statistics_move_in_training_only():
    images = jnp.asarray(np.random.default_rng(0).normal(1.0, size=(4, 16, 16, 1)), jnp.float32)
    network = VISION["batch_norm_lenet"](width=0.5)
    variables = jax.jit(network.init)(jax.random.key(0), images)
    logits, changed = network.apply(variables, images, training=True, mutable=["batch_stats"])
    assert logits.shape == (4, 10) and jnp.all(jnp.isfinite(logits))
    before, after = (jax.tree.leaves(v["batch_stats"]) for v in (variables, changed))
    assert all(jnp.any(b != a) for b, a in zip(before, after, strict=True))
    _, same = network.apply(variables, images, mutable=["batch_stats"])
    assert all(jnp.all(b == a) for b, a in zip(before, jax.tree.leaves(same["batch_stats"]), strict=True))


def test_a_q_network_is_exported_for_every_batch():
    network = QNetwork(3, hidden=(8,), dueling="mean")
    images = jnp.asarray(np.random.default_rng(0).normal(size=(5, 36, 36, 2)), jnp.float32)
    params = random_like(jax.eval_shape(network.init, jax.random.key(0), images), 1)
    exported_equals_plain(lambda x: network.apply(params, x), "b, 36, 36, 2", [images[:1], images])


def test_an_actor_critic_network_is_exported_for_every_batch():
    network = ActorCriticLSTM(3, features=2, hidden=4)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 16, 16, 1)), jnp.float32)

    def apply(params, x):
        batch = x.shape[1]
        return network.apply(params, x, network.initial_memory(batch), jnp.zeros(x.shape[:2], bool))

    first = jnp.zeros((2, 5), bool)
    params = random_like(jax.eval_shape(network.init, jax.random.key(0), images, network.initial_memory(5), first), 1)
    exported_equals_plain(partial(apply, params), "2, b, 16, 16, 1", [images[:, :1], images])


def exported_equals_plain(function, shape, batches):
    """One export for all batches b, which a server may then run at any size."""
    spec = jax.ShapeDtypeStruct(jax.export.symbolic_shape(shape), jnp.float32)
    exported, plain = jax.export.export(jax.jit(function))(spec), jax.jit(function, compiler_options=QUICK)
    for x in batches:
        for got, expected in zip(jax.tree.leaves(exported.call(x)), jax.tree.leaves(plain(x)), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


SYMBOLIC = ["conv2d of the A3C network", "conv_transpose2d SAME", "max_pool2d SAME", "avg_pool2d SAME",
            "softmax 20x16x18", "global_avg_pool2d batch of 1", "linear 20x16x256>18", "embedding 7x4, 3x5 ids",
            "dueling 4x3x5", "layer_norm 2x3x5", "batch_norm 2x3x4x5", "batch_norm inference 4x5"]  # fmt: skip


@pytest.mark.parametrize("title", SYMBOLIC)
def test_layers_and_their_gradients_are_traced_for_every_batch(title):
    (case,) = (case for case in audit.cases() if case.title == title)
    first, *rest = audit.cast(case.args, np.float32)
    batch = jax.ShapeDtypeStruct(jax.export.symbolic_shape(", ".join(["b", *map(str, first.shape[1:])])), first.dtype)
    if case.name == "dueling":
        rest = [jax.ShapeDtypeStruct((*batch.shape, rest[0].shape[-1]), first.dtype)]

    def both(first, *rest):
        value, vjp = jax.vjp(lambda *xs: case.pair[0](*merge((first, *rest), xs)), *free((first, *rest)))
        return value, vjp(value)

    value, _ = jax.eval_shape(both, batch, *rest)
    assert jax.tree.leaves(value)[0].shape[0] == batch.shape[0]


@pytest.mark.parametrize(
    ("network", "shape"),
    [(VISION["lenet"](width=0.2), (0, 28, 28, 1)), (QNetwork(3, hidden=(8,)), (0, 84, 84, 4)),
     (QNetwork(3, hidden=(8,), dueling="mean"), (0, 5))],
    ids=["classifier", "images", "features"],
)  # fmt: skip
def test_an_empty_batch_goes_through(network, shape):
    x = jnp.zeros(shape)
    params = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, *shape[1:])))
    y = network.apply(params, x)
    assert y.shape[0] == 0
    gradient = jax.jit(jax.grad(lambda params: network.apply(params, x).sum()))(params)
    assert all(not leaf.any() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [({}, (84, 84, 4), "observations have shape"), ({"hidden": ()}, (1, 5), "hidden must"),
     ({"hidden": (0,)}, (1, 5), "hidden must")],
)  # fmt: skip
def test_a_q_network_says_what_is_wrong(settings, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(QNetwork(3, **settings).init, jax.random.key(0), jnp.zeros(shape))


@pytest.mark.parametrize("leading", [(0, 2), (3, 0)])
def test_an_empty_sequence_goes_through(leading):
    network = ActorCriticLSTM(3, features=2, hidden=4)
    memory, first = network.initial_memory(leading[1]), jnp.zeros(leading, bool)
    one = jnp.zeros((1, 1, 16, 16, 1)), network.initial_memory(1), jnp.zeros((1, 1), bool)
    params = jax.jit(network.init)(jax.random.key(0), *one)
    logits, v, (h, _) = network.apply(params, jnp.zeros((*leading, 16, 16, 1)), memory, first)
    assert logits.shape == (*leading, 3) and v.shape == leading and h.shape == (leading[1], 4)


@pytest.mark.parametrize(
    ("module", "message"),
    [(modules.Linear(0), "features must be .*got 0"), (modules.NoisyLinear(2.5), "features must be .*got 2.5"),
     (modules.Conv2d(-1, 3), "features must be .*got -1"), (modules.Conv2d(2, 0), "kernel must be .*got 0")],
)  # fmt: skip
def test_a_module_without_width_is_refused(module, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="VGG needs images of 32x32 or larger; got 8x8"):
        jax.eval_shape(VISION["vgg11"]().init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))


def test_an_orthogonal_start():
    network = ActorCriticLSTM(3, features=4, hidden=8, initialization="orthogonal")
    memory, first = network.initial_memory(1), jnp.zeros((1, 1), bool)
    params = network.init(jax.random.key(0), jnp.zeros((1, 1, 16, 16, 2)), memory, first)["params"]
    w = params["conv_0"]["w"].reshape(-1, 4)
    np.testing.assert_allclose(w.T @ w, 2 * np.eye(4), atol=1e-5)
    w_hh = params["lstm"]["w_hh"]
    np.testing.assert_allclose(w_hh @ w_hh.T, np.eye(8), atol=1e-5)
    np.testing.assert_array_equal(params["lstm"]["b"].reshape(4, 8), np.repeat([[0.0], [1], [0], [0]], 8, 1))
