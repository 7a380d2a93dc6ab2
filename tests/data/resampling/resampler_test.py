"""What holds for every resampler, and how splits are resampled."""

import numpy as np
import pytest
import scipy.sparse

from mlc.data import splits
from mlc.data.dataset import Dataset, DatasetError
from mlc.data.imbalance import statistics
from mlc.data.profile import profile
from mlc.data.resampling import (
  Rows,
  class_aware,
  ml_ros,
  mlsmote,
  resample,
  square_root,
)
from mlc.methods import RESAMPLERS

# For resamplers that leave nothing to chance.
RNG = np.random.default_rng(0)
LABEL_SETS = ('lp_ros', 'lp_rus')


def dataset(rows, sparse=False):
  return Dataset(
    'toy',
    scipy.sparse.csr_array(rows.x) if sparse else rows.x,
    rows.y,
    tuple(f'l{j}' for j in range(rows.y.shape[1])),
    where=rows.where,
  )


def holdouts(data, seeds=2):
  return [
    split
    for seed in range(seeds)
    for split in splits.make(data, 'holdout', seed=seed, stratify=False)
  ]


@pytest.mark.parametrize('kind', ['dense', 'sparse', 'unknown'])
@pytest.mark.parametrize('name', RESAMPLERS)
def test_validation_and_test_rows_stay(draw, name, kind):
  data = dataset(draw(0, unknown=0.2 * (kind == 'unknown')), kind == 'sparse')
  made = holdouts(data)
  if kind == 'unknown' and name in LABEL_SETS:
    with pytest.raises(DatasetError, match=f'{name}: .* are unknown'):
      resample(data, made, RESAMPLERS[name]())
    return
  found = resample(data, made, RESAMPLERS[name]())
  n, extended = data.num_examples, found.dataset
  as_array = lambda x: x.toarray() if kind == 'sparse' else x
  np.testing.assert_array_equal(as_array(extended.x)[:n], as_array(data.x))
  np.testing.assert_array_equal(extended.y[:n], data.y)
  np.testing.assert_array_equal(found.row[:n], np.arange(n))
  assert len(found.row) == extended.num_examples
  seen: set[int] = set()
  for split, rows, before, after in zip(
    made, found.rows, found.before, found.after, strict=True
  ):
    # Nothing but training rows, and what is made of them.
    assert set(found.row[rows]) <= set(split.train)
    # A made row belongs to one split.
    own = set(rows[rows >= n])
    assert not own & seen
    seen |= own
    assert before == statistics(data.y[split.train])
    if found.shares is None:
      assert after == statistics(extended.y[rows])
  assert seen == set(range(n, extended.num_examples))
  if name in ('none', 'class_aware', 'square_root'):
    assert extended is data
    for split, rows in zip(made, found.rows, strict=True):
      np.testing.assert_array_equal(rows, split.train)


@pytest.mark.parametrize('name', RESAMPLERS)
def test_a_seed_decides_everything(draw, name):
  data = dataset(draw(0))
  one, other = holdouts(data, seeds=1), holdouts(data, seeds=1)
  # The same rows under another seed.
  other[0] = other[0]._replace(seed=7)
  a, b, c = (resample(data, s, RESAMPLERS[name]()) for s in (one, one, other))
  np.testing.assert_array_equal(a.rows[0], b.rows[0])
  np.testing.assert_array_equal(a.dataset.x, b.dataset.x)
  np.testing.assert_array_equal(a.dataset.y, b.dataset.y)
  chance = name in ('ml_ros', 'ml_rus', 'lp_ros', 'lp_rus', 'mlsmote')
  same = np.array_equal(a.rows[0], c.rows[0])
  same &= np.array_equal(a.dataset.x, c.dataset.x)
  assert same != chance


