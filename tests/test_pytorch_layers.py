"""PyTorch's own numbers (tests/golden/make_pytorch_layers.py) are the referee of every layer and loss."""

import inspect

import jax
import numpy as np
import pytest
from make_pytorch_layers import CASES, FILE

from jaxrl import audit, layers, losses
from jaxrl.audit.cases.case import pair
from jaxrl.audit.gradients import QUICK, gradient

TOLERANCES = {"float64": 1e-9, "float32": 2e-5}


@pytest.fixture(scope="module")
def golden():
    with np.load(FILE) as file:
        return dict(file)


def test_every_layer_and_loss_has_a_case():
    members = {**vars(layers), **vars(losses)}
    public = {name for name, member in members.items() if inspect.isfunction(member) and name[0] != "_"}
    assert {case.name for case in CASES} == public - {"factorized_noise", "lstm_states"}  # without a gradient


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_value_and_gradients_are_those_of_pytorch(case, golden):
    layer = pair(case.name, case.settings)[0]
    drawn = case.draw()

    def free(*args):
        args = iter(args)
        return layer(*(a if i in case.fixed else next(args) for i, a in enumerate(drawn)))

    for dtype, tolerance in TOLERANCES.items():
        with jax.enable_x64(dtype == "float64"):
            args = audit.cast([a for i, a in enumerate(drawn) if i not in case.fixed], dtype)
            shapes = jax.eval_shape(free, *args)
            leaves, tree = jax.tree.flatten(shapes)
            dy = tree.unflatten(case.cotangents([leaf.shape for leaf in leaves]))
            found = jax.jit(gradient(free), compiler_options=QUICK)(args, dy)
        got = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found)])
        expected = golden[case.title]
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))
