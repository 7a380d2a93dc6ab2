import numpy as np
import pytest
from sklearn.metrics import f1_score

from mlc.report.label_frequency import by_frequency, label_f1


@pytest.mark.parametrize('masked', [False, True])
def test_f1_of_each_label_is_that_of_scikit_learn(masked):
  rng = np.random.default_rng(0)
  y = rng.random((60, 5)) < (0.5, 0.3, 0.1, 0.05, 0.0)
  decision = (rng.random(y.shape) < 0.3).astype(np.uint8)
  where = rng.random(y.shape) < 0.7 if masked else None
  found = label_f1(y, decision, where)
  known = np.ones(y.shape, bool) if where is None else where
  for j in range(4):
    rows = known[:, j]
    assert y[rows, j].any()
    assert found[j] == pytest.approx(f1_score(y[rows, j], decision[rows, j]))
  # No positive: nothing to find, though something was decided.
  assert decision[:, 4].any()
  assert np.isnan(found[4])


@pytest.mark.parametrize('count', [1, 2, 3, 7, 14])
def test_thirds_are_ordered_and_hold_every_label_once(count):
  positives = np.random.default_rng(count).permutation(count) * 3.0
  groups = by_frequency(positives)
  assert list(groups) == ['head', 'middle', 'tail'][:count]
  ordered = positives[np.concatenate(list(groups.values()))]
  np.testing.assert_array_equal(ordered, np.sort(positives)[::-1])
  sizes = [len(members) for members in groups.values()]
  assert max(sizes) - min(sizes) <= 1
