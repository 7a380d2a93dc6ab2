"""Which parameters of a run count, and when it stops: by validation loss."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlc.base import Batch, Params
from mlc.training.objective import ExampleLoss
from mlc.training.options import TrainOptions
from mlc.training.runs import Runs, in_batches, rows
from mlc.training.state import RunState, choose


def validation_loss(
  loss: ExampleLoss,
  options: TrainOptions,
  data: Batch,
  run: Runs,
  params: Params,
) -> Float[Array, '']:
  """Mean loss of the validation rows, without noise; NaN without any.

  As many rows at a time as a training step sees, so that what fits the memory
  in training fits it here.
  """
  total = jnp.sum(run.validation_weight).astype(data.y.dtype)
  if not len(run.validation):
    return jnp.full_like(total, jnp.nan)
  size = len(run.train)
  if options.optimizer == 'adamw':
    size = options.batch_size

  def add(so_far, index_and_weight):
    batch = rows(data, *index_and_weight)
    values = loss(params, batch, key=None)
    values = jnp.where(batch.weight > 0, batch.weight * values, 0.0)
    return so_far + jnp.sum(values).astype(so_far.dtype), None

  batches = in_batches(run.validation, run.validation_weight, size)
  summed, _ = jax.lax.scan(add, jnp.zeros_like(total), batches)
  return summed / total


def keep_best(
  options: TrainOptions, state: RunState, epoch: Int[Array, '']
) -> RunState:
  """Takes over the new parameters if they are better, and counts patience.

  Without patience, without validation rows and with lbfgs, whose optimum is
  what is asked for, the last parameters count. A validation loss that has
  never been finite (a label set that the head deems impossible) decides
  nothing: the last parameters count until it is.
  """
  latest = state.validation_loss
  watched = options.patience > 0 and options.optimizer == 'adamw'
  blind = ~jnp.isfinite(state.best_loss)
  better = jnp.logical_not(watched) | blind | (latest < state.best_loss)
  # What diverged within this round is nobody's choice, but it is all there is
  # in the first.
  better &= ~state.diverged | (state.best_epoch == 0)
  renewed = (latest < state.reference - options.min_delta) | blind
  waited = jnp.where(renewed, 0, state.waited + 1)
  stopped = state.stopped
  if watched:
    stopped |= waited >= options.patience
  return state._replace(
    best=choose(better, state.train.params, state.best),
    best_epoch=jnp.where(better & ~state.diverged, epoch, state.best_epoch),
    best_loss=jnp.where(better, latest, state.best_loss),
    reference=jnp.where(renewed, latest, state.reference),
    waited=waited,
    stopped=stopped,
  )
