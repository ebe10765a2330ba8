"""Weights in from PyTorch, and out to it: the A3C-LSTM network of pytorch-a3c and its descendants.

    PyTorch                                        here
    kernel [O, I, kh, kw]                          [kh, kw, I, O]
    matrix [out, in]                               [in, out]
    flattened in the order (channel, row, column)  (row, column, channel)
    gates i, f, g, o                               the same
    two biases of the LSTM                         one, their sum

One bias computes the same function and learns a little differently: each of PyTorch's two gets the gradient of
ours, so that a step moves their sum twice as far, and both count in the norm that is clipped.

Source of the names: pytorch-a3c (https://github.com/ikostrikov/pytorch-a3c).
"""

import difflib
import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import load_file

CONVOLUTIONS = 4
LSTM = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
MODULE_ORDER = (
    *(f"conv{i}.{kind}" for i in range(1, CONVOLUTIONS + 1) for kind in ("weight", "bias")),
    *(f"lstm.{kind}" for kind in LSTM),
    *(f"{head}_linear.{kind}" for head in ("critic", "actor") for kind in ("weight", "bias")),
)
WRAPPERS = ("agent", "model", "net", "network", "model_state_dict", "state_dict")


class WeightsError(ValueError):
    """Weights that cannot be read or do not fit, in one sentence."""


def load_weights(path) -> dict:
    """Read weights of PyTorch's network from a file.

    A `.npz` file holds a state dict, or the plain list of tensors in module order as `arr_0`, `arr_1`, ...; a
    `.safetensors` file holds a state dict; PyTorch's own file (`.pt`, `.pth`, `.bin`, `.dat`, `.tar`) either,
    alone or in a dict under a name such as "state_dict" or "model", where PyTorch is installed.

    Weights know one preprocessing: those of pytorch-a3c were trained under what is protocol `origin` here.

    Returns: our parameters, {"params": {...}}, NumPy float32.

    Raises: WeightsError, in one sentence, when there is no such file, its suffix is unknown, it is damaged, or its
      weights do not fit.
    """
    path = Path(path)
    if path.suffix.lower() not in READERS:
        near = difflib.get_close_matches(path.suffix.lower(), READERS, n=1, cutoff=0.5)
        hint = f" (nearest: {near[0]})" if near else ""
        raise WeightsError(f"{path.name} ends in none of {', '.join(READERS)}{hint}.")
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}.")
    try:
        found = READERS[path.suffix.lower()](path)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}).") from None
    except Exception as error:  # parsers of damaged archives and headers raise nearly anything
        raise WeightsError(f"{path} is damaged or of another format ({error}).") from None
    return from_state_dict(found) if isinstance(found, Mapping) else from_list(found)


def _read_npz(path: Path):
    """The named tensors, or the list that `np.savez(path, *tensors)` made."""
    if not zipfile.is_zipfile(path):
        raise WeightsError(f"{path} is damaged or of another format (it is not an archive of arrays).")
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    listed = [f"arr_{i}" for i in range(len(found))]
    return [found[name] for name in listed] if set(found) == set(listed) else found


def _read_torch(path: Path):
    """The state dict or the list in PyTorch's own file."""
    try:
        import torch
    except ImportError:
        raise WeightsError(
            f"{path.name} is PyTorch's own format and PyTorch is not installed: pip install torch, or save the "
            "weights as .safetensors or .npz."
        ) from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # its unpickler too; what it says runs over several lines
        raise WeightsError(
            f"{path} is damaged or holds more than weights; make it with torch.save(model.state_dict(), path)."
        ) from None
    for name in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(name), (Mapping, list, tuple)):
            found = found[name]
    if not isinstance(found, (Mapping, list, tuple)):
        raise WeightsError(f"{path} holds one {type(found).__name__}; expected a state dict or a list of tensors.")
    return found


READERS = {".npz": _read_npz, ".safetensors": load_file} | dict.fromkeys(
    (".pt", ".pth", ".bin", ".dat", ".tar"), _read_torch
)


