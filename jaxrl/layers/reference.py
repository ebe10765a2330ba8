"""The same layers in plain JAX, under the same names and signatures: autodiff of these is the referee.

Nothing here is derived by hand. These functions are also what a derived backward must not be slower than, so
they are written as anyone would write them for speed.
"""

import jax
import jax.numpy as jnp
import numpy as np
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


def lstm(x, h_0, c_0, w_ih, w_hh, b, reset=None, known=None):
    """See `jaxrl.layers.lstm`; `known` is not made use of.

    The input's product stands outside the loop, where it is faster.
    """
    z = linear(x, w_ih, b)
    reset = jnp.zeros(x.shape[:2], bool) if reset is None else reset

    def step(state, now):
        h, c = (jnp.where(now[1][:, None], 0, s) for s in state)
        h, c = _step(now[0], h, c, w_hh)
        return (h, c), h

    last, y = lax.scan(step, (h_0, c_0), (z, reset))
    return y, last


def elu(x, alpha=1.0, known=None):
    """See `jaxrl.layers.elu`; `known` is not made use of."""
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


def conv_transpose2d(x, w, b, stride=1, padding=0, dilation=1, groups=1, output_padding=0):
    """See `jaxrl.layers.conv_transpose2d`: a convolution of x with zeros between its entries, the kernel reversed."""
    stride, dilation, extra = _pair(stride), _pair(dilation), _pair(output_padding)
    kh, kw, outputs, channels = w.shape
    reach = [d * (k - 1) for d, k in zip(dilation, (kh, kw), strict=True)]
    if padding == "SAME":
        cut = [max(r + 1 - s, 0) for r, s in zip(reach, stride, strict=True)]
        cut = [(c // 2, c - c // 2) for c in cut]
    else:
        cut = [(0, 0)] * 2 if padding == "VALID" else [_pair(p) for p in _pair(padding)]
    w = w[::-1, ::-1].reshape(kh, kw, outputs, groups, channels // groups)
    y = lax.conv_general_dilated(
        x,
        w.transpose(0, 1, 4, 3, 2).reshape(kh, kw, channels // groups, groups * outputs),
        (1, 1),
        [(r - before, r - after + e) for r, (before, after), e in zip(reach, cut, extra, strict=True)],
        lhs_dilation=stride,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    return y if b is None else y + jnp.broadcast_to(b, y.shape)


def max_pool2d(x, window, stride=None, padding=0):
    """See `jaxrl.layers.max_pool2d`."""
    return _pool(x, window, stride, padding, -jnp.inf, lax.max)


def avg_pool2d(x, window, stride=None, padding=0, count_padding=True):
    """See `jaxrl.layers.avg_pool2d`."""
    h, w = _pair(window)
    total = _pool(x, window, stride, padding, 0.0, lax.add)
    return total / (h * w if count_padding else _pool(jnp.ones_like(x), window, stride, padding, 0.0, lax.add))


def _pool(x, window, stride, padding, start, combine):
    window, stride = _pair(window), _pair(window if stride is None else stride)
    if not isinstance(padding, str):
        padding = ((0, 0), *(_pair(p) for p in _pair(padding)), (0, 0))
    return lax.reduce_window(x, np.array(start, x.dtype), combine, (1, *window, 1), (1, *stride, 1), padding)


def global_avg_pool2d(x):
    """See `jaxrl.layers.global_avg_pool2d`."""
    return x.mean((1, 2))


def relu(x):
    """See `jaxrl.layers.relu`."""
    return jax.nn.relu(x)


def leaky_relu(x, slope=0.01):
    """See `jaxrl.layers.leaky_relu`."""
    return jnp.where(x > 0, x, slope * x)


def softplus(x):
    """See `jaxrl.layers.softplus`."""
    return jax.nn.softplus(x)


def gelu(x, approximate=False):
    """See `jaxrl.layers.gelu`."""
    return jax.nn.gelu(x, approximate=approximate)


def dropout(x, key, rate=0.5, deterministic=False):
    """See `jaxrl.layers.dropout`."""
    if deterministic or rate == 0:
        return x
    if rate == 1:
        return jnp.zeros_like(x)
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def layer_norm(x, scale, bias, epsilon=1e-5):
    """See `jaxrl.layers.layer_norm`."""
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return _affine((x - mean) * lax.rsqrt(var + epsilon), scale, bias)


def _affine(x, scale, bias):
    return x * jnp.broadcast_to(scale, x.shape) + jnp.broadcast_to(bias, x.shape)


def batch_norm(x, scale, bias, mean, var, training=True, momentum=0.9, epsilon=1e-5, axis_name=None):
    """See `jaxrl.layers.batch_norm`."""
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1] if x.size else 0
    if training and not count:
        return x, (mean, var)
    mean_now, var_now = _moments(x, axes, axis_name) if training else (mean, var)
    x_hat = (x - jnp.broadcast_to(mean_now, x.shape)) * jnp.broadcast_to(lax.rsqrt(var_now + epsilon), x.shape)
    y = _affine(x_hat, scale, bias)
    if not training:
        return y, (mean, var)
    count *= 1 if axis_name is None else lax.axis_size(axis_name)
    new = lax.stop_gradient((mean_now, var_now * (count / max(count - 1, 1))))
    return y, tuple(momentum * old + (1 - momentum) * now for old, now in zip((mean, var), new, strict=True))


def _moments(x, axes, axis_name):
    if axis_name is None:
        return x.mean(axes), x.var(axes)
    mean = lax.pmean(x.mean(axes), axis_name)
    return mean, lax.pmean(jnp.square(x - jnp.broadcast_to(mean, x.shape)).mean(axes), axis_name)


def embedding(ids, table):
    """See `jaxrl.layers.embedding`."""
    return table[ids]


def gru_cell(x, h, w_ih, w_hh, b, b_hn):
    """See `jaxrl.layers.gru_cell`."""
    return _gru_step(linear(x, w_ih, b), h, w_hh, b_hn)


def _gru_step(a, h, w_hh, b_hn):
    a_r, a_z, a_n = jnp.split(a, 3, axis=-1)
    u_r, u_z, u_n = jnp.split(h @ w_hh, 3, axis=-1)
    r, z = jax.nn.sigmoid(a_r + u_r), jax.nn.sigmoid(a_z + u_z)
    n = jnp.tanh(a_n + r * (u_n if b_hn is None else u_n + jnp.broadcast_to(b_hn, u_n.shape)))
    return (1 - z) * n + z * h


def gru(x, h_0, w_ih, w_hh, b, b_hn, reset=None):
    """See `jaxrl.layers.gru`. The input's product stands outside the loop, where it is faster."""
    a = linear(x, w_ih, b)
    reset = jnp.zeros(x.shape[:2], bool) if reset is None else reset

    def step(h, now):
        h = _gru_step(now[0], jnp.where(now[1][:, None], 0, h), w_hh, b_hn)
        return h, h

    last, y = lax.scan(step, h_0, (a, reset))
    return y, last


def dueling(v, advantage, combine="mean"):
    """See `jaxrl.layers.dueling`."""
    base = (
        advantage.mean(-1)
        if combine == "mean"
        else jnp.take_along_axis(advantage, jnp.argmax(advantage, -1, keepdims=True), -1)[..., 0]
    )
    return (v - base)[..., None] + advantage


def noisy_linear(x, w, b, w_sigma, b_sigma, noise_in, noise_out):
    """See `jaxrl.layers.noisy_linear`."""
    noise_in, noise_out = lax.stop_gradient((noise_in, noise_out))
    return linear(x, w + w_sigma * (noise_in[:, None] * noise_out[None]), b + b_sigma * noise_out)


def actor_critic_loss(
    logits, v, a, advantage, target, weight=None, entropy_coefficient=0.01, value_coefficient=0.5, reduction=None
):
    """See `jaxrl.losses.actor_critic_loss`."""
    log_pi = log_softmax(logits)
    policy = -jnp.take_along_axis(log_pi, a[..., None], -1)[..., 0] * advantage
    entropy = -jnp.sum(jnp.exp(log_pi) * log_pi, -1)
    value = 0.5 * (target - v) ** 2
    return _weighted(policy - entropy_coefficient * entropy + value_coefficient * value, weight, reduction)


def _weighted(each, weight, reduction):
    rows = each if weight is None else weight * each
    if reduction is None:
        reduction = "mean" if weight is None else "sum"
    return rows if reduction == "none" else rows.mean() if reduction == "mean" else jnp.sum(rows)


def squared_loss(prediction, target, weight=None, reduction=None):
    """See `jaxrl.losses.squared_loss`."""
    return _weighted(0.5 * (target - prediction) ** 2, weight, reduction)


def huber_loss(prediction, target, weight=None, delta=1.0, reduction=None):
    """See `jaxrl.losses.huber_loss`."""
    error = jnp.abs(target - prediction)
    return _weighted(jnp.where(error <= delta, 0.5 * error**2, delta * (error - 0.5 * delta)), weight, reduction)


def softmax_cross_entropy(logits, labels, weight=None, reduction=None):
    """See `jaxrl.losses.softmax_cross_entropy`."""
    return _weighted(-jnp.take_along_axis(log_softmax(logits), labels[..., None], -1)[..., 0], weight, reduction)


def binary_cross_entropy(logits, targets, weight=None, reduction=None):
    """See `jaxrl.losses.binary_cross_entropy`."""
    each = -targets * jax.nn.log_sigmoid(logits) - (1 - targets) * jax.nn.log_sigmoid(-logits)
    return _weighted(each, weight, reduction)


def _log_density(x, mean, log_std):
    z = (x - mean) * jnp.exp(-log_std)
    return jnp.sum(-0.5 * z**2 - log_std - 0.5 * jnp.log(2 * jnp.pi), -1)


def gaussian_nll(x, mean, log_std, weight=None, reduction=None):
    """See `jaxrl.losses.gaussian_nll`."""
    return _weighted(-_log_density(x, mean, log_std), weight, reduction)


def gaussian_kl(mean_p, log_std_p, mean_q, log_std_q, weight=None, reduction=None):
    """See `jaxrl.losses.gaussian_kl`."""
    ratio = jnp.exp(2 * (log_std_p - log_std_q)) + ((mean_p - mean_q) * jnp.exp(-log_std_q)) ** 2
    return _weighted(jnp.sum(log_std_q - log_std_p + 0.5 * ratio - 0.5, -1), weight, reduction)


def categorical_cross_entropy(logits, p, weight=None, reduction=None):
    """See `jaxrl.losses.categorical_cross_entropy`."""
    return _weighted(-jnp.sum(p * log_softmax(logits), -1), weight, reduction)


def quantile_huber_loss(theta, target, tau, weight=None, delta=1.0, reduction=None):
    """See `jaxrl.losses.quantile_huber_loss`."""
    error = target[..., None, :] - theta[..., :, None]
    size = jnp.abs(error)
    huber = jnp.where(size <= delta, 0.5 * error**2, delta * (size - 0.5 * delta)) / delta
    tilt = jnp.abs(jnp.broadcast_to(lax.stop_gradient(tau)[:, None], error.shape) - (error < 0))
    return _weighted(jnp.sum(jnp.mean(tilt * huber, -1), -1), weight, reduction)


def q_learning_loss(q_tm1, a_tm1, target, weight=None, delta=1.0, reduction=None):
    """See `jaxrl.losses.q_learning_loss`."""
    return huber_loss(jnp.take_along_axis(q_tm1, a_tm1[..., None], -1)[..., 0], target, weight, delta, reduction)


def tanh_gaussian_log_prob(u, mean, log_std):
    """See `jaxrl.losses.tanh_gaussian_log_prob`."""
    correction = 2 * (jnp.log(2.0) - u - jax.nn.softplus(-2 * u))
    return _log_density(u, mean, log_std) - jnp.sum(correction, -1)
