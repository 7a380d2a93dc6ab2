"""The parameters that training selected: counted, kept, and read again."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from experiments.experiment import Model, Trial
from mlc import evaluation
from mlc.base import Batch, Params
from mlc.numerics import split_frozen
from mlc.run_directory import RunDirectory
from mlc.training.checkpoint import CheckpointError, Checkpoints

MODEL = 'model'


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
