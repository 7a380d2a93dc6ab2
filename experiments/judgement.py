"""The last step of an experiment: the selected runs meet the test rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.experiment import Model, Trial
from mlc import evaluation, metrics
from mlc.base import Batch, Params
from mlc.data.dataset import Dataset
from mlc.data.splits import Split
from mlc.metrics.regret import criteria
from mlc.numerics import jit_once, split_frozen
from mlc.run_directory import RunDirectory
from mlc.training.checkpoint import CheckpointError, Checkpoints

MODEL = 'model'


def judge(
  model: Model,
  dataset: Dataset,
  data: Batch,
  trial: Trial,
  selected: Sequence[int],
  params: Params,
  *,
  regrets: bool = True,
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
  """Fits the decoders on validation rows and measures validation and test.

  Args:
    model: encoder, head, decoders.
    dataset: for the truth where it is known, and whether it is multi-class.
    data: the data set on the device.
    trial: the rows of every run.
    selected: the run of each split that counts.
    params: of the selected runs, stacked.
    regrets: whether they are measured where the truth is known.

  Returns:
    Rows of results.json, and the arrays of predictions.npz.
  """
  if not selected:
    return [], {}
  splits = [trial.splits[trial.described[run]['split']] for run in selected]
  parts = {
    part: [getattr(split, part) for split in splits]
    for part in ('validation', 'test')
    if len(getattr(splits[0], part))
  }
  # Parts of one length share a compiled program.
  length = max(len(index) for part in parts.values() for index in part)
  indices = {part: padded(rows, length) for part, rows in parts.items()}
  keys = jax.vmap(jax.random.key)(
    jnp.asarray([split.seed for split in splits], jnp.uint32)
  )
  known = dataset.log_joint if regrets else None
  states, temperature = fit_states(
    model, data, splits, params, keys, known is not None
  )
  classes = model.head.one_hot and dataset.is_multiclass
  kinds = metrics.multiclass() if classes else metrics.multilabel()

  # The data are an argument: as a constant they would be compiled in.
  @jit_once
  def decided(data, params, states, rows, keys):
    def one(run):
      params, states, (index, weight), key = run
      return evaluation.decide(
        model.encoder,
        model.head,
        model.decoders,
        params,
        states,
        evaluation.rows_of(data, index, weight),
        key,
      )

    return jax.lax.map(one, (params, states, rows, keys))

  measure, regrets_known = over_runs(), regrets_of(model)
  result = {}
  for part, rows in indices.items():
    found = decided(data, params, states, rows, keys)
    values = evaluation.measured(kinds, found, measure)
    if known is not None:
      of_each = regrets_known(data, known, found, params, rows, temperature)
      values = {name: values[name] | of_each[name] for name in values}
    result[part] = jax.device_get(
      evaluation.Judged(values, found.seen.scores, found.decisions)
    )
  found = rows_of(model, kinds, splits, result)
  arrays = arrays_of(dataset, splits, indices, result)
  return found, arrays | thresholds_of(states)


def over_runs() -> Callable[..., dict[str, jax.Array]]:
  """(metrics, Predictions) -> metric -> number of each run.

  Nothing of a model is in the program: it comes from the compilation cache
  for every other method that is judged on as many rows.
  """

  def measure(kinds, seen):
    return jax.lax.map(lambda one: metrics.evaluate(dict(kinds), one), seen)

  compiled = jit_once(measure, static_argnums=0)
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
        table = evaluation.joint_of(model.encoder, model.head, params, x, block)
      return evaluation.regrets(
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
    }
    for part, out in result.items()
    for decoder in model.decoders
    for name in in_order(out.values[decoder], kinds)
    for run, split in enumerate(splits)
  ]


def thresholds_of(states: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Fitted thresholds, by the names that predictions.npz has for them."""
  return {
    f'{what}_{name}': np.asarray(state[what])
    for name, state in states.items()
    if isinstance(state, dict)
    for what in ('threshold', 'pooled')
    if what in state
  }


def notes_of(arrays: Mapping[str, np.ndarray]) -> list[str]:
  """What a user must know of fitted thresholds."""
  notes = []
  for key, pooled in arrays.items():
    name = key.removeprefix('pooled_')
    if name == key or not pooled.any():
      continue
    rare = arrays['label_names'][pooled.any(axis=0)]
    some = ', '.join(rare[:5]) + (', ...' if len(rare) > 5 else '')
    notes.append(
      f'decoder {name}: {len(rare)} of {pooled.shape[1]} labels ({some}) have '
      'too few positives among the validation rows of some seed or fold; there '
      'they take the threshold that is best for all labels pooled'
    )
  return notes


def in_order(names: Iterable[str], first: Iterable[str]) -> list[str]:
  """The names in the order of `first`, the others after them.

  Compiled functions give dictionaries back in alphabetical order.
  """
  there = list(names)
  ordered = [name for name in first if name in there]
  return ordered + [name for name in there if name not in ordered]


