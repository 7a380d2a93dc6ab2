"""Losses of the order of labels, against brute force and scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from sklearn.metrics import ndcg_score

from mlc import losses


@pytest.mark.slow
def test_they_are_the_formulas(apply, rows):
  """Rank by rank, in float64."""
  listnet, ndcg, reciprocal = [], [], []
  for f, truth in zip(*(np.asarray(p, np.float64) for p in rows), strict=True):
    on = np.flatnonzero(truth)
    above = scipy.special.expit((f[None, :] - f[:, None]) / 0.5)
    rank = 1.0 + above.sum(1) - 0.5  # without itself
    if not len(on):
      for expected in (listnet, ndcg, reciprocal):
        expected.append(0.0)
      continue
    listnet.append(-scipy.special.log_softmax(f)[on].mean())
    best = sum(1 / np.log2(2 + i) for i in range(len(on)))
    ndcg.append(1 - (1 / np.log2(1 + rank[on])).sum() / best)
    reciprocal.append(1 - max(1 / rank[on]))
  for loss, expected in (
    (losses.listnet(), listnet),
    (losses.approx_ndcg(temperature=0.5), ndcg),
    (losses.approx_mrr(temperature=0.5), reciprocal),
  ):
    found = apply(loss, *rows)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_at_low_temperature_they_are_the_metrics(apply, rows):
  logits, y = (np.asarray(part) for part in rows)
  rest = y.any(1)
  found = np.asarray(apply(losses.approx_ndcg(temperature=1e-3), *rows))
  expected = [
    1 - ndcg_score(t[None], f[None])
    for t, f in zip(y[rest], logits[rest], strict=True)
  ]
  np.testing.assert_allclose(found[rest], expected, atol=1e-5)
  found = np.asarray(apply(losses.approx_mrr(temperature=1e-3), *rows))
  order = np.argsort(-logits, axis=1)
  first = np.take_along_axis(y, order, axis=1).argmax(1)
  np.testing.assert_allclose(found[rest], 1 - 1 / (1 + first[rest]), atol=1e-5)
  assert not found[~rest].any()


def test_only_differences_of_logits_count(apply, rows):
  logits, y = rows
  for loss in (losses.listnet(), losses.approx_ndcg(), losses.approx_mrr()):
    np.testing.assert_allclose(
      apply(loss, logits + 2.0, y), apply(loss, logits, y), rtol=1e-4
    )


@pytest.mark.parametrize('make', [losses.approx_ndcg, losses.approx_mrr])
def test_a_temperature_must_be_above_zero(make):
  with pytest.raises(ValueError, match='temperature=0'):
    make(temperature=0.0)


@pytest.mark.slow
def test_an_unknown_label_is_not_in_the_list(apply):
  """However high its score."""
  logits = jnp.asarray([[1.0, 9.0, 0.0]])
  y, where = jnp.asarray([[1.0, 0.0, 0.0]]), jnp.asarray([[True, False, True]])
  for loss in (losses.approx_ndcg, losses.approx_mrr):
    sharp = loss(temperature=1e-3)
    np.testing.assert_allclose(apply(sharp, logits, y, where), 0, atol=1e-5)
    assert apply(sharp, logits, y)[0] > 0.1
