"""Subsets counted, models added up by NumPy, and what each kind can tell."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc.base import Batch
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.random_k_labelsets import MAX_LISTED, random_k_labelsets

DIM = 3
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def subsets(num_labels, seed=0, **options):
  head = random_k_labelsets(num_labels, **options)
  rows = jnp.zeros((2, DIM)), jnp.zeros((2, num_labels))
  init = quick_jit(lambda key: head.init(key, *rows)['frozen']['labels'])
  return np.asarray(init(jax.random.key(seed)))


@functools.cache
def made(num_labels=5, **options):
  head = random_k_labelsets(num_labels, **options)
  rng = np.random.default_rng(0)
  h = jnp.asarray(rng.normal(size=(4, DIM)), jnp.float32)
  y = jnp.asarray(rng.random((4, num_labels)) < 0.5, jnp.float32)
  params = quick_jit(head.init)(jax.random.key(0), h, y)
  params = {
    **params,
    'kernel': jnp.asarray(
      rng.normal(size=params['kernel'].shape), params['kernel'].dtype
    ),
    'bias': jnp.asarray(rng.normal(size=params['bias'].shape), jnp.float32),
  }
  return head, params, h, y


def models_of(params, h, num_labels):
  """[(labels, {vector: q [B]})] by NumPy, from the formula."""
  table = np.asarray(params['frozen']['labels'])
  k = table.shape[1]
  f = np.asarray(h) @ np.asarray(params['kernel']) + np.asarray(params['bias'])
  f = f.reshape(len(h), len(table), 2**k)
  models = []
  for m, labels in enumerate(table):
    kept = [j for j in labels if j < num_labels]
    score = {}
    for z in itertools.product((0, 1), repeat=len(kept)):
      score[z] = np.exp(f[:, m, sum(bit << i for i, bit in enumerate(z))])
    total = sum(score.values())
    models.append((kept, {z: s / total for z, s in score.items()}))
  return models


@pytest.mark.slow
@pytest.mark.parametrize(
  ('num_labels', 'size', 'models'),
  [(1, 3, 0), (4, 3, 0), (7, 3, 0), (7, 2, 4), (7, 8, 0), (60, 3, 20)],
)
def test_overlapping_subsets_hold_every_label_and_differ(
  num_labels, size, models
):
  for seed in range(3):
    found = subsets(num_labels, seed, size=size, models=models)
    k = min(size, num_labels)
    count = models or min(2 * num_labels, math.comb(num_labels, k))
    assert found.shape == (count, k)
    assert {*found.ravel()} == {*range(num_labels)}
    assert all(len({*labels}) == k for labels in found)
    if math.comb(num_labels, k) <= MAX_LISTED:
      assert len({frozenset(labels) for labels in found.tolist()}) == count


def test_overlapping_subsets_are_drawn_evenly():
  """Every pair of six labels serves: 300 draws of 8 of the 20 subsets."""
  head = random_k_labelsets(6, models=8)
  rows = jnp.zeros((2, DIM)), jnp.zeros((2, 6))
  init = lambda key: head.init(key, *rows)['frozen']['labels']
  keys = jax.random.split(jax.random.key(0), 300)
  found = np.sort(quick_jit(jax.vmap(init))(keys), axis=-1)
  drawn = found.reshape(-1, 3)
  _, count = np.unique(drawn, axis=0, return_counts=True)
  assert len(count) == 20
  # Mean 120; the partition and the draw without repetition narrow the spread.
  assert (np.abs(count - 120) < 5 * math.sqrt(120)).all()


@pytest.mark.parametrize('num_labels', [1, 3, 7])
def test_disjoint_subsets_are_a_partition(num_labels):
  found = subsets(num_labels, overlap=False)
  size = min(3, num_labels)
  blocks = math.ceil(num_labels / size)
  assert found.shape == (blocks, size)
  spare = [num_labels] * (blocks * size - num_labels)
  assert sorted(found.ravel()) == [*range(num_labels), *spare]
  assert (found[:-1] < num_labels).all()


def test_runs_draw_their_own():
  assert not np.array_equal(subsets(9, 0), subsets(9, 1))
  assert np.array_equal(subsets(9, 0), subsets(9, 0))


@pytest.mark.slow
@pytest.mark.parametrize('overlap', [False, True])
def test_marginals_and_objective_are_those_of_the_models(overlap):
  head, params, h, y = made(overlap=overlap)
  models = models_of(params, h, 5)
  votes = [[] for _ in range(5)]
  where = np.ones((4, 5), bool)
  where[1, 2] = where[3] = False
  whole, masked = np.zeros(4), np.zeros(4)
  for labels, q in models:
    for i, j in enumerate(labels):
      votes[j].append(sum(p for z, p in q.items() if z[i]))
    for b in range(4):
      nll = -np.log(q[tuple(np.asarray(y)[b, labels].astype(int))][b])
      whole[b] += nll
      masked[b] += nll * where[b, labels].all()
  p = np.stack([np.mean(v, axis=0) for v in votes], axis=1)

  def ask(params, h, y, where):
    return (
      head.marginals(params, h),
      head.logits(params, h, y),
      head.objective(params, h, Batch(h, y)),
      head.objective(params, h, Batch(h, y, where)),
    )

  found = quick_jit(ask)(params, h, y, jnp.asarray(where))
  np.testing.assert_allclose(found[0], p, rtol=1e-5)
  np.testing.assert_allclose(found[1], np.log(p / (1 - p)), atol=2e-5)
  np.testing.assert_allclose(found[2], whole, rtol=1e-5)
  np.testing.assert_allclose(found[3], masked, rtol=1e-5)
  assert masked[3] == 0


def test_disjoint_subsets_train_by_likelihood():
  head, params, h, y = made(overlap=False)
  np.testing.assert_allclose(
    quick_jit(head.objective)(params, h, Batch(h, y)),
    -quick_jit(head.log_prob)(params, h, y),
    rtol=1e-6,
  )


def test_overlapping_subsets_have_no_joint():
  head = random_k_labelsets(5)
  given = {f for f in head._fields[4:] if callable(getattr(head, f))}
  assert given == {'logits', 'marginals', 'objective'}


@pytest.mark.slow
def test_subsets_of_one_label_are_binary_relevance():
  head, params, h, y = made(size=1, overlap=False)
  order = np.argsort(np.asarray(params['frozen']['labels'])[:, 0])
  difference = {
    name: jnp.diff(params[name].reshape(-1, 5, 2), axis=-1)[:, order, 0]
    for name in ('kernel', 'bias')
  }
  difference['bias'] = difference['bias'][0]
  plain = binary_relevance(5)
  np.testing.assert_allclose(
    quick_jit(head.log_prob)(params, h, y),
    quick_jit(plain.log_prob)(difference, h, y),
    rtol=1e-5,
  )


def test_dependence_inside_a_block_depends_on_it_alone():
  head, params, h, y = made(overlap=False)
  block = np.asarray(params['frozen']['labels'])[0]
  others = [j for j in range(5) if j not in block]
  changed = y.at[:, jnp.asarray(others)].set(1 - y[:, jnp.asarray(others)])
  conditional = quick_jit(head.conditional)
  one, other = conditional(params, h, y), conditional(params, h, changed)
  np.testing.assert_array_equal(one[:, block], other[:, block])
  assert (np.abs(one[:, others] - other[:, others]) > 1e-4).any()


@pytest.mark.slow
@pytest.mark.parametrize(('num_labels', 'overlap'), [(983, True), (174, False)])
def test_many_labels(num_labels, overlap):
  head, params, h, y = made(num_labels, overlap=overlap)
  assert np.isfinite(quick_jit(head.objective)(params, h, Batch(h, y))).all()
  p = quick_jit(head.marginals)(params, h)
  assert p.shape == (4, num_labels)
  assert ((p > 0) & (p < 1)).all()
  if not overlap:
    mode = quick_jit(head.mode)(params, h)
    log_prob = quick_jit(head.log_prob)
    assert (log_prob(params, h, mode) >= log_prob(params, h, y)).all()


def learned(head, h, y, steps=200):
  """The head's own objective (or likelihood), minimised by Adam."""
  params = head.init(jax.random.key(0), h, y)
  frozen = {k: v for k, v in params.items() if k == 'frozen'}
  trained = {k: v for k, v in params.items() if k != 'frozen'}
  optimizer = optax.adam(0.05)

  def loss(trained):
    params = {**trained, **frozen}
    if head.objective is not None:
      return head.objective(params, h, Batch(h, y)).mean()
    return -head.log_prob(params, h, y).mean()

  def step(state, _):
    trained, moments = state
    updates, moments = optimizer.update(jax.grad(loss)(trained), moments)
    return (optax.apply_updates(trained, updates), moments), None

  state = (trained, optimizer.init(trained))
  (trained, _), _ = jax.lax.scan(step, state, None, length=steps)
  return {**trained, **frozen}


