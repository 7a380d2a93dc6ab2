"""One round of one run with L-BFGS, on all its training rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from mlc.base import Batch, Key, Params
from mlc.numerics import merge_frozen, split_frozen
from mlc.training import curvature
from mlc.training.objective import ExampleLoss, mean_loss, ridge
from mlc.training.options import ROUND, TrainOptions
from mlc.training.runs import Runs, expected_weight, rows
from mlc.training.state import NOISE, RunState, choose, finite, stream

# What a gradient may exceed the tolerance by when rounding stops the descent.
ROUNDING = 10.0


class LbfgsState(NamedTuple):
  """Where L-BFGS stands; it moves u = w / s, the parameters in their units.

  All parameters are one vector: the same kernels serve every leaf, which
  halves the time to compile.

  Attributes:
    units: s, see `curvature.units`.
    u: the parameters.
    solver: of optax, with the objective and its gradient at u.
  """

  units: Float[Array, '*runs params']
  u: Float[Array, '*runs params']
  solver: Any


def init(trained: Params) -> LbfgsState:
  """Before the first round, which fills it."""
  w, _ = ravel_pytree(trained)
  return LbfgsState(jnp.ones_like(w), w, optax.lbfgs().init(w))


class Descent(NamedTuple):
  """How far a round has come.

  Attributes:
    u: the parameters in their units.
    solver: as in LbfgsState.
    done: iterations of this round.
    diverged: the last one led to something not finite and was not taken.
  """

  u: Float[Array, ' params']
  solver: Any
  done: Int[Array, '']
  diverged: Bool[Array, '']


def lbfgs_round(
  loss: ExampleLoss,
  options: TrainOptions,
  data: Batch,
  run: Runs,
  state: RunState,
) -> RunState:
  """Up to ROUND iterations of L-BFGS on the training rows of a run.

      minimise  mean_i loss_i + l2 / (2 N) sum_w |w|^2    (see `ridge`)

  The loss has no noise here (key=None), as a line search needs; where an epoch
  would draw its rows, each counts as often as it is drawn in expectation. A run
  stops
  when no derivative by a parameter in its unit exceeds the tolerance: the
  curvature being about 1, each parameter can then gain about tolerance^2 / 2.
  It also stops when a whole round has not lowered the objective, because of
  rounding, and has converged then if it is within ROUNDING tolerances; and at
  max_iterations.

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
  batch = rows(data, run.train, expected_weight(run))
  trained, frozen = split_frozen(state.train.params)
  w, unravel = ravel_pytree(trained)

  def objective(w):
    trained = unravel(w)
    value = mean_loss(loss, merge_frozen(trained, frozen), batch)
    return value + ridge(trained, run.l2, batch, run.own_l2)

  before = jax.lax.cond(
    state.train.step == 0,
    lambda: first(objective, w, state.train.opt_state, run.key),
    lambda: state.train.opt_state,
  )
  left = jnp.minimum(ROUND, options.max_iterations - state.train.step)
  after = descend(
    lambda u: objective(before.units * u), before, left, options.tolerance
  )
  step = state.train.step + after.done
  value, _ = at(after.solver)
  stuck = value >= at(before.solver)[0]
  tolerance = options.tolerance * jnp.where(stuck, ROUNDING, 1.0)
  converged = steepest(after.solver) <= tolerance
  return state._replace(
    train=state.train._replace(
      step=step,
      params=merge_frozen(unravel(before.units * after.u), frozen),
      opt_state=LbfgsState(before.units, after.u, after.solver),
    ),
    train_loss=value,
    converged=converged,
    stopped=converged | stuck | (step >= options.max_iterations),
    diverged=after.diverged,
  )


def first(
  objective: Callable[..., Array],
  w: Float[Array, ' params'],
  empty: LbfgsState,
  key: Key,
) -> LbfgsState:
  """The state before the first iteration, from that of `init`."""
  value, gradient, units = curvature.units(objective, w, stream(key, 0, NOISE))
  solver = optax.tree.set(empty.solver, value=value, grad=units * gradient)
  return LbfgsState(units, w / units, solver)


def descend(
  objective: Callable[..., Array],
  start: LbfgsState,
  iterations: Int[Array, ''],
  tolerance: float,
) -> Descent:
  """L-BFGS with a line search for the strong Wolfe conditions.

  References:
    Nocedal, Wright, Numerical optimization, 2006, algorithms 3.5, 3.6, 7.5.
  """
  transform = optax.lbfgs()

  def iterate(now: Descent) -> Descent:
    value, gradient = at(now.solver)
    change, solver = transform.update(
      gradient,
      now.solver,
      now.u,
      value=value,
      grad=gradient,
      value_fn=objective,
    )
    moved = optax.apply_updates(now.u, change)
    sound = finite((at(solver), moved))
    u, solver = choose(sound, (moved, solver), (now.u, now.solver))
    return Descent(u, solver, now.done + 1, ~sound)

  def unfinished(now: Descent) -> Bool[Array, '']:
    above = steepest(now.solver) > tolerance
    return (now.done < iterations) & above & ~now.diverged

  zero = jnp.zeros((), jnp.int32)
  now = Descent(start.u, start.solver, zero, ~finite(at(start.solver)))
  return jax.lax.while_loop(unfinished, iterate, now)


def at(solver: Any) -> tuple[Float[Array, ''], Float[Array, ' params']]:
  """The objective and its gradient where the solver stands."""
  return optax.tree.get(solver, 'value'), optax.tree.get(solver, 'grad')


def steepest(solver: Any) -> Float[Array, '']:
  """The largest derivative by a parameter in its unit."""
  return jnp.max(jnp.abs(at(solver)[1]))
