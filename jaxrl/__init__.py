"""jaxrl: reinforcement learning in JAX with every gradient derived by hand.

The rooms, in the order in which data walks through them; a room imports only from rooms on its left:

    layers -> losses, returns -> networks -> algorithms -> environments, replay, rollout -> parallel, training
"""

from jaxrl import runtime

runtime.prepare()