def from_list(tensors) -> dict:
    """Our parameters from tensors in module order, `MODULE_ORDER`: NumPy's, JAX's or PyTorch's.

    Raises: WeightsError on another number of tensors, shapes that do not fit, or values that are not finite.
    """
    tensors = list(tensors)
    if len(tensors) != len(MODULE_ORDER):
        raise WeightsError(
            f"a plain list holds {len(MODULE_ORDER)} tensors ({', '.join(MODULE_ORDER)}); "
            f"this one holds {len(tensors)}."
        )
    names = {role: f"tensor {i} ({role})" for i, role in enumerate(MODULE_ORDER)}
    return _convert(names, dict(zip(names.values(), tensors, strict=True)))


def from_state_dict(state_dict) -> dict:
    """Our parameters from a state dict, {name: tensor}, whose tensors are NumPy's, JAX's or PyTorch's.

    What a module is called does not matter, so that `module.` in front or another name of the heads is no
    obstacle. The modules whose weight has four axes are the convolutions, in the order of the numbers in their
    names; tensors called `weight_ih` and so on (or `weight_ih_l0`) are the LSTM's; of the modules whose weight has
    two axes, that with one row is the critic and the other the actor.

    Raises: WeightsError on a tensor that is missing or left over, convolutions whose order cannot be told, shapes
      that do not fit, or values that are not finite.
    """
    roles = _modules({str(name): getattr(tensor, "shape", ()) for name, tensor in state_dict.items()})
    names, unexpected = {}, []
    for name in state_dict:
        module, _, kind = str(name).rpartition(".")
        kind = kind.removesuffix("_l0")
        role = f"lstm.{kind}" if kind in LSTM else f"{roles.get(module)}.{kind}"
        if role not in MODULE_ORDER or role in names:
            unexpected.append(str(name))
        else:
            names[role] = name
    missing = [role for role in MODULE_ORDER if role not in names]
    if missing or unexpected:
        lists = {"missing": missing, "unexpected": unexpected}
        text = "; ".join(f"{what}: {', '.join(list_)}" for what, list_ in lists.items() if list_)
        raise WeightsError(f"this is not the state dict of an A3C-LSTM network: {text}.")
    return _convert(names, state_dict)


def _modules(shapes: dict) -> dict:
    """{name of a module: conv1, ..., critic_linear or actor_linear}, by the shapes of their weights."""
    weights = {name.rpartition(".")[0]: shape for name, shape in shapes.items() if name.endswith(".weight")}
    convolutions = [module for module, shape in weights.items() if len(shape) == 4]
    if len({re.sub(r"\d+", "", module) for module in convolutions}) > 1:
        raise WeightsError(
            f"the order of the convolutions {', '.join(convolutions)} cannot be told from numbers in their names; "
            "rename them conv1, conv2, ..., or give all tensors as a plain list in module order."
        )
    convolutions.sort(key=lambda module: [int(number) for number in re.findall(r"\d+", module)])
    roles = {module: f"conv{i}" for i, module in enumerate(convolutions, 1)}
    heads = {module: shape for module, shape in weights.items() if len(shape) == 2}
    return roles | {m: "critic_linear" if shape[0] == 1 else "actor_linear" for m, shape in heads.items()}


