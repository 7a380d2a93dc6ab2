"""A head that looks at all 2^L label vectors: everything follows."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

from mlc import distribution
from mlc.base import Head, Params


def enumerated(
  name: str,
  num_labels: int,
  init: Callable[..., Params],
  joint: Callable[..., Array],
) -> Head:
  """A head known by the table log p(y | h) of its label vectors.

      marginals, mode, conditional, ... = sums and maxima over 2^L vectors

  What a head can tell without the table, it gives with `_replace` and a word of
  its own in `exactness`.

  Args:
    name: as in the results table.
    num_labels: L.
    init: (key, h, y, *, where=None, weight=None) -> params.
    joint: (params, h) -> log p(y | h) [batch, 2^L], normalised.

  Returns:
    A head with every capability but `logits`, `greedy` and `objective`.

  Raises:
    ValueError: for more than `distribution.MAX_TABLE_LABELS` labels.
  """
  limit = distribution.MAX_TABLE_LABELS
  if num_labels > limit:
    raise ValueError(
      f'head {name} lists all label vectors, which is possible up to {limit} '
      f'labels; it got {num_labels}. Choose a head that need not list them, '
      'such as classifier_chain.'
    )

  def log_prob(params, h, y, *, key=None):
    del key
    code = distribution.code(y)[:, None]
    return jnp.take_along_axis(joint(params, h), code, axis=-1)[:, 0]

  def marginals(params, h, *, key=None):
    del key
    return distribution.table_marginals(joint(params, h))

  def sample(params, key, h, n):
    return distribution.table_sample(joint(params, h), key, n)

  def mode(params, h):
    return distribution.table_mode(joint(params, h))

  def conditional(params, h, y):
    return distribution.table_conditional(joint(params, h), y)

  def partial(params, h, y, known):
    return distribution.table_partial(joint(params, h), y, known)

  def cardinality_marginals(params, h):
    return distribution.table_cardinality_marginals(joint(params, h))

  asked = (
    'marginals',
    'mode',
    'conditional',
    'partial',
    'joint',
    'cardinality_marginals',
  )
  return Head(
    name=name,
    num_labels=num_labels,
    exactness=dict.fromkeys(asked, 'enumerated'),
    init=init,
    log_prob=log_prob,
    marginals=marginals,
    sample=sample,
    mode=mode,
    conditional=conditional,
    joint=joint,
    cardinality_marginals=cardinality_marginals,
    partial=partial,
  )
