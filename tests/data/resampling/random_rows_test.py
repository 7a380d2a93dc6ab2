"""Clones and omissions, against the pseudo-code read line by line."""

import collections

import numpy as np
import pytest

from mlc.data.imbalance import mean_ratio, minority
from mlc.data.resampling import lp_ros, lp_rus, ml_ros, ml_rus


def ratios(counts):
  """IRLbl by definition, label by label."""
  return [max(counts) / n if n else None for n in counts]


def mean(counts):
  found = [ratio for ratio in ratios(counts) if ratio is not None]
  return sum(found) / len(found)


def of_set(rows):
  """Label set -> its rows."""
  bags = collections.defaultdict(list)
  for i, labels in enumerate(rows.y.tolist()):
    bags[tuple(labels)].append(i)
  return bags


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('size', [0.05, 0.5, 3.0])
def test_ml_ros_is_its_pseudo_code(draw, seed, size):
  rows = draw(seed)
  chosen = ml_ros(size=size).resample(rows, np.random.default_rng(seed)).rows
  n = len(rows.y)
  np.testing.assert_array_equal(chosen[:n], np.arange(n))
  clones = list(chosen[n:])
  counts = rows.y.sum(axis=0).tolist()
  threshold = mean(counts)
  bags = [j for j, r in enumerate(ratios(counts)) if r and r > threshold]
  assert bags
  while clones and bags:
    for label in list(bags):
      if not clones:
        break
      clone = clones.pop(0)
      assert rows.y[clone, label] == 1
      counts = [a + int(b) for a, b in zip(counts, rows.y[clone], strict=True)]
      if ratios(counts)[label] <= threshold:
        bags.remove(label)
  assert not clones
  # It ended because the rows were enough, or no label was rare any more.
  assert len(chosen) - n == round(size * n) or not bags
  assert len(chosen) - n <= round(size * n)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('size', [0.1, 0.6])
def test_ml_rus_counts_of_disjoint_bags(draw, seed, size):
  """With one label a row the turns decide every count, whoever is picked."""
  rows = draw(seed, one_label=True)
  kept = ml_rus(size=size).resample(rows, np.random.default_rng(seed)).rows
  assert len(set(kept)) == len(kept)
  counts = rows.y.sum(axis=0).tolist()
  threshold, left = mean(counts), round(size * len(rows.y))
  bags = [j for j, r in enumerate(ratios(counts)) if r and r < threshold]
  while left and bags:
    for label in list(bags):
      if not left:
        break
      counts[label] -= 1
      left -= 1
      if not counts[label] or ratios(counts)[label] >= threshold:
        bags.remove(label)
  assert rows.y[kept].sum(axis=0).tolist() == counts


@pytest.mark.parametrize('spare_rare', [True, False])
@pytest.mark.parametrize('seed', range(3))
def test_ml_rus_leaves_out_frequent_labels_only(draw, seed, spare_rare):
  rows = draw(seed)
  resampler = ml_rus(size=0.3, spare_rare=spare_rare)
  kept = resampler.resample(rows, np.random.default_rng(seed)).rows
  gone = np.setdiff1d(np.arange(len(rows.y)), kept)
  assert len(gone) == round(0.3 * len(rows.y))
  rare = minority(rows.y.sum(axis=0))
  assert rows.y[gone][:, ~rare].any(axis=1).all()
  has_rare = rows.y[gone][:, rare].any()
  assert has_rare == (not spare_rare)
  if spare_rare:
    before, after = rows.y.sum(axis=0), rows.y[kept].sum(axis=0)
    assert mean_ratio(after) < mean_ratio(before)


def shared_out(room, total):
  """The pseudo-code: bag after bag, what one cannot take goes to the later."""
  order = sorted(range(len(room)), key=lambda i: room[i])
  out, share = [0.0] * len(room), total / len(room)
  for place, i in enumerate(order):
    out[i] = min(room[i], share)
    later = len(order) - place - 1
    if later:
      share += (share - out[i]) / later
  return out


@pytest.mark.parametrize('factory', [lp_ros, lp_rus])
@pytest.mark.parametrize('size', [0.05, 0.25, 0.9])
def test_label_sets_share_evenly(draw, factory, size):
  rows = draw(0, shares=(0.5, 0.4, 0.1))
  found = factory(size=size).resample(rows, np.random.default_rng(0)).rows
  bags = of_set(rows)
  target = len(rows.y) / len(bags)
  over = factory is lp_ros
  before = {labels: len(bag) for labels, bag in bags.items()}
  room = {
    labels: int(target - count if over else count - target)
    for labels, count in before.items()
    if (count < target if over else count > target)
  }
  after = collections.Counter(tuple(row) for row in rows.y[found].tolist())
  wanted = shared_out(list(room.values()), round(size * len(rows.y)))
  moved = {labels: abs(after[labels] - before[labels]) for labels in before}
  assert sum(moved.values()) == min(
    round(size * len(rows.y)), sum(room.values())
  )
  for labels, share in zip(room, wanted, strict=True):
    assert abs(moved[labels] - share) < 1.0
    assert moved[labels] <= room[labels]
  assert all(moved[labels] == 0 for labels in before if labels not in room)
  # Cloned rows come on top of all, and no row is left out twice.
  originals = np.unique(found)
  assert len(originals) == (len(rows.y) if over else len(found))


@pytest.mark.slow
@pytest.mark.parametrize(
  ('factory', 'shares'),
  [(ml_ros, (0.9, 0.8, 0.1)), (lp_ros, (0.85, 0.15))],
)
def test_every_row_of_a_bag_is_as_likely(draw, factory, shares):
  rows = draw(1, shares=shares, n=100, one_label=factory is lp_ros)
  rare = np.flatnonzero(rows.y[:, -1])
  count = np.zeros(len(rows.y))
  for seed in range(300):
    rng = np.random.default_rng(seed)
    clones = factory(size=0.1).resample(rows, rng).rows[len(rows.y) :]
    np.add.at(count, clones, 1)
  assert count.sum() == count[rare].sum() > 300
  # Binomial, five standard deviations.
  p = 1.0 / len(rare)
  deviation = np.sqrt(count.sum() * p * (1.0 - p))
  assert np.abs(count[rare] - count.sum() * p).max() < 5.0 * deviation


@pytest.mark.parametrize(
  ('factory', 'size'),
  [(ml_ros, 0.0), (ml_rus, 1.0), (lp_ros, -1.0), (lp_rus, float('nan'))],
)
def test_sizes_out_of_range_are_refused(factory, size):
  with pytest.raises(ValueError, match=f'got size={size}'):
    factory(size=size)
