"""What a study says of its runs beyond the comparison of methods."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mlc.report.records import Record

# (title, matplotlib Figure, caption made from the numbers).
Figure = tuple[str, Any, str]


def nothing(records: Sequence[Record]) -> list[Any]:
  """No figures, no conclusion."""
  del records
  return []


class Findings(NamedTuple):
  """What is read off the run directories of a study.

  Attributes:
    figures: records -> figures of its own, before the general ones.
    conclusion: records -> what the numbers say, a few sentences that stand
      first; none where the comparison of methods says it all.
  """

  figures: Callable[[Sequence[Record]], list[Figure]] = nothing
  conclusion: Callable[[Sequence[Record]], list[str]] = nothing
