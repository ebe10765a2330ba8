"""Losses: scalars with derived gradients.

A loss is Σ weight · (loss of a row) over all rows, so that one argument masks, averages and takes importance weights.
There is one weight for each row, or one for all; where it is left out it is 1 / (number of rows), and the loss is the
mean. 0 masks a row even where its loss is infinite. It has a gradient like any other argument: the loss of its row,
or of all.
"""

from jaxrl.losses.actor_critic import actor_critic_loss as actor_critic_loss
from jaxrl.losses.classification import binary_cross_entropy as binary_cross_entropy
from jaxrl.losses.classification import categorical_cross_entropy as categorical_cross_entropy
from jaxrl.losses.classification import softmax_cross_entropy as softmax_cross_entropy
from jaxrl.losses.gaussian import gaussian_kl as gaussian_kl
from jaxrl.losses.gaussian import gaussian_nll as gaussian_nll
from jaxrl.losses.gaussian import tanh_gaussian_log_prob as tanh_gaussian_log_prob
from jaxrl.losses.regression import huber_loss as huber_loss
from jaxrl.losses.regression import q_learning_loss as q_learning_loss
from jaxrl.losses.regression import quantile_huber_loss as quantile_huber_loss
from jaxrl.losses.regression import squared_loss as squared_loss
