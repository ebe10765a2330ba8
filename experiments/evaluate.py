"""Score a trained agent: whole games of one frozen checkpoint.

python experiments/evaluate.py RUN_DIR
python experiments/evaluate.py --weights FILE --env Riverraid-v5 --protocol origin
"""

import dataclasses
import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import tyro

from jaxrl import cli, environments, interop, metrics, rollout, training, video
from jaxrl.algorithms import a3c
from jaxrl.checkpoint import Checkpoints
from jaxrl.evaluation import play, shared_normalizer
from jaxrl.networks import ActorCriticLSTM


@dataclasses.dataclass(frozen=True)
class Config:
    """Play whole games with a frozen agent, and report their raw scores."""

    run_dir: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of a run."""
    weights: Path | None = None
    """In place of a run: weights of the A3C-LSTM in PyTorch's layout (.npz, .safetensors, .pt)."""
    env: str | None = None
    """Atari game; by default the run's."""
    protocol: str | None = None
    """Rules: machado, nature or origin; by default the run's, or origin for PyTorch's weights."""
    checkpoint: int | None = None
    """Agent step of the checkpoint; by default the newest."""
    games: int = 100
    """Whole games to play."""
    greedy: bool = False
    """Take the most likely action; by default actions are sampled from the policy."""
    num_envs: int = 20
    """Environments that play at once."""
    seed: int = 12345
    """Seed of the environments and the actions."""
    output: Path | None = None
    """File for the scores as JSON; by default evaluation.json in the run's folder, or beside the weights."""
    video: bool = True
    """Record one more game as a video beside the scores."""


def frozen_run(config: Config, run: dict, pool) -> tuple[dict, int]:
    """The policy of a run's checkpoint, with its normaliser, and the checkpoint's step."""
    checkpoints = Checkpoints.open(config.run_dir / "checkpoints")
    num_envs = run["num_envs"] // run["device_count"]
    protocol = environments.PROTOCOLS[run["protocol"]]
    like = {
        "params": init_params(pool),
        "normalizer": rollout.init_normalization(protocol, num_envs),
    }
    step = checkpoints.latest() if config.checkpoint is None else config.checkpoint
    frozen = checkpoints.restore_policy(like, step)
    checkpoints.close()
    return frozen, step


def init_params(pool):
    """Parameters of the right shapes for a pool."""
    network = ActorCriticLSTM(pool.num_actions)
    observation = jnp.zeros((1, 1, *pool.observation_shape))
    return network.init(jax.random.key(0), observation, network.initial_memory(1), jnp.zeros((1, 1), bool))


def frozen_weights(config: Config, pool) -> tuple[dict, None]:
    """The policy in a file of PyTorch's weights."""
    params = interop.load_weights(config.weights)
    for path, wanted in jax.tree_util.tree_leaves_with_path(init_params(pool)):
        got = params
        for key in path:
            got = got[key.key]
        if got.shape != wanted.shape:
            name = "/".join(key.key for key in path[1:])
            what = f"an agent with {got.shape[-1]} actions" if "actor" in name else f"{name} of shape {got.shape}"
            raise ValueError(
                f"{config.weights} holds {what}; {pool.env_id} under {pool.protocol.name} needs "
                f"{pool.num_actions if 'actor' in name else wanted.shape}."
            )
    return {"params": jax.tree.map(jnp.asarray, params), "normalizer": None}, None


def main(config: Config):
    """Play, print, and write the scores and the video."""
    if (config.run_dir is None) == (config.weights is None):
        raise ValueError("give either the folder of a run or --weights FILE.")
    for name in ("games", "num_envs"):
        if getattr(config, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be above 0; got {getattr(config, name)}.")
    run = training.read_config(config.run_dir) if config.run_dir else {}
    env, protocol = config.env or run.get("env", "Riverraid-v5"), config.protocol or run.get("protocol", "origin")
    size = {"height": run.get("image_size"), "width": run.get("image_size"), "stack": run.get("frame_stack")}
    output = config.output or (
        config.run_dir / "evaluation.json" if run else config.weights.with_suffix(".evaluation.json")
    )
    if not os.access(output.parent, os.W_OK):
        raise ValueError(f"{output.parent} is not a folder that can be written to; choose another --output.")

    def make_pool(num_envs, **options):
        return environments.make(env, protocol, num_envs, config.seed, training=False, **size, **options)

    pool = make_pool(min(config.num_envs, config.games))
    frozen, step = frozen_run(config, run, pool) if run else frozen_weights(config, pool)
    policy = a3c.policy(ActorCriticLSTM(pool.num_actions))
    with_normalizer = pool.protocol.normalization != "none" and frozen["normalizer"] is not None
    normalizer = frozen["normalizer"] if with_normalizer else None
    with metrics.counter("games", config.games) as count:
        scores = play(
            policy,
            frozen["params"],
            pool,
            config.games,
            jax.random.key(config.seed),
            config.greedy,
            shared_normalizer(normalizer, pool.num_envs),
            count,
        )
    pool.close()
    print(scores)
    result = scores.summary() | {
        "env": env, "protocol": dataclasses.asdict(pool.protocol), "checkpoint": step, "greedy": config.greedy,
        "seed": config.seed, "source": str(config.run_dir or config.weights),
        "params_digest": metrics.params_digest(frozen["params"]),
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "envpool", "ale-py")},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {jax.default_backend()}",
        "scores": scores.scores, "lengths": scores.lengths,
    }  # fmt: skip
    training.write_json(output, result)
    print(f"scores are in {output}")
    if config.video:
        film = output.with_suffix(".mp4")
        pool = make_pool(1, render=True)
        score = video.record(
            policy,
            frozen["params"],
            pool,
            film,
            jax.random.key(config.seed),
            config.greedy,
            shared_normalizer(normalizer, 1),
        )
        pool.close()
        print(f"a game of {score:,.0f} points is in {film}")


if __name__ == "__main__":
    cli.run(main, Config)
