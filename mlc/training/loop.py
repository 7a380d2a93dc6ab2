"""Trains all runs of a program, round by round, from the newest checkpoint."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from mlc.base import Batch, Params
from mlc.training import mesh, program
from mlc.training.objective import ExampleLoss
from mlc.training.options import TrainOptions
from mlc.training.runs import Runs
from mlc.training.state import RunState

__all__ = ['Checkpoints', 'Fitted', 'Runs', 'TrainOptions', 'fit']

_log = logging.getLogger(__name__)


@runtime_checkable
class Checkpoints(Protocol):
  """Where states outlive the process; `step` is the round, from 1.

  A call returns when it no longer needs the arrays: the next round takes
  their memory over.
  """

  def restore(self, abstract_state: Any) -> tuple[int, Any] | None: ...
  def maybe_save(self, step: int, state: Any) -> Any: ...
  def save(self, step: int, state: Any) -> Any: ...


class Fitted(NamedTuple):
  """What training gives, with a leading run axis.

  Attributes:
    params: the parameters that count: of the lowest validation loss when
      patience watched it, else the last.
    best_epoch: epoch (or round of L-BFGS) of these parameters, 0 when the run
      diverged in its first.
    best_validation_loss: their validation loss; NaN without validation rows.
    last_train_loss: training loss of the last epoch; with lbfgs the penalised
      objective.
    diverged: whether the loss blew up.
    converged: whether lbfgs reached the optimum; None with adamw.
    steps: updates, or iterations of L-BFGS.
    epochs_run: rounds until every run had stopped, at most all.
    compile_seconds: spent on tracing and compiling, and the first state.
    train_seconds: spent on training, by this process.
  """

  params: Params
  best_epoch: Int[np.ndarray, ' runs']
  best_validation_loss: Float[np.ndarray, ' runs']
  last_train_loss: Float[np.ndarray, ' runs']
  diverged: Bool[np.ndarray, ' runs']
  converged: Bool[np.ndarray, ' runs'] | None
  steps: Int[np.ndarray, ' runs']
  epochs_run: int
  compile_seconds: float
  train_seconds: float


def fit(
  init: Callable[..., Params],
  loss: ExampleLoss,
  data: Batch,
  runs: Runs,
  options: TrainOptions,
  *,
  checkpoints: Checkpoints | None = None,
  on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Fitted:
  """Trains every run in one program that is compiled once.

  A run's result is a function of its key, numbers and rows: under `map` it
  does not depend, in any bit, on how many runs train beside it, on what
  becomes of them, or on an interruption after any round.

  Args:
    init: (key, batch of the training rows) -> params.
    loss: (params, batch, *, key) -> [batch], the loss of each example; a key
      of None asks for no noise.
    data: the whole data set, on the device.
    runs: numbers and rows of the runs.
    options: how they are trained.
    checkpoints: where to take up from and to save to.
    on_epoch: called after each round, before it is saved, with a dictionary:
      `epoch` (from 1) and `epochs` (at most); per run `train_loss`,
      `validation_loss`, `active` (trained in this round; the losses of others
      are old), `stopped` and `diverged`; `seconds` of the round and
      `remaining_seconds`, an estimate that patience may cut short. When
      training is taken up after round e, the first call is that of e + 1.

  Returns:
    A `Fitted`.

  Raises:
    ValueError: when a run names a row that the data do not have.
  """
  _check_rows(runs, data)
  began = time.perf_counter()
  where = mesh.layout(len(runs.l2), data)
  data, runs = mesh.replicate(data, where), mesh.spread(runs, where)
  compiled = program.build(init, loss, data, runs, options, where)
  collect = mesh.collector(where)
  restored = None
  if checkpoints is not None:
    restored = checkpoints.restore(mesh.collected(compiled.state, where))
  if restored is None:
    done, state = 0, compiled.begin()
  else:
    done, state = restored[0], mesh.spread(restored[1], where)
  jax.block_until_ready(state)
  compile_seconds = time.perf_counter() - began

  train_seconds = 0.0
  rounds = _rounds(compiled, state, done, options, where)
  for record, latest, last in rounds:
    done, state = record['epoch'], latest
    train_seconds += record['seconds']
    if on_epoch is not None:
      on_epoch(record)
    if checkpoints is not None:
      save = checkpoints.save if last else checkpoints.maybe_save
      save(done, collect(state))
  fitted = _fitted(collect(state), options)._replace(
    epochs_run=done,
    compile_seconds=compile_seconds,
    train_seconds=train_seconds,
  )
  _warn(fitted, options)
  return fitted


def _rounds(
  compiled: program.Program,
  state: RunState,
  done: int,
  options: TrainOptions,
  where: mesh.Layout,
) -> Iterator[tuple[dict[str, Any], RunState, bool]]:
  """Yields, after each round, its record, the state, whether it is the last."""
  total = 0.0
  finished = _fetch(state, where)['finished']
  for epoch in range(done + 1, options.rounds + 1):
    if finished.all():
      return
    began = time.perf_counter()
    state = compiled.advance(state, np.int32(epoch))
    news = _fetch(state, where)
    seconds = time.perf_counter() - began
    total += seconds
    active, finished = ~finished, news.pop('finished')
    last = epoch == options.rounds or bool(finished.all())
    left = 0 if last else options.rounds - epoch
    record = {
      'epoch': epoch,
      'epochs': options.rounds,
      'active': active,
      **news,
      'seconds': seconds,
      'remaining_seconds': left * total / (epoch - done),
    }
    yield record, state, last


def _fetch(state: RunState, where: mesh.Layout) -> dict[str, np.ndarray]:
  """The numbers of a round, on the host, run by run."""
  names = ('train_loss', 'validation_loss', 'stopped', 'diverged')
  news = jax.device_get({name: getattr(state, name) for name in names})
  news = {name: value[where.place] for name, value in news.items()}
  return {**news, 'finished': news['stopped'] | news['diverged']}


def _fitted(state: RunState, options: TrainOptions) -> Fitted:
  """What counts of the last state, on one device and on the host."""
  lbfgs = options.optimizer == 'lbfgs'
  return Fitted(
    params=jax.device_put(state.best, jax.local_devices()[0]),
    best_epoch=np.asarray(state.best_epoch),
    best_validation_loss=np.asarray(state.best_loss),
    last_train_loss=np.asarray(state.train_loss),
    diverged=np.asarray(state.diverged),
    converged=np.asarray(state.converged) if lbfgs else None,
    steps=np.asarray(state.train.step),
    epochs_run=0,
    compile_seconds=0.0,
    train_seconds=0.0,
  )


def _warn(fitted: Fitted, options: TrainOptions) -> None:
  """Says what the user would otherwise find out by chance."""
  cut = np.zeros_like(fitted.diverged)
  stuck = np.zeros_like(fitted.diverged)
  if fitted.converged is not None:
    short = ~fitted.converged & ~fitted.diverged
    cut = short & (fitted.steps >= options.max_iterations)
    stuck = short & ~cut
  for runs, message in (
    (
      fitted.diverged,
      'diverged; their last finite parameters are kept. Lower the learning '
      'rate, or look for extreme values in the features.',
    ),
    (
      cut,
      f'had a gradient above the tolerance {options.tolerance:g} after '
      f'{options.max_iterations} iterations of lbfgs: not yet at the optimum. '
      'Raise max_iterations or l2, or standardize the features.',
    ),
    (
      stuck,
      f'had a gradient above the tolerance {options.tolerance:g} when lbfgs '
      'could no longer lower the objective: near the optimum, but not at it. '
      'Standardize the features, or raise l2.',
    ),
  ):
    if runs.any():
      names = ', '.join(map(str, np.flatnonzero(runs)))
      _log.warning(
        '%d of %d runs (%s) %s', runs.sum(), len(runs), names, message
      )


def _check_rows(runs: Runs, data: Batch) -> None:
  """Refuses rows that are not there: a gather would read another instead."""
  count = data.y.shape[0]
  for name in ('train', 'validation'):
    index = np.asarray(getattr(runs, name))
    if index.size and (index.min() < 0 or index.max() >= count):
      raise ValueError(
        f'{name} rows from {index.min()} to {index.max()} were given, but the '
        f'data have rows 0 to {count - 1}: make the splits from the same data.'
      )
