"""The command line (the one adapter of tyro): options from a dataclass, and one sentence for a user's mistake."""

import sys
from collections.abc import Callable

import tyro


def run(main: Callable, config_type: type, default: Callable = lambda arguments: None):
    """Parse the command line into `config_type` and call `main(config)`.

    A ValueError or an OSError is printed as one sentence with exit code 2; Ctrl-C exits with 130.

    Args:
      main: takes the config.
      config_type: a dataclass; the docstring under each field is its help.
      default: `(arguments) -> config or None`, the config that the options change, where it is not the class's own.
    """
    arguments = sys.argv[1:]
    try:
        known = default(arguments)
        kwargs = {} if known is None else {"default": known}
        main(tyro.cli(config_type, args=arguments, **kwargs))
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def value_of(option: str, arguments: list[str]) -> str | None:
    """The value of `--option VALUE` or `--option=VALUE` in a list of arguments, or None."""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == option:
            return value if equals else next(iter(arguments[i + 1 :]), None)
    return None
