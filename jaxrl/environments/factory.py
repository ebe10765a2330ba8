"""`make` and `spec`: check what is asked for, before a library that would crash on it sees it."""

import dataclasses
import functools
import numbers
import sys

from jaxrl.environments import ale_pool, envpool_pool, gymnasium_pool
from jaxrl.environments.names import family
from jaxrl.environments.pool import Pool
from jaxrl.environments.protocols import PROTOCOLS, Protocol
from jaxrl.environments.spaces import Spec
from jaxrl.nearest import unknown

OVERRIDES = ("height", "width", "stack", "max_episode_steps", "episodic_life", "reward", "normalization")
TIME_LIMIT = 1000  # of an environment that has none, where a bad policy would play for ever


def make(
    env_id: str,
    protocol: str | None = None,
    num_envs: int = 8,
    seed: int = 0,
    *,
    training: bool = True,
    num_threads: int | None = None,
    render: bool = False,
    env_module: str | None = None,
    **rules,
) -> Pool:
    """Make a pool of environments. The same arguments give the same games, whatever the number of threads.

    Where EnvPool cannot be imported, Atari and classic control are played by the same rules through ale-py and
    Gymnasium, and a line on stderr says so.

    Args:
        env_id: EnvPool's name ("Riverraid-v5", "CartPole-v1", "FrozenLake-v1", "LunarLander-v3",
            "HalfCheetah-v5"), or "gymnasium:" and Gymnasium's.
        protocol: key in `PROTOCOLS`: "control" for all but Atari, any other for Atari; None for `default_protocol`.
        num_envs: N.
        seed: 0 or more; pools of different seeds have nothing in common.
        training: False plays whole games where the protocol has episodic life.
        num_threads: of the emulators (processes, with ale-py); None for one a core, at most N.
        render: `Pool.render` will be called.
        env_module: the module that registers a Gymnasium environment of one's own when it is imported.
        rules: height, width, stack, max_episode_steps, episodic_life, reward, normalization, in place of the
            protocol's own; None leaves it.

    Raises:
        ValueError: an unknown environment or protocol (the message names near ones), an environment whose
            observations or actions an agent cannot read, or a number below 1 (the seed: 0).
    """
    rules = rules_for(env_id, protocol, **rules)
    for name, value in {"num_envs": num_envs, "num_threads": num_threads}.items():
        if value is not None:
            _check_at_least(1, name, value)
    _check_at_least(0, "seed", seed)
    player = _player(env_id, rules, env_module)
    if player is envpool_pool:
        return envpool_pool.EnvPoolPool(env_id, rules, num_envs, seed, training, num_threads, render)
    if player is ale_pool:
        return ale_pool.AlePool(env_id, rules, num_envs, seed, training, num_threads, render)
    return gymnasium_pool.make_pool(env_id, rules, num_envs, seed, render, env_module)


def spec(
    env_id: str,
    protocol: str | None = None,
    *,
    env_module: str | None = None,
    **rules,
) -> Spec:
    """What an observation and an action are, as `make(...).spec` says, without a pool.

    Args: as those of `make`.
    Raises: ValueError, as `make`.
    """
    rules = rules_for(env_id, protocol, **rules)
    player = _player(env_id, rules, env_module)
    if player is gymnasium_pool:
        return gymnasium_pool.spec(env_id, rules, env_module)
    return player.spec(env_id, rules)


def action_names(env_id: str, count: int) -> list[str]:
    """What each of an environment's `count` actions is called; but for Atari, its number."""
    return ale_pool.action_names(env_id) if family(env_id) == "atari" else [str(a) for a in range(count)]


def default_protocol(env_id: str) -> str:
    """The protocol that `make` takes when it is told none: "machado" for Atari, "control" for the rest.

    Raises: ValueError, as `family`.
    """
    return "machado" if family(env_id) == "atari" else "control"


def _player(env_id: str, rules: Protocol, env_module: str | None):
    """The module of the pool that plays an environment by these rules."""
    kind = family(env_id)
    if env_module is not None and kind != "gymnasium":
        raise ValueError(f"env_module goes with a Gymnasium environment: gymnasium:{env_id}, or leave env_module out")
    if kind == "gymnasium":
        return gymnasium_pool
    if rules.frame_skip[0] < rules.frame_skip[1]:
        return ale_pool
    if _never_ends(env_id):
        return gymnasium_pool
    if (reason := envpool_pool.missing()) is None:
        return envpool_pool
    _notice(f"{reason}; ale-py and Gymnasium play Atari and classic control meanwhile, which is slower")
    return ale_pool if kind == "atari" else gymnasium_pool


def _never_ends(env_id: str) -> bool:
    """Whether a bad policy plays for ever; EnvPool does not heed a time limit here, so that Gymnasium plays it."""
    return env_id.removeprefix(gymnasium_pool.PREFIX) in ("CliffWalking-v1", "CliffWalkingSlippery-v1")


@functools.cache
def _notice(line: str) -> None:
    """Once a process."""
    print(f"jaxrl: {line}.", file=sys.stderr)


def rules_for(env_id: str, protocol: str | None = None, **overrides) -> Protocol:
    """The protocol, with the overrides that are not None in place.

    Raises: ValueError, as `make`.
    """
    overrides = {name: value for name, value in overrides.items() if value is not None}
    for name, value in overrides.items():
        if name not in OVERRIDES:
            raise unknown("rule", name, OVERRIDES)
        if name in ("height", "width", "stack", "max_episode_steps"):
            _check_at_least(1, name, value)
    rules = _fitting(env_id, default_protocol(env_id) if protocol is None else protocol)
    games = [name for name in ("height", "width", "stack", "episodic_life") if name in overrides]
    if games and not rules.atari:
        raise ValueError(f"the protocol {rules.name!r} leaves the environment as it is: no {' or '.join(games)} to set")
    limit = {"max_episode_steps": TIME_LIMIT} if _never_ends(env_id) else {}
    return dataclasses.replace(rules, **limit | overrides)


def _fitting(env_id: str, protocol: str) -> Protocol:
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    rules, kind = PROTOCOLS[protocol], family(env_id)
    if (kind == "atari") != rules.atari:
        fitting = [name for name, other in PROTOCOLS.items() if other.atari == (kind == "atari")]
        raise ValueError(
            f"{env_id} is of the family {kind!r}, and the protocol {protocol!r} is not for it; "
            f"use {' or '.join(fitting)}"
        )
    return rules


def _check_at_least(least: int, name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
