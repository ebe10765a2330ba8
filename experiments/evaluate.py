"""Score a trained agent: whole games of one frozen checkpoint.

python experiments/evaluate.py RUN_DIR
python experiments/evaluate.py --weights FILE --env Riverraid-v5 --protocol origin
"""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import a3c
import dqn
import jax
import tyro

from jaxrl import cli, environments, experiment, interop, metrics, provenance, rollout, training, video
from jaxrl.checkpoint import Checkpoints
from jaxrl.evaluation import Scores, play, shared_normalizer

PACKAGES = ("flax", "envpool", "ale-py")
SCRIPTS = {script.Config.algorithm: script for script in (a3c, dqn)}


@dataclasses.dataclass(frozen=True)
class Config:
    """Play whole games with a frozen agent, and report their raw scores."""

    run_dir: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of a run."""
    weights: Path | None = None
    """In place of a run: weights of the A3C-LSTM in PyTorch's layout (.npz, .safetensors, .pt)."""
    env: str | None = None
    """Environment; by default the run's, or Riverraid-v5 for PyTorch's weights."""
    protocol: str | None = None
    """Rules: machado, nature, origin or control; by default the run's, or origin for PyTorch's weights."""
    checkpoint: int | None = None
    """Agent step of the run's checkpoint; by default the newest."""
    games: int = 100
    """Whole games to play."""
    greedy: bool = False
    """Take the best action; by default A3C's are sampled from the policy, and DQN's now and then random."""
    num_envs: int = 20
    """Environments that play at once; each plays an equal share of the games."""
    seed: int = 12345
    """Seed of the environments and the actions; the same seed gives the same games."""
    output: Path | None = None
    """File for the scores as JSON; by default evaluation.json in the run's folder, or beside the weights."""
    video: bool = True
    """Record one more game as a video beside the scores."""


class Frozen(NamedTuple):
    """What plays: parameters, the observation normaliser that they learnt with (or None), the checkpoint's step."""

    params: Any
    normalizer: Any
    step: int | None


def main(config: Config):
    """Play, print, and write the scores and the video."""
    check(config)
    run = training.read_config(config.run_dir) if config.run_dir else {}
    output = output_of(config)
    learnt = environments.PROTOCOLS.get(run.get("protocol"))  # another protocol is seen through the same pictures

    def make_pool(num_envs: int, **options) -> environments.Pool:
        return environments.make(
            config.env or run.get("env", "Riverraid-v5"),
            config.protocol or run.get("protocol", "origin"),
            num_envs,
            config.seed,
            training=False,
            height=run.get("image_size") or learnt and learnt.height,
            width=run.get("image_size") or learnt and learnt.width,
            stack=run.get("frame_stack") or learnt and learnt.stack,
            **options,
        )

    pool = make_pool(min(config.num_envs, config.games))
    agent = agent_of(config, run, pool)
    policy = agent.policy
    frozen = from_weights(config.weights, agent) if config.weights else from_run(config, run, agent)
    if pool.protocol.normalization == "none":
        frozen = frozen._replace(normalizer=None)
    key = jax.random.key(config.seed)
    with metrics.Progress(config.games, unit="games") as progress:
        normalizer = shared_normalizer(frozen.normalizer, pool.num_envs)
        scores = play(policy, frozen.params, pool, config.games, key, config.greedy, normalizer, progress.show)
    pool.close()
    training.write_json(output, result_of(config, pool, frozen, scores))
    print(f"{scores}\nthe scores are in {output}")
    if config.video:
        film, pool = output.with_suffix(".mp4"), make_pool(1, render=True)
        normalizer = shared_normalizer(frozen.normalizer, 1)
        score = video.record(policy, frozen.params, pool, film, key, config.greedy, normalizer)
        print(f"a game of {score:,.0f} points is in {film}")


