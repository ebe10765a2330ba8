"""Train DQN, or any combination of what was added to it, on Atari, classic control, or an environment of your own.

python experiments/dqn.py --env Riverraid-v5 [--double] [--dueling] [--prioritized] [--distributional qr] [--n-step 3]
python experiments/dqn.py --env Pong-v5 --preset nature
python experiments/dqn.py --env CartPole-v1 --preset rainbow
python experiments/dqn.py --resume runs/NAME [--total-steps MORE]
"""

from jaxrl.shell import signals

signals.quiet(__name__)

from jaxrl.agents import dqn
from jaxrl.shell import launch

if __name__ == "__main__":
    launch.main(dqn)
