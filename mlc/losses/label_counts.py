"""How often each label is on and off, and the weights that follow from it."""

import math
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# What a loss of single labels makes of those that are unknown.
Unknown = Literal['masked', 'negative', 'weak_negative']


class Counts(NamedTuple):
  """Weight of the training rows in which a label is on, or off.

  Attributes:
    on: [L].
    off: [L].
  """

  on: Float[Array, ' labels']
  off: Float[Array, ' labels']

  @property
  def both(self) -> Float[Array, 'labels 2']:
    """On and off: the two classes of each label."""
    return jnp.stack([self.on, self.off], axis=-1)


def label_counts(
  y: Float[Array, 'rows labels'],
  *,
  where: Bool[Array, 'rows labels'] | None = None,
  weight: Float[Array, ' rows'] | None = None,
  unknown: Unknown = 'masked',
) -> Counts:
  """Counts the labels of the training rows: `fit` of the losses that weigh.

  Args:
    y: labels.
    where: True where known.
    weight: of the rows, 0 for padding.
    unknown: as what an unknown label counts, see `unknown_share`.

  Returns:
    The counts.
  """
  rows = jnp.ones(y.shape[:1], y.dtype) if weight is None else weight
  known = jnp.ones_like(y) if where is None else where.astype(y.dtype)
  assumed = unknown_share(unknown, y.shape[-1]) * (1.0 - known)
  on, off = known * (y > 0), known * (y <= 0) + assumed
  return Counts(*(jnp.sum(rows[:, None] * v, axis=0) for v in (on, off)))


def unknown_share(unknown: Unknown, num_labels: int) -> float:
  """The weight with which an unknown label counts as off.

      masked 0,  negative 1,  weak_negative 1 / (L - 1)

  The last makes all the others of a row count together as much as one label
  that is known, so that a single positive is not outvoted by what is assumed.

  References:
    Cole, Mac Aodha, Lorieul, Perona, Morris, Jojic, Multi-label learning from
    single positive labels, CVPR 2021 (assume negative, and weakly).
  """
  shares = {
    'masked': 0.0,
    'negative': 1.0,
    'weak_negative': 1.0 / max(num_labels - 1, 1),
  }
  return shares[unknown]


def balanced(n: Float[Array, '*dims classes']) -> Array:
  """Weights by which every class that is there weighs the same.

      w_c = N / (C n_c),   N = sum_c n_c,   C the number of classes with n_c > 0

  The mean weight of a row is 1. It is class_weight='balanced' of scikit-learn.

  Args:
    n: rows of each class.

  Returns:
    The weights; 1 for a class without rows, of which nothing can be said.
  """
  there = n > 0
  total = jnp.sum(n, axis=-1, keepdims=True)
  classes = jnp.sum(there, axis=-1, keepdims=True)
  return jnp.where(there, total / (classes * jnp.where(there, n, 1.0)), 1.0)


def effective(n: Float[Array, '*dims classes'], beta: float) -> Array:
  """Inverse effective numbers of rows, whose mean over classes is 1.

      w_c ~ (1 - beta) / (1 - beta^{n_c})

  With beta = 0 all weigh 1; as beta nears 1 they weigh as 1 / n_c.

  Args:
    n: rows of each class.
    beta: in [0, 1).

  Returns:
    The weights; 1 for a class without rows.
  """
  if beta == 0.0:
    return jnp.ones_like(n)
  there = n > 0
  # expm1: 1 - beta^n cancels when n is a small share of 1 / (1 - beta).
  number = -jnp.expm1(jnp.where(there, n, 1.0) * math.log(beta))
  weights = jnp.where(there, (1.0 - beta) / number, 0.0)
  classes = jnp.sum(there, axis=-1, keepdims=True)
  total = jnp.sum(weights, axis=-1, keepdims=True)
  return jnp.where(
    there, weights * classes / jnp.where(total > 0, total, 1.0), 1.0
  )


def margins(n: Float[Array, '*dims'], largest: float) -> Array:
  """Margins that fall with the fourth root of the number of rows.

      m_c = largest (min_i n_i / n_c)^(1/4)

  Args:
    n: rows of each class; the smallest is taken over all of them that are
      there.
    largest: margin of the rarest class.

  Returns:
    The margins; `largest` for a class without rows.
  """
  there = n > 0
  rarest = jnp.min(jnp.where(there, n, jnp.inf))
  share = jnp.where(there, rarest / jnp.where(there, n, 1.0), 1.0)
  return largest * share**0.25
