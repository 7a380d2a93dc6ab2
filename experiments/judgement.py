"""The last step of an experiment: the selected runs meet the test rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.before_after import arrays_of_calibration, uncalibrated
from experiments.deciding import OnRows, decided, fit_states, padded
from experiments.experiment import Model, Trial
from experiments.fitted import thresholds_of
from mlc import decoding, evaluation, metrics
from mlc.base import Batch, Params
from mlc.data.dataset import Dataset
from mlc.data.splits import Split
from mlc.metrics import decomposition
from mlc.metrics.regret import criteria
from mlc.numerics import jit_once
from mlc.rules import Rules
from mlc.side_by_side import Part


def judge(
  model: Model,
  dataset: Dataset,
  data: Batch,
  trial: Trial,
  selected: Sequence[int],
  params: Params,
  *,
  regrets: bool = True,
  rules: Rules | None = None,
  convention: str = 'mlc',
  on_rows: OnRows | None = None,
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
  """Calibrates and fits on validation rows, and measures these and test rows.

  Args:
    model: encoder, head, calibrator, decoders.
    dataset: for the truth where it is known, and whether it is multi-class.
    data: the data set on the device.
    trial: the rows of every run.
    selected: the run of each split that counts.
    params: of the selected runs, stacked.
    regrets: whether they are measured where the truth is known.
    rules: of the selected runs, stacked, for the decoders that keep some.
    convention: of the metrics.
    on_rows: called with what is done to the rows, to how many so far, and to
      how many in the end.

  Returns:
    Rows of results.json, and the arrays of predictions.npz.
  """
  if not selected:
    return [], {}
  splits = [trial.splits[trial.described[run]['split']] for run in selected]
  named = {
    part: [getattr(split, part) for split in splits]
    for part in ('validation', 'test')
    if len(getattr(splits[0], part))
  }
  # Parts of one length share the compiled metrics.
  length = max(len(index) for part in named.values() for index in part)
  parts = {part: padded(rows, length) for part, rows in named.items()}
  known = dataset.log_joint if regrets else None
  params, states, temperature = fit_states(
    model, data, splits, params, known is not None, rules, on_rows
  )
  states = decoding.given(states, rules)
  classes = model.head.one_hot and dataset.is_multiclass
  kinds = (metrics.multiclass if classes else metrics.multilabel)(convention)
  propensities = None if classes else propensities_of(dataset, splits)
  measure, regrets_known = over_runs(), regrets_of(model)
  result, before = {}, None
  decisions = decided(
    model, data, splits, params, states, list(parts.values()), on_rows
  )
  for (part, rows), (seen, before) in zip(
    parts.items(), decisions, strict=True
  ):
    found = evaluation.with_propensities(seen, propensities)
    of_decoder = evaluation.measured(kinds, found, measure)
    values = {name: mine.values for name, mine in of_decoder.items()}
    undefined = {name: mine.undefined for name, mine in of_decoder.items()}
    if before is not None:
      was = uncalibrated(kinds, before, measure)
      values = {name: values[name] | was[name] for name in values}
    if known is not None:
      of_each = regrets_known(data, known, found, params, rows, temperature)
      values = {name: values[name] | of_each[name] for name in values}
    result[part] = jax.device_get(
      evaluation.Judged(
        values,
        metrics.given(found.seen, 'scores'),
        found.decisions,
        found.confidence,
        undefined,
        found.information,
      )
    )
  arrays = arrays_of(dataset, splits, parts, result) | thresholds_of(states)
  if before is not None:
    # Of the last part, the test rows.
    arrays |= arrays_of_calibration(before, params)
  return rows_of(model, kinds, splits, result), arrays


def propensities_of(dataset: Dataset, splits: Sequence[Split]) -> jax.Array:
  """Of every label in each run, read off its training rows."""
  made = [
    metrics.propensities(dataset.y[split.train].sum(axis=0), len(split.train))
    for split in splits
  ]
  return jnp.asarray(np.stack(made), jnp.float32)


def over_runs() -> Callable[..., metrics.Measured]:
  """(metrics, Predictions) -> what they found in each run.

  Nothing of a model is in the program: it comes from the compilation cache
  for every other method that is judged on as many rows.
  """

  def measure(kinds, seen):
    return jax.lax.map(lambda one: metrics.measure(dict(kinds), one), seen)

  compiled = jit_once(measure, light=True, static_argnums=0)
  return lambda kinds, seen: compiled(tuple(kinds.items()), seen)


def regrets_of(model: Model) -> Callable[..., dict[str, dict[str, jax.Array]]]:
  """Decoder -> regret -> number of each run, where p(y | x) is known.

  Returns:
    A function of the data, log p(y | x) of all their rows, what was decided,
    the parameters, the (index, weight) of the rows, and the temperature by
    which regrets are taken apart, or None.
  """
  block = evaluation.block_of(model.head)

  @jit_once
  def regrets(data, truth, found, params, rows, temperature):
    def one(run):
      found, params, (index, weight), temperature = run
      table = None
      if temperature is not None:
        x = evaluation.rows_of(data, index, weight).x
        table = evaluation.joint_of(
          model.encoder, model.calibrated, params, x, block
        )
      return decomposition.regrets(
        truth[index],
        found.decisions,
        found.seen.scores,
        weight,
        block,
        table,
        temperature,
      )

    return jax.lax.map(one, (found, params, rows, temperature))

  return regrets


def rows_of(
  model: Model,
  kinds: Mapping[str, metrics.Metric],
  splits: Sequence[Split],
  result: Mapping[str, evaluation.Judged],
) -> list[dict[str, Any]]:
  """Rows of results.json: one for each number."""
  return [
    {
      'decoder': decoder,
      'seed': split.seed,
      'fold': split.fold,
      'split': part,
      'metric': name,
      'value': float(out.values[decoder][name][run]),
      'exactness': exactness_of(name, model, decoder, kinds),
      **(
        {'undefined': int(out.undefined[decoder][name][run])}
        if name in out.undefined[decoder]
        else {}
      ),
    }
    for part, out in result.items()
    for decoder in model.decoders
    for name in in_order(out.values[decoder], kinds)
    for run, split in enumerate(splits)
  ]


def in_order(names: Iterable[str], first: Iterable[str]) -> list[str]:
  """The names in the order of `first`, the others after them.

  Compiled functions give dictionaries back in alphabetical order.
  """
  there = list(names)
  ordered = [name for name in first if name in there]
  return ordered + [name for name in there if name not in ordered]


def exactness_of(
  metric: str,
  model: Model,
  decoder: str,
  kinds: Mapping[str, metrics.Metric],
) -> str:
  """How the number came about: of the decision, or of the distribution."""
  head = model.calibrated
  if metric.startswith(evaluation.UNCALIBRATED):
    metric = metric.removeprefix(evaluation.UNCALIBRATED)
    head = model.head
  if metric == 'mode_certified':
    return head.exactness['mode']
  needs = kinds[metric].needs if metric in kinds else 'decisions'
  if metric.startswith('regret_'):
    needs = next(
      criterion.takes
      for name, criterion in criteria().items()
      if metric.startswith(f'regret_{name}')
    )
  if needs in ('scores', 'propensities'):
    return head.exactness['marginals']
  if needs == 'log_prob':
    return 'closed-form'
  return model.decoders[decoder].exactness(model.calibrated)


def arrays_of(
  dataset: Dataset,
  splits: Sequence[Split],
  parts: Mapping[str, Part],
  result: Mapping[str, evaluation.Judged],
) -> dict[str, np.ndarray]:
  """What predictions.npz holds, with a leading axis of seeds and folds.

  `row` tells the test rows, -1 being none: beside it stand their truth `y`
  (and `where`), `marginals` and a `decision_<name>` for each decoder.
  `train_row` and `validation_row` are the other rows of the split, before any
  resampling; beside the latter stand `validation_y` and `validation_marginals`,
  and `train_positives` counts the training rows that have each label. Of a
  decoder with fitted thresholds `threshold_<name>` holds them, with a bootstrap
  `threshold_low_<name>` and `threshold_high_<name>` the ends of their
  intervals, and `pooled_<name>`, `expected_<name>`, `never_<name>` or
  `always_<name>` says which labels fell back; of one that controls a risk
  `reached_<name>`, `least_<name>` and `rows_<name>` are what it promises.
  Where the head has a joint, `confidence_<name>` holds the probability of each
  decision; where it lists it, `information` is the mean over pairs of labels of
  their mutual information in the model, in nats.
  """
  index, weight = (np.asarray(part) for part in parts['test'])
  out = result['test']
  chosen_on = _rows([split.validation for split in splits])
  seen = {}
  if 'validation' in result:
    marginals = np.asarray(result['validation'].marginals)
    seen = {
      'validation_y': dataset.y[chosen_on],
      'validation_marginals': marginals[:, : chosen_on.shape[1]],
    }
  where = {} if dataset.where is None else {'where': dataset.where[index]}
  return {
    'label_names': np.asarray(dataset.label_names),
    'seed': np.asarray([split.seed for split in splits]),
    'fold': np.asarray([split.fold for split in splits]),
    'train_row': _rows([split.train for split in splits]),
    'train_positives': np.stack(
      [dataset.y[split.train].sum(axis=0, dtype=np.int64) for split in splits]
    ),
    'validation_row': chosen_on,
    'row': np.where(weight > 0, index, -1),
    'y': dataset.y[index],
    **where,
    'marginals': np.asarray(out.marginals),
    **seen,
    **{
      f'decision_{name}': np.asarray(decision).astype(np.uint8)
      for name, decision in out.decisions.items()
    },
    **{
      f'confidence_{name}': np.asarray(confidence)
      for name, confidence in out.confidence.items()
    },
    **(
      {}
      if out.information is None
      else {'information': np.asarray(out.information)}
    ),
  }


def _rows(parts: Sequence[np.ndarray]) -> np.ndarray:
  """Index arrays of one length, filled up with -1."""
  index, weight = padded(parts, max(map(len, parts)))
  return np.where(np.asarray(weight) > 0, np.asarray(index), -1)
