"""Pruned sets: label powerset without its rare classes."""

from typing import Literal

import jax
import jax.numpy as jnp

from mlc.base import Head
from mlc.heads.label_powerset import label_powerset, set_scores


def pruned_sets(
  num_labels: int,
  num_label_sets: int,
  *,
  prune: int = 1,
  subsets: int = 2,
  unseen: Literal['good_turing', 'impossible'] = 'good_turing',
) -> Head:
  """Label powerset whose rare label sets are trained as their frequent parts.

      loss(h, y) = -log q(y | h)                    where y has a class
                 = -sum_{s in A(y)} log q(s | h)    elsewhere

  A class stands for a label set that more than `prune` training rows have.
  A(y) are the `subsets` best classes within y: the largest first, among equals
  the more frequent. The empty set is no part of any other. A row without such
  a part, or with an unknown label, has loss 0: it counts in the label
  frequencies and in the share of unseen sets, and is lost to the softmax, as in
  the paper.

  What it says of a new row is the mixture of `label_powerset`, in which the
  pruned sets keep their probability; `nll` is its likelihood and trains it
  without the parts.

  Args:
    num_labels: L.
    num_label_sets: K, as of `label_powerset`.
    prune: sets seen this often or less have no class (p of the paper). The
      sets seen most often always have one.
    subsets: parts by which a row without a class is replaced at most (b of the
      paper's strategy A); 0 for none.
    unseen: as of `label_powerset`.

  Returns:
    A head with the capabilities and parameters of `label_powerset` and an
    `objective`.

  Raises:
    ValueError: for a negative count, and as `label_powerset`.

  References:
    Read, Pfahringer, Holmes, Multi-label classification using ensembles of
    pruned sets, ICDM 2008 (one member of the ensemble).
  """
  if subsets < 0:
    raise ValueError(
      f'pruned_sets got subsets={subsets}; it takes a number of parts from 0 '
      '(for none) on.'
    )
  powerset = label_powerset(
    num_labels, num_label_sets, unseen=unseen, prune=prune
  )

  def objective(params, h, batch, *, key=None):
    del key
    log_q = set_scores(params, h)
    classes = _classes(params['frozen'], batch.y, subsets)
    # Of a class that does not exist the score is -inf, and 0 times that is NaN.
    loss = -jnp.sum(jnp.where(classes, log_q, 0.0), axis=-1)
    if batch.where is None:
      return loss
    return jnp.where(jnp.all(batch.where, axis=-1), loss, 0.0)

  return powerset._replace(name='pruned_sets', objective=objective)


def _classes(frozen, y, subsets):
  """True for the classes that a row with labels y trains, [B, K]."""
  table, seen = frozen['table'], frozen['seen'][None, :]
  size = jnp.sum(table, axis=-1)[None, :]
  shared = y @ table.T
  itself = seen & (shared == size) & (size == jnp.sum(y, axis=-1)[:, None])
  part = seen & (shared == size) & (size > 0)
  # Counts stay below 2^24 rows; a tie in both goes to the first in the table.
  larger = size + frozen['count'][None, :] / (1.0 + jnp.sum(frozen['count']))
  size_and_count = jnp.where(part, larger, -1.0)
  best, index = jax.lax.top_k(size_and_count, min(subsets, table.shape[0]))
  places = jnp.arange(len(y))[:, None]
  chosen = jnp.zeros(part.shape, bool).at[places, index].set(best > 0)
  return jnp.where(jnp.any(itself, axis=-1, keepdims=True), itself, chosen)
