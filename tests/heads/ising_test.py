"""The pairwise field against loops over label vectors, short and long."""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc import distribution
from mlc.base import Batch
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.ising import ising

DIM = 3
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def random_field(num_labels, seed=0, link=1.0, scale=1.0):
  rng = np.random.default_rng(seed)
  params = {
    'kernel': scale * rng.normal(size=(DIM, num_labels)) / DIM**0.5,
    'bias': scale * rng.normal(size=num_labels),
    'links': link * rng.normal(size=(num_labels, num_labels)),
  }
  return {k: jnp.asarray(v, jnp.float32) for k, v in params.items()}


def features(rows, seed=1):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=(rows, DIM)), jnp.float32
  )


def labels(rows, num_labels, seed=2):
  y = np.random.default_rng(seed).random((rows, num_labels)) < 0.5
  return jnp.asarray(y, jnp.float32)


def paper_score(params, h, y):
  """f . y plus J_ij for each pair that is on, for one row, in float64."""
  f = np.float64(h) @ np.float64(params['kernel']) + np.float64(params['bias'])
  on = np.flatnonzero(y)
  pairs = [params['links'][i, j] for i, j in itertools.combinations(on, 2)]
  return f[on].sum() + np.sum(np.float64(pairs))


def paper_law(params, h):
  """p of every label vector, for each row; and the vectors."""
  vectors = np.asarray(distribution.label_vectors(len(params['bias'])))
  scores = [[paper_score(params, row, y) for y in vectors] for row in h]
  p = np.exp(scores)
  return p / p.sum(-1, keepdims=True), vectors


@pytest.fixture
def no_tables(monkeypatch):
  """Lets a field of few labels, that can be enumerated, act as a long one."""
  monkeypatch.setattr(distribution, 'MAX_TABLE_LABELS', 0)


def test_joint_log_prob_and_the_lower_triangle():
  head, params, h = ising(5), random_field(5), features(4)
  p, vectors = paper_law(params, h)
  codes = np.array([0, 7, 19, 31])
  y = jnp.asarray(vectors[codes])

  @quick_jit
  def ask(params):
    return jnp.exp(head.joint(params, h)), head.log_prob(params, h, y)

  joint, log_prob = ask(params)
  np.testing.assert_allclose(joint, p, rtol=1e-4, atol=1e-7)
  np.testing.assert_allclose(np.exp(log_prob), p[range(4), codes], rtol=1e-4)
  only = {**params, 'links': jnp.triu(params['links'], 1)}
  np.testing.assert_array_equal(ask(only)[0], joint)
  assert {*head.exactness.values()} == {'enumerated', 'closed-form'}


def test_naming_labels_otherwise_changes_nothing_else():
  head, params, h = ising(4), random_field(4), features(3)
  new = np.array([2, 0, 3, 1])
  both = jnp.triu(params['links'], 1)
  both = both + both.T
  renamed = {
    'kernel': params['kernel'][:, new],
    'bias': params['bias'][new],
    'links': both[new][:, new],
  }
  marginals = quick_jit(head.marginals)
  np.testing.assert_allclose(
    marginals(renamed, h), marginals(params, h)[:, new], atol=1e-6
  )


def test_it_starts_as_binary_relevance():
  head, h, y = ising(4), features(6), labels(6, 4)
  params = quick_jit(head.init)(jax.random.key(0), h, y)
  expected = quick_jit(binary_relevance(4).log_prob)(params, h, y)
  found = quick_jit(head.log_prob)(params, h, y)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_one_label_is_a_logistic_regression():
  head, h = ising(1), features(5)
  params = random_field(1)
  expected = binary_relevance(1).marginals(params, h)
  np.testing.assert_allclose(head.marginals(params, h), expected, rtol=1e-5)


@pytest.mark.parametrize('limit', [0, 16])
def test_logits_are_what_the_flip_of_a_label_gains(limit, monkeypatch):
  monkeypatch.setattr(distribution, 'MAX_TABLE_LABELS', limit)
  head, params, h, y = ising(5), random_field(5), features(3), labels(3, 5)
  logits = head.logits(params, h, y)
  for b, j in itertools.product(range(3), range(5)):
    on, off = np.array(y[b]), np.array(y[b])
    on[j], off[j] = 1, 0
    gain = paper_score(params, h[b], on) - paper_score(params, h[b], off)
    assert logits[b, j] == pytest.approx(gain, abs=1e-5)
  np.testing.assert_allclose(
    head.conditional(params, h, y), jax.nn.sigmoid(logits), rtol=1e-6
  )


