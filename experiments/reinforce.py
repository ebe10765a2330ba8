"""Train REINFORCE on classic control, Atari, or an environment of your own.

python experiments/reinforce.py --env CartPole-v1
python experiments/reinforce.py --resume runs/NAME [--total-steps MORE]
"""

from jaxrl.shell import signals

signals.quiet(__name__)

from jaxrl.agents import reinforce
from jaxrl.shell import launch

if __name__ == "__main__":
    launch.main(reinforce)
