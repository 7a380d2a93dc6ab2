"""Blocks of rows by threads: the same as all rows at once."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import side_by_side
from mlc.base import SparseRows
from mlc.numerics import take_rows
from mlc.side_by_side import Part, over_rows

DATA = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
SCALES = np.array([1.0, -2.0], np.float32)


def scaled(data, scale, index, weight):
  return {'row': scale * data[index], 'sum': data[index].sum(-1) * weight}


def part(*rows):
  """Of each run so many rows of the data, the last first."""
  length = max(rows)
  index = np.tile(np.arange(50)[::-1][:length], (len(rows), 1))
  weight = np.arange(length)[None, :] < np.array(rows)[:, None]
  return Part(index.astype(np.int32), weight.astype(np.float32))


@pytest.mark.parametrize('block', [1, 7, 16, 100])
def test_rows_are_those_of_their_run_and_padding_is_0(block):
  parts = [part(20, 13), part(9, 16)]
  found = over_rows(scaled, DATA, SCALES, parts, block)
  for mine, (index, weight) in zip(found, parts, strict=True):
    rows = SCALES[:, None, None] * DATA[index] * weight[..., None]
    np.testing.assert_allclose(mine['row'], rows, rtol=1e-6)
    sums = DATA[index].sum(-1) * weight
    np.testing.assert_allclose(mine['sum'], sums, rtol=1e-5, atol=1e-6)


def test_how_many_threads_there_are_changes_no_bit(monkeypatch):
  def draws(data, key, index, weight):
    return jax.random.normal(key, (len(index), 4)) * data[index, :1]

  keys = jax.random.split(jax.random.key(0), 2)
  found = {}
  for cores in (1, 4):
    monkeypatch.setattr(side_by_side, 'cores', lambda n=cores: n)
    (found[cores],) = over_rows(draws, DATA, keys, [part(50, 50)], 8)
  np.testing.assert_array_equal(found[1], found[4])


def test_sparse_rows_are_rows():
  index = np.arange(50)[:, None].astype(np.int32)
  data = SparseRows(jnp.asarray(index), jnp.asarray(DATA[:, :1]), 50)

  def values(data, scale, index, weight):
    return scale * take_rows(data, index).values[:, 0]

  (found,) = over_rows(values, data, SCALES, [part(7, 7)], 4)
  np.testing.assert_allclose(found, SCALES[:, None] * DATA[:-8:-1, 0][None])


def test_it_is_traced_once():
  count = itertools.count()

  def traced(data, scale, index, weight):
    next(count)
    return scaled(data, scale, index, weight)

  over_rows(traced, DATA, SCALES, [part(20, 13), part(9, 16)], 6)
  assert next(count) == 1


def test_rows_that_are_done_are_told():
  told = []
  parts = [part(20, 13), part(9, 16)]
  on_rows = lambda *now: told.append(now)
  over_rows(scaled, DATA, SCALES, parts, 10, on_rows=on_rows)
  total = 20 + 13 + 9 + 16
  ends = np.cumsum([10, 10, 10, 3, 9, 10, 6])
  assert told == [(end, total) for end in ends]


def test_an_interruption_drops_the_blocks_that_wait():
  def interrupt(done, total):
    del total
    assert done == 1
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    over_rows(scaled, DATA, SCALES, [part(50, 50)], 1, on_rows=interrupt)


def test_threads_are_as_many_as_cores_and_memory_allow(monkeypatch):
  asked = []

  class Pool(ThreadPoolExecutor):
    def __init__(self, workers):
      asked.append(workers)
      super().__init__(workers)

  def wide(data, scale, index, weight):
    """Of 256 KiB a block."""
    y = jax.random.normal(jax.random.key(0), (2**16,)) + scale
    return jnp.sort(y)[index]

  monkeypatch.setattr(side_by_side, 'ThreadPoolExecutor', Pool)
  monkeypatch.setattr(side_by_side, 'cores', lambda: 64)
  monkeypatch.setattr(side_by_side, '_WORKING_MEMORY', 2**20)
  over_rows(scaled, DATA, SCALES, [part(1, 1)], 8)
  assert asked == [64]
  over_rows(wide, DATA, SCALES, [part(1, 1)], 8)
  assert 1 <= asked[1] <= 4
