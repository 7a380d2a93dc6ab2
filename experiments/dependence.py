"""How dependent the labels are: in the data, in truth, in a trained model.

What stands under `dependence` in results.json, so that a report, which reads
run directories only, can hold gains against it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.experiment import Model, Trial
from mlc import dependence, distribution, evaluation
from mlc.base import Batch, Head, Params
from mlc.data.dataset import Dataset
from mlc.numerics import jit_once, pair_information

# Test rows on which a model is asked for its pairs.
_ROWS = 256
_BLOCK = 32
# Labels up to which a head without a table is asked about each in turn.
_MAX_ASKED = 128


def measured(
  model: Model,
  dataset: Dataset,
  data: Batch,
  trial: Trial,
  selected: Sequence[int],
  params: Params,
  arrays: Mapping[str, np.ndarray],
) -> dict[str, Any]:
  """Measures the dependence of one experiment.

  Args:
    model: what was trained.
    dataset: for its labels, and the truth where it is known.
    data: the data set on the device.
    trial: the rows of every run.
    selected: the run of each split that counts.
    params: of the selected runs, stacked.
    arrays: of predictions.npz.

  Returns:
    labels: of the label matrix, without x: `dependence.Marginal`.
    truth: `information`, the mean over rows and pairs of I(y_j; y_k | x) in
      nats, where p(y | x) is known; else None.
    runs: for each selected run its `seed` and `fold`; `residual`, from its
      recalibrated marginals on test rows: `dependence.Conditional`, and the
      `strongest` pairs; `model`, the mean of I(y_j; y_k | x) in the model on
      the test rows (some, where the head lists no joint) and `exactness`; None
      where the head has no exact pairs.
  """
  if 'information' in arrays:
    of_model = _of_rows(arrays)
  else:
    of_model = _of_model(model, data, trial, selected, params)
  exactness = None
  if any(value is not None for value in of_model):
    asked = 'joint' if 'information' in arrays else 'partial'
    exactness = model.head.exactness.get(asked)
  return {
    'labels': _of_labels(dataset),
    'truth': _of_truth(dataset),
    'runs': [
      {
        'seed': int(arrays['seed'][i]),
        'fold': int(arrays['fold'][i]),
        **_residual(arrays, i),
        'model': of_model[i],
        'exactness': exactness,
      }
      for i in range(len(selected))
    ],
  }


def pairs_of(
  head: Head, params: Params, h: Float[Array, 'batch *dim']
) -> Float[Array, 'batch labels labels']:
  """P(y_j = 1, y_k = 1 | h), from P(y_k | y_j = 1).

  Raises:
    ValueError: the head does not give it exactly.
  """
  if head.partial is None or head.marginals is None or not _is_exact(head):
    raise ValueError(
      f'head {head.name} with {head.num_labels} labels has no exact `partial`: '
      'its pairs are not known.'
    )
  marginals, partial = head.marginals(params, h), head.partial

  def given(known):
    known = jnp.broadcast_to(known[None, :], marginals.shape)
    return partial(params, h, known.astype(marginals.dtype), known)

  others = jax.lax.map(given, jnp.eye(head.num_labels, dtype=bool))
  return marginals[:, :, None] * jnp.moveaxis(others, 0, 1)


def _is_exact(head: Head) -> bool:
  """Whether `pairs_of` is to be asked."""
  words = [head.exactness.get(name) for name in ('partial', 'marginals')]
  exact = all(word in ('closed-form', 'enumerated') for word in words)
  return exact and head.num_labels <= _MAX_ASKED


def _of_rows(arrays: Mapping[str, np.ndarray]) -> list[float | None]:
  """Mean conditional mutual information of each run, from that of rows."""
  kept = arrays['row'] >= 0
  return [
    float(values[rows].mean()) if rows.any() else None
    for values, rows in zip(arrays['information'], kept, strict=True)
  ]


def _of_model(
  model: Model,
  data: Batch,
  trial: Trial,
  selected: Sequence[int],
  params: Params,
) -> list[float | None]:
  """The same of a head that lists no joint, from some test rows."""
  tests = [trial.splits[trial.described[run]['split']].test for run in selected]
  if model.head.independent and model.head.num_labels > 1:
    return [0.0] * len(tests)
  if not tests or model.head.num_labels < 2 or not _is_exact(model.head):
    return [None] * len(tests)
  count = min(_ROWS, *(len(test) for test in tests))
  if count == 0:
    return [None] * len(tests)
  index = jnp.asarray(np.stack([test[:count] for test in tests]), jnp.int32)

  @jit_once
  def pairs(data, params, index):
    def one(run):
      params, index = run
      rows = evaluation.rows_of(data, index, jnp.ones(index.shape))
      return evaluation.in_blocks(
        lambda x: pairs_of(
          model.head,
          params['head'],
          model.encoder.apply(params['encoder'], x),
        ),
        rows.x,
        _BLOCK,
      )

    return jax.lax.map(one, (params, index))

  found = np.asarray(pairs(data, params, index), np.float64)
  return [_information(both) for both in found]


def _of_truth(dataset: Dataset) -> dict[str, float] | None:
  if dataset.log_joint is None or dataset.num_labels < 2:
    return None
  pairs = jax.jit(distribution.table_pairs)
  totals = []
  # Two shapes at most, hence two programs.
  for start in range(0, len(dataset.log_joint), _ROWS):
    block = jnp.asarray(dataset.log_joint[start : start + _ROWS])
    both = np.asarray(pairs(block), np.float64)
    totals.append((_information(both) or 0.0) * len(both))
  return {'information': float(sum(totals) / len(dataset.log_joint))}


def _information(both: np.ndarray) -> float | None:
  """Mean over rows and pairs, from P(y_j = 1, y_k = 1) of each row."""
  p = np.diagonal(both, axis1=-2, axis2=-1)[..., :, None]
  p = np.broadcast_to(p, both.shape)
  return dependence.mean_over_pairs(np.asarray(pair_information(both, p)))


def _of_labels(dataset: Dataset) -> dict[str, float | None]:
  y = dataset.y.astype(np.float64)
  found = dependence.of_sample(y, dataset.where)._asdict()
  return {k: None if v is None else float(v) for k, v in found.items()}


def _residual(arrays: Mapping[str, np.ndarray], i: int) -> dict[str, Any]:
  """What run i leaves unexplained on its test rows."""
  kept = arrays['row'][i] >= 0
  known = arrays['where'][i][kept] if 'where' in arrays else None
  y = arrays['y'][i][kept].astype(np.float64)
  p = arrays['marginals'][i][kept].astype(np.float64)
  p = dependence.recalibrated(y, p, known)
  found = dependence.residuals(y, p, known)
  summary = dependence.strength(found)
  return {
    'residual': None if summary is None else summary._asdict(),
    'strongest': dependence.strongest(found, arrays['label_names']),
  }