def test_the_objective_of_a_short_field_sums_over_unknown_labels():
  head, params, h, y = ising(4), random_field(4), features(3), labels(3, 4)
  where = jnp.asarray(np.tri(3, 4, 0, dtype=bool))
  found = quick_jit(head.objective)(params, h, Batch(h, y, where=where))
  p, vectors = paper_law(params, h)
  for b in range(3):
    agrees = [all(v[where[b]] == y[b][where[b]]) for v in vectors]
    assert found[b] == pytest.approx(-np.log(p[b, agrees].sum()), rel=1e-4)
  whole = quick_jit(head.objective)(params, h, Batch(h, y))
  log_prob = quick_jit(head.log_prob)(params, h, y)
  np.testing.assert_allclose(whole, -log_prob, rtol=1e-6)


def test_the_objective_of_a_long_field_is_the_pseudo_likelihood(no_tables):
  head, params, h, y = ising(5), random_field(5), features(3), labels(3, 5)
  assert head.log_prob is None and head.joint is None
  where = labels(3, 5, seed=5) > 0
  whole = head.objective(params, h, Batch(h, y))
  known = head.objective(params, h, Batch(h, y, where=where))
  other = jnp.where(where, y, 1.0 - y)
  np.testing.assert_array_equal(
    known, head.objective(params, h, Batch(h, other, where=where))
  )
  for found, mask in ((whole, np.ones((3, 5), bool)), (known, where)):
    for b in range(3):
      seen = np.where(mask[b], y[b], 0.0)
      total = 0.0
      for j in np.flatnonzero(mask[b]):
        flipped = seen.copy()
        flipped[j] = 1.0 - seen[j]
        difference = paper_score(params, h[b], flipped)
        difference -= paper_score(params, h[b], seen)
        total += np.log1p(np.exp(difference))
      assert found[b] == pytest.approx(total, rel=1e-4)


@pytest.mark.slow
def test_gibbs_gives_marginals_partials_and_draws(no_tables):
  params, h, y = random_field(5, link=0.7), features(4), labels(4, 5)
  head = ising(5, chains=20, sweeps=400)
  known = jnp.asarray(np.tri(4, 5, -1, dtype=bool))
  p, vectors = paper_law(params, h)
  assert head.exactness['marginals'] == head.exactness['partial'] == 'estimated'

  @quick_jit
  def ask(params, key):
    return (
      head.marginals(params, h, key=key),
      head.partial(params, h, y, known),
      head.sample(params, key, h, 8001),
    )

  marginals, partial, draws = ask(params, jax.random.key(3))
  # 8,000 draws, at worst ten times as dependent as independent ones.
  bound = 4 * 0.5 * (10 / 8000) ** 0.5
  np.testing.assert_allclose(marginals, p @ vectors, atol=bound)
  for b in range(4):
    agrees = ((vectors == np.array(y[b])) | ~np.array(known[b])).all(-1)
    expected = p[b, agrees] @ vectors[agrees] / p[b, agrees].sum()
    np.testing.assert_allclose(partial[b], expected, atol=bound)
    np.testing.assert_array_equal(partial[b][known[b]], y[b][known[b]])
  assert draws.shape == (8001, 4, 5)
  codes = np.asarray(distribution.code(draws))
  for b in range(4):
    share = np.bincount(codes[:, b], minlength=32) / 8001
    np.testing.assert_allclose(share, p[b], atol=bound)
  other = ask(params, jax.random.key(4))[0]
  assert (other != marginals).any()


def test_mean_field_is_a_fixed_point_and_exact_without_links(no_tables):
  head, h = ising(5, inference='mean_field', sweeps=200), features(4)
  y, known = labels(4, 5), labels(4, 5, seed=7) > 0
  marginals, partial = quick_jit(head.marginals), quick_jit(head.partial)
  params = random_field(5, link=-0.5)
  f = h @ params['kernel'] + params['bias'][None]
  both = jnp.triu(params['links'], 1) + jnp.triu(params['links'], 1).T
  m = marginals(params, h)
  np.testing.assert_allclose(m, jax.nn.sigmoid(f + m @ both), atol=1e-5)
  m = partial(params, h, y, known)
  expected = jnp.where(known, y, jax.nn.sigmoid(f + m @ both))
  np.testing.assert_allclose(m, expected, atol=1e-5)
  alone = {**params, 'links': jnp.zeros((5, 5))}
  np.testing.assert_allclose(marginals(alone, h), jax.nn.sigmoid(f), atol=1e-6)


