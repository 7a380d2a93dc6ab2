"""What must hold between labels, as data: low <= a . y <= high.

Every rule is one row of a system of linear inequalities over {0,1}^L with small
whole coefficients: mutual exclusion, implication, at least and at most k of
some labels, label sets that are forbidden or required.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from mlc.distribution import label_vectors

# Of the host or of a device.
AnyArray = Array | np.ndarray
# A label, and whether it is to be on.
Literal = tuple[int, bool]


class RuleError(ValueError):
  """Rules that cannot be read, or not all be kept."""


class Rule(NamedTuple):
  """One rule: low <= sum_j coefficient_j y_j <= high.

  Attributes:
    text: as a file of rules states it.
    terms: (label, coefficient), the others having 0.
    low: the least value, or -inf.
    high: the greatest value, or inf.
    source: where it came from.
  """

  text: str
  terms: tuple[tuple[int, int], ...]
  low: float
  high: float
  source: str = ''


class Rules(NamedTuple):
  """Rules as arrays, for one run or stacked over runs.

  Attributes:
    matrix: coefficients; all 0 in a row that only fills up.
    low: the least value of each rule.
    high: the greatest value of each rule.
  """

  matrix: Float[AnyArray, '*runs rules labels']
  low: Float[AnyArray, '*runs rules']
  high: Float[AnyArray, '*runs rules']


def between(
  labels: Sequence[int], low: int | None, high: int | None, names: Sequence[str]
) -> Rule:
  """At least `low` and at most `high` of the labels are on; None: no bound.

  Raises:
    RuleError: the rule is always true, or never.
  """
  count = len(labels)
  least, most = 0 if low is None else low, count if high is None else high
  if not least <= most or least > count or (least, most) == (0, count):
    raise RuleError(
      f'{least} to {most} of {count} labels is '
      f'{"always" if (least, most) == (0, count) else "never"} true; give '
      f'numbers between 0 and {count} that say something.'
    )
  if low is None or high is None:
    number = f'at most {high}' if low is None else f'at least {low}'
  else:
    number = f'exactly {low}' if low == high else f'between {low} and {high}'
  listed = _listed(labels, names)
  text = f'{number} of: {listed}'
  if (low, high) == (None, 1) and count > 1:
    text = f'exclusive: {listed}'
  return Rule(
    text,
    tuple((label, 1) for label in labels),
    -np.inf if low is None else low,
    np.inf if high is None else high,
  )


def implies(
  body: Sequence[Literal],
  head: Sequence[Literal],
  names: Sequence[str],
  *,
  every: bool = True,
) -> Rule:
  """Where all of `body` holds, all of `head` does, or one of it at least.

      m sum_body b <= m (|body| - 1) + sum_head c,   m = |head| or 1

  Raises:
    RuleError: the rule is always true.
  """
  heads = len(head) if every else 1
  terms: dict[int, int] = {}
  high = heads * (len(body) - 1)
  for sign, part in ((heads, body), (-1, head)):
    for label, on in part:
      # A label that is to be off counts as 1 - y.
      terms[label] = terms.get(label, 0) + (sign if on else -sign)
      high -= 0 if on else sign
  terms = {label: factor for label, factor in terms.items() if factor}
  if sum(max(factor, 0) for factor in terms.values()) <= high:
    raise RuleError('an implication that is always true says nothing.')
  said = (' | ' if not every else ', ').join(_said(c, names) for c in head)
  text = f'{", ".join(_said(b, names) for b in body)} -> {said}'
  return Rule(text, tuple(terms.items()), -np.inf, high)


def forbid(labels: Sequence[int], names: Sequence[str]) -> Rule:
  """Not all of the labels together; of one label: never."""
  terms = tuple((label, 1) for label in labels)
  text = f'forbid: {_listed(labels, names)}'
  return Rule(text, terms, -np.inf, len(labels) - 1)


def forbid_exactly(labels: Sequence[int], names: Sequence[str]) -> Rule:
  """Not these labels and no other: one label vector is ruled out."""
  on = set(labels)
  terms = tuple((j, 1 if j in on else -1) for j in range(len(names)))
  text = f'forbid exactly: {_listed(labels, names)}'
  return Rule(text, terms, -np.inf, len(on) - 1)


def require(labels: Sequence[int], names: Sequence[str]) -> Rule:
  """All of the labels, in every row."""
  terms = tuple((label, 1) for label in labels)
  return Rule(f'require: {_listed(labels, names)}', terms, len(labels), np.inf)


def of_hierarchy(
  hierarchy: Bool[np.ndarray, 'labels labels'], names: Sequence[str]
) -> list[Rule]:
  """No label without its parents: one implication an edge [child, parent]."""
  return [
    implies([(child, True)], [(parent, True)], names)._replace(
      source='hierarchy'
    )
    for child, parent in np.argwhere(hierarchy).tolist()
  ]


def compiled(
  rules: Sequence[Rule], num_labels: int, *, size: int | None = None
) -> Rules:
  """The rules as arrays, filled up to `size` rows that are always true."""
  size = len(rules) if size is None else size
  matrix = np.zeros((size, num_labels), np.float32)
  low = np.full(size, -np.inf, np.float32)
  high = np.full(size, np.inf, np.float32)
  for row, rule in enumerate(rules):
    labels, factors = zip(*rule.terms, strict=True)
    matrix[row, list(labels)] = factors
  low[: len(rules)] = [rule.low for rule in rules]
  high[: len(rules)] = [rule.high for rule in rules]
  return Rules(matrix, low, high)


def stacked(sets: Sequence[Sequence[Rule]], num_labels: int) -> Rules:
  """The rules of several runs, as arrays with a leading run axis."""
  size = max(map(len, sets), default=0)
  each = [compiled(rules, num_labels, size=size) for rules in sets]
  matrix, low, high = (np.stack(parts) for parts in zip(*each, strict=True))
  return Rules(matrix, low, high)


def violations(
  rules: Rules, y: Float[AnyArray, '*batch labels']
) -> Bool[AnyArray, '*batch rules']:
  """Which rules a label vector breaks; of numpy or jax arrays."""
  # Sums of small whole numbers: exact at any precision of the product.
  value: Any = y @ rules.matrix.T
  each = (None,) * (y.ndim - 1)
  return (value < rules.low[each]) | (value > rules.high[each])


def consistent(
  rules: Rules, y: Float[AnyArray, '*batch labels']
) -> Bool[AnyArray, '*batch']:
  """Whether a label vector keeps all rules."""
  broken: Any = violations(rules, y)
  return ~broken.any(axis=-1)


def allowed(rules: Rules) -> Bool[AnyArray, ' vectors']:
  """Of all 2^L label vectors those that keep the rules, in their order."""
  return consistent(rules, label_vectors(rules.matrix.shape[-1]))


def quoted(name: str) -> str:
  """A label name as it is written in a rule."""
  special = any(part in name for part in ('"', ',', '|', '#', '->', ':'))
  plain = name.strip() == name and name not in ('', '*') and not special
  if plain and not name.startswith('not ') and '\n' not in name:
    return name
  return '"' + name.replace('"', '""') + '"'


def _said(literal: Literal, names: Sequence[str]) -> str:
  label, on = literal
  return ('' if on else 'not ') + quoted(names[label])


def _listed(labels: Sequence[int], names: Sequence[str]) -> str:
  if len(labels) == len(names) > 1:
    return '*'
  return ', '.join(quoted(names[label]) for label in labels)
