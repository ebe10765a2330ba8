"""Train A3C with an LSTM, on Atari, classic control, or an environment of your own.

python experiments/a3c.py --env Riverraid-v5
python experiments/a3c.py --env CartPole-v1
python experiments/a3c.py --resume runs/NAME [--total-steps MORE]
"""

from jaxrl.shell import signals

signals.quiet(__name__)

from jaxrl.agents import a3c
from jaxrl.shell import launch

if __name__ == "__main__":
    launch.main(a3c)
