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

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc import distribution
from mlc.metrics.regret import Criterion, criteria, regret
from mlc.numerics import in_blocks, weighted_mean
from mlc.temperature import likeliest_temperature, tempered

SHIFTS = (0.0, -2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0)


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
  calibrated = tempered(model_log_joint, temperature)
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

  See `likeliest_temperature`. A row whose labels the model rules out
  says nothing of T.

  Args:
    log_joint: log q of each row.
    y: the labels that were seen.
    weight: of the rows.

  Returns:
    T; 1 where there is no row to learn from.
  """
  values = jnp.arange(log_joint.shape[-1])[None, :]
  seen = values == distribution.code(y)[:, None]
  return likeliest_temperature(log_joint, seen, weight)


def regrets(
  truth: Float[Array, 'rows vectors'],
  decisions: Mapping[str, Float[Array, 'rows labels']],
  scores: Float[Array, 'rows labels'],
  weight: Float[Array, ' rows'] | None,
  block: int,
  table: Float[Array, 'rows vectors'] | None = None,
  temperature: Array | None = None,
) -> dict[str, dict[str, Array]]:
  """Mean regret of every decoder to the Bayes answer, and where it comes from.

  Args:
    truth: log p(y | x) of every label vector.
    decisions: decoder -> label vectors.
    scores: what orders the labels, with every decoder.
    weight: of the rows.
    block: rows looked at together.
    table: log q(y | x) of the model, for the parts of the regret.
    temperature: that recalibrates the table.

  Returns:
    decoder -> name -> number: `regret_METRIC`, and where there is a table
    `regret_METRIC_PART` for the parts of `Components`.
  """
  # The best answer is found once, as it is the same for every decoder.
  judge = jax.vmap(regret, in_axes=(None, None, 1), out_axes=1)
  measured = criteria()

  def of_block(part):
    truth, decided, scores, *table = part
    of_metric = {}
    for name, criterion in measured.items():
      answers = decided if criterion.takes == 'decisions' else scores[:, None]
      ways = [way(criterion, truth, q, temperature) for q in table]
      of_metric[name] = judge(criterion, truth, answers), ways
    return of_metric

  stacked = jnp.stack([*decisions.values()], axis=1)
  rows = [truth, stacked, scores] + ([] if table is None else [table])
  of_metric = in_blocks(of_block, tuple(rows), block)
  values: dict[str, dict[str, Array]] = {name: {} for name in decisions}
  for name, criterion in measured.items():
    judged, ways = of_metric[name]
    for i, decoder in enumerate(decisions):
      mine = jax.tree.map(
        lambda leaf, i=i: leaf[:, min(i, leaf.shape[1] - 1)], judged
      )
      found = values[decoder]
      found[f'regret_{name}'] = weighted_mean(mine.regret, weight)
      for rungs in ways:
        parts = components(criterion, mine.expected, rungs, weight)
        for part, value in parts._asdict().items():
          found[f'regret_{name}_{part}'] = value
  return values
