"""The two compiled programs of a training: the first state, and a round."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from mlc.base import Batch, Params
from mlc.numerics import cpu_options
from mlc.training import lbfgs, mesh, optimizer
from mlc.training.objective import ExampleLoss
from mlc.training.options import TrainOptions
from mlc.training.runs import Runs
from mlc.training.selection import keep_best, validation_loss
from mlc.training.state import RunState, start
from mlc.training.step import adamw_epoch


class Program(NamedTuple):
  """What the loop calls; states lie in the slots of a `mesh.Layout`.

  Attributes:
    begin: () -> the states before the first round. Compiled when called.
    advance: (state, round) -> the states after it. Compiled ahead of time, so
      that it cannot be compiled twice; takes over the memory of `state`.
    state: shapes and shardings of the states.
  """

  begin: Callable[[], RunState]
  advance: Callable[[RunState, Any], RunState]
  state: RunState


def build(
  init: Callable[..., Params],
  loss: ExampleLoss,
  data: Batch,
  runs: Runs,
  options: TrainOptions,
  where: mesh.Layout,
) -> Program:
  """Compiles a training.

  Args:
    init: (key, batch of the training rows) -> params.
    loss: (params, batch, *, key) -> [batch].
    data: the data set, a copy on every device.
    runs: in the slots of the layout.
    options: how they are trained.
    where: the layout.

  Returns:
    A `Program`.
  """

  def new(trained):
    if options.optimizer == 'lbfgs':
      return lbfgs.init(trained)
    return optimizer.init(trained, options, runs.own_l2)

  # One by one: side by side, every run would hold a copy of its rows.
  begin, shapes = mesh.once_over_runs(
    lambda of_run, data: start(init, new, data, *of_run),
    where,
    (runs, jnp.asarray(~where.real)),
    data,
  )
  state = mesh.abstract(shapes, where)

  # As a list of arrays: what jit says of its arguments is no array, which the
  # class of sparse rows would refuse when types are checked.
  arrays, form = jax.tree.flatten(data)

  def step(state, runs, arrays, epoch):
    one = lambda of_run, shared: one_round(loss, options, *of_run, *shared)
    every = mesh.over_runs(one, where, strategy(options, where))
    return every((runs, state), (jax.tree.unflatten(form, arrays), epoch))

  first = jax.ShapeDtypeStruct((), jnp.int32)
  quick = options.compilation == 'quick' and mesh.on_cpu(where)
  step = jax.jit(
    step, donate_argnums=0, compiler_options=cpu_options(1) if quick else {}
  )
  compiled = step.lower(state, runs, arrays, first).compile()
  return Program(
    begin=begin,
    advance=lambda state, epoch: compiled(state, runs, arrays, epoch),
    state=state,
  )


def one_round(
  loss: ExampleLoss,
  options: TrainOptions,
  run: Runs,
  state: RunState,
  data: Batch,
  epoch: Int[Array, ''],
) -> RunState:
  """Trains one run for a round, validates it and keeps the best."""

  def work(state):
    if options.optimizer == 'adamw':
      state = adamw_epoch(loss, options, data, run, state, epoch)
    else:
      state = lbfgs.lbfgs_round(loss, options, data, run, state)
    value = validation_loss(loss, options, data, run, state.train.params)
    return keep_best(options, state._replace(validation_loss=value), epoch)

  # Under map a run that has stopped costs nothing.
  finished = state.stopped | state.diverged
  return jax.lax.cond(finished, lambda state: state, work, state)


def strategy(
  options: TrainOptions, where: mesh.Layout
) -> Literal['map', 'vmap']:
  """Resolves `auto`: see TrainOptions."""
  if options.strategy != 'auto':
    return options.strategy
  one_by_one = mesh.on_cpu(where) or options.optimizer == 'lbfgs'
  return 'map' if one_by_one else 'vmap'
