"""A threshold for each label, chosen on validation data."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc.base import Decoder, Exactness, Head, Key, Params, require

NAME = 'tuned_f1'


def tuned_threshold() -> Decoder:
  """A label is on when its marginal exceeds the label's own threshold.

      d_j = 1 iff P(y_j = 1 | h) > t_j,
      t_j = argmax_t F1 of label j on the validation data

  The thresholds of largest macro F1 there: half way between two neighbouring
  probabilities, of equals the highest. A label without a known positive in
  the validation data keeps 0.5.

  Returns:
    The decoder, named `tuned_f1`. It needs `marginals`; its state is
    {'threshold': [L]}.
  """

  def fit(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    y: Float[Array, 'batch labels'],
    *,
    where: Bool[Array, 'batch labels'] | None = None,
    weight: Float[Array, ' batch'] | None = None,
    key: Key | None = None,
  ) -> dict[str, Float[Array, ' labels']]:
    p = require(head, 'marginals', f'decoder {NAME}')(params, h, key=key)
    counted = jnp.ones_like(p) if where is None else where.astype(p.dtype)
    if weight is not None:
      counted = counted * weight[:, None]
    return {'threshold': _best_f1_threshold(p.T, y.T, counted.T)}

  def decide(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    state: Any,
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    p = require(head, 'marginals', f'decoder {NAME}')(params, h, key=key)
    return (p > state['threshold'][None, :]).astype(p.dtype)

  def exactness(head: Head) -> Exactness:
    require(head, 'marginals', f'decoder {NAME}')
    return head.exactness['marginals']

  return Decoder(NAME, fit, decide, exactness)


def _best_f1_threshold(
  p: Float[Array, 'labels batch'],
  y: Float[Array, 'labels batch'],
  weight: Float[Array, 'labels batch'],
) -> Float[Array, ' labels']:
  """Per label, the t of largest F1 = 2 tp / (positives + predicted)."""
  # A row that does not count must not offer its probability as a threshold.
  p = jnp.where(weight > 0, p, 0.0)
  y = jnp.where(weight > 0, y * weight, 0.0)
  falling, y, weight = jax.lax.sort((-p, y, weight), dimension=-1, num_keys=1)
  p = -falling
  following = jnp.concatenate([p[:, 1:], jnp.zeros_like(p[:, :1])], axis=-1)
  positives = jnp.sum(y, axis=-1, keepdims=True)
  predicted = jnp.cumsum(weight, axis=-1)
  total = positives + predicted
  f1 = 2.0 * jnp.cumsum(y, axis=-1) / jnp.where(total > 0, total, 1.0)
  # Equal probabilities cannot be parted.
  f1 = jnp.where(p > following, f1, -1.0)
  best = jnp.argmax(f1, axis=-1)[:, None]
  above = jnp.take_along_axis(p, best, axis=-1)
  below = jnp.take_along_axis(following, best, axis=-1)
  middle = 0.5 * (above + below)
  # Half way between neighbours may round up to the upper one.
  middle = jnp.where(middle < above, middle, below)
  return jnp.where(positives > 0, middle, 0.5)[:, 0]