@pytest.mark.slow
def test_it_learns_what_binary_relevance_cannot():
  """Label 1 is the opposite of label 0, and 2 is on when h says so."""
  rng = np.random.default_rng(0)
  h = rng.normal(size=(600, DIM))
  first = rng.random(600) < 0.5
  y = np.stack([first, ~first, rng.random(600) < 1 / (1 + np.exp(-h[:, 0]))], 1)
  h, y = jnp.asarray(h, jnp.float32), jnp.asarray(y, jnp.float32)
  nll = {}
  for head in (binary_relevance(3), random_k_labelsets(3, overlap=False)):
    params = quick_jit(functools.partial(learned, head))(h[:300], y[:300])
    nll[head.name] = -head.log_prob(params, h[300:], y[300:]).mean()
  # Two coins against one.
  gain = nll['binary_relevance'] - nll['random_k_labelsets']
  np.testing.assert_allclose(gain, np.log(2), atol=0.1)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'size': 9}, 'label_powerset'),
    ({'size': 0}, 'size=0'),
    ({'models': 2}, 'takes 3 to 35'),
    ({'models': 36}, 'takes 3 to 35'),
    ({'models': 4, 'overlap': False}, 'takes 3 to 3'),
  ],
)
def test_options_that_make_no_sense_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    random_k_labelsets(7, **options)
