"""Rows that are made: where they lie and which labels they have."""

import itertools

import numpy as np
import pytest
import scipy.sparse

from mlc.data.imbalance import minority, statistics
from mlc.data.resampling import Rows, mlsmote, remedial

K = 3


def made_by(rows, seed=0, **options):
  resampler = mlsmote(neighbours=K, **options)
  return resampler.resample(rows, np.random.default_rng(seed))


def neighbours(x, bag, i):
  """The K nearest rows of a bag by sorting all distances; fewer in a small."""
  others = [r for r in bag if r != i]
  return sorted(others, key=lambda r: np.linalg.norm(x[r] - x[i]))[:K]


def position(x, i, r, point):
  """u with point = x_i + u (x_r - x_i), or None off the line."""
  step = x[r] - x[i]
  u = (point - x[i]) @ step / (step @ step)
  on_line = np.allclose(x[i] + u * step, point, rtol=0, atol=1e-5)
  return u if on_line and -1e-6 <= u < 1.0 + 1e-6 else None


def groups(rows):
  """For each made row, in order, the label it is for and its row i."""
  for label in np.flatnonzero(minority(rows.y.sum(axis=0))):
    bag = np.flatnonzero(rows.y[:, label])
    if len(bag) > 1:
      yield from ((bag, i) for i in bag)


@pytest.mark.parametrize(
  ('labels', 'rule'),
  [
    ('ranking', lambda y: y.sum(axis=0) > len(y) / 2),
    ('union', lambda y: y.any(axis=0)),
    ('intersection', lambda y: y.all(axis=0)),
  ],
)
def test_mlsmote_by_brute_force(draw, labels, rule):
  rows = draw(0)
  found = made_by(rows, labels=labels)
  n, x = len(rows.y), rows.x.astype(np.float64)
  wanted = list(groups(rows))
  assert len(wanted) == len(found.source) == len(found.made.y) > 10
  np.testing.assert_array_equal(found.rows, np.arange(n + len(wanted)))
  us = []
  for j, (bag, i) in enumerate(wanted):
    near = neighbours(x, bag, i)
    assert found.source[j] == i
    places = [position(x, i, r, found.made.x[j]) for r in near]
    (u,) = [place for place in places if place is not None]
    us.append(u)
    np.testing.assert_array_equal(found.made.y[j], rule(rows.y[[i, *near]]))
  assert 0.3 < np.mean(us) < 0.7


def test_sparse_rows_are_joined_like_dense_ones(draw):
  rows = draw(1)
  x = rows.x * (np.abs(rows.x) > 0.4)
  dense = made_by(rows._replace(x=x))
  sparse = made_by(rows._replace(x=scipy.sparse.csr_array(x)))
  assert scipy.sparse.issparse(sparse.made.x)
  np.testing.assert_allclose(sparse.made.x.toarray(), dense.made.x, atol=1e-6)
  np.testing.assert_array_equal(sparse.made.y, dense.made.y)
  longest = np.diff(sparse.made.x.indptr).max()
  assert longest <= 2 * np.count_nonzero(x, axis=1).max()


@pytest.mark.parametrize('sparse', [False, True])
def test_scaled_distances_are_those_of_scaled_features(draw, sparse):
  rows = draw(2)
  x = rows.x * np.array([1.0, 100.0, 0.01], np.float32)
  x[:, 2] = np.where(rows.y[:, 0], x[:, 2], 0.0)
  convert = scipy.sparse.csr_array if sparse else np.asarray
  scaled = made_by(rows._replace(x=convert(x)), scaled=True)
  by_hand = made_by(rows._replace(x=x / x.std(axis=0)))
  np.testing.assert_array_equal(scaled.made.y, by_hand.made.y)
  made = scaled.made.x.toarray() if sparse else scaled.made.x
  np.testing.assert_allclose(made / x.std(axis=0), by_hand.made.x, atol=1e-4)
  unscaled = made_by(rows._replace(x=x))
  assert (unscaled.made.y != by_hand.made.y).any()


