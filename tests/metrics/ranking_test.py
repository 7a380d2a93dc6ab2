"""Rankings: ties by brute force, small cases by hand."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from mlc import metrics
from mlc.metrics import label_ranking, ranking

ON_SCORES = {
  name: metric
  for name, metric in metrics.multilabel().items()
  if metric.needs == 'scores'
}


def value(metric, y, scores, **options):
  y, scores = jnp.asarray(y, jnp.float32), jnp.asarray(scores, jnp.float32)
  predictions = metrics.Predictions(y, scores=scores, **options)
  table = {'it': metric}
  evaluate = jax.jit(functools.partial(metrics.evaluate, table))
  return float(evaluate(predictions)['it'])


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('k', [1, 2, 3, 5])
def test_ties_count_the_mean_over_their_orders(seed, k):
  """Against every order of five labels, of which some are tied."""
  rng = np.random.default_rng(seed)
  y = rng.integers(0, 2, 5)
  y[rng.integers(5)] = 1
  scores = rng.integers(0, 3, 5)
  hits, gains = [], []
  for order in itertools.permutations(range(5)):
    ranking_of = sorted(order, key=lambda j: -scores[j])
    hits.append(y[ranking_of[:k]].sum() / k)
    # Scores without ties in that order, so that only its gain counts.
    distinct = np.zeros(5)
    distinct[ranking_of] = np.arange(5, 0, -1)
    gains.append(ndcg_score([y], [distinct], k=k))
  precision = value(ranking.precision_at_k(k), [y], [scores])
  assert precision == pytest.approx(np.mean(hits), abs=1e-6)
  ndcg = value(ranking.ndcg_at_k(k), [y], [scores])
  assert ndcg == pytest.approx(np.mean(gains), abs=1e-6)
  if k == 1:
    one_error = value(ranking.one_error(), [y], [scores])
    assert one_error == pytest.approx(1 - np.mean(hits), abs=1e-6)


def test_places_beyond_the_known_labels_do_not_count():
  precision = ranking.precision_at_k(5)
  assert value(precision, [[1, 0, 1]], [[3, 2, 1]]) == pytest.approx(2 / 3)
  where = jnp.asarray([[True, False, True]])
  assert value(precision, [[1, 0, 1]], [[3, 2, 1]], where=where) == 1.0


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
  ours = evaluate(metrics.Predictions(y, scores=scores))
  other = metrics.Predictions(y[:, order], scores=scores[:, order])
  for name, value in evaluate(other).items():
    np.testing.assert_allclose(value, ours[name], atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_a_score_that_is_not_a_number_is_not_hidden():
  y = jnp.asarray([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
  scores = jnp.full((3, 3), 0.5).at[0, 2].set(jnp.nan)
  evaluate = jax.jit(functools.partial(metrics.evaluate, ON_SCORES))
  known = metrics.Predictions(
    y, scores=scores, where=jnp.ones((3, 3), bool), weight=jnp.ones(3)
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


@pytest.mark.parametrize('make', [ranking.precision_at_k, ranking.ndcg_at_k])
def test_no_place_is_refused(make):
  with pytest.raises(ValueError, match='k is 0'):
    make(0)
