"""Losses: scalars with derived gradients.

A loss is Σ weight · (loss of a row) over all rows, so that one argument masks, averages and takes importance weights.
There is one weight for each row, or one for all; where it is left out it is 1 / (number of rows), and the loss is the
mean. It has a gradient like any other argument: the loss of its row, or of all. Bools and integers are weights too.

0 masks a row, in the value and in all derivatives, even where its loss is infinite or NaN. The gradient of a masked
row's weight is the loss of the row where that is finite; otherwise it is 0, as if the row were absent.

`reduction` says what becomes of the weighted rows, with a weight of 1 where it is left out:

    "none"   weight · (loss of a row), for each row; one whose cotangent is 0 is masked as by a weight of 0
    "sum"    their sum
    "mean"   their sum over the number of rows, also where there are weights
    None     the mean where the weight is left out, the sum where it is given: Σ weight · (loss of a row)

An infinite loss is infinite, and no NaN, wherever it has a limit; so are its gradients. 0 · ∞ counts as 0 where the 0
is a probability, a target, an advantage or a coefficient: what it is a factor of is switched off.
"""

from jaxrl.losses.actor_critic import actor_critic_loss
from jaxrl.losses.classification import binary_cross_entropy, categorical_cross_entropy, softmax_cross_entropy
from jaxrl.losses.gaussian import gaussian_kl, gaussian_nll, tanh_gaussian_log_prob
from jaxrl.losses.regression import huber_loss, q_learning_loss, quantile_huber_loss, squared_loss

__all__ = [
    "actor_critic_loss",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "gaussian_kl",
    "gaussian_nll",
    "huber_loss",
    "q_learning_loss",
    "quantile_huber_loss",
    "softmax_cross_entropy",
    "squared_loss",
    "tanh_gaussian_log_prob",
]
