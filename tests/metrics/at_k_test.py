"""The top of a ranking: ties by brute force, rax where there are none."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rax

from mlc import metrics
from mlc.metrics import at_k, propensity, ranking

ROWS, LABELS = 40, 5
PLACES = (1, 2, 3, 5)
PROPENSITIES = np.array([0.1, 0.9, 0.4, 0.25, 0.6])
TABLE = {
  **{
    make(k).name: make(k)
    for k in PLACES
    for make in (
      at_k.precision_at_k,
      at_k.recall_at_k,
      at_k.map_at_k,
      at_k.ndcg_at_k,
      propensity.ps_precision_at_k,
      propensity.ps_ndcg_at_k,
    )
  },
  **{
    f'{at_k.map_at_k(k).name} of positives': at_k.map_at_k(
      k, denominator='positives'
    )
    for k in PLACES
  },
  'reciprocal_rank': at_k.reciprocal_rank(),
  'one_error': ranking.one_error(),
}


@functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
def rows_alone(y, scores, where):
  """Metric -> its value on each row alone."""

  def one(y, scores, where):
    p = metrics.Predictions(
      y[None],
      scores=scores[None],
      where=where[None],
      propensities=jnp.asarray(PROPENSITIES, jnp.float32),
    )
    return metrics.evaluate(TABLE, p)

  return jax.vmap(one)(y, scores, where)


def by_row(y, scores, where=None):
  where = np.ones(np.shape(y), bool) if where is None else where
  # Of one shape, so that it is compiled once.
  y, scores, where = (np.resize(a, (ROWS, LABELS)) for a in (y, scores, where))
  real = functools.partial(jnp.asarray, dtype=jnp.float32)
  return rows_alone(real(y), real(scores), jnp.asarray(where))


def of_order(y, order) -> dict[str, float]:
  """Every metric of a row that is ranked in an order, from its definition."""
  y, worth = y[list(order)], (y / PROPENSITIES)[list(order)]
  best = np.sort(worth)[::-1]
  log = 1 / np.log2(np.arange(len(y)) + 2.0)
  out = {'reciprocal_rank': 1 / (1 + np.argmax(y)), 'one_error': 1 - y[0]}
  for k in PLACES:
    met = [y[: r + 1].mean() for r in range(k) if y[r]]
    out |= {
      f'precision_at_{k}': y[:k].mean(),
      f'recall_at_{k}': y[:k].sum() / y.sum(),
      f'map_at_{k}': sum(met) / min(k, y.sum()),
      f'map_at_{k} of positives': sum(met) / y.sum(),
      f'ndcg_at_{k}': y[:k] @ log[:k] / log[: min(k, y.sum())].sum(),
      f'ps_precision_at_{k}': worth[:k].sum() / best[:k].sum(),
      f'ps_ndcg_at_{k}': worth[:k] @ log[:k] / (best[:k] @ log[:k]),
    }
  return out


@pytest.mark.slow
def test_ties_count_the_mean_over_their_orders():
  """Against every order of five labels, of which some are tied."""
  rng = np.random.default_rng(0)
  y = rng.integers(0, 2, (12, LABELS))
  y[np.arange(12), rng.integers(0, LABELS, 12)] = 1
  # From three scores to one for all.
  scores = rng.integers(0, 3, (12, LABELS)) * (np.arange(12) < 10)[:, None]
  ours = by_row(y, scores)
  for b in range(len(y)):
    every = [
      of_order(y[b], sorted(order, key=lambda j, b=b: -scores[b, j]))
      for order in itertools.permutations(range(LABELS))
    ]
    for name in TABLE:
      mean = np.mean([one[name] for one in every])
      assert ours[name][b] == pytest.approx(mean, abs=2e-6), name


@pytest.mark.slow
def test_equal_to_rax_without_ties():
  """With unknown labels; a row without a true label counts 0 in both."""
  rng = np.random.default_rng(1)
  y = rng.integers(0, 2, (ROWS, LABELS)).astype(np.float32)
  scores = rng.permuted(np.tile(np.arange(5.0), (ROWS, 1)), axis=1)
  where = rng.random((ROWS, LABELS)) < 0.8
  where[:, 0] = True
  y[3] = 0
  y = np.where(where, y, 0)
  ours = by_row(y, scores, where)
  arrays = jnp.asarray(scores), jnp.asarray(y)
  options = {'where': jnp.asarray(where), 'reduce_fn': None}
  theirs = {'reciprocal_rank': rax.mrr_metric(*arrays, **options)}
  for k in PLACES:
    for name, metric in (
      (f'precision_at_{k}', rax.precision_metric),
      (f'recall_at_{k}', rax.recall_metric),
      (f'map_at_{k} of positives', rax.ap_metric),
      (f'ndcg_at_{k}', rax.ndcg_metric),
    ):
      theirs[name] = metric(*arrays, topn=k, **options)
  for name, values in theirs.items():
    np.testing.assert_allclose(ours[name], values, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_places_beyond_the_known_labels_do_not_count():
  y, scores = [[1, 0, 1, 0, 0]], [[3, 2, 1, 9, 9]]
  where = np.array([[True, True, True, False, False]])
  assert by_row(y, scores, where)['precision_at_5'][0] == pytest.approx(2 / 3)
  where[0, 1] = False
  assert by_row(y, scores, where)['precision_at_5'][0] == 1.0


def test_what_makes_no_sense_is_refused():
  for make in (at_k.precision_at_k, at_k.map_at_k, propensity.ps_ndcg_at_k):
    with pytest.raises(ValueError, match='k is 0'):
      make(0)
