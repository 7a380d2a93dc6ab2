"""What a step minimises: the weighted mean loss, and a penalty."""

import types
from collections.abc import Callable, Collection, Mapping
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


def penalized(
  trained: Params, group: str | None = None, groups: Collection[str] = ()
) -> Any:
  """True for the leaves that shrink by the penalty of a group.

  Biases, gains and other vectors never shrink. A leaf belongs to the group
  that stands lowest among the dictionary keys above it.

  Args:
    trained: the trained parameters.
    group: one of the groups; None for the leaves that are in none.
    groups: dictionary keys of all groups with a penalty of their own.
  """

  def shrinks(path, leaf):
    names = [getattr(entry, 'key', None) for entry in path]
    free = bool(names) and names[-1] in _FREE
    own = [name for name in names if name in groups]
    return leaf.ndim >= 2 and not free and (own or [None])[-1] == group

  return jax.tree_util.tree_map_with_path(shrinks, trained)


def ridge(
  trained: Params,
  l2: Float[Array, ''],
  batch: Batch,
  own_l2: Mapping[str, Float[Array, '']] = types.MappingProxyType({}),
) -> Float[Array, '']:
  """The penalty of the full-batch objective.

      1 / (2 N) sum_g l2_g sum_w |w|^2    over the penalised leaves w of group g

  Added to the mean loss it makes N times the objective
  sum_i loss_i + l2 / 2 |w|^2, that of scikit-learn's LogisticRegression with
  C = 1 / l2, the intercept being free.

  Args:
    trained: the trained parameters.
    l2: strength of the penalty, of all leaves that are in no group.
    batch: all training rows; N is the sum of their weights.
    own_l2: dictionary key of a group -> the strength of its own.

  Returns:
    The penalty, a scalar.
  """
  assert batch.weight is not None
  penalty = jnp.zeros((), batch.y.dtype)
  for group, strength in ((None, l2), *own_l2.items()):
    squares = jax.tree.map(
      lambda leaf, shrinks: jnp.sum(leaf**2) * shrinks,
      trained,
      penalized(trained, group, own_l2),
    )
    total = sum(jax.tree.leaves(squares), jnp.zeros((), batch.y.dtype))
    scale = strength.astype(total.dtype) / (2.0 * jnp.sum(batch.weight))
    penalty += scale * total
  return penalty
