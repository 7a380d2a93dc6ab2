import dataclasses
import time

import numpy as np
import pytest
import scipy.sparse

from mlc.data.dataset import Dataset, DatasetError

X = np.arange(12.0).reshape(4, 3)
Y = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])


def make(**changes) -> Dataset:
  fields = {'name': 'toy', 'x': X, 'y': Y, 'label_names': ('a', 'b')}
  return Dataset(**{**fields, **changes})


def _with(array, place, value):
  array = np.array(array, float)
  array[place] = value
  return array


def _ragged():
  rows = np.empty(4, object)
  rows[:] = [[1, 0], [1], [0, 1], [1, 1]]
  return rows


def _twice():
  csr = scipy.sparse.csr_array(
    (np.ones(3), np.array([0, 2, 2]), np.array([0, 1, 3, 3, 3])), shape=(4, 3)
  )
  return csr


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'x': _with(X, (2, 1), np.nan)}, 'value nan in row 2, column 1'),
    ({'x': _with(X, (3, 0), -np.inf)}, 'value -inf in row 3, column 0'),
    ({'x': _with(X, (0, 2), 1e300)}, r'value 1e\+300 in row 0, column 2'),
    ({'x': X.astype(str)}, 'features have dtype'),
    ({'x': X[:, 0]}, r'features have shape \(4,\)'),
    ({'x': X[:, :0]}, 'no columns'),
    ({'x': X[:0], 'y': Y[:0]}, 'no rows'),
    ({'x': X[:3]}, '3 rows of features but 4 rows of labels'),
    ({'x': _twice()}, 'row 1 of the sparse features holds column 2 twice'),
    ({'y': _with(Y, (1, 0), 2)}, 'label value 2.0 in row 1, column 0'),
    ({'y': _with(Y, (1, 1), 0.5)}, 'label value 0.5 in row 1, column 1'),
    ({'y': _with(Y, (1, 1), np.nan)}, 'label value nan in row 1, column 1'),
    ({'y': Y[:, 0]}, r'labels have shape \(4,\)'),
    ({'y': _ragged()}, 'labels are ragged'),
    ({'y': Y[:, :0], 'label_names': ()}, 'no columns'),
    ({'label_names': ('a', 'a')}, "duplicate label names: 'a'"),
    ({'label_names': ('a',)}, '1 label names for 2 label columns'),
    ({'feature_names': ('f', 'g')}, '2 feature names for 3 feature columns'),
    ({'feature_names': ('f', 'g', 'f')}, "duplicate feature names: 'f'"),
    ({'where': Y}, '`where` is int64'),
    ({'where': np.ones((4, 1), bool)}, r'`where` is bool \(4, 1\)'),
    ({'split': np.array([0, 2, 3, 0])}, 'values 0, 2, 3'),
    ({'split': np.array([0, 2])}, r'shape \(2,\)'),
    ({'split': np.array([0, 0, 1, 0])}, 'has no test row'),
    ({'split': np.array([2, 2, 1, 2])}, 'has no train row'),
    ({'log_joint': np.zeros((4, 3))}, r'\(4, 2\^2\) is expected'),
    ({'log_joint': np.full((4, 4), -1.0)}, 'row 0 of log_joint'),
    ({'log_joint': np.full((4, 4), np.nan)}, 'row 0 of log_joint'),
  ],
)
def test_bad_input_is_refused_with_what_and_where(changes, message):
  with pytest.raises(DatasetError, match=message) as error:
    make(**changes)
  assert str(error.value).startswith("data set 'toy': ")


