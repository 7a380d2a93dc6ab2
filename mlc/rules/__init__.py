"""Rules between labels: what they say, whether they can be kept, what is best.

Data, heads and decoders may all ask here.
"""

from mlc.rules.conflicts import (
  never_on,
  refuse_conflict,
  satisfiable,
  smallest_conflict,
)
from mlc.rules.likeliest import (
  likeliest,
  likeliest_exactness,
  optimality_gap,
  worst,
)
from mlc.rules.mining import mined
from mlc.rules.rule import (
  Rule,
  RuleError,
  Rules,
  allowed,
  between,
  compiled,
  consistent,
  forbid,
  forbid_exactly,
  implies,
  of_hierarchy,
  require,
  stacked,
  violations,
)
from mlc.rules.search import best, best_of_table, best_on_host, nearest
from mlc.rules.text import parse, read

__all__ = [
  'Rule',
  'RuleError',
  'Rules',
  'allowed',
  'best',
  'best_of_table',
  'best_on_host',
  'between',
  'compiled',
  'consistent',
  'forbid',
  'forbid_exactly',
  'implies',
  'likeliest',
  'likeliest_exactness',
  'mined',
  'nearest',
  'never_on',
  'of_hierarchy',
  'optimality_gap',
  'parse',
  'read',
  'refuse_conflict',
  'require',
  'satisfiable',
  'smallest_conflict',
  'stacked',
  'violations',
  'worst',
]