@pytest.mark.slow
def test_the_searched_mode(no_tables):
  """No flip improves on it, and on small fields it is the mode."""
  head, params, h = ising(6), random_field(6, link=2.0), features(60)
  mode = np.asarray(quick_jit(head.mode)(params, h))
  p, vectors = paper_law(params, h)
  found = (mode[:, None] == vectors).all(-1)
  at_mode = p[found]
  assert (at_mode >= p.max(-1) - 1e-6).mean() > 0.95
  # Thresholding what h says of each label alone does far worse.
  alone = np.asarray(h @ params['kernel'] + params['bias'][None]) > 0
  at_alone = p[(alone[:, None] == vectors).all(-1)]
  assert (at_alone >= p.max(-1) - 1e-6).mean() < 0.5
  for j in range(6):
    flipped = np.array(mode)
    flipped[:, j] = 1 - flipped[:, j]
    at_flipped = p[(flipped[:, None] == vectors).all(-1)]
    assert (at_mode >= at_flipped - 1e-6).all()


@functools.partial(quick_jit, static_argnums=(0, 4))
def fitted(objective, params, h, y, steps):
  """The parameters after some steps of Adam on all rows."""
  adam = optax.adam(0.1)

  def step(carry, _):
    params, state = carry
    gradient = jax.grad(lambda p: objective(p, h, Batch(h, y)).mean())(params)
    change, state = adam.update(gradient, state)
    return (optax.apply_updates(params, change), state), None

  carry = params, adam.init(params)
  return jax.lax.scan(step, carry, length=steps)[0][0]


@pytest.mark.slow
def test_it_learns_the_field_that_made_the_labels(monkeypatch):
  """By likelihood and by pseudo-likelihood alike; binary relevance cannot."""
  short = ising(4)
  monkeypatch.setattr(distribution, 'MAX_TABLE_LABELS', 0)
  long = ising(4)
  monkeypatch.undo()
  truth, h = random_field(4, link=2.0), features(4000)
  start = short.init(jax.random.key(1), h[:1], jnp.zeros((1, 4)))
  y = short.sample(truth, jax.random.key(0), h, 2)
  alone = binary_relevance(4)

  def fit(objective):
    return fitted(objective, start, h, y[0], 300)

  def nll(params, head=short):
    return -head.log_prob(params, h, y[1]).mean()

  independent = fit(lambda p, h, batch: -alone.log_prob(p, h, batch.y))
  best = nll(truth)
  likelihood, pseudo = fit(short.objective), fit(long.objective)
  assert nll(likelihood) < best + 0.02
  assert nll(pseudo) < best + 0.02
  assert nll(independent, alone) > best + 0.1
  for params in (likelihood, pseudo):
    error = jnp.triu(params['links'] - truth['links'], 1)
    assert jnp.abs(error).max() < 0.6


@pytest.mark.slow
@pytest.mark.parametrize('num_labels', [174, 983])
def test_many_labels(num_labels):
  head = ising(num_labels, chains=2, burn_in=2, sweeps=3)
  params = random_field(num_labels, link=num_labels**-0.5)
  h, y = features(8), labels(8, num_labels)

  @quick_jit
  def ask(params):
    batch = Batch(h, y)
    return (
      jax.grad(lambda p: head.objective(p, h, batch).mean())(params)['links'],
      head.marginals(params, h),
      head.mode(params, h),
      head.sample(params, jax.random.key(0), h, 3),
    )

  gradient, marginals, mode, draws = ask(params)
  assert jnp.isfinite(gradient).all()
  assert (jnp.tril(gradient) == 0).all() and (gradient != 0).any()
  assert ((marginals >= 0) & (marginals <= 1)).all()
  assert {*np.unique(mode)} == {0.0, 1.0}
  assert draws.shape == (3, 8, num_labels)


@pytest.mark.parametrize(
  'options',
  [{'inference': 'exact'}, {'chains': 0}, {'burn_in': -1}, {'sweeps': 0}],
)
def test_options_that_make_no_sense_are_refused(options):
  (name, value), *_ = options.items()
  with pytest.raises(ValueError, match=f'{name}={value!r}.*takes'):
    # Past the shape and type checks of the tests, as a user calls it.
    inspect.unwrap(ising)(3, **options)
