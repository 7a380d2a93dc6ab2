"""Pairs, votes and the cut, row by row in NumPy."""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc.base import Batch
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.calibrated_ranking import MAX_LABELS, calibrated_ranking

ROWS, DIM = 6, 3
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def sigmoid(z):
  return 1 / (1 + np.exp(-z))


@functools.cache
def made(pairs, num_labels=4):
  head = calibrated_ranking(num_labels, pairs=pairs)
  rng = np.random.default_rng(0)
  h = jnp.asarray(rng.normal(size=(ROWS, DIM)), jnp.float32)
  y = jnp.asarray(rng.random((ROWS, num_labels)) < 0.5, jnp.float32)
  params = quick_jit(head.init)(jax.random.key(0), h, y)
  params = {
    **params,
    'kernel': jnp.asarray(rng.normal(size=params['kernel'].shape), jnp.float32),
    'bias': jnp.asarray(rng.normal(size=params['bias'].shape), jnp.float32),
  }
  return head, params, h, y


def preferences(head, params, h):
  """{(i, j): P(i above j) [B]} of both orders, the virtual label being L."""
  f = np.asarray(h) @ np.asarray(params['kernel']) + np.asarray(params['bias'])
  items = range(head.num_labels + 1)
  found = {}
  for c, (i, j) in enumerate(itertools.combinations(items, 2)):
    z = f[:, i] - f[:, j] if head.logits is not None else f[:, c]
    found[i, j], found[j, i] = sigmoid(z), sigmoid(-z)
  return found


def vote_counts(p, num_items):
  return np.stack(
    [
      sum((p[i, j] > 0.5).astype(int) for j in range(num_items) if j != i)
      for i in range(num_items)
    ],
    axis=1,
  )


def pair_losses(p, y, known):
  """The formula of the paper, over every pair of a relevant and another."""
  rows, num_labels = y.shape
  losses = np.zeros(rows)
  for b in range(rows):
    on = [j for j in range(num_labels) if known[b, j] and y[b, j]]
    off = [j for j in range(num_labels) if known[b, j] and not y[b, j]]
    above = [(i, j) for i in [*on] for j in [*off]]
    above += [(i, num_labels) for i in on] + [(num_labels, j) for j in off]
    losses[b] = -sum(np.log(p[pair][b]) for pair in above)
  return losses


@pytest.mark.parametrize('pairs', ['models', 'scores'])
@pytest.mark.parametrize('masked', [False, True])
def test_the_objective_is_the_loss_of_the_pairs(pairs, masked):
  head, params, h, y = made(pairs)
  known = np.ones(y.shape, bool)
  if masked:
    known[0, 1] = known[2] = known[4, 2] = False
  where = jnp.asarray(known) if masked else None
  expected = pair_losses(preferences(head, params, h), np.asarray(y), known)
  if pairs == 'models':
    # The slope is fitted beside them.
    p = np.asarray(quick_jit(head.marginals)(params, h))
    of_slope = -np.log(np.where(np.asarray(y) > 0, p, 1 - p))
    expected += (of_slope * known).sum(1)
  found = quick_jit(head.objective)(params, h, Batch(h, y, where))
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('pairs', ['models', 'scores'])
def test_one_half_is_the_paper_s_decision_and_the_ranking_that_of_votes(pairs):
  head, params, h, _ = made(pairs, 6)
  h = jax.random.normal(jax.random.key(1), (200, DIM))
  counts = vote_counts(preferences(head, params, h), 7)
  p = np.asarray(quick_jit(head.marginals)(params, h))
  np.testing.assert_array_equal(p > 0.5, counts[:, :-1] > counts[:, -1:])
  before = p[:, :, None] - p[:, None, :]
  by_votes = counts[:, :-1, None] - counts[:, None, :-1]
  np.testing.assert_array_equal(np.sign(before), np.sign(by_votes))
  # Both sides of the cut are met, and in 'models' ties as well.
  assert 0 < (p > 0.5).mean() < 1
  off_diagonal = by_votes[:, ~np.eye(6, dtype=bool)]
  assert (off_diagonal == 0).any() == (pairs == 'models')


def test_the_gradient_of_scores_is_that_of_the_formula():
  """Held against automatic differentiation of all L^2 pairs at once."""
  head, params, h, y = made('scores')
  where = jnp.ones(y.shape, bool).at[0, 1].set(False).at[2].set(False)

  def plain(params):
    s = h @ params['kernel'] + params['bias'][None, :]
    items = jnp.pad(y, [(0, 0), (0, 1)], constant_values=0.5)
    known = jnp.pad(where, [(0, 0), (0, 1)], constant_values=True)
    above = (items[:, :, None] > items[:, None, :]) & known[:, :, None]
    above &= known[:, None, :]
    loss = jax.nn.softplus(s[:, None, :] - s[:, :, None])
    return (jnp.where(above, loss, 0.0).sum((1, 2)) * weight).sum()

  def own(params):
    return (head.objective(params, h, Batch(h, y, where)) * weight).sum()

  weight = jnp.arange(1.0, ROWS + 1)
  both = quick_jit(lambda p: (jax.grad(plain)(p), jax.grad(own)(p)))(params)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), *both
  )


