"""What a network of masked labels claims, and which answers are whose."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc.base import Batch
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.masked_label import masked_label, shown_labels

ROWS, DIM, LABELS = 3, 5, 4
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
SMALL = {'width': 8, 'heads': 2, 'depth': 1}


def made(num_labels=LABELS, disturb=0.5, rows=ROWS, **options):
  head = masked_label(num_labels, **{**SMALL, **options})
  rng = np.random.default_rng(0)
  h = jnp.asarray(rng.normal(size=(rows, DIM)), jnp.float32)
  y = jnp.asarray(rng.random((rows, num_labels)) < 0.5, jnp.float32)
  params = quick_jit(head.init)(jax.random.key(0), h, y)
  params = jax.tree.map(
    lambda p: p + disturb * rng.normal(size=p.shape).astype(np.float32), params
  )
  return head, params, h, y


@pytest.mark.parametrize('num_labels', [1, 2, 9])
def test_up_to_three_quarters_of_the_labels_are_shown(num_labels):
  rows, most = 4000, int(0.75 * num_labels)
  show = quick_jit(shown_labels, static_argnums=(1, 2))
  shown = np.asarray(show(jax.random.key(0), rows, num_labels))
  count = np.bincount(shown.sum(-1), minlength=num_labels + 1) / rows
  expected = np.zeros(num_labels + 1)
  expected[: most + 1] = 1 / (most + 1)
  np.testing.assert_allclose(count, expected, atol=4 * 0.5 / rows**0.5)
  # No label is shown more often than another.
  share = most / 2 / num_labels
  np.testing.assert_allclose(shown.mean(0), share, atol=4 * 0.5 / rows**0.5)


@pytest.mark.slow
def test_it_starts_as_binary_relevance_whatever_is_known():
  head, params, h, y = made(disturb=0.0)
  alone = binary_relevance(LABELS).marginals(params['linear'], h)
  known = jnp.asarray(np.tri(ROWS, LABELS, dtype=bool))

  @quick_jit
  def ask(params):
    return (
      head.marginals(params, h),
      head.conditional(params, h, y),
      head.partial(params, h, y, known),
    )

  marginals, conditional, partial = ask(params)
  np.testing.assert_allclose(marginals, alone, rtol=1e-5)
  np.testing.assert_allclose(conditional, alone, rtol=1e-5)
  np.testing.assert_allclose(partial, jnp.where(known, y, alone), rtol=1e-5)


@pytest.mark.slow
def test_partial_holds_the_other_answers_and_never_sees_the_unknown():
  head, params, h, y = made()
  known = jnp.asarray(np.tri(ROWS, LABELS, dtype=bool))

  @quick_jit
  def ask(y, known):
    return head.partial(params, h, y, known)

  nothing, everything = known & False, known | True
  found = ask(y, known)
  np.testing.assert_array_equal(found, ask(jnp.where(known, y, 1.0 - y), known))
  np.testing.assert_array_equal(ask(y, everything), y)
  marginals = quick_jit(head.marginals)(params, h)
  np.testing.assert_allclose(ask(y, nothing), marginals, rtol=1e-5)
  conditional = quick_jit(head.conditional)(params, h, y)
  for j in range(LABELS):
    but_j = jnp.broadcast_to(jnp.arange(LABELS)[None] != j, y.shape)
    np.testing.assert_allclose(
      ask(y, but_j)[:, j], conditional[:, j], rtol=1e-5
    )
  np.testing.assert_array_equal(
    conditional[:, 0]
    == quick_jit(head.conditional)(params, h, y.at[:, 0].set(1.0 - y[:, 0]))[
      :, 0
    ],
    True,
  )


@pytest.mark.slow
@pytest.mark.parametrize('depth', [0, 1])
def test_a_label_hears_the_known_others_through_the_blocks_only(depth):
  head, params, h, y = made(depth=depth)

  def logits(y):
    return jax.scipy.special.logit(head.conditional(params, h[:1], y)[0])

  heard = jnp.abs(quick_jit(jax.jacobian(logits))(y[:1])[:, 0]) > 1e-6
  expected = np.ones((LABELS, LABELS)) - np.eye(LABELS) if depth else 0.0
  np.testing.assert_array_equal(heard, np.broadcast_to(expected, (4, 4)))


@pytest.mark.slow
def test_naming_labels_otherwise_changes_nothing_else():
  head, params, h, y = made()
  new = np.array([2, 0, 3, 1])
  known = jnp.asarray(np.tri(ROWS, LABELS, dtype=bool))
  renamed = {
    **params,
    'embedding': params['embedding'][new],
    'readout': params['readout'][new],
    'linear': jax.tree.map(lambda leaf: leaf[..., new], params['linear']),
  }
  partial, mode = quick_jit(head.partial), quick_jit(head.mode)
  np.testing.assert_allclose(
    partial(renamed, h, y[:, new], known[:, new]),
    partial(params, h, y, known)[:, new],
    rtol=1e-4,
  )
  np.testing.assert_array_equal(mode(renamed, h), mode(params, h)[:, new])


@pytest.mark.slow
def test_the_objective_is_the_cross_entropy_of_what_is_not_shown():
  head, params, h, y = made(9, dropout=0.0)
  where = jnp.asarray(np.random.default_rng(5).random((ROWS, 9)) < 0.7)
  key = jax.random.key(4)
  objective = quick_jit(head.objective)
  found = objective(params, h, Batch(h, y, where=where), key=key)
  shown = shown_labels(jax.random.split(key)[0], ROWS, 9)
  assert shown.any() and (~shown & where).any() and (shown & ~where).any()
  partial = quick_jit(head.partial)(params, h, y, shown & where)
  p = np.asarray(jnp.where(y > 0, partial, 1.0 - partial), np.float64)
  hidden = np.asarray(~shown & where)
  expected = -(np.log(p) * hidden).sum(-1)
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  # What the data do not know plays no part.
  garbage = Batch(h, jnp.where(where, y, 1.0 - y), where=where)
  np.testing.assert_array_equal(objective(params, h, garbage, key=key), found)
  other = objective(params, h, Batch(h, y, where=where), key=jax.random.key(5))
  assert (other != found).any()


@pytest.mark.slow
def test_mode_sets_the_surest_labels_first():
  """The same by a loop over passes, at two labels a pass."""
  head, params, h, _ = made(5, passes=3)
  partial = quick_jit(head.partial)
  y, known = np.zeros((ROWS, 5), np.float32), np.zeros((ROWS, 5), bool)
  for _ in range(3):
    p = np.array(partial(params, h, jnp.asarray(y), jnp.asarray(known)))
    for b in range(ROWS):
      left = np.flatnonzero(~known[b])
      for j in left[np.argsort(-np.abs(p[b, left] - 0.5))][:2]:
        y[b, j], known[b, j] = p[b, j] > 0.5, True
  assert known.all()
  np.testing.assert_array_equal(quick_jit(head.mode)(params, h), y)


@pytest.mark.slow
def test_draws_follow_the_recipe():
  """Without sweeps the product rule; a sweep moves labels given all others."""
  n = 20_000
  head, params, h, _ = made(3, rows=1, disturb=1.0, sweeps=0)
  partial, conditional = quick_jit(head.partial), quick_jit(head.conditional)
  vectors = np.array([[(c >> j) & 1 for j in range(3)] for c in range(8)])
  y = jnp.asarray(vectors, jnp.float32)
  rows = jnp.tile(h, (8, 1))
  law = np.ones(8)
  for j in range(3):
    known = jnp.broadcast_to(jnp.arange(3)[None] < j, y.shape)
    p = np.asarray(partial(params, rows, y, known))[:, j]
    law *= np.where(vectors[:, j] > 0, p, 1 - p)
  assert law.sum() == pytest.approx(1.0, abs=1e-5)
  move = np.eye(8)
  p = np.asarray(conditional(params, rows, y))
  for j in range(3):
    step = np.zeros((8, 8))
    for c in range(8):
      step[c, c | 1 << j] += p[c, j]
      step[c, c & ~(1 << j)] += 1 - p[c, j]
    move = move @ step
  assert np.abs(law @ move - law).max() > 0.03
  swept = masked_label(3, **SMALL, sweeps=1)
  for one, expected in ((head, law), (swept, law @ move)):
    sample = quick_jit(one.sample, static_argnums=3)
    draws = np.asarray(sample(params, jax.random.key(0), h, n))[:, 0]
    share = np.bincount((draws @ [1, 2, 4]).astype(int), minlength=8) / n
    np.testing.assert_allclose(share, expected, atol=4 * 0.5 / n**0.5)


@pytest.mark.slow
def test_it_learns_what_one_label_says_of_another():
  """y = (a, b, a xor b): known alone each says nothing, two say the third."""
  rng = np.random.default_rng(0)
  two = rng.random((512, 2)) < 0.5
  y = np.concatenate([two, two[:, :1] ^ two[:, 1:]], axis=1)
  y, h = jnp.asarray(y, jnp.float32), jnp.zeros((512, 1))
  head = masked_label(3, width=16, heads=2, depth=2, dropout=0.0)
  adam = optax.adam(optax.cosine_decay_schedule(0.01, 400))

  @quick_jit
  def fit(key):
    params = head.init(key, h, y)

    def step(carry, key):
      params, state = carry
      loss = lambda p: head.objective(p, h, Batch(h, y), key=key).mean()
      change, state = adam.update(jax.grad(loss)(params), state)
      return (optax.apply_updates(params, change), state), None

    carry = params, adam.init(params)
    keys = jax.random.split(key, 400)
    params = jax.lax.scan(step, carry, keys)[0][0]
    return head.marginals(params, h), head.conditional(params, h, y)

  marginals, conditional = fit(jax.random.key(0))
  assert jnp.abs(marginals - 0.5).max() < 0.1
  assert jnp.abs(conditional - y).max() < 0.1


def test_what_it_does_not_have():
  head = masked_label(4)
  for name in ('log_prob', 'joint', 'cardinality_marginals', 'greedy'):
    assert getattr(head, name) is None
  assert head.sample is not None
  assert masked_label(33).sample is None


@pytest.mark.slow
@pytest.mark.parametrize('num_labels', [174, 983])
def test_many_labels(num_labels):
  head, params, h, y = made(num_labels, rows=2, disturb=0.1)

  @quick_jit
  def ask(params):
    loss = lambda p: head.objective(p, h, Batch(h, y)).mean()
    return (
      jax.grad(loss)(params),
      head.marginals(params, h),
      head.mode(params, h),
    )

  gradient, marginals, mode = ask(params)
  assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
  assert ((marginals > 0) & (marginals < 1)).all()
  assert {*np.unique(mode)} == {0.0, 1.0}


@pytest.mark.parametrize(
  'options',
  [
    {'width': 6, 'heads': 4},
    {'depth': -1},
    {'feature_tokens': 0},
    {'passes': 0},
    {'sweeps': -1},
    {'dropout': 1.0},
  ],
)
def test_options_that_make_no_sense_are_refused(options):
  with pytest.raises(ValueError, match=f'{next(iter(options))}='):
    masked_label(4, **options)
