"""The options of `dqn.py`: what they are, the presets that other defaults come from, and which cannot work."""

import dataclasses
import difflib
from typing import ClassVar, Literal

from jaxrl import environments, experiment, replay
from jaxrl.algorithms import dqn


@dataclasses.dataclass(frozen=True)
class Config(experiment.RunConfig):
    """Train DQN and its kin (an agent step is one action; with a frame skip of 4 it is 4 emulator frames).

    --preset gives other defaults than those shown, which are the preset fast; --preset NAME --help shows them.
    """

    algorithm: ClassVar[str] = "dqn"

    preset: str = "fast"
    """Atari: fast, rainbow (both for many environments), nature, double, prioritized, dueling (as published).
    Classic control: dqn, double, dueling, prioritized, rainbow. Options beside it win."""
    image_size: int | None = 52
    """Height and width of the observation in pixels."""
    frame_stack: int | None = 4
    """Newest frames in one observation, as channels."""
    double: bool = False
    """The online network chooses the action that the target network values (Double DQN)."""
    dueling: bool = False
    """The network's values are a state's value and the advantages of the actions (Dueling DQN)."""
    dueling_form: Literal["mean", "max"] = "mean"
    """What is subtracted from the advantages."""
    prioritized: bool = False
    """Draw transitions in proportion to a power of their last error (prioritised replay)."""
    noisy: bool = False
    """Explore by learnt noise in the network's linear layers; --epsilon-final 0 then leaves that alone."""
    distributional: Literal["none", "c51", "qr"] = "none"
    """Learn the distribution of the return: its probabilities on fixed points (c51), or its quantiles (qr)."""
    n_step: int = 3
    """Steps whose rewards are summed before the target bootstraps."""
    collect_steps: int = 1
    """Agent steps of each environment between two turns of learning."""
    updates: int = 4
    """Updates in one turn of learning."""
    batch_size: int = 32
    """Transitions drawn for an update, over all devices."""
    replay_size: int = 500_000
    """Agent steps that the replay holds, over all devices; a step of 52x52 pixels takes 3 kB, of 84x84 7 kB."""
    save_replay: bool = True
    """Keep the replay in checkpoints, which makes a resumed run exact; without, it starts empty and fills up again."""
    learning_starts: int = 20_000
    """Agent steps of random actions before the first update, resets counted in."""
    target_period: int = 1_000
    """Updates (not steps) after which the target network is made equal to the online one; 0 for soft updates."""
    target_rate: float = 0.005
    """How far a soft update moves the target network towards the online one."""
    exploration: Literal["linear", "spectrum"] = "linear"
    """Probability of a random action: the same everywhere and falling, or one for each environment."""
    epsilon_final: float = 0.02
    """That probability in the end; of a spectrum the largest."""
    epsilon_decay: int = 250_000
    """Agent steps in which it falls to that, from 1."""
    evaluation_epsilon: float = 0.001
    """That probability in evaluations and in the video."""
    learning_rate: float = 2.5e-4
    """Learning rate of the optimiser."""
    learning_rate_decay: bool = False
    """Let the learning rate fall linearly to 0 at total_steps."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Adam, or the centred RMSProp of the first DQN."""
    optimizer_epsilon: float = 1e-5
    """What keeps the optimiser from dividing by zero."""
    max_grad_norm: float = 10.0
    """Largest global norm of a gradient; larger ones are scaled down to it."""
    loss: Literal["huber", "squared"] = "huber"
    """Loss of an error of the value; --distributional has losses of its own."""
    gamma: float = 0.99
    """Discount of a reward one agent step later."""
    hidden: tuple[int, ...] = (512,)
    """Widths of the hidden layers, after the convolutions where there are pictures."""
    atoms: int = 51
    """Points of c51, or quantiles of qr (published with 51 and 200; 200 take a CPU 1.7 times as long to learn)."""
    v_min: float = -10.0
    """Lowest return of c51's points."""
    v_max: float = 10.0
    """Highest return of c51's points."""
    priority_exponent: float = 0.6
    """α: priorities are errors to this power; 0 draws uniformly."""
    importance_exponent: float = 0.4
    """β at the start: how much of the bias of drawing by priority the weights undo; it rises to 1 at the end."""

    @property
    def name(self) -> str:
        """What the algorithm is called with these options."""
        kinds = [name for name in ("double", "dueling", "prioritized", "noisy") if getattr(self, name)]
        kinds += [self.distributional] * (self.distributional != "none")
        return " ".join(["DQN", *kinds, f"{self.n_step}-step"])

    @property
    def outputs(self) -> int:
        """Numbers that the network has for each action."""
        return 1 if self.distributional == "none" else self.atoms

    @property
    def replay_ratio(self) -> float:
        """Transitions drawn for each agent step."""
        return self.batch_size * self.updates / (self.num_envs * self.collect_steps)

    @property
    def total_updates(self) -> int:
        """Updates in the whole run (reset rows aside)."""
        turns = (self.total_steps - self.learning_starts) // (self.num_envs * self.collect_steps)
        return max(1, turns * self.updates)

    @property
    def hyperparameters(self) -> dqn.Hyperparameters:
        """What the loss depends on."""
        delta = 1.0 if self.loss == "huber" else float("inf")
        return dqn.Hyperparameters(
            self.double, self.distributional, delta, self.v_min, self.v_max, self.target_period, self.target_rate
        )

    @property
    def exploring(self) -> dqn.Exploration:
        """How actions are made random."""
        return dqn.Exploration(self.exploration, self.learning_starts, self.epsilon_decay, self.epsilon_final)

    def settings(self, pool: environments.Pool) -> replay.Settings:
        """The replay of one device."""
        rows = self.replay_size // self.num_envs // self.collect_steps * self.collect_steps
        stack = pool.observation_shape[-1] if len(pool.observation_shape) == 3 else 1
        return replay.Settings(rows, stack, self.n_step, self.gamma, self.prioritized)


