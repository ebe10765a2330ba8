"""The options of every training run, how their bounds are checked, and presets of them.

An algorithm adds its own in a subclass. A field carries its bounds (`Annotated[float, Interval(ge=0, le=1)]`), which
`check_bounds` reads and `--help` shows.
"""

import dataclasses
import operator
import types
import typing
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jax
from annotated_types import Ge, Gt, Interval

from jaxrl import environments
from jaxrl.agents import memory
from jaxrl.nearest import unknown

Count = Annotated[int, Gt(0)]
ImageSize = Annotated[int, Ge(2)]
Natural = Annotated[int, Ge(0)]
Positive = Annotated[float, Interval(gt=0, lt=float("inf"))]
PositiveOrInfinite = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Interval(ge=0, lt=float("inf"))]
Fraction = Annotated[float, Interval(ge=0, le=1)]
BOUNDS = {  # of annotated-types: in words, and how a value is compared with one
    "gt": ("above", operator.gt), "ge": ("at least", operator.ge), "lt": ("below", operator.lt),
    "le": ("at most", operator.le),
}  # fmt: skip
TYPES = {
    int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "text", type(None): "null"
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The options of every training script; a script adds those of its algorithm."""

    algorithm: ClassVar[str]
    name: ClassVar[str]
    may_change: ClassVar[tuple[str, ...]] = ("total_steps", "evaluation_games", "video")  # when a run is resumed

    env: str = "Riverraid-v5"
    """Environment: EnvPool's name, or gymnasium:NAME for one of Gymnasium's or your own."""
    env_module: str | None = None
    """Python module to import first, which registers your own environment with Gymnasium."""
    preset: str = ""
    """Name of a set of other defaults than those shown; --preset NAME --help shows them."""
    seed: Natural = 0
    """Seed of the parameters, the actions and the environments; the same seed gives the same run to the bit."""
    num_seeds: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Train this many seeds in one process, from --seed on. Each has a folder of its own in the run's, and is there the
    run that it would be alone."""
    total_steps: Count = 10_000_000
    """Agent steps (not frames) to train for, over all environments. Schedules that end with the run, such as a decaying
    learning rate, follow the new value when a resumed run changes it."""
    protocol: str = "machado"
    """Rules of the game: machado (sticky actions, no life-loss), nature, origin (the report's), or control."""
    run_dir: Path | None = None
    """Folder of the run, which must not exist yet; by default runs/ALGORITHM_ENV_PROTOCOL_SEED_TIME."""
    resume: Path | None = None
    """Resume the run in this folder, with its options, from its newest checkpoint."""
    start_from: Path | None = None
    """Start from the parameters of the run in this folder, from its newest checkpoint, and not from nothing."""
    num_envs: Count = 32
    """Environments that are played at once, over all devices of all hosts."""
    device_count: Count = 1
    """Devices of each host to train on; the gradient is averaged over all."""
    num_hosts: Annotated[int, Interval(ge=1, le=100_000)] = 1
    """Hosts that train together, each with its own environments, all with the same options. They find each other by
    themselves under SLURM, MPI and Kubernetes, else by --coordinator."""
    local_processes: Count = 1
    """Start this many hosts as processes of this machine, each with its part of the cores."""
    coordinator: str | None = None
    """HOST:PORT of the first host."""
    host_id: Natural | None = None
    """Which of the hosts this one is, from 0."""
    acting: Literal["auto", "cpu", "accelerator"] = "auto"
    """Where the policy acts in training: beside the environments on the host's CPU, or on the accelerator that learns;
    auto is cpu. Without an accelerator all are the same."""
    acting_age: Annotated[int, Interval(ge=0, le=1)] = 0
    """How many turns of learning the parameters that act are behind. With 0 a rollout waits for what was learnt from
    the last one; with 1 it is played meanwhile, which is for an accelerator."""
    image_size: ImageSize | None = None
    """Height, and width, of the observation in pixels; by default the protocol's."""
    image_width: ImageSize | None = None
    """Width of the observation in pixels, where it is not its height."""
    frame_stack: Count | None = None
    """Newest frames in one observation, as channels; by default the protocol's."""
    life_loss: bool = False
    """A lost life ends the episode in training, as it does under the protocol nature; a score is that of a whole
    game."""
    reward: Literal["raw", "sign", "root"] | None = None
    """What is learnt from, of a reward r: r, its sign, or sign(r) √(|r| / 100); by default the protocol's."""
    normalization: Literal["none", "exponential"] | None = None
    """Normalise each observation by the running mean and deviation of its environment; by default the protocol's."""
    log_every: Count = 20_000
    """Agent steps between two rows of metrics.csv."""
    checkpoint_every: Count = 500_000
    """Agent steps between two checkpoints; each starts fresh environments and one evaluation."""
    evaluation_games: Natural = 10
    """Whole games that each checkpoint plays beside training; 0 for none."""
    video: bool = True
    """Record one game of the final policy as video.mp4."""

    @property
    def total_devices(self) -> int:
        """Devices over all hosts."""
        return self.device_count * self.num_hosts

    @property
    def introduction(self) -> str:
        """What is printed before the run."""
        return f"{self.name} in {self.num_envs} environments"

    @property
    def images_held(self) -> int:
        """Observations of one environment between two turns of learning."""
        return 1

    @property
    def images_kept(self) -> int:
        """Observations of which acting keeps what learning goes back through."""
        return 0

    @property
    def images_learnt(self) -> int:
        """Observations in one update."""
        return 1

    @property
    def title(self) -> str:
        """What the run is, for a figure."""
        last = self.seed + self.num_seeds - 1
        seeds = f"seed {self.seed}" if self.num_seeds == 1 else f"seeds {self.seed} to {last}"
        return f"{self.name} on {self.env}, protocol {self.protocol}, {seeds}"

    @property
    def _overrides(self) -> dict:
        image = {"height": self.image_size, "width": self.image_width or self.image_size, "stack": self.frame_stack}
        learning = {"episodic_life": self.life_loss or None, "reward": self.reward, "normalization": self.normalization}
        return image | learning

    @property
    def rules(self) -> environments.Protocol:
        """The protocol with the run's own rules in place. Raises ValueError where they do not fit the environment."""
        return environments.rules_for(self.env, self.protocol, **self._overrides)

    def spec(self) -> environments.Spec:
        """What an observation and an action are. Raises ValueError for an environment that cannot be made."""
        return environments.spec(self.env, self.protocol, env_module=self.env_module, **self._overrides)

    def make_pool(self, num_envs: int, seed: int, **options) -> environments.Pool:
        """A pool under the run's protocol, with its form of observations."""
        options |= {"env_module": self.env_module} | self._overrides
        return environments.make(self.env, self.protocol, num_envs, seed, **options)


def option(name: str) -> str:
    """How an option is written on the command line."""
    return "--" + name.replace("_", "-")


def bounds_of(hint) -> list[tuple]:
    """(words, comparison, limit) of each bound of a type or of its parts: `Count | None`, `tuple[Count, ...]`."""
    marks = [mark for part in (hint, *typing.get_args(hint)) for mark in getattr(part, "__metadata__", ())]
    pairs = [(getattr(mark, name, None), *BOUNDS[name]) for mark in marks for name in BOUNDS]
    finite = float("inf")
    known = [(limit, "finite" if limit == finite else f"{words} {limit}", compare) for limit, words, compare in pairs]
    return [(words, compare, limit) for limit, words, compare in known if limit is not None]


def check_bounds(config):
    """Raise ValueError, in one sentence, for the first field of a dataclass that is not within its bounds."""
    for name, hint in typing.get_type_hints(type(config), include_extras=True).items():
        value, bounds = getattr(config, name), bounds_of(hint)
        values = () if value is None else value if isinstance(value, tuple) else (value,)
        if not all(compare(each, limit) for each in values for _, compare, limit in bounds):
            words, got = " and ".join(words for words, *_ in bounds), " ".join(map(str, values))
            raise ValueError(f"{option(name)} must be {words}; got {got}.")
        for each in values:
            if isinstance(each, int) and each >= 2**31:
                raise ValueError(f"{option(name)} must be below 2^31 = {2**31:,}; got {each:,}.")


def check(config: RunConfig):
    """Raise ValueError, in one sentence, for options of every run that cannot work."""
    check_bounds(config)
    protocol = environments.PROTOCOLS.get(config.protocol)
    of_atari = ("image_size", "image_width", "frame_stack", "life_loss")
    given = [option(name) for name in of_atari if getattr(config, name)]
    if protocol and not protocol.atari and given:
        raise ValueError(
            f"{' and '.join(given)}: only for Atari, and --protocol {config.protocol} is not for it; leave it out."
        )
    memory.check(config)
    have = jax.local_device_count()
    if config.num_hosts > 1 and config.num_seeds > 1:
        raise ValueError("--num-seeds are trained on one host; give --num-hosts or it, and not both.")
    if config.num_hosts > 1 and config.device_count != have:
        raise ValueError(f"with several hosts each trains on all its devices: --device-count {have} here.")
    if config.device_count > have:
        raise ValueError(
            f"--device-count {config.device_count} asks for more devices than there are: 1 to {have} "
            f"({jax.default_backend()}) can be used here."
        )


def over_devices(config: RunConfig) -> str:
    """The devices that environments are divided among, in words."""
    hosts = f" of {config.num_hosts} hosts" if config.num_hosts > 1 else ""
    return f"{config.device_count} devices{hosts}"


def check_divides(config: RunConfig, name: str, groups: int, among: str):
    """Raise ValueError, with the nearest number that does, when an option does not divide among so many."""
    value = getattr(config, name)
    if value % groups:
        nearest = max(1, round(value / groups)) * groups
        raise ValueError(
            f"{option(name)} {value} does not divide among {among}; the nearest number that does is {nearest}."
        )


def check_discrete(spec: environments.Spec, config: RunConfig):
    """Raise ValueError for an environment whose actions are not discrete."""
    if not isinstance(spec.action, environments.Discrete):
        raise ValueError(f"{config.env} has continuous actions, and {config.name} plays only discrete ones.")


def of_json(config_type: type[RunConfig], name: str, value):
    """The value of an option as config.json has it. Raises ValueError when it is of another type."""
    hint = typing.get_type_hints(config_type)[name]
    if not _fits(hint, value):
        raise ValueError(f"{name} must be {_words(hint)}; got {str(value)[:40]!r}.")
    if isinstance(value, list):
        return tuple(value)
    return float(value) if isinstance(value, str) and str not in _parts(hint) and float in _parts(hint) else value


def _parts(hint) -> tuple:
    """The types of a union, or the type."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _fits(hint, value) -> bool:
    if len(_parts(hint)) > 1:
        return any(_fits(part, value) for part in _parts(hint))
    if typing.get_origin(hint) is typing.Literal:
        return isinstance(value, str) and value in typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, list) and all(_fits(typing.get_args(hint)[0], each) for each in value)
    if hint is float:
        return type(value) in (int, float) or value in ("inf", "-inf", "nan")
    return type(value) is (str if hint is Path else hint)


def _words(hint) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"a list, each of it {_words(typing.get_args(hint)[0])}"
    return " or ".join(TYPES.get(part, str(part)) for part in _parts(hint))


def preset(config_type: type[RunConfig], presets: dict, name: str | None, env: str | None, env_module=None):
    """The options of a preset, for an environment of its kind.

    Args:
      config_type: the algorithm's options.
      presets: for "atari" and for "control", which is everything else: options by name; the first is the default.
      name, env, env_module: as given on the command line, or None.

    Raises: ValueError for an unknown preset or environment.
    """
    env = env or config_type.env
    protocol = environments.default_protocol(env)
    kind = presets["atari" if environments.PROTOCOLS[protocol].atari else "control"]
    name = name or next(iter(kind))
    if name not in kind:
        raise unknown("--preset", name, kind, f"for {env}")
    options = {"protocol": protocol, **kind[name], "env": env, "env_module": env_module, "preset": name}
    return config_type(**options)
