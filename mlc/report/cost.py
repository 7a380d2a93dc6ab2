"""What each method was given and what it took, side by side."""

import csv
import io
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from mlc.report import comparison
from mlc.report.records import Record, labels

COST_COLUMNS = (
  'dataset',
  'method',
  'status',
  'settings_tried',
  'runs_trained',
  'parameters',
  'compile_seconds',
  'train_seconds',
  'evaluate_seconds',
)


class Cost(NamedTuple):
  """One method over the data sets on which it finished.

  Attributes:
    method: its name.
    datasets: how many those are.
    settings: (least, most) settings tried for a seed and fold.
    runs: trained in all.
    parameters: (least, most); None when not counted.
    parameter_ratio: to the baseline on the same data set, median; None
      without one.
    train_seconds: in all, compilation not counted; None when not measured.
    train_ratio: to the baseline on the same data sets; None without one.
  """

  method: str
  datasets: int
  settings: tuple[int, int]
  runs: int
  parameters: tuple[int, int] | None
  parameter_ratio: float | None
  train_seconds: float | None
  train_ratio: float | None


def costs(records: Sequence[Record], baseline: str) -> tuple[Cost, ...]:
  """One line a method, those that never finished left out."""
  names = labels(records)
  by_name: dict[str, list[Record]] = {}
  for record in records:
    if record.status == 'ok':
      by_name.setdefault(names[record.run_id], []).append(record)
  return tuple(
    _cost(name, mine, records, baseline) for name, mine in by_name.items()
  )


def cost_csv(records: Sequence[Record]) -> str:
  """cost.csv: one row a run directory; what is not known is empty."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(COST_COLUMNS)
  names = labels(records)
  for r in records:
    seconds = [r.seconds.get(key) for key in ('compile', 'train', 'evaluate')]
    row = (
      r.dataset,
      names[r.run_id],
      r.outcome,
      tried(r) or '',
      len(r.candidates) or '',
      '' if r.parameters is None else r.parameters,
      *('' if s is None else repr(s) for s in seconds),
    )
    writer.writerow(row)
  return text.getvalue()


def tried(record: Record) -> int:
  """Settings of the search, for each seed and fold."""
  return round(len(record.candidates) / max(1, len(record.units)))


def _cost(
  name: str, mine: Sequence[Record], records: Sequence[Record], baseline: str
) -> Cost:
  counted = [r.parameters for r in mine if r.parameters is not None]
  bases = [comparison.baseline_of(r, records, baseline) for r in mine]
  pairs = [(r, b) for r, b in zip(mine, bases, strict=True) if b is not None]
  sizes = [
    r.parameters / b.parameters
    for r, b in pairs
    if r.parameters is not None and b.parameters
  ]
  timed = [(r.seconds.get('train'), b.seconds.get('train')) for r, b in pairs]
  both = [(s, t) for s, t in timed if s is not None and t]
  seconds = [r.seconds['train'] for r in mine if 'train' in r.seconds]
  settings = [tried(r) for r in mine]
  return Cost(
    method=name,
    datasets=len({r.dataset for r in mine}),
    settings=(min(settings), max(settings)),
    runs=sum(len(r.candidates) for r in mine),
    parameters=(min(counted), max(counted)) if counted else None,
    parameter_ratio=statistics.median(sizes) if sizes else None,
    train_seconds=sum(seconds) if seconds else None,
    train_ratio=(
      sum(s for s, _ in both) / sum(t for _, t in both) if both else None
    ),
  )
