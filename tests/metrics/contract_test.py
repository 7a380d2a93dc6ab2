"""What every metric promises: streaming, runs, one compilation, policies."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import metrics
from mlc.metrics import example_based, metric

# Only values matter.
jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
TABLES = {'multilabel': metrics.multilabel, 'multiclass': metrics.multiclass}


def predictions(seed, n=50, num_labels=6, masked=True):
  rng = np.random.default_rng(seed)
  real = lambda a: jnp.asarray(a, jnp.float32)
  where = rng.random((n, num_labels)) < (0.8 if masked else 2)
  y = (rng.random((n, num_labels)) < 0.3) & where
  return metrics.Predictions(
    y=real(y),
    decisions=real(rng.random((n, num_labels)) < 0.3),
    scores=real(rng.integers(0, 9, (n, num_labels)) / 8),
    log_prob=real(np.log(rng.random(n))),
    confidence=real(rng.integers(0, 9, n) / 8),
    where=jnp.asarray(where),
    weight=real(rng.integers(0, 3, n)),
    propensities=real(rng.random(num_labels) + 0.1),
  )


def rows(p, index):
  some = jax.tree.map(lambda a: a[index], p._replace(propensities=None))
  return some._replace(propensities=p.propensities)


@pytest.mark.slow
@pytest.mark.parametrize('kind', TABLES)
@pytest.mark.parametrize('convention', ['mlc', 'mulan'])
def test_batches_add_up(kind, convention):
  table = TABLES[kind](convention)
  p = predictions(0)
  whole = jit(functools.partial(metrics.evaluate, table))(p)
  update = jit(functools.partial(metrics.update, table))
  sums = metrics.init(table, 60, 6)  # more room than rows
  for start in range(0, 50, 10):
    sums = update(sums, rows(p, slice(start, start + 10)))
  assert update._cache_size() == 1
  streamed = metrics.compute(table, sums)
  assert set(streamed) == set(whole) == set(table)
  for name, value in whole.items():
    np.testing.assert_allclose(streamed[name], value, rtol=2e-6, err_msg=name)
    assert value.shape == ()


@pytest.mark.slow
@pytest.mark.parametrize('kind', TABLES)
def test_runs_are_measured_together_and_compiled_once(kind):
  table = TABLES[kind]()
  truth = predictions(0)
  of_runs = [predictions(seed) for seed in (1, 2, 3)]
  stack = lambda field: jnp.stack([getattr(p, field) for p in of_runs])
  predicted = ('decisions', 'scores', 'log_prob', 'confidence')
  together = truth._replace(**{field: stack(field) for field in predicted})
  axes = metrics.Predictions(
    y=None, decisions=0, scores=0, log_prob=0, confidence=0
  )
  traces = []

  def evaluate(p):
    traces.append(None)
    return metrics.evaluate(table, p)

  over_runs = jit(jax.vmap(evaluate, in_axes=(axes,)))
  ours = over_runs(together)
  over_runs(together._replace(scores=1 - together.scores))
  assert len(traces) == 1
  alone = jit(functools.partial(metrics.evaluate, table))
  for run, p in enumerate(of_runs):
    one = truth._replace(**{field: getattr(p, field) for field in predicted})
    for name, value in alone(one).items():
      np.testing.assert_allclose(
        ours[name][run], value, rtol=2e-6, err_msg=name
      )


@pytest.mark.slow
@pytest.mark.parametrize('kind', TABLES)
def test_no_mask_is_a_mask_of_ones(kind):
  table = TABLES[kind]()
  p = predictions(0, masked=False)._replace(weight=jnp.ones(50))
  evaluate = jit(functools.partial(metrics.evaluate, table))
  plain = evaluate(p._replace(where=None, weight=None))
  for name, value in evaluate(p).items():
    np.testing.assert_allclose(plain[name], value, rtol=1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize('kind', TABLES)
def test_nothing_to_average_is_nan(kind):
  table = TABLES[kind]()
  p = predictions(0)._replace(weight=jnp.zeros(50))
  evaluate = jit(functools.partial(metrics.evaluate, table))
  for name, value in evaluate(p).items():
    assert np.isnan(value), name


@pytest.mark.slow
def test_undefined_cases_count_what_the_policy_says():
  """One row of three is empty, one label of two absent."""
  y = jnp.asarray([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
  p = metrics.Predictions(y, y, y, jnp.zeros(3), jnp.ones(3))
  expected = {
    'f1_example': ({'skip': 1, 0: 2 / 3, 1: 1, 'nan': np.nan}, 1),
    'jaccard_example': ({'skip': 1, 0: 2 / 3, 1: 1}, 1),
    'recall_example': ({'skip': 1, 0: 2 / 3, 1: 1}, 1),
    'precision_example': ({0: 2 / 3, 'vacuous': 1}, 1),
    'precision_macro': ({'skip': 1, 0: 0.5, 1: 1, 'vacuous': 1}, 1),
    'recall_macro': ({'skip': 1, 0: 0.5, 1: 1}, 1),
    'f1_macro': ({'skip': 1, 0: 0.5, 1: 1, 'nan': np.nan}, 1),
    'map': ({'skip': 1, 0: 0.5, 1: 1}, 1),
    'auc_macro': ({'skip': 1, 0: 0.5, 1: 1}, 1),
    'lrap': ({'skip': 1, 0: 2 / 3, 1: 1}, 1),
    'coverage_error': ({'skip': 1, 0: 2 / 3, 1: 1}, 1),
    'ranking_loss': ({'skip': 0, 0: 0, 1: 1 / 3}, 1),
    'one_error': ({'skip': 0, 0: 0, 1: 1 / 3}, 1),
    'precision_at_1': ({'skip': 1, 0: 2 / 3, 1: 1}, 1),
    'ndcg_at_1': ({'skip': 1, 0: 2 / 3, 1: 1}, 1),
    'reciprocal_rank': ({'skip': 1, 0: 2 / 3, 1: 1}, 1),
  }
  table = {
    f'{name} {policy}': metrics.multilabel(**{name: policy})[name]
    for name, (values, _) in expected.items()
    for policy in values
  }

  @jit
  def measure(p):
    sums = metrics.update(table, metrics.init(table, 3, 2), p)
    values = metrics.compute(table, sums)
    counts = metrics.num_undefined(table, sums)
    return list(values.values()), list(counts.values())

  for key, value, count in zip(table, *measure(p), strict=True):
    values, number = expected[table[key].name]
    named = values[table[key].undefined]
    assert value == pytest.approx(named, nan_ok=True), key
    assert count == number, key


@pytest.mark.slow
@pytest.mark.parametrize(
  'name', ['precision_micro', 'recall_micro', 'f1_micro']
)
def test_pooled_metrics_without_a_label_at_all(name):
  nothing = jnp.zeros((2, 2))
  p = metrics.Predictions(nothing, nothing)
  policies = {'skip': np.nan, 'nan': np.nan, 0: 0.0, 1: 1.0, 'vacuous': 1.0}
  for policy, value in policies.items():
    table = {name: metrics.multilabel(**{name: policy})[name]}
    np.testing.assert_equal(float(metrics.evaluate(table, p)[name]), value)
    sums = metrics.update(table, metrics.init(table, 2, 2), p)
    assert metrics.num_undefined(table, sums)[name] == 1


def test_an_empty_prediction_for_an_empty_truth_counts_one_and_says_so():
  zero, one = jnp.zeros((1, 2)), jnp.ones((1, 2))
  table = {'f1_example': example_based.f1_example()}
  assert 'empty truth counts 1' in example_based.f1_example.__doc__
  f1 = lambda y, d: metrics.evaluate(table, metrics.Predictions(y, d))
  assert f1(zero, zero)['f1_example'] == 1
  assert f1(zero, one)['f1_example'] == 0
  assert f1(one, zero)['f1_example'] == 0


def test_what_is_missing_is_named():
  p = metrics.Predictions(jnp.zeros((1, 2)), decisions=jnp.zeros((1, 2)))
  with pytest.raises(ValueError, match=r'map needs Predictions\.scores'):
    metrics.evaluate({'map': metrics.multilabel()['map']}, p)


def test_a_policy_or_convention_that_does_not_exist_is_refused():
  with pytest.raises(
    ValueError, match="undefined is 2, expected 'skip', 'nan'"
  ):
    metric.check_undefined('f1_macro', 2)
  with pytest.raises(ValueError, match="'vacuous', expected 'skip', 'nan', 0"):
    metrics.multilabel(lrap='vacuous')
  with pytest.raises(ValueError, match="Did you mean 'sklearn'"):
    metrics.multilabel('scikitlearn')
  with pytest.raises(ValueError, match="Did you mean 'f1_macro'"):
    metrics.multilabel(f1_makro=0)
  with pytest.raises(ValueError, match="policy 'nll'"):
    metrics.multilabel(nll=0)


def test_names_and_directions():
  table = metrics.multilabel()
  assert list(table) == [
    'subset_accuracy',
    'hamming_loss',
    'jaccard_example',
    'f1_example',
    'precision_example',
    'recall_example',
    'precision_micro',
    'recall_micro',
    'f1_micro',
    'precision_macro',
    'recall_macro',
    'f1_macro',
    'map',
    'auc_macro',
    'lrap',
    'coverage_error',
    'ranking_loss',
    'one_error',
    'reciprocal_rank',
    'precision_at_1',
    'precision_at_3',
    'precision_at_5',
    'recall_at_1',
    'recall_at_3',
    'recall_at_5',
    'map_at_3',
    'map_at_5',
    'ndcg_at_1',
    'ndcg_at_3',
    'ndcg_at_5',
    'ps_precision_at_1',
    'ps_precision_at_3',
    'ps_precision_at_5',
    'ps_ndcg_at_3',
    'ps_ndcg_at_5',
    'nll',
    'ece_label',
    'brier_label',
    'ece_set',
  ]
  assert {n for n, m in table.items() if m.direction == 'lower'} == {
    'hamming_loss',
    'coverage_error',
    'ranking_loss',
    'one_error',
    'nll',
    'ece_label',
    'brier_label',
    'ece_set',
  }
  for name, of in {**table, **metrics.multiclass()}.items():
    assert of.name == name
    assert metrics.direction(name) == of.direction
  assert metrics.direction('precision_at_17') == 'higher'
  assert metrics.direction('regret_subset_accuracy') == 'lower'
  with pytest.raises(ValueError, match="Did you mean 'lrap'"):
    metrics.direction('lrapp')


@pytest.mark.slow
def test_a_perfect_prediction_beats_its_opposite():
  """The direction of each metric, from the metric itself."""
  rng = np.random.default_rng(0)
  y = jnp.asarray(rng.integers(0, 2, (40, 6)), jnp.float32)
  high = jnp.full(40, 0.9)
  p = metrics.Predictions(y, y, 0.01 + 0.98 * y, jnp.full(40, -0.1), high)
  p = p._replace(propensities=jnp.linspace(0.2, 1.0, 6))
  opposite = p._replace(
    decisions=1 - y, scores=0.99 - 0.98 * y, log_prob=jnp.full(40, -9.0)
  )
  table = metrics.multilabel()
  evaluate = jit(functools.partial(metrics.evaluate, table))
  best, worst = evaluate(p), evaluate(opposite)
  for name, of in table.items():
    sign = 1 if of.direction == 'higher' else -1
    assert sign * best[name] > sign * worst[name], name


def test_skip_leaves_out_whatever_is_undefined():
  for name, of in metrics.multilabel('skip').items():
    assert of.undefined == 'skip', name
  own = metrics.multilabel('skip', lrap=1)
  assert own['lrap'].undefined == 1
