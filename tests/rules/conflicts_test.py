"""Contradictions, against trying every label vector and every set of rules."""

import itertools

import numpy as np
import pytest

from mlc import rules as rule_set


@pytest.mark.slow
def test_smallest_conflicts_are_those_of_trying_every_set(brute):
  """Random rules of which most sets contradict themselves."""
  rng = np.random.default_rng(0)
  sizes = []
  for _ in range(60):
    num_labels = int(rng.integers(2, 5))
    rules = [brute.rule(rng, num_labels) for _ in range(8)]
    size = brute.smallest(rules, num_labels)
    assert rule_set.satisfiable(rules, num_labels) == (size is None)
    if size is None:
      continue
    found = rule_set.smallest_conflict(rules, num_labels)
    assert len(found) == len(set(found)) == size
    chosen = [rules[i] for i in found]
    assert not brute.possible(chosen, num_labels).any()
    sizes.append(size)
  # Not only contradictions of two.
  assert len(set(sizes)) >= 3


def test_labels_that_can_never_be_on(brute):
  rng = np.random.default_rng(1)
  seen = 0
  for _ in range(40):
    num_labels = int(rng.integers(2, 7))
    rules = brute.satisfiable(rng, num_labels, 5)
    kept = brute.vectors(num_labels)[brute.possible(rules, num_labels)]
    wanted = np.flatnonzero(kept.sum(axis=0) == 0).tolist()
    assert rule_set.never_on(rules, num_labels) == wanted
    seen += bool(wanted)
  assert seen >= 3


def test_a_conflict_is_told_in_full_and_no_more():
  names = ('Dog', 'Animal', 'Plant', 'Cat')
  text = """
    Dog -> Animal
    Cat -> Animal
    exclusive: Animal, Plant
    at least 1 of: *
    require: Dog, Plant
  """
  rules = rule_set.parse(text, names, where='zoo.rules')
  with pytest.raises(rule_set.RuleError) as caught:
    rule_set.refuse_conflict(rules, names)
  said = str(caught.value)
  assert 'these 3 rules together' in said
  for line in (2, 4, 6):
    assert f'(zoo.rules:{line})' in said
  assert 'Cat' not in said
  rule_set.refuse_conflict(rules[:-1], names)


def test_one_rule_may_contradict_itself():
  rules = rule_set.parse('A -> B\nnot A -> A\nA -> not A', ('A', 'B'))
  assert len(rule_set.smallest_conflict(rules, 2)) == 2
  with pytest.raises(rule_set.RuleError, match='these 2 rules'):
    rule_set.refuse_conflict(rules, ('A', 'B'))


def test_a_thousand_labels_in_a_second_or_so():
  """A hierarchy with one contradiction in it."""
  names = tuple(f'l{j}' for j in range(1000))
  edges = np.zeros((1000, 1000), bool)
  child = np.arange(1, 1000)
  edges[child, (child - 1) // 2] = True
  rules = rule_set.of_hierarchy(edges, names)
  rules += rule_set.parse('require: l999\nforbid: l3', names)
  # 999 -> 499 -> 249 -> 124 -> 61 -> 30 -> 14: not below label 3.
  assert rule_set.satisfiable(rules, 1000)
  rules += rule_set.parse('forbid: l14', names)
  path = [999]
  while path[-1] != 14:
    path.append((path[-1] - 1) // 2)
  found = [rules[i].text for i in rule_set.smallest_conflict(rules, 1000)]
  steps = [f'l{a} -> l{b}' for a, b in itertools.pairwise(path)]
  assert set(found) == {'require: l999', 'forbid: l14', *steps}
