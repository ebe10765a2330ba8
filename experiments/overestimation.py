"""How much more a Q-network promises than its policy then gets: what Double DQN mends.

python experiments/overestimation.py RUN_DIR [RUN_DIR ...]

For every checkpoint that a run of experiments/dqn.py still has, whole games are played with the frozen policy. Over
the states s_t that were visited,

    predicted = mean max_a q(s_t, a)          realised = mean Σ_k γ^k r_{t+k}, to the end of the game,

in the rewards that the agent learnt from. A game that the time limit cuts goes on from the predicted value of its final
observation. A run under a protocol with episodic life learnt the return of a life, and is measured by that of the game.

Source: "Deep reinforcement learning with double Q-learning" by van Hasselt et al. (https://arxiv.org/abs/1509.06461),
figure 3.
"""

from jaxrl.shell import signals

signals.quiet(__name__)

import dataclasses
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxrl import rollout
from jaxrl.agents import dqn, memory
from jaxrl.agents.options import Count, Natural, check_bounds
from jaxrl.algorithms.dqn import action_values, apply
from jaxrl.returns import gae
from jaxrl.rollout import Row
from jaxrl.shell import cli, files, folder, metrics, plots, provenance
from jaxrl.shell.checkpoint import Checkpoints
from jaxrl.shell.evaluation import quota_of, uninterrupted

CHUNK = 64


@dataclasses.dataclass(frozen=True)
class Config:
    """Compare the values that runs of DQN predict with the returns that they get, at each of their checkpoints."""

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Folders of runs of experiments/dqn.py, for example one plain and one with --double."""
    games: Count = 10
    """Whole games that each checkpoint plays."""
    greedy: bool = False
    """Take the best action; by default the run's evaluation epsilon makes it now and then random."""
    num_envs: Count = 10
    """Environments that play at once; each plays an equal share of the games."""
    seed: Natural = 12345
    """Seed of the environments and the actions; the same seed gives the same games."""
    output: Path = Path("results/overestimation")
    """Folder for overestimation.json and curve.png; made when missing."""


class Run(NamedTuple):
    """A run's folder, its options, and its checkpoints as (agent step, parameters)."""

    run_dir: Path
    config: dqn.Config
    checkpoints: list[tuple[int, Any]]


class Steps(NamedTuple):
    """What was predicted in each step, max_a q [T, N], and what came of it."""

    value: np.ndarray
    row: Row


def main(config: Config):
    """Play with every checkpoint of every run, and write the numbers and their figure."""
    check(config)
    runs = [load(run_dir) for run_dir in config.run_dirs]  # all at once: a run that goes on drops its oldest
    for run in runs:
        memory.check(dataclasses.replace(run.config, num_envs=min(config.num_envs, config.games)))
    config.output.mkdir(parents=True, exist_ok=True)
    results = [describe(run) | {"checkpoints": []} for run in runs]
    pairs = zip(runs, results, strict=True)
    todo = [(run, result, *checkpoint) for run, result in pairs for checkpoint in run.checkpoints]
    with metrics.Progress(config.games * len(todo), unit="games") as progress:
        for number, (run, result, step, params) in enumerate(todo):
            row = {"agent_steps": step} | evaluate(config, run, params, progress, config.games * number)
            result["checkpoints"].append(row)
            progress.note(line(run, row))
    options = {name: getattr(config, name) for name in ("games", "greedy", "num_envs", "seed")}
    content = options | {"runs": results} | provenance.measured_on("flax", "envpool")
    files.write_json(config.output / "overestimation.json", content)
    draw_curve(config.output, results, "What Q-networks predict, and what they get")
    print(f"overestimation.json and curve.png are in {config.output}")


def check(config: Config):
    """Raise ValueError, in one sentence, for options that cannot work."""
    if not config.run_dirs:
        raise ValueError("give the folder of one or more runs of experiments/dqn.py.")
    check_bounds(config)
    if config.output.exists() and not config.output.is_dir():
        raise ValueError(f"--output {config.output} is a file; give a folder.")


def load(run_dir: Path) -> Run:
    """A run with the parameters of all its checkpoints.

    Raises: ValueError for a folder that is not that of a run of DQN, or that has no whole checkpoint.
    """
    options = folder.saved_config(dqn.Config, run_dir)
    agent = dqn.make(options, options.spec())
    like = jax.eval_shape(lambda key: agent.frozen(agent.init(key)), jax.random.key(0))
    checkpoints = Checkpoints.open(run_dir / "checkpoints")
    frozen = {"params": like, "normalizer": None}
    policies = [(step, checkpoints.restore_policy(frozen, step)["params"]) for step in checkpoints.steps()]
    checkpoints.close()
    return Run(run_dir, options, policies)


def evaluate(config: Config, run: Run, params, progress: metrics.Progress, before: int) -> dict:
    """Play with one checkpoint in a fresh pool, after so many games of others, and compare."""
    quota = np.array(quota_of(config.games, min(config.num_envs, config.games)))
    pool = run.config.make_pool(len(quota), config.seed, training=False)
    key = jax.random.key(config.seed)
    steps = play(run.config, params, pool, quota, key, config.greedy, lambda n: progress.show(before + n))
    pool.close()
    return compare(steps, quota, run.config.gamma) | {"params_digest": metrics.params_digest(params)}


