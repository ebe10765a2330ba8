"""Weights in from PyTorch, and out to it: the A3C-LSTM network of pytorch-a3c and its descendants.

PyTorch has convolution kernels [O, I, kh, kw], matrices [out, in], a flattening in the order (channel, row,
column), gates i, f, g, o, and two biases of the LSTM. Here kernels are [kh, kw, I, O], matrices [in, out], the
flattening is (row, column, channel), gates stand in the same order, and the two biases are one, their sum.
"""

from pathlib import Path

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

CONVOLUTIONS = 4
MODULE_ORDER = (
    *(f"conv{i}.{kind}" for i in range(1, CONVOLUTIONS + 1) for kind in ("weight", "bias")),
    "lstm.weight_ih", "lstm.weight_hh", "lstm.bias_ih", "lstm.bias_hh",
    "critic.weight", "critic.bias", "actor.weight", "actor.bias",
)  # fmt: skip
READERS = (".npz", ".safetensors", ".pt", ".pth", ".dat", ".bin")
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")


class WeightsError(ValueError):
    """Weights that cannot be read or do not fit, in one sentence."""


def load_weights(path) -> dict:
    """Read weights of PyTorch's network from a file.

    A `.npz` or `.safetensors` file holds a state dict, or the plain list of tensors in module order (`.npz`, as
    `arr_0`, `arr_1`, ...); PyTorch's own file either, where PyTorch is installed.

    Returns: our parameters, {"params": {...}}, float32.

    Raises: WeightsError, in one sentence.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}.")
    if path.suffix not in READERS:
        raise WeightsError(f"{path.name} has no known suffix; weights are read from {', '.join(READERS)}.")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
        elif path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = _load_torch(path)
    except (OSError, ValueError, SafetensorError, EOFError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path} is damaged or of another format ({error}).") from None
    if isinstance(found, dict) and set(found) == {f"arr_{i}" for i in range(len(found))}:
        found = [found[f"arr_{i}"] for i in range(len(found))]
    return from_list(found) if isinstance(found, (list, tuple)) else from_state_dict(found)


def _load_torch(path: Path):
    """The state dict or list in PyTorch's own file, as NumPy arrays."""
    try:
        import torch
    except ImportError:
        raise WeightsError(
            f"{path.name} is PyTorch's own format and PyTorch is not installed: pip install torch, or save the "
            "weights as .safetensors or .npz."
        ) from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes its unpickler raise nearly anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path} is damaged or holds more than weights ({reason}).") from None
    for name in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if isinstance(found, dict):
        return {name: tensor.numpy() for name, tensor in found.items() if hasattr(tensor, "numpy")}
    return [tensor.detach().numpy() for tensor in found]


def from_list(tensors) -> dict:
    """Our parameters from tensors in module order, `MODULE_ORDER`.

    Raises: WeightsError on another number of tensors, or shapes that do not fit.
    """
    if len(tensors) != len(MODULE_ORDER):
        raise WeightsError(
            f"a plain list holds {len(MODULE_ORDER)} tensors ({', '.join(MODULE_ORDER)}); "
            f"this one holds {len(tensors)}."
        )
    return _convert(dict(zip(MODULE_ORDER, tensors, strict=True)))


def from_state_dict(state_dict) -> dict:
    """Our parameters from a state dict.

    Names are matched by their parts: `module.` in front is dropped; `conv1` to `conv4` may be any modules whose
    weights have four axes, in order; the LSTM's are those with `weight_ih` and so on; heads have `critic` or
    `actor` in their names (or `value` and `policy`).

    Raises: WeightsError on a name that is missing or unknown, or shapes that do not fit.
    """
    found, unknown = {}, []
    kernels = [name.removesuffix(".weight") for name, tensor in state_dict.items() if np.ndim(tensor) == 4]
    for name, tensor in state_dict.items():
        role = _role(name, kernels)
        if role is None or role in found:
            unknown.append(name)
        else:
            found[role] = tensor
    missing = [role for role in MODULE_ORDER if role not in found]
    if missing or unknown:
        raise WeightsError(
            "this is not the state dict of an A3C-LSTM network: "
            + "; ".join(
                f"{what}: {', '.join(names)}" for what, names in (("missing", missing), ("unknown", unknown)) if names
            )
            + "."
        )
    return _convert(found)


