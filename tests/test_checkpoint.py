"""Checkpoints: to the bit, whole or refused, and one clear sentence for all that can be wrong."""

import re
import resource
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.shell.checkpoint import SUMS, CheckpointError, Checkpoints

NANS = np.array([0x7FC00001, 0xFFC12345, 0x7F800000, 0x80000000, 1], np.uint32).view(np.float32)
TRAINING = {
    "nan_payloads_minus_zero_and_subnormal": NANS,
    "int32": jnp.arange(-3, 3, dtype=jnp.int32),
    "bool": jnp.array([True, False]),
    "uint8": np.arange(8, dtype=np.uint8),
    "bfloat16": jnp.array([1.5, -2.0], jnp.bfloat16),
    "wide": (np.int64(2**40 + 1), np.float64(1 / 3)),
    "scalar": jnp.float32(0.1),
    "none": None,
    "key": jax.random.key(3),
    "keys": jax.random.split(jax.random.key(4), 3),
    "other_key": jax.random.key(5, impl="rbg"),
}
POLICY = {"params": {"actor": {"w": np.ones((4, 18), np.float32)}, "critic": {"b": np.zeros(1, np.float32)}}}
REST = {"n": np.int32(0)}


def bits(leaf):
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
    return str(leaf.dtype), array.shape, array.tobytes()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Checkpoints 10 and 20, never to be changed."""
    directory = tmp_path_factory.mktemp("run") / "checkpoints"
    checkpoints = Checkpoints.create(directory)
    for step in (10, 20):
        checkpoints.save(step, POLICY, TRAINING)
    checkpoints.close()
    return directory


@pytest.fixture
def copied(two, tmp_path):
    return shutil.copytree(two, tmp_path / "checkpoints")


def test_every_leaf_comes_back_to_the_bit(two):
    policy, training = Checkpoints.open(two).restore(POLICY, TRAINING)
    assert jax.tree.structure((policy, training)) == jax.tree.structure((POLICY, TRAINING))
    assert jax.tree.map(bits, (policy, training)) == jax.tree.map(bits, (POLICY, TRAINING))
    same_kind = jax.tree.map(lambda a, b: isinstance(a, jax.Array) == isinstance(b, jax.Array), training, TRAINING)
    assert all(jax.tree.leaves(same_kind))
    draw = jax.random.normal(training["other_key"], (3,))
    np.testing.assert_array_equal(draw, jax.random.normal(TRAINING["other_key"], (3,)))


def test_shapes_are_enough_to_restore(two):
    like = jax.eval_shape(lambda: {name: TRAINING[name] for name in ("int32", "bfloat16", "key", "keys")})
    tree = {name: TRAINING[name] for name in like}
    checkpoints = Checkpoints.create(two.parent / "shapes")
    checkpoints.save(1, tree, REST)
    assert jax.tree.map(bits, checkpoints.restore_policy(like)) == jax.tree.map(bits, tree)


def test_a_restored_array_can_be_donated(two):
    _, training = Checkpoints.open(two).restore(POLICY, TRAINING)
    double = jax.jit(lambda x: x * 2, donate_argnums=0)
    np.testing.assert_array_equal(double(training["int32"]), np.arange(-3, 3) * 2)
    assert training["int32"].is_deleted()


def test_the_newest_few_stay(tmp_path):
    checkpoints = Checkpoints.create(tmp_path, keep=2)
    assert checkpoints.latest() is None
    for step in (5, 100, 20):
        checkpoints.save(step, {"x": np.float32(step)}, REST)
    assert checkpoints.steps() == [20, 100] and checkpoints.latest() == 100
    assert checkpoints.restore_policy({"x": np.float32(0)})["x"] == 100
    assert checkpoints.restore_policy({"x": np.float32(0)}, 20)["x"] == 20
    with pytest.raises(CheckpointError, match="has no checkpoint 5; it has 20, 100"):
        checkpoints.restore_policy({"x": np.float32(0)}, 5)


def test_a_folder_without_checkpoints(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint folder .*none; give the folder of a run"):
        Checkpoints.open(tmp_path / "none")
    with pytest.raises(CheckpointError, match="holds no checkpoint, but nothing"):
        Checkpoints.open(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(CheckpointError, match=r"holds no checkpoint, but notes\.txt"):
        Checkpoints.open(tmp_path)
    with pytest.raises(CheckpointError, match=r"cannot make the folder .*notes\.txt/checkpoints"):
        Checkpoints.create(tmp_path / "notes.txt" / "checkpoints")


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]


def test_no_damage_to_any_file_passes(copied, capfd):
    files = [path for path in (copied / "20").rglob("*") if path.is_file() and path.name != SUMS]
    assert len(files) > 8
    for path in files:
        whole = path.read_bytes()
        for damaged in (None, b"", whole[: len(whole) // 2], flip(whole)):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            name = re.escape(str(path.relative_to(copied / "20")))
            with pytest.raises(CheckpointError, match=f"checkpoint 20 in .*damaged .*{name}.* 10 is whole"):
                Checkpoints.open(copied).restore(POLICY, TRAINING)
            path.write_bytes(whole)
    Checkpoints.open(copied).restore(POLICY, TRAINING)
    assert "Traceback" not in capfd.readouterr().err


def test_the_newest_of_the_older_ones_that_are_whole_is_named(tmp_path):
    checkpoints = Checkpoints.create(tmp_path, keep=4)
    for step in (1, 2, 3, 4):
        checkpoints.save(step, REST, REST)
    for step in ("3", "4"):
        (tmp_path / step / "policy" / "_METADATA").unlink()
    with pytest.raises(CheckpointError, match="checkpoint 4 .*; 2 is whole, the newest once 4 is removed"):
        checkpoints.restore(REST, REST)


def test_the_older_one_is_used_once_the_damaged_one_is_removed(copied):
    (copied / "10" / "policy" / "_METADATA").unlink()
    (copied / "20" / SUMS).write_text("nonsense")
    with pytest.raises(CheckpointError, match="checkpoint 20 .*no older one is whole"):
        Checkpoints.open(copied).restore_policy(POLICY)
    shutil.rmtree(copied / "20")
    with pytest.raises(CheckpointError, match="checkpoint 10 .*policy/_METADATA is missing or changed"):
        Checkpoints.open(copied).restore_policy(POLICY)


def test_a_process_killed_before_the_sums_were_written_leaves_a_checkpoint(copied):
    (copied / "20" / SUMS).unlink()
    assert jax.tree.map(bits, Checkpoints.open(copied).restore_policy(POLICY)) == jax.tree.map(bits, POLICY)
    shutil.rmtree(copied / "20" / "policy")
    with pytest.raises(CheckpointError, match="checkpoint 20 in .* cannot be read"):
        Checkpoints.open(copied).restore_policy(POLICY)


VICTIM = """
import os, sys, threading
import numpy as np
from jaxrl.shell.checkpoint import Checkpoints

