"""jaxrl: reinforcement learning in JAX with every gradient derived by hand.

Importing it changes nothing in the process. The rooms, each of which imports only from those before it:

    layers, losses, returns, parallel -> networks -> environments -> agent, rollout -> replay, sum_tree
        -> tabular -> algorithms -> agents -> shell -> audit -> commands
"""

__version__ = "0.1.0"