def test_marginals_are_the_stated_function_of_the_votes():
  head, params, h, _ = made('models')
  params = {**params, 'log_slope': jnp.asarray(0.3)}
  counts = vote_counts(preferences(head, params, h), 5)
  margin = (counts[:, :-1] - counts[:, -1:]) / 4
  np.testing.assert_allclose(
    quick_jit(head.marginals)(params, h),
    sigmoid(np.exp(0.3) * margin),
    rtol=1e-5,
  )


def test_the_slope_moves_no_pair():
  """Models are trained by their pairs alone, as in the paper."""
  head, params, h, y = made('models')

  def gradient(params):
    loss = lambda p: head.objective(p, h, Batch(h, y)).sum()
    return jax.grad(loss)(params)

  gradient = quick_jit(gradient)
  one = gradient(params)
  other = gradient({**params, 'log_slope': jnp.asarray(2.0)})
  np.testing.assert_array_equal(one['kernel'], other['kernel'])
  assert one['log_slope'] != other['log_slope']


def test_a_pair_learns_from_rows_in_which_its_labels_differ():
  head, params, h, _ = made('models')
  y = jnp.asarray([[1, 1, 0, 0]] * ROWS, jnp.float32)

  def loss(bias):
    return head.objective({**params, 'bias': bias}, h, Batch(h, y)).sum()

  moved = np.abs(quick_jit(jax.grad(loss))(params['bias'])) > 0
  pairs = itertools.combinations(range(5), 2)
  same = {(0, 1), (2, 3)}
  assert [*moved] == [pair not in same for pair in pairs]


def test_without_pairs_of_labels_it_is_binary_relevance():
  head, params, h, y = made('models', 1)
  plain = binary_relevance(1)
  logistic = {name: params[name] for name in ('kernel', 'bias')}
  p = quick_jit(plain.marginals)(logistic, h)
  np.testing.assert_array_equal(
    quick_jit(head.marginals)(params, h) > 0.5, p > 0.5
  )
  scores, params, _, _ = made('scores', 1)
  logistic = {
    name: -jnp.diff(params[name], axis=-1) for name in ('kernel', 'bias')
  }
  expected = -quick_jit(plain.log_prob)(logistic, h, y)
  found = quick_jit(scores.objective)(params, h, Batch(h, y))
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def learned(head, h, y, steps=300):
  params = head.init(jax.random.key(0), h, y)
  optimizer = optax.adam(0.05)

  def loss(params):
    if head.objective is None:
      return -head.log_prob(params, h, y).mean()
    return head.objective(params, h, Batch(h, y)).mean()

  def step(state, _):
    params, moments = state
    updates, moments = optimizer.update(jax.grad(loss)(params), moments)
    return (optax.apply_updates(params, updates), moments), None

  state = (params, optimizer.init(params))
  return jax.lax.scan(step, state, None, length=steps)[0][0]


def ranking_loss(p, y):
  """Share of pairs in the wrong order; a tie is half a mistake."""
  wrong = []
  for scores, labels in zip(np.asarray(p), np.asarray(y), strict=True):
    on, off = scores[labels > 0], scores[labels == 0]
    if len(on) and len(off):
      difference = on[:, None] - off[None, :]
      wrong.append((difference < 0).mean() + (difference == 0).mean() / 2)
  return np.mean(wrong)


@pytest.mark.slow
def test_it_ranks_labels_that_are_no_half_space():
  """The label that is on names the interval, of eight, in which h lies.

  Which of two intervals is a threshold in h; a middle one against the rest is
  none, and its logistic regression is flat.
  """
  rng = np.random.default_rng(0)
  h = rng.uniform(-1, 1, size=(1000, 1))
  y = np.eye(8)[((h[:, 0] + 1) / 2 * 8).astype(int)]
  h, y = jnp.asarray(3 * h, jnp.float32), jnp.asarray(y, jnp.float32)
  loss = []
  for head in (
    binary_relevance(8),
    calibrated_ranking(8),
    calibrated_ranking(8, pairs='scores'),
  ):
    params = jax.jit(functools.partial(learned, head))(h[:500], y[:500])
    loss.append(ranking_loss(head.marginals(params, h[500:]), y[500:]))
  assert loss[0] > 0.1
  assert max(loss[1:]) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
  ('pairs', 'labels'), [('models', 174), ('scores', 983)]
)
def test_many_labels(pairs, labels):
  head, params, h, y = made(pairs, labels)

  def ask(params):
    loss = lambda p: head.objective(p, h, Batch(h, y)).sum()
    return head.marginals(params, h), jax.grad(loss)(params)

  p, gradient = quick_jit(ask)(params)
  assert p.shape == (ROWS, labels)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_what_it_has_and_has_not():
  models, scores = calibrated_ranking(4), calibrated_ranking(4, pairs='scores')
  given = lambda head: {
    f for f in head._fields[4:] if callable(getattr(head, f))
  }
  assert given(models) == {'marginals', 'objective'}
  assert given(scores) == {'logits', 'marginals', 'objective'}
  assert models.exactness['marginals'] == 'estimated'
  assert scores.exactness['marginals'] == 'closed-form'


def test_too_many_pairs_are_refused_with_the_way_out():
  with pytest.raises(ValueError, match='pairs=scores'):
    calibrated_ranking(MAX_LABELS + 1)
  assert calibrated_ranking(MAX_LABELS + 1, pairs='scores').num_labels > 256
  with pytest.raises(ValueError, match="pairs='all'"):
    inspect.unwrap(calibrated_ranking)(3, pairs='all')
