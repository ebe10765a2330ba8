"""PyTorch's own numbers (tests/golden/make_pytorch_a3c.py) are the referee of network, loss, gradient and update."""

import importlib.util
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import save_file

from jaxrl.algorithms import actor_critic
from jaxrl.networks import ActorCriticLSTM
from jaxrl.networks import pytorch_weights as interop
from jaxrl.rollout import Row, Trajectory

GOLDEN = Path(__file__).parent / "golden"
spec = importlib.util.spec_from_file_location("make_pytorch_a3c", GOLDEN / "make_pytorch_a3c.py")
maker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(maker)
NETWORK = ActorCriticLSTM(maker.ACTIONS)
HYPER = actor_critic.Hyperparameters(maker.GAMMA, maker.LAMBDA, maker.ENTROPY, maker.VALUE)
TOLERANCES = {"float32": 1e-5, "float64": 1e-9}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "pytorch_a3c.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def weights():
    return maker.draw_weights()


@pytest.fixture(params=TOLERANCES)
def dtype(request):
    """Everything in the test is of this type."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


def segment(dtype) -> Trajectory:
    inputs = {name: x.astype(dtype) if x.dtype == np.float32 else x for name, x in maker.draw_inputs().items()}
    column = lambda x: jnp.asarray(x)[:, None]  # noqa: E731
    done = np.arange(maker.STEPS) == maker.END
    memory = (jnp.asarray(inputs["h"])[None], jnp.asarray(inputs["c"])[None])
    observation, first = jnp.asarray(inputs["observation"])[:, None, :, :, None], column(inputs["first"])
    row = Row(
        first[:-1], column(inputs["a"]).astype(jnp.int32), column(inputs["r"]), column(done), column(done),
        jnp.ones((maker.STEPS, 1), bool),
    )  # fmt: skip
    return Trajectory(memory, observation[:-1], row, (), observation[-1], first[-1])


def near(got, expected, tolerance):
    """Within a tolerance of the largest number expected."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def near_sketch(tensor, expected, tolerance):
    """What is summed over the tensor and what are single entries differ in size."""
    got = maker.sketch(tensor)
    near(got[:6], expected[:6], tolerance)
    near(got[6:], expected[6:], tolerance)


def test_logits_values_and_state(weights, golden, dtype):
    s = segment(dtype)
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), interop.from_state_dict(weights))
    observation = jnp.concatenate([s.observation, s.next_observation[None]])
    first = jnp.concatenate([s.row.first, s.next_first[None]])
    logits, v, (h, c) = jax.jit(NETWORK.apply)(params, observation, s.memory, first)
    assert logits.dtype == v.dtype == dtype
    for got, name in ((logits[:, 0], "logits"), (v[:, 0], "values"), (h[0], "h"), (c[0], "c")):
        near(got, golden[name], TOLERANCES[dtype])


def test_loss_gradients_and_two_steps_of_adam(weights, golden, dtype):
    """With the LSTM's second bias as a parameter of its own, as in PyTorch, so that all is compared."""
    silent = weights | {"lstm.bias_hh": np.zeros_like(weights["lstm.bias_hh"])}
    start = {**interop.from_state_dict(silent), "bias_hh": weights["lstm.bias_hh"]}
    start = jax.tree.map(lambda x: jnp.asarray(x, dtype), start)
    s, tolerance = segment(dtype), TOLERANCES[dtype]

    @jax.jit
    def gradient(both):
        def loss(both):
            lstm = both["params"]["lstm"]
            lstm = lstm | {"b": lstm["b"] + both["bias_hh"]}
            return actor_critic.loss({"params": both["params"] | {"lstm": lstm}}, NETWORK, s, HYPER)[0]

        return jax.value_and_grad(loss)(both)

    def agree(what, both, tolerance):
        for name, tensor in (interop.to_state_dict(both) | {"lstm.bias_hh": both["bias_hh"]}).items():
            near_sketch(tensor, golden[f"{what}.{name}"], tolerance)

    optimizer = optax.chain(optax.clip_by_global_norm(maker.CLIP), optax.adam(maker.RATE))
    now, statistics = start, optimizer.init(start)
    for step in (1, 2) if dtype == "float64" else (1,):
        loss, gradients = gradient(now)
        near(loss, golden["losses"][step - 1], tolerance)
        near(optax.tree.norm(gradients), golden["gradient_norms"][step - 1], tolerance)
        agree(f"gradient_{step}", gradients, tolerance)
        updates, statistics = optimizer.update(gradients, statistics, now)
        now = optax.apply_updates(now, updates)
        # A step is 1e-4 and float32 rounds a weight near 1 by 6e-8, which is all that can be asked of its update.
        rounding = 1e-3 if dtype == "float32" else tolerance
        agree(f"update_{step}", jax.tree.map(jnp.subtract, now, start), rounding)