def play(config: dqn.Config, params, pool, quota, key, greedy: bool, on_chunk) -> Steps:
    """Play until environment i has ended quota[i] games and taken one step more, in which it resets itself."""
    network, agent = dqn.network_of(config, pool.spec), dqn.make(config, pool.spec)

    @jax.jit
    def chunk(actor, params):
        def act(memory, observation, first, key):
            q = action_values(apply(network, params, observation), config.hyperparameters)  # compiled, acting shares it
            return *agent.policy.act(params, memory, observation, first, key, greedy=greedy), q.max(-1)

        actor, steps = rollout.rollout(actor, act, pool.step, CHUNK)
        return actor, Steps(steps.extras, steps.row)

    actor = rollout.init(pool.reset(), agent.policy.initial_memory(pool.num_envs), None, key)
    chunks, ended = [], np.zeros_like(quota)
    while (ended < quota).any():
        with uninterrupted():
            actor, seen = chunk(actor, params)
            chunks.append(jax.device_get(seen))
        ended = sum(part.row.done.sum(0) for part in chunks) - chunks[-1].row.done[-1]
        on_chunk(int(np.minimum(ended, quota).sum()))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *chunks)


@jax.jit
def realised(r_t, terminated, done, v_t, gamma) -> jax.Array:
    """The discounted return [T] from each row of one stream to the end of its game, and where that was cut on to v_t.

    With values of 0 everywhere else it is an advantage estimate with λ = 1.
    """
    cut = done & ~terminated
    return gae(r_t, gamma * ~terminated, jnp.zeros_like(r_t), jnp.where(cut, v_t, 0.0), 1.0 - cut)


def compare(steps: Steps, quota, gamma: float) -> dict:
    """Means over the states of the first quota[i] games of environment i, and the same of each game."""
    value, now = jax.tree.map(lambda leaf: leaf[:-1], steps)
    v_t = steps.value[1:]  # a reset row values the final observation
    returns = jax.vmap(realised, (1, 1, 1, 1, None), 1)(now.r_t, now.terminated, now.done, v_t, gamma)
    ordinal = np.cumsum(now.done, 0) - now.done
    counts = now.valid & (ordinal < quota)
    game = (ordinal + np.cumsum(quota) - quota)[counts]
    states, predicted, got = (np.bincount(game, np.asarray(leaf)[counts]) for leaf in (counts, value, returns))
    summary = {"predicted": predicted.sum() / states.sum(), "realised": got.sum() / states.sum()}
    over = summary["predicted"] - summary["realised"]
    return summary | {
        "overestimation": over,
        "standard_error": standard_error(predicted - got, states, over),
        "games_cut": int((now.done & ~now.terminated & counts).sum()),
        "states": states.astype(int).tolist(),
        "predicted_by_game": (predicted / states).tolist(),
        "realised_by_game": (got / states).tolist(),
    }


def standard_error(total, states, mean: float) -> float | None:
    """That of a mean over states, which are alike within a game: of the games' totals [G]; None for one game."""
    games = len(states)
    return None if games == 1 else np.sqrt(np.sum((total - mean * states) ** 2) * games / (games - 1)) / states.sum()


def draw_curve(folder: Path, runs: list[dict], title: str = "") -> Path:
    """Draw curve.png in a folder: predicted and realised values above, the difference of the two below.

    Args:
      folder: where the figure goes.
      runs: for each its "name" and its "checkpoints", rows of `evaluate`.
      title: the figure's title.

    Returns: the figure's path.
    """
    figure, values, difference = plots.panels(title, height_ratios=(2, 1))
    draw_values(values, difference, runs)
    return plots.save(figure, folder)


def draw_values(values, difference, runs: list[dict]):
    """One colour a run: solid is predicted, dashed is realised; and the difference with its standard errors."""
    for number, run in enumerate(runs):
        columns = {name: [row[name] for row in run["checkpoints"]] for name in run["checkpoints"][0]}
        steps, style = plots.millions(columns["agent_steps"]), {"color": f"C{number}", "marker": "o", "markersize": 4}
        values.plot(steps, columns["predicted"], label=run["name"], **style)
        values.plot(steps, columns["realised"], linestyle="--", **style)
        error = [value or 0.0 for value in columns["standard_error"]]
        difference.errorbar(steps, columns["overestimation"], yerr=error, capsize=2, **style)
    for name, linestyle in [("predicted, max q", "-"), ("realised, discounted return", "--")]:
        values.plot([], [], color="0.3", linestyle=linestyle, label=name)
    difference.axhline(0.0, color="0.3", linewidth=1)
    values.set(ylabel="value of visited states")
    difference.set(xlabel="agent steps (millions)", ylabel="predicted − realised")
    values.legend(frameon=False)


def describe(run: Run) -> dict:
    """What the numbers of a run depend on."""
    options = {name: getattr(run.config, name) for name in ("env", "protocol", "seed", "gamma", "evaluation_epsilon")}
    name = f"{run.config.name} on {run.config.env}, seed {run.config.seed}"
    return {"run": str(run.run_dir), "name": name} | options


def line(run: Run, row: dict) -> str:
    """A checkpoint's numbers for the terminal."""
    error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.3f}"
    numbers = f"predicted {row['predicted']:.3f}, realised {row['realised']:.3f}"
    return f"{run.run_dir} at {row['agent_steps']:,}: {numbers}, overestimation {row['overestimation']:.3f}{error}"


if __name__ == "__main__":
    cli.run(main, Config)