RAINBOW = {
    "double": True, "dueling": True, "prioritized": True, "noisy": True, "distributional": "c51", "n_step": 3,
    "priority_exponent": 0.5, "epsilon_final": 0.0, "epsilon_decay": 1, "evaluation_epsilon": 0.0,
}  # fmt: skip
# "Human-level control through deep reinforcement learning", Extended Data Table 1. Two numbers have other units there:
# RMSProp's 0.01 goes with gradients summed over a batch of 32, which are means here; and the published code counts
# agent steps, four an update, until the target network is renewed (10,000, and 30,000 in the tuned Double DQN).
NATURE = {
    "protocol": "nature", "image_size": 84, "num_envs": 1, "collect_steps": 4, "updates": 1, "batch_size": 32,
    "n_step": 1, "replay_size": 1_000_000,
    "learning_starts": 50_000, "target_period": 2_500, "epsilon_final": 0.1, "epsilon_decay": 1_000_000,
    "evaluation_epsilon": 0.05, "optimizer": "rmsprop", "learning_rate": 2.5e-4, "optimizer_epsilon": 0.01 / 32**2,
    "max_grad_norm": float("inf"), "total_steps": 50_000_000,
}  # fmt: skip
# "Deep reinforcement learning with double Q-learning" (https://arxiv.org/abs/1509.06461), the tuned version
DOUBLE = NATURE | {"double": True, "target_period": 7_500, "epsilon_final": 0.01, "evaluation_epsilon": 0.001}
# "Prioritized experience replay" (https://arxiv.org/abs/1511.05952): the proportional variant, a quarter of the rate
PRIORITIZED = DOUBLE | {"prioritized": True, "learning_rate": 2.5e-4 / 4}
# "Dueling network architectures" (https://arxiv.org/abs/1511.06581)
DUELING = DOUBLE | {"dueling": True, "learning_rate": 6.25e-5, "max_grad_norm": 10.0}
# 10 steps carry values through an episode of 500 soon enough; with 3 and γ = 0.98, dueling got 270 on seed 1.
CONTROL = {
    "env": "CartPole-v1", "protocol": "control", "num_envs": 8, "image_size": None, "frame_stack": None,
    "hidden": (128, 128), "n_step": 10, "gamma": 0.99, "updates": 4, "batch_size": 64, "replay_size": 100_000,
    "learning_starts": 1_000, "target_period": 128, "epsilon_final": 0.05, "epsilon_decay": 10_000,
    "evaluation_epsilon": 0.0, "learning_rate": 1e-3, "learning_rate_decay": True,
    "optimizer_epsilon": 1.5e-4, "total_steps": 100_000, "log_every": 2_000, "checkpoint_every": 25_000,
}  # fmt: skip
# Weights below 1 and cross-entropy make gradients small beside 1e-4. Without them, 1e-6 and a target network renewed
# every 64 updates let Double DQN's values grow without end on seed 0.
PRIORITIZED_CONTROL = CONTROL | {"prioritized": True, "target_period": 64, "optimizer_epsilon": 1e-6}
RAINBOW_CONTROL = PRIORITIZED_CONTROL | RAINBOW | {"n_step": 10, "updates": 1}
# fast: an update from pictures of 52x52 takes 0.3 of one from 84x84 on a CPU, and acting less, so that four in place of
# one leave the speed as it was (513 and 518 steps/s on one core). Riverraid after 500,000 steps, with
# Glorot's start of the weights: 3,058 against 2,310 (training scores of seed 0). The target network's period is 8,000
# agent steps. With twice that and 1.5e-4 for Adam, beside which Pong's gradients are small: Riverraid 2,407 against
# 3,032 after 500,000 steps, Pong -19.3 against -13.8.
PRESETS = {
    "atari": {
        "fast": {}, "rainbow": RAINBOW, "nature": NATURE, "double": DOUBLE, "prioritized": PRIORITIZED,
        "dueling": DUELING,
    },
    "classic_control": {
        "dqn": CONTROL, "double": CONTROL | {"double": True}, "dueling": CONTROL | {"dueling": True},
        "prioritized": PRIORITIZED_CONTROL, "rainbow": RAINBOW_CONTROL,
    },
}  # fmt: skip


