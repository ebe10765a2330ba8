"""The frozen policy of a run: what plays it, from its newest checkpoint or another."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl import rollout
from jaxrl.agent import Agent
from jaxrl.agents import AGENTS
from jaxrl.agents.options import RunConfig
from jaxrl.shell import folder
from jaxrl.shell.checkpoint import Checkpoints


class Frozen(NamedTuple):
    """What plays: parameters, the observation normaliser that they learnt with (or None), the checkpoint's step."""

    params: Any
    normalizer: Any
    step: int | None


def trained_as(run_dir: Path) -> RunConfig:
    """The options that a run was trained with. Raises ValueError where the folder is none of one run's."""
    algorithm = folder.algorithm_of(run_dir, AGENTS)
    config = folder.saved_config(AGENTS[algorithm].Config, run_dir)
    if config.num_seeds > 1:
        first = Path(run_dir) / f"seed_{config.seed}"
        raise ValueError(f"{run_dir} holds the runs of {config.num_seeds} seeds; give one of them, such as {first}.")
    return config


def played_as(trained: RunConfig, env: str | None, protocol: str | None) -> RunConfig:
    """The options that environments to play are made with: whole games, with the images of training.

    Args:
      trained: the options of the run.
      env, protocol: what is played; None for the run's.
    """
    rules = trained.rules
    size = {"image_size": rules.height, "image_width": rules.width, "frame_stack": rules.stack} if rules.atari else {}
    env, protocol = env or trained.env, protocol or trained.protocol
    return dataclasses.replace(trained, env=env, protocol=protocol, life_loss=False, **size)


def refuse_other_actions(trained: RunConfig, played: RunConfig, where):
    """Raise ValueError where what is to be played has other actions than what was learnt."""
    learnt, has = trained.spec().action, played.spec().action
    if learnt != has:
        raise ValueError(f"{where} learnt the actions {learnt} of {trained.env}, and {played.env} has {has}.")


def load(run_dir: Path, step: int | None = None) -> Frozen:
    """The policy in a checkpoint of a run, the newest by default.

    Raises: ValueError for a folder that is none of a run's, or parameters that cannot play; CheckpointError.
    """
    trained = trained_as(run_dir)
    agent = AGENTS[trained.algorithm].make(trained, trained.spec())
    num_envs = trained.num_envs // trained.total_devices
    like = {"params": params_of(agent), "normalizer": rollout.init_normalization(trained.rules, num_envs)}
    checkpoints = Checkpoints.open(run_dir / "checkpoints")
    step = checkpoints.latest() if step is None else step
    found = checkpoints.restore_policy(like, step)
    checkpoints.close()
    refuse_not_finite(found["params"], f"checkpoint {step} of {run_dir}")
    return Frozen(found["params"], found["normalizer"], step)


def params_of(agent: Agent):
    """The shapes of the parameters that act when frozen."""
    return jax.eval_shape(lambda key: agent.frozen(agent.init(key)), jax.random.key(0))


def refuse_not_finite(params, where: str):
    """Raise ValueError for parameters that cannot play."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not np.isfinite(leaf).all():
            name = jax.tree_util.keystr(path)
            raise ValueError(f"{where} holds parameters that are not finite ({name}); an older checkpoint may be good.")


def refuse_other_shapes(params, agent: Agent, where: str):
    """Raise ValueError, with the first that differs, for parameters that are not those of an agent."""
    found, wanted = (
        {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (params, params_of(agent))
    )
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            has, needs = (shapes.get(name, "none") for shapes in (found, wanted))
            raise ValueError(f"{where} does not fit: its parameter {name} has the shape {has}, and this run's {needs}.")
