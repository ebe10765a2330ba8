"""See how a trained agent plays and why its games end: a table, a figure, and a video with what it thinks.

jaxrl inspect RUN_DIR
"""

import dataclasses
import itertools
from pathlib import Path

import jax

from jaxrl import environments, rollout
from jaxrl.agent import Agent
from jaxrl.agents import AGENTS, memory
from jaxrl.agents.options import Count, RunConfig, check_bounds
from jaxrl.commands.games import Games
from jaxrl.shell import files, frozen, inspection, metrics, plots, provenance, video
from jaxrl.shell.frozen import Frozen
from jaxrl.shell.mistakes import reason
from jaxrl.shell.seeds import seed_for
from jaxrl.shell.thoughts import Thoughts

PACKAGES = ("flax", "envpool", "ale-py")


@dataclasses.dataclass(frozen=True)
class Config(Games):
    """Play whole games with a frozen agent, and look at lives, rewards, actions and expectations."""

    games: Count = 20
    """Whole games to play."""
    output: Path | None = None
    """Folder for inspection.md, .json, .png and .mp4; by default the run's."""
    video: bool = True
    """Record a game with policy and value drawn beside the picture."""


def main(config: Config):
    """Play, print, and write table, figure and video."""
    check_bounds(config)
    if config.run_dir is None:
        raise ValueError("give the folder of a run.")
    trained = frozen.trained_as(config.run_dir)
    played = frozen.played_as(trained, config.env, config.protocol)
    frozen.refuse_other_actions(trained, played, config.run_dir)
    folder, spec = config.output or config.run_dir, played.spec()
    if not folder.is_dir():
        raise ValueError(f"--output {folder} is not a folder.")
    memory.check(dataclasses.replace(played, num_envs=min(config.num_envs, config.games)))
    agent, player = AGENTS[trained.algorithm].make(trained, spec), frozen.load(config.run_dir, config.checkpoint)
    if agent.policy.look is None:
        raise ValueError(f"{trained.name} does not tell what it thinks; there is nothing to inspect.")
    names = environments.action_names(played.env, spec.action.n)
    games = play(config, agent, played, player)
    found = inspection.summary(games, names)
    if played.env.startswith("Riverraid") and games[0].ram is not None:
        found["riverraid"] = inspection.riverraid(games)
    print(page := table(found), flush=True)
    files.write_text(folder / "inspection.md", page)
    measured = provenance.measured_on(*PACKAGES) | {"checkpoint": player.step, "greedy": config.greedy}
    files.write_json(folder / "inspection.json", found | measured | {"seed": config.seed})
    title = f"{trained.name} on {played.env}, {len(games)} games of the checkpoint at {player.step:,} agent steps"
    print(f"the figure is {plots.inspection(folder, title, games, found)}")
    if config.video:
        record(config, agent, played, player, names, folder / "inspection.mp4")


def play(config: Config, agent: Agent, played: RunConfig, player: Frozen) -> list[inspection.Game]:
    """The games, with progress."""
    pool = played.make_pool(min(config.num_envs, config.games), config.seed, training=False)
    normalizer = rollout.shared_normalizer(player.normalizer, pool.num_envs)
    with metrics.Progress(config.games, unit="games") as progress:
        key = jax.random.key(config.seed)
        games = inspection.watch(
            agent.policy, player.params, pool, config.games, key, config.greedy, normalizer, progress.show
        )
    pool.close()
    return games


def record(config: Config, agent: Agent, played: RunConfig, player: Frozen, names: list[str], path: Path):
    """One more game as a video with what the agent thinks, where one can be made."""
    normalizer, seed = rollout.shared_normalizer(player.normalizer, 1), seed_for("video", config.seed)
    try:
        pool = played.make_pool(1, seed, training=False, render=True)
        steps = inspection.steps(agent.policy, player.params, pool, jax.random.key(seed), config.greedy, normalizer)
        score = video.write(path, pool.protocol, pictures(steps, pool, names))
        print(f"a game of {score:,.0f} points is in {path}")
    except Exception as error:  # the figures are there
        print(f"no video was made: {reason(error)}")


def pictures(steps, pool, names: list[str]):
    """The frames of a game with what the agent thought when it saw them, each with the reward of the step after.

    (The first thought stands beside the second frame: the game begins with the first step that is asked for.)
    """
    after = thoughts = None
    for step in itertools.islice(steps, video.MOST_STEPS):
        before, after = after, video.enlarged(pool.render())
        thoughts = thoughts or Thoughts(names, len(after))
        shown = after if before is None else before
        yield thoughts.beside(shown, step["preference"][0], step["v"][0], step["a_t"][0]), step["r_t"][0]
        if step["game_over"][0]:
            return


def table(found: dict) -> str:
    """The numbers in Markdown."""
    lines = [
        f"{found['games']} games: score {found['score']:,.0f}, {found['length']:,.0f} agent steps, "
        f"{found['unchanged']:.1%} of them without a change of the picture; mean expected return {found['value']:.2f}.",
        "", "| life | games | steps | median | points | unchanged |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for n, life in enumerate(found["lives"], 1):
        lines.append(
            f"| {n} | {life['games']} | {life['length']:,.0f} | {life['median_length']:,.0f} | {life['points']:,.0f} "
            f"| {life['unchanged']:.1%} |"
        )
    lines += ["", "| reward | a game | share of the points |", "|---|---|---|"]
    lines += [f"| {kind} | {each['a_game']:.1f} | {each['share']:.0%} |" for kind, each in found["rewards"].items()]
    lines += ["", "| action | taken | preference |", "|---|---|---|"]
    lines += [f"| {name} | {a['taken']:.1%} | {a['preference']:.3f} |" for name, a in found["actions"].items()]
    before = found["value_before_a_lost_life"]
    lines += ["", "| steps before a lost life | " + " | ".join(before) + " |", "|---" * (len(before) + 1) + "|"]
    lines += ["| expected return | " + " | ".join(f"{value:.2f}" for value in before.values()) + " |"]
    if ram := found.get("riverraid"):
        lines += [
            "",
            f"Riverraid's RAM: the tank is {ram['fuel_at_crash_median']:.0%} full at the median crash, empty at "
            f"{ram['fuel_empty']:.1%} of them; {ram['steps_from_crash_to_next_life_median']:.0f} steps from a crash "
            "to the next life.",
        ]
    return "\n".join(lines) + "\n"
