"""One experiment, from data to a finished run directory."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from experiments.config import Experiment
from experiments.flags import DECODER, ENCODER, HEAD, LOSS, options_for
from experiments.resampling import resample
from mlc import evaluation
from mlc.base import (
  FROZEN,
  LINKS,
  Batch,
  Calibrator,
  Decoder,
  Encoder,
  Head,
  Key,
  Loss,
  Params,
  SparseRows,
  lookup,
)
from mlc.calibration import none
from mlc.data import splits
from mlc.data.dataset import Dataset
from mlc.data.resampling import Training
from mlc.encoders.standardized import standardized
from mlc.methods import (
  CALIBRATORS,
  DECODERS,
  ENCODERS,
  LOSSES,
  METHODS,
  build_head,
  build_loss,
)
from mlc.numerics import split_frozen
from mlc.training import runs as training_runs
from mlc.training.objective import penalized
from mlc.training.runs import Runs


class Model(NamedTuple):
  """What an experiment trains, and how it decides.

  Attributes:
    encoder: features to representation.
    head: what is trained.
    loss: how.
    decoders: by name; they ask the calibrated head.
    calibrator: how the head's probabilities are mended, once it is trained.
  """

  encoder: Encoder
  head: Head
  loss: Loss
  decoders: Mapping[str, Decoder]
  calibrator: Calibrator = none()

  @property
  def calibrated(self) -> Head:
    """The head that decides; see `Calibrator.apply` for its parameters."""
    return self.calibrator.apply(self.head)

  def init(self, key: jax.Array, rows: Batch) -> Params:
    """Parameters of one run, from its training rows."""
    encoder_key, head_key = jax.random.split(key)
    encoder = self.encoder.init(encoder_key, rows.x, weight=rows.weight)
    h = self.encoder.apply(encoder, rows.x)
    head = self.head.init(
      head_key, h, rows.y, where=rows.where, weight=rows.weight
    )
    params = {'encoder': encoder, 'head': head}
    if self.loss.fit is not None:
      seen = self.loss.fit(rows.y, where=rows.where, weight=rows.weight)
      params['loss'] = {FROZEN: seen}
    return params

  def losses(self, params: Params, batch: Batch, *, key=None) -> jax.Array:
    """The loss of each example [batch]."""
    encoder_key = head_key = None
    if key is not None:
      encoder_key, head_key = jax.random.split(key)
    h = self.encoder.apply(params['encoder'], batch.x, key=encoder_key)
    state = params['loss'][FROZEN] if 'loss' in params else ()
    return self.loss.apply(
      self.head, params['head'], h, batch, state=state, key=head_key
    )


def standardizes(experiment: Experiment, dataset: Dataset) -> bool:
  """Whether the features are scaled, once --standardize=auto is decided."""
  asked = experiment.data.standardize
  dense = not scipy.sparse.issparse(dataset.x)
  return asked == 'true' or (asked == 'auto' and dense)


def build_model(
  experiment: Experiment, dataset: Dataset, num_label_sets: int
) -> Model:
  """The encoder, head, loss, calibrator and decoders of an experiment.

  Raises:
    ValueError: for an unknown name, a head that does not suit the data set
      (see `check_match`), or a decoder that the calibrated head cannot serve.
  """
  method = lookup(experiment.method, METHODS, 'method')
  given = experiment.options
  head = build_head(
    experiment.method,
    {
      'num_labels': dataset.num_labels,
      'num_label_sets': num_label_sets,
      'hierarchy': dataset.hierarchy,
    },
    options_for(method.head, HEAD, given),
  )
  check_match(head, dataset, experiment.allow_mismatch)
  encoder_factory = lookup(experiment.encoder, ENCODERS, 'encoder')
  encoder = encoder_factory(**options_for(encoder_factory, ENCODER, given))
  if standardizes(experiment, dataset):
    encoder = standardized(encoder)
  calibrator = lookup(experiment.calibration, CALIBRATORS, 'calibration')()
  decides = calibrator.apply(head)
  decoders = {}
  for name in experiment.decoders or (method.decoder,):
    factory = lookup(name, DECODERS, 'decoder')
    decoder = factory(**options_for(factory, DECODER, given))
    decoder.exactness(decides)
    # Its own name says with which options: threshold_0.3 is not hamming.
    decoders[decoder.name] = decoder
  loss_name = experiment.loss or method.loss
  loss_factory = lookup(loss_name, LOSSES, 'loss')
  loss_options = options_for(loss_factory, LOSS, given)
  loss = build_loss(loss_name, head, loss_options)
  if loss_name == 'nll' and head.one_hot and not dataset.is_multiclass:
    raise ValueError(
      f'head {head.name} gives probability 0 to every row of {dataset.name} '
      'that has not exactly one label, so that its nll is infinite: with '
      '--allow_mismatch also give --loss=sigmoid_cross_entropy.'
    )
  if loss_name in ('nll', 'own') and head.support is not None:
    check_support(head, dataset)
  return Model(encoder, head, loss, decoders, calibrator)


def check_support(head: Head, dataset: Dataset) -> None:
  """Refuses rows that have probability 0 whatever the parameters.

  With unknown labels nothing is said: the loss has to refuse those.
  """
  if head.support is None or dataset.where is not None:
    return
  possible = head.support(dataset.y.astype(np.float32))
  impossible = int((~possible).sum())
  if impossible:
    raise ValueError(
      f'head {head.name} gives probability 0 to {impossible} of '
      f'{dataset.num_examples} rows of {dataset.name} whatever its parameters, '
      'so that their nll is infinite (labels without their parents, or '
      'siblings that exclude each other). Rows are not relabelled: correct '
      'them, or choose --model.kind=max_constraint, or '
      '--loss=sigmoid_cross_entropy.'
    )


def check_match(head: Head, dataset: Dataset, allow_mismatch: bool) -> None:
  """Refuses a multi-label head on multi-class data, and the reverse."""
  if allow_mismatch or head.one_hot == dataset.is_multiclass:
    return
  if dataset.is_multiclass:
    problem = (
      f'every row of {dataset.name} has exactly one label, so it is a '
      f'multi-class set; head {head.name} would also predict none or several. '
      'Use --method=softmax'
    )
  else:
    count = dataset.y.sum(axis=1)
    problem = (
      f'{dataset.name} is multi-label ({(count == 0).sum()} rows have no label '
      f'and {(count > 1).sum()} have two or more); head {head.name} always '
      'predicts exactly one. Use a multi-label method such as '
      '--method=binary_relevance'
    )
  raise ValueError(f'{problem}, or insist with --allow_mismatch.')


def rehearse(
  model: Model, dataset: Dataset, *, validation_rows: int = 2
) -> Params:
  """Traces every step on shapes alone: what cannot be done is refused now.

  Nothing is computed or compiled.

  Args:
    model: what is to be trained.
    dataset: for its shapes.
    validation_rows: 0 when decoders will have none to be fitted on.

  Returns:
    The shapes of the parameters of a run.

  Raises:
    ValueError: from whatever step cannot be done.
  """

  def rows(count: int) -> Batch:
    y = jnp.zeros((count, dataset.num_labels))
    x: Any = jnp.zeros((count, dataset.num_features))
    if scipy.sparse.issparse(dataset.x):
      values = jnp.zeros((count, 1))
      x = SparseRows(values.astype(jnp.int32), values, dataset.num_features)
    return Batch(
      x=x,
      y=y,
      where=None if dataset.where is None else y > 0,
      weight=jnp.zeros(count),
      row=jnp.zeros(count, jnp.int32),
    )

  # Rows are made where they are traced: those that are sparse are no shapes.
  key = jax.eval_shape(lambda: jax.random.key(0))
  params = jax.eval_shape(lambda key: model.init(key, rows(2)), key)
  jax.eval_shape(
    lambda params, key: model.losses(params, rows(2), key=key), params, key
  )

  def fitted(params: Params, key: Key) -> Any:
    validation = rows(validation_rows)
    mended = evaluation.calibrate(
      model.encoder, model.head, model.calibrator, params, validation, key
    )
    return evaluation.fit_decoders(
      model.encoder, model.calibrated, model.decoders, mended, validation, key
    )

  jax.eval_shape(fitted, params, key)
  return params


def check_links(experiment: Experiment, params: Params) -> None:
  """Refuses a penalty for links where a model has none.

  Args:
    experiment: what was asked for.
    params: their shapes, as `rehearse` gives them.

  Raises:
    ValueError: link_l2s are given, and no parameter is a link.
  """
  if not experiment.search.link_l2s:
    return
  linked = penalized(split_frozen(params)[0], LINKS, (LINKS,))
  if not any(jax.tree.leaves(linked)):
    raise ValueError(
      f'method {experiment.method} has no links, by which labels hear labels: '
      '--link_l2s has nothing to act on. Leave it out, or choose a chain such '
      'as --method=classifier_chain.'
    )


class Trial(NamedTuple):
  """The rows and hyperparameters of every run of an experiment.

  Attributes:
    splits: one for each seed and fold.
    runs: splits x learning rates x penalties, as arrays.
    described: for each run its seed, fold, learning_rate and l2 (and link_l2
      where it is searched), and `split`, its position in `splits`.
    training: what the runs of each split train on; the rows of `splits` are
      those before resampling.
  """

  splits: Sequence[splits.Split]
  runs: Runs
  described: Sequence[Mapping[str, Any]]
  training: Training


def plan(experiment: Experiment, dataset: Dataset) -> Trial:
  """Splits the rows for every seed and lays out the runs."""
  options, search = experiment.data, experiment.search
  scheme = options.split
  if scheme == 'auto':
    scheme = 'holdout' if dataset.split is None else 'given'
  made = [
    split
    for seed in range(search.seeds)
    for split in splits.make(
      dataset,
      scheme,
      seed=seed,
      folds=options.folds,
      test_fraction=options.test_fraction,
      validation_fraction=options.validation_fraction,
      stratify=options.stratify,
    )
  ]
  # L-BFGS has no learning rate to search.
  descends = experiment.train.optimizer == 'adamw'
  rates = search.learning_rates if descends else (0.0,)
  own = {LINKS: search.link_l2s} if search.link_l2s else {}
  grid = len(rates) * len(search.l2s) * max(1, len(search.link_l2s))
  if grid > 1 and not len(made[0].validation):
    raise ValueError(
      f'{grid} choices of learning rate and l2 are to be compared, but there '
      'are no validation rows to compare them on. Set --validation_fraction '
      'above 0, or give one learning rate and one penalty of each kind.'
    )
  training = resample(experiment, dataset, made)
  trained_on = [
    split._replace(train=rows)
    for split, rows in zip(made, training.rows, strict=True)
  ]
  runs, described = training_runs.from_splits(
    trained_on, rates, search.l2s, own, training.shares
  )
  for run in described if own else ():
    run['link_l2'] = run.pop(f'{LINKS}_l2')
  if not descends:
    described = [{**run, 'learning_rate': None} for run in described]
  return Trial(made, runs, described, training)


def count_label_sets(trial: Trial) -> int:
  """The most distinct label sets that any run sees in training."""
  y = trial.training.dataset.y
  return max(len(np.unique(y[rows], axis=0)) for rows in trial.training.rows)


def select(
  trial: Trial, validation_loss: np.ndarray, diverged: np.ndarray
) -> list[int]:
  """For each split the run of the lowest validation loss.

  Runs that diverged are not eligible; a split all of whose runs diverged has
  no selected run.
  """
  best: dict[int, int] = {}
  for run, described in enumerate(trial.described):
    if diverged[run]:
      continue
    split = described['split']
    if split not in best or validation_loss[run] < validation_loss[best[split]]:
      best[split] = run
  return [best[split] for split in sorted(best)]