def check(config: Config):
    """Raise ValueError, in one sentence, for options that cannot work."""
    if (config.run_dir is None) == (config.weights is None):
        raise ValueError("give either the folder of a run or --weights FILE, and not both.")
    if config.weights is not None and config.checkpoint is not None:
        raise ValueError("--checkpoint is a step of a run; a file of --weights has none.")
    for name in ("games", "num_envs"):
        if getattr(config, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1; got {getattr(config, name)}.")


def output_of(config: Config) -> Path:
    """Where the scores go. Raises ValueError when nothing can be written there."""
    default = config.run_dir / "evaluation.json" if config.run_dir else config.weights.with_suffix(".evaluation.json")
    output = config.output or default
    if output.is_dir():
        raise ValueError(f"--output {output} is a folder; give the name of a file.")
    if not os.access(output.parent, os.W_OK):
        raise ValueError(f"{output.parent} is not a folder that can be written to; choose another --output.")
    return output


def agent_of(config: Config, run: dict, pool) -> training.Agent:
    """The agent that plays in a pool: that of the run, or A3C for PyTorch's weights.

    Raises: ValueError for a run of no known algorithm.
    """
    if config.weights:
        return a3c.Agent(a3c.Config(), pool)
    if run.get("algorithm") not in SCRIPTS:
        raise ValueError(f"{config.run_dir / training.CONFIG} is damaged: its algorithm is {run.get('algorithm')!r}.")
    script = SCRIPTS[run["algorithm"]]
    return script.Agent(experiment.saved_config(script.Config, config.run_dir), pool)


def from_run(config: Config, run: dict, agent) -> Frozen:
    """The policy in a run's checkpoint."""
    checkpoints = Checkpoints.open(config.run_dir / "checkpoints")
    step = checkpoints.latest() if config.checkpoint is None else config.checkpoint
    try:
        num_envs, protocol = run["num_envs"] // run["device_count"], environments.PROTOCOLS[run["protocol"]]
    except KeyError as error:
        raise ValueError(f"{config.run_dir / training.CONFIG} is damaged: {error} is missing or unknown.") from None
    params = jax.eval_shape(agent.init_params, jax.random.key(0))
    like = {"params": params, "normalizer": rollout.init_normalization(protocol, num_envs)}
    frozen = checkpoints.restore_policy(like, step)
    checkpoints.close()
    return Frozen(frozen["params"], frozen["normalizer"], step)


def from_weights(path: Path, agent) -> Frozen:
    """The policy in a file of PyTorch's weights."""
    params, pool = interop.load_weights(path), agent.pool
    for names, wanted in jax.tree_util.tree_leaves_with_path(jax.eval_shape(agent.init_params, jax.random.key(0))):
        name = "/".join(key.key for key in names)
        found = params["params"][names[1].key][names[2].key]
        if found.shape == wanted.shape:
            continue
        what = (
            f"an agent with {found.shape[-1]} actions; {pool.env_id} has {pool.num_actions}"
            if "actor" in name
            else f"{name} of shape {found.shape}; protocol {pool.protocol.name} needs {wanted.shape}"
        )
        raise ValueError(f"{path} holds {what}.")
    return Frozen(params, None, None)


def result_of(config: Config, pool, frozen: Frozen, scores: Scores) -> dict:
    """The scores, and all that they depend on."""
    summary = {name: None if value != value else value for name, value in scores.summary().items()}  # JSON has no NaN
    return summary | provenance.measured_on(*PACKAGES) | {
        "env": pool.env_id,
        "protocol": dataclasses.asdict(pool.protocol),
        "source": str(config.run_dir or config.weights),
        "checkpoint": frozen.step,
        "params_digest": metrics.params_digest(frozen.params),
        "greedy": config.greedy,
        "seed": config.seed,
        "num_envs": pool.num_envs,
        "scores": scores.scores,
        "lengths": scores.lengths,
    }


if __name__ == "__main__":
    cli.run(main, Config)
