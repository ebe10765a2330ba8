"""`make` and `spec`: check what is asked for, before a library that would crash on it sees it."""

import dataclasses
import difflib
import numbers

from jaxrl.environments import ale_pool, envpool_pool
from jaxrl.environments.ale_pool import AlePool
from jaxrl.environments.envpool_pool import EnvPoolPool, family
from jaxrl.environments.pool import Pool
from jaxrl.environments.protocols import PROTOCOLS, Protocol
from jaxrl.environments.spaces import Spec


def make(
    env_id: str,
    protocol: str | None = None,
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
    """Make a pool of environments. The same arguments give the same games, whatever the number of threads.

    Args:
        env_id: EnvPool's name of an Atari game ("Riverraid-v5") or a classic control ("CartPole-v1").
        protocol: key in `PROTOCOLS`: "control" for classic control, any other for Atari; None for `default_protocol`.
        num_envs: N.
        seed: 0 or more; pools of different seeds have nothing in common.
        training: False plays whole games where the protocol has episodic life.
        height, width, stack, max_episode_steps: in place of the protocol's own; None leaves it.
        num_threads: of the emulators (processes, for a random frame skip); None for one a core, at most N.
        render: `Pool.render` will be called.

    Raises:
        ValueError: an unknown environment or protocol (the message names near ones), an environment of
            another family, or a number below 1 (the seed: 0).
    """
    rules = _rules_for(env_id, protocol, height=height, width=width, stack=stack, max_episode_steps=max_episode_steps)
    for name, value in {"num_envs": num_envs, "num_threads": num_threads}.items():
        if value is not None:
            _check_at_least(1, name, value)
    _check_at_least(0, "seed", seed)
    if _skips_at_random(rules):
        return AlePool(env_id, rules, num_envs, seed, num_threads)
    return EnvPoolPool(env_id, rules, num_envs, seed, training, num_threads, render)


def spec(
    env_id: str,
    protocol: str | None = None,
    *,
    height: int | None = None,
    width: int | None = None,
    stack: int | None = None,
) -> Spec:
    """What an observation and an action are, as `make(...).spec` says, without a pool.

    Args: as those of `make`.
    Raises: ValueError, as `make`.
    """
    rules = _rules_for(env_id, protocol, height=height, width=width, stack=stack)
    return (ale_pool if _skips_at_random(rules) else envpool_pool).spec(env_id, rules)


def default_protocol(env_id: str) -> str:
    """The protocol that `make` takes when it is told none: "machado" for Atari, "control" for the rest.

    Raises: ValueError, as `family`.
    """
    return "machado" if family(env_id) == "atari" else "control"


def _skips_at_random(rules: Protocol) -> bool:
    return rules.frame_skip[0] < rules.frame_skip[1]


def _rules_for(env_id: str, protocol: str | None, **overrides: int | None) -> Protocol:
    """The protocol, with the overrides that are not None in place."""
    overrides = {name: value for name, value in overrides.items() if value is not None}
    for name, value in overrides.items():
        _check_at_least(1, name, value)
    rules = _fitting(env_id, default_protocol(env_id) if protocol is None else protocol)
    image = [name for name in ("height", "width", "stack") if name in overrides]
    if image and not rules.atari:
        raise ValueError(f"the protocol {rules.name!r} leaves the observation as it is: no {' or '.join(image)} to set")
    return dataclasses.replace(rules, **overrides)


def _fitting(env_id: str, protocol: str) -> Protocol:
    if protocol not in PROTOCOLS:
        near = difflib.get_close_matches(str(protocol), PROTOCOLS, n=1) or PROTOCOLS
        raise ValueError(f"there is no protocol {protocol!r}; did you mean {' or '.join(near)}?")
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
