"""Two levels by NumPy, and what neither may know of the other."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import LogisticRegression

from mlc.base import Batch
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.stacked import fold_of, stacked

ROWS, DIM, LABELS, FOLDS = 6, 3, 4, 3
KINDS = ('meta', 'dependent', 'nested')
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def sigmoid(z):
  return 1 / (1 + np.exp(-z))


@functools.cache
def made(kind, feed='probability', num_labels=LABELS):
  head = stacked(num_labels, kind=kind, folds=FOLDS, feed=feed)
  rng = np.random.default_rng(0)
  h = jnp.asarray(rng.normal(size=(ROWS, DIM)), jnp.float32)
  y = jnp.asarray(rng.random((ROWS, num_labels)) < 0.5, jnp.float32)
  params = quick_jit(head.init)(jax.random.key(0), h, y)
  params = jax.tree.map(
    lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), params
  )
  return head, params, Batch(h, y, row=jnp.arange(ROWS) + 100)


def reads(kind, i, j):
  return {'meta': True, 'dependent': i != j, 'nested': i < j}[kind]


def first_logits(kind, feed, first, k, x):
  """Of model k for one row, label after label, and its predictions."""
  z, m = [], []
  for j in range(LABELS):
    z_j = x @ first['kernel'][k, :, j] + first['bias'][k, j]
    if kind == 'nested':
      z_j += sum(m[i] * first['links'][k, i, j] for i in range(j))
    z.append(z_j)
    m.append(sigmoid(z_j) if feed == 'probability' else float(z_j > 0))
  return np.array(z), np.array(m)


def second_logits(kind, params, x, m):
  z = []
  for j in range(LABELS):
    fed = sum(
      m[i] * params['links'][i, j] for i in range(LABELS) if reads(kind, i, j)
    )
    z.append(x @ params['kernel'][:, j] + params['bias'][j] + fed)
  return np.array(z)


def cross_entropy(z, y):
  return -np.log(np.where(y > 0, sigmoid(z), sigmoid(-z)))


def by_hand(kind, feed, params, batch, where):
  """Marginals and objective, row by row."""
  params, batch = jax.device_get((params, batch))
  folds = np.asarray(fold_of(jnp.asarray(batch.row), FOLDS))
  models = 1 if kind == 'dependent' else FOLDS
  marginals, losses = [], []
  for x, y, fold, known in zip(batch.x, batch.y, folds, where, strict=True):
    levels = [
      first_logits(kind, feed, params['first'], k, x) for k in range(models)
    ]
    mean = np.mean([m for _, m in levels], axis=0)
    marginals.append(sigmoid(second_logits(kind, params, x, mean)))
    if kind == 'dependent':
      fed, trained = np.where(known, y, levels[0][1]), [0]
    else:
      fed, trained = levels[fold][1], [k for k in range(FOLDS) if k != fold]
    loss = cross_entropy(second_logits(kind, params, x, fed), y)
    loss = loss + sum(cross_entropy(levels[k][0], y) for k in trained)
    losses.append((loss * known).sum())
  return np.array(marginals), np.array(losses)


@pytest.mark.slow
@pytest.mark.parametrize('feed', ['probability', 'decision'])
@pytest.mark.parametrize('kind', KINDS)
def test_it_is_the_composition_of_both_levels(kind, feed):
  head, params, batch = made(kind, feed)
  where = np.ones((ROWS, LABELS), bool)
  where[0, 1] = where[2] = where[4, 3] = False
  batch = batch._replace(where=jnp.asarray(where))
  marginals, losses = by_hand(kind, feed, params, batch, where)

  def ask(params, batch):
    return (
      head.marginals(params, batch.x),
      head.objective(params, batch.x, batch),
    )

  found = quick_jit(ask)(params, batch)
  np.testing.assert_allclose(found[0], marginals, rtol=2e-5)
  np.testing.assert_allclose(found[1], losses, rtol=2e-5)
  assert losses[2] == 0


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['meta', 'nested'])
def test_no_model_serves_a_row_that_trains_it(kind):
  """By the two ways in which a row's loss can depend on a first model.

  Its gradient says which models the row trains; a change of a model's
  parameters says whose prediction the second level is given. They differ in
  every row, and together they are all models.
  """
  head, params, batch = made(kind)

  def ask(params):
    inputs = batch.x, batch
    loss = lambda first: head.objective({**params, 'first': first}, *inputs)
    trained = jax.jacrev(loss)(params['first'])['kernel']

    def by_links(first):
      of = lambda v: head.objective(
        {**params, 'first': first, 'links': v}, *inputs
      )
      return jax.jacrev(of)(params['links'])

    moved = [
      jax.tree.map(lambda x, k=k: x.at[k].add(1.0), params['first'])
      for k in range(FOLDS)
    ]
    before = by_links(params['first'])
    served = jnp.stack(
      [jnp.abs(by_links(one) - before).max((1, 2)) for one in moved]
    )
    return jnp.abs(trained).max((2, 3)) > 0, served.T > 0

  trained, served = quick_jit(ask)(params)
  assert (trained != served).all()
  assert (served.sum(1) == 1).all()
  assert (served.sum(0) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_the_second_level_moves_no_first_one(kind):
  """With the first level's own share constant, its gradient is the same."""
  head, params, batch = made(kind)

  def gradient(params):
    loss = lambda p: head.objective(p, batch.x, batch).sum()
    return jax.grad(loss)(params)['first']

  other = {**params, 'links': params['links'] * 3.0 + 1.0}
  gradient = quick_jit(gradient)
  jax.tree.map(np.testing.assert_array_equal, gradient(params), gradient(other))


