"""The ways in which the property run calls layers: types, orders and transformations; and their references, plainly."""

import itertools
import math
import re
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from layer_cases import ROLES, THRESHOLDS

from jaxrl.audit.cases import pair
from jaxrl.audit.gradients import QUICK, free, gradient, merge, product
from jaxrl.audit.transformations import shard_map
from jaxrl.layers import reference
from jaxrl.layers.checks import pads_of

# XLA's simplifier ends the process (jaxlib 0.10, CPU) on the float64 input gradient of a few grouped convolutions,
# derived or by autodiff, as of one 1x6x6x8 > 4, 2x4 kernel, stride (2, 4), padding (1, 2), 2 groups. And without the
# simplifier it ends the process on a few convolutions of bfloat16.
OPTIONS = {True: QUICK | {"xla_disable_hlo_passes": "algsimp"}, False: QUICK}
# The old emitters of jaxlib 0.10 compile in half the time, but cannot pad by less than 0; later ones lack the option.
EMITTERS = {"xla_cpu_use_fusion_emitters": False}, {"xla_cpu_use_fusion_emitters": True}, {}


class Way(NamedTuple):
    """In which type, to which order, and under which transformation layers are called."""

    dtype: str
    order: int
    under: str

    @property
    def eps(self) -> float:
        return float(jnp.finfo(self.dtype).eps)

    def run(self, function):
        """A function of (args, (cotangents, direction)): value and cotangents, or the gradient of a gradient."""
        function = jax.checkpoint(function) if self.under == "checkpoint" else function
        first = gradient(function)
        return second(function) if self.order == 2 else lambda args, given: first(args, given[0])


TYPES, ORDERS = ("float64", "float32", "bfloat16"), (1, 2)
MAPPED = {  # which arguments differ between two examples: the first, the others
    "vmap over inputs": (True, False), "vmap over weights": (False, True), "vmap": (True, True), "scan": (True, True),
    "pmap": (True, True), "shard_map": (True, False),
}  # fmt: skip
UNDER = ("jit", "checkpoint", *MAPPED)
WAYS = [Way(*each) for each in itertools.product(TYPES, ORDERS, UNDER)]


def second(function):
    """The gradient of the derivative along a direction of a scalar function of the value.

    Of that function the first derivative is the cotangents, and the second 1, however large the value is.
    """

    def run(args, given):
        cotangents, direction = given

        def scalar(*xs):
            value = function(*merge(args, xs))
            moved = jax.tree.map(lambda y: y - lax.stop_gradient(y), value)
            return product(cotangents, value) + 0.5 * product(moved, moved)

        def along(*xs):
            return product(direction, jax.grad(scalar, range(len(xs)))(*xs))

        return jax.grad(along, range(len(direction)))(*free(args))

    return run


