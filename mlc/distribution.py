"""What can be asked of a distribution over label vectors, and from what.

Three representations, one vocabulary: a *table* holds log p(y) of all 2^L
vectors, a *product* holds the marginals of independent labels, and *samples*
are draws. Heads, decoders, synthetic worlds and regret all ask here.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mlc.base import Key, Params
from mlc.numerics import pair_information

# A table of 2^16 vectors for a block of 256 rows is 64 MiB in float32.
MAX_TABLE_LABELS = 16


def label_vectors(num_labels: int) -> Float[Array, 'vectors labels']:
  """All 2^L label vectors; row c holds the bits of c, label j in bit j."""
  # Computed where used: a constant of 2^L rows would be compiled in.
  codes = jnp.arange(2**num_labels)[:, None]
  return ((codes >> jnp.arange(num_labels)[None, :]) & 1).astype(jnp.float32)


def code(y: Float[Array, '*batch labels']) -> Int[Array, '*batch']:
  """The row of `label_vectors` that holds y: sum_j y_j 2^j."""
  powers = 2 ** jnp.arange(y.shape[-1])
  return jnp.tensordot(y.astype(jnp.int32), powers, axes=1)


def tabulate(
  log_prob: Callable[..., Array],
  params: Params,
  h: Float[Array, 'batch dim'],
  num_labels: int,
) -> Float[Array, 'batch vectors']:
  """The table of a head from its log_prob, one vector after another."""

  def column(y):
    rows = jnp.broadcast_to(y, (h.shape[0], num_labels))
    return log_prob(params, h, rows)

  vectors = label_vectors(num_labels)
  columns = jax.lax.map(column, vectors, batch_size=min(256, len(vectors)))
  return columns.T


# Tables: log_joint [..., 2^L].


def num_labels_of(log_joint: Float[Array, '*batch vectors']) -> int:
  return log_joint.shape[-1].bit_length() - 1


def table_marginals(
  log_joint: Float[Array, '*batch vectors'],
) -> Float[Array, '*batch labels']:
  """P(y_j = 1) = sum_y y_j p(y)."""
  return jnp.exp(log_joint) @ label_vectors(num_labels_of(log_joint))


def table_pairs(
  log_joint: Float[Array, '*batch vectors'],
) -> Float[Array, '*batch labels labels']:
  """P(y_j = 1, y_k = 1); the diagonal holds the marginals.

  The first labels make the columns of a matrix of probabilities and the others
  its rows, so that no pair takes a pass through all 2^L vectors.
  """
  num_labels = num_labels_of(log_joint)
  first = label_vectors(num_labels // 2)
  rest = label_vectors(num_labels - num_labels // 2)
  p = jnp.exp(log_joint)
  p = p.reshape(*p.shape[:-1], len(rest), len(first))
  within = jnp.einsum('...c,cj,ck->...jk', p.sum(axis=-2), first, first)
  beyond = jnp.einsum('...r,rj,rk->...jk', p.sum(axis=-1), rest, rest)
  across = jnp.einsum('...rj,rk->...jk', p @ first, rest)
  return jnp.concatenate(
    [
      jnp.concatenate([within, across], axis=-1),
      jnp.concatenate([jnp.moveaxis(across, -1, -2), beyond], axis=-1),
    ],
    axis=-2,
  )


def table_information(
  log_joint: Float[Array, '*batch vectors'],
) -> Float[Array, '*batch']:
  """Mean over the pairs j < k of I(y_j; y_k), in nats; NaN for one label."""
  both = table_pairs(log_joint)
  labels = both.shape[-1]
  one = jnp.diagonal(both, axis1=-2, axis2=-1)[..., :, None]
  information = pair_information(both, jnp.broadcast_to(one, both.shape))
  pairs = jnp.triu_indices(labels, k=1)
  return jnp.mean(information[..., pairs[0], pairs[1]], axis=-1)


def table_mode(
  log_joint: Float[Array, '*batch vectors'],
) -> Float[Array, '*batch labels']:
  """argmax_y p(y); of equals the one with the lowest code."""
  vectors = label_vectors(num_labels_of(log_joint))
  return vectors[jnp.argmax(log_joint, axis=-1)]


def table_sample(
  log_joint: Float[Array, '*batch vectors'], key: Key, n: int
) -> Float[Array, 'n *batch labels']:
  """n independent draws."""
  codes = draws(log_joint, key, n)
  return label_vectors(num_labels_of(log_joint))[codes]


def draws(
  log_p: Float[Array, '*batch outcomes'], key: Key, n: int
) -> Int[Array, 'n *batch']:
  """n independent draws of an outcome, by inversion.

  One number and log2 K comparisons a draw, where the Gumbel trick of
  jax.random.categorical takes K numbers. What is less likely than 6e-8 may
  never be drawn, what is impossible never is.

  Args:
    log_p: of each of K outcomes, up to a constant.
    key: for the draws.
    n: how many for each batch element.

  References:
    Devroye, Non-Uniform Random Variate Generation, 1986, section III.2.
  """
  below = jnp.cumsum(jax.nn.softmax(log_p, axis=-1), axis=-1)
  batch = log_p.shape[:-1]
  # A uniform number is 1 - 2^-23 at most: the product stays below the sum.
  u = jax.random.uniform(key, (*batch, n), below.dtype) * below[..., -1:]
  find = partial(jnp.searchsorted, side='right')
  for _ in batch:
    find = jax.vmap(find)
  return jnp.moveaxis(find(below, u), -1, 0)


def table_conditional(
  log_joint: Float[Array, '*batch vectors'], y: Float[Array, '*batch labels']
) -> Float[Array, '*batch labels']:
  """P(y_j = 1 | y without j) for every j."""
  bits = 2 ** jnp.arange(num_labels_of(log_joint))
  bits = jnp.expand_dims(bits, range(y.ndim - 1))
  codes = code(y)[..., None]
  on = jnp.take_along_axis(log_joint, codes | bits, axis=-1)
  off = jnp.take_along_axis(log_joint, codes & ~bits, axis=-1)
  return first_of_two(on, off)


def table_partial(
  log_joint: Float[Array, '*batch vectors'],
  y: Float[Array, '*batch labels'],
  known: Bool[Array, '*batch labels'],
) -> Float[Array, '*batch labels']:
  """P(y_j = 1 | the known part of y): sums over what agrees with it.

  Where the known part is impossible, the unknown labels have probability 0.5.
  """
  vectors = label_vectors(num_labels_of(log_joint))
  # Known labels in which a vector differs: 0 for those that agree.
  on, off = known * y, known * (1.0 - y)
  differs = on @ (1.0 - vectors).T + off @ vectors.T
  left = jnp.where(differs == 0, log_joint, -jnp.inf)
  top = jnp.max(left, axis=-1, keepdims=True)
  possible = jnp.isfinite(top)
  p = jnp.exp(left - jnp.where(possible, top, 0.0))
  total = jnp.where(possible, jnp.sum(p, axis=-1, keepdims=True), 1.0)
  unknown = jnp.where(possible, (p @ vectors) / total, 0.5)
  return jnp.where(known, y, unknown)


def table_cardinality_marginals(
  log_joint: Float[Array, '*batch vectors'],
) -> Float[Array, '*batch labels sizes']:
  """[..., j, s-1] = P(y_j = 1, |y| = s), s = 1..L."""
  num_labels = num_labels_of(log_joint)
  vectors = label_vectors(num_labels)
  features = vectors[:, :, None] * _of_size(vectors)[:, None, :]
  return jnp.tensordot(jnp.exp(log_joint), features, axes=1)


# Products: marginals [..., L] of independent labels.


def product_cardinality_marginals(
  marginals: Float[Array, '*batch labels'],
) -> Float[Array, '*batch labels sizes']:
  """[..., j, s-1] = p_j P(|y without j| = s-1) of independent labels.

  The law of |y without j| is a Poisson binomial, read off its characteristic
  function prod_i (1 - p_i + p_i w^t) at the L roots of unity; the products
  that leave j out are prefix times suffix, so the cost is L^2 log L.

  References:
    Hong, On computing the distribution function for the Poisson binomial
    distribution, CSDA 2013, section 2.2.
  """
  num_labels = marginals.shape[-1]
  angle = -2.0 * np.pi * np.arange(num_labels) / num_labels
  root = jnp.asarray(np.exp(1j * angle), jnp.result_type(marginals, 1j))
  p = marginals[..., None]
  root = jnp.expand_dims(root, range(p.ndim - 1))
  factor = (1.0 - p) + p * root
  before = _exclusive_cumprod(factor)
  after = jnp.flip(_exclusive_cumprod(jnp.flip(factor, -2)), -2)
  others = jnp.fft.ifft(before * after, axis=-1).real
  return p * jnp.clip(others, 0.0, 1.0)


def product_log_prob_empty(
  marginals: Float[Array, '*batch labels'],
) -> Float[Array, '*batch']:
  """log P(y = 0) = sum_j log(1 - p_j)."""
  return jnp.sum(jnp.log1p(-marginals), axis=-1)


# Samples: draws [n, ..., L].


def sample_cardinality_marginals(
  samples: Float[Array, 'n *batch labels'],
) -> Float[Array, '*batch labels sizes']:
  """[..., j, s-1], the share of draws with y_j = 1 and |y| = s."""
  num_labels = samples.shape[-1]

  def add(total, y):
    return total + y[..., :, None] * _of_size(y)[..., None, :], None

  zeros = jnp.zeros((*samples.shape[1:], num_labels), samples.dtype)
  total, _ = jax.lax.scan(add, zeros, samples)
  return total / samples.shape[0]


# Any head with log_prob.


def conditional_from_log_prob(
  log_prob: Callable[..., Array],
) -> Callable[..., Array]:
  """P(y_j = 1 | h, y without j) by flipping each label in turn: 2L calls."""

  def conditional(params, h, y):
    def flipped(j):
      on = log_prob(params, h, y.at[..., j].set(1.0))
      off = log_prob(params, h, y.at[..., j].set(0.0))
      return first_of_two(on, off)

    columns = jax.lax.map(flipped, jnp.arange(y.shape[-1]), batch_size=16)
    return jnp.moveaxis(columns, 0, -1)

  return conditional


def _of_size(y: Float[Array, '*batch labels']) -> Array:
  """[..., s-1] = 1 where |y| = s; all 0 for the empty vector."""
  size = jnp.sum(y, axis=-1).astype(jnp.int32)
  return jax.nn.one_hot(size - 1, y.shape[-1], dtype=y.dtype)


def first_of_two(
  on: Float[Array, '*batch'], off: Float[Array, '*batch']
) -> Float[Array, '*batch']:
  """exp(on) / (exp(on) + exp(off)); 0.5 when both are impossible."""
  impossible = jnp.isneginf(on) & jnp.isneginf(off)
  return jnp.where(impossible, 0.5, jax.nn.sigmoid(on - off))


def _exclusive_cumprod(x: Array) -> Array:
  """prod_{i<j} x_i along the axis before the last."""
  shifted = jnp.concatenate(
    [jnp.ones_like(x[..., :1, :]), x[..., :-1, :]], axis=-2
  )
  return jnp.cumprod(shifted, axis=-2)
