"""Rankings: ties by brute force, small cases by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import metrics
from mlc.metrics import label_ranking, ranking

ON_SCORES = {
  name: metric
  for name, metric in metrics.multilabel().items()
  if metric.needs in ('scores', 'propensities')
}


def value(metric, y, scores, **options):
  y, scores = jnp.asarray(y, jnp.float32), jnp.asarray(scores, jnp.float32)
  predictions = metrics.Predictions(y, scores=scores, **options)
  table = {'it': metric}
  evaluate = jax.jit(functools.partial(metrics.evaluate, table))
  return float(evaluate(predictions)['it'])


def test_infinite_scores_rank_before_unknown_labels():
  """Log-odds of 0 and 1 are as good as any score."""
  y = [[1, 1, 0, 0]]
  scores = [[-np.inf, np.inf, 5, 0]]
  where = jnp.asarray([[True, True, False, True]])
  coverage = ranking.coverage_error()
  assert value(coverage, y, scores, where=where) == 3.0
  assert value(ranking.one_error(), y, scores, where=where) == 0.0
  assert value(ranking.lrap(), y, scores, where=where) == pytest.approx(5 / 6)


@pytest.mark.slow
def test_the_order_of_the_labels_does_not_matter():
  rng = np.random.default_rng(0)
  y = jnp.asarray(rng.integers(0, 2, (50, 7)), jnp.float32)
  scores = jnp.asarray(rng.integers(0, 3, (50, 7)) / 2, jnp.float32)
  order = rng.permutation(7)
  evaluate = jax.jit(functools.partial(metrics.evaluate, ON_SCORES))
  rare = jnp.linspace(0.2, 1.0, 7)
  ours = evaluate(metrics.Predictions(y, scores=scores, propensities=rare))
  other = metrics.Predictions(
    y[:, order], scores=scores[:, order], propensities=rare[order]
  )
  for name, value in evaluate(other).items():
    np.testing.assert_allclose(value, ours[name], atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_a_score_that_is_not_a_number_is_not_hidden():
  y = jnp.asarray([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
  scores = jnp.full((3, 3), 0.5).at[0, 2].set(jnp.nan)
  evaluate = jax.jit(functools.partial(metrics.evaluate, ON_SCORES))
  known = metrics.Predictions(
    y,
    scores=scores,
    where=jnp.ones((3, 3), bool),
    weight=jnp.ones(3),
    propensities=jnp.ones(3),
  )
  for name, value in evaluate(known).items():
    assert np.isnan(value), name
  unknown = known._replace(where=known.where.at[0, 2].set(False))
  for name, value in evaluate(unknown).items():
    assert np.isfinite(value), name
  padding = known._replace(weight=known.weight.at[0].set(0.0))
  for name, value in evaluate(padding).items():
    assert np.isfinite(value), name


@pytest.mark.slow
def test_average_precision_and_auc_by_label():
  table = {'map': label_ranking.mean_average_precision()}
  y = jnp.asarray([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
  scores = jnp.asarray([[0.9, 0.1, 0.1], [0.8, 0.2, 0.1], [0.7, 0.3, 0.1]])
  predictions = metrics.Predictions(y, scores=scores)
  sums = metrics.init(table, 3, 3)
  sums = metrics.update(table, sums, predictions)
  vector = metrics.per_label(table, sums)['map']
  np.testing.assert_allclose(vector, [(1 + 2 / 3) / 2, np.nan, 1.0], rtol=1e-6)
  assert metrics.num_undefined(table, sums)['map'] == 1
  table = {'auc_macro': label_ranking.auc_macro()}
  sums = metrics.update(table, metrics.init(table, 3, 3), predictions)
  vector = metrics.per_label(table, sums)['auc_macro']
  np.testing.assert_allclose(vector, [0.5, np.nan, np.nan])
  assert metrics.num_undefined(table, sums)['auc_macro'] == 2


@pytest.mark.slow
def test_a_buffer_that_is_too_small_is_not_silently_overwritten():
  table = {'map': label_ranking.mean_average_precision()}
  y = jnp.asarray([[1.0], [0.0]])
  predictions = metrics.Predictions(y, scores=y)
  with pytest.raises(ValueError, match=r'batch of 2 rows .* room for 1'):
    metrics.update(table, metrics.init(table, 1, 1), predictions)
  sums = metrics.init(table, 3, 1)
  sums = metrics.update(table, sums, predictions)
  assert metrics.compute(table, sums)['map'] == 1.0
  sums = metrics.update(table, sums, predictions)
  assert np.isnan(metrics.compute(table, sums)['map'])
