"""Every way to cut the ranked rows of each label in two, all labels at once."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

# Probabilities as integers of the same order: 1.0 is 0, 0.0 is _LAST.
_LAST = int(np.float32(1.0).view(np.int32))
# Of a row that does not count: behind all others.
_ABSENT = np.iinfo(np.int32).max
# Bins are numbered by the bits above these: as wide as 2^-11 of the
# probabilities in them.
_BIN_BITS = 12
# Sorts that share the labels among them, each of no fewer numbers.
_MOST_SORTS, _LEAST_NUMBERS = 16, 2**16


class Cuts(NamedTuple):
  """Cut k calls the k rows of largest probability positive, k = 0..N.

  Attributes:
    p: probability of the last row above the cut, 1 where there is none. A cut
      that would part equal probabilities is impossible.
    predicted: weight of the rows above it.
    true_positives: weight of the positives among them.
    score: weighted sum of their probabilities.
    positives: weight of all positives [labels, 1].
    total: weight of all rows [labels, 1].
    total_score: weighted sum of all probabilities [labels, 1].
  """

  p: Float[Array, 'labels cuts']
  predicted: Float[Array, 'labels cuts']
  true_positives: Float[Array, 'labels cuts']
  score: Float[Array, 'labels cuts']
  positives: Float[Array, 'labels one']
  total: Float[Array, 'labels one']
  total_score: Float[Array, 'labels one']


class Chosen(NamedTuple):
  """One cut of each label.

  Attributes:
    above: probability of the last row above it, 1 where there is none.
    below: probability of the first row below it, 0 where there is none.
    value: what it is worth; -inf where no cut is allowed.
  """

  above: Float[Array, ' labels']
  below: Float[Array, ' labels']
  value: Float[Array, ' labels']


class Ranking(NamedTuple):
  """The rows of each label, from the most to the least probable.

  Attributes:
    p: their probabilities.
    row: which they are.
  """

  p: Float[Array, 'labels rows']
  row: Int[Array, 'labels rows']


def cuts_of(
  p: Float[Array, 'rows labels'],
  y: Float[Array, 'rows labels'],
  weight: Float[Array, 'rows #labels'],
  *,
  once: Bool[Array, ''] | None = None,
) -> Cuts:
  """The cuts of each label, by one sort.

  Args:
    p: probabilities; NaN counts as 0.
    y: 0.0 or 1.0.
    weight: of each row for each label, 0 where it does not count.
    once: whether all weights are 0 or 1, which is faster; looked up if None.
  """
  if once is None:
    once = jnp.all((weight == 0.0) | (weight == 1.0))
  # Turned here: in a branch every part of the sort would be turned alone.
  code = jnp.where(weight > 0, 2 * _code(p) + (y <= 0), _ABSENT).T
  return jax.lax.cond(
    once,
    lambda: _of_counts(code),
    lambda: cuts_of_ranking(ranking(p.T), y.T, weight.T),
  )


def ranking(p: Float[Array, 'labels rows']) -> Ranking:
  """Ranks the rows of each label, whatever they weigh."""
  row = jax.lax.broadcasted_iota(jnp.int32, p.shape, 1)
  code, row = jax.lax.sort((_code(p), row), dimension=-1, num_keys=1)
  return Ranking(_decoded(code), row)


def cuts_of_ranking(
  ranking: Ranking,
  y: Float[Array, 'labels rows'],
  weight: Float[Array, '#labels rows'],
) -> Cuts:
  """The cuts of each label under other weights, without another sort."""
  weight = jnp.broadcast_to(weight, y.shape)
  weight = jnp.take_along_axis(weight, ranking.row, axis=-1)
  y = jnp.take_along_axis(y, ranking.row, axis=-1)
  return _cuts(
    ranking.p, weight, jnp.where(weight > 0, weight * y, 0.0), weight
  )


def bins_of(
  p: Float[Array, '*rows'],
  y: Float[Array, '*rows'],
  weight: Float[Array, '*#rows'],
) -> Cuts:
  """The cuts of all rows taken together that part no bin of probability.

  Returns:
    Cuts [1, bins + 1], bin b lying between cuts b and b + 1; `p` and `score`
    are not known. The rows of probability 0 are below the last cut.
  """
  number = 2 * (_code(p) >> _BIN_BITS) + (y <= 0)
  counts = jnp.zeros(2 * ((_LAST >> _BIN_BITS) + 1), weight.dtype)
  weight = jnp.broadcast_to(weight, number.shape)
  counts = counts.at[number.ravel()].add(weight.ravel())
  positive, negative = counts.reshape(-1, 2).T[:, None]
  true_positives = running_sum(_from_none(positive))
  predicted = running_sum(_from_none(positive + negative))
  unknown = jnp.full((1, 1), jnp.nan, weight.dtype)
  return Cuts(
    p=unknown,
    predicted=predicted[:, :-1],
    true_positives=true_positives[:, :-1],
    score=unknown,
    positives=true_positives[:, -1:],
    total=predicted[:, -1:],
    total_score=unknown,
  )


def bin_limits(
  number: Int[Array, ''],
) -> tuple[Float[Array, ''], Float[Array, '']]:
  """The largest and the smallest probability in a bin."""
  first = number << _BIN_BITS
  return _decoded(first), _decoded(first + 2**_BIN_BITS - 1)


def _of_counts(code: Int[Array, 'labels rows']) -> Cuts:
  """Where each row counts once or not at all.

  An XLA sort of single integers takes an eighth of the time of one that
  carries labels and weights along. So a row is one integer: its probability
  in the upper bits, then its label.
  """
  code = _sorted(code)
  there = code < _ABSENT
  p = jnp.where(there, _decoded(code >> 1), 0.0)
  positive = (there & (code & 1 == 0)).astype(p.dtype)
  rows = jnp.sum(there, axis=-1, keepdims=True, dtype=jnp.int32)
  cut = jax.lax.broadcasted_iota(jnp.int32, (len(p), p.shape[1] + 1), 1)
  return _cuts(p, there, positive, jnp.minimum(cut, rows).astype(p.dtype))


def _sorted(code: Int[Array, 'labels rows']) -> Int[Array, 'labels rows']:
  """Each label's integers, rising, in a few sorts that run side by side.

  XLA gives one sort of the CPU one thread.
  """
  sorts = min(_MOST_SORTS, len(code), code.size // _LEAST_NUMBERS)
  parts = jnp.array_split(code, max(sorts, 1))
  return jnp.concatenate([jax.lax.sort(part, dimension=-1) for part in parts])


def _cuts(p, weight, positive, predicted) -> Cuts:
  """Of ranked rows; `predicted` may be known already."""
  if predicted is weight:
    predicted = running_sum(_from_none(weight))
  true_positives = running_sum(_from_none(positive))
  score = running_sum(_from_none(weight * p))
  return Cuts(
    p=_from_none(p, 1.0),
    predicted=predicted,
    true_positives=true_positives,
    score=score,
    positives=true_positives[:, -1:],
    total=predicted[:, -1:],
    total_score=score[:, -1:],
  )


def running_sum(
  values: Float[Array, '*batch rows'], block: int = 8
) -> Float[Array, '*batch rows']:
  """Cumulative sums along the last axis, by products with a triangle of ones.

  With blocks of 8 half the time of `jnp.cumsum` on a CPU, and less to compile.
  Sums of ones are exact up to 2^24.
  """
  n = values.shape[-1]
  if n <= 2 * block:
    return _sums_within(values)
  blocks = -(-n // block)
  padding = [(0, 0)] * (values.ndim - 1) + [(0, blocks * block - n)]
  parts = jnp.pad(values, padding).reshape(*values.shape[:-1], blocks, block)
  within = _sums_within(parts)
  totals = within[..., -1]
  before = running_sum(totals, block) - totals
  sums = within + before[..., None]
  return sums.reshape(*values.shape[:-1], blocks * block)[..., :n]


def _sums_within(values: Array) -> Array:
  n = values.shape[-1]
  ones = jnp.triu(jnp.ones((n, n), values.dtype))
  return jnp.dot(values, ones, precision='highest')


def _from_none(values: Array, none: float = 0.0) -> Array:
  """With the cut above all rows."""
  return jnp.pad(values, [(0, 0), (1, 0)], constant_values=none)


def _code(p: Float[Array, '*rows']) -> Int[Array, '*rows']:
  """Integers that rise as the probabilities fall, equal where these are."""
  p = jnp.asarray(p, jnp.float32)
  # What is too small for a comparison of floats on this device is 0.
  p = jnp.where(p >= jnp.finfo(p.dtype).tiny, jnp.minimum(p, 1.0), 0.0)
  return _LAST - jax.lax.bitcast_convert_type(p, jnp.int32)


def _decoded(code: Int[Array, '*rows']) -> Float[Array, '*rows']:
  return jax.lax.bitcast_convert_type(_LAST - code, jnp.float32)


def choose(cuts: Cuts, value: Float[Array, 'labels cuts']) -> Chosen:
  """The cut of largest value for each label, of equals the highest."""
  value = possible(cuts, value)
  best = jnp.argmax(value, axis=-1)[:, None]
  at = lambda of, index: jnp.take_along_axis(of, index, axis=-1)
  # Cuts with rows between them that do not count are one, whatever rounding
  # makes of what they are worth.
  first, after = (
    jax.vmap(functools.partial(jnp.searchsorted, side=side))(
      cuts.predicted, at(cuts.predicted, best)
    )
    for side in ('left', 'right')
  )
  below = at(cuts.p, jnp.minimum(after, value.shape[-1] - 1))
  below = jnp.where(after < value.shape[-1], below, 0.0)
  return Chosen(at(cuts.p, first)[:, 0], below[:, 0], at(value, best)[:, 0])


def count_rows(
  cuts: Cuts, holds: Callable[[Array], Array], asked: int = 1
) -> Int[Array, 'labels asked']:
  """How many rows of each label come first, of which something holds.

  Args:
    cuts: ranked rows; row r stands above cut r + 1.
    holds: (p [labels, asked]) -> whether it does, for no row after one for
      which it does not.
    asked: how many counts of each label.
  """
  labels, rows = cuts.p.shape[0], cuts.p.shape[1] - 1

  def halve(_, state):
    low, high = state
    middle = (low + high) // 2
    inside = jnp.take_along_axis(cuts.p, middle + 1, axis=-1)
    further = holds(inside) & (low < high)
    return (
      jnp.where(further, middle + 1, low),
      jnp.where(further, high, middle),
    )

  none = jnp.zeros((labels, asked), jnp.int32)
  return jax.lax.fori_loop(0, rows.bit_length(), halve, (none, none + rows))[0]


def threshold(chosen: Chosen) -> Float[Array, ' labels']:
  """Half way between both sides of a cut."""
  middle = 0.5 * (chosen.above + chosen.below)
  # Half way between neighbours may round up to the upper one.
  return jnp.where(middle < chosen.above, middle, chosen.below)


def best_cut(
  cuts: Cuts, value: Float[Array, 'labels cuts']
) -> Float[Array, ' labels']:
  """The threshold of largest value for each label, of equals the highest."""
  return threshold(choose(cuts, value))


def possible(cuts: Cuts, value: Array) -> Float[Array, 'labels cuts']:
  """-inf where a cut would part equal probabilities."""
  following = jnp.pad(cuts.p[:, 1:], [(0, 0), (0, 1)])
  none = jnp.arange(value.shape[-1])[None, :] == 0
  return jnp.where((cuts.p > following) | none, value, -jnp.inf)


# What a cut is worth.


def f_value(cuts: Cuts, beta: float = 1.0) -> Float[Array, 'labels cuts']:
  """F-beta = (1 + b^2) tp / (b^2 positives + predicted); 0 without any."""
  below = beta**2 * cuts.positives + cuts.predicted
  above = (1.0 + beta**2) * cuts.true_positives
  return above / jnp.where(below > 0, below, 1.0)


def youden_value(cuts: Cuts) -> Float[Array, 'labels cuts']:
  """J = tp / positives - fp / negatives (Youden, Cancer 3, 1950)."""
  negatives = cuts.total - cuts.positives
  false_positives = cuts.predicted - cuts.true_positives
  return cuts.true_positives / jnp.maximum(
    cuts.positives, 1e-30
  ) - false_positives / jnp.maximum(negatives, 1e-30)


def otsu_value(cuts: Cuts) -> Float[Array, 'labels cuts']:
  """w_0 w_1 (m_1 - m_0)^2, the variance between both sides of a cut.

  Reference: Otsu, A threshold selection method from gray-level histograms,
  IEEE Transactions on Systems, Man, and Cybernetics 9, 1979, equation 14.
  """
  rest = cuts.total - cuts.predicted
  both = (rest > 0) & (cuts.predicted > 0)
  upper = cuts.score / jnp.where(both, cuts.predicted, 1.0)
  lower = (cuts.total_score - cuts.score) / jnp.where(both, rest, 1.0)
  return jnp.where(both, cuts.predicted * rest * (upper - lower) ** 2, 0.0)


def cardinality_value(cuts: Cuts) -> Float[Array, 'labels cuts']:
  """Minus how far the number of predictions is from that of positives."""
  return -jnp.abs(cuts.predicted - cuts.positives)


def micro_f_value(cuts: Cuts, beta: float = 1.0) -> Float[Array, 'labels cuts']:
  """What a cut adds to the best micro F-beta that cuts of all labels reach.

      F = max over cuts of (1 + b^2) sum_j tp_j / sum_j (b^2 pos_j + pred_j)

  At that F the cut of each label is the one that maximises
  (1 + b^2) tp_j - F (b^2 pos_j + pred_j) on its own; F is found by iterating
  the two, which converges superlinearly.

  Reference: Dinkelbach, On nonlinear fractional programming, Management
  Science 13, 1967.
  """
  above = (1.0 + beta**2) * cuts.true_positives
  below = beta**2 * cuts.positives + cuts.predicted

  def micro(best):
    gained = jnp.sum(jnp.take_along_axis(above, best, axis=-1))
    paid = jnp.sum(jnp.take_along_axis(below, best, axis=-1))
    return gained / jnp.where(paid > 0, paid, 1.0)

  def improve(state):
    _, f, rounds = state
    best = jnp.argmax(possible(cuts, above - f * below), axis=-1)[:, None]
    return f, micro(best), rounds + 1

  def goes_on(state):
    before, f, rounds = state
    return (f > before) & (rounds < 100)

  # From cuts that are good for each label on its own.
  best = jnp.argmax(possible(cuts, f_value(cuts, beta)), axis=-1)[:, None]
  _, f, _ = jax.lax.while_loop(goes_on, improve, (-1.0, micro(best), 0))
  return above - f * below
