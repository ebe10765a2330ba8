"""A table of vectors, looked up by index."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.layers import checks
from jaxrl.layers.derived import alike, custom_vjp


def _embedding_fwd(rows, ids, table):
    return table[ids], ids


def _embedding_bwd(rows, ids, dy):
    zeros, dy = alike(jnp.zeros((rows, dy.shape[-1]), dy.dtype), dy)  # JAX's own sum over nothing is not alike
    return None, zeros.at[ids].add(dy)


@partial(custom_vjp, nondiff_argnums=(0,))
def _embedding(rows, ids, table):
    return _embedding_fwd(rows, ids, table)[0]


_embedding.defvjp(_embedding_fwd, _embedding_bwd)


def embedding(ids, table) -> jax.Array:
    """Rows of a table.

        y[..., :] = table[ids[...], :]                   dtable[v, :] = Σ dy[..., :] over the places with ids[...] = v

    It is the product of one-hot rows with the table; the gradient adds each row of dy to the row that was read. As
    everywhere in JAX an id beyond the table reads its last row and leaves no gradient; a negative one counts from the
    end. Only ids are kept.

    Args:
      ids: int [...].
      table: [V, D].

    Returns: [..., D].

    Raises: ValueError on shapes that do not fit, TypeError when ids are not integers or the table not floating-point.
    """
    checks.integer("rows of the table", ids=ids)
    (table,) = checks.floating(table=table)
    checks.shape("table", table, (None, None), "[V, D]")
    if table.shape[0] == 0 and np.size(ids):
        raise ValueError(f"table has shape {table.shape}: there is no row to read.")
    return _embedding(table.shape[0], jnp.asarray(ids), table)
