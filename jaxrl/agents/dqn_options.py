"""The options of DQN and what was added to it, and the presets that other defaults come from."""

import dataclasses
from typing import ClassVar, Literal

from jaxrl.agents import off_policy
from jaxrl.agents.options import Count, Fraction, ImageSize, Positive, PositiveOrInfinite, RunConfig
from jaxrl.algorithms import dqn


@dataclasses.dataclass(frozen=True)
class Config(off_policy.Config):
    """Train DQN and its extensions (an agent step is one action; with a frame skip of 4 it is 4 emulator frames).

    Presets for Atari: fast (the default) and rainbow, for many environments; as published: nature, double-paper,
    prioritized-paper, dueling-paper, c51-paper, qr-paper, rainbow-paper. For everything else: dqn (the default),
    double, dueling, prioritized, rainbow.
    """

    algorithm: ClassVar[str] = "dqn"
    may_change: ClassVar[tuple[str, ...]] = (*RunConfig.may_change, "learning_rate", "max_grad_norm")

    image_size: ImageSize | None = 52
    """Height and width of the observation in pixels."""
    frame_stack: Count | None = 4
    """Newest frames in one observation, as channels."""
    double: bool = False
    """The online network chooses the action that the target network values (Double DQN)."""
    dueling: bool = False
    """The network's values are a state's value and the advantages of the actions (Dueling DQN)."""
    dueling_form: Literal["mean", "max"] = "mean"
    """What is subtracted from the advantages."""
    dueling_rescale: bool = False
    """Multiply the gradient from the two dueling heads into the layers before them by 1/√2, as published."""
    noisy: bool = False
    """Explore by learnt noise in the network's linear layers; set --epsilon-final 0 to explore by this noise alone."""
    distributional: Literal["none", "c51", "qr"] = "none"
    """Learn the distribution of the return: its probabilities on fixed points (c51), or its quantiles (qr)."""
    exploration: Literal["linear", "spectrum"] = "linear"
    """Probability of a random action: the same everywhere and falling, or one for each environment."""
    epsilon_final: Fraction = 0.02
    """That probability in the end; of a spectrum the largest."""
    epsilon_decay: Count = 250_000
    """Agent steps in which it falls to that, from 1."""
    evaluation_epsilon: Fraction = 0.001
    """That probability in evaluations and in the video."""
    learning_rate: Positive = 2.5e-4
    """Learning rate of the optimiser."""
    learning_rate_decay: bool = False
    """Let the learning rate fall linearly to 0 at total_steps."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Adam, or the centred RMSProp of the first DQN."""
    optimizer_epsilon: Positive = 1e-5
    """What keeps the optimiser from dividing by zero."""
    max_grad_norm: PositiveOrInfinite = 10.0
    """Largest global norm of a gradient; larger ones are scaled down to it."""
    loss: Literal["huber", "squared"] = "huber"
    """Loss on the TD error; --distributional brings its own."""
    hidden: tuple[Count, ...] = (512,)
    """Widths of the hidden layers, after the convolutions where observations are images."""
    atoms: Count = 51
    """Points of c51, or quantiles of qr (published with 51 and 200; 200 take a CPU 1.7 times as long to learn)."""
    v_min: float = -10.0
    """Lowest return of c51's points."""
    v_max: float = 10.0
    """Highest return of c51's points."""

    @property
    def name(self) -> str:
        """What the algorithm is called with these options."""
        kinds = [name for name in ("double", "dueling", "prioritized", "noisy") if getattr(self, name)]
        kinds += [self.distributional] * (self.distributional != "none")
        return " ".join(["DQN", *kinds, f"{self.n_step}-step"])

    @property
    def outputs(self) -> int:
        """Outputs that the network has for each action."""
        return 1 if self.distributional == "none" else self.atoms

    @property
    def introduction(self) -> str:
        """What is printed before the run."""
        text = (
            f"{self.name}; {self.num_envs} environments; "
            f"{self.replay_ratio:g} transitions are drawn for each agent step"
        )
        exact = "; without its replay a resumed run is not exact, and fills it again before it learns on"
        return text if self.save_replay else text + exact

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
# "Dueling network architectures" (https://arxiv.org/abs/1511.06581); the rate is said to be lower than Double's, and a
# number given for its prioritised version alone.
DUELING = DOUBLE | {"dueling": True, "dueling_rescale": True, "learning_rate": 6.25e-5, "max_grad_norm": 10.0}
# "A distributional perspective on reinforcement learning" (https://arxiv.org/abs/1707.06887)
C51 = NATURE | {
    "distributional": "c51", "optimizer": "adam", "optimizer_epsilon": 0.01 / 32, "epsilon_final": 0.01,
    "evaluation_epsilon": 0.001,
}  # fmt: skip
# "Distributional reinforcement learning with quantile regression" (https://arxiv.org/abs/1710.10044), with κ = 1
QR = C51 | {"distributional": "qr", "atoms": 200, "learning_rate": 5e-5}
# "Rainbow" (https://arxiv.org/abs/1710.02298), table 1. Its bound on the gradient is that of dueling.
RAINBOW_PAPER = NATURE | RAINBOW | {
    "optimizer": "adam", "learning_rate": 6.25e-5, "optimizer_epsilon": 1.5e-4, "learning_starts": 20_000,
    "target_period": 2_000, "max_grad_norm": 10.0,
}  # fmt: skip
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
# fast: an update from images of 52x52 takes 0.3 of one from 84x84 on a CPU, and acting less, so that four in place of
# one leave the speed as it was (513 and 518 steps/s on one core). Riverraid after 500,000 steps, with
# Glorot's start of the weights: 3,058 against 2,310 (training scores of seed 0). The target network's period is 8,000
# agent steps. With twice that and 1.5e-4 for Adam, beside which Pong's gradients are small: Riverraid 2,407 against
# 3,032 after 500,000 steps, Pong -19.3 against -13.8.
PRESETS = {
    "atari": {
        "fast": {}, "rainbow": RAINBOW, "nature": NATURE, "double-paper": DOUBLE, "prioritized-paper": PRIORITIZED,
        "dueling-paper": DUELING, "c51-paper": C51, "qr-paper": QR, "rainbow-paper": RAINBOW_PAPER,
    },
    "control": {
        "dqn": CONTROL, "double": CONTROL | {"double": True}, "dueling": CONTROL | {"dueling": True},
        "prioritized": PRIORITIZED_CONTROL, "rainbow": RAINBOW_CONTROL,
    },
}  # fmt: skip
