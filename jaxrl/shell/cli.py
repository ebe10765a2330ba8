"""The command line (the one adapter of tyro): options from a dataclass, and one sentence for a user's mistake."""

import dataclasses
import sys
import typing
from collections.abc import Callable

import tyro

from jaxrl.agents.options import bounds_of
from jaxrl.shell import runtime, signals, terminal
from jaxrl.shell.mistakes import is_for_user, sentence


def run(
    main: Callable,
    config_type: type,
    default: Callable = lambda arguments: None,
    threads: Callable = lambda config: None,
):
    """Parse the command line into `config_type`, prepare the process (`runtime`), and call `main(config)`.

    What was raised for the user is printed as one sentence, with exit code 2; any other exception with its traceback,
    and 1; Ctrl-C exits with 130.

    Args:
      main: takes the config.
      config_type: a dataclass; the docstring under each field is its help, to which its bounds are added.
      default: `(arguments) -> config or None`, the config that the options change, where it is not the class's own.
      threads: `(config) -> int or None`, the threads of XLA:CPU, where there are not to be as many as cores.
    """
    arguments = sys.argv[1:]
    with terminal.lasting():
        try:
            config = parse(config_type, arguments, default(arguments))
            runtime.prepare(threads(config))
            with signals.interrupting():
                main(config)
        except KeyboardInterrupt:
            sys.exit(130)
        except Exception as error:
            print(sentence(error), file=sys.stderr)
            sys.exit(2 if is_for_user(error) else 1)


def parse(config_type: type, arguments: list[str], default=None):
    """A `config_type` as the arguments say, with `default` for what they do not."""
    shown = with_bounds(config_type)
    kwargs = {} if default is None else {"default": shown(**fields_of(default))}
    return config_type(**fields_of(tyro.cli(shown, args=arguments, **kwargs)))


def fields_of(config) -> dict:
    """The fields of a dataclass by name."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def with_bounds(config_type: type) -> type:
    """The same dataclass for tyro, whose help also names the bounds of each field."""
    hints = typing.get_type_hints(config_type, include_extras=True)
    bounds = {name: " and ".join(words for words, *_ in bounds_of(hint)) for name, hint in hints.items()}

    def shown(name):
        return tyro.conf.arg(help_behavior_hint=lambda default: f"(default: {default}; {bounds[name]})")

    annotations = {name: typing.Annotated[hints[name], shown(name)] for name, words in bounds.items() if words}
    own = {"__annotations__": annotations, "__doc__": config_type.__doc__, "__module__": config_type.__module__}
    return type(config_type.__name__, (config_type,), own)


def value_of(option: str, arguments: list[str]) -> str | None:
    """The value of `--option VALUE` or `--option=VALUE` in a list of arguments, the last if there are several."""
    found = None
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") == option:
            found = value if equals else next(iter(arguments[i + 1 :]), None)
    return found


def without(option: str, arguments: list[str]) -> list[str]:
    """The arguments without an option and its value, in either form."""
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument != option and not argument.startswith(f"{option}="):
            kept.append(argument)
        skip = argument == option
    return kept
