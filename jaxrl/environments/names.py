"""Names of environments: which family one belongs to, and which names are near a wrong one.

With EnvPool the names are EnvPool's; without, those of its names that Gymnasium and ale-py can play. A name that
begins with "gymnasium:" is Gymnasium's own.
"""

import functools
import re

from jaxrl.environments import ale_pool, envpool_pool, gymnasium_pool
from jaxrl.environments.gymnasium_pool import PREFIX
from jaxrl.nearest import nearest

FAMILIES = ("atari", "classic_control", "toy_text", "box2d", "procgen", "minigrid", "mujoco")
WHY_NOT = {
    "mujoco.dmc": "whose observations are dicts of arrays",
    "mujoco.robotics": "whose observations are dicts of arrays",
    "jumanji": "whose observations are dicts of arrays",
    "pgx": "board games for several players",
}


def family(env_id: str) -> str:
    """The family of an environment that jaxrl can play: one of `FAMILIES`, or "gymnasium".

    Raises: ValueError for an unknown environment (the message names near ones), or one of another family.
    """
    if str(env_id).startswith(PREFIX):
        return "gymnasium"
    families = _families()
    if env_id not in families:
        raise ValueError(f"there is no environment {env_id!r}; did you mean {' or '.join(_near(env_id))}?{_why()}")
    kind = families[env_id]
    if kind not in FAMILIES:
        why = WHY_NOT.get(kind, "with which jaxrl was not tried")
        raise ValueError(f"{env_id} is of EnvPool's family {kind!r}, {why}; jaxrl plays {', '.join(FAMILIES)}")
    return kind


@functools.cache
def _families() -> dict[str, str]:
    """The family of each name, without the one game of EnvPool that never ends and that nothing else plays."""
    if envpool_pool.missing() is None:
        return {name: kind for name, kind in envpool_pool.families().items() if not name.endswith("CliffWalking-v0")}
    return ale_pool.families() | gymnasium_pool.families()


def _why() -> str:
    reason = envpool_pool.missing()
    return "" if reason is None else f" {reason}, for its other environments"


def _near(env_id: str) -> list[str]:
    """The names nearest to one in Gym's manner ("ALE/Pong-v5", "PongNoFrameskip-v4"), misspelt, or Gymnasium's."""
    names = {name.lower(): name for name, kind in _families().items() if kind in FAMILIES}
    game = re.sub("^ALE/|NoFrameskip|Deterministic|-v[0-9]+$", "", str(env_id)).lower()
    near = [names[name] for name in names if game == name.rpartition("-v")[0]]
    if not near and gymnasium_pool.knows(str(env_id)):
        return [PREFIX + env_id]
    return near or [names[name] for name in nearest(game, names)]