def preset(name: str | None, env: str | None) -> Config:
    """The options of a preset, for an environment of its family.

    Raises: ValueError for an unknown preset or environment.
    """
    env = env or Config.env
    presets = PRESETS[environments.family(env)]
    name = name or next(iter(presets))
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=1) or presets
        raise ValueError(f"there is no --preset {name!r} for {env}; did you mean {' or '.join(near)}?")
    options = presets[name] | {"env": env, "preset": name}
    if presets is PRESETS["classic_control"]:  # c51's points go as far as the returns: each step gives 1, or takes 1
        most = float(round(1 / (1 - options["gamma"])))
        options |= {"v_min": 0.0, "v_max": most} if env.startswith("CartPole") else {"v_min": -most, "v_max": 0.0}
    return Config(**options)


def check(config: Config):
    """Raise ValueError, in one sentence, for options that cannot work."""
    experiment.check(config)
    experiment.check_above(
        config, "n_step", "collect_steps", "updates", "batch_size", "replay_size", "learning_starts", "epsilon_decay",
        "learning_rate", "optimizer_epsilon", "max_grad_norm", "atoms",
    )  # fmt: skip
    experiment.check_fraction(
        config, "gamma", "epsilon_final", "evaluation_epsilon", "target_rate", "importance_exponent"
    )
    experiment.check_not_below(config, "target_period", "priority_exponent")
    _check_kind(config)
    _check_sizes(config)


def _check_kind(config: Config):
    """The same, for what is learnt."""
    if config.protocol == "origin":
        raise ValueError("the replay keeps frames as they are, and --protocol origin normalises them; use machado.")
    if not config.hidden or min(config.hidden) < 1:
        raise ValueError(f"--hidden takes one or more widths above 0; got {' '.join(map(str, config.hidden)) or '-'}.")
    if config.distributional != "none" and config.loss != "huber":
        raise ValueError(
            f"--loss {config.loss} is for values, and --distributional {config.distributional} has a loss of its own."
        )
    if config.distributional == "c51" and not (config.v_min < config.v_max and config.outputs > 1):
        raise ValueError("c51 needs at least 2 atoms between --v-min and a --v-max that is larger.")


def _check_sizes(config: Config):
    """The same, for numbers that must fit each other."""
    for name in ("num_envs", "batch_size"):
        value, devices = getattr(config, name), config.device_count
        if value % devices:
            nearest = max(1, round(value / devices)) * devices
            raise ValueError(
                f"{experiment.option(name)} {value} does not divide among {devices} devices; the nearest number that "
                f"does is {nearest}."
            )
    if config.batch_size > config.learning_starts:
        raise ValueError(
            f"--batch-size {config.batch_size} is more than the {config.learning_starts} steps that learning starts "
            f"with; raise --learning-starts, or draw at most as many."
        )
    if config.learning_starts >= config.total_steps:
        raise ValueError(
            f"--learning-starts {config.learning_starts} leaves none of --total-steps {config.total_steps} to learn in."
        )
    if config.checkpoint_every < 2 * config.num_envs:
        raise ValueError(
            f"--checkpoint-every {config.checkpoint_every} must be at least twice the {config.num_envs} environments, "
            f"as a checkpoint cuts the games and the step before a cut cannot be learnt from."
        )
    if config.learning_starts > config.replay_size:
        raise ValueError(
            f"--learning-starts {config.learning_starts} is more than --replay-size {config.replay_size} can hold."
        )