def _convert(names: dict, tensors) -> dict:
    """Our parameters from tensors, where `names` gives the name of each role in MODULE_ORDER."""
    t = {role: _array(names[role], tensors[names[role]]) for role in MODULE_ORDER}
    _check_shapes(t, names)
    params = {
        f"conv_{i}": {"w": t[f"conv{i + 1}.weight"].transpose(2, 3, 1, 0), "b": t[f"conv{i + 1}.bias"]}
        for i in range(CONVOLUTIONS)
    }
    channels = t["conv4.bias"].size
    gates, flat = t["lstm.weight_ih"].shape
    side = math.isqrt(flat // channels)
    w_ih = t["lstm.weight_ih"].reshape(gates, channels, side, side).transpose(2, 3, 1, 0).reshape(flat, gates)
    params["lstm"] = {"w_ih": w_ih, "w_hh": t["lstm.weight_hh"].T, "b": t["lstm.bias_ih"] + t["lstm.bias_hh"]}
    for head in ("actor", "critic"):
        params[head] = {"w": t[f"{head}_linear.weight"].T, "b": t[f"{head}_linear.bias"]}
    return {"params": jax.tree.map(np.ascontiguousarray, params)}


def _array(name, tensor) -> np.ndarray:
    """A tensor of finite numbers as NumPy float32."""
    if hasattr(tensor, "detach"):  # PyTorch's: perhaps a parameter, on a GPU, or in bfloat16
        tensor = tensor.detach().cpu().float().numpy()
    try:
        with np.errstate(over="ignore"):  # becomes infinite, and is refused below
            array = np.asarray(tensor).astype(np.float32, casting="same_kind")
    except (TypeError, ValueError):
        raise WeightsError(f"{name} is not a tensor of real numbers.") from None
    if not np.all(np.isfinite(array)):
        raise WeightsError(f"{name} holds values that are not finite.")
    return array


def _check_shapes(t: dict, names: dict):
    """Raise WeightsError on the first tensor whose shape does not follow from the others'."""

    def size(role, axis):  # at least 1, also where the axis is missing: then the number of axes is refused
        return max((1, *t[role].shape[axis : axis + 1]))

    features, hidden = size("conv1.weight", 0), size("lstm.weight_hh", 1)
    side = max(1, round(math.sqrt(size("lstm.weight_ih", 1) / features)))
    expected = {
        "lstm.weight_ih": (4 * hidden, features * side**2),
        "lstm.weight_hh": (4 * hidden, hidden),
        "lstm.bias_ih": (4 * hidden,),
        "lstm.bias_hh": (4 * hidden,),
    }
    for i in range(1, CONVOLUTIONS + 1):
        channels = size("conv1.weight", 1) if i == 1 else features
        expected |= {f"conv{i}.weight": (features, channels, 3, 3), f"conv{i}.bias": (features,)}
    for head, rows in (("critic", 1), ("actor", size("actor_linear.weight", 0))):
        expected |= {f"{head}_linear.weight": (rows, hidden), f"{head}_linear.bias": (rows,)}
    for role in MODULE_ORDER:
        if t[role].shape != expected[role]:
            raise WeightsError(f"{names[role]} has shape {t[role].shape}; expected {expected[role]}.")


def to_state_dict(params) -> dict:
    """PyTorch's state dict of our parameters, under pytorch-a3c's names; the second bias of the LSTM is 0.

    The inverse of `from_state_dict`; save it with safetensors' `save_file(state_dict, path)` or
    `np.savez(path, **state_dict)`.

    Raises: WeightsError on parameters of another network.
    """
    p = jax.tree.map(np.asarray, params.get("params", {}))
    missing = {*(f"conv_{i}" for i in range(CONVOLUTIONS)), "lstm", "actor", "critic"} - set(p)
    if missing:
        raise WeightsError(f"these are not the parameters of an ActorCriticLSTM: no {', '.join(sorted(missing))}.")
    state_dict = {}
    for i in range(CONVOLUTIONS):
        state_dict[f"conv{i + 1}.weight"] = p[f"conv_{i}"]["w"].transpose(3, 2, 0, 1)
        state_dict[f"conv{i + 1}.bias"] = p[f"conv_{i}"]["b"]
    flat, gates = p["lstm"]["w_ih"].shape
    channels = p["conv_3"]["b"].size
    side = math.isqrt(flat // channels)
    w_ih = p["lstm"]["w_ih"].reshape(side, side, channels, gates).transpose(3, 2, 0, 1).reshape(gates, flat)
    bias = p["lstm"]["b"]
    state_dict |= {"lstm.weight_ih": w_ih, "lstm.weight_hh": p["lstm"]["w_hh"].T}
    state_dict |= {"lstm.bias_ih": bias, "lstm.bias_hh": np.zeros_like(bias)}
    for head in ("critic", "actor"):
        state_dict[f"{head}_linear.weight"] = p[head]["w"].T
        state_dict[f"{head}_linear.bias"] = p[head]["b"]
    return {name: np.array(tensor, order="C") for name, tensor in state_dict.items()}  # copies, so writable
