"""Whether rules can be kept together, and which of them cannot.

Exact, by mixed-integer programming (HiGHS in scipy.optimize.milp).
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from mlc.rules.rule import Rule, RuleError, compiled


def refuse_conflict(rules: Sequence[Rule], names: Sequence[str]) -> None:
  """Refuses rules that no label vector keeps.

  Raises:
    RuleError: with the smallest set of rules that contradict each other.
  """
  if satisfiable(rules, len(names)):
    return
  found = [rules[i] for i in smallest_conflict(rules, len(names))]
  said = '; '.join(
    f'`{rule.text}`' + (f' ({rule.source})' if rule.source else '')
    for rule in found
  )
  one = 'this rule' if len(found) == 1 else f'these {len(found)} rules together'
  raise RuleError(
    f'no label vector keeps {one}: {said}. No fewer of the '
    f'{len(rules)} contradict each other; change or remove one.'
  )


def satisfiable(rules: Sequence[Rule], num_labels: int) -> bool:
  """Whether some label vector keeps all rules."""
  return best_vector(rules, np.zeros(num_labels)) is not None


def best_vector(rules: Sequence[Rule], gain: np.ndarray) -> np.ndarray | None:
  """argmax of gain . y over the label vectors that keep the rules, or None."""
  if not rules:
    return (gain > 0).astype(np.float64)
  return solved(-gain, *map(np.asarray, compiled(rules, len(gain))))


def never_on(rules: Sequence[Rule], num_labels: int) -> list[int]:
  """The labels that are off in every label vector that keeps the rules.

  Each search turns on as many labels as it can that no search has turned on.
  """
  left = np.ones(num_labels)
  while left.any():
    y = best_vector(rules, left)
    if y is None or not (y * left).any():
      break
    left *= 1.0 - y
  return np.flatnonzero(left).tolist()


def smallest_conflict(rules: Sequence[Rule], num_labels: int) -> list[int]:
  """The fewest rules that no label vector keeps together.

  A set of rules contradicts itself if and only if it meets every *correction*:
  rules without which the others can be kept. So the smallest set that meets the
  corrections found so far is a lower bound. Where it contradicts itself it is
  the answer; otherwise it is kept, with as many others as can be, and the rest
  is one more correction.

  Args:
    rules: that contradict each other.
    num_labels: L.

  Returns:
    Positions in `rules`; of several smallest sets any.

  References:
    Ignatiev, Previti, Liffiton, Marques-Silva, Smallest MUS extraction with
    minimal hitting set dualization, CP 2015, algorithm 1.
  """
  corrections: list[np.ndarray] = []
  while True:
    chosen = _smallest_hitting_set(corrections, len(rules))
    places = np.flatnonzero(chosen).tolist()
    if not satisfiable([rules[i] for i in places], num_labels):
      return places
    corrections.append(_correction(rules, chosen, num_labels))


def _smallest_hitting_set(
  corrections: Sequence[np.ndarray], count: int
) -> np.ndarray:
  if not corrections:
    return np.zeros(count, bool)
  ones = np.ones(len(corrections))
  found = solved(
    np.ones(count), np.stack(corrections) * 1.0, ones, ones * np.inf
  )
  assert found is not None
  return found > 0.5


def _correction(
  rules: Sequence[Rule], kept: np.ndarray, num_labels: int
) -> np.ndarray:
  """The fewest rules outside `kept` whose removal leaves the rest possible."""
  matrix, low, high = compiled(rules, num_labels)
  # A slack for each rule, so large that the rule does not bind.
  slack = np.abs(matrix).sum(axis=1) + 1.0
  slack += np.maximum(np.where(np.isfinite(low), np.abs(low), 0), 0)
  slack += np.maximum(np.where(np.isfinite(high), np.abs(high), 0), 0)
  above = np.hstack([matrix, np.diag(slack)])
  below = np.hstack([matrix, -np.diag(slack)])
  none = np.full(len(rules), np.inf)
  cost = np.concatenate([np.zeros(num_labels), np.ones(len(rules))])
  most = np.concatenate([np.ones(num_labels), ~kept * 1.0])
  found = solved(
    cost,
    np.vstack([above, below]),
    np.concatenate([low, -none]),
    np.concatenate([none, high]),
    most=most,
  )
  assert found is not None
  return found[num_labels:] > 0.5


def solved(
  cost: np.ndarray,
  matrix: np.ndarray,
  low: np.ndarray,
  high: np.ndarray,
  *,
  most: np.ndarray | None = None,
) -> np.ndarray | None:
  """argmin of cost . y over y in {0,1}^n with low <= matrix y <= high.

  Args:
    cost: [n].
    matrix: [rules, n].
    low: [rules].
    high: [rules].
    most: 0 where y must be 0.

  Returns:
    y, proved best; None where there is none.

  Raises:
    RuntimeError: the solver gave up.
  """
  # Takes half a second, of which runs without rules have no use.
  from scipy import optimize

  upper = np.ones(len(cost)) if most is None else most
  found = optimize.milp(
    cost,
    integrality=np.ones(len(cost)),
    bounds=optimize.Bounds(np.zeros(len(cost)), upper),
    constraints=optimize.LinearConstraint(sparse.csr_array(matrix), low, high),
    options={'mip_rel_gap': 0.0},
  )
  if found.status == 2:
    return None
  if found.status != 0:
    raise RuntimeError(f'HiGHS could not decide on the rules: {found.message}')
  return np.round(found.x)
