"""Mined rules against counting row by row."""

import itertools

import numpy as np
import pytest

from mlc import rules as rule_set


def naive(y, names, support, confidence, expected, where):
  """text -> (support, confidence, expected), counted pair by pair."""
  found = {}
  for a, b in itertools.permutations(range(y.shape[1]), 2):
    rows = [
      (row[a], row[b])
      for row, known in zip(y, where, strict=True)
      if known[a] and known[b]
    ]
    n = len(rows)
    n_a = sum(x == 1 for x, _ in rows)
    n_b = sum(x == 1 for _, x in rows)
    both = sum(x == 1 and z == 1 for x, z in rows)
    if not n:
      continue
    found[f'{names[a]} -> {names[b]}'] = (
      n_a,
      both / n_a if n_a else 0,
      n_a * (n - n_b) / n,
    )
    if a < b:
      rarer = min(n_a, n_b)
      share = 1 - both / rarer if rarer else 1
      text = f'exclusive: {names[a]}, {names[b]}'
      found[text] = rarer, share, n_a * n_b / n
  whole = y[where.all(axis=1)]
  if len(whole):
    empty = sum(not row.any() for row in whole)
    chance = len(whole) * np.prod([1 - column.mean() for column in whole.T])
    found['at least 1 of: *'] = (len(whole), 1 - empty / len(whole), chance)
  return {
    text
    for text, (s, c, e) in found.items()
    if s >= support and c >= confidence - 1e-9 and e >= expected
  }


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('confidence', [1.0, 0.95, 0.8])
def test_the_rules_are_those_of_a_naive_count(confidence, masked):
  rng = np.random.default_rng(3)
  names = tuple('abcdef')
  y = (rng.random((400, 6)) < [0.3, 0.4, 0.2, 0.3, 0.1, 0.5]).astype(np.uint8)
  y[:, 1] |= y[:, 0]
  y[:, 3] &= 1 - y[:, 2]
  y[:, 5] |= y[:, :5].max(axis=1) == 0
  # A few rows are exceptions.
  y[:3, 0], y[:3, 1] = 1, 0
  where = rng.random(y.shape) < 0.95 if masked else np.ones(y.shape, bool)
  y = y * where
  found = rule_set.mined(
    y,
    names,
    support=20,
    confidence=confidence,
    expected=4.0,
    where=where if masked else None,
  )
  wanted = naive(y, names, 20, confidence, 4.0, where)
  assert {rule.text for rule in found} == wanted
  assert len(found) == len(wanted)
  if confidence == 0.95:
    assert {'exclusive: c, d', 'at least 1 of: *'} <= wanted
    assert 'a -> b' in wanted


def test_chance_is_no_rule():
  """Rare labels that happen not to meet are not said to exclude each other."""
  y = np.zeros((1000, 3), np.uint8)
  y[:25, 0] = 1
  y[500:525, 1] = 1
  names = ('a', 'b', 'c')
  assert rule_set.mined(y, names, support=20, confidence=1.0) == []
  found = rule_set.mined(y, names, support=20, expected=0.5)
  assert [rule.text for rule in found] == ['exclusive: a, b']
  assert (
    found[0].source == 'mined: 25 rows, confidence 1, 0.625 breaks by chance'
  )


def test_what_is_mined_with_confidence_one_is_kept_by_every_row():
  rng = np.random.default_rng(4)
  y = (rng.random((60, 5)) < 0.12).astype(np.uint8)
  found = rule_set.mined(
    y, tuple('abcde'), support=1, confidence=1.0, expected=0.0
  )
  assert found
  arrays = rule_set.compiled(found, 5)
  assert not rule_set.violations(arrays, y.astype(np.float32)).any()


def test_the_rules_most_unlike_chance_are_kept():
  rng = np.random.default_rng(5)
  y = np.eye(6, dtype=np.uint8)[rng.integers(0, 6, 600)]
  every = rule_set.mined(y, tuple('abcdef'), confidence=1.0)
  some = rule_set.mined(y, tuple('abcdef'), confidence=1.0, most=3)
  assert len(every) > 3
  assert some == every[:3]
  assert some[0].text == 'at least 1 of: *'


@pytest.mark.parametrize(
  'options', [{'support': 0}, {'confidence': 0.5}, {'expected': -1.0}], ids=str
)
def test_an_option_out_of_its_range_is_refused(options):
  with pytest.raises(ValueError, match=next(iter(options))):
    rule_set.mined(np.zeros((3, 2), np.uint8), ('a', 'b'), **options)
