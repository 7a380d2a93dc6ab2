"""The formulas of both kinds, written out label by label."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from mlc import distribution
from mlc.base import Batch
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.hierarchical import hierarchical

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
conditional = functools.partial(hierarchical, kind='conditional')
exclusive = functools.partial(conditional, siblings='exclusive')


def edges(num_labels, *pairs):
  hierarchy = np.zeros((num_labels, num_labels), bool)
  for child, parent in pairs:
    hierarchy[child, parent] = True
  return hierarchy


# Labels on purpose not in an order of the graph: 4 above all, 0 below both 2
# and 3, 5 and 1 alone.
DIAMOND = edges(6, (2, 4), (3, 4), (0, 2), (0, 3), (5, 1))
TREE = edges(6, (2, 4), (3, 4), (0, 2), (5, 1))


def random_dag(num_labels, share, seed):
  rng = np.random.default_rng(seed)
  order = rng.permutation(num_labels)
  lower = np.tril(rng.random((num_labels, num_labels)) < share, -1)
  return lower[np.ix_(order, order)]


def random_tree(num_labels, seed):
  rng = np.random.default_rng(seed)
  order = rng.permutation(num_labels)
  parents = [int(rng.integers(j)) for j in range(1, num_labels)]
  pairs = [(order[j + 1], order[i]) for j, i in enumerate(parents)]
  return edges(num_labels, *pairs)


def descendants(hierarchy):
  """D(j) by walking down, j included."""
  found = []
  for j in range(len(hierarchy)):
    below, new = {j}, {j}
    while new:
      new = {c for p in new for c in np.flatnonzero(hierarchy[:, p])} - below
      below |= new
    found.append(sorted(below))
  return found


def at_scores(f):
  """Parameters with which the logits are f for h = identity rows."""
  f = jnp.asarray(f, jnp.float32)
  params = {'kernel': f, 'bias': jnp.zeros(f.shape[1])}
  return params, jnp.eye(len(f))


def asked(head, f, *names, y=None):
  """What the head answers with logits f, all in one program."""
  params, h = at_scores(f)
  given = {'log_prob', 'conditional'}

  def ask(params, h, y):
    return [
      getattr(head, name)(params, h, *([y] if name in given else []))
      for name in names
    ]

  y = None if y is None else jnp.asarray(y, jnp.float32)
  return [np.asarray(answer) for answer in quick_jit(ask)(params, h, y)]


def objective(head, f, y, where=None):
  params, h = at_scores(f)

  def ask(params, h, y, where):
    return head.objective(params, h, Batch(h, y, where))

  y = jnp.asarray(y, jnp.float32)
  where = None if where is None else jnp.asarray(where)
  return quick_jit(ask)(params, h, y, where)


def scores(num_labels, rows=4, seed=0):
  rng = np.random.default_rng(seed)
  return 2.0 * rng.normal(size=(rows, num_labels))


def vectors(num_labels):
  return np.asarray(distribution.label_vectors(num_labels))


# The max constraint.


@pytest.mark.slow
@pytest.mark.parametrize('hierarchy', [DIAMOND, TREE, random_dag(6, 0.5, 1)])
def test_max_constraint_and_its_loss_are_the_papers(hierarchy):
  f = scores(6)
  p = expit(f)
  y = (np.random.default_rng(3).random((4, 6)) < 0.5).astype(float)
  below = descendants(hierarchy)
  mcm = np.stack([p[:, d].max(axis=1) for d in below], axis=1)
  loss = np.zeros(4)
  for j, d in enumerate(below):
    positive = (y[:, d] * p[:, d]).max(axis=1)
    on = y[:, j] == 1
    loss[on] -= np.log(positive[on])
    loss[~on] -= np.log(1.0 - mcm[~on, j])
  head = hierarchical(6, hierarchy)
  np.testing.assert_allclose(asked(head, f, 'marginals')[0], mcm, rtol=1e-5)
  np.testing.assert_allclose(objective(head, f, y), loss, rtol=1e-5)
  # Known labels only: the terms of the others are left out.
  where = np.zeros((4, 6), bool)
  where[:, 2] = True
  found = objective(head, f, y, where)
  y_2, positive = y[:, 2], (y * p)[:, below[2]].max(axis=1)
  expected = np.where(y_2 == 1, positive, 1.0 - mcm[:, 2])
  np.testing.assert_allclose(found, -np.log(expected), rtol=1e-5)


@pytest.mark.parametrize('seed', range(3))
def test_no_label_is_likelier_than_its_parents(seed):
  hierarchy = random_dag(12, 0.25, seed)
  for factory in (hierarchical, conditional):
    head = factory(12, hierarchy)
    (p,) = asked(head, scores(12, 50), 'marginals')
    for child, parent in np.argwhere(hierarchy):
      assert (p[:, child] <= p[:, parent] + 1e-7).all()


def test_a_positive_label_does_not_lean_on_a_negative_descendant():
  """The case for which the paper has its loss: y_0 = 1, y_1 = 0, f_1 > f_0."""
  head = hierarchical(2, edges(2, (1, 0)))
  y = jnp.asarray([[1.0, 0.0]])

  def own(f):
    return head.objective(*at_scores(f), Batch(jnp.eye(1), y))[0]

  def plain(f):
    p = jax.nn.sigmoid(head.logits(*at_scores(f)))
    return -jnp.log(p[0, 0]) - jnp.log(1.0 - p[0, 1])

  f = jnp.asarray([[0.2, 1.0]])
  p = expit(np.asarray(f))[0]
  # -log p_0 - log(1 - p_1): each label is moved by itself alone.
  by_own, by_plain = quick_jit(
    lambda f: (jax.grad(own)(f), jax.grad(plain)(f))
  )(f)
  np.testing.assert_allclose(by_own[0], [p[0] - 1, p[1]], rtol=1e-5)
  # -log p_1 - log(1 - p_1): nothing teaches f_0.
  np.testing.assert_allclose(by_plain[0], [0.0, 2 * p[1] - 1], atol=1e-6)


# The joint.


def product_over_the_graph(f, hierarchy):
  """p(y) of independent siblings, [rows, 2^L]."""
  p = expit(f)
  table = np.ones((len(f), 2 ** f.shape[1]))
  for c, y in enumerate(vectors(f.shape[1])):
    for j in range(f.shape[1]):
      if all(y[hierarchy[j]] == 1):
        table[:, c] *= p[:, j] if y[j] else 1.0 - p[:, j]
      elif y[j]:
        table[:, c] = 0.0
  return table


def softmax_by_family(f, hierarchy):
  """p(y) of exclusive siblings, [rows, 2^L]."""
  num_labels = f.shape[1]
  groups = [np.flatnonzero(~hierarchy.any(axis=1))]
  groups += [np.flatnonzero(hierarchy[:, p]) for p in range(num_labels)]
  table = np.zeros((len(f), 2**num_labels))
  for c, y in enumerate(vectors(num_labels)):
    mass, allowed = np.ones(len(f)), True
    for parent, group in zip([None, *range(num_labels)], groups, strict=True):
      on = [j for j in group if y[j]]
      if parent is not None and not y[parent]:
        allowed &= not on
        continue
      allowed &= len(on) <= 1
      weight = np.exp(f[:, on[0]]) if on else 1.0
      mass = mass * weight / (1.0 + np.exp(f[:, group]).sum(axis=1))
    table[:, c] = mass * allowed
  return table


CASES = [
  (conditional, DIAMOND, product_over_the_graph),
  (conditional, TREE, product_over_the_graph),
  (conditional, random_dag(6, 0.4, 7), product_over_the_graph),
  (exclusive, TREE, softmax_by_family),
  (exclusive, edges(6), softmax_by_family),
  (exclusive, random_tree(6, 2), softmax_by_family),
]


@pytest.mark.slow
@pytest.mark.parametrize(('factory', 'hierarchy', 'law'), CASES)
def test_the_joint_is_what_the_formula_says(factory, hierarchy, law):
  f, y = scores(6), vectors(6)
  head = factory(6, hierarchy)
  expected = law(f, hierarchy)
  np.testing.assert_allclose(expected.sum(axis=1), 1.0)
  joint, mode, marginals, logits = asked(
    head, f, 'joint', 'mode', 'marginals', 'logits'
  )
  np.testing.assert_allclose(np.exp(joint), expected, rtol=1e-4, atol=1e-8)
  np.testing.assert_array_equal(np.isneginf(joint), expected == 0)
  possible = head.support(vectors(6))
  assert type(possible) is np.ndarray  # nothing compiled
  np.testing.assert_array_equal(possible, expected.max(axis=0) > 0)
  np.testing.assert_array_equal(mode, y[expected.argmax(axis=1)])
  np.testing.assert_allclose(marginals, expected @ y, rtol=1e-4)
  np.testing.assert_allclose(expit(logits), expected @ y, rtol=1e-4)


def of_vector(table, y):
  codes = np.asarray(y).astype(int) @ 2 ** np.arange(y.shape[1])
  return table[np.arange(len(y)), codes]


@pytest.mark.slow
@pytest.mark.parametrize(('factory', 'hierarchy', 'law'), CASES)
def test_beyond_the_table_all_is_as_good(factory, hierarchy, law, monkeypatch):
  monkeypatch.setattr(distribution, 'MAX_TABLE_LABELS', 2)
  f = scores(6, rows=300, seed=5)
  head = factory(6, hierarchy)
  table = law(f, hierarchy)
  assert head.joint is None
  some = vectors(6)[table.argsort(axis=1)[:, -3]]
  mode, greedy, q = asked(head, f, 'mode', 'greedy', 'conditional', y=some)
  best = table.max(axis=1)
  found, short = of_vector(table, mode), of_vector(table, greedy)
  if (hierarchy.sum(axis=1) <= 1).all():
    assert head.exactness['mode'] == 'closed-form'
    np.testing.assert_allclose(found, best, rtol=1e-4)
  else:
    assert head.exactness['mode'] == 'searched'
    assert (found >= short * (1 - 1e-5)).all()
    assert np.mean(found >= best * (1 - 1e-4)) > 0.95
    assert np.mean(short >= best * (1 - 1e-4)) < 0.93
  for j in range(6):
    on, off = some.copy(), some.copy()
    on[:, j], off[:, j] = 1, 0
    on, off = of_vector(table, on), of_vector(table, off)
    np.testing.assert_allclose(q[:, j], on / (on + off), atol=1e-5)


def test_equal_siblings_are_not_both_chosen():
  f = [[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]]
  expected = [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
  for found in asked(exclusive(3, edges(3)), f, 'greedy', 'mode'):
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_extreme_scores_stay_finite():
  f = [[300.0, -300.0, 300.0, -300.0, 300.0, -300.0]]
  y = jnp.asarray([[0.0, 0.0, 1.0, 0.0, 1.0, 0.0]])
  for factory in (hierarchical, conditional, exclusive):
    head = factory(6, TREE)
    params, h = at_scores(f)

    def loss(params, head=head, h=h):
      return head.objective(params, h, Batch(h, y))[0]

    value, gradient = quick_jit(jax.value_and_grad(loss))(params)
    assert np.isfinite(value)
    assert np.isfinite(gradient['kernel']).all()
    assert np.isfinite(asked(head, f, 'logits')[0]).all()


# Size.


def test_one_label_is_binary_relevance():
  none = np.zeros((1, 1), bool)
  f = scores(1)
  params, h = at_scores(f)
  y = jnp.asarray([[0.0], [1.0], [1.0], [0.0]])
  expected = np.asarray(binary_relevance(1).log_prob(params, h, y))
  for factory in (hierarchical, conditional, exclusive):
    head = factory(1, none)
    np.testing.assert_allclose(
      asked(head, f, 'marginals')[0], expit(f), rtol=1e-5
    )
    np.testing.assert_allclose(objective(head, f, y), -expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('num_labels', [174, 983])
def test_many_labels_in_seconds(num_labels):
  hierarchy = random_tree(num_labels, 0)
  h = np.random.default_rng(0).normal(size=(64, 20)).astype(np.float32)
  y = jnp.zeros((64, num_labels))
  for factory in (hierarchical, conditional, exclusive):
    head = factory(num_labels, hierarchy)

    def ask(params, h, head=head):
      def loss(params):
        return jnp.mean(head.objective(params, h, Batch(h, y)))

      answers = [head.marginals(params, h), jax.grad(loss)(params)]
      if head.mode is not None:
        sample = head.sample(params, jax.random.key(1), h, 3)
        mode = head.mode(params, h)
        gain = head.log_prob(params, h, mode)[None] - jnp.stack(
          [head.log_prob(params, h, y) for y in sample]
        )
        possible = jnp.concatenate([head.support(y) for y in (mode, *sample)])
        answers += [gain, possible]
      return answers

    params = head.init(jax.random.key(0), h, y)
    compiled = quick_jit(ask).lower(params, h).compile()
    began = time.perf_counter()
    answers = jax.block_until_ready(compiled(params, h))
    assert time.perf_counter() - began < 5.0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(answers))
    if head.mode is not None:
      gain, possible = answers[2:]
      assert possible.all()
      assert (gain >= 0).all()


# Refusals.


@pytest.mark.parametrize(
  ('hierarchy', 'options', 'says'),
  [
    (None, {}, 'none. Give one by nesting the <label> elements'),
    (edges(3), {}, r'shape \(3, 3\) for 4 labels'),
    (edges(4, (0, 1), (1, 0)), {}, '2 labels are their own ancestors'),
    (edges(4), {'siblings': 'exclusive'}, 'Choose kind=conditional'),
    (
      edges(4, (0, 1), (0, 2)),
      {'siblings': 'exclusive', 'kind': 'conditional'},
      'labels with several parents; take siblings=independent',
    ),
  ],
)
def test_what_cannot_be_is_refused(hierarchy, options, says):
  with pytest.raises(ValueError, match=says):
    hierarchical(4, hierarchy, **options)


def test_unknown_labels_are_for_the_max_constraint():
  batch = Batch(jnp.eye(2), jnp.zeros((2, 6)), jnp.ones((2, 6), bool))
  params, h = at_scores(scores(6, rows=2))
  with pytest.raises(ValueError, match='Choose kind=max_constraint'):
    conditional(6, TREE).objective(params, h, batch)
