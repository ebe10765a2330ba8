"""Reinforcement learning in tables: bandits, planning in a known world, and learning in one that is not known.

No network and no simulator: a world is a table of outcomes (`worlds.World`), a value is a row of a table or a linear
function of a few features, and everything is a pure function of arrays that `jax.vmap` maps over runs and settings.

An action is drawn from probabilities (`policies`). An algorithm is a choice of a target, which are those of
`jaxrl.returns`, and of a way to act. An action that a state has not has the value −∞: it is never the greatest, and
never drawn. The end of an episode is `discount_t = 0`, so no value of a terminal state is ever looked at.

The book is "Reinforcement learning: an introduction" by Sutton and Barto, second edition (2018), here S&B; numbers in
brackets are its equations.
"""
