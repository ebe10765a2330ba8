"""What is typed after `jaxrl`: training with each of the agents, and tools for the runs that it leaves.

`COMMANDS` is the table: an agent of `agents.AGENTS` is in it by itself, and so in the list that `jaxrl` prints.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jaxrl
from jaxrl.agents import AGENTS
from jaxrl.audit import command as audit
from jaxrl.commands import compare, evaluate, inspect_run
from jaxrl.nearest import unknown
from jaxrl.shell import cli, launch
from jaxrl.shell.program import called

TOOLS = {"evaluate": evaluate, "inspect": inspect_run, "compare": compare}


class Command(NamedTuple):
    """What a word after `jaxrl` stands for.

    Attributes:
      config_type: its options; the first words of their docstring are its line in the list of commands.
      start: `(arguments, program)`, as `cli.run` takes them.
    """

    config_type: type
    start: Callable

    @property
    def line(self) -> str:
        """What the command does, in one line."""
        return self.config_type.__doc__.partition("\n")[0].partition(" (")[0].rstrip(".")


COMMANDS = {name: Command(module.Config, partial(launch.main, module)) for name, module in AGENTS.items()}
COMMANDS |= {name: Command(tool.Config, partial(cli.run, tool.main, tool.Config)) for name, tool in TOOLS.items()}
COMMANDS |= {"audit": Command(audit.Config, audit.start)}


def start(arguments: list[str]):
    """Run the command that the arguments name, or print the list of all; an unknown one ends the process with 2."""
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
    elif name == "--version":
        print(jaxrl.__version__)
    elif name in COMMANDS:
        COMMANDS[name].start(arguments=rest, program=called(name))
    else:
        with cli.reported():
            raise unknown("command", name, COMMANDS)


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.line}" for name, command in COMMANDS.items()]
    program = called("").strip()
    return "\n".join(
        [f"usage: {program} COMMAND [OPTIONS]", "", *lines, "", f"{program} COMMAND --help explains every option."]
    )
