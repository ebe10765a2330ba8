"""No two things that a run does play the same games."""

import dataclasses
import itertools

import numpy as np

from jaxrl import environments
from jaxrl.agents import a3c
from jaxrl.shell import launch, loop
from jaxrl.shell.seeds import PURPOSES, seed_for


def test_no_two_purposes_share_a_seed():
    asked = list(itertools.product(PURPOSES, range(3), (0, 1, 2, 240, 500_000), range(4)))
    seeds = {seed_for(*each) for each in asked}
    assert len(seeds) == len(asked) and all(0 <= seed < 2**30 for seed in seeds)


def test_training_goes_on_with_the_games_of_older_runs():
    """A run that was made before there were purposes is resumed to the bit: NumPy takes the 0 of training as absent."""
    for seed, step, device in itertools.product((0, 7), (0, 240), (0, 1)):
        older = int(np.random.SeedSequence([seed, step, device]).generate_state(1)[0] % 2**30)
        assert seed_for("training", seed, step, device) == older


def test_what_a_run_does_it_does_with_seeds_of_their_own(monkeypatch):
    """Training on two devices, an evaluation at each checkpoint, and the video: the pools that are asked for."""
    asked = []

    def make(env_id, protocol, num_envs, seed, training=True, **options):
        asked.append(seed)
        if not training:
            raise ValueError("no game is played here")

    config = dataclasses.replace(a3c.preset(None, "CartPole-v1"), device_count=2)
    agent = launch.agent_of(a3c, config)
    state = loop.first_state(agent, environments.PROTOCOLS["control"], 8, 2, config.seed)
    monkeypatch.setattr(environments, "make", make)
    evaluator = launch.evaluator_of(agent, config)
    for step in (0, 250_000):
        launch.pools_of(config, step)
        evaluator.submit(step, {}, None)
    evaluator.close(wait=True)
    launch.record_game(agent, config, state, None)
    assert len(asked) == len(set(asked)) and len(asked) in (6, 7)  # the first evaluation may have been replaced
    assert config.seed not in asked  # it is that of the parameters
