"""When every row has exactly one label."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.metrics.at_k import expected_hits
from mlc.metrics.metric import (
  Metric,
  Predictions,
  given,
  known,
  nan_where_any_nan,
  row_mean,
)

Ties = Literal['last', 'average']


def top_k_accuracy(k: int, *, ties: Ties = 'last') -> Metric:
  """The share of rows whose class is among the k of highest score.

  Args:
    k: at least 1; with as many classes or fewer the value is 1.
    ties: whether of classes with equal scores the last ones go first, as in
      scikit-learn, or the expectation over their orders is taken.

  Returns:
    The metric `top_<k>_accuracy`, higher is better. It is undefined for a row
    without a known true class, which is left out.

  Raises:
    ValueError: k is below 1, or the rule for ties is unknown.
  """
  if k < 1:
    raise ValueError(f'metric top_k_accuracy: k is {k}, expected at least 1.')
  if ties not in ('last', 'average'):
    raise ValueError(
      f"metric top_{k}_accuracy: ties is {ties!r}, expected 'last' or "
      "'average'."
    )

  def values(p: Predictions) -> tuple[Array, Array]:
    hit = _last_first(p, k) if ties == 'last' else expected_hits(p, k)
    return hit, jnp.any((p.y > 0) & known(p), axis=-1)

  return row_mean(
    f'top_{k}_accuracy',
    values,
    needs='scores',
    direction='higher',
    undefined='skip',
  )


def _last_first(p: Predictions, k: int) -> Float[Array, ' batch']:
  """Whether fewer than k classes stand before the true one."""
  where, scores = known(p), given(p, 'scores')
  true = jnp.argmax(jnp.where(where, p.y, 0.0), axis=-1, keepdims=True)
  score = jnp.take_along_axis(scores, true, axis=-1)
  later = jnp.arange(p.y.shape[-1])[None, :] > true
  before = (scores > score) | ((scores == score) & later)
  hit = jnp.sum(before & where, axis=-1) < k
  return nan_where_any_nan(hit.astype(scores.dtype), scores, where)
