"""The command line (the one adapter of tyro): options from a dataclass, and one sentence for a user's mistake."""

import contextlib
import dataclasses
import sys
import typing
from collections.abc import Callable

import tyro

from jaxrl.agents.options import bounds_of, option
from jaxrl.nearest import unknown
from jaxrl.shell import runtime, signals, terminal
from jaxrl.shell.mistakes import is_for_user, sentence

Positional = tyro.conf.Positional  # of a field that is given without its name
OF_THE_PARSER = ("--help", "--tyro-print-completion", "--tyro-write-completion")
NUMBERS = tyro.constructors.ConstructorRegistry()


def run(
    main: Callable,
    config_type: type,
    default: Callable = lambda arguments: None,
    threads: Callable = lambda config: None,
    arguments: list[str] | None = None,
    program: str | None = None,
):
    """Parse the command line into `config_type`, prepare the process (`runtime`), and call `main(config)`.

    Ends the process as `reported` says when something is raised.

    Args:
      main: takes the config.
      config_type: a dataclass; the docstring under each field is its help, to which its bounds are added.
      default: `(arguments) -> config or None`, the config that the options change, where it is not the class's own.
      threads: `(config) -> int or None`, the threads of XLA:CPU, where there are not to be as many as cores.
      arguments, program: in place of those of the process, and of the script's name in the line of its usage.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with reported():
        config = parse(config_type, arguments, default(arguments), program)
        runtime.prepare(threads(config))
        with signals.interrupting():
            main(config)


@contextlib.contextmanager
def reported():
    """In the block, what is raised for the user is printed as one sentence, and the process ends with 2.

    Any other exception is printed with its traceback, and the process ends with 1; on Ctrl-C it ends with 130.
    """
    with terminal.lasting():
        try:
            yield
        except KeyboardInterrupt:
            sys.exit(130)
        except Exception as error:
            print(sentence(error), file=sys.stderr)
            sys.exit(2 if is_for_user(error) else 1)


def parse(config_type: type, arguments: list[str], default=None, program: str | None = None):
    """A `config_type` as the arguments say, with `default` for what they do not.

    Raises: ValueError, with the nearest, for an option that there is not. (What is wrong with a value the parser says
      itself, and ends the process with 2.)
    """
    refuse_unknown(config_type, arguments)
    shown = with_bounds(config_type)
    kwargs = {} if default is None else {"default": shown(**fields_of(default))}
    with NUMBERS:
        return config_type(**fields_of(tyro.cli(shown, args=arguments, prog=program, **kwargs)))


def refuse_unknown(config_type: type, arguments: list[str]):
    """Raise ValueError, with the nearest, for the first argument that is written like an option and is none."""
    options = [option(field.name) for field in dataclasses.fields(config_type)]
    negated = [name.replace("--", "--no-", 1) for name in options]
    for argument in arguments:
        name = argument.partition("=")[0]
        if name.startswith("--") and name.replace("_", "-") not in {*options, *negated, *OF_THE_PARSER, "--"}:
            raise unknown("option", name, options)


@NUMBERS.primitive_rule
def _whole_numbers(info) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """For tyro: whole numbers are parsed by `whole`."""
    if info.type is not int:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda arguments: whole(arguments[0]),
        is_instance=lambda value: type(value) is int,
        str_from_instance=lambda value: [str(value)],
    )


def whole(text: str) -> int:
    """The whole number in a text: 1000000, 1_000_000 or 1e6. Raises ValueError for any other."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        if (value := float(text)).is_integer():
            return int(value)
    raise ValueError(f"{text!r} is not a whole number, such as 1000000, 1_000_000 or 1e6")


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