def conv2d(x, w, b, stride, padding, dilation, groups):
    """The convolution as a product of windows, whose autodiff has none: over that XLA:CPU may end the process."""
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, w.shape, strict=False))
    pads = pads_of(padding, x.shape[1:3], reach, stride)
    for axis, n, k, s, d, p, r in zip((1, 3), x.shape[1:3], w.shape, stride, dilation, pads, reach, strict=False):
        outputs = np.arange((n + sum(p) - r) // s + 1)
        place = s * outputs[:, None] + d * np.arange(k) - p[0]
        x = jnp.take(x, np.where(place < 0, n, place), axis, mode="fill", fill_value=0)
    x = x.reshape(*x.shape[:-1], groups, w.shape[2])  # [B, H', kh, W', kw, groups, C / groups]
    y = jnp.einsum("nhiwjgc,ijcgo->nhwgo", x, w.reshape(*w.shape[:3], groups, w.shape[3] // groups))
    y = y.reshape(*y.shape[:3], w.shape[3])
    return y if b is None else y + jnp.broadcast_to(b, y.shape)


def conv_transpose2d(x, w, b, padding, output_padding, groups, **spacing):
    """The transpose, by autodiff, of `conv2d` above."""
    plain = partial(reference.conv_transpose2d, output_padding=output_padding, groups=groups, padding=padding)
    image = jax.eval_shape(partial(plain, **spacing), x, w, b)
    if padding == "SAME":
        reach = (d * (k - 1) + 1 for d, k in zip(spacing["dilation"], w.shape, strict=False))
        padding = [divmod(max(r - s, 0), 2) for r, s in zip(reach, spacing["stride"], strict=True)]
        padding = tuple((half, half + odd) for half, odd in padding)
    down = partial(conv2d, b=None, padding=padding, groups=groups, **spacing)
    _, back = jax.vjp(lambda u: down(u, w), jnp.zeros(image.shape, image.dtype))
    (y,) = back(x)
    return y if b is None else y + jnp.broadcast_to(b, y.shape)


PLAINER = {"conv2d": conv2d, "conv_transpose2d": conv_transpose2d}


PLAINER = {"conv2d": conv2d, "conv_transpose2d": conv_transpose2d}


def layer_and_reference(case):
    """Both with the settings of the case."""
    layer, plain = pair(case.name, case.settings)
    if case.name in PLAINER:
        plain = partial(PLAINER[case.name], **case.settings)
    elif case.settings.get("delta") == math.inf:  # autodiff of the branch that is not taken is NaN
        plain = partial(plain, delta=1e35)
    return layer, plain


class Example(NamedTuple):
    """Arguments, and (cotangents, direction)."""

    args: tuple
    given: tuple

    def other(self, first: bool, others: bool):
        """A second example: what differs is reversed."""
        flip = lambda tree: jax.tree.map(np.flip, tree)  # noqa: E731
        head, *rest = self.args
        return Example((flip(head) if first else head, *(flip(rest) if others else rest)), flip(self.given))


def is_alone(example) -> bool:
    return all(a is None for a in example.args[1:])


def examples(way, one) -> list:
    """The examples that go together: two, unless it is a matter of one."""
    if way.under not in MAPPED:
        return [one]
    differs = (True, True) if is_alone(one) else MAPPED[way.under]
    return [one, one.other(*differs)]


def axes(way, one):
    """`in_axes` of two stacked examples."""
    first, others = (True, True) if is_alone(one) or "vmap" not in way.under else MAPPED[way.under]
    return Example((0 if first else None, *[0 if others else None] * (len(one.args) - 1)), 0)


def stack(trees, axis=0):
    """Trees as one; where the axis is None they are all alike."""
    return trees[0] if axis is None else jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def together(way, each):
    """Examples as `transformed` wants them: the one, both apart, or both stacked."""
    if way.under not in MAPPED:
        return each[0]
    if way.under == "shard_map" and way.order == 1:
        return each
    in_axes = axes(way, each[0])
    args = (stack([e.args[i] for e in each], axis) for i, axis in enumerate(in_axes.args))
    return Example(tuple(args), stack([e.given for e in each]))


def transformed(way, case, layer, one):
    """A layer, with the thresholds of its case, as a function under the transformation."""

    def patched(call, inputs):
        with pytest.MonkeyPatch.context() as patch:
            for key, value in case.thresholds.items():
                patch.setattr(THRESHOLDS[key][0], key, value)
            return call(inputs)

    run = partial(patched, lambda one: way.run(layer)(*one))
    if way.under.startswith("vmap"):
        return jax.jit(jax.vmap(run, in_axes=(axes(way, one),)))
    if way.under == "scan":
        return jax.jit(partial(lax.map, run))
    if way.under == "pmap":
        return jax.pmap(run, devices=jax.local_devices()[:2])
    if way.under == "shard_map" and way.order == 1:
        both = lambda each: shard_map(layer, [(one.args, one.given[0]) for one in each])  # noqa: E731
        return jax.jit(partial(patched, both))
    return jax.jit(on_devices(run) if way.under == "shard_map" else run)


def on_devices(function):
    """`function` of the first half of all arrays on one device, and of the second half on another."""
    first, back = partial(jax.tree.map, lambda a: a[0]), partial(jax.tree.map, lambda a: a[None])
    mesh, split = Mesh(jax.local_devices()[:2], ("device",)), PartitionSpec("device")
    return jax.shard_map(lambda inputs: back(function(first(inputs))), mesh=mesh, in_specs=split, out_specs=split)


def combined(way, case, results):
    """What the layer should give under the transformation, from the reference's results for each example."""
    if way.under not in MAPPED:
        return results[0]
    if not (way.under == "shard_map" and way.order == 1):
        return stack(results)
    count = len([a for a in case.arrays[:1] if a[1] in ROLES])
    value, slopes = stack(results)
    return (value, slopes[:count]), tuple(slope.sum(0, dtype=slope.dtype) for slope in slopes[count:])


def compiled(function, inputs):
    """Compiled fast rather than well: it runs a few times."""
    lowered = function.lower(inputs)
    options = OPTIONS[any(leaf.dtype == np.float64 for leaf in jax.tree.leaves(inputs))]
    for emitters in EMITTERS:
        try:
            return lowered.compile(options | emitters)
        except jax.errors.JaxRuntimeError as error:
            if emitters is EMITTERS[-1] or not re.search("negative padding|No such compile option", str(error)):
                raise