@pytest.mark.parametrize('convert', [np.asarray, scipy.sparse.csr_array])
def test_fields_have_their_dtypes_and_keep_the_values(convert):
  data = make(
    x=convert(X),
    split=np.array([0, 0, 1, 2]),
    log_joint=np.full((4, 4), np.log(0.25)),
  )
  dense = data.x.toarray() if scipy.sparse.issparse(data.x) else data.x
  assert data.x.dtype == np.float32
  np.testing.assert_array_equal(dense, X)
  assert (data.y.dtype, data.split.dtype) == (np.uint8, np.int8)
  assert data.log_joint.dtype == np.float32
  assert (data.num_examples, data.num_features, data.num_labels) == (4, 3, 2)


def test_the_callers_arrays_stay_as_they_were():
  x, y = X.astype(np.float32), Y.astype(np.uint8)
  data = make(x=x, y=y)
  x[0, 0] = 5.0  # the caller's array is writable,
  with pytest.raises(ValueError, match='read-only'):
    data.x[0, 0] = 6.0  # the field is not

  csr = scipy.sparse.csr_array(
    (np.array([1.0, 0.0]), np.array([2, 0]), np.array([0, 2, 2, 2, 2])),
    shape=(4, 3),
  )
  data = make(x=csr)
  assert csr.indices.tolist() == [2, 0]
  assert csr.nnz == 2
  assert data.x.indices.tolist() == [2]  # sorted, without stored zeros


def test_an_unknown_label_may_hold_anything_and_becomes_0():
  where = np.array([[True, False], [True] * 2, [True] * 2, [True] * 2])
  data = make(y=_with(Y, (0, 1), np.nan), where=where)
  np.testing.assert_array_equal(data.y, Y)
  np.testing.assert_array_equal(data.where, where)
  assert make(where=np.ones((4, 2), bool)).where is None


def test_multiclass_means_exactly_one_label_in_every_row():
  eye = np.eye(4, 2)
  eye[2:, 1] = 1
  assert make(y=eye).is_multiclass
  assert not make().is_multiclass
  assert not make(y=_with(eye, (0, 0), 0)).is_multiclass
  assert not make(y=_with(eye, (0, 1), 1)).is_multiclass
  unknown = np.ones((4, 2), bool)
  unknown[0, 1] = False
  assert not make(y=eye, where=unknown).is_multiclass
  # One column of ones is a constant label, not a class.
  assert not make(y=np.ones((4, 1)), label_names=('a',)).is_multiclass


def test_the_hash_sees_all_content_and_nothing_else():
  plain = make()
  same = [
    make(name='other'),
    make(source='elsewhere', notes=('n',)),
    make(x=X.astype(np.float32), y=Y.astype(bool)),
  ]
  assert {d.content_hash for d in same} == {plain.content_hash}
  where = np.ones((4, 2), bool)
  where[3, 1] = False
  different = [
    plain,
    make(x=_with(X, (0, 0), 1e-3)),
    make(x=scipy.sparse.csr_array(X)),
    make(x=scipy.sparse.csr_array(_with(X, (3, 2), 12))),
    make(y=_with(Y, (3, 0), 1)),
    make(label_names=('b', 'a')),
    make(feature_names=('f', 'g', 'h')),
    make(where=where),
    make(split=np.array([0, 0, 0, 2])),
    make(split=np.array([0, 0, 1, 2])),
    make(log_joint=np.full((4, 4), np.log(0.25))),
  ]
  assert len({d.content_hash for d in different}) == len(different)
  assert len(plain.content_hash) == 64


def test_what_is_odd_is_reported_once():
  y = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0]])
  where = np.ones(y.shape, bool)
  where[:, 3] = False
  data = make(
    y=y,
    where=where,
    label_names=tuple('abcd'),
    split=np.array([0, 0, 2, 2]),
    notes=('given',),
  )
  assert data.notes == (
    'given',
    '1 of 4 labels are unknown in all rows: d',
    '1 of 4 labels are always 0 in all rows: a',
    '1 of 4 labels are always 1 in all rows: b',
    '1 of 4 labels are unknown in the given training part: d',
    '1 of 4 labels are always 0 in the given training part: a',
    '2 of 4 labels are always 1 in the given training part: b, c',
  )
  assert dataclasses.replace(data, name='again').notes == data.notes
  assert make().notes == ('1 of 4 rows have no label',)


