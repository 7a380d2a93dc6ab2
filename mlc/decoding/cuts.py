"""Every way to cut the ranked rows of each label in two, all labels at once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Cuts(NamedTuple):
  """Cut k calls the k rows of largest probability positive, k = 0..N.

  Attributes:
    threshold: half way between the rows on both sides of the cut.
    predicted: weight of the rows above it.
    true_positives: weight of the positives among them.
    score: weighted sum of their probabilities.
    possible: False where the cut would part equal probabilities.
    positives: weight of all positives [labels, 1].
    total: weight of all rows [labels, 1].
    total_score: weighted sum of all probabilities [labels, 1].
  """

  threshold: Float[Array, 'labels cuts']
  predicted: Float[Array, 'labels cuts']
  true_positives: Float[Array, 'labels cuts']
  score: Float[Array, 'labels cuts']
  possible: Bool[Array, 'labels cuts']
  positives: Float[Array, 'labels one']
  total: Float[Array, 'labels one']
  total_score: Float[Array, 'labels one']


def cuts_of(
  p: Float[Array, 'labels rows'],
  y: Float[Array, 'labels rows'],
  weight: Float[Array, 'labels rows'],
) -> Cuts:
  """The cuts of each label, by one sort.

  Args:
    p: probabilities.
    y: 0.0 or 1.0.
    weight: of each row for each label, 0 where it does not count.
  """
  # A row that does not count must not offer its probability as a threshold.
  p = jnp.where(weight > 0, p, 0.0)
  y = jnp.where(weight > 0, y * weight, 0.0)
  falling, y, weight = jax.lax.sort((-p, y, weight), dimension=-1, num_keys=1)
  p = -falling
  above = jnp.pad(p, [(0, 0), (1, 0)], constant_values=1.0)
  below = jnp.pad(p, [(0, 0), (0, 1)])
  middle = 0.5 * (above + below)
  # Half way between neighbours may round up to the upper one.
  threshold = jnp.where(middle < above, middle, below)
  predicted, true_positives, score = (
    jnp.pad(jnp.cumsum(part, axis=-1), [(0, 0), (1, 0)])
    for part in (weight, y, weight * p)
  )
  return Cuts(
    threshold=threshold,
    predicted=predicted,
    true_positives=true_positives,
    score=score,
    possible=(above > below).at[:, 0].set(True),
    positives=true_positives[:, -1:],
    total=predicted[:, -1:],
    total_score=score[:, -1:],
  )


def best_cut(
  cuts: Cuts, value: Float[Array, 'labels cuts']
) -> Float[Array, ' labels']:
  """The threshold of largest value for each label, of equals the highest."""
  value = jnp.where(cuts.possible, value, -jnp.inf)
  best = jnp.argmax(value, axis=-1)[:, None]
  return jnp.take_along_axis(cuts.threshold, best, axis=-1)[:, 0]


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

  def value(f):
    return jnp.where(cuts.possible, above - f * below, -jnp.inf)

  def improve(state):
    _, f, rounds = state
    best = jnp.argmax(value(f), axis=-1)[:, None]
    gained = jnp.sum(jnp.take_along_axis(above, best, axis=-1))
    paid = jnp.sum(jnp.take_along_axis(below, best, axis=-1))
    return f, gained / jnp.where(paid > 0, paid, 1.0), rounds + 1

  def goes_on(state):
    before, f, rounds = state
    return (f > before) & (rounds < 100)

  start = -jnp.ones((), above.dtype), jnp.zeros((), above.dtype), 0
  _, f, _ = jax.lax.while_loop(goes_on, improve, start)
  return value(f)