def test_a_made_label_is_known_where_no_unknown_one_could_change_it(draw):
  rows = draw(3, n=40, shares=(0.6, 0.4, 0.1), unknown=0.3)
  for labels in ('ranking', 'union', 'intersection'):
    found = made_by(rows, labels=labels)
    for j, (bag, i) in enumerate(groups(rows)):
      group = [i, *neighbours(rows.x.astype(np.float64), bag, i)]
      y, where = rows.y[group], rows.where[group]
      for label in range(y.shape[1]):
        answers = set()
        values = [
          (v,) if w else (0, 1)
          for v, w in zip(y.T[label], where.T[label], strict=True)
        ]
        for votes in itertools.product(*values):
          needed = {'union': 1, 'intersection': len(votes)}
          least = needed.get(labels, len(votes) // 2 + 1)
          answers.add(sum(votes) >= least)
        assert found.made.where[j, label] == (len(answers) == 1)
        if len(answers) == 1:
          assert found.made.y[j, label] == answers.pop()


def test_a_single_row_has_nothing_to_be_joined_with(draw):
  rows = draw(4)
  y = rows.y.copy()
  y[:, 3:] = 0
  y[7, 4] = 1
  found = made_by(rows._replace(y=y))
  assert found.made is None
  np.testing.assert_array_equal(found.rows, np.arange(len(y)))


def test_no_neighbours_are_refused():
  with pytest.raises(ValueError, match='neighbours=0; give at least 1'):
    mlsmote(neighbours=0)


@pytest.mark.parametrize('unknown', [0.0, 0.2])
@pytest.mark.parametrize('seed', range(4))
def test_remedial_by_brute_force(draw, seed, unknown):
  rows = draw(seed, unknown=unknown)
  found = remedial().resample(rows, np.random.default_rng(0))
  counts = rows.y.sum(axis=0)
  ratio = counts.max() / counts
  level = [
    1.0 - np.prod(r) ** (1.0 / len(r)) / np.mean(r) if len(r) else np.nan
    for r in (ratio[row == 1] for row in rows.y)
  ]
  n, made = len(rows.y), []
  whole = []
  for i, row in enumerate(rows.y):
    rare = [v if ratio[j] > ratio.mean() else 0 for j, v in enumerate(row)]
    rest = [v if ratio[j] <= ratio.mean() else 0 for j, v in enumerate(row)]
    if level[i] > np.nanmean(level) and any(rare) and any(rest):
      made += [(i, rare), (i, rest)]
    else:
      whole.append(i)
  assert made
  assert sorted(found.rows[found.rows < n]) == whole
  got = [
    (int(i), row.tolist())
    for i, row in zip(found.source, found.made.y, strict=True)
  ]
  assert sorted(got) == sorted((i, [int(v) for v in row]) for i, row in made)
  np.testing.assert_array_equal(found.made.x, rows.x[found.source])
  if unknown:
    np.testing.assert_array_equal(found.made.where, rows.where[found.source])
  y = np.concatenate([rows.y, found.made.y])[found.rows]
  np.testing.assert_array_equal(y.sum(axis=0), counts)
  assert statistics(y)['scumble'] < statistics(rows.y)['scumble']


def test_remedial_leaves_rows_of_one_side_whole():
  """Both labels of the last row are rare, and it has the largest SCUMBLE."""
  y = np.array([[1, 0, 0]] * 40 + [[0, 1, 0]] * 4 + [[0, 1, 1]], np.uint8)
  y = np.concatenate([y, np.repeat([[0, 0, 0]], 3, axis=0).astype(np.uint8)])
  y = np.column_stack([y, np.tile(y[:, :1], 3)])
  rows = Rows(np.zeros((len(y), 2), np.float32), y)
  assert minority(y.sum(axis=0)).tolist() == [False, False, True] + [False] * 3
  found = remedial().resample(rows, np.random.default_rng(0))
  assert found.made.y.any(axis=1).all()
