"""What a run is between two rounds, and the keys that it draws from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from mlc.base import Batch, Key, Params, TrainState
from mlc.numerics import split_frozen
from mlc.training.runs import Runs, rows

# The named streams of randomness of a run.
INIT, ORDER, NOISE = 0, 1, 2


class RunState(NamedTuple):
  """All of a run that changes, arrays only: what a checkpoint holds.

  Attributes:
    train: parameters and the state of their optimiser.
    best: the parameters that count: of the lowest validation loss when
      patience watches it, else the last.
    best_epoch: round after which `best` was taken, 0 before the first.
    best_loss: its validation loss.
    reference: the validation loss that the next must undercut to renew
      patience.
    waited: rounds since that happened.
    limit: a training loss above it counts as divergence.
    train_loss: mean over the last round (adamw), or the penalised objective
      after it (lbfgs).
    validation_loss: after the last round; NaN without validation rows.
    stopped: patience ran out, or lbfgs can do no more.
    diverged: the loss blew up; `train` holds the last finite parameters.
    converged: lbfgs reached its tolerance.
  """

  train: TrainState
  best: Params
  best_epoch: Int[Array, '*runs']
  best_loss: Float[Array, '*runs']
  reference: Float[Array, '*runs']
  waited: Int[Array, '*runs']
  limit: Float[Array, '*runs']
  train_loss: Float[Array, '*runs']
  validation_loss: Float[Array, '*runs']
  stopped: Bool[Array, '*runs']
  diverged: Bool[Array, '*runs']
  converged: Bool[Array, '*runs']


def stream(key: Key, time: Int[Array, ''] | int, name: int) -> Key:
  """The key of a named stream at a time: nothing is threaded or consumed."""
  return jax.random.fold_in(jax.random.fold_in(key, time), name)


def choose(condition: Bool[Array, ''], yes: Any, no: Any) -> Any:
  """One of two trees, leaf by leaf."""
  return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def finite(tree: Any) -> Bool[Array, '']:
  """Whether the norm of all leaves together is a finite number."""
  return jnp.isfinite(optax.tree.norm(tree))


def start(
  init: Callable[..., Params],
  init_optimizer: Callable[..., Any],
  data: Batch,
  run: Runs,
  idle: Bool[Array, ''],
) -> RunState:
  """The state before the first round; an idle run never trains."""
  batch = rows(data, run.train, run.train_weight)
  params = init(stream(run.key, 0, INIT), batch)
  trained, _ = split_frozen(params)
  number = lambda value: jnp.asarray(value, data.y.dtype)
  zero = jnp.zeros((), jnp.int32)
  no = jnp.zeros((), bool)
  return RunState(
    train=TrainState(
      step=zero,
      params=params,
      opt_state=init_optimizer(trained),
      key=run.key,
    ),
    best=params,
    best_epoch=zero,
    best_loss=number(jnp.inf),
    reference=number(jnp.inf),
    waited=zero,
    limit=number(jnp.inf),
    train_loss=number(jnp.nan),
    validation_loss=number(jnp.nan),
    stopped=idle,
    diverged=no,
    converged=no,
  )