def fit_states(
  model: Model,
  data: Batch,
  splits: Sequence[Split],
  params: Params,
  keys: jax.Array,
  truth_is_known: bool,
) -> tuple[Mapping[str, Any], jax.Array | None]:
  """What is learnt from the validation rows of each run.

  Returns:
    The states of the decoders; and where the truth is known the temperature by
    which regret is taken apart, if it is.
  """
  rows = [split.validation for split in splits]
  index, weight = padded(rows, max(len(part) for part in rows))

  @jit_once
  def fitted(data, params, index, weight, keys):
    def one(run):
      params, index, weight, key = run
      validation = evaluation.rows_of(data, index, weight)
      states = evaluation.fit_decoders(
        model.encoder, model.head, model.decoders, params, validation, key
      )
      temperature = None
      if truth_is_known:
        temperature = evaluation.fit_temperature(
          model.encoder, model.head, params, validation
        )
      return states, temperature

    return jax.lax.map(one, (params, index, weight, keys))

  return fitted(data, params, index, weight, keys)


def exactness_of(
  metric: str,
  model: Model,
  decoder: str,
  kinds: Mapping[str, metrics.Metric],
) -> str:
  """How the number came about: of the decision, or of the distribution."""
  if metric == 'mode_certified':
    return model.head.exactness['mode']
  needs = kinds[metric].needs if metric in kinds else 'decisions'
  if metric.startswith('regret_'):
    needs = next(
      criterion.takes
      for name, criterion in criteria().items()
      if metric.startswith(f'regret_{name}')
    )
  if needs == 'scores':
    return model.head.exactness['marginals']
  if needs == 'log_prob':
    return 'closed-form'
  return model.decoders[decoder].exactness(model.head)


def padded(
  rows: Sequence[np.ndarray], length: int
) -> tuple[jax.Array, jax.Array]:
  """Index arrays of one length; what is filled up has weight 0."""
  index = np.stack([np.resize(part, length) for part in rows])
  weight = np.stack([np.arange(length) < len(part) for part in rows])
  return jnp.asarray(index, jnp.int32), jnp.asarray(weight, jnp.float32)


def arrays_of(
  dataset: Dataset,
  splits: Sequence[Split],
  indices: Mapping[str, tuple[jax.Array, jax.Array]],
  result: Mapping[str, evaluation.Judged],
) -> dict[str, np.ndarray]:
  """What predictions.npz holds, with a leading axis of seeds and folds.

  `row` tells the test rows, -1 being none: beside it stand their truth `y`
  (and `where`), `marginals` and a `decision_<name>` for each decoder.
  `train_row` and `validation_row` are the other rows of the split; beside the
  latter stand `validation_y` and `validation_marginals`. Of a
  decoder with fitted thresholds `threshold_<name>` holds them, and
  `pooled_<name>` where a label took the one of all labels.
  """
  index, weight = (np.asarray(part) for part in indices['test'])
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
  }


def _rows(parts: Sequence[np.ndarray]) -> np.ndarray:
  """Index arrays of one length, filled up with -1."""
  index, weight = padded(parts, max(map(len, parts)))
  return np.where(np.asarray(weight) > 0, np.asarray(index), -1)


def parameter_count(params: Params) -> int:
  """Trained numbers of one run."""
  trained, _ = split_frozen(params)
  leaves = jax.tree.leaves(trained)
  return int(sum(leaf.size // max(leaf.shape[0], 1) for leaf in leaves))


def stacked_shapes(
  model: Model, data: Batch, trial: Trial, selected: Sequence[int]
) -> Params:
  """Shapes of the parameters of the selected runs, without computing them."""
  runs = trial.runs
  one = jax.eval_shape(
    lambda key, train, weight: model.init(
      key, evaluation.rows_of(data, train, weight)
    ),
    runs.key[0],
    runs.train[0],
    runs.train_weight[0],
  )
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct((len(selected), *leaf.shape), leaf.dtype),
    one,
  )


def save_model(
  directory: RunDirectory, config: Mapping[str, Any], params: Params
) -> None:
  """Keeps the selected parameters, from which `evaluate` decodes again."""
  kept = Checkpoints(directory.checkpoints_path / MODEL, config, keep=1)
  # What an earlier start left follows from the state of the training.
  kept.discard()
  kept.save(0, params)


def read_model(
  directory: RunDirectory, config: Mapping[str, Any], shapes: Params
) -> Params:
  """The parameters that `save_model` kept.

  Raises:
    RunDirectoryError: they are missing or damaged.
  """
  path = directory.checkpoints_path / MODEL
  again = (
    f'To have it written again: remove {path} and {directory.done_path}, then '
    f'python -m experiments.train --flagfile={directory.flags_path}'
  )
  try:
    found = Checkpoints(path, config).restore(shapes)
  except CheckpointError as error:
    raise CheckpointError(f'{error}\n{again}') from error
  if found is None:
    raise CheckpointError(f'{path} holds no parameters. {again}')
  # Committed to a device, as training leaves them: the same program then
  # serves both, and comes from the compilation cache.
  return jax.device_put(found[1], jax.local_devices()[0])
