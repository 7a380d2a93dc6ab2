"""Rules as text, one a line.

    exclusive: Rainy, Sunny, Snowy     # at most one of them is on
    Dog -> Animal                      # where Dog is on, Animal is
    Dog, Puppy -> Animal, Young        # where both are on, both are
    Animal -> Dog | Cat | not Wild     # where it is on, one at least holds
    at least 1 of: *                   # of all labels
    at most 3 of: Dog, Cat, Cow, Pig
    exactly 1 of: Day, Night
    between 1 and 2 of: Red, Green, Blue
    require: Animal                    # always on
    forbid: Dog, Cat                   # not both together; one label: never
    forbid exactly: Dog, Cat           # not these and no other

What follows `#` is a comment, `*` stands for all labels. Spaces around a name
do not count, those in it do. A name that holds one of , | # -> : " or begins
with `not ` is put into double quotes, a double quote in it being written twice.
"""

import difflib
import os
import pathlib
import re
from collections.abc import Callable, Sequence

from mlc.rules import rule as made
from mlc.rules.rule import Literal, Rule, RuleError

_QUOTED = r'"(?:[^"]|"")*"'
# Keyword -> what makes the rule from its numbers, labels and names.
_KEYWORDS: Sequence[tuple[str, Callable[..., Rule]]] = (
  ('exclusive', lambda on, names: made.between(on, None, 1, names)),
  (r'at least (\d+) of', lambda k, on, names: made.between(on, k, None, names)),
  (r'at most (\d+) of', lambda k, on, names: made.between(on, None, k, names)),
  (r'exactly (\d+) of', lambda k, on, names: made.between(on, k, k, names)),
  (
    r'between (\d+) and (\d+) of',
    lambda low, high, on, names: made.between(on, low, high, names),
  ),
  ('require', made.require),
  ('forbid', made.forbid),
  ('forbid exactly', made.forbid_exactly),
)
_FORMS = (
  'exclusive: A, B; A -> B; at least 1 of: A, B; at most 1 of: A, B; '
  'exactly 1 of: A, B; between 1 and 2 of: A, B; require: A; forbid: A, B; '
  'forbid exactly: A, B'
)


def read(path: str | os.PathLike[str], names: Sequence[str]) -> list[Rule]:
  """The rules in a file.

  Args:
    path: of the file, UTF-8.
    names: of the labels of the data set.

  Raises:
    RuleError: with the file and the line of what cannot be read.
  """
  try:
    content = pathlib.Path(path).read_text(encoding='utf-8')
  except (OSError, UnicodeDecodeError) as error:
    raise RuleError(f'the rules in {path} cannot be read: {error}') from None
  return parse(content, names, where=os.fspath(path))


def parse(text: str, names: Sequence[str], *, where: str = '') -> list[Rule]:
  """The rules in a text, each of which knows its line.

  Args:
    text: one rule a line; see the module.
    names: of the labels of the data set.
    where: what the text is called in errors.

  Raises:
    RuleError: with the line and what is expected.
  """
  index = {name: label for label, name in enumerate(names)}
  rules = []
  for number, line in enumerate(text.splitlines(), 1):
    stated = _without_comment(line)
    if not stated:
      continue
    try:
      rules.append(_rule(stated, index)._replace(source=f'{where}:{number}'))
    except RuleError as error:
      raise RuleError(f'{where}:{number}: {line.strip()!r}: {error}') from None
  return rules


def _rule(stated: str, index: dict[str, int]) -> Rule:
  names = list(index)
  for keyword, make in _KEYWORDS:
    found = re.fullmatch(rf'{keyword}\s*:(.*)', stated, re.IGNORECASE)
    if found:
      *numbers, rest = found.groups()
      on = _labels(rest, index)
      return make(*map(int, numbers), on, names)
  parts = _split(stated, '->')
  if len(parts) != 2:
    raise RuleError(f'this is no rule. Write one of: {_FORMS}.')
  body, head = parts
  every = len(_split(head, '|')) == 1
  if not every and len(_split(head, ',')) > 1:
    raise RuleError(
      '`,` (all) and `|` (one at least) do not mix; use two rules.'
    )
  if len(_split(body, '|')) > 1:
    raise RuleError('`|` stands behind `->` only; use a rule for each.')
  return made.implies(
    _literals(body, ',', index),
    _literals(head, ',' if every else '|', index),
    names,
    every=every,
  )


def _labels(text: str, index: dict[str, int]) -> list[int]:
  if text.strip() == '*':
    return list(index.values())
  labels = [_label(part, index) for part in _split(text, ',')]
  _refuse_twice(labels, index)
  return labels


def _literals(
  text: str, separator: str, index: dict[str, int]
) -> list[Literal]:
  literals = []
  for part in _split(text, separator):
    off = re.fullmatch(r'not\s+(.*)', part.strip())
    name = off.group(1) if off else part
    literals.append((_label(name, index), off is None))
  _refuse_twice([label for label, _ in literals], index)
  return literals


def _label(text: str, index: dict[str, int]) -> int:
  name = text.strip()
  if re.fullmatch(_QUOTED, name):
    name = name[1:-1].replace('""', '"')
  if not name:
    raise RuleError('a label is missing.')
  if name not in index:
    near = difflib.get_close_matches(name, index, n=1)
    hint = f' Did you mean {near[0]!r}?' if near else ''
    some = ', '.join(list(index)[:10]) + (', ...' if len(index) > 10 else '')
    raise RuleError(f'unknown label {name!r}.{hint} The labels are: {some}.')
  return index[name]


def _refuse_twice(labels: Sequence[int], index: dict[str, int]) -> None:
  twice = [name for name, label in index.items() if labels.count(label) > 1]
  if twice:
    raise RuleError(f'label {twice[0]!r} is named twice.')


def _split(text: str, separator: str) -> list[str]:
  """The parts between separators that are not in quotes."""
  pieces = re.findall(rf'{_QUOTED}|{re.escape(separator)}|.', text)
  parts = ['']
  for piece in pieces:
    if piece == separator:
      parts.append('')
    else:
      parts[-1] += piece
  return parts


def _without_comment(line: str) -> str:
  pieces = re.findall(rf'{_QUOTED}|.', line)
  kept = pieces[: pieces.index('#')] if '#' in pieces else pieces
  return ''.join(kept).strip()
