"""Score a trained agent: whole games of one frozen checkpoint.

jaxrl evaluate RUN_DIR
jaxrl evaluate --weights FILE --env Riverraid-v5 --protocol origin
"""

import dataclasses
import os
from pathlib import Path

import jax

from jaxrl import rollout
from jaxrl.agent import Agent
from jaxrl.agents import AGENTS, a3c, memory
from jaxrl.agents.options import Count, RunConfig, check_bounds
from jaxrl.commands.games import Games
from jaxrl.networks import pytorch_weights
from jaxrl.shell import files, frozen, metrics, provenance, video
from jaxrl.shell.evaluation import Scores, play
from jaxrl.shell.frozen import Frozen
from jaxrl.shell.mistakes import reason
from jaxrl.shell.seeds import seed_for

PACKAGES = ("flax", "envpool", "ale-py")


@dataclasses.dataclass(frozen=True)
class Config(Games):
    """Play whole games with a frozen agent, and report their raw scores."""

    weights: Path | None = None
    """In place of a run: weights of the A3C-LSTM in PyTorch's layout (.npz, .safetensors, .pt); by default they play
    Riverraid-v5 by the protocol origin."""
    games: Count = 100
    """Whole games to play."""
    output: Path | None = None
    """File for the scores as JSON; by default evaluation.json in the run's folder, or beside the weights."""
    video: bool = True
    """Record one more game as a video beside the scores."""


def main(config: Config):
    """Play, print, and write the scores and the video."""
    check(config)
    trained = a3c.Config(protocol="origin") if config.weights else frozen.trained_as(config.run_dir)
    played = frozen.played_as(trained, config.env, config.protocol)
    if config.weights:  # which have no images of their own
        played = dataclasses.replace(played, image_size=None, image_width=None, frame_stack=None)
    output, agent = output_of(config), agent_of(config, trained, played)
    player = from_weights(config, agent, played) if config.weights else frozen.load(config.run_dir, config.checkpoint)
    if played.rules.normalization == "none":
        player = player._replace(normalizer=None)
    pool = played.make_pool(min(config.num_envs, config.games), config.seed, training=False)
    key = jax.random.key(config.seed)
    with metrics.Progress(config.games, unit="games") as progress:
        normalizer = rollout.shared_normalizer(player.normalizer, pool.num_envs)
        scores = play(agent.policy, player.params, pool, config.games, key, config.greedy, normalizer, progress.show)
    pool.close()
    print(scores, flush=True)  # first: they may be the work of an hour, and the disk full
    files.write_json(output, result_of(config, pool, player, scores))
    print(f"the scores are in {output}")
    if config.video:
        record_game(config, agent, played, player, output.with_suffix(".mp4"))


def record_game(config: Config, agent: Agent, played: RunConfig, player: Frozen, path: Path):
    """One more game as a video, where one can be made."""
    normalizer, seed = rollout.shared_normalizer(player.normalizer, 1), seed_for("video", config.seed)
    try:
        pool, key = played.make_pool(1, seed, training=False, render=True), jax.random.key(seed)
        score = video.record(agent.policy, player.params, pool, path, key, config.greedy, normalizer)
        print(f"a game of {score:,.0f} points is in {path}")
    except Exception as error:  # the scores are there
        print(f"no video was made: {reason(error)}")


def check(config: Config):
    """Raise ValueError, in one sentence, for options that cannot work."""
    if (config.run_dir is None) == (config.weights is None):
        raise ValueError("give either the folder of a run or --weights FILE, and not both.")
    if config.weights is not None and config.checkpoint is not None:
        raise ValueError("--checkpoint is a step of a run; a file of --weights has none.")
    check_bounds(config)


def output_of(config: Config) -> Path:
    """Where the scores go. Raises ValueError when nothing can be written there."""
    default = config.run_dir / "evaluation.json" if config.run_dir else config.weights.with_suffix(".evaluation.json")
    output = config.output or default
    if output.is_dir():
        raise ValueError(f"--output {output} is a folder; give the name of a file.")
    if not os.access(output.parent, os.W_OK):
        raise ValueError(f"{output.parent} is not a folder that can be written to; choose another --output.")
    return output


def agent_of(config: Config, trained: RunConfig, played: RunConfig) -> Agent:
    """The agent as it was trained.

    Raises: ValueError where the environment that is to be played has other actions.
    """
    if config.run_dir:
        frozen.refuse_other_actions(trained, played, config.run_dir)
    memory.check(dataclasses.replace(played, num_envs=min(config.num_envs, config.games)))
    return AGENTS[trained.algorithm].make(trained, played.spec())


def from_weights(config: Config, agent: Agent, played: RunConfig) -> Frozen:
    """The policy in a file of PyTorch's weights."""
    params = pytorch_weights.load_weights(config.weights)
    for names, wanted in jax.tree_util.tree_leaves_with_path(frozen.params_of(agent)):
        name = "/".join(key.key for key in names)
        found = params["params"][names[1].key][names[2].key]
        if found.shape == wanted.shape:
            continue
        what = (
            f"an agent with {found.shape[-1]} actions; {played.env} has {wanted.shape[-1]}"
            if "actor" in name
            else f"{name} of shape {found.shape}; protocol {played.protocol} needs {wanted.shape}"
        )
        raise ValueError(f"{config.weights} holds {what}.")
    return Frozen(params, None, None)


def result_of(config: Config, pool, player: Frozen, scores: Scores) -> dict:
    """The scores, and all that they depend on."""
    summary = {name: None if value != value else value for name, value in scores.summary().items()}  # JSON has no NaN
    return summary | provenance.measured_on(*PACKAGES) | {
        "env": pool.env_id,
        "protocol": dataclasses.asdict(pool.protocol),
        "source": str(config.run_dir or config.weights),
        "checkpoint": player.step,
        "params_digest": metrics.params_digest(player.params),
        "greedy": config.greedy,
        "seed": config.seed,
        "num_envs": pool.num_envs,
        "scores": scores.scores,
        "lengths": scores.lengths,
    }
