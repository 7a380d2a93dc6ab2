"""Rules that training labels keep: empirical, true of the rows that were seen.

An implication or an exclusion is known by three numbers:

  support     rows that could break it: those with its first label (for an
              exclusion, with the rarer of the two)
  confidence  the share of these rows that keep it
  expected    rows that would break it if the two labels were independent

The last tells a rule from what chance keeps: two labels with 20 rows each among
1,000 seldom meet, and that they did not is no reason to forbid it.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from mlc.rules.rule import Rule, between, implies


def mined(
  y: UInt8[np.ndarray, 'rows labels'],
  names: Sequence[str],
  *,
  support: int = 20,
  confidence: float = 0.99,
  expected: float = 5.0,
  most: int = 500,
  where: Bool[np.ndarray, 'rows labels'] | None = None,
) -> list[Rule]:
  """Implications, exclusions, and whether a row has a label at all.

      a -> b:           n_ab / n_a >= confidence
      exclusive: a, b:  1 - n_ab / min(n_a, n_b) >= confidence
      at least 1 of: *: 1 - n_empty / n >= confidence

  The cost is one product of the label matrix with itself.

  Args:
    y: labels of the training rows, 0 or 1.
    names: of the labels.
    support: rows that could break the rule, at least.
    confidence: share of these that keep it, at least.
    expected: rows that would break it if labels were independent, at least.
    most: rules that are kept: those of the most expected breaks.
    where: True where a label is known; a pair counts rows with both known, and
      the number of labels rows with all known.

  Returns:
    The rules, those first that independence would break most often.

  Raises:
    ValueError: a number outside its range.
  """
  check(support, confidence, expected)
  known = np.ones(y.shape, np.float64) if where is None else where * 1.0
  on = y * known
  both_known = known.T @ known
  # [a, b]: rows with a on and b known, and those with both on.
  n_a, n_ab = on.T @ known, on.T @ on
  n_b = n_a.T
  rows = np.maximum(both_known, 1.0)
  pairs = ~np.eye(y.shape[1], dtype=bool)
  found: list[tuple[float, Rule]] = []
  for exclusion in (False, True):
    first = np.minimum(n_a, n_b) if exclusion else n_a
    breaks = n_ab if exclusion else n_a - n_ab
    chance = n_a * n_b / rows if exclusion else n_a * (rows - n_b) / rows
    kept = 1.0 - breaks / np.maximum(first, 1.0)
    # Rounding: 0.99 of 100 rows is 99 of them.
    holds = (kept >= confidence - 1e-9) & (first >= support) & pairs
    holds &= chance >= expected
    if exclusion:
      holds = np.triu(holds)
    for a, b in np.argwhere(holds).tolist():
      rule = (
        between([a, b], None, 1, names)
        if exclusion
        else implies([(a, True)], [(b, True)], names)
      )
      said = _source(first[a, b], kept[a, b], chance[a, b])
      found.append((chance[a, b], rule._replace(source=said)))
  found += _nonempty(y, known > 0, names, support, confidence, expected)
  # Of equals the order in which they were found.
  found.sort(key=lambda pair: -pair[0])
  return [rule for _, rule in found[:most]]


def check(support: int, confidence: float, expected: float) -> None:
  """Refuses options of `mined` that are out of range."""
  for name, value, low, high in (
    ('support', support, 1, np.inf),
    # From 0.5 down a label could imply two that exclude each other.
    ('confidence', confidence, 0.5, 1.0),
    ('expected', expected, 0.0, np.inf),
  ):
    if not low <= value <= high or (name == 'confidence' and value == low):
      above = 'above' if name == 'confidence' else 'from'
      most = '' if high == np.inf else f' to {high:g}'
      raise ValueError(
        f'mining rules: {name} is {value}; give a number {above} {low:g}{most}.'
      )


def _nonempty(y, known, names, support, confidence, expected):
  whole = y[known.all(axis=1)].astype(np.float64)
  if len(whole) < support or y.shape[1] < 2:
    return []
  kept = 1.0 - (whole.sum(axis=1) == 0).mean()
  chance = len(whole) * np.prod(1.0 - whole.mean(axis=0))
  if kept < confidence - 1e-9 or chance < expected:
    return []
  rule = between(range(y.shape[1]), 1, None, names)
  source = _source(len(whole), kept, chance)
  return [(chance, rule._replace(source=source))]


def _source(support, kept, chance):
  return (
    f'mined: {support:.0f} rows, confidence {kept:.4g}, '
    f'{chance:.3g} breaks by chance'
  )
