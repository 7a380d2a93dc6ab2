"""Standardised features before an encoder."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import FROZEN, Encoder, Features, Key, Params, SparseRows


def standardized(encoder: Encoder) -> Encoder:
  """Gives the encoder features of unit variance and, when dense, of mean 0.

      dense rows:   z_j = (x_j - m_j) / s_j
      sparse rows:  z_j = x_j / s_j

  Mean m and standard deviation s (the divisor is the number of rows) are
  those of the rows that `init` is given, which are the run's training rows,
  weighted; so nothing is learned from validation or test rows. A feature that
  is constant there has s = 1. Sparse rows are not centred, since a centred
  zero is a number to be stored; s is still taken about the mean.

  Args:
    encoder: what reads the standardised features.

  Returns:
    An encoder of the same name: standardisation is a setting of a result, not
    another model. Parameters: `frozen`: {`mean` [D] (dense only), `scale`
    [D]}, and `encoder`, those of the encoder.
  """

  def init(
    key: Key, x: Features, *, weight: Float[Array, ' batch'] | None = None
  ) -> Params:
    if isinstance(x, SparseRows):
      frozen = {'scale': _sparse_scale(x, weight)}
    else:
      mean, scale = _dense_moments(x, weight)
      frozen = {'mean': mean, 'scale': scale}
    inner = encoder.init(key, _standardize(frozen, x), weight=weight)
    return {FROZEN: frozen, 'encoder': inner}

  def apply(
    params: Params, x: Features, *, key: Key | None = None
  ) -> Float[Array, 'batch dim']:
    z = _standardize(params[FROZEN], x)
    return encoder.apply(params['encoder'], z, key=key)

  return Encoder(name=encoder.name, init=init, apply=apply)


def _standardize(frozen: Params, x: Features) -> Features:
  if isinstance(x, SparseRows):
    values = x.values / frozen['scale'][x.indices]
    return dataclasses.replace(x, values=values)
  return (x - frozen['mean'][None, :]) / frozen['scale'][None, :]


def _dense_moments(
  x: Float[Array, 'batch features'], weight: Float[Array, ' batch'] | None
) -> tuple[Float[Array, ' features'], Float[Array, ' features']]:
  """Mean and standard deviation of every column."""
  weight = _shares(weight, x)
  rows = weight[:, None] > 0
  x = jnp.where(rows, x, 0.0)
  mean = weight @ x
  # A second pass takes away the rounding of the first, which in float32 is
  # felt where the mean is large beside the spread (a year, say).
  mean = mean + weight @ jnp.where(rows, x - mean[None, :], 0.0)
  variance = weight @ (x - mean[None, :]) ** 2
  low = jnp.min(jnp.where(rows, x, jnp.inf), axis=0)
  high = jnp.max(jnp.where(rows, x, -jnp.inf), axis=0)
  return jnp.where(low == high, low, mean), _scale(variance, low, high)


def _sparse_scale(
  x: SparseRows, weight: Float[Array, ' batch'] | None
) -> Float[Array, ' features']:
  """Standard deviation of every column, the zeros not stored counted in."""
  weight = _shares(weight, x.values)
  stored = (x.values != 0) & (weight[:, None] > 0)
  values = jnp.where(stored, x.values, 0.0)
  entry_weight = jnp.where(stored, weight[:, None], 0.0)
  zeros = jnp.zeros(x.num_features, values.dtype)

  def column_sum(entries):
    return zeros.at[x.indices].add(entries)

  full = column_sum(stored.astype(values.dtype)) == jnp.sum(weight > 0)
  # The weight of the zeros not stored, without the rounding of a sum.
  rest = jnp.where(full, 0.0, 1.0 - column_sum(entry_weight))
  mean = column_sum(entry_weight * values)
  shift = column_sum(entry_weight * (values - mean[x.indices])) - rest * mean
  mean = mean + shift
  inside = column_sum(entry_weight * (values - mean[x.indices]) ** 2)
  variance = inside + jnp.maximum(rest, 0.0) * mean**2
  edge = jnp.where(full, jnp.inf, 0.0)
  low = edge.at[x.indices].min(jnp.where(stored, x.values, jnp.inf))
  high = (-edge).at[x.indices].max(jnp.where(stored, x.values, -jnp.inf))
  return _scale(variance, low, high)


def _shares(weight: Float[Array, ' batch'] | None, values: Array) -> Array:
  """Weights that sum to 1."""
  if weight is None:
    weight = jnp.ones(values.shape[0], values.dtype)
  total = jnp.sum(weight)
  return weight / jnp.where(total > 0, total, 1.0)


def _scale(
  variance: Float[Array, ' features'],
  low: Float[Array, ' features'],
  high: Float[Array, ' features'],
) -> Float[Array, ' features']:
  # Constancy is read off the extremes: the variance of a constant column is
  # rounding, and dividing by it would blow rounding up to size 1.
  constant = (low == high) | (variance == 0.0)
  return jnp.where(constant, 1.0, jnp.sqrt(jnp.where(constant, 1.0, variance)))
