import sys

import numpy as np
import pytest
from sklearn.model_selection import KFold

from mlc.data import splits
from mlc.data.dataset import Dataset, DatasetError

N = 400


def _dataset(num_labels=5, n=N, **changes):
  rng = np.random.default_rng(1)
  p = np.linspace(0.03, 0.5, num_labels)
  y = rng.random((n, num_labels)) < p
  names = tuple(map(str, range(num_labels)))
  return Dataset('toy', rng.normal(size=(n, 3)), y, names, **changes)


def _equal(one, two):
  return all(
    np.array_equal(a, b)
    for s, t in zip(one, two, strict=True)
    for a, b in zip(s, t, strict=True)
  )


@pytest.mark.parametrize('scheme', ['holdout', 'kfold', 'given'])
@pytest.mark.parametrize('stratify', [False, True])
@pytest.mark.parametrize('validation', [0.0, 0.25])
def test_every_row_stands_in_exactly_one_part(scheme, stratify, validation):
  given = np.where(np.arange(N) < 300, 0, 2)
  data = _dataset(split=given)
  made = splits.make(
    data,
    scheme,
    seed=3,
    folds=4,
    validation_fraction=validation,
    stratify=stratify,
  )
  for split in made:
    parts = [split.train, split.validation, split.test]
    assert all(part.dtype == np.int32 for part in parts)
    assert all(np.all(np.diff(part) > 0) for part in parts)
    together = np.sort(np.concatenate(parts))
    np.testing.assert_array_equal(together, np.arange(N))
    share = len(split.validation) / (N - len(split.test))
    assert share == pytest.approx(validation, abs=0.02)
    assert split.seed == 3
  if scheme == 'kfold':
    assert [split.fold for split in made] == [0, 1, 2, 3]
    tested = np.concatenate([split.test for split in made])
    np.testing.assert_array_equal(np.sort(tested), np.arange(N))
  else:
    assert [split.fold for split in made] == [-1]
  if scheme == 'given':
    np.testing.assert_array_equal(made[0].test, np.arange(300, N))
  if scheme == 'holdout':
    assert len(made[0].test) / N == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize('scheme', ['holdout', 'kfold'])
@pytest.mark.parametrize('stratify', [False, True])
def test_a_split_is_a_function_of_the_seed_alone(scheme, stratify):
  data = _dataset()
  options = {'folds': 3, 'stratify': stratify}
  first = splits.make(data, scheme, seed=0, **options)
  np.random.seed(99)  # noqa: NPY002 the global generator must not matter
  again = splits.make(data, scheme, seed=0, **options)
  other = splits.make(data, scheme, seed=1, **options)
  assert _equal(first, again)
  assert not _equal(first, other)
  # Whether rows are kept for validation does not move the test part.
  no_validation = splits.make(
    data, scheme, seed=0, validation_fraction=0.0, **options
  )
  for a, b in zip(first, no_validation, strict=True):
    np.testing.assert_array_equal(a.test, b.test)
    np.testing.assert_array_equal(np.union1d(a.train, a.validation), b.train)


def test_plain_folds_are_those_of_scikit_learn():
  data = _dataset(n=103)
  made = splits.make(
    data, 'kfold', seed=7, folds=10, validation_fraction=0.0, stratify=False
  )
  expected = KFold(10, shuffle=True, random_state=7).split(data.x)
  for split, (train, test) in zip(made, expected, strict=True):
    np.testing.assert_array_equal(split.train, train)
    np.testing.assert_array_equal(split.test, test)


def test_stratified_parts_have_the_share_of_each_label():
  data = _dataset(num_labels=6, n=600)
  overall = data.y.mean(axis=0)

  def worst(stratify):
    made = splits.make(data, 'kfold', seed=0, folds=5, stratify=stratify)
    parts = [p for s in made for p in (s.train, s.validation, s.test)]
    share = np.stack([data.y[part].mean(axis=0) for part in parts])
    return np.abs(share / overall - 1.0).max()

  assert worst(stratify=True) < 0.3
  assert worst(stratify=False) > 0.5


def test_classes_are_stratified_to_a_row():
  rng = np.random.default_rng(0)
  classes = rng.choice(3, 300, p=[0.6, 0.3, 0.1])
  data = Dataset(
    'toy', rng.normal(size=(300, 2)), np.eye(3)[classes], tuple('abc')
  )
  assert data.is_multiclass
  made = splits.make(data, 'kfold', seed=0, folds=5)
  for split in made:
    expected = data.y.sum(axis=0) / 5
    assert np.abs(data.y[split.test].sum(axis=0) - expected).max() <= 1.0


def test_a_single_label_is_stratified_too():
  data = _dataset(num_labels=1)
  for split in splits.make(data, 'kfold', seed=0, folds=4):
    expected = data.y.sum() / 4
    assert abs(data.y[split.test].sum() - expected) <= 1.0


def test_a_given_validation_part_is_used_as_it_is():
  given = np.arange(N) % 4 % 3  # 0 1 2 0
  [split] = splits.make(_dataset(split=given), 'given', seed=0)
  for part, code in ((split.train, 0), (split.validation, 1), (split.test, 2)):
    np.testing.assert_array_equal(part, np.flatnonzero(given == code))


@pytest.mark.parametrize(
  ('scheme', 'options', 'message'),
  [
    ('given', {}, 'brings no split. Use holdout or kfold'),
    ('kfold', {'folds': 1}, '1 folds of 400 rows'),
    ('kfold', {'folds': 401}, '401 folds of 400 rows'),
    ('holdout', {'test_fraction': 1.0}, 'test_fraction 1.0'),
    ('holdout', {'test_fraction': 0.0}, 'test_fraction 0.0'),
    ('holdout', {'validation_fraction': 1.0}, 'validation_fraction 1.0'),
    (
      'holdout',
      {'test_fraction': 0.001, 'stratify': False},
      'no row is left for the test part',
    ),
  ],
)
def test_impossible_splits_are_refused(scheme, options, message):
  with pytest.raises(DatasetError, match=message):
    splits.make(_dataset(), scheme, seed=0, **options)


def test_an_unknown_scheme_has_a_hint():
  with pytest.raises(ValueError, match="Did you mean 'kfold'"):
    splits.make(_dataset(), 'k-fold', seed=0)


def test_two_rows_are_too_few_for_three_parts():
  data = Dataset('toy', np.eye(2), np.eye(2), ('a', 'b'))
  for stratify in (True, False):
    with pytest.raises(DatasetError, match='too few'):
      splits.make(data, 'kfold', seed=0, folds=2, stratify=stratify)


def test_the_missing_package_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'iterstrat', None)
  with pytest.raises(DatasetError, match=r"pip install 'mlc\[data\]'"):
    splits.make(_dataset(), 'holdout', seed=0)
  assert splits.make(_dataset(), 'holdout', seed=0, stratify=False)