def test_the_referee_looks_everywhere(golden):
    """Both branches of every ELU, gates open and shut, clipping that bites, and an end in the middle."""
    assert np.all((golden["elu_negative"] > 0.3) & (golden["elu_negative"] < 0.7))
    assert golden["gates"].shape == (4, 2)
    assert np.all(golden["gates"][:, 0] < -2) and np.all(golden["gates"][:, 1] > 2)
    assert np.all(golden["gradient_norms"] > 2 * maker.CLIP)
    assert 0 < maker.END < maker.STEPS - 1


def test_adam_adds_its_epsilon_where_pytorch_does(golden):
    """Outside the root, after the correction of the bias: it shows where gradients are as small as ε."""
    with jax.enable_x64(True):
        x = jnp.zeros(golden["adam_gradients"].shape[1])
        optimizer = optax.adam(maker.RATE)
        statistics = optimizer.init(x)
        for gradient, expected in zip(golden["adam_gradients"], golden["adam_path"], strict=True):
            updates, statistics = optimizer.update(jnp.asarray(gradient), statistics)
            x = optax.apply_updates(x, updates)
            np.testing.assert_allclose(x, expected, rtol=1e-9)


def same(got, weights):
    jax.tree.map(np.testing.assert_array_equal, got, interop.from_state_dict(weights))


def test_every_file_format_gives_the_same(tmp_path, weights):
    save_file(weights, tmp_path / "w.safetensors")
    np.savez(tmp_path / "named.npz", **weights)
    np.savez(tmp_path / "listed.npz", *weights.values())
    for name in ("w.safetensors", "named.npz", "listed.npz"):
        same(interop.load_weights(tmp_path / name), weights)


def test_pytorchs_own_files(tmp_path, weights):
    torch = pytest.importorskip("torch", reason="PyTorch is no dependency; its files are read where it is there")
    tensors = {name: torch.nn.Parameter(torch.from_numpy(w)) for name, w in weights.items()}
    for i, saved in enumerate((tensors, list(tensors.values()), {"epoch": 3, "model": {"state_dict": tensors}})):
        for zipped in (True, False):
            path = tmp_path / f"{i}{zipped}.pth"
            torch.save(saved, path, _use_new_zipfile_serialization=zipped)
            same(interop.load_weights(path), weights)
    for saved in (torch.nn.Linear(2, 2), torch.zeros(3)):
        torch.save(saved, tmp_path / "other.pth")
        with pytest.raises(interop.WeightsError, match="holds more than weights|holds one Tensor"):
            interop.load_weights(tmp_path / "other.pth")
    halved = interop.from_state_dict({name: tensor.bfloat16() for name, tensor in tensors.items()})
    np.testing.assert_allclose(halved["params"]["critic"]["w"][:, 0], weights["critic_linear.weight"][0], rtol=0.01)


def test_pytorchs_files_are_unwrapped_and_never_run_code(tmp_path, weights, monkeypatch):
    """The same where PyTorch is not installed, with a stand-in for `torch.load`."""
    (tmp_path / "w.pt").write_bytes(b"")
    listed = list(weights.values())

    def saved(found):
        def load(path, map_location, weights_only):
            assert weights_only and map_location == "cpu"
            return found

        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
        return interop.load_weights(tmp_path / "w.pt")

    for found in (weights, listed, {"epoch": 3, "state_dict": weights}, {"model": {"state_dict": listed}}):
        same(saved(found), weights)
    for found, message in ((3, "holds one int"), ({"epoch": 3}, "unexpected: epoch"), ([1] * 3, "this one holds 3")):
        with pytest.raises(interop.WeightsError, match=message):
            saved(found)
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    with pytest.raises(interop.WeightsError, match="PyTorch is not installed: pip install torch"):
        interop.load_weights(tmp_path / "w.pt")


def test_names_of_descendants(weights):
    """Other modules, `module.` in front, LSTM with a layer's number, heads by shape, and any order in the file."""
    modules = {
        "conv1": "module.encoder.0", "conv2": "module.encoder.2", "conv3": "module.encoder.9",
        "conv4": "module.encoder.10", "lstm": "module.actor_critic.cell", "critic_linear": "module.actor_critic.v",
        "actor_linear": "module.actor_critic.head",
    }  # fmt: skip
    renamed = {}
    for name, tensor in sorted(weights.items(), reverse=True):
        module, kind = name.split(".")
        renamed[f"{modules[module]}.{kind}" + ("_l0" if module == "lstm" else "")] = tensor
    same(interop.from_state_dict(renamed), weights)


