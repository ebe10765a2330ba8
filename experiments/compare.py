"""Draw the training scores of several runs, and published curves beside them, in one figure; print their scores.

python experiments/compare.py runs/ONE runs/OTHER --output results/NAME
"""

from jaxrl.shell import signals

signals.quiet(__name__)

from jaxrl.commands import compare
from jaxrl.shell import cli

if __name__ == "__main__":
    cli.run(compare.main, compare.Config)
