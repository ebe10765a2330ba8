"""`jaxrl` and `python -m jaxrl`: all that can be done from a command line.

It imports next to nothing before Ctrl-C is seen to; the commands, which bring JAX, take seconds.
"""

import sys

from jaxrl.shell import signals


def main():
    """Run the command that the command line names."""
    signals.quiet("__main__")
    from jaxrl.commands import start

    start(sys.argv[1:])


if __name__ == "__main__":
    main()
