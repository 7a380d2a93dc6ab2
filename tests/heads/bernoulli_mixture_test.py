"""The mixture against sums over components and label vectors in numpy."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc import distribution
from mlc.base import Batch
from mlc.heads.bernoulli_mixture import bernoulli_mixture
from mlc.heads.binary_relevance import binary_relevance

DIM = 3
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def features(rows, seed=1):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=(rows, DIM)), jnp.float32
  )


def labels(rows, num_labels, seed=2):
  y = np.random.default_rng(seed).random((rows, num_labels)) < 0.5
  return jnp.asarray(y, jnp.float32)


def random_mixture(num_labels, components=3, full=True, scale=1.5, seed=0):
  rng = np.random.default_rng(seed)
  shape = (components, DIM, num_labels)
  draw = lambda *shape: jnp.asarray(scale * rng.normal(size=shape), jnp.float32)
  return {
    'gate': {'kernel': draw(DIM, components), 'bias': draw(components)},
    'experts': {
      'kernel': draw(*shape[0 if full else 1 :]),
      'bias': draw(components, num_labels),
    },
  }


def paper_parts(params, h):
  """pi [B, K] and m [B, K, L] as the formula has them, in float64."""
  params = jax.tree.map(np.float64, params)
  h = np.float64(h)
  gate = np.exp(h @ params['gate']['kernel'] + params['gate']['bias'])
  kernel, bias = params['experts']['kernel'], params['experts']['bias']
  m = np.zeros((len(h), *bias.shape))
  for k in range(len(bias)):
    w = kernel[k] if kernel.ndim == 3 else kernel
    m[:, k] = 1 / (1 + np.exp(-(h @ w + bias[k])))
  return gate / gate.sum(-1, keepdims=True), m


def paper_law(params, h):
  """p of every label vector, and the vectors."""
  gate, m = paper_parts(params, h)
  vectors = np.asarray(distribution.label_vectors(m.shape[-1]))
  p = np.zeros((len(h), len(vectors)))
  for k in range(m.shape[1]):
    for c, y in enumerate(vectors):
      factors = np.where(y > 0, m[:, k], 1 - m[:, k])
      p[:, c] += gate[:, k] * factors.prod(-1)
  return p, vectors


@pytest.fixture
def no_tables(monkeypatch):
  """Lets a mixture of few labels, that can be enumerated, act as a long one."""
  monkeypatch.setattr(distribution, 'MAX_TABLE_LABELS', 0)


@pytest.mark.parametrize('experts', ['full', 'shared'])
def test_the_joint_is_the_sum_over_components(experts):
  head, h = bernoulli_mixture(4, components=3, experts=experts), features(5)
  params, y = random_mixture(4, full=experts == 'full'), labels(5, 4)
  made = quick_jit(head.init)(jax.random.key(0), h, y)
  shapes = functools.partial(jax.tree.map, jnp.shape)
  assert shapes(made) == shapes(params)
  p, _ = paper_law(params, h)
  joint = jnp.exp(quick_jit(head.joint)(params, h))
  np.testing.assert_allclose(joint, p, rtol=1e-4)


def test_unknown_labels_are_summed_out():
  head, h, y = bernoulli_mixture(4, components=3), features(3), labels(3, 4)
  params = random_mixture(4, full=False)
  where = jnp.asarray(np.tri(3, 4, 0, dtype=bool))
  objective = quick_jit(head.objective)
  found = objective(params, h, Batch(h, y, where=where))
  p, vectors = paper_law(params, h)
  for b in range(3):
    known = np.array(where[b])
    agrees = (vectors[:, known] == np.array(y[b])[known]).all(-1)
    assert found[b] == pytest.approx(-np.log(p[b, agrees].sum()), rel=1e-5)
  whole = objective(params, h, Batch(h, y, where=where | True))
  log_prob = quick_jit(head.log_prob)(params, h, y)
  np.testing.assert_allclose(whole, -log_prob, rtol=1e-6)


def test_logits_are_the_log_odds_of_the_marginals():
  """Also where the marginal is 1 to all digits of float32."""
  head, h = bernoulli_mixture(3, components=2), features(4)
  params = random_mixture(3, components=2, full=False, scale=6.0)
  gate, m = paper_parts(params, h)
  on, off = (np.einsum('bk,bkl->bl', gate, v) for v in (m, 1 - m))
  np.testing.assert_allclose(
    quick_jit(head.logits)(params, h), np.log(on) - np.log(off), rtol=1e-4
  )


def test_one_component_is_binary_relevance():
  head, h = bernoulli_mixture(1, components=1), features(4)
  params = random_mixture(1, components=1, full=False)
  own = params['experts']
  expected = binary_relevance(1).marginals(
    {'kernel': own['kernel'], 'bias': own['bias'][0]}, h
  )
  found = quick_jit(head.marginals)(params, h)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_components_start_at_rows_that_count():
  rows = 200
  y = labels(rows, 12)
  weight = jnp.ones(rows).at[3:].set(0.0)
  where = jnp.ones((rows, 12), bool).at[:, 5].set(False)
  head = bernoulli_mixture(12, components=30)
  params = quick_jit(head.init)(
    jax.random.key(0), features(rows), y, where=where, weight=weight
  )
  bias = np.asarray(params['experts']['bias'])
  assert (bias[:, 5] == 0).all()
  signs = {tuple(row) for row in np.delete(bias, 5, axis=1)}
  expected = np.delete(2 * np.asarray(y[:3]) - 1, 5, axis=1)
  assert signs == {tuple(row) for row in expected}


@pytest.mark.slow
def test_the_searched_mode(no_tables):
  """No flip improves on it, and it is nearly always the mode."""
  head, h = bernoulli_mixture(8, components=5), features(200)
  assert head.exactness['mode'] == 'searched' and head.joint is None
  params = random_mixture(8, components=5, full=False, scale=1.0)
  mode = np.asarray(quick_jit(head.mode)(params, h))
  p, vectors = paper_law(params, h)
  at = lambda y: p[(y[:, None] == vectors).all(-1)]
  assert (at(mode) >= p.max(-1) * (1 - 1e-5)).mean() > 0.98
  for j in range(8):
    flipped = mode.copy()
    flipped[:, j] = 1 - flipped[:, j]
    assert (at(mode) >= at(flipped) * (1 - 1e-5)).all()
  # The mode of the likeliest component alone is not that good.
  gate, m = paper_parts(params, h)
  alone = m[range(200), gate.argmax(-1)] > 0.5
  assert (at(alone) >= p.max(-1) * (1 - 1e-5)).mean() < 0.95


@pytest.mark.slow
@pytest.mark.parametrize('experts', ['full', 'shared'])
def test_it_learns_labels_that_go_together(experts):
  """A coin that h does not show turns three labels on or off together."""
  rng = np.random.default_rng(0)
  coin = rng.random((2, 1000, 1)) < 0.5
  y = jnp.asarray(coin ^ (rng.random((2, 1000, 3)) < 0.1), jnp.float32)
  h = features(1000)
  head = bernoulli_mixture(3, components=4, experts=experts)
  adam = optax.adam(0.05)

  @quick_jit
  def fit(key):
    def step(carry, _):
      params, state = carry
      loss = lambda p: -head.log_prob(p, h, y[0]).mean()
      change, state = adam.update(jax.grad(loss)(params), state)
      return (optax.apply_updates(params, change), state), None

    params = head.init(key, h, y[0])
    carry = params, adam.init(params)
    params = jax.lax.scan(step, carry, length=300)[0][0]
    return -head.log_prob(params, h, y[1]).mean()

  p = [
    0.5 * (0.9**k * 0.1 ** (3 - k) + 0.1**k * 0.9 ** (3 - k)) for k in (0, 1)
  ]
  best = -2 * (p[0] * np.log(p[0]) + 3 * p[1] * np.log(p[1]))
  # No independent labels do better than 3 log 2 = 2.08, here.
  assert best < 1.6
  assert fit(jax.random.key(0)) < best + 0.1


@pytest.mark.slow
@pytest.mark.parametrize('num_labels', [174, 983])
def test_many_labels(num_labels):
  head, h, y = bernoulli_mixture(num_labels), features(4), labels(4, num_labels)
  params = random_mixture(num_labels, components=30, full=False)
  known = labels(4, num_labels, seed=5) > 0

  @quick_jit
  def ask(params):
    return (
      jax.grad(lambda p: head.log_prob(p, h, y).mean())(params),
      head.marginals(params, h),
      head.conditional(params, h, y),
      head.partial(params, h, y, known),
      head.mode(params, h),
      head.sample(params, jax.random.key(0), h, 2),
    )

  gradient, marginals, conditional, partial, mode, draws = ask(params)
  assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
  for p in (marginals, conditional, partial):
    assert ((p >= 0) & (p <= 1 + 1e-6)).all()
  log_prob = quick_jit(head.log_prob)
  rounded = (marginals > 0.5).astype(jnp.float32)
  at_mode = log_prob(params, h, mode)
  assert (at_mode >= log_prob(params, h, rounded) - 1e-3).all()
  assert (at_mode > log_prob(params, h, rounded) + 1.0).any()
  assert draws.shape == (2, 4, num_labels)


@pytest.mark.parametrize('options', [{'experts': 'many'}, {'components': 0}])
def test_options_that_make_no_sense_are_refused(options):
  (name, value), *_ = options.items()
  with pytest.raises(ValueError, match=f'{name}={value!r}.*takes'):
    # Past the shape and type checks of the tests, as a user calls it.
    inspect.unwrap(bernoulli_mixture)(3, **options)
