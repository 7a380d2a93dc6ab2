"""Label orders for chains, read off the training labels.

Each gives `rank` [L], the position of each label; both run under jit, and skip
rows of weight 0 and labels that are not known.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mlc import numerics


def by_frequency(
  y: Float[Array, 'rows labels'],
  *,
  where: Bool[Array, 'rows labels'] | None = None,
  weight: Float[Array, ' rows'] | None = None,
) -> Int[Array, ' labels']:
  """The most frequent label first, rare ones last; equals as in the data.

  A rare label has few rows to learn from and gains most by what others say,
  while its own decisions are mostly 0 and tell the others little.
  """
  y, known = _counted(y, where, weight)
  total = jnp.sum(known, axis=0)
  share = jnp.sum(known * y, axis=0) / jnp.where(total > 0, total, 1.0)
  return jnp.argsort(jnp.argsort(-share, stable=True))


def by_information(
  y: Float[Array, 'rows labels'],
  *,
  where: Bool[Array, 'rows labels'] | None = None,
  weight: Float[Array, ' rows'] | None = None,
) -> Int[Array, ' labels']:
  """Next is always the label of which one label before tells the most.

      next = argmax over j not placed of max over i placed of I(y_i; y_j)

  This grows the dependence tree of Chow and Liu as Prim does, so that each
  label stands behind its parent in the best tree. It begins with the label
  that tells the others most, sum_j I(y_i; y_j); of equals the first in the
  data comes first.

  References:
    Chow, Liu, Approximating discrete probability distributions with dependence
    trees, IEEE Transactions on Information Theory 14, 1968, section III.
    Zaragoza, Sucar, Morales, Bielza, Larranaga, Bayesian chain classifiers for
    multidimensional classification, IJCAI 2011 (a tree of labels first, then a
    chain along it).
  """
  information = pair_information(*_counted(y, where, weight))
  num_labels = len(information)
  first = jnp.argmax(jnp.sum(information, axis=0))

  def place(carry, position):
    rank, told = carry
    label = jnp.argmax(jnp.where(rank < 0, told, -jnp.inf))
    rank = rank.at[label].set(position)
    return (rank, jnp.maximum(told, information[label])), None

  rank = jnp.full(num_labels, -1).at[first].set(0)
  positions = jnp.arange(1, num_labels)
  (rank, _), _ = jax.lax.scan(place, (rank, information[first]), positions)
  return rank


def pair_information(
  y: Float[Array, 'rows labels'], known: Float[Array, 'rows labels']
) -> Float[Array, 'labels labels']:
  """I(y_i; y_j) in nats over the rows where both are known; 0 if i = j.

  Args:
    y: labels, 0 where not known.
    known: weight of the row where the label is known, else 0.
  """
  # Weights enter once: a row counts w, not w^2.
  seen = (known > 0).astype(y.dtype)
  dot = lambda a, b: jnp.matmul(a.T, b, precision='highest')
  n = dot(known, seen)
  n = jnp.where(n > 0, n, 1.0)
  both, one = dot(known * y, y) / n, dot(known * y, seen) / n
  information = numerics.pair_information(both, one)
  return jnp.where(jnp.eye(len(n), dtype=bool), 0.0, information)


def _counted(y, where, weight):
  """y, 0 where it is not known, and what each of its entries weighs."""
  known = jnp.ones_like(y) if where is None else where.astype(y.dtype)
  if weight is not None:
    known = known * weight.astype(y.dtype)[:, None]
  return jnp.where(known > 0, y, 0.0), known
