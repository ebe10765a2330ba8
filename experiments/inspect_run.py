"""See how a trained agent plays and why its games end: a table, a figure, and a video with what it thinks.

python experiments/inspect_run.py RUN_DIR
"""

from jaxrl.shell import signals

signals.quiet(__name__)

from jaxrl.commands import inspect_run
from jaxrl.shell import cli

if __name__ == "__main__":
    cli.run(inspect_run.main, inspect_run.Config)
