"""Files of rules: what they may hold, and what is said of a mistake."""

import numpy as np
import pytest

from mlc import rules as rule_set

NAMES = ('Rainy', 'Sunny', 'Very cold', 'a, b', 'say "hi" # -> |', 'not Dog')


def test_what_is_written_is_read_again(brute):
  """Every text that a rule gives of itself makes the same rule."""
  rng = np.random.default_rng(0)
  names = NAMES
  made = [brute.rule(rng, 6) for _ in range(200)]
  # The random rules bear other names: by label, from the terms.
  again = rule_set.parse(
    '\n'.join(rule.text for rule in made), [f'y{j}' for j in range(6)]
  )
  for a, b in zip(made, again, strict=True):
    assert (a.text, sorted(a.terms), a.low, a.high) == (
      b.text,
      sorted(b.terms),
      b.low,
      b.high,
    )
  odd = [
    rule_set.implies([(3, True), (5, False)], [(4, True)], names),
    rule_set.between([2, 3, 5], None, 1, names),
    rule_set.forbid([4], names),
  ]
  text = '\n'.join(rule.text for rule in odd)
  assert [r._replace(source='') for r in rule_set.parse(text, names)] == odd


def test_comments_spaces_and_empty_lines_do_not_count():
  text = (
    '\n# weather\n  Rainy->Very cold   # so it is\n\nEXCLUSIVE : Rainy,Sunny'
  )
  rules = rule_set.parse(text, NAMES, where='w.rules')
  assert [(r.text, r.source) for r in rules] == [
    ('Rainy -> Very cold', 'w.rules:3'),
    ('exclusive: Rainy, Sunny', 'w.rules:5'),
  ]


@pytest.mark.parametrize(
  ('line', 'says'),
  [
    ('Rainy -> Suny', "unknown label 'Suny'. Did you mean 'Sunny'?"),
    ('exclusive: Rainy, Rainy', "label 'Rainy' is named twice"),
    ('exclusive: Rainy', 'is always true'),
    ('Rainy, Sunny', 'this is no rule. Write one of: exclusive:'),
    ('Rainy -> Sunny -> "a, b"', 'this is no rule'),
    ('atleast 1 of: Rainy', 'this is no rule'),
    ('Rainy ->', 'a label is missing'),
    ('Rainy | Sunny -> "a, b"', 'stands behind `->` only'),
    ('Rainy -> Sunny, "a, b" | "Very cold"', 'do not mix'),
    ('Rainy -> Rainy', 'says nothing'),
    ('at least 7 of: *', '7 to 6 of 6 labels is never true'),
    ('at most 2 of: Rainy, Sunny', 'always true'),
    ('forbid: Rainy, "Sunny', "unknown label '\"Sunny'"),
  ],
)
def test_a_mistake_is_told_with_its_place(line, says, tmp_path):
  path = tmp_path / 'weather.rules'
  path.write_text(f'# fine\nRainy -> "Very cold"\n{line}\n')
  with pytest.raises(rule_set.RuleError) as caught:
    rule_set.read(path, NAMES)
  assert str(caught.value).startswith(f'{path}:3: {line!r}: ')
  assert says in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
  with pytest.raises(rule_set.RuleError, match=r'none\.rules cannot be read'):
    rule_set.read(tmp_path / 'none.rules', NAMES)
  (tmp_path / 'odd.rules').write_bytes(b'\xff\xfe')
  with pytest.raises(rule_set.RuleError, match=r'odd\.rules cannot be read'):
    rule_set.read(tmp_path / 'odd.rules', NAMES)
