"""Protocols: named sets of rules for playing a game, so that scores can be compared.

A protocol is plain data; it travels with a checkpoint and a results file (`dataclasses.asdict`).
"""

from dataclasses import dataclass

from jaxrl.nearest import unknown

REWARDS = ("raw", "sign", "root")
NORMALIZATIONS = ("none", "exponential")


@dataclass(frozen=True)
class Protocol:
    """How a game is played, seen and scored. Durations are in agent steps unless they say frames.

    Attributes:
        name: key in `PROTOCOLS`.
        height, width, stack: size of an observation, and how many of the latest frames are in it; None leaves the
            observation as the environment gives it.
        repeat_action_probability: "sticky actions": the chance, at every frame, that the emulator repeats its
            last action in place of the one given.
        frame_skip: (fewest, most) frames one action is held for, drawn uniformly, both ends included.
        max_pool: the image is the maximum of the last two frames (against sprites that flicker).
        noop_max: a game starts with 1 to noop_max frames of no-op; None for none, which EnvPool cannot do.
        fire_reset: the last of these frames presses FIRE instead, in a game that has it.
        episodic_life: in training, a lost life ends the episode (not the game).
        max_episode_steps: the time limit of a game; None for the environment's own.
        reward: what is learnt from: "raw", the points r; "sign", sign(r); "root", sign(r) √(|r| / 100).
        normalization: "none", or "exponential" for `normalize`.

    Raises: ValueError for a noop_max or a frame_skip below 1, or an unknown reward or normalization.
    """

    name: str
    height: int | None = None
    width: int | None = None
    stack: int | None = None
    repeat_action_probability: float = 0.0
    frame_skip: tuple[int, int] = (1, 1)
    max_pool: bool = False
    noop_max: int | None = None
    fire_reset: bool = False
    episodic_life: bool = False
    max_episode_steps: int | None = None
    reward: str = "raw"
    normalization: str = "none"

    def __post_init__(self):
        if self.noop_max is not None and self.noop_max < 1:  # EnvPool would end the process
            raise ValueError(f"noop_max must be at least 1, or None for no no-ops, got {self.noop_max}")
        if not 1 <= self.frame_skip[0] <= self.frame_skip[1]:
            raise ValueError(f"frame_skip must be (fewest, most) frames of at least 1, got {self.frame_skip}")
        if self.reward not in REWARDS:
            raise unknown("reward", self.reward, REWARDS)
        if self.normalization not in NORMALIZATIONS:
            raise unknown("normalization", self.normalization, NORMALIZATIONS)

    @property
    def atari(self) -> bool:
        """Whether it is for Atari; it then says what the image is."""
        return self.height is not None


# Sticky actions, and no end on a lost life: Machado et al. (2018), "Revisiting the Arcade Learning
# Environment", https://arxiv.org/abs/1709.06009. The skip of 4, the maximum of two frames and the 27,000
# steps (108,000 frames, half an hour) are Dopamine's: Castro et al. (2018), https://arxiv.org/abs/1812.06110.
# Neither starts with no-ops or FIRE; one frame of no-op is the least that EnvPool can do. 42 x 42 without a
# stack is for the A3C-LSTM, which remembers what a stack would show.
MACHADO = Protocol(
    name="machado",
    height=42,
    width=42,
    stack=1,
    repeat_action_probability=0.25,
    frame_skip=(4, 4),
    max_pool=True,
    noop_max=1,
    max_episode_steps=27_000,
    reward="sign",
)

# Mnih et al. (2015), "Human-level control through deep reinforcement learning", doi:10.1038/nature14236,
# Methods and Extended Data Table 1. FIRE is the custom of the implementations that followed, for games that
# wait for it. EnvPool repeats the no-ops, and drops what they score, after each lost life as well: report
# scores from pools made with training=False.
NATURE = Protocol(
    name="nature",
    height=84,
    width=84,
    stack=4,
    frame_skip=(4, 4),
    max_pool=True,
    noop_max=30,
    fire_reset=True,
    episodic_life=True,
    max_episode_steps=27_000,
    reward="sign",
)

# This project's origin: an A3C-LSTM on Gym's Riverraid-v0, that is sticky actions, a random skip of 2, 3 or 4
# frames of which the last is seen, and 10,000 steps. The image is cropped, halved and shrunk
# (`origin_frame`), then normalised by its running mean and deviation (`normalize`).
ORIGIN = Protocol(
    name="origin",
    height=42,
    width=42,
    stack=1,
    repeat_action_probability=0.25,
    frame_skip=(2, 4),
    max_episode_steps=10_000,
    reward="sign",
    normalization="exponential",
)

# Everything but Atari (CartPole-v1, FrozenLake-v1, LunarLander-v3, gymnasium:...): the environment as it is, with
# its own reward, and its own time limit (1000 steps for CliffWalking, which has none).
CONTROL = Protocol(name="control")

PROTOCOLS = {protocol.name: protocol for protocol in (MACHADO, NATURE, ORIGIN, CONTROL)}
