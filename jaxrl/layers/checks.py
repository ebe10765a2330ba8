"""What every layer asks of its arguments, at trace time: one clear sentence when a shape or a type is wrong."""

import jax
import jax.numpy as jnp
import numpy as np


def floating(*optional, **arrays) -> list:
    """The named arrays as JAX arrays of one type, the widest of theirs: so each gradient has its own.

    Those whose names are `optional` may be None, and stay so.

    Raises: TypeError unless all hold floating-point numbers.
    """
    for name, array in arrays.items():
        if not (array is None and name in optional) and not _is_floating(array):
            got = f"{array.dtype} of shape {array.shape}" if hasattr(array, "dtype") else repr(array)
            raise TypeError(
                f"{name} must hold floating-point numbers in an array, because gradients flow through it; got {got}."
            )
    widest = jnp.result_type(*(array for array in arrays.values() if array is not None))
    return [None if array is None else jnp.asarray(array, widest) for array in arrays.values()]


def _is_floating(array) -> bool:
    return isinstance(array, float) or jnp.issubdtype(getattr(array, "dtype", bool), jnp.floating)


def shape(name: str, array, expected: tuple, why: str):
    """Raise ValueError unless `array` has the `expected` shape, in which None stands for any size."""
    got = jnp.shape(array)
    if len(got) != len(expected) or any(e not in (None, g) for g, e in zip(got, expected, strict=True)):
        wanted = ", ".join("any" if size is None else str(size) for size in expected)
        raise ValueError(f"{name} has shape {got}; expected [{wanted}], {why}.")


def optional_shape(name: str, array, expected: tuple, why: str):
    """As `shape`, but None may stand for the array."""
    if array is not None:
        shape(name, array, expected, why)


def same_shape(**arrays) -> list:
    """As `floating`; raises ValueError unless all have the shape of the first."""
    result = floating(**arrays)
    (first, size), *others = ((name, jnp.shape(array)) for name, array in arrays.items())
    for name, _ in others:
        shape(name, arrays[name], size, f"that of {first}")
    return result


def integer(why: str, **arrays):
    """Raise TypeError unless every named array holds integers."""
    for name, array in arrays.items():
        if not (is_int(array) or jnp.issubdtype(getattr(array, "dtype", bool), jnp.integer)):
            raise TypeError(f"{name} must hold integers, {why}; got {getattr(array, 'dtype', array)}.")


def key(value):
    """Raise TypeError unless it is a PRNG key, of the new kind or the old."""
    dtype = getattr(value, "dtype", None)
    if dtype is None or not (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32):
        raise TypeError(f"key must be a PRNG key, as jax.random.key(0) gives; got {value!r}.")


def widths(**values):
    """Raise ValueError unless each is an integer above 0."""
    for name, value in values.items():
        if not is_int(value) or value < 1:
            raise ValueError(f"{name} must be an int of at least 1; got {value!r}.")


def is_int(value) -> bool:
    """Whether it is an integer of Python or NumPy, and not a bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def flag(**values):
    """Raise TypeError unless each is a bool, known when the function is traced."""
    for name, value in values.items():
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, known when the function is traced; got {value!r}.")


def positive(why: str = "", **values) -> float:
    """The one named value as a float; raises TypeError unless it is a number that is known when the function is traced,
    ValueError unless it is above 0.
    """
    ((name, value),) = values.items()
    result = number(**values)
    if not result > 0:
        raise ValueError(f"{name} must be above 0{why}; got {value!r}.")
    return result


def number(**values) -> float:
    """The one named value as a float; raises TypeError unless it is a number, known when the function is traced."""
    ((name, value),) = values.items()
    try:
        return float(value)
    except (TypeError, ValueError):  # JAX's error over a traced array is a TypeError
        raise TypeError(f"{name} must be a Python number, known when the function is traced; got {value!r}.") from None


def axis(value, x) -> int:
    """`value` as an int; raises ValueError unless it is an axis of the array x with something along it."""
    if not is_int(value) or not -jnp.ndim(x) <= value < jnp.ndim(x):
        raise ValueError(f"axis must be an int that x of shape {jnp.shape(x)} has; got {value!r}.")
    if not x.shape[value]:
        raise ValueError(f"x has shape {x.shape}: there is nothing along axis {value}.")
    return int(value)


def rows(x, name: str = "x"):
    """Raise ValueError when x is a scalar, where rows of entries are meant."""
    if not x.ndim:
        raise ValueError(f"{name} has shape (); expected [..., D], at least one axis.")


def kernel(w):
    """Raise ValueError when the kernel w has no entries."""
    if 0 in w.shape:
        raise ValueError(f"w has shape {w.shape}: a kernel needs at least one row, column, input and output channel.")


def images(x):
    """Raise ValueError unless x is [B, H, W, C]."""
    shape("x", x, (None,) * 4, "a batch of images [B, H, W, C]")


def pair_of(name, value, least=1):
    """An int of at least `least`, or a pair of them, as a pair."""
    pair = (value, value) if is_int(value) else value
    ints = isinstance(pair, (tuple, list)) and len(pair) == 2 and all(map(is_int, pair))
    if not ints or min(pair) < least:
        kind = "a positive int" if least == 1 else f"an int of at least {least}"
        raise ValueError(f"{name} must be {kind} or a pair of them; got {value!r}.")
    return int(pair[0]), int(pair[1])


def pads_of(padding, sizes, reach, stride):
    """Padding in any of its forms as ((top, bottom), (left, right))."""
    if padding == "VALID":
        return ((0, 0), (0, 0))
    if padding == "SAME":
        short = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(sizes, reach, stride, strict=True)]
        return tuple((n // 2, n - n // 2) for n in short)
    pairs = (padding, padding) if is_int(padding) else padding
    if isinstance(pairs, (tuple, list)) and len(pairs) == 2:
        pairs = [(p, p) if is_int(p) else p for p in pairs]
        if all(isinstance(p, (tuple, list)) and len(p) == 2 for p in pairs):
            if all(is_int(n) and n >= 0 for p in pairs for n in p):
                return tuple((int(before), int(after)) for before, after in pairs)
    raise ValueError(
        'padding must be an int, (h, w), ((top, bottom), (left, right)), none below 0, "SAME" or "VALID"; '
        f"got {padding!r}."
    )
