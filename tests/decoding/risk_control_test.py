"""The promises of controlled risk, over resamplings of a known world."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mlc import decoding, evaluation
from mlc import rules as rule_set
from mlc.base import Batch, Head
from mlc.decoding import risk_control
from mlc.encoders.identity import identity

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
POOL, LABELS, RESAMPLINGS = 2000, 4, 1000
HEAD = Head(
  'given',
  LABELS,
  {'marginals': 'closed-form'},
  init=lambda key, h, y, **_: (),
  marginals=lambda params, h, *, key=None: h,
)


@functools.cache
def pool():
  """Rows of a world, and what a model that is far too sure says of them."""
  rng = np.random.default_rng(0)
  shared = rng.normal(size=(POOL, 1))
  scores = shared + rng.normal(size=(POOL, LABELS)) - 0.5
  y = rng.random(scores.shape) < 1 / (1 + np.exp(-scores))
  p = 1 / (1 + np.exp(-3.0 * scores - 1.0))
  return p.astype(np.float32), y.astype(np.float32)


@functools.cache
def draws(rows: int):
  """Validation rows of every resampling, from the pool with replacement."""
  rng = np.random.default_rng(1)
  return rng.integers(0, POOL, (RESAMPLINGS, rows))


def implied(sets, p):
  """Label 0 implies label 1: nested sets stay nested."""
  del p
  return sets.at[..., 1].max(sets[..., 0])


def exclusive(sets, p):
  """Of labels 2 and 3 only the likelier: sets may shrink as they grow."""
  third = sets[..., 2] * (1.0 - sets[..., 3] * (p[..., 2] < p[..., 3]))
  fourth = sets[..., 3] * (1.0 - sets[..., 2] * (p[..., 2] >= p[..., 3]))
  return sets.at[..., 2].set(third).at[..., 3].set(fourth)


def fitted(decoder, rows):
  """The states of all resamplings, and their distinct thresholds' sets.

  The risk of a state is that of its threshold on the whole pool: rows drawn
  with replacement are rows of exactly that world.
  """
  p, y = map(jnp.asarray, pool())

  @jax.jit
  def fit(index):
    one = lambda index: decoder.fit(HEAD, (), p[index], y[index])
    return jax.lax.map(one, index, batch_size=50)

  @quick_jit
  def sets(thresholds):
    decide = lambda t: decoder.decide(
      HEAD, (), p, {'threshold': jnp.full(LABELS, t)}
    )
    return jax.lax.map(decide, thresholds)

  state = jax.device_get(fit(draws(rows)))
  thresholds, place = np.unique(state['threshold'][:, 0], return_inverse=True)
  return state, np.asarray(sets(thresholds)), place


def fnr(sets):
  _, y = pool()
  true = y.sum(axis=1)
  share = (sets * y).sum(axis=-1) / np.maximum(true, 1)
  return np.where(true > 0, 1.0 - share, 0.0).mean(axis=-1)


def f1_losses(sets):
  _, y = pool()
  both = y.sum(axis=1) + sets.sum(axis=-1)
  f1 = 2 * (sets * y).sum(axis=-1) / np.maximum(both, 1)
  return np.where(both > 0, 1.0 - f1, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize('finish', [None, implied, exclusive])
def test_the_expected_false_negative_rate_is_at_most_alpha(finish):
  alpha, rows = 0.2, 40
  decoder = risk_control.controlled(risk_control.fnr(alpha), finish)
  state, sets, place = fitted(decoder, rows)
  risk = fnr(sets)[place]
  error = risk.std() / math.sqrt(RESAMPLINGS)
  if finish is exclusive:
    # What is dropped of two true labels is missed at any threshold.
    assert fnr(sets).min() > 0.0
    risk = np.where(state['reached'], risk, 0.0)
  else:
    assert state['reached'].all()
    # Theorem 2 of the paper, and the step of the grid: it wastes little.
    assert risk.mean() > alpha - 2 / (rows + 1) - 0.01
  assert risk.mean() <= alpha + 3 * error
  assert (state['rows'] == rows).all()


@pytest.mark.slow
def test_the_threshold_is_the_highest_that_equation_4_allows():
  alpha, rows = 0.2, 40
  p, y = pool()
  state, _, _ = fitted(decoding.fnr_control(alpha), rows)
  for index, found in zip(draws(rows)[:20], state['threshold'], strict=False):

    def bound(t, index=index):
      sets, true = p[index] > t, y[index].sum(axis=1)
      hit = (sets * y[index]).sum(axis=1) / np.maximum(true, 1)
      risk = np.where(true > 0, 1 - hit, 0).mean()
      return rows / (rows + 1) * risk + 1 / (rows + 1)

    odds = math.log(found[0] / (1 - found[0]))
    assert bound(found[0]) <= alpha < bound(1 / (1 + math.exp(-odds - 0.0625)))


@pytest.mark.slow
def test_the_expected_f1_loss_is_at_most_alpha_with_the_stated_probability():
  # A little below the risk of one of the thresholds.
  alpha, delta, rows = 0.497, 0.1, 400
  p, _ = pool()
  state, sets, place = fitted(decoding.f1_control(alpha, delta), rows)
  broken = (f1_losses(sets).mean(axis=-1)[place] > alpha) & state['reached']
  allowed = delta + 3 * math.sqrt(delta * (1 - delta) / RESAMPLINGS)
  assert broken.mean() <= allowed
  assert state['reached'].mean() > 0.9
  # What looks small enough on these rows would break it far too often.
  every = p[None] > risk_control.f1(alpha).thresholds[:, None, None]
  losses = f1_losses(every)
  seen = losses[:, draws(rows)].mean(axis=-1)
  naive = losses.mean(axis=-1)[np.argmax(seen <= alpha, axis=0)]
  assert (naive > alpha).mean() > allowed


@pytest.mark.slow
def test_under_rules_the_risk_is_that_of_the_repaired_sets():
  """Repair drops one of two labels that exclude each other."""
  alpha, rows = 0.4, 200
  p, y = (jnp.asarray(a[:rows]) for a in pool())
  rules = rule_set.stacked(
    [rule_set.parse('exclusive: a, b', tuple('abcd'), where='test')], LABELS
  )
  rules = rule_set.Rules(*(jnp.asarray(part[0]) for part in rules))
  plain = decoding.fnr_control(alpha)
  decoder = decoding.repaired(plain)

  @quick_jit
  def decided(p, y):
    fit = lambda rules: evaluation.fit_decoders(
      identity(),
      HEAD,
      {decoder.name: decoder},
      {'encoder': {}, 'head': ()},
      Batch(p, y),
      jax.random.key(0),
      rules=rules,
    )
    out = []
    for state in (fit(rules), fit(None)):
      mine = decoding.given(state, rules)[decoder.name]
      out.append(decoder.decide(HEAD, (), p, mine))
    return out

  def bound(sets):
    true = y.sum(axis=1)
    hit = (sets * y).sum(axis=1) / jnp.maximum(true, 1)
    return (jnp.where(true > 0, 1 - hit, 0).sum() + 1) / (rows + 1)

  informed, unaware = decided(p, y)
  assert not (informed[:, 0] * informed[:, 1]).any()
  assert bound(informed) <= alpha < bound(unaware)


def test_too_few_rows_promise_nothing_and_every_label_is_predicted():
  p, y = map(jnp.asarray, pool())
  fit = quick_jit(
    lambda weight: decoding.fnr_control(0.1).fit(
      HEAD, (), p[:12], y[:12], weight=weight
    )
  )
  # 1 / (n + 1) <= 0.1 from nine rows on.
  for rows in (8, 9):
    state = fit((jnp.arange(12) < rows).astype(jnp.float32))
    assert state['reached'] == (rows == 9)
    assert state['least'] == pytest.approx(1 / (rows + 1))
  state = fit((jnp.arange(12) < 8).astype(jnp.float32))
  sets = decoding.fnr_control(0.1).decide(HEAD, (), p, state)
  assert sets.all()


def test_a_label_that_is_unknown_is_neither_hit_nor_missed():
  p, y = map(jnp.asarray, pool())
  p, y = p[:60], y[:60]
  unknown = jnp.arange(LABELS)[None, :] == jnp.arange(60)[:, None] % LABELS
  fit = quick_jit(functools.partial(decoding.fnr_control(0.2).fit, HEAD))
  one = fit((), p, y, where=~unknown)
  # Whatever stands there.
  other = fit((), p, jnp.where(unknown, 1 - y, y), where=~unknown)
  whole = fit((), p, y, where=jnp.ones_like(unknown))
  assert one['threshold'][0] == other['threshold'][0] != whole['threshold'][0]


@pytest.mark.slow
def test_counts_are_the_same_with_and_without_a_finish():
  p, y = (jnp.asarray(a[:30]) for a in pool())
  known = (jnp.arange(LABELS)[None, :] != jnp.arange(30)[:, None] % 7).astype(
    jnp.float32
  )
  thresholds = jnp.asarray([1.0, 0.9, 0.5, 0.2, 0.01, -1.0])
  fast = risk_control.counts_of(p, y, known, thresholds)
  slow = risk_control.counts_of(p, y, known, thresholds, lambda sets, p: sets)
  for one, other in zip(fast, slow, strict=True):
    np.testing.assert_array_equal(one, other)
  np.testing.assert_array_equal(fast.predicted[-1], known.sum(axis=1))
  np.testing.assert_array_equal(fast.predicted[0], 0.0)


def test_the_bound_of_a_risk_is_that_of_hoeffding_and_bentkus():
  level, rows = 0.01, 80
  risk = np.array([0.0, 0.05, 0.3, 0.8])
  bound = lambda r: risk_control.risk_bound(r, jnp.float32(rows), level)
  bounds = quick_jit(jax.vmap(bound))(jnp.asarray(risk, jnp.float32))

  def p_value(mean, r):
    kl = scipy.stats.entropy([mean, 1 - mean], [r, 1 - r])
    tail = scipy.stats.binom.cdf(math.ceil(rows * mean), rows, r)
    return min(math.exp(-rows * kl), math.e * tail)

  for mean, bound in zip(risk, np.asarray(bounds, float), strict=True):
    assert p_value(mean, bound + 1e-3) < level < p_value(mean, bound - 1e-3)
