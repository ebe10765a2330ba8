"""The one adapter of ale-py: an Atari game by a protocol's rules, as a Gymnasium environment.

It runs in processes of its own, and so imports no JAX (nor anything of jaxrl, which would).
"""

import multiprocessing
import signal
from collections.abc import Callable

import ale_py
import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

ROWS = 210  # of a screen, as EnvPool has it; a few games have 250, of which it shows the first
NOOP, FIRE = ale_py.Action.NOOP, ale_py.Action.FIRE


class AtariGame(gymnasium.Env):
    """A game with a fixed frame skip, to the bit what EnvPool plays from a seed; see `Protocol` for the arguments.

    The flags of a step are three: a game that is over is terminated, a game that the time limit cut is truncated,
    and a lost life, under episodic life, is both. The reset after a lost life plays its no-ops and goes on.
    """

    def __init__(
        self,
        rom: str,
        *,
        height: int,
        width: int,
        stack: int,
        frame_skip: int,
        max_pool: bool,
        noop_max: int | None,
        fire_reset: bool,
        episodic_life: bool,
        max_episode_steps: int,
        repeat_action_probability: float,
    ):
        self._rom, self._size, self._skip = ale_py.roms.get_rom_path(rom), (height, width), frame_skip
        self._seen = min(2, frame_skip) if max_pool else 1  # how many of the last frames
        self._noop_max, self._episodic_life, self._limit = noop_max, episodic_life, max_episode_steps
        self._ale = ale_py.ALEInterface()
        self._ale.setFloat("repeat_action_probability", repeat_action_probability)
        self._ale.loadROM(self._rom)
        self._actions = self._ale.getMinimalActionSet()
        self._fire = fire_reset and FIRE in self._actions
        self.action_space = gymnasium.spaces.Discrete(len(self._actions))
        self.observation_space = gymnasium.spaces.Box(0, 255, (height, width, stack), np.uint8)
        self._stack = np.zeros((height, width, stack), np.uint8)
        self._elapsed = self._lives = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        if seed is not None:
            self._random = np.random.RandomState(seed)  # C++'s std::mt19937, of which EnvPool draws
            self._ale.setInt("random_seed", seed)
            self._ale.loadROM(self._rom)  # which is when the seed is read
        ended = self._ale.game_over() or self._elapsed >= self._limit
        new = bool(options) or ended or not self._episodic_life
        if new:
            self._ale.reset_game()
            self._elapsed = 0
        for _ in range(self._draw_noops()):
            self._ale.act(NOOP)
            if self._ale.game_over():
                self._ale.reset_game()
                new = True
        if self._fire:
            self._ale.act(FIRE)
        self._lives = self._ale.lives()
        self._screen = self._look()
        return self._push(all_frames=new), {}

    def step(self, action: int):
        points, screens, over = 0, [], False
        for i in range(self._skip):
            points += self._ale.act(self._actions[action])
            over = self._ale.game_over()
            if i >= self._skip - self._seen:
                screens.append(self._look())
            if over:
                break
        if screens:  # else the last frame of the game is the one before, as EnvPool has it
            self._screen = np.maximum.reduce(screens)
        self._elapsed += 1
        lives, before = self._ale.lives(), self._lives
        self._lives = lives
        truncated = not over and self._elapsed >= self._limit
        lost = self._episodic_life and 0 < lives < before and not truncated
        return self._push(all_frames=False), points, over or lost, truncated or lost, {}

    def render(self) -> np.ndarray:
        return self._ale.getScreenRGB()

    def _look(self) -> np.ndarray:
        return self._ale.getScreenGrayscale()[:ROWS]

    def _draw_noops(self) -> int:
        if self._noop_max is None:
            return 0
        word = int(self._random.randint(2**32, dtype=np.uint32))
        return (word * self._noop_max >> 32) + 1 - self._fire

    def _push(self, all_frames: bool) -> np.ndarray:
        self._stack[..., :-1] = self._stack[..., 1:]
        frame = area_resize(self._screen, *self._size)[..., None]
        self._stack[..., slice(None) if all_frames else slice(-1, None)] = frame
        return self._stack


def area_resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """OpenCV's INTER_AREA to the last bit, for shrinking: the mean over the area that a target pixel covers.

        (A p)_i = Σ_j a_ij p_j,      a_ij = the part of [i s, (i + 1) s] that pixel j covers, over s = source / target

    along rows, then along columns, each sum in float32 from the left, as OpenCV adds, and rounded half to even.

    Args:
        image: uint8 [H, W], H and W at least height and width.

    Returns: uint8 [height, width].
    Raises: ValueError for a size below 1 or above the image's.
    """
    if not (1 <= height <= image.shape[0] and 1 <= width <= image.shape[1]):
        raise ValueError(f"an image of {image.shape} can only be shrunk, at most to 1 x 1, not to {(height, width)}")
    rows, columns = image.shape[0] // height, image.shape[1] // width
    if (rows * height, columns * width) == image.shape:
        return _whole_areas(image.reshape(height, rows, width, columns).sum((1, 3)), rows, columns)
    return np.rint(_shrink(_shrink(image.astype(np.float32).T, width).T, height)).astype(np.uint8)


def _whole_areas(total: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Sums of whole pixels are exact; of 2 x 2 OpenCV rounds the half up."""
    if rows == columns == 2:
        return ((total + 2) >> 2).astype(np.uint8)
    return np.rint(total.astype(np.float32) * np.float32(1 / (rows * columns))).astype(np.uint8)


def _shrink(lines: np.ndarray, target: int) -> np.ndarray:
    """float32 [source, n] -> [target, n]."""
    pixels, weights = _areas(len(lines), target)
    total = np.zeros((target, lines.shape[1]), np.float32)
    for pixel, weight in zip(pixels, weights, strict=True):
        total += lines[pixel] * weight[:, None]
    return total


def _areas(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of each area, from the left, and their weights (0 beyond its end): [most, target] both."""
    scale = source / target
    low, high = np.arange(target) * scale, np.arange(1, target + 1) * scale
    pixels = np.floor(low).astype(int) + np.arange(int(np.ceil(scale)) + 1)[:, None]
    covered = np.minimum(pixels + 1, high) - np.maximum(pixels, low)
    weights = np.where(pixels < source, covered.clip(0) / np.minimum(scale, source - low), 0)
    return pixels.clip(0, source - 1), weights.astype(np.float32)


def group(make_game: Callable[[], gymnasium.Env], size: int) -> SyncVectorEnv:
    """Several games that one process steps one by one."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    silence()
    gymnasium.register_envs(ale_py)
    games = SyncVectorEnv([make_game] * size, copy=False, autoreset_mode=AutoresetMode.NEXT_STEP)
    games._add_info = lambda *_: {}  # nothing reads them, and AsyncVectorEnv cannot merge those of groups
    return games


def silence() -> None:
    """No banner of the emulator, but its errors."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
