"""The chain as in the papers: loops over labels, and scikit-learn."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import ClassifierChain

from mlc import distribution
from mlc.heads import chain_inference
from mlc.heads import classifier_chain as module
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.classifier_chain import classifier_chain

DIM = 3
# The time of these tests is compilation, for programs that run once.
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def random_chain(num_labels, seed=0, link=1.5, **options):
  """A chain in a drawn order, with parameters far from their start."""
  rng = np.random.default_rng(seed)
  head = classifier_chain(num_labels, order='random', **options)
  params = {
    'kernel': rng.normal(size=(DIM, num_labels)),
    'bias': rng.normal(size=num_labels),
    'links': link * rng.normal(size=(num_labels, num_labels)),
  }
  params = {k: jnp.asarray(v, jnp.float32) for k, v in params.items()}
  rank = jnp.asarray(rng.permutation(num_labels), jnp.int32)
  return head, {**params, 'frozen': {'rank': rank}}


def features(rows, seed=1):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=(rows, DIM)), jnp.float32
  )


def paper_logit(params, h, y, j):
  """w_j . h + b_j + sum_{i before j} y_i v_ij, for one row, in float64."""
  rank = np.asarray(params['frozen']['rank'])
  z = np.float64(h) @ np.float64(params['kernel'])[:, j]
  z += float(params['bias'][j])
  for i in range(len(rank)):
    if rank[i] < rank[j]:
      z += float(y[i]) * float(params['links'][i, j])
  return z


def tabulate(head, params, h):
  def table(params, h):
    return distribution.tabulate(head.log_prob, params, h, head.num_labels)

  return quick_jit(table)(params, h)


@pytest.fixture
def no_tables(monkeypatch):
  """Lets a chain of few labels, that can be enumerated, act as a long one."""
  monkeypatch.setattr(distribution, 'MAX_TABLE_LABELS', 0)


@pytest.mark.slow
def test_logits_and_log_prob_are_those_of_the_paper():
  head, params = random_chain(6)
  h = features(4)
  y = jax.random.bernoulli(jax.random.key(0), 0.5, (4, 6)).astype(jnp.float32)
  logits, log_prob = head.logits(params, h, y), head.log_prob(params, h, y)
  for b in range(4):
    z = [paper_logit(params, h[b], y[b], j) for j in range(6)]
    np.testing.assert_allclose(logits[b], z, rtol=1e-4, atol=1e-5)
    sign = 2 * np.asarray(y[b]) - 1
    expected = -np.logaddexp(0, -sign * z).sum()
    np.testing.assert_allclose(log_prob[b], expected, rtol=1e-5)


@pytest.mark.slow
def test_greedy_is_that_of_the_paper():
  head, params = random_chain(6)
  h = features(30)
  decisions = quick_jit(head.greedy)(params, h)
  for b in range(30):
    y = np.zeros(6)
    for j in np.argsort(params['frozen']['rank']):
      y[j] = paper_logit(params, h[b], y, j) > 0
    np.testing.assert_array_equal(decisions[b], y)


def test_a_label_hears_only_the_labels_before_it():
  head, params = random_chain(7)
  h = features(1)

  def logits(y):
    return head.logits(params, h, y[None])[0]

  heard = jax.jacobian(logits)(jnp.full(7, 0.5)) != 0
  rank = np.asarray(params['frozen']['rank'])
  np.testing.assert_array_equal(heard.T, rank[:, None] < rank[None, :])


@pytest.mark.slow
def test_naming_labels_otherwise_changes_nothing_else():
  """p of the labels in another order of columns is the same p."""
  head, params = random_chain(5)
  h, new = features(3), np.array([3, 0, 4, 1, 2])
  renamed = {
    'kernel': params['kernel'][:, new],
    'bias': params['bias'][new],
    'links': params['links'][new][:, new],
    'frozen': {'rank': params['frozen']['rank'][new]},
  }
  for ask in map(quick_jit, (head.marginals, head.mode, head.greedy)):
    np.testing.assert_allclose(
      ask(renamed, h), ask(params, h)[:, new], atol=1e-6
    )
  vectors = distribution.label_vectors(5)
  place = distribution.code(vectors[:, np.argsort(new)])
  joint = quick_jit(head.joint)
  np.testing.assert_allclose(
    joint(renamed, h), joint(params, h)[:, place], atol=1e-4
  )


@pytest.mark.slow
def test_without_links_it_is_binary_relevance():
  chain, params = random_chain(5, link=0.0)
  independent = binary_relevance(5)
  h = features(6)
  for name in ('joint', 'mode', 'marginals'):
    np.testing.assert_allclose(
      quick_jit(getattr(chain, name))(params, h),
      quick_jit(getattr(independent, name))(params, h),
      rtol=1e-5,
      atol=1e-5,
    )


@pytest.mark.slow
@pytest.mark.parametrize('order', [[0, 1, 2, 3, 4], [3, 1, 4, 0, 2]])
def test_with_scikit_learns_coefficients_it_predicts_alike(order):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(300, DIM))
  y = np.zeros((300, 5), int)
  for j in order:
    y[:, j] = x @ rng.normal(size=DIM) + 2 * y.sum(1) - 1 > rng.logistic(
      size=300
    )
  reference = ClassifierChain(LogisticRegression(C=10.0), order=order)
  reference.fit(x, y)
  params = {
    'kernel': np.zeros((DIM, 5)),
    'bias': np.zeros(5),
    'links': rng.normal(size=(5, 5)),  # what points backwards must not count
    'frozen': {'rank': jnp.argsort(jnp.asarray(order))},
  }
  for position, (j, model) in enumerate(
    zip(order, reference.estimators_, strict=True)
  ):
    params['kernel'][:, j] = model.coef_[0, :DIM]
    params['links'][order[:position], j] = model.coef_[0, DIM:]
    params['bias'][j] = model.intercept_[0]
  params = jax.tree.map(jnp.asarray, params)
  params = jax.tree.map(
    lambda v: v.astype(jnp.float32) if v.ndim else v, params
  ) | {'frozen': params['frozen']}
  head = classifier_chain(5)
  h = jnp.asarray(x, jnp.float32)
  decisions = head.greedy(params, h)
  np.testing.assert_array_equal(decisions, reference.predict(x))
  # Along its own decisions scikit-learn reports P(y_j = 1 | x, y before j).
  np.testing.assert_allclose(
    jax.nn.sigmoid(head.logits(params, h, decisions)),
    reference.predict_proba(x),
    atol=1e-5,
  )


@pytest.mark.slow
def test_marginals_beyond_the_table_are_estimated_well(no_tables):
  n = 2000
  head, params = random_chain(6, link=3.0, num_samples=n)
  assert head.exactness['marginals'] == 'estimated'
  assert head.joint is None and head.cardinality_marginals is None
  h = features(8)
  table = tabulate(head, params, h)
  marginals = quick_jit(head.marginals)
  found = marginals(params, h)
  exact = distribution.table_marginals(table)
  assert np.abs(found - exact).max() < 4.0 * 0.5 / np.sqrt(n)
  # The average of probabilities beats that of as many draws.
  draw = quick_jit(functools.partial(head.sample, n=n))
  draws = draw(params, jax.random.key(0), h)
  error = np.square(found - exact).mean()
  assert error < np.square(draws.mean(0) - exact).mean()
  np.testing.assert_array_equal(marginals(params, h), found)
  other = marginals(params, h, key=jax.random.key(5))
  assert (other != found).any()
  assert np.abs(other - exact).max() < 4.0 * 0.5 / np.sqrt(n)


def test_the_searched_mode_is_exact_with_a_wide_beam(no_tables):
  head, params = random_chain(6, link=3.0, beam_width=32)
  assert head.exactness['mode'] == 'searched'
  h = features(100)
  table = tabulate(head, params, h)
  np.testing.assert_array_equal(
    quick_jit(head.mode)(params, h), distribution.table_mode(table)
  )


@pytest.mark.slow
def test_the_searched_mode_is_never_less_likely_than_greedy():
  head, params = random_chain(24, link=2.0, beam_width=2)
  assert head.exactness['mode'] == 'searched'
  h = features(400)

  @quick_jit
  def ask(params, h):
    base, links = module._in_chain_order(params, h)
    _, score, _ = chain_inference.beam_search(base, links, 2)
    return head.greedy(params, h), head.mode(params, h), score[:, 0]

  one, best, beam = ask(params, h)
  log_prob = quick_jit(head.log_prob)
  greedy, mode = log_prob(params, h, one), log_prob(params, h, best)
  assert (mode >= greedy).all()
  assert (mode > greedy + 1e-3).mean() > 0.1
  # The beam alone does end below the greedy decision.
  assert (beam < greedy - 1e-3).any()


def test_conditional_of_a_long_chain_is_what_flipping_gives():
  head, params = random_chain(24)
  h = features(5)
  y = jnp.asarray(np.random.default_rng(3).random((5, 24)) < 0.5, jnp.float32)
  flip = distribution.conditional_from_log_prob(head.log_prob)
  np.testing.assert_allclose(
    quick_jit(head.conditional)(params, h, y),
    quick_jit(flip)(params, h, y),
    atol=1e-5,
  )


@pytest.mark.slow
def test_a_long_chain_runs_on_a_leading_axis():
  """No table here: beam, pass and Monte Carlo under vmap, orders differing."""
  head, first = random_chain(20, seed=0, num_samples=8, beam_width=3)
  _, second = random_chain(20, seed=1)
  params = jax.tree.map(lambda a, b: jnp.stack([a, b]), first, second)
  h = jnp.stack([features(4, 1), features(4, 2)])

  def ask(params, h):
    return (
      head.mode(params, h),
      head.greedy(params, h),
      head.marginals(params, h),
    )

  together = quick_jit(jax.vmap(ask))(params, h)
  alone = quick_jit(ask)(second, h[1])
  for many, one in zip(together, alone, strict=True):
    np.testing.assert_allclose(many[1], one, atol=1e-5)


def test_orders():
  h, y = features(2), jnp.zeros((2, 9))
  natural = quick_jit(classifier_chain(9).init)(jax.random.key(0), h, y)
  np.testing.assert_array_equal(natural['frozen']['rank'], np.arange(9))
  random = quick_jit(classifier_chain(9, order='random').init)
  ranks = [random(jax.random.key(s), h, y)['frozen']['rank'] for s in (0, 0, 1)]
  np.testing.assert_array_equal(ranks[0], ranks[1])
  assert (ranks[0] != ranks[2]).any()
  np.testing.assert_array_equal(np.sort(ranks[2]), np.arange(9))


@pytest.mark.parametrize(
  'options', [{'order': 'reverse'}, {'num_samples': 0}, {'beam_width': 0}]
)
def test_options_that_make_no_sense_are_refused(options):
  (name, value), *_ = options.items()
  with pytest.raises(ValueError, match=f'{name}={value!r}.*takes'):
    # Past the shape and type checks of the tests, as a user calls it.
    inspect.unwrap(classifier_chain)(3, **options)