@pytest.mark.parametrize('name', RESAMPLERS)
@pytest.mark.parametrize(
  'y',
  [
    np.zeros((6, 3)),
    np.ones((6, 3)),
    np.eye(6),
    np.eye(6)[:, :1],
    [[1, 0, 0]] * 5 + [[1, 1, 0]],
  ],
  ids=['no label', 'all labels', 'each once', 'one label', 'never one'],
)
def test_labels_without_positives_do_no_harm(name, y):
  y = np.asarray(y, np.uint8)
  rows = Rows(np.arange(12, dtype=np.float32).reshape(6, 2), y)
  found = RESAMPLERS[name]().resample(rows, np.random.default_rng(0))
  assert len(found.rows)
  made = 0 if found.made is None else len(found.made.y)
  assert found.rows.min() >= 0
  assert found.rows.max() < len(y) + made
  if found.share is not None:
    assert (found.share > 0).all()
    assert found.share.sum() == pytest.approx(1.0)


@pytest.mark.parametrize('power', [0.0, 0.5, 1.0])
def test_label_first_is_the_draw_of_a_label_and_of_its_row(draw, power):
  rows = draw(5, n=50)
  rows.y[:, 4] = 0  # A label that nobody has.
  share = class_aware(power=power).resample(rows, RNG).share
  bags = [np.flatnonzero(rows.y[:, j]) for j in range(4)]
  bags.append(np.flatnonzero(rows.y.sum(axis=1) == 0))
  assert len(bags[-1])
  likely = np.array([len(bag) for bag in bags], float) ** power
  wanted = np.zeros(50)
  for bag, p in zip(bags, likely / likely.sum(), strict=True):
    for i in bag:
      wanted[i] += p / len(bag)
  np.testing.assert_allclose(share, wanted, rtol=1e-12)
  if power == 0.5:
    same = square_root().resample(rows, RNG).share
    np.testing.assert_array_equal(same, share)


def test_with_one_label_a_row_class_aware_is_balanced(draw):
  rows = draw(6, one_label=True)
  share = class_aware().resample(rows, RNG).share
  np.testing.assert_allclose(share @ rows.y, 1.0 / rows.y.shape[1])
  as_it_is = class_aware(power=1.0).resample(rows, RNG).share
  np.testing.assert_allclose(as_it_is, 1.0 / len(share))
  with pytest.raises(ValueError, match='power=2'):
    class_aware(power=2.0)


def test_smote_keeps_a_multi_class_set_one(draw):
  data = dataset(draw(7, one_label=True))
  for labels in ('ranking', 'union', 'intersection'):
    found = resample(data, holdouts(data), mlsmote(labels=labels))
    assert found.dataset.num_examples > data.num_examples
    assert found.dataset.is_multiclass


def test_statistics_are_those_of_the_profile_and_of_repeated_rows(draw):
  rows = draw(8)
  found, whole = statistics(rows.y), profile(dataset(rows))
  for key in ('mean_imbalance_ratio', 'max_imbalance_ratio', 'scumble'):
    assert found[key] == pytest.approx(whole[key])
  counts = rows.y.sum(axis=0)
  np.testing.assert_allclose(found['imbalance_ratios'], counts.max() / counts)
  times = np.random.default_rng(0).integers(0, 4, len(rows.y))
  weighted = statistics(rows.y, times.astype(float))
  repeated = statistics(np.repeat(rows.y, times, axis=0))
  for key, value in repeated.items():
    np.testing.assert_allclose(weighted[key], value, rtol=1e-12)


def test_nothing_to_do_is_no_statistics_error():
  found = statistics(np.zeros((4, 2), np.uint8))
  assert found['scumble'] is None
  assert found['imbalance_ratios'] == [None, None]


def test_more_clones_bring_the_mean_ratio_down(draw):
  data = dataset(draw(9))
  means = [
    resample(data, holdouts(data), ml_ros(size=size)).after[0]
    for size in (0.02, 0.1)
  ]
  ratios = [found['mean_imbalance_ratio'] for found in means]
  before = resample(data, holdouts(data), ml_ros()).before[0]
  assert before['mean_imbalance_ratio'] > ratios[0] > ratios[1]
