"""The same layers in plain JAX, under the same names and signatures: autodiff of these is the referee.

Nothing here is derived by hand. These functions are also what a derived backward must not be slower than, so
they are written as anyone would write them for speed.
"""

import jax
import jax.numpy as jnp
from jax import lax


def conv2d(x, w, b, stride=1, padding=0, dilation=1, groups=1):
    """See `jaxrl.layers.conv2d`."""
    stride, dilation = _pair(stride), _pair(dilation)
    if not isinstance(padding, str):
        padding = tuple(_pair(p) for p in _pair(padding))
    y = lax.conv_general_dilated(
        x,
        w,
        stride,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    return y if b is None else y + jnp.broadcast_to(b, y.shape)


def _pair(value):
    return (value, value) if isinstance(value, int) else value


def linear(x, w, b):
    """See `jaxrl.layers.linear`."""
    y = x @ w
    return y if b is None else y + jnp.broadcast_to(b, y.shape)


def lstm_cell(x, h, c, w_ih, w_hh, b):
    """See `jaxrl.layers.lstm_cell`."""
    return _step(linear(x, w_ih, b), h, c, w_hh)


def _step(z, h, c, w_hh):
    i, f, g, o = jnp.split(z + h @ w_hh, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def lstm(x, h_0, c_0, w_ih, w_hh, b, reset=None):
    """See `jaxrl.layers.lstm`. The input's product stands outside the loop, where it is faster."""
    z = linear(x, w_ih, b)
    reset = jnp.zeros(x.shape[:2], bool) if reset is None else reset

    def step(state, now):
        h, c = (jnp.where(now[1][:, None], 0, s) for s in state)
        h, c = _step(now[0], h, c, w_hh)
        return (h, c), h

    last, y = lax.scan(step, (h_0, c_0), (z, reset))
    return y, last


def elu(x, alpha=1.0):
    """See `jaxrl.layers.elu`."""
    return jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, 0, x)))


def sigmoid(x):
    """See `jaxrl.layers.sigmoid`."""
    return jax.nn.sigmoid(x)


def tanh(x):
    """See `jaxrl.layers.tanh`."""
    return jnp.tanh(x)


def softmax(x, axis=-1):
    """See `jaxrl.layers.softmax`."""
    e = jnp.exp(x - lax.stop_gradient(jnp.max(x, axis, keepdims=True)))
    return e / jnp.sum(e, axis, keepdims=True)


def log_softmax(x, axis=-1):
    """See `jaxrl.layers.log_softmax`."""
    shifted = x - lax.stop_gradient(jnp.max(x, axis, keepdims=True))
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis, keepdims=True))


def actor_critic_loss(logits, v, a, advantage, target, weight, entropy_coefficient=0.01, value_coefficient=0.5):
    """See `jaxrl.losses.actor_critic_loss`."""
    log_pi = log_softmax(logits)
    policy = -jnp.take_along_axis(log_pi, a[..., None], -1)[..., 0] * advantage
    entropy = -jnp.sum(jnp.exp(log_pi) * log_pi, -1)
    value = 0.5 * (target - v) ** 2
    return jnp.sum(weight * (policy - entropy_coefficient * entropy + value_coefficient * value))