@pytest.mark.parametrize('convert', [np.asarray, scipy.sparse.csr_array])
def test_test_rows_that_stand_in_training_are_counted(convert):
  x = np.zeros((6, 40))  # more than 64 bytes a row, which are digested
  x[:, 0] = [1, 2, 3, 1, 2, 4]
  x[:, 1:30] = 1.0
  x[0, 35] = -0.0
  data = make(
    x=convert(x), y=np.ones((6, 2)), split=np.array([0, 0, 0, 2, 2, 2])
  )
  note = '2 of 3 test rows of the given split have the features of a training'
  assert note in data.notes[-1]


def test_a_set_of_the_size_of_delicious_is_checked_within_a_second():
  rng = np.random.default_rng(0)
  shape = (16105, 500)
  dense = rng.random(shape, np.float32)
  y = rng.random((16105, 983), np.float32) < 0.02
  names = tuple(map(str, range(983)))
  split = np.arange(16105) % 5 // 4 * 2
  for x in (dense, scipy.sparse.csr_array(dense * (dense < 0.04))):
    began = time.process_time()
    Dataset('large', x, y, names, split=split)
    assert time.process_time() - began < 1.0


EDGES = np.zeros((3, 3), bool)
EDGES[1, 0] = EDGES[2, 1] = True


def family(y, hierarchy=EDGES, **fields):
  y = np.asarray(y)
  return Dataset(
    'toy', np.ones((len(y), 1)), y, tuple('abc'), hierarchy=hierarchy, **fields
  )


def test_a_hierarchy_is_checked_and_kept():
  data = family([[1, 1, 0], [1, 1, 1]])
  assert data.hierarchy.dtype == bool
  assert not data.hierarchy.flags.writeable
  assert not any('parent' in note for note in data.notes)
  assert family([[1, 0, 0]], np.zeros((3, 3), bool)).hierarchy is None


def test_rows_against_the_hierarchy_are_counted_and_kept():
  y = [[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 1, 1]]
  data = family(y)
  note = '3 of 5 rows have a label without its parent in the hierarchy'
  assert note in data.notes
  np.testing.assert_array_equal(data.y, y)
  # An unknown parent may be on.
  where = np.ones((5, 3), bool)
  where[1, 0] = where[4, 0] = False
  assert note.replace('3', '1', 1) in family(y, where=where).notes


def test_a_hierarchy_is_content_and_none_is_not():
  plain = family([[1, 1, 0]], None)
  # Of the same set before there were hierarchies.
  assert plain.content_hash.startswith('7150e463d0dee63a')
  hashes = {
    plain.content_hash,
    family([[1, 1, 0]]).content_hash,
    family([[1, 1, 0]], EDGES.T).content_hash,
  }
  assert len(hashes) == 3


@pytest.mark.parametrize(
  ('edges', 'message'),
  [
    ([(0, 1), (1, 2), (2, 0)], 'has a cycle: each of the labels a, b, c is'),
    ([(0, 1), (1, 0), (2, 1)], 'has a cycle: each of the labels a, b is'),
    ([(1, 1)], 'has a cycle: each of the labels b is its own ancestor'),
  ],
)
def test_a_hierarchy_with_a_cycle_is_refused(edges, message):
  hierarchy = np.zeros((3, 3), bool)
  hierarchy[tuple(np.transpose(edges))] = True
  with pytest.raises(DatasetError, match=message):
    family([[1, 1, 0]], hierarchy)


@pytest.mark.parametrize('hierarchy', [EDGES[:2], EDGES.astype(int)])
def test_a_hierarchy_of_another_shape_is_refused(hierarchy):
  with pytest.raises(DatasetError, match=r'bool \(3, 3\) is expected'):
    family([[1, 1, 0]], hierarchy)
