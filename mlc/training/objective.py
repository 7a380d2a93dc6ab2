"""What a step minimises: the weighted mean loss, and a penalty."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Batch, Key, Params
from mlc.numerics import weighted_mean

# loss(params, batch, *, key) -> one value an example [batch].
ExampleLoss = Callable[..., Array]

# Offsets and gains, however many dimensions stacking has given them.
_FREE = ('bias', 'scale')


def mean_loss(
  loss: ExampleLoss, params: Params, batch: Batch, *, key: Key | None = None
) -> Float[Array, '']:
  """sum_i w_i loss_i / sum_i w_i, in nats an example for a likelihood."""
  mean = weighted_mean(loss(params, batch, key=key), batch.weight)
  return mean.astype(batch.y.dtype)


def penalized(trained: Params) -> Any:
  """True for the leaves that shrink: not biases, gains and other vectors."""

  def shrinks(path, leaf):
    name = getattr(path[-1], 'key', None) if path else None
    return leaf.ndim >= 2 and name not in _FREE

  return jax.tree_util.tree_map_with_path(shrinks, trained)


def ridge(
  trained: Params, l2: Float[Array, ''], batch: Batch
) -> Float[Array, '']:
  """The penalty of the full-batch objective.

      l2 / (2 N) sum_w |w|^2    over the penalised leaves w

  Added to the mean loss it makes N times the objective
  sum_i loss_i + l2 / 2 |w|^2, that of scikit-learn's LogisticRegression with
  C = 1 / l2, the intercept being free.

  Args:
    trained: the trained parameters.
    l2: strength of the penalty.
    batch: all training rows; N is the sum of their weights.

  Returns:
    The penalty, a scalar.
  """
  squares = jax.tree.map(
    lambda leaf, shrinks: jnp.sum(leaf**2) * shrinks,
    trained,
    penalized(trained),
  )
  assert batch.weight is not None
  total = sum(jax.tree.leaves(squares), jnp.zeros((), batch.y.dtype))
  return l2.astype(total.dtype) / (2.0 * jnp.sum(batch.weight)) * total
