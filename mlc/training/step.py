"""One epoch of one run with AdamW.

A pure function of (state, epoch). Which rows a batch holds and what noise it
draws follow from the run's key, so that a run can be taken up after any epoch.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from mlc.base import Batch
from mlc.numerics import merge_frozen, split_frozen
from mlc.training import optimizer
from mlc.training.objective import ExampleLoss, mean_loss
from mlc.training.options import TrainOptions
from mlc.training.runs import Runs, epoch_rows, in_batches, rows
from mlc.training.state import NOISE, ORDER, RunState, choose, finite, stream

# A loss this many times that of the first batch is a divergence. Adam's steps
# are bounded: under an absurd learning rate the loss may grow without ever
# overflowing.
BLOW_UP = 1e4


def adamw_epoch(
  loss: ExampleLoss,
  options: TrainOptions,
  data: Batch,
  run: Runs,
  state: RunState,
  epoch: Int[Array, ''],
) -> RunState:
  """One pass over the training rows of a run, in an order of its own.

  Args:
    loss: (params, batch, *, key) -> [batch].
    options: batch_size, epochs, schedule, warmup_epochs, gradient_clip.
    data: the whole data set.
    run: numbers and rows of the run.
    state: of the run.
    epoch: 1 for the first.

  Returns:
    The state with new `train`, `train_loss`, `limit` and `diverged`.
  """
  index, weight = in_batches(
    *epoch_rows(stream(run.key, epoch, ORDER), run), options.batch_size
  )
  filled = jnp.sum(weight, axis=1) > 0
  num_updates = jnp.sum(filled) * options.epochs

  def update(train, limit, batch):
    trained, frozen = split_frozen(train.params)
    noise = stream(run.key, train.step, NOISE)
    value, gradient = jax.value_and_grad(
      lambda t: mean_loss(loss, merge_frozen(t, frozen), batch, key=noise)
    )(trained)
    progress = (train.step / num_updates).astype(value.dtype)
    rate = run.learning_rate * optimizer.schedule(progress, options)
    rule = optimizer.adamw(rate, run.l2, options, run.own_l2)
    change, opt_state = rule.update(gradient, train.opt_state, trained)
    moved = optax.apply_updates(trained, change)
    first = BLOW_UP * (1.0 + jnp.abs(value))
    limit = jnp.where(train.step == 0, first, limit)
    sound = (value <= limit) & finite((gradient, moved))
    after = train._replace(
      step=train.step + 1,
      params=merge_frozen(moved, frozen),
      opt_state=opt_state,
    )
    return (choose(sound, after, train), limit, ~sound), value

  def visit(carry, batch):
    """Updates, unless the run has diverged or the batch is all padding."""
    train, limit, diverged = carry
    index, weight, is_filled = batch
    return jax.lax.cond(
      is_filled & ~diverged,
      lambda: update(train, limit, rows(data, index, weight)),
      lambda: (carry, jnp.zeros_like(limit)),
    )

  (train, limit, diverged), values = jax.lax.scan(
    visit,
    (state.train, state.limit, state.diverged),
    (index, weight, filled),
  )
  share = jnp.sum(weight, axis=1).astype(values.dtype)
  return state._replace(
    train=train,
    limit=limit,
    diverged=diverged,
    train_loss=jnp.sum(share * values) / jnp.sum(share),
  )
