"""Means over rows, in blocks."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# Rows looked at together: a table of 2^14 vectors for them is 8 MiB.
BLOCK = 128

# (h, y, known, weight) of a block -> a tree of `Mean`; see `over_rows`.
Count = Callable[..., Any]


class Mean(NamedTuple):
  """A weighted mean over rows, before the division."""

  total: Array
  weight: Array


def mean(value: Array, weight: Array) -> Mean:
  """Over the leading axis; what has weight 0 may be NaN."""
  weight = jnp.broadcast_to(weight, value.shape)
  counted = jnp.where(weight > 0, value * weight, 0.0)
  return Mean(jnp.sum(counted, axis=0), jnp.sum(weight, axis=0))


def over_rows(
  counts: Mapping[str, Count],
  h: Float[Array, 'rows *dim'],
  y: Float[Array, 'rows labels'],
  *,
  where: Bool[Array, 'rows labels'] | None = None,
  weight: Float[Array, ' rows'] | None = None,
) -> dict[str, Any]:
  """Adds what is counted over blocks of rows, and divides.

  Args:
    counts: name -> (h, y, known, weight) of a block -> a tree of `Mean`. There
      `known` [B, L] is the weight of the row where the label is known, else 0.
    h: representations.
    y: true labels.
    where: True where a label is known; None when every label is.
    weight: of each row, 0 for padding; None when all are 1.

  Returns:
    name -> the tree with a number in place of each `Mean`, NaN where nothing
    counted.
  """
  rows = y.shape[0]
  weight = jnp.ones(rows, y.dtype) if weight is None else weight
  known = jnp.broadcast_to(weight[:, None], y.shape)
  known = known if where is None else jnp.where(where, known, 0.0)
  block = min(BLOCK, rows)
  blocks = -(-rows // block)
  index = jnp.arange(blocks * block)
  real = (index < rows).reshape(blocks, block)
  split = jax.tree.map(
    lambda leaf: leaf[index % rows].reshape(blocks, block, *leaf.shape[1:]),
    (h, y, known, weight),
  )

  def counted(inputs):
    (h, y, known, weight), real = inputs
    block = h, y, known * real[:, None], weight * real
    return {name: count(*block) for name, count in counts.items()}

  def add(total, inputs):
    return jax.tree.map(jnp.add, total, counted(inputs)), None

  shapes = jax.eval_shape(counted, jax.tree.map(lambda x: x[0], (split, real)))
  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
  total, _ = jax.lax.scan(add, zeros, (split, real))
  return jax.tree.map(
    lambda one: one.total / one.weight,
    total,
    is_leaf=lambda node: isinstance(node, Mean),
  )
