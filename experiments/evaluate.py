"""Score a trained agent: whole games of one frozen checkpoint.

python experiments/evaluate.py RUN_DIR
python experiments/evaluate.py --weights FILE --env Riverraid-v5 --protocol origin
"""

from jaxrl.shell import signals

signals.quiet(__name__)

from jaxrl.commands import evaluate
from jaxrl.shell import cli

if __name__ == "__main__":
    cli.run(evaluate.main, evaluate.Config)
