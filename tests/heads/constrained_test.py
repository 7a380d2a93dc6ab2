"""Conditioning on rules, against cutting and scaling the table by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import decoding
from mlc import rules as rule_set
from mlc.base import Batch, MissingCapabilityError
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.classifier_chain import classifier_chain
from mlc.heads.constrained import constrained, keeping, with_rules
from mlc.heads.enumerated import enumerated
from mlc.heads.hierarchical import hierarchical
from mlc.heads.softmax import softmax
from mlc.losses import nll

SETS, ROWS = 24, 4
SIZES = (3, 5, 7)
DRAWS = 4000
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def vectors(num_labels):
  codes = np.arange(2**num_labels)[:, None]
  return ((codes >> np.arange(num_labels)) & 1).astype(float)


def tables_of(num_labels):
  """log p(y) [SETS, ROWS, 2^L]; some vectors are impossible."""
  rng = np.random.default_rng(num_labels)
  logits = 2.0 * rng.normal(size=(SETS, ROWS, 2**num_labels))
  logits[:, 0][rng.random(logits[:, 0].shape) < 0.5] = -np.inf
  logits[..., -1] = np.where(np.isneginf(logits[..., -1]), 0, logits[..., -1])
  total = np.log(np.exp(logits).sum(-1, keepdims=True))
  return jnp.asarray(logits - total, jnp.float32)


@pytest.fixture(scope='module', params=SIZES, ids=lambda n: f'{n}_labels')
def asked(request, random_rules):
  """(allowed, p before, answers) of 96 joints, each under rules of its own."""
  num_labels = request.param
  rng = np.random.default_rng(10 + num_labels)
  sets, possible = random_rules(rng, num_labels, SETS, 5)
  tables = tables_of(num_labels)
  base = enumerated('table', num_labels, lambda *_: None, lambda p, h: p)
  head = constrained(base, rule_set.compiled([], num_labels))
  y = jnp.asarray(rng.integers(0, 2, (SETS, ROWS, num_labels)), jnp.float32)

  def ask(given):
    table, rules, y = given
    params, h = with_rules(table, rules), jnp.zeros((ROWS, 1))
    return {
      'joint': head.joint(params, h),
      'marginals': head.marginals(params, h),
      'mode': head.mode(params, h),
      'log_prob': head.log_prob(params, h, y),
      'sample': head.sample(params, jax.random.key(0), h, 200),
      'keeping': keeping(base, table, h, rules),
      'subset_decode': rule_set.likeliest(base, table, h, rules),
    }

  arrays = rule_set.stacked(sets, num_labels)
  found = quick_jit(lambda *given: jax.lax.map(ask, given))(tables, arrays, y)
  codes = np.asarray(y).astype(int) @ 2 ** np.arange(num_labels)
  p = np.exp(np.asarray(tables, float))
  return num_labels, possible, p, codes, jax.device_get(found)


def conditioned(p, possible):
  """By hand; alike where nothing that is allowed has any probability."""
  cut = p * possible[:, None]
  mass = cut.sum(-1, keepdims=True)
  alike = possible[:, None] / possible.sum(-1)[:, None, None]
  return np.where(mass > 0, cut / np.where(mass > 0, mass, 1), alike), mass


@pytest.mark.slow
def test_the_joint_is_cut_and_sums_to_one(asked):
  _, possible, p, _, found = asked
  q = np.exp(found['joint'].astype(float))
  np.testing.assert_allclose(q.sum(-1), 1.0, atol=1e-5)
  assert (q[~np.broadcast_to(possible[:, None], q.shape)] == 0).all()
  expected, mass = conditioned(p, possible)
  np.testing.assert_allclose(q, expected, atol=2e-6)
  np.testing.assert_allclose(found['keeping'], mass[..., 0], atol=2e-6)


@pytest.mark.slow
def test_every_answer_is_that_of_the_conditioned_table(asked):
  num_labels, possible, p, codes, found = asked
  q, _ = conditioned(p, possible)
  np.testing.assert_allclose(
    found['marginals'], q @ vectors(num_labels), atol=2e-6
  )
  at_y = np.take_along_axis(q, codes[..., None], -1)[..., 0]
  np.testing.assert_allclose(np.exp(found['log_prob']), at_y, atol=2e-6)
  modes = found['mode'].astype(int) @ 2 ** np.arange(num_labels)
  best = np.take_along_axis(q, modes[..., None], -1)[..., 0]
  np.testing.assert_allclose(best, q.max(-1), atol=2e-6)
  # The mode is the best consistent vector of the head as it was.
  _, mass = conditioned(p, possible)
  same = mass[..., 0] > 0
  np.testing.assert_array_equal(
    found['mode'][same], found['subset_decode'][same]
  )


@pytest.mark.slow
def test_no_draw_breaks_a_rule(asked):
  num_labels, possible, _, _, found = asked
  codes = found['sample'].astype(int) @ 2 ** np.arange(num_labels)
  for allowed, drawn in zip(possible, codes, strict=True):
    assert allowed[drawn].all()


def fitted(head, rows=8, num_labels=4, scale=2.0):
  rng = np.random.default_rng(0)
  h = jnp.asarray(rng.normal(size=(rows, 3)), jnp.float32)
  y = jnp.asarray(rng.integers(0, 2, (rows, num_labels)), jnp.float32)
  params = quick_jit(head.init)(jax.random.key(0), h, y)
  inner = params.get('head', params)
  inner['kernel'] = scale * inner['kernel']
  return params, h, y


def stated(text, num_labels=4):
  names = tuple(f'y{j}' for j in range(num_labels))
  return rule_set.compiled(rule_set.parse(text, names), num_labels)


@pytest.mark.slow
def test_without_rules_it_is_the_head_itself():
  base = classifier_chain(4)
  head = constrained(base, stated(''))
  params, h, y = fitted(head)
  names = ('marginals', 'mode', 'joint', 'cardinality_marginals')

  @quick_jit
  def ask(params, h, y):
    return [
      [getattr(one, name)(p, h) for name in names] + [one.log_prob(p, h, y)]
      for one, p in ((head, params), (base, params['head']))
    ]

  for mine, its in zip(*ask(params, h, y), strict=True):
    np.testing.assert_allclose(mine, its, atol=1e-5)


def test_it_can_be_trained_and_the_rules_are_frozen():
  """Gradients are finite, also where a label vector is ruled out."""
  head = constrained(binary_relevance(4), stated('at most 2 of: *'))
  params, h, y = fitted(head)
  y = y.at[0].set(1.0)
  assert not head.support(np.asarray(y))[0]

  def loss(weights):
    changed = {**params, 'head': weights}
    each = nll().apply(head, changed, h[1:], Batch(h[1:], y[1:]))
    return jnp.sum(jnp.where(head.support(np.asarray(y))[1:], each, 0.0))

  gradient = quick_jit(jax.grad(loss))(params['head'])
  leaves = jax.tree.leaves(gradient)
  assert all(np.isfinite(leaf).all() for leaf in leaves)
  assert any(np.abs(leaf).max() > 0.1 for leaf in leaves)


TEXT = 'exclusive: y0, y1\ny2 -> y3\nat least 1 of: *'


@pytest.fixture(scope='module')
def pair():
  """A chain that lists its vectors and one that cannot, both conditioned."""
  full = classifier_chain(4)
  without = full._replace(joint=None, cardinality_marginals=None)
  exact = constrained(full, stated(TEXT))
  drawn = constrained(without, stated(TEXT), num_samples=DRAWS)
  params, h, y = fitted(exact)
  params['head']['links'] = jnp.triu(jnp.ones((4, 4)), 1)

  @quick_jit
  def ask(params, h, y):
    rate = functools.partial(keeping, num_samples=DRAWS)
    rules, inner = stated(TEXT), params['head']
    mode = exact.mode(params, h)
    found = drawn.mode(params, h)
    return {
      'marginals': (exact.marginals(params, h), drawn.marginals(params, h)),
      'conditional': tuple(
        head.conditional(params, h, y) for head in (exact, drawn)
      ),
      'rate': tuple(rate(head, inner, h, rules) for head in (full, without)),
      'joint': exact.joint(params, h),
      'sample': drawn.sample(params, jax.random.key(1), h, DRAWS),
      'mode': found,
      'log_p': tuple(exact.log_prob(params, h, y) for y in (mode, found)),
    }

  return drawn, jax.device_get(ask(params, h, y))


class TestRejection:
  """A head that cannot list its vectors, against one that can."""

  @pytest.mark.slow
  def test_marginals_are_near(self, pair):
    drawn, found = pair
    assert drawn.exactness['marginals'] == 'estimated'
    p, mine = found['marginals']
    rate = found['rate'][0][:, None]
    # Five standard errors of as many draws as are accepted.
    error = np.sqrt(p * (1 - p) / (DRAWS * rate))
    assert (np.abs(mine - p) < 5 * error + 1e-6).all()

  @pytest.mark.slow
  def test_the_acceptance_rate_is_the_probability_of_the_rules(self, pair):
    exact, drawn = pair[1]['rate']
    assert (np.abs(drawn - exact) < 5 * np.sqrt(0.25 / DRAWS)).all()
    assert (exact < 0.95).any()

  @pytest.mark.slow
  def test_draws_follow_the_conditioned_distribution(self, pair):
    y, p = pair[1]['sample'], np.exp(pair[1]['joint'])
    assert not rule_set.violations(stated(TEXT), y).any()
    codes = y.astype(int) @ 2 ** np.arange(4)
    for b in range(len(p)):
      share = np.bincount(codes[:, b], minlength=16) / DRAWS
      # Draws are taken from those accepted, which are draws too.
      rate = pair[1]['rate'][0][b]
      error = np.sqrt(p[b] * (1 - p[b]) * (1 + 1 / rate) / DRAWS)
      assert (np.abs(share - p[b]) < 5 * error + 1e-6).all()

  def test_mode_and_conditional(self, pair):
    drawn, found = pair
    assert drawn.exactness['mode'] == 'searched'
    assert not rule_set.violations(stated(TEXT), found['mode']).any()
    # Among 64 draws of 16 vectors is the best.
    np.testing.assert_allclose(*found['log_p'], atol=1e-5)
    np.testing.assert_allclose(*found['conditional'], atol=1e-5)

  def test_what_it_cannot_know_it_does_not_give(self, pair):
    for name in ('log_prob', 'joint', 'partial', 'cardinality_marginals'):
      assert getattr(pair[0], name) is None

  @pytest.mark.slow
  def test_a_row_that_no_draw_serves_is_answered_without_rules(self):
    """As far as it goes: where nothing is accepted nothing is known."""
    base = binary_relevance(4)._replace(joint=None)
    head = constrained(base, stated('require: y0'), num_samples=50)
    params, h, _ = fitted(head)
    params['head']['bias'] = jnp.asarray([-200.0, 0, 0, 0])
    np.testing.assert_allclose(
      quick_jit(head.marginals)(params, h), base.marginals(params['head'], h)
    )
    made = decoding.within(decoding.threshold())
    state = decoding.given(
      {'x': made.fit(head, params, h, h)}, stated('require: y0')
    )
    # Decided among the allowed all the same.
    assert made.decide(head, params, h, state['x'])[:, 0].all()


def test_classes_stay_classes():
  head = constrained(softmax(4), stated('forbid: y1'))
  params, h, _ = fitted(head)
  assert head.one_hot
  p = np.array(softmax(4).marginals(params['head'], h))
  p[:, 1] = 0
  np.testing.assert_allclose(
    head.marginals(params, h), p / p.sum(-1, keepdims=True), atol=1e-6
  )


def test_a_head_without_joint_and_draws_is_refused():
  hierarchy = np.zeros((4, 4), bool)
  hierarchy[1, 0] = True
  with pytest.raises(MissingCapabilityError, match=r'neither.*repair'):
    constrained(hierarchical(4, hierarchy), stated('y0 -> y1'))
  with pytest.raises(ValueError, match='num_samples=0'):
    constrained(binary_relevance(4), stated('y0 -> y1'), num_samples=0)
