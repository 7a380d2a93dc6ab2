"""The decision that the expected F-measure asks for.

    F(y, d) = (1 + b^2) sum_j y_j d_j / (b^2 |y| + |d|),  F(0, 0) = 1

Three representations of p(y), three ways, all exact in what they are given:
`decision` reads P(y_j = 1, |y| = s), which any joint can tell,
`product_decision` the marginals of independent labels, `sample_decision` draws.
"""

from collections.abc import Callable
from fractions import Fraction

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlc import distribution

# Sizes of a decision that are looked at together.
_SIZES_AT_ONCE = 64


def decision(
  cardinality_marginals: Float[Array, '*batch labels sizes'],
  p_empty: Float[Array, '*batch'],
  beta: float = 1.0,
) -> tuple[Float[Array, '*batch labels'], Float[Array, '*batch']]:
  """The label vector of largest expected F-measure: the GFM algorithm.

      F(y, d) = (1 + b^2) sum_j y_j d_j / (b^2 |y| + |d|),  F(0, 0) = 1

  For |d| = k the expectation is (1 + b^2) sum_j d_j g_jk with
  g_jk = sum_s P(y_j = 1, |y| = s) / (b^2 s + k): the k labels of largest g_jk
  are best. The best k is searched upwards, in blocks, until no larger one can
  win: no decision of k labels or more is worth more than
  (1 + b^2) sum_s s P(|y| = s) / (b^2 s + k).

  Args:
    cardinality_marginals: [..., j, s-1] = P(y_j = 1, |y| = s), s = 1..L.
    p_empty: P(y = 0), what the empty decision is worth.
    beta: b, the weight of recall beside precision.

  Returns:
    The decision, 0.0 or 1.0, and its expected F-measure. Of equals the
    smallest decision is taken, then the labels with the lowest index.

  References:
    Waegeman, Dembczynski, Jachnik, Cheng, Hullermeier, On the Bayes-optimality
    of F-measure maximizers, JMLR 15, 2014, algorithm 1.
  """
  size_mass = jnp.sum(cardinality_marginals, axis=-2)

  def gain(k):
    return _f_gain(cardinality_marginals, k, beta)

  def bound(k):
    return _f_gain(size_mass[..., None, :], k, beta)[..., 0, 0]

  return _best_size(gain, bound, p_empty, cardinality_marginals.shape[-1], beta)


def values(
  cardinality_marginals: Float[Array, '*batch labels sizes'],
  p_empty: Float[Array, '*batch'],
  beta: float = 1.0,
) -> Float[Array, '*batch vectors']:
  """The expected F-measure of every decision, in the order of label_vectors.

  Args: as of `decision`.
  """
  num_labels = cardinality_marginals.shape[-1]
  vectors = distribution.label_vectors(num_labels)
  sizes = jnp.expand_dims(jnp.arange(1, num_labels + 1), range(p_empty.ndim))
  gain = (1.0 + beta**2) * _f_gain(cardinality_marginals, sizes, beta)

  def of_size(k, values):
    # Linear at a given size: k labels, each worth what it gains.
    mine = jnp.matmul(gain[..., k - 1, :], vectors.T, precision='highest')
    here = jnp.expand_dims(jnp.sum(vectors, axis=-1) == k, range(p_empty.ndim))
    return jnp.where(here, mine, values)

  nothing = jnp.broadcast_to(
    p_empty[..., None], (*p_empty.shape, len(vectors))
  ).astype(gain.dtype)
  return jax.lax.fori_loop(1, num_labels + 1, of_size, nothing)


def sample_decision(
  samples: Float[Array, 'n *batch labels'], beta: float = 1.0
) -> tuple[Float[Array, '*batch labels'], Float[Array, '*batch']]:
  """As `decision` of the empirical distribution of draws.

  g_jk is the mean of y_j / (b^2 |y| + k) over the draws: n L a size, where the
  cardinality marginals would be L^2 numbers a draw.
  """
  size = jnp.sum(samples, axis=-1)

  def weight(k):
    k = jnp.maximum(k, 1).astype(samples.dtype)
    k = jnp.expand_dims(k, range(size.ndim + 1 - k.ndim))
    return 1.0 / (beta**2 * size[..., None] + k)

  def gain(k):
    total = jnp.einsum(
      'n...j,n...k->...kj', samples, weight(k), precision='highest'
    )
    return total / len(samples)

  def bound(k):
    return jnp.mean(size * weight(k)[..., 0], axis=0)

  p_empty = jnp.mean(size == 0, axis=0)
  return _best_size(gain, bound, p_empty, samples.shape[-1], beta)


