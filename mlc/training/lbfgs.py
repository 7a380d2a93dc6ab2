"""One round of one run with L-BFGS, on all its training rows."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from mlc.base import Batch, Params
from mlc.numerics import merge_frozen, split_frozen
from mlc.training import curvature
from mlc.training.objective import ExampleLoss, mean_loss, ridge
from mlc.training.options import ROUND, TrainOptions
from mlc.training.runs import Runs, rows
from mlc.training.state import NOISE, RunState, choose, finite, stream


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


def lbfgs_round(
  loss: ExampleLoss,
  options: TrainOptions,
  data: Batch,
  run: Runs,
  state: RunState,
) -> RunState:
  """Up to ROUND iterations of L-BFGS on the training rows of a run.

      minimise  mean_i loss_i + l2 / (2 N) sum_w |w|^2

  The loss has no noise here (key=None), as a line search needs. A run stops
  when its gradient by u is within the tolerance (the curvature being about 1,
  the objective is then within about tolerance^2 / 2 a parameter of its
  minimum), when a whole round has not lowered the objective (rounding leaves
  L-BFGS nothing to do), or at max_iterations.

  Args:
    loss: (params, batch, *, key) -> [batch].
    options: max_iterations, tolerance.
    data: the whole data set.
    run: numbers and rows of the run.
    state: of the run.

  Returns:
    The state with new `train`, `train_loss`, `stopped`, `converged` and
    `diverged`.

  References:
    Nocedal, Wright, Numerical optimization, 2006, algorithms 3.5, 3.6 (line
    search) and 7.5.
  """
  batch = rows(data, run.train, run.train_weight)
  trained, frozen = split_frozen(state.train.params)
  w, unravel = ravel_pytree(trained)

  def objective(w):
    trained = unravel(w)
    value = mean_loss(loss, merge_frozen(trained, frozen), batch)
    return value + ridge(trained, run.l2, batch)

  def first():
    value, gradient, units = curvature.units(
      objective, w, stream(run.key, 0, NOISE)
    )
    solver = optax.tree.set(
      state.train.opt_state.solver, value=value, grad=units * gradient
    )
    return LbfgsState(units, w / units, solver)

  begin = jax.lax.cond(
    state.train.step == 0, first, lambda: state.train.opt_state
  )
  units = begin.units
  scaled = lambda u: objective(units * u)
  transform = optax.lbfgs()

  def iterate(carry):
    u, solver, count, _ = carry
    value, gradient = at(solver)
    change, solver_after = transform.update(
      gradient, solver, u, value=value, grad=gradient, value_fn=scaled
    )
    after = optax.apply_updates(u, change), solver_after
    sound = finite((at(solver_after), after[0]))
    return *choose(sound, after, (u, solver)), count + 1, ~sound

  def unfinished(carry):
    _, solver, count, diverged = carry
    more = (count < ROUND) & (state.train.step + count < options.max_iterations)
    return more & ~diverged & ~within(solver, options.tolerance)

  nothing_done = jnp.zeros((), jnp.int32), ~finite(at(begin.solver))
  u, solver, count, diverged = jax.lax.while_loop(
    unfinished, iterate, (begin.u, begin.solver, *nothing_done)
  )
  step = state.train.step + count
  converged = within(solver, options.tolerance)
  stuck = at(solver)[0] >= at(begin.solver)[0]
  return state._replace(
    train=state.train._replace(
      step=step,
      params=merge_frozen(unravel(units * u), frozen),
      opt_state=LbfgsState(units, u, solver),
    ),
    train_loss=at(solver)[0],
    converged=converged,
    stopped=converged | stuck | (step >= options.max_iterations),
    diverged=diverged,
  )


def at(solver: Any) -> tuple[Float[Array, ''], Float[Array, ' params']]:
  """The objective and its gradient where the solver stands."""
  return optax.tree.get(solver, 'value'), optax.tree.get(solver, 'grad')


def within(solver: Any, tolerance: float) -> Bool[Array, '']:
  """Whether no derivative by a parameter in its unit exceeds the tolerance."""
  return jnp.max(jnp.abs(at(solver)[1])) <= tolerance
