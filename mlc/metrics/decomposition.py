"""Where regret comes from: the same model under counterfactuals.

With `of` the expected value of a criterion under the truth, as a loss, the way
from what was answered to the best answer passes three others:

    answered      by the decoder at hand
    exact         the best answer if the model's joint q were the truth
    recalibrated  the same for q^(1/T) / sum q^(1/T), T from validation rows
    shifted       the same for q(y) exp(b |y|) / sum of it after that, with the
                  b of SHIFTS, one for all rows, that is best under the truth
    Bayes         the best answer under the truth

    regret = of(answered) - of(Bayes), the sum of
    decoding    = of(answered) - of(exact)
    calibration = of(exact) - of(recalibrated)
    threshold   = of(recalibrated) - of(shifted)
    model       = of(shifted) - of(Bayes).

They add up because they telescope. The model's part is never negative, nor is
that of the threshold, as b = 0 is one of SHIFTS; the others are where the
supposed improvement harms. For independent labels that are decided one by one
a shift b moves the threshold from 1/2 to sigmoid(-b).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc import distribution
from mlc.metrics.regret import Criterion
from mlc.numerics import weighted_mean

SHIFTS = (0.0, -2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0)
# log2 of the steepest and the flattest temperature that is looked at.
_MAX_LOG2_TEMPERATURE = 3.0
_BISECTIONS = 30


class Components(NamedTuple):
  """Parts of a mean regret, in the unit of the metric; see the module.

  Attributes:
    decoding: lost by not giving the model's own best answer.
    calibration: lost by a model too sure, or not sure enough, of everything.
    threshold: lost by deciding for too many labels, or too few.
    model: lost by what no temperature and no threshold mends.
  """

  decoding: Float[Array, '']
  calibration: Float[Array, '']
  threshold: Float[Array, '']
  model: Float[Array, '']


def decompose(
  criterion: Criterion,
  log_joint: Float[Array, 'rows vectors'],
  model_log_joint: Float[Array, 'rows vectors'],
  answers: Float[Array, 'rows labels'],
  *,
  temperature: Float[Array, ''] | float = 1.0,
  weight: Float[Array, ' rows'] | None = None,
) -> Components:
  """The parts of the regret of some answers.

  Args:
    criterion: the metric.
    log_joint: the true log p(y) of each row.
    model_log_joint: log q(y) of the model.
    answers: what was answered: decisions or scores, as the criterion takes.
    temperature: T, see `fit_temperature`.
    weight: of the rows.

  Returns:
    The parts; their sum is the mean regret.
  """
  rungs = way(criterion, log_joint, model_log_joint, temperature)
  answered = criterion.expected(log_joint, answers)
  return components(criterion, answered, rungs, weight)


def way(
  criterion: Criterion,
  log_joint: Float[Array, '*batch vectors'],
  model_log_joint: Float[Array, '*batch vectors'],
  temperature: Float[Array, ''] | float,
) -> Float[Array, '*batch rungs']:
  """The expected value of every answer but the one at hand.

  Returns:
    For each row that of exact, of recalibrated by each of SHIFTS, of Bayes.
  """
  calibrated = recalibrated(model_log_joint, temperature)
  tables = jnp.stack(
    [
      model_log_joint,
      *(shifted(calibrated, shift) for shift in SHIFTS),
      log_joint,
    ]
  )

  def value(table):
    return criterion.expected(log_joint, criterion.bayes(table))

  return jnp.moveaxis(jax.lax.map(value, tables), 0, -1)


def components(
  criterion: Criterion,
  answered: Float[Array, ' rows'],
  rungs: Float[Array, 'rows rungs'],
  weight: Float[Array, ' rows'] | None = None,
) -> Components:
  """The parts from the values of each row.

  Args:
    criterion: the metric.
    answered: the expected value of what was answered.
    rungs: as `way` gives them.
    weight: of the rows.
  """
  sign = 1.0 if criterion.direction == 'lower' else -1.0
  # Differences before means: what does not differ is exactly 0.
  exact, calibrated, bayes = rungs[:, 0], rungs[:, 1], rungs[:, -1]
  by_shift = jax.vmap(weighted_mean, in_axes=(1, None))(
    sign * (rungs[:, 1:-1] - calibrated[:, None]), weight
  )
  best = rungs[:, 1 + jnp.argmin(by_shift)]

  def part(before, after):
    return weighted_mean(sign * (before - after), weight)

  return Components(
    decoding=part(answered, exact),
    calibration=part(exact, calibrated),
    threshold=part(calibrated, best),
    model=part(best, bayes),
  )


def recalibrated(
  log_joint: Float[Array, '*batch vectors'],
  temperature: Float[Array, ''] | float,
) -> Float[Array, '*batch vectors']:
  """log of q^(1/T) / sum q^(1/T); impossible vectors stay so."""
  return jax.nn.log_softmax(log_joint / temperature, axis=-1)


def shifted(
  log_joint: Float[Array, '*batch vectors'], shift: float
) -> Float[Array, '*batch vectors']:
  """log of q(y) exp(b |y|) / sum of it."""
  vectors = distribution.label_vectors(distribution.num_labels_of(log_joint))
  size = jnp.expand_dims(jnp.sum(vectors, axis=-1), range(log_joint.ndim - 1))
  return jax.nn.log_softmax(log_joint + shift * size, axis=-1)


def fit_temperature(
  log_joint: Float[Array, 'rows vectors'],
  y: Float[Array, 'rows labels'],
  weight: Float[Array, ' rows'] | None = None,
) -> Float[Array, '']:
  """The T in [1/8, 8] under which q^(1/T) makes the labels likeliest.

      sum_rows log q(y) = sum_rows sum_y' q^(1/T)(y') log q(y')

  at the maximum: the log-likelihood is concave in 1/T, and its derivative is
  bisected. A row whose labels the model rules out says nothing of T.

  Args:
    log_joint: log q of each row.
    y: the labels that were seen.
    weight: of the rows.

  Returns:
    T; 1 where there is no row to learn from.

  References:
    Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks,
    ICML 2017, section 4.2.
  """
  code = distribution.code(y)[:, None]
  seen = jnp.take_along_axis(log_joint, code, axis=-1)[:, 0]
  weight = jnp.ones_like(seen) if weight is None else weight
  weight = jnp.where(jnp.isfinite(seen), weight, 0.0)
  seen = jnp.where(weight > 0, seen, 0.0)
  possible = jnp.isfinite(log_joint)
  finite = jnp.where(possible, log_joint, 0.0)

  def too_flat(log2_t):
    p = jnp.exp(recalibrated(log_joint, 2.0**log2_t))
    expected = jnp.sum(jnp.where(possible, p * finite, 0.0), axis=-1)
    return weighted_mean(seen - expected, weight) > 0

  def halve(ends, _):
    low, high = ends
    middle = 0.5 * (low + high)
    flat = too_flat(middle)
    return (
      jnp.where(flat, low, middle),
      jnp.where(flat, middle, high),
    ), None

  ends = jnp.float32(-_MAX_LOG2_TEMPERATURE), jnp.float32(_MAX_LOG2_TEMPERATURE)
  (low, high), _ = jax.lax.scan(halve, ends, length=_BISECTIONS)
  return jnp.where(jnp.any(weight > 0), 2.0 ** (0.5 * (low + high)), 1.0)