def _best_size(
  gain: Callable[[Array], Array],
  bound: Callable[[Array], Array],
  p_empty: Float[Array, '*batch'],
  num_labels: int,
  beta: float,
) -> tuple[Float[Array, '*batch labels'], Float[Array, '*batch']]:
  """The best decision over all sizes k, searched upwards in blocks.

  Args:
    gain: k [*#batch, C] -> g_jk [*batch, C, L].
    bound: k [1] -> what no decision of k labels or more exceeds, [*batch].
    p_empty: P(y = 0).
    num_labels: L.
    beta: b.
  """
  block = min(_SIZES_AT_ONCE, num_labels)

  def search(state):
    start, best, best_k = state
    k = start + 1 + jnp.arange(block)
    descending = -jnp.sort(-gain(k), axis=-1)
    kept = jnp.arange(num_labels)[None, :] < k[:, None]
    kept = jnp.expand_dims(kept, range(descending.ndim - 2))
    value = jnp.sum(jnp.where(kept, descending, 0.0), axis=-1)
    known = jnp.expand_dims(k <= num_labels, range(value.ndim - 1))
    value = jnp.where(known, value, -jnp.inf)
    top = jnp.max(value, axis=-1)
    top_k = (start + 1 + jnp.argmax(value, axis=-1)).astype(best_k.dtype)
    best_k = jnp.where(top > best, top_k, best_k)
    return start + block, jnp.maximum(best, top), best_k

  def can_improve(state):
    start, best, _ = state
    return (start < num_labels) & jnp.any(bound(start[None] + 1) > best)

  nothing = p_empty / (1.0 + beta**2)
  state = jnp.int32(0), nothing, jnp.zeros(p_empty.shape, jnp.int32)
  _, best, k = jax.lax.while_loop(can_improve, search, state)
  gain_k = gain(k[..., None])[..., 0, :]
  return _first_of(-gain_k, k), best * (1.0 + beta**2)


def _first_of(
  keys: Float[Array, '*batch labels'], k: Int[Array, '*batch']
) -> Float[Array, '*batch labels']:
  """1 for the k labels of the smallest keys, of equals the first; else 0."""
  rank = jnp.argsort(jnp.argsort(keys, axis=-1), axis=-1)
  return (rank < k[..., None]).astype(keys.dtype)


def product_decision(
  marginals: Float[Array, '*batch labels'], squared: Fraction = Fraction(1)
) -> tuple[Float[Array, '*batch labels'], Float[Array, '*batch']]:
  """As `decision`, of independent labels: L^2 steps a row, not L^3.

  Of all decisions of k labels the one of the k largest marginals is best.
  Where A of these are on and T of the others, b^2 = q / r,

      E F = (1 + b^2) r sum_a a P(A = a) s_k(r k + q a),
      s_k(t) = E[1 / (t + q T)]

  and taking a label over to the others moves s and the law of A by one step:

      s_{k-1}(t) = p_k s_k(t + q) + (1 - p_k) s_k(t),   s_L(t) = 1 / t

  Args:
    marginals: P(y_j = 1).
    squared: b^2; time and memory grow with q + r.

  Returns:
    The decision, 0.0 or 1.0, and its expected F-measure; equals are resolved
    as in `decision`.

  References:
    Ye, Chai, Lee, Chieu, Optimizing F-measures: a tale of two approaches, ICML
    2012, algorithm 1 (quadratic time).
  """
  q, r = squared.numerator, squared.denominator
  num_labels, dtype = marginals.shape[-1], marginals.dtype
  p = jnp.moveaxis(-jnp.sort(-marginals, axis=-1), -1, 0)[..., None]
  sizes = jnp.arange(1, num_labels + 1)
  counts = jnp.arange(num_labels + 1)

  def back(s, inputs):
    p_k, k = inputs
    met = s[..., r * k + q * counts]
    # The last q places would need more; no smaller k asks for them.
    further = jnp.concatenate([s[..., q:], s[..., -q:]], axis=-1)
    return p_k * further + (1.0 - p_k) * s, met

  def forth(law, inputs):
    p_k, met = inputs
    more = jnp.concatenate(
      [jnp.zeros_like(law[..., :1]), law[..., :-1]], axis=-1
    )
    law = p_k * more + (1.0 - p_k) * law
    return law, (law * met) @ counts.astype(dtype)

  places = jnp.arange((q + r) * num_labels + 1, dtype=dtype)
  batch = marginals.shape[:-1]
  s = jnp.broadcast_to(1.0 / jnp.maximum(places, 1.0), (*batch, len(places)))
  _, met = jax.lax.scan(back, s, (p, sizes), reverse=True)
  law = jnp.broadcast_to((counts == 0).astype(dtype), (*batch, len(counts)))
  _, value = jax.lax.scan(forth, law, (p, met))
  p_empty = jnp.exp(distribution.product_log_prob_empty(marginals))
  scale = float(1 + squared) * r
  value = jnp.concatenate([p_empty[None], scale * value])
  k = jnp.argmax(value, axis=0)
  return _first_of(-marginals, k), jnp.max(value, axis=0)


def _f_gain(
  cardinality_marginals: Float[Array, '*batch labels sizes'],
  k: Int[Array, '*#batch chosen'],
  beta: float,
) -> Float[Array, '*batch chosen labels']:
  """[..., k, j] = sum_s P(y_j = 1, |y| = s) / (b^2 s + k)."""
  dtype = cardinality_marginals.dtype
  size = jnp.arange(1, cardinality_marginals.shape[-1] + 1, dtype=dtype)
  size = jnp.expand_dims(size, range(k.ndim))
  # k = 0 is asked for rows whose best decision is empty; the value is unused.
  k = jnp.maximum(k, 1).astype(dtype)[..., None]
  weight = 1.0 / (beta**2 * size + k)
  return jnp.einsum(
    '...js,...ks->...kj', cardinality_marginals, weight, precision='highest'
  )
