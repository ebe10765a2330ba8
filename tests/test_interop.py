"""PyTorch's own numbers (tests/golden/make_pytorch_a3c.py) are the referee of network, loss, gradient and update."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import save_file

from jaxrl import interop
from jaxrl.algorithms import a3c
from jaxrl.networks import ActorCriticLSTM

GOLDEN = Path(__file__).parent / "golden"
spec = importlib.util.spec_from_file_location("make_pytorch_a3c", GOLDEN / "make_pytorch_a3c.py")
maker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(maker)
NETWORK = ActorCriticLSTM(maker.ACTIONS)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "pytorch_a3c.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(jnp.asarray, interop.from_state_dict(maker.draw_weights()))


def segment() -> a3c.Segment:
    inputs = maker.draw_inputs()
    column = lambda x: jnp.asarray(x)[:, None]  # noqa: E731
    done = np.arange(maker.STEPS) == maker.END
    return a3c.Segment(
        (jnp.asarray(inputs["h"])[None], jnp.asarray(inputs["c"])[None]),
        jnp.asarray(inputs["observation"])[:, None, :, :, None], column(inputs["first"]),
        column(inputs["a"]).astype(jnp.int32), column(inputs["r"]), column(done), column(done),
        jnp.ones((maker.STEPS, 1), bool),
    )  # fmt: skip


def near(got, expected, tolerance=1e-5):
    expected = np.asarray(expected)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * max(1.0, np.abs(expected).max()))


def test_logits_values_and_state(params, golden):
    s = segment()
    logits, v, (h, c) = jax.jit(NETWORK.apply)(params, s.observation, s.memory, s.first)
    near(logits[:, 0], golden["logits"])
    near(v[:, 0], golden["values"])
    near(h[0], golden["state_h"])
    near(c[0], golden["state_c"])


def test_loss_gradient_and_one_step_of_adam(params, golden):
    hyper = a3c.Hyperparameters(maker.GAMMA, 1.0, maker.ENTROPY, maker.VALUE)
    gradient = jax.jit(lambda p: jax.value_and_grad(a3c.loss, has_aux=True)(p, NETWORK, segment(), hyper))
    (loss, _), gradients = gradient(params)
    near(loss, golden["loss"])
    second_bias = gradients["params"]["lstm"]["b"]  # PyTorch's LSTM has two biases, each with this gradient
    near(jnp.hypot(optax.tree.norm(gradients), optax.tree.norm(second_bias)), golden["gradient_norm"])
    optimizer = optax.chain(optax.clip_by_global_norm(maker.CLIP), optax.adam(maker.RATE))
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    updated = optax.apply_updates(params, updates)
    for what, tree in (("gradient", gradients), ("updated", updated)):
        for name, tensor in interop.to_state_dict(tree).items():
            if name == "lstm.bias_hh" or (what == "updated" and name == "lstm.bias_ih"):
                continue  # one bias here, two there: the gradient of each is ours, their sum moves twice as far
            near(maker.sketch(tensor), golden[f"{what}.{name}"])


def test_the_golden_file_is_pytorchs(golden):
    assert str(golden["torch_version"]).startswith("2.")
    assert golden["gradient_norm"] > 0


def test_every_file_format_gives_the_same(tmp_path, params):
    weights = maker.draw_weights()
    save_file(weights, tmp_path / "w.safetensors")
    np.savez(tmp_path / "named.npz", **weights)
    np.savez(tmp_path / "listed.npz", *weights.values())
    for name in ("w.safetensors", "named.npz", "listed.npz"):
        jax.tree.map(np.testing.assert_array_equal, interop.load_weights(tmp_path / name), params)


def test_names_of_descendants():
    renamed = {
        "module.encoder.0.weight": "conv1.weight", "module.encoder.0.bias": "conv1.bias",
        "module.encoder.2.weight": "conv2.weight", "module.encoder.2.bias": "conv2.bias",
        "module.encoder.4.weight": "conv3.weight", "module.encoder.4.bias": "conv3.bias",
        "module.encoder.6.weight": "conv4.weight", "module.encoder.6.bias": "conv4.bias",
        "module.cell.weight_ih_l0": "lstm.weight_ih", "module.cell.weight_hh_l0": "lstm.weight_hh",
        "module.cell.bias_ih_l0": "lstm.bias_ih", "module.cell.bias_hh_l0": "lstm.bias_hh",
        "module.value_head.weight": "critic_linear.weight", "module.value_head.bias": "critic_linear.bias",
        "module.policy_head.weight": "actor_linear.weight", "module.policy_head.bias": "actor_linear.bias",
    }  # fmt: skip
    weights = maker.draw_weights()
    got = interop.from_state_dict({new: weights[old] for new, old in renamed.items()})
    jax.tree.map(np.testing.assert_array_equal, got, interop.from_state_dict(weights))


def test_there_and_back():
    network_params = ActorCriticLSTM(7).init(
        jax.random.key(0), jnp.zeros((1, 1, 42, 42, 3)), ActorCriticLSTM(7).initial_memory(1), jnp.zeros((1, 1), bool)
    )
    back = interop.from_state_dict(interop.to_state_dict(network_params))
    jax.tree.map(np.testing.assert_array_equal, back, network_params)


def test_bad_weights_are_named(tmp_path):
    weights = maker.draw_weights()
    with pytest.raises(ValueError, match="holds 16 tensors.*holds 3"):
        interop.from_list(list(weights.values())[:3])
    with pytest.raises(ValueError, match="missing: actor.weight.*unknown: head.weight"):
        interop.from_state_dict({n.replace("actor_linear", "head"): w for n, w in weights.items()})
    with pytest.raises(ValueError, match=r"lstm.weight_hh has shape \(1024, 255\)|lstm.weight_hh has shape"):
        interop.from_state_dict(weights | {"lstm.weight_hh": np.zeros((1000, 256), np.float32)})
    with pytest.raises(ValueError, match="critic.bias holds values that are not finite"):
        interop.from_state_dict(weights | {"critic_linear.bias": np.array([np.nan])})
    with pytest.raises(ValueError, match="no weights file"):
        interop.load_weights(tmp_path / "none.npz")
    (tmp_path / "w.h5").write_text("")
    with pytest.raises(ValueError, match="no known suffix.*npz"):
        interop.load_weights(tmp_path / "w.h5")
    for name in ("bad.npz", "bad.safetensors"):
        (tmp_path / name).write_bytes(b"not weights at all")
        with pytest.raises(ValueError, match="damaged"):
            interop.load_weights(tmp_path / name)
