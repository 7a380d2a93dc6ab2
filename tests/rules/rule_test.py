"""What a rule says, held against what its words mean."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import rules as rule_set

NAMES = ('A', 'B', 'C', 'D')
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def test_every_form_means_what_it_says(brute):
  """Each text against a predicate on the label vector."""
  meanings = {
    'exclusive: A, B, C': lambda a, b, c, d: a + b + c <= 1,
    'A -> B': lambda a, b, c, d: not a or b,
    'A, B -> C, D': lambda a, b, c, d: not (a and b) or (c and d),
    'A, B -> C | D': lambda a, b, c, d: not (a and b) or c or d,
    'A, not B -> not C, D': lambda a, b, c, d: (
      not (a and not b) or (not c and d)
    ),
    'not A -> B | not C | D': lambda a, b, c, d: a or b or not c or d,
    'A -> not A': lambda a, b, c, d: not a,
    'at least 1 of: *': lambda a, b, c, d: a or b or c or d,
    'at least 2 of: A, C, D': lambda a, b, c, d: a + c + d >= 2,
    'at most 2 of: A, C, D': lambda a, b, c, d: a + c + d <= 2,
    'exactly 1 of: C, D': lambda a, b, c, d: c + d == 1,
    'between 1 and 2 of: B, C, D': lambda a, b, c, d: 1 <= b + c + d <= 2,
    'require: A, D': lambda a, b, c, d: a and d,
    'forbid: B': lambda a, b, c, d: not b,
    'forbid: A, B, C': lambda a, b, c, d: not (a and b and c),
    'forbid exactly: A, D': lambda a, b, c, d: (a, b, c, d) != (1, 0, 0, 1),
  }
  vectors = brute.vectors(4)
  made = rule_set.parse('\n'.join(meanings), NAMES)
  found = rule_set.violations(rule_set.compiled(made, 4), vectors)
  expected = [
    [not meaning(*map(int, y)) for meaning in meanings.values()]
    for y in vectors
  ]
  np.testing.assert_array_equal(found, expected)
  # None of them is empty, so that the comparison says something.
  assert found.any(axis=0).all()
  assert not found.all(axis=0).any()
  assert [rule.text for rule in made] == list(meanings)


def test_arrays_agree_with_the_terms_of_random_rules(brute):
  rng = np.random.default_rng(0)
  for num_labels in range(2, 7):
    rules = [brute.rule(rng, num_labels) for _ in range(20)]
    arrays = rule_set.compiled(rules, num_labels, size=23)
    found = rule_set.violations(arrays, brute.vectors(num_labels))
    assert found.shape == (2**num_labels, 23)
    for r, rule in enumerate(rules):
      kept = brute.possible([rule], num_labels)
      np.testing.assert_array_equal(found[:, r], ~kept)
    # What only fills up is never broken.
    assert not found[:, 20:].any()


def test_jitted_stacked_and_of_any_batch(brute):
  rng = np.random.default_rng(1)
  sets = [[brute.rule(rng, 5) for _ in range(n)] for n in (3, 0, 2)]
  together = rule_set.stacked(sets, 5)
  assert together.matrix.shape == (3, 3, 5)
  y = jnp.asarray(rng.integers(0, 2, (3, 4, 2, 5)), jnp.float32)
  found = quick_jit(
    lambda *given: jax.lax.map(lambda one: rule_set.violations(*one), given)
  )(together, y)
  for run, rules in enumerate(sets):
    alone = rule_set.violations(rule_set.compiled(rules, 5), np.asarray(y[run]))
    np.testing.assert_array_equal(found[run, ..., : len(rules)], alone)
    assert not found[run, ..., len(rules) :].any()
  assert rule_set.allowed(rule_set.compiled([], 5)).all()


def test_a_hierarchy_is_an_implication_an_edge(brute):
  edges = np.zeros((4, 4), bool)
  edges[[1, 2, 3, 3], [0, 0, 1, 2]] = True
  rules = rule_set.of_hierarchy(edges, NAMES)
  assert [r.text for r in rules] == ['B -> A', 'C -> A', 'D -> B', 'D -> C']
  y = brute.vectors(4)
  orphan = ((y[:, :, None] > y[:, None, :]) & edges).any(axis=(1, 2))
  np.testing.assert_array_equal(brute.possible(rules, 4), ~orphan)


@pytest.mark.parametrize(
  ('low', 'high'), [(None, 3), (0, None), (0, 3), (4, None), (2, 1)], ids=str
)
def test_a_number_of_labels_that_says_nothing_is_refused(low, high):
  with pytest.raises(rule_set.RuleError, match='of 3 labels is'):
    rule_set.between([0, 1, 2], low, high, NAMES)
