"""The agents: for each algorithm its options (`Config`), `preset`, `check`, and `make`, which meets `agent.Agent`.

`AGENTS` is the one table of them; the command line, evaluation, comparison and tests read it.
"""

from types import ModuleType

from jaxrl.agents import a3c, dqn, reinforce

AGENTS: dict[str, ModuleType] = {module.Config.algorithm: module for module in (a3c, dqn, reinforce)}