def _role(name: str, kernels: list[str]) -> str | None:
    """The name in MODULE_ORDER of a tensor of a state dict, or None."""
    module, _, kind = name.rpartition(".")
    if module in kernels:
        return f"conv{kernels.index(module) + 1}.{kind}"
    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        if kind in (part, f"{part}_l0"):
            return f"lstm.{part}"
    for role, words in (("critic", ("critic", "value")), ("actor", ("actor", "policy"))):
        if kind in ("weight", "bias") and any(word in module for word in words):
            return f"{role}.{kind}"
    return None


def _convert(found: dict) -> dict:
    """Our parameters from tensors by the names of MODULE_ORDER."""
    t = {name: np.asarray(tensor, np.float32) for name, tensor in found.items()}
    for name, tensor in t.items():
        if not np.all(np.isfinite(tensor)):
            raise WeightsError(f"{name} holds values that are not finite.")
    _check_shapes(t)
    params = {
        f"conv_{i}": {"w": t[f"conv{i + 1}.weight"].transpose(2, 3, 1, 0), "b": t[f"conv{i + 1}.bias"]}
        for i in range(CONVOLUTIONS)
    }
    channels = t["conv4.weight"].shape[0]
    gates, flat = t["lstm.weight_ih"].shape
    side = round((flat / channels) ** 0.5)
    w_ih = t["lstm.weight_ih"].reshape(gates, channels, side, side).transpose(2, 3, 1, 0).reshape(flat, gates)
    params["lstm"] = {"w_ih": w_ih, "w_hh": t["lstm.weight_hh"].T, "b": t["lstm.bias_ih"] + t["lstm.bias_hh"]}
    for head in ("actor", "critic"):
        params[head] = {"w": t[f"{head}.weight"].T, "b": t[f"{head}.bias"]}
    return {"params": jax.tree.map(np.ascontiguousarray, params)}


def _check_shapes(t: dict):
    """Raise WeightsError on the first tensor whose shape does not follow from those before it."""
    expected, channels = {}, None
    for i in range(1, CONVOLUTIONS + 1):
        kernel = t[f"conv{i}.weight"].shape
        expected[f"conv{i}.weight"] = (None, channels, 3, 3)
        expected[f"conv{i}.bias"] = kernel[:1]
        channels = kernel[0]
    hidden = t["lstm.weight_hh"].shape[-1]
    flat = t["lstm.weight_ih"].shape[-1]
    square = (flat // channels) ** 0.5 if channels and flat % channels == 0 else 0.5
    expected |= {
        "lstm.weight_ih": (4 * hidden, flat if square == int(square) else f"{channels} n²"),
        "lstm.weight_hh": (4 * hidden, hidden),
        "lstm.bias_ih": (4 * hidden,),
        "lstm.bias_hh": (4 * hidden,),
        "critic.weight": (1, hidden),
        "critic.bias": (1,),
        "actor.weight": (None, hidden),
        "actor.bias": t["actor.weight"].shape[:1],
    }
    for name, shape in expected.items():
        got = t[name].shape
        if len(got) != len(shape) or any(e not in (None, g) for g, e in zip(got, shape, strict=True)):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise WeightsError(f"{name} has shape {got}; expected ({wanted}).")


def to_state_dict(params) -> dict:
    """PyTorch's state dict of our parameters, under pytorch-a3c's names; the second LSTM bias is 0."""
    p = jax.tree.map(np.asarray, params["params"])
    state_dict = {}
    for i in range(CONVOLUTIONS):
        state_dict[f"conv{i + 1}.weight"] = p[f"conv_{i}"]["w"].transpose(3, 2, 0, 1)
        state_dict[f"conv{i + 1}.bias"] = p[f"conv_{i}"]["b"]
    flat, gates = p["lstm"]["w_ih"].shape
    channels = p["conv_3"]["b"].size
    side = round((flat / channels) ** 0.5)
    w_ih = p["lstm"]["w_ih"].reshape(side, side, channels, gates).transpose(3, 2, 0, 1).reshape(gates, flat)
    state_dict |= {
        "lstm.weight_ih": w_ih,
        "lstm.weight_hh": p["lstm"]["w_hh"].T,
        "lstm.bias_ih": p["lstm"]["b"],
        "lstm.bias_hh": np.zeros_like(p["lstm"]["b"]),
    }
    for head in ("critic", "actor"):
        state_dict[f"{head}_linear.weight"] = p[head]["w"].T
        state_dict[f"{head}_linear.bias"] = p[head]["b"]
    return {name: np.ascontiguousarray(tensor) for name, tensor in state_dict.items()}