@pytest.mark.parametrize('kind', KINDS)
def test_a_label_reads_what_its_kind_lets_it(kind):
  """By the jacobian of the final logits by the first level's biases."""
  head, params, batch = made(kind)

  def logits(bias):
    first = {**params['first'], 'bias': bias}
    return head.logits({**params, 'first': first}, batch.x)[0]

  jacobian = quick_jit(jax.jacrev(logits))(params['first']['bias'])
  # [j, model, i] to [i, j]
  touched = np.abs(jacobian).max(1).T > 0
  expected = [[reads(kind, i, j) for j in range(LABELS)] for i in range(LABELS)]
  np.testing.assert_array_equal(touched, expected)


def test_folds_are_even_and_blind_to_the_order_of_the_file():
  fold = np.asarray(fold_of(jnp.arange(5000), 5))
  count = np.bincount(fold, minlength=5)
  assert (np.abs(count - 1000) < 5 * np.sqrt(800)).all()
  for period in (2, 5, 10):
    assert {*fold[::period]} == {*range(5)}
  assert (fold_of(jnp.arange(70, 80), 5) == fold[70:80]).all()


def test_links_start_at_zero_as_binary_relevance():
  head = stacked(LABELS)
  _, _, batch = made('meta')
  params = quick_jit(head.init)(jax.random.key(0), batch.x, batch.y)
  np.testing.assert_allclose(
    quick_jit(head.marginals)(params, batch.x),
    quick_jit(binary_relevance(LABELS).marginals)(params, batch.x),
    rtol=1e-6,
  )


def learned(head, h, y, steps=300, l2=0.0):
  params = head.init(jax.random.key(0), h, y)
  optimizer = optax.adam(0.05)
  batch = Batch(h, y, row=jnp.arange(len(h)))

  def loss(params):
    if head.objective is None:
      return -head.log_prob(params, h, y).mean()
    penalty = sum((leaf**2).sum() for leaf in jax.tree.leaves(params)) * l2 / 2
    return head.objective(params, h, batch).mean() + penalty / len(h)

  def step(state, _):
    params, moments = state
    updates, moments = optimizer.update(jax.grad(loss)(params), moments)
    return (optax.apply_updates(params, updates), moments), None

  state = (params, optimizer.init(params))
  return jax.lax.scan(step, state, None, length=steps)[0][0]


def world(n, seed=0):
  """Label 1 repeats label 0 four times in five: its log-odds saturate in h."""
  rng = np.random.default_rng(seed)
  h = rng.uniform(-4, 4, size=(n, DIM))
  first = rng.random(n) < sigmoid(3 * h[:, 0])
  second = np.where(rng.random(n) < 0.8, first, ~first)
  return (
    jnp.asarray(h, jnp.float32),
    jnp.asarray(np.stack([first, second], 1), jnp.float32),
  )


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_it_learns_a_marginal_that_binary_relevance_cannot(kind):
  h, y = world(2000)
  nll = []
  for head in (binary_relevance(2), stacked(2, kind=kind)):
    params = jax.jit(functools.partial(learned, head))(h[:1000], y[:1000])
    nll.append(float(-head.log_prob(params, h[1000:], y[1000:]).mean()))
  assert nll[1] < nll[0] - 0.01


@pytest.mark.slow
def test_the_optimum_is_that_of_scikit_learn():
  """Meta with two folds, each regression fitted by itself, l2 = 1."""
  h, y = world(200)
  head = stacked(2, folds=2)
  fit = functools.partial(learned, head, steps=4000, l2=1.0)
  params = jax.jit(fit)(h, y)
  x, labels = np.asarray(h), np.asarray(y)
  fold = np.asarray(fold_of(jnp.arange(200), 2))
  constant = np.ones((200, 1))

  def regression(features, target):
    # The loss above penalises the intercepts, too.
    return LogisticRegression(
      C=1.0, fit_intercept=False, tol=1e-8, max_iter=1000
    ).fit(features, target)

  first = np.hstack([x, constant])
  m = np.zeros((200, 2))
  mean = np.zeros((200, 2))
  for k in range(2):
    for j in range(2):
      seen = fold != k
      model = regression(first[seen], labels[seen, j])
      p = model.predict_proba(first)[:, 1]
      m[~seen, j] = p[~seen]
      mean[:, j] += p / 2
  expected = [
    regression(np.hstack([first, m]), labels[:, j]).predict_proba(
      np.hstack([first, mean])
    )[:, 1]
    for j in range(2)
  ]
  found = head.marginals(params, h)
  np.testing.assert_allclose(found, np.stack(expected, 1), atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('num_labels', [1, 983])
def test_one_label_and_many(kind, num_labels):
  head, params, batch = made(kind, num_labels=num_labels)

  def ask(params):
    loss = lambda p: head.objective(p, batch.x, batch).sum()
    return head.marginals(params, batch.x), jax.grad(loss)(params)

  p, gradient = quick_jit(ask)(params)
  assert p.shape == (ROWS, num_labels)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_rows_are_asked_for():
  head, params, batch = made('meta')
  with pytest.raises(ValueError, match='without `row`'):
    head.objective(params, batch.x, batch._replace(row=None))


@pytest.mark.parametrize(
  'options', [{'kind': 'deep'}, {'folds': 1}, {'feed': 'label'}]
)
def test_options_that_make_no_sense_are_refused(options):
  with pytest.raises(ValueError, match=f'stacked got {next(iter(options))}='):
    inspect.unwrap(stacked)(3, **options)
