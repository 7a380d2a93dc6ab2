"""Blocks of the rows of several runs, as many at a time as there are cores.

Much of what a model answers waits for itself: a chain says label after label,
and the small steps of one block keep one core busy. Rows do not wait for each
other.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from mlc.numerics import jit_once, take_rows

# Of all blocks that are computed at a time, in bytes.
_WORKING_MEMORY = 2**31


class Part(NamedTuple):
  """Some rows of each run.

  Attributes:
    rows: their places in the data.
    weight: 0 for padding.
  """

  rows: Int[Array, 'runs rows']
  weight: Float[Array, 'runs rows']


class _Block(NamedTuple):
  part: int
  run: int
  places: np.ndarray


def cores() -> int:
  """How many of the machine's this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def over_rows(
  function: Callable[..., Any],
  shared: Any,
  of_runs: Any,
  parts: Sequence[Part],
  block: int,
  *,
  on_rows: Callable[[int, int], None] | None = None,
) -> list[Any]:
  """Applies a function of a block of rows to all rows of all runs.

  It is compiled once, and called by threads: one a core, or fewer where their
  working memory would exceed 2 GiB. How many there are changes no result.

  Args:
    function: (shared, of_run, index [B], weight [B]) -> a pytree of [B, ...].
    shared: what every run sees, such as the data.
    of_runs: what differs between them, a pytree of [R, ...].
    parts: the rows.
    block: rows of a block; fewer where no part has as many.
    on_rows: called with the number of rows that are done, and of all.

  Returns:
    For each part a pytree of numpy arrays [R, rows, ...], with 0 for padding.
  """
  block = min(block, max(part.rows.shape[1] for part in parts))
  indices = [np.asarray(part.rows) for part in parts]
  blocks = list(_blocks(parts, block))

  # As leaves: JAX puts a description of each argument in its place, which is
  # no array, and which a type that is checked may refuse.
  leaves, structure = jax.tree.flatten((shared, of_runs))

  def of_block(leaves, run, index, weight):
    shared, of_runs = jax.tree.unflatten(structure, leaves)
    return function(shared, take_rows(of_runs, run), index, weight)

  def given(one: _Block) -> tuple[Any, ...]:
    # A block that is not full repeats its rows, which then do not count.
    places = np.resize(one.places, block)
    weight = (np.arange(block) < len(one.places)).astype(np.float32)
    index = indices[one.part][one.run, places]
    return leaves, np.int32(one.run), index, weight

  program: Any = jit_once(of_block)
  lowered = program.lower(*given(_Block(0, 0, np.zeros(1, int))))
  compiled = lowered.compile()
  results = [_zeros(lowered.out_info, index.shape) for index in indices]

  def compute(one: _Block) -> int:
    found = jax.device_get(compiled(*given(one)))
    for out, leaf in zip(
      jax.tree.leaves(results[one.part]), jax.tree.leaves(found), strict=True
    ):
      out[one.run, one.places] = leaf[: len(one.places)]
    return len(one.places)

  done, total = 0, sum(len(one.places) for one in blocks)
  pool = ThreadPoolExecutor(_at_a_time(compiled))
  try:
    for count in pool.map(compute, blocks):
      done += count
      if on_rows is not None:
        on_rows(done, total)
  finally:
    # Ctrl-C waits for the blocks that are being computed, not for all.
    pool.shutdown(cancel_futures=True)
  return results


def _zeros(of_block: Any, shape: tuple[int, ...]) -> Any:
  """Where the results of all rows go, by the shapes of those of a block."""
  return jax.tree.map(
    lambda leaf: np.zeros((*shape, *leaf.shape[1:]), leaf.dtype), of_block
  )


def _blocks(parts: Sequence[Part], block: int) -> Iterator[_Block]:
  """The rows that count, `block` at a time."""
  for i, part in enumerate(parts):
    for run, weight in enumerate(np.asarray(part.weight)):
      places = np.flatnonzero(weight > 0)
      for start in range(0, len(places), block):
        yield _Block(i, run, places[start : start + block])


def _at_a_time(compiled: jax.stages.Compiled) -> int:
  """How many threads are to call a program."""
  memory = compiled.memory_analysis()
  if jax.default_backend() != 'cpu' or memory is None:
    # A block is computed while another is fetched.
    return 2
  needed = memory.temp_size_in_bytes + memory.output_size_in_bytes
  return max(1, min(cores(), _WORKING_MEMORY // max(needed, 1)))
