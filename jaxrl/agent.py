"""The two contracts: how a trained agent acts (`Policy`), and what the run loop trains (`Agent`).

The loop (`shell.loop`) owns environments, actors, keys, the observation normaliser, devices and checkpoints. An agent
is what learns: pure functions over one state, the learner, written for one device. A learner is any tree of arrays
whose shapes and types an update does not change.

    EnvPool -> act(acting(learner), ...) -> trajectory -> learn(learner, trajectory, key) -> learner
"""

from collections.abc import Callable
from typing import Any, NamedTuple


class Policy(NamedTuple):
    """How a trained agent acts, whatever algorithm trained it.

    Attributes:
      initial_memory: `(num_envs) -> memory`, what the agent carries from step to step.
      act: `(params, memory, observation [N, ...], first bool [N], key, greedy=False) -> (a [N, ...], memory)`. The
        memory is reset where `first` says that the observation begins an episode; `greedy` is a static bool.
      look: `(params, memory, observation, first) -> (preference [N, A], v [N])`, what it thinks before it acts: of each
        action (π, or Q), and of what is to come; None for an agent that does not tell.
    """

    initial_memory: Callable[[int], Any]
    act: Callable[..., tuple]
    look: Callable[..., tuple] | None = None


class Column(NamedTuple):
    """How a report is shown.

    Attributes:
      short: its name on the terminal; "" to leave it out there.
      format: of its number on the terminal.
      figure: its name in curve.png; "" to leave it out there.
      lowest: values below this do not widen the figure's axis.
    """

    short: str = ""
    format: str = ".2f"
    figure: str = ""
    lowest: float = -float("inf")


class Storage(NamedTuple):
    """What an off-policy agent learns from: large, written once a turn, and only read while learning.

    It is apart from the learner so that an update, which returns a new learner, does not copy it.

    Attributes:
      init: `() -> storage`, empty, of one device.
      store: `(learner, storage, trajectory) -> (learner, storage, report)`. Where nothing is learnt in a turn, the run
        loop adds NaN for what `learn` would have reported.
      ready: `(storage [D, ...]) -> bool`, on the host: with one trajectory more there is enough to learn from. It is
        asked about the storage before the trajectory, which is known by then, so that the host need not wait.
      cut: `storage -> storage`: fresh environments follow, and every stream of experience ends here.
      saved: whether checkpoints hold it; if not, a resumed run starts with an empty one.
    """

    init: Callable[[], Any]
    store: Callable[..., tuple]
    ready: Callable[[Any], bool]
    cut: Callable[[Any], Any]
    saved: bool = True


class Agent(NamedTuple):
    """What the run loop trains.

    Attributes:
      policy: how it acts when frozen, in evaluations and videos.
      num_steps: T, agent steps of each environment between two calls of `learn`.
      init: `(key, params=None) -> learner`, from nothing, or from parameters that `policy` takes; its shapes are those
        of a checkpoint.
      acting: `(learner) -> acting`, the part of the learner that acting needs, such as parameters: it picks leaves and
        computes nothing, since it is called outside compiled code with [D, ...] leaves.
      act: `(acting, memory, observation [N, ...], first [N], key) -> (a [N, ...], memory, extras)` in training; what is
        in `extras` comes back in `Trajectory.extras` with a leading time axis.
      learn: `(learner, experience, key, acted=None) -> (learner, report)`. The experience is a `rollout.Trajectory`, or
        with a storage that; the report is a dict of scalars. A `loss` or `gradient_norm` that is not finite stops the
        run, unless the report says `updates`: 0. `acted` is what `acting` gave for the trajectory, where the learner
        has gone on since: an on-policy gradient is taken there. (With a storage it is not given.)
      frozen: `(learner) -> params`, those that `policy` takes; it picks leaves as `acting` does.
      shown: which reports are shown, and how.
      arrange: `(trajectory) -> trajectory`, in the form that `learn` takes it; compiled with acting, and so done where
        the experience is made.
      cut: `learner -> learner`: fresh environments follow.
      storage: of an off-policy agent.
    """

    policy: Policy
    num_steps: int
    init: Callable[..., Any]
    acting: Callable[[Any], Any]
    act: Callable[..., tuple]
    learn: Callable[..., tuple]
    frozen: Callable[[Any], Any]
    shown: dict[str, Column]
    arrange: Callable[[Any], Any] = lambda trajectory: trajectory
    cut: Callable[[Any], Any] = lambda learner: learner
    storage: Storage | None = None