def test_there_and_back():
    """The inverse, in a network of another size: three channels, 84x84, 7 actions."""
    network = ActorCriticLSTM(7, features=4, hidden=8)
    inputs = (jnp.zeros((1, 1, 84, 84, 3)), network.initial_memory(1), jnp.zeros((1, 1), bool))
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    params = jax.tree.map(lambda leaf: np.arange(leaf.size, dtype=np.float32).reshape(leaf.shape), shapes)
    state_dict = interop.to_state_dict(jax.tree.map(jnp.asarray, params))
    assert tuple(state_dict) == interop.MODULE_ORDER
    assert all(tensor.flags.writeable and tensor.flags.c_contiguous for tensor in state_dict.values())
    jax.tree.map(np.testing.assert_array_equal, interop.from_state_dict(state_dict), params)
    with pytest.raises(interop.WeightsError, match="no actor, conv_0, .* lstm"):
        interop.to_state_dict({"params": {"critic": {}}})


def test_lists_that_do_not_fit(weights):
    listed = list(weights.values())
    for tensors, message in (
        (listed[:3], "holds 16 tensors.*this one holds 3"),
        (listed[:12] + listed[14:] + listed[12:14], r"tensor 12 \(critic_linear.weight\) .*expected \(1, 256\)"),
        ([np.float32(0)] * 16, r"tensor 0 \(conv1.weight\) has shape \(\); expected \(1, 1, 3, 3\)"),
    ):  # fmt: skip
        with pytest.raises(interop.WeightsError, match=message):
            interop.from_list(tensors)


def test_state_dicts_that_do_not_fit(weights):
    fifth = {"conv5.weight": weights["conv4.weight"], "conv5.bias": weights["conv4.bias"]}
    unnumbered = {name.replace("conv4", "last"): w for name, w in weights.items()}
    without = {name: w for name, w in weights.items() if "actor" not in name}
    for state_dict, message in (
        (weights | fifth, "unexpected: conv5.weight, conv5.bias"),
        (unnumbered, "order of the convolutions conv1, conv2, conv3, last cannot be told"),
        (without | {"extra": np.zeros(3)}, "missing: actor_linear.weight, actor_linear.bias; unexpected: extra"),
        (weights | {"second.weight_ih_l0": np.zeros((4, 4))}, "unexpected: second.weight_ih_l0"),
        (weights | {"conv2.weight": np.zeros((16, 32, 3, 3))}, r"conv2.weight has .*\(16, .*expected \(32, 32, 3, 3\)"),
        (weights | {"lstm.weight_hh": np.zeros((1000, 256))}, r"weight_hh .*\(1000, 256\); expected \(1024, 256\)"),
        (weights | {"lstm.weight_ih": np.zeros((1024, 300))}, r"weight_ih .*\(1024, 300\); expected \(1024, 288\)"),
        (weights | {"lstm.bias_ih": np.zeros((1, 1024))}, r"lstm.bias_ih has shape \(1, 1024\); expected \(1024,\)"),
        (weights | {"critic_linear.bias": np.array([np.nan])}, "critic_linear.bias holds values that are not finite"),
        (weights | {"critic_linear.bias": np.array([1e300])}, "critic_linear.bias holds values that are not finite"),
        (weights | {"conv1.bias": np.array(["a"] * 32)}, "conv1.bias is not a tensor of real numbers"),
        (weights | {"conv1.bias": np.zeros(32, complex)}, "conv1.bias is not a tensor of real numbers"),
    ):  # fmt: skip
        with pytest.raises(interop.WeightsError, match=message):
            interop.from_state_dict(state_dict)


def test_files_that_cannot_be_read(tmp_path, weights):
    np.savez(tmp_path / "whole.npz", **weights)
    whole = (tmp_path / "whole.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[5000] ^= 255
    contents = {"cut.npz": whole[: len(whole) // 2], "flipped.npz": flipped, "w.npz": b"no", "w.safetensors": b"no"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(interop.WeightsError, match=f"{name} is damaged or of another format"):
            interop.load_weights(tmp_path / name)
    for name, message in (("none.npz", "no weights file"), ("w.ptn", r"\(nearest: .pt\)"), ("w.h5", "none of .npz")):
        with pytest.raises(interop.WeightsError, match=message):
            interop.load_weights(tmp_path / name)
