import numpy as np
import pytest
import scipy.sparse

from mlc import numerics
from mlc.data.arrays import to_device
from mlc.data.dataset import Dataset, DatasetError


def _dataset(x, **changes):
  y = np.arange(len(x) * 2).reshape(-1, 2) % 3 == 0
  convert = changes.pop('convert', np.asarray)
  return Dataset('toy', convert(x), y, ('a', 'b'), **changes)


@pytest.mark.parametrize('density', [0.0, 0.3, 1.0])
def test_sparse_rows_are_the_same_matrix(density):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(20, 7)).astype(np.float32)
  x *= rng.random(x.shape) < density
  x[5] = 0.0
  batch = to_device(_dataset(x, convert=scipy.sparse.csr_array))
  longest = max(np.count_nonzero(x, axis=1).max(), 1)
  assert batch.x.indices.shape == batch.x.values.shape == (20, longest)
  assert batch.x.num_features == 7
  np.testing.assert_array_equal(numerics.to_dense(batch.x), x)
  np.testing.assert_array_equal(to_device(_dataset(x)).x, x)


def test_labels_become_floats_and_where_is_kept():
  x = np.ones((3, 2))
  where = np.array([[True, False], [True, True], [False, True]])
  data = _dataset(x, where=where)
  batch = to_device(data)
  assert batch.y.dtype == np.float32
  np.testing.assert_array_equal(batch.y, data.y)
  np.testing.assert_array_equal(batch.where, where)
  assert batch.weight is None
  assert to_device(_dataset(x)).where is None


def test_more_than_the_budget_is_refused_before_it_is_made():
  x = np.zeros((1000, 500), np.float32)
  x[0] = 1.0  # one long row makes all rows long
  sparse = _dataset(x, convert=scipy.sparse.csr_array)
  bytes_needed = 1000 * (500 * 8 + 2 * 4)
  assert to_device(sparse, memory_budget=bytes_needed).x.values.shape[1] == 500
  with pytest.raises(DatasetError, match='longest row of 500 entries'):
    to_device(sparse, memory_budget=bytes_needed - 1)
  with pytest.raises(DatasetError, match='500 dense features'):
    to_device(_dataset(x), memory_budget=1000 * (500 * 4 + 2 * 4) - 1)
