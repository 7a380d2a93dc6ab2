"""The decision that the Jaccard index asks for, from what there is.

    J(y, d) = |y and d| / |y or d|,  J(0, 0) = 1

Unlike the F-measure its expectation is not linear in the decision at a given
size. It is exact for a table, whose decisions are all tried, and for a product
of independent labels, in closed form; for samples it is searched.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.distribution import (
  label_vectors,
  num_labels_of,
  product_log_prob_empty,
)

# Beyond, 4^L pairs a row are too many: 1 ms a row at 12 labels, 26 at 14.
MAX_LABELS = 14
# Numbers in the block of pairs (y, d) that is worked on at a time: 16 MiB.
_PAIRS = 2**22


def table_values(
  log_joint: Float[Array, '*batch vectors'],
) -> Float[Array, '*batch vectors']:
  """The expected Jaccard index of every decision, all 4^L pairs looked at.

  value_d = sum_y p(y) |y and d| / |y or d|,  0 / 0 = 1
  """
  vectors = label_vectors(num_labels_of(log_joint))
  # A table of all pairs is not for the compiler to work out.
  vectors = jax.lax.optimization_barrier(vectors)
  size = jnp.sum(vectors, axis=-1)
  p = jnp.exp(log_joint)
  together = max(1, min(len(vectors), _PAIRS // len(vectors)))

  def of_block(_, decisions):
    both = vectors @ decisions.T
    union = size[:, None] + jnp.sum(decisions, axis=-1)[None, :] - both
    return None, p @ jaccard(both, union)

  blocks = vectors.reshape(-1, together, vectors.shape[-1])
  _, values = jax.lax.scan(of_block, None, blocks)
  return jnp.moveaxis(values, 0, -2).reshape(p.shape)


def table_decision(
  log_joint: Float[Array, '*batch vectors'],
) -> Float[Array, '*batch labels']:
  """The label vector of largest expected Jaccard index; of equals the first.

  Raises:
    ValueError: for more than MAX_LABELS labels.
  """
  num_labels = num_labels_of(log_joint)
  if num_labels > MAX_LABELS:
    raise ValueError(
      f'the best decision for the Jaccard index is enumerated up to '
      f'{MAX_LABELS} labels, not {num_labels}: draw samples.'
    )
  best = jnp.argmax(table_values(log_joint), axis=-1)
  return label_vectors(num_labels)[best]


def product_decision(
  marginals: Float[Array, '*batch labels'],
) -> tuple[Float[Array, '*batch labels'], Float[Array, '*batch']]:
  """The label vector of largest expected Jaccard index, labels independent.

  Of the decisions with k labels the k likeliest are best: to swap a label for
  a likelier one changes J only where exactly one of the two is true, for the
  better where it is the likelier. For these, with B_k the number of true labels
  among the others,

      E J = (sum_{j <= k} p_(j)) E[1 / (k + B_k)],    E J(0) = P(y = 0),

  as what is hit and what is missed are independent. The law of B_k follows
  from that of B_{k+1}, so that all k together cost L^2.

  Args:
    marginals: [..., j] = P(y_j = 1).

  Returns:
    The decision, 0.0 or 1.0, and its expected Jaccard index. Of equals the
    smallest decision is taken, then the labels with the lowest index.
  """
  num_labels = marginals.shape[-1]
  falling = -jnp.sort(-marginals, axis=-1)
  hits = jnp.cumsum(falling, axis=-1)
  count = jnp.arange(num_labels, dtype=marginals.dtype)

  def step(law, inputs):
    k, p, hits = inputs
    share = jnp.expand_dims(1.0 / (k + count), range(law.ndim - 1))
    value = hits * jnp.sum(law * share, axis=-1)
    p = p[..., None]
    more = jnp.concatenate([jnp.zeros_like(p), law[..., :-1]], axis=-1)
    return (1.0 - p) * law + p * more, value

  law = jnp.zeros_like(marginals).at[..., 0].set(1.0)
  by_size = count + 1.0, jnp.moveaxis(falling, -1, 0), jnp.moveaxis(hits, -1, 0)
  _, values = jax.lax.scan(step, law, by_size, reverse=True)
  empty = jnp.exp(product_log_prob_empty(marginals))[None]
  values = jnp.concatenate([empty, values])
  k = jnp.argmax(values, axis=0)
  rank = jnp.argsort(jnp.argsort(-marginals, axis=-1), axis=-1)
  return (rank < k[..., None]).astype(marginals.dtype), jnp.max(values, axis=0)


def sample_decision(
  samples: Float[Array, 'n *batch labels'],
) -> Float[Array, '*batch labels']:
  """A label vector of large mean Jaccard index with the draws, by search.

  The best of the k most frequent labels, k = 0..L, then the single label that
  improves it most is flipped until none does. The best of all is NP-hard to
  find (Chierichetti, Kumar, Pandey, Vassilvitskii, Finding the Jaccard median,
  SODA 2010).
  """
  num_labels = samples.shape[-1]
  dtype = samples.dtype
  frequency = jnp.mean(samples, axis=0)
  order = jnp.argsort(-frequency, axis=-1)
  sizes = jnp.expand_dims(jnp.arange(num_labels + 1.0), range(order.ndim - 1))

  def mean_over_draws(of_draw):
    one = jax.eval_shape(of_draw, samples[0])
    total, _ = jax.lax.scan(
      lambda total, y: (total + of_draw(y), None),
      jnp.zeros(one.shape, one.dtype),
      samples,
    )
    return total / samples.shape[0]

  def of_sizes(y):
    hits = jnp.cumsum(jnp.take_along_axis(y, order, axis=-1), axis=-1)
    both = jnp.concatenate([jnp.zeros_like(hits[..., :1]), hits], axis=-1)
    return jaccard(both, both[..., -1:] + sizes - both)

  def of_flips(decision):
    change = 1.0 - 2.0 * decision

    def of_draw(y):
      both = jnp.sum(y * decision, axis=-1, keepdims=True)
      union = jnp.sum(jnp.maximum(y, decision), axis=-1, keepdims=True)
      here = jaccard(both, union)
      there = jaccard(both + change * y, union + change * (1.0 - y))
      return jnp.concatenate([here, there], axis=-1)

    return mean_over_draws(of_draw)

  def climb(state):
    decision, _ = state
    value = of_flips(decision)
    gain = value[..., 1:] - value[..., :1]
    best = jax.nn.one_hot(jnp.argmax(gain, axis=-1), num_labels, dtype=dtype)
    # Less than that is rounding, and might go in circles.
    better = jnp.max(gain, axis=-1, keepdims=True) > 1e-6
    moved = jnp.where(better, jnp.abs(decision - best), decision)
    return moved, jnp.any(better)

  k = jnp.argmax(mean_over_draws(of_sizes), axis=-1)[..., None]
  start = (jnp.argsort(order, axis=-1) < k).astype(dtype)
  state = start, jnp.bool_(True)
  return jax.lax.while_loop(lambda state: state[1], climb, state)[0]


def jaccard(
  both: Float[Array, '*dims'], union: Float[Array, '*dims']
) -> Float[Array, '*dims']:
  """|y and d| / |y or d|; 1 where both are empty."""
  return jnp.where(union > 0, both / jnp.where(union > 0, union, 1.0), 1.0)
