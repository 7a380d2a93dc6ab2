"""Regret against all 2^L decisions, metric by metric."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import distribution, metrics
from mlc.metrics import regret

CRITERIA = regret.criteria() | {'f2_example': regret.f_example(2.0)}


def random_tables(seed, batch, num_labels):
  rng = np.random.default_rng(seed)
  logits = rng.choice([0.0, 1.0, 4.0], (batch, 1)) * rng.normal(
    size=(batch, 2**num_labels)
  )
  logits[:, 0] += rng.choice([0.0, 3.0], batch)
  logits[1, 1:] = -np.inf  # certainly empty
  return jax.nn.log_softmax(jnp.asarray(logits, jnp.float32), axis=-1)


def metric_of_pair(name, y, d):
  """The definition, for one truth and one decision."""
  if name == 'hamming_loss':
    return np.mean(y != d)
  if name == 'subset_accuracy':
    return float(np.all(y == d))
  beta = float(name[1])
  below = beta**2 * y.sum() + d.sum()
  return 1.0 if below == 0 else (1 + beta**2) * (y @ d) / below


@pytest.mark.slow
@pytest.mark.parametrize('name', CRITERIA)
@pytest.mark.parametrize('num_labels', [1, 2, 4, 6])
def test_every_decision_of_every_joint(num_labels, name):
  criterion = CRITERIA[name]
  tables = random_tables(num_labels, 30, num_labels)
  vectors = np.asarray(distribution.label_vectors(num_labels))
  pairs = np.array(
    [[metric_of_pair(name, y, d) for d in vectors] for y in vectors]
  )
  expected = np.exp(np.asarray(tables, float)) @ pairs  # [row, decision]
  best = expected.max(1) if criterion.direction == 'higher' else expected.min(1)
  # All decisions for all rows at once: leading axes are free.
  grid = len(tables), len(vectors)
  result = jax.jit(lambda t, d: regret.regret(criterion, t, d))(
    jnp.broadcast_to(tables[:, None], (*grid, len(vectors))),
    jnp.broadcast_to(jnp.asarray(vectors)[None], (*grid, num_labels)),
  )
  np.testing.assert_allclose(result.expected, expected, atol=2e-6)
  np.testing.assert_allclose(
    result.optimal, np.broadcast_to(best[:, None], grid), atol=2e-6
  )
  np.testing.assert_allclose(
    result.regret, np.abs(best[:, None] - expected), atol=2e-6
  )
  assert np.all(np.asarray(result.regret) >= 0)

  bayes = criterion.bayes(tables)
  codes = np.asarray(distribution.code(bayes))
  np.testing.assert_allclose(
    expected[np.arange(len(tables)), codes], best, atol=2e-6
  )
  assert np.all(np.asarray(regret.regret(criterion, tables, bayes).regret) == 0)


@pytest.mark.slow
def test_expected_value_is_the_mean_of_the_metric_over_draws():
  """Ties regret to the metrics that are reported."""
  num_labels, n = 4, 10000
  tables = random_tables(0, 5, num_labels)
  decisions = jnp.asarray(
    np.random.default_rng(0).integers(0, 2, (5, num_labels)), jnp.float32
  )
  draws = distribution.table_sample(tables, jax.random.key(0), n)
  table = {name: metrics.multilabel()[name] for name in regret.criteria()}

  def mean(y, d):
    repeated = jnp.broadcast_to(d[None], y.shape)
    return metrics.evaluate(table, metrics.Predictions(y, repeated))

  drawn = jax.jit(jax.vmap(mean, in_axes=(1, 0)))(draws, decisions)
  for name, criterion in regret.criteria().items():
    assert criterion.direction == metrics.direction(name)
    np.testing.assert_allclose(
      drawn[name], criterion.expected(tables, decisions), atol=0.03
    )


def test_nll_regret_is_the_divergence():
  truth = random_tables(0, 10, 3)
  model = jnp.roll(random_tables(1, 10, 3), 1, axis=0)
  p, q = np.exp(np.asarray(truth, float)), np.exp(np.asarray(model, float))
  result = regret.nll(truth, model)
  with np.errstate(divide='ignore', invalid='ignore'):
    divergence = np.where(p > 0, p * np.log(p / q), 0).sum(1)
    entropy = -np.where(p > 0, p * np.log(p), 0).sum(1)
  np.testing.assert_allclose(result.regret, divergence, atol=1e-5)
  np.testing.assert_allclose(result.optimal, entropy, atol=1e-5)
  assert np.isinf(divergence).any()  # row 2 of the model is certain
  np.testing.assert_array_equal(regret.nll(truth, truth).regret, 0)


def test_tables_and_decisions_of_other_sizes_are_refused():
  criterion = regret.hamming_loss()
  with pytest.raises(ValueError, match=r'3 labels .* 8 label vectors, not 4'):
    regret.regret(criterion, jnp.zeros((2, 4)), jnp.zeros((2, 3)))
