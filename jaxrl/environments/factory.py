"""`make`: checks what is asked for, before a library that would crash on it sees it."""

import dataclasses

from jaxrl.environments.envpool_pool import EnvPoolPool
from jaxrl.environments.pool import Pool
from jaxrl.environments.protocols import PROTOCOLS


def make(
    env_id: str,
    protocol: str = "machado",
    num_envs: int = 8,
    seed: int = 0,
    *,
    training: bool = True,
    height: int | None = None,
    width: int | None = None,
    stack: int | None = None,
    max_episode_steps: int | None = None,
    num_threads: int | None = None,
    render: bool = False,
) -> Pool:
    overrides = {"height": height, "width": width, "stack": stack, "max_episode_steps": max_episode_steps}
    overrides = {name: value for name, value in overrides.items() if value is not None}
    rules = dataclasses.replace(PROTOCOLS[protocol], **overrides)
    return EnvPoolPool(env_id, rules, num_envs, seed, training, num_threads, render)
