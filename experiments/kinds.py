"""Options and their kinds: what a flag may hold, and how a text becomes it."""

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from absl import flags


class Option(NamedTuple):
  """One flag to be: name, type, default and the line that explains it.

  `owner` is the method, encoder, loss or decoder whose option it is.
  """

  name: str
  kind: Any
  default: Any
  help: str
  owner: str = ''


class TupleParser(flags.ArgumentParser):
  """Comma-separated values of one type."""

  def __init__(self, element: Callable[[str], Any]):
    super().__init__()
    self._element = element
    self.syntactic_help = self.flag_type()

  def parse(self, argument):
    if isinstance(argument, str):
      argument = names(argument)
    return tuple(self._element(part) for part in argument)

  def flag_type(self):
    what = {str: 'names', float: 'numbers'}[self._element]
    return f'comma-separated {what}'


class TupleSerializer(flags.ArgumentSerializer):
  def serialize(self, value):
    return ','.join(str(part) for part in value)


def names(text: str) -> tuple[str, ...]:
  """The parts of a comma-separated text.

  `name,option=value` is one part: a data set may have options.
  """
  parts = re.split(r',(?!\s*\w+=)', text)
  return tuple(part.strip() for part in parts if part.strip())


class Several(NamedTuple):
  """The kind of an option that methods of one launch take in several kinds.

  Attributes:
    kinds: method (or loss or decoder) -> kind.
  """

  kinds: Mapping[str, Any]


class SeveralParser(flags.ArgumentParser):
  """A text that fits one of several; it stays a text until it is known which.

  `fitted` makes a value of it, for each of those whom it fits.
  """

  def __init__(self, several: Several):
    super().__init__()
    self._several = several
    self.syntactic_help = '; '.join(several_said(several))

  def parse(self, argument):
    for kind in self._several.kinds.values():
      if fits(kind, argument):
        return argument
    takers = '; '.join(several_said(self._several))
    raise ValueError(f'is valid for none that takes it ({takers})')

  def flag_type(self):
    return 'text'


def plain(kind: Any) -> Any:
  """`int` of `int | None`; other kinds are as they are."""
  if isinstance(kind, types.UnionType):
    return next(k for k in typing.get_args(kind) if k is not type(None))
  return kind


def parser_of(kind: Any) -> flags.ArgumentParser:
  """What reads a text as a value of a kind."""
  kind = plain(kind)
  if isinstance(kind, Several):
    return SeveralParser(kind)
  if typing.get_origin(kind) is Literal:
    return flags.EnumParser(list(typing.get_args(kind)))
  if typing.get_origin(kind) is tuple:
    return TupleParser(typing.get_args(kind)[0])
  return {
    bool: flags.BooleanParser,
    int: flags.IntegerParser,
    float: flags.FloatParser,
    str: flags.ArgumentParser,
  }[kind]()


def fitted(kind: Any, value: Any) -> Any:
  """The value as one of the kind; what is no text has been read already.

  Raises:
    ValueError: it does not fit.
  """
  return parser_of(kind).parse(value) if isinstance(value, str) else value


def fits(kind: Any, value: Any) -> bool:
  """Whether the value is one of the kind."""
  try:
    fitted(kind, value)
  except ValueError:
    return False
  return True


def said(kind: Any) -> str:
  """The values of a kind, as help texts have them."""
  kind = plain(kind)
  if typing.get_origin(kind) is Literal:
    return '|'.join(map(str, typing.get_args(kind)))
  return parser_of(kind).flag_type()


def several_said(several: Several) -> list[str]:
  """Who takes what, those together who take the same."""
  return [
    f'{", ".join(owners)}: {said(kind)}'
    for owners, kind in together(several.kinds.items())
  ]


def together(pairs: Iterable[tuple[str, Any]]) -> list[tuple[list[str], Any]]:
  """(owner, what) -> (owners, what), in the order of what comes first."""
  found: list[tuple[list[str], Any]] = []
  for owner, what in pairs:
    for owners, other in found:
      if other == what:
        owners.append(owner)
        break
    else:
      found.append(([owner], what))
  return found


def merged(options: Iterable[Option]) -> list[Option]:
  """One option for each name.

  Where owners take it in different kinds (choices or types) it takes what fits
  any of them, and the help says who takes what.
  """
  by_name: dict[str, dict[str, Option]] = {}
  for option in options:
    by_name.setdefault(option.name, {})[option.owner] = option
  return [_one(list(same.values())) for same in by_name.values()]


def _one(same: Sequence[Option]) -> Option:
  first = same[0]
  helps = together((o.owner, o.help) for o in same)
  text = first.help
  if len(helps) > 1:
    text = ' '.join(f'[{", ".join(of)}] {help}' for of, help in helps)
  if all(o.kind == first.kind for o in same):
    return first._replace(help=text)
  return first._replace(
    kind=Several({o.owner: o.kind for o in same}), help=text
  )
