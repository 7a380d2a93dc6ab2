"""How the parameters of one run move: an epoch of AdamW, a round of L-BFGS.

Pure functions of (state, epoch). Which rows a batch holds and what noise it
draws follow from the run's key, so that a run can be taken up after any epoch.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from mlc.base import Batch
from mlc.numerics import merge_frozen, split_frozen
from mlc.training import optimizer
from mlc.training.objective import ExampleLoss, mean_loss, ridge
from mlc.training.options import ROUND, TrainOptions
from mlc.training.runs import Runs, in_batches, rows, shuffled
from mlc.training.state import NOISE, ORDER, RunState, choose, stream

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
  order = shuffled(stream(run.key, epoch, ORDER), run.train_weight)
  index, weight = in_batches(
    run.train[order], run.train_weight[order], options.batch_size
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
    change, opt_state = optimizer.adamw(rate, run.l2, options).update(
      gradient, train.opt_state, trained
    )
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


def lbfgs_round(
  loss: ExampleLoss,
  options: TrainOptions,
  data: Batch,
  run: Runs,
  state: RunState,
) -> RunState:
  """Up to ROUND iterations of L-BFGS on all training rows of a run.

      minimise  mean_i loss_i + l2 / (2 N) sum_w ||w||^2

  The loss is deterministic here (key=None), as a line search needs. A run
  stops when its gradient is within the tolerance, when a whole round has not
  lowered the objective (the rounding of the objective is reached: L-BFGS can
  do no more), or after `max_iterations`.

  Args:
    loss: (params, batch, *, key) -> [batch].
    options: max_iterations, tolerance.
    data: the whole data set.
    run: numbers and rows of the run.
    state: of the run.

  Returns:
    The state with new `train`, `train_loss`, `stopped`, `converged` and
    `diverged`.
  """
  batch = rows(data, run.train, run.train_weight)
  trained, frozen = split_frozen(state.train.params)
  assert batch.weight is not None
  num_examples = jnp.sum(batch.weight)
  l2 = run.l2.astype(num_examples.dtype)

  def objective(trained):
    params = merge_frozen(trained, frozen)
    return mean_loss(loss, params, batch) + ridge(trained, l2, num_examples)

  solver = optimizer.lbfgs()
  value_and_gradient = optax.value_and_grad_from_state(objective)

  def iterate(carry):
    trained, opt_state, count, _ = carry
    value, gradient = value_and_gradient(trained, state=opt_state)
    change, new_state = solver.update(
      gradient,
      opt_state,
      trained,
      value=value,
      grad=gradient,
      value_fn=objective,
    )
    moved = optax.apply_updates(trained, change)
    value, gradient = last_value(new_state), last_gradient(new_state)
    sound = jnp.isfinite(value) & finite((gradient, moved))
    before, after = (trained, opt_state), (moved, new_state)
    return *choose(sound, after, before), count + 1, ~sound

  def unfinished(carry):
    _, opt_state, count, diverged = carry
    more = (count < ROUND) & (state.train.step + count < options.max_iterations)
    return more & ~diverged & ~within(opt_state, options.tolerance)

  begin = state.train.opt_state
  trained, opt_state, count, diverged = jax.lax.while_loop(
    unfinished,
    iterate,
    (trained, begin, jnp.zeros((), jnp.int32), state.diverged),
  )
  step = state.train.step + count
  converged = within(opt_state, options.tolerance)
  stuck = last_value(opt_state) >= last_value(begin)
  return state._replace(
    train=state.train._replace(
      step=step, params=merge_frozen(trained, frozen), opt_state=opt_state
    ),
    train_loss=last_value(opt_state),
    converged=converged,
    stopped=converged | stuck | (step >= options.max_iterations),
    diverged=diverged,
  )


def finite(tree: Any) -> Bool[Array, '']:
  """Whether the norm of all leaves together is a finite number."""
  return jnp.isfinite(optax.tree.norm(tree))


def within(opt_state: Any, tolerance: float) -> Bool[Array, '']:
  """Whether the last gradient of L-BFGS is known and within the tolerance."""
  leaves = jax.tree.leaves(last_gradient(opt_state))
  largest = jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves]).max()
  return jnp.isfinite(last_value(opt_state)) & (largest <= tolerance)


def last_value(opt_state: Any) -> Float[Array, '']:
  """The objective where L-BFGS stands; infinite before the first iteration."""
  return optax.tree.get(opt_state, 'value')


def last_gradient(opt_state: Any) -> Any:
  """The gradient where L-BFGS stands; 0 before the first iteration."""
  return optax.tree.get(opt_state, 'grad')
