"""Where runs are trained: dealt out over the local devices."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mlc.numerics import jit_once

RUN = 'run'
_OF_RUN = PartitionSpec(RUN)
_SHARED = PartitionSpec()
# Of what the devices of a CPU share, in bytes.
_COPIES = 2**32


class Layout(NamedTuple):
  """Which run lies where.

  Attributes:
    mesh: the devices in use, along one axis.
    slots: the run in each slot, slots of one device together.
    real: False for a slot that holds no run of its own but repeats run 0.
    place: the slot of each run.
  """

  mesh: Mesh
  slots: np.ndarray
  real: np.ndarray
  place: np.ndarray


def layout(num_runs: int, shared: Any = ()) -> Layout:
  """Deals the runs out like cards, so that neighbours share no device.

  Neighbours in a grid stop at similar times; dealt out, they leave no device
  idle for long.

  Args:
    num_runs: R.
    shared: what every device is to hold. The devices of a CPU have one memory:
      no more of them are used than 4 GiB hold copies.
  """
  devices = jax.local_devices()[:num_runs]
  if devices[0].platform == 'cpu':
    each = sum(leaf.nbytes for leaf in jax.tree.leaves(shared))
    devices = devices[: max(1, _COPIES // max(1, each))]
  mesh = jax.make_mesh(
    (len(devices),),
    (RUN,),
    axis_types=(jax.sharding.AxisType.Auto,),
    devices=devices,
  )
  each = -(-num_runs // len(devices))
  slots = np.arange(each * len(devices)).reshape(each, len(devices)).T.ravel()
  place = np.argsort(slots)[:num_runs]
  real = slots < num_runs
  return Layout(mesh, np.where(real, slots, 0), real, place)


def spread(tree: Any, where: Layout) -> Any:
  """Run-stacked arrays [R, ...] to the slots of the devices."""
  sharding = NamedSharding(where.mesh, _OF_RUN)
  if _in_order(where):
    return jax.device_put(tree, sharding)
  return jax.jit(
    lambda tree: jax.tree.map(lambda leaf: leaf[where.slots], tree),
    out_shardings=sharding,
  )(jax.device_put(tree, NamedSharding(where.mesh, _SHARED)))


def collector(where: Layout) -> Callable[[Any], Any]:
  """The inverse of `spread`: a function from slots back to runs [R, ...]."""
  if _in_order(where):
    return lambda tree: tree
  return jax.jit(
    lambda tree: jax.tree.map(lambda leaf: leaf[where.place], tree),
    out_shardings=NamedSharding(where.mesh, _SHARED),
  )


def abstract(shapes: Any, where: Layout) -> Any:
  """Shapes of run-stacked arrays, with where they lie."""
  sharding = NamedSharding(where.mesh, _OF_RUN)
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    shapes,
  )


def collected(shapes: Any, where: Layout) -> Any:
  """The shapes of what `collector` gives."""
  sharding = NamedSharding(where.mesh, _SHARED)
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(
      (len(where.place), *leaf.shape[1:]), leaf.dtype, sharding=sharding
    ),
    shapes,
  )


def replicate(tree: Any, where: Layout) -> Any:
  """A copy for every device."""
  return jax.device_put(tree, NamedSharding(where.mesh, _SHARED))


def over_runs(
  function: Callable[..., Any],
  where: Layout,
  strategy: Literal['map', 'vmap'],
) -> Callable[..., Any]:
  """Applies a function of one run to all of them.

  Args:
    function: (of_run, shared) -> result, for one run.
    where: the layout of the runs.
    strategy: `map`: one after another on each device, so that a run costs
      memory and gets bits as if it were alone; `vmap`: side by side.

  Returns:
    (of_runs, shared) -> results, all but `shared` stacked over the slots.
  """

  def on_device(of_runs, shared):
    one = lambda of_run: function(of_run, shared)
    if strategy == 'map':
      return jax.lax.map(one, of_runs)
    return jax.vmap(one)(of_runs)

  # check_vma wants every carry of every scan inside a head to be marked as
  # varying along the mesh; runs never communicate, so nothing is at stake.
  return jax.shard_map(
    on_device,
    mesh=where.mesh,
    in_specs=(_OF_RUN, _SHARED),
    out_specs=_OF_RUN,
    check_vma=False,
  )


def once_over_runs(
  function: Callable[..., Any], where: Layout, of_runs: Any, shared: Any
) -> tuple[Callable[[], Any], Any]:
  """As `over_runs` one by one, compiled for a single call.

  On CPU all runs are on the first device: compiled lightly, the last bits of a
  result may depend on how many runs a device has, and it is one memory anyhow.

  Returns:
    What makes the call, and the shapes of its results.
  """
  if not on_cpu(where):
    spread_out: Any = jit_once(over_runs(function, where, 'map'))
    shapes = spread_out.eval_shape(of_runs, shared)
    return lambda: spread_out(of_runs, shared), shapes

  def one_by_one(of_runs, shared):
    return jax.lax.map(lambda of_run: function(of_run, shared), of_runs)

  def dealt_out():
    given = jax.device_put((of_runs, shared), where.mesh.devices.flat[0])
    return jax.device_put(alone(*given), NamedSharding(where.mesh, _OF_RUN))

  alone: Any = jit_once(one_by_one, light=True)
  return dealt_out, alone.eval_shape(of_runs, shared)


def on_cpu(where: Layout) -> bool:
  """Whether the devices of a layout are CPUs."""
  return where.mesh.devices.flat[0].platform == 'cpu'


def _in_order(where: Layout) -> bool:
  return np.array_equal(where.slots, np.arange(len(where.place)))