checkpoints = Checkpoints.create(sys.argv[1])
big = np.ones((1000, 1000), np.float32)
for step in range(1, 1000):
    if step == 3:
        threading.Timer(0.02, os._exit, [9]).start()
    checkpoints.save(step, {"x": np.int32(step)}, {"big": big * step})
    print(step, flush=True)
"""


def test_a_killed_process_leaves_whole_checkpoints(tmp_path):
    done = subprocess.run([sys.executable, "-c", VICTIM, tmp_path], capture_output=True, text=True, timeout=180)
    assert done.returncode == 9
    saved = int(done.stdout.split()[-1])
    checkpoints = Checkpoints.open(tmp_path)
    step = checkpoints.latest()
    assert step >= saved >= 2
    policy, training = checkpoints.restore({"x": np.int32(0)}, {"big": np.ones((1000, 1000), np.float32)})
    assert policy["x"] == step and (training["big"] == step).all()
    (tmp_path / "999.orbax-checkpoint-tmp").mkdir(exist_ok=True)
    assert checkpoints.steps()[-1] == step
    checkpoints.save(step + 1, policy, training)
    assert all(path.name.isdigit() for path in tmp_path.iterdir())


def test_a_full_disk_is_one_sentence_and_keeps_what_was_there(tmp_path):
    checkpoints = Checkpoints.create(tmp_path)
    tree = {"x": np.random.default_rng(0).normal(size=(300, 300))}
    checkpoints.save(1, tree, REST)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(
            CheckpointError, match=r"checkpoint 2 could not be written to .*, where [\d,]+ MiB are free"
        ):
            checkpoints.save(2, tree, REST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoints.steps() == [1]
    checkpoints.save(2, tree, REST)
    np.testing.assert_array_equal(Checkpoints.open(tmp_path).restore_policy(tree)["x"], tree["x"])


def test_a_checkpoint_that_does_not_fit(two):
    def like(**changes):
        return {"params": POLICY["params"] | changes}

    cases = [
        (like(actor={"w": np.ones((4, 6), np.float32)}), r"\[.w.\] is float32 \(4, 18\), expected float32 \(4, 6\)"),
        (
            like(actor={"w": np.ones((5, 18), np.float32)}),
            r"\['actor'\]\['w'\] is float32 \(4, 18\), expected .*\(5, 18\)",
        ),
        (like(critic={"b": np.zeros(1, np.int32)}), r"\['critic'\]\['b'\] is float32 \(1,\), expected int32 \(1,\)"),
        (like(critic={}), r"policy has, and this run does not, \['params'\]\['critic'\]\['b'\]"),
        (like(extra=np.ones(2)), r"policy lacks \['params'\]\['extra'\]"),
    ]
    for tree, message in cases:
        with pytest.raises(CheckpointError, match=message):
            Checkpoints.open(two).restore_policy(tree)
