"""Worlds drawn as text: a cell is a state, and four actions move to its neighbours."""

import numpy as np

from jaxrl.tabular.worlds import World, make

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left: the actions of Gymnasium's CliffWalking
ARROWS = "↑→↓←"
CLIFF_WALKING = ["............"] * 3 + ["SCCCCCCCCCCG"]
DYNA_MAZE = [".......#G", "..#....#.", "S.#....#.", "..#......", ".....#...", "........."]


def grid(rows: list[str], step: float, goal: float, cliff: float = 0.0, cliff_ends: bool = True) -> World:
    """A world from a drawing.

        . a cell      S where episodes begin      G the goal      # a wall      C the cliff

    A move off the drawing or into a wall stays where it is. The states are numbered row by row, walls too. Nothing
    comes after the goal: its four actions end at once with a reward of 0, as those of walls and of the cliff do.

    Args:
      rows: lines of one length.
      step: reward of a move.
      goal: reward of the move onto the goal, which ends the episode.
      cliff: reward of a move over the cliff.
      cliff_ends: whether that ends the episode; otherwise it goes on from S.

    Returns: the world, with discounts of 1.

    Raises: ValueError for lines of several lengths, an unknown sign, or not one S.
    """
    cells = _cells(rows)
    s_0 = int(np.flatnonzero(cells == "S")[0])
    s_t = np.array([[_neighbour(cells, s, move) for move in MOVES] for s in range(cells.size)])
    to = cells.ravel()[s_t]
    r_t = np.select([to == "G", to == "C"], [goal, cliff], step)
    ends = (to == "G") | (to == "C") & cliff_ends
    s_t = np.where(to == "C", s_0, s_t)
    nowhere = np.isin(cells.ravel(), ["G", "C", "#"])
    r_t[nowhere], ends[nowhere] = 0, True
    return make(np.ones((*s_t.shape, 1)), r_t[..., None], ~ends[..., None], s_t[..., None], s_0)


def cliff_walking(cliff_ends: bool) -> World:
    """The 4 x 12 cliff of S&B example 6.6: −1 a step, −100 for the cliff, from the lower left to the lower right.

    In the book and in Gymnasium's CliffWalking-v1 the walk goes on from the start after a fall (`cliff_ends=False`).
    Where the fall ends the episode, falling costs 100 once, and the values are others.
    """
    return grid(CLIFF_WALKING, step=-1.0, goal=-1.0, cliff=-100.0, cliff_ends=cliff_ends)


def dyna_maze() -> World:
    """The 6 x 9 maze of S&B example 8.1: a reward of 1 at the goal, at least 14 steps away, and 0 everywhere else."""
    return grid(DYNA_MAZE, step=0.0, goal=1.0)


def arrows(policy, shape: tuple[int, int], order: str = ARROWS) -> list[list[str]]:
    """The best actions of each cell as arrows, line by line.

    Args:
      policy: probabilities, or values, [S, A].
      shape: rows and columns, with S cells.
      order: the arrow of each action.
    """
    policy = np.asarray(policy)
    best = (policy == policy.max(1, keepdims=True)).reshape(*shape, -1)
    return [["".join(order[a] for a in np.flatnonzero(cell)) for cell in row] for row in best]


def _cells(rows):
    signs = "".join(rows)
    if len(set(map(len, rows))) != 1 or set(signs) - set(".SG#C") or signs.count("S") != 1:
        raise ValueError(f"a grid has lines of one length, of the signs . S G # C, and one S; got {rows}.")
    return np.array([list(row) for row in rows])


def _neighbour(cells, s, move):
    row, column = (at + by for at, by in zip(divmod(s, cells.shape[1]), move, strict=True))
    inside = 0 <= row < cells.shape[0] and 0 <= column < cells.shape[1]
    return row * cells.shape[1] + column if inside and cells[row, column] != "#" else s
