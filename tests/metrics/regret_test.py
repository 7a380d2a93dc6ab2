"""Regret against all 2^L decisions and all L! orders, metric by metric."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import distribution, metrics
from mlc.metrics import regret

CRITERIA = regret.criteria() | {'f2_example': regret.f_example(2.0)}
OF_DECISIONS = [n for n, c in CRITERIA.items() if c.takes == 'decisions']
OF_SCORES = [n for n, c in CRITERIA.items() if c.takes == 'scores']


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
  if name == 'jaccard_example':
    return 1.0 if y.sum() + d.sum() == 0 else (y @ d) / np.maximum(y, d).sum()
  beta = float(name[1])
  below = beta**2 * y.sum() + d.sum()
  return 1.0 if below == 0 else (1 + beta**2) * (y @ d) / below


@pytest.mark.slow
@pytest.mark.parametrize('name', OF_DECISIONS)
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


def metric_of_scores(name, y, s):
  """The definition, for one truth and one vector of scores, ties as well."""
  num_labels = len(y)
  if name == 'ranking_loss':
    pairs = [
      s[j] <= s[i]
      for j, i in itertools.product(range(num_labels), repeat=2)
      if y[j] == 1 and y[i] == 0
    ]
    return np.mean(pairs) if pairs else 0.0
  k = min(int(name.rsplit('_', 1)[1]), num_labels)
  # The mean over all orders that the scores allow.
  orders = [
    order
    for order in itertools.permutations(range(num_labels))
    if all(s[a] >= s[b] for a, b in itertools.pairwise(order))
  ]
  return np.mean([y[list(order[:k])].mean() for order in orders])


def expected_of_scores(name, tables, scores):
  """[row, candidate], in float64."""
  num_labels = scores.shape[-1]
  vectors = np.asarray(distribution.label_vectors(num_labels))
  values = np.array(
    [[metric_of_scores(name, y, s) for s in scores] for y in vectors]
  )
  return np.exp(np.asarray(tables, float)) @ values


@pytest.mark.slow
@pytest.mark.parametrize('name', OF_SCORES)
@pytest.mark.parametrize('num_labels', [1, 2, 3, 5])
def test_no_order_of_any_joint_is_better_than_the_best(num_labels, name):
  """All permutations; the best scores are judged by the definition too."""
  criterion = CRITERIA[name]
  tables = random_tables(10 + num_labels, 40, num_labels)
  orders = np.array(list(itertools.permutations(range(num_labels))), float)
  every = expected_of_scores(name, tables, orders)
  best = every.max(1) if criterion.direction == 'higher' else every.min(1)
  bayes = np.asarray(criterion.bayes(tables))
  found = [
    expected_of_scores(name, tables[b : b + 1], bayes[b : b + 1])[0, 0]
    for b in range(len(tables))
  ]
  np.testing.assert_allclose(found, best, atol=2e-6)
  result = regret.regret(criterion, tables, jnp.asarray(bayes))
  np.testing.assert_allclose(result.optimal, best, atol=2e-6)
  np.testing.assert_array_equal(result.regret, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize('name', OF_SCORES)
def test_scores_are_judged_with_ties_as_the_metric_counts_them(name):
  criterion = CRITERIA[name]
  num_labels = 4
  tables = random_tables(3, 20, num_labels)
  scores = np.random.default_rng(0).integers(0, 3, (30, num_labels)) / 2.0
  expected = expected_of_scores(name, tables, scores)
  grid = expected.shape
  result = regret.regret(
    criterion,
    jnp.broadcast_to(tables[:, None], (*grid, 2**num_labels)),
    jnp.broadcast_to(jnp.asarray(scores, jnp.float32)[None], (*grid, 4)),
  )
  np.testing.assert_allclose(result.expected, expected, atol=2e-6)
  assert (np.asarray(result.regret) >= 0).all()
  assert np.asarray(result.regret).max() > 0.1


@pytest.mark.parametrize('num_labels', [4, 5])
def test_marginals_are_best_for_the_number_of_wrong_pairs_only(num_labels):
  """As the docstring of the ranking loss says, by all permutations."""
  tables = random_tables(5, 60, num_labels)
  vectors = np.asarray(distribution.label_vectors(num_labels), float)
  p = np.exp(np.asarray(tables, float))
  orders = np.array(list(itertools.permutations(range(num_labels))))
  marginals = np.asarray(distribution.table_marginals(tables))
  mine = np.argsort(np.argsort(marginals, axis=-1, kind='stable'), axis=-1)
  size = vectors.sum(-1)
  pairs = size * (num_labels - size)

  def expected(weight):
    wrong = vectors[:, :, None] * (1 - vectors[:, None, :])
    of_pair = np.einsum('bc,cji->bji', p * weight, wrong)
    cost = lambda s: (of_pair * (s[..., :, None] <= s[..., None, :])).sum(
      (-1, -2)
    )
    return cost(mine), np.min([cost(order) for order in orders], axis=0)

  found, best = expected(np.ones_like(pairs))
  np.testing.assert_allclose(found, best, atol=1e-6)
  found, best = expected(1 / np.where(pairs > 0, pairs, np.inf))
  assert (found - best).max() > 1e-3


@pytest.mark.slow
def test_expected_value_is_the_mean_of_the_metric_over_draws():
  """Ties regret to the metrics that are reported."""
  num_labels, n = 4, 10000
  tables = random_tables(0, 5, num_labels)
  rng = np.random.default_rng(0)
  # Scores with ties.
  answers = {
    'decisions': jnp.asarray(rng.integers(0, 2, (5, num_labels)), jnp.float32),
    'scores': jnp.asarray(rng.integers(0, 3, (5, num_labels)), jnp.float32),
  }
  draws = distribution.table_sample(tables, jax.random.key(0), n)
  kinds = metrics.multilabel()
  table = {name: kinds[name] for name in regret.criteria()}

  def mean(y, given):
    repeated = {
      name: jnp.broadcast_to(value[None], y.shape)
      for name, value in given.items()
    }
    return metrics.evaluate(table, metrics.Predictions(y, **repeated))

  drawn = jax.jit(jax.vmap(mean, in_axes=(1, 0)))(draws, answers)
  for name, criterion in regret.criteria().items():
    assert criterion.direction == metrics.direction(name)
    assert criterion.takes == kinds[name].needs
    np.testing.assert_allclose(
      drawn[name],
      criterion.expected(tables, answers[criterion.takes]),
      atol=0.03,
    )


def test_jaccard_is_refused_where_its_optimum_is_too_far():
  with pytest.raises(ValueError, match='up to 14 labels, not 15'):
    regret.jaccard_example().bayes(jnp.zeros((1, 2**15)))


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
