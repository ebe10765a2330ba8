"""Kill runs at chosen moments, resume them, and hold them against uninterrupted ones, to the bit.

    make torture                      # 200 kills; goes on where it stopped
    make torture ARGS="--kills 20"    # fewer
    make torture ARGS="--only dqn_pong --seconds 3000"

Each series is one run, killed five times at moments drawn by its seed. What is known is written after every series to
results/reliability.json and results/reliability.md.
"""

import dataclasses
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from faults import MOMENTS, ROOT, Run, differences, litter

from jaxrl.nearest import unknown
from jaxrl.shell import cli, files, provenance

KILLS = 5  # in a series
SHARED = ("--evaluation-games", 2, "--no-video")
PONG = ("--env", "Pong-v5", "--num-envs", 4, *SHARED)
REPLAY = ("--learning-starts", 100, "--replay-size", 1000, "--batch-size", 16)
KINDS = {  # script, its options, and the kills of a long form
    "a3c_cartpole": ("a3c", ("--env", "CartPole-v1", "--total-steps", 600_000, "--checkpoint-every", 100_000,
                             "--log-every", 20_000, *SHARED), 50),
    "a3c_pong": ("a3c", (*PONG, "--t-max", 5, "--total-steps", 1800, "--checkpoint-every", 300, "--log-every", 60), 50),
    "dqn_cartpole": ("dqn", ("--env", "CartPole-v1", "--total-steps", 18_000, "--checkpoint-every", 3_000,
                             "--log-every", 500, *SHARED), 40),
    "dqn_pong": ("dqn", (*PONG, *REPLAY, "--total-steps", 1200, "--checkpoint-every", 200, "--log-every", 50), 30),
    "rainbow_pong": ("dqn", (*PONG, *REPLAY, "--preset", "rainbow", "--total-steps", 900, "--checkpoint-every", 150,
                             "--log-every", 50), 30),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """Kill and resume runs until so many kills are known."""

    kills: int = sum(kills for *_, kills in KINDS.values())
    """Kills over all kinds of runs, those of earlier calls counted in."""
    seconds: float = float("inf")
    """Begin no further series after this time."""
    only: str = ""
    """Only this kind of run."""
    output: Path = ROOT / "results"
    """Folder of reliability.json and reliability.md, which are gone on with."""
    scratch: Path = Path(tempfile.gettempdir()) / "jaxrl-torture"
    """Folder for the runs."""


def main(config: Config):
    """Play one series after another, the kinds in turn, and write down what came of each."""
    began, path = time.monotonic(), config.output / "reliability.json"
    series = files.read_json(path)["series"] if path.exists() else []
    while (kind := next_kind(config, series)) and time.monotonic() - began < config.seconds:
        seed = sum(one["kind"] == kind for one in series)
        series.append(play(kind, seed, config.scratch))
        print(series[-1], flush=True)
        files.write_json(path, {"series": series, **provenance.measured_on("orbax-checkpoint", "envpool")})
        files.write_text(config.output / "reliability.md", page(series))
    print(f"{sum(len(one['kills']) for one in series)} kills; {sum(not one['equal'] for one in series)} runs differ")


def next_kind(config: Config, series: list[dict]) -> str | None:
    """The kind of run that has the smallest part of its kills; None when all have theirs."""
    shares = {kind: kills for kind, (*_, kills) in KINDS.items() if config.only in ("", kind)}
    if not shares:
        raise unknown("kind of run", config.only, KINDS)
    done = Counter({kind: 0 for kind in shares})
    for one in series:
        done[one["kind"]] += len(one["kills"])
    parts = {kind: done[kind] * sum(shares.values()) / (kills * config.kills) for kind, kills in shares.items()}
    kind = min(parts, key=parts.get)
    return kind if parts[kind] < 1 else None


def play(kind: str, seed: int, scratch: Path) -> dict:
    """One run, killed and resumed, against the same run left alone."""
    scratch.mkdir(parents=True, exist_ok=True)
    script, options, _ = KINDS[kind]
    options = (*options, "--seed", seed)
    whole = Run(script, options, scratch / f"{kind}_{seed}_whole")
    killed = Run(script, options, scratch / f"{kind}_{seed}_killed")
    for run in (whole, killed):
        shutil.rmtree(run.run_dir, ignore_errors=True)
        run.log.unlink(missing_ok=True)
    whole.finish(3600)
    rng, kills = random.Random(f"{kind} {seed}"), []
    for _ in range(KILLS):
        moment = rng.choice(list(MOMENTS))
        if not killed.kill(moment, rng, 3600):
            break  # the run ended before
        kills.append(moment)
    killed.finish(3600)
    found = differences(whole.run_dir, killed.run_dir) + litter(killed.run_dir)
    result = {"kind": kind, "seed": seed, "kills": kills, "equal": not found, "differences": found[:5],
              "traceback": "Traceback" in killed.log.read_text(), "commit": provenance.commit()}  # fmt: skip
    if not found:
        for run in (whole, killed):
            shutil.rmtree(run.run_dir)
            run.log.unlink()
    return result


def page(series: list[dict]) -> str:
    """The table of results/reliability.md."""
    lines = [
        "# Kills", "",
        "SIGKILLs at chosen moments, each followed by a resumption; the run is then held against one that was left",
        "alone: every row of metrics.csv but its clocks, config.json, every array of every checkpoint, and every",
        "evaluation that both have. `make torture` made this table, and goes on with it; `reliability.json` has every",
        "series.", "",
        f"| kind | runs | kills | {' | '.join(MOMENTS)} | equal to the bit |", "|---" * (4 + len(MOMENTS)) + "|",
    ]  # fmt: skip
    for kind in dict.fromkeys(one["kind"] for one in series):
        mine = [one for one in series if one["kind"] == kind]
        count = Counter(moment for one in mine for moment in one["kills"])
        moments = " | ".join(str(count[moment]) for moment in MOMENTS)
        equal = f"{sum(one['equal'] for one in mine)} of {len(mine)}"
        lines.append(f"| {kind} | {len(mine)} | {count.total()} | {moments} | {equal} |")
    commands = [f"- {kind}: `{' '.join(['experiments/' + script + '.py', *map(str, options)])} --seed SEED`"
                for kind, (script, options, _) in KINDS.items()]  # fmt: skip
    return "\n".join([*lines, "", *commands, ""])


if __name__ == "__main__":
    cli.run(main, Config)
