"""What is known of the runs of a study, failed ones included."""

import csv
import dataclasses
import functools
import io
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mlc.report import statistics
from mlc.run_directory import RunDirectory

Unit = tuple[int, int]  # seed, fold; fold is -1 without folds

RESULTS_COLUMNS = (
  'study',
  'dataset',
  'method',
  'encoder',
  'head',
  'loss',
  'decoder',
  'seed',
  'fold',
  'split',
  'metric',
  'value',
)
# What is known of a run only when it has been trained.
_KNOWN_AFTERWARDS = ('head', 'split', 'standardize')
# Settings that say which run it is, not under which conditions.
_WHO = ('study', 'dataset', 'method', 'content_hash')


class Row(NamedTuple):
  """One number, as in results.json; `value` is NaN where it is undefined.

  `undefined` counts the rows of the data, or the labels, for which the metric
  is undefined by itself; None where nobody has counted.
  """

  decoder: str
  seed: int
  fold: int
  split: str
  metric: str
  value: float
  exactness: str
  reason: str
  undefined: int | None = None


class Candidate(NamedTuple):
  """One trained run: a point of the search, for one seed and fold."""

  seed: int
  fold: int
  learning_rate: float | None
  l2: float | None
  best_epoch: int | None
  validation_loss: float
  diverged: bool
  selected: bool
  link_l2: float | None = None


class Curve(NamedTuple):
  """Losses of one trained run, epoch by epoch."""

  epochs: np.ndarray
  train: np.ndarray
  validation: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
  """One run directory.

  Attributes:
    status: `ok`, `failed`, or `unfinished` (neither DONE nor FAILED).
    rows: the numbers; none unless status is ok.
    candidates: the trained runs, in the order of the run axis.
    curves: by index into candidates.
    error: of a failed run, what happened.
    hint: what to do about it.
    path: the run directory.
  """

  study: str
  run_id: str
  dataset: str
  method: str
  encoder: str = ''
  head: str = ''
  loss: str = ''
  status: str = 'ok'
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  rows: tuple[Row, ...] = ()
  candidates: tuple[Candidate, ...] = ()
  profile: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  dependence: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  notes: tuple[str, ...] = ()
  parameters: int | None = None
  seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
  curves: Mapping[int, Curve] = dataclasses.field(default_factory=dict)
  error: str = ''
  hint: str = ''
  path: pathlib.Path | None = None

  @functools.cached_property
  def predictions(self) -> Mapping[str, np.ndarray]:
    """The arrays of predictions.npz; none of a run that is not done."""
    if self.status != 'ok' or self.path is None:
      return {}
    return RunDirectory(self.path).read_predictions()

  @functools.cached_property
  def units(self) -> tuple[Unit, ...]:
    """Every (seed, fold) that was trained or measured."""
    trained = {(c.seed, c.fold) for c in self.candidates}
    return tuple(sorted(trained | {(r.seed, r.fold) for r in self.rows}))

  @functools.cached_property
  def diverged(self) -> tuple[Unit, ...]:
    """The (seed, fold) whose kept run diverged, or all of whose runs did."""
    lost = []
    for unit in self.units:
      mine = [c for c in self.candidates if (c.seed, c.fold) == unit]
      kept = [c for c in mine if c.selected] or mine
      if kept and all(c.diverged for c in kept):
        lost.append(unit)
    return tuple(lost)

  @property
  def outcome(self) -> str:
    """`status`, or `diverged` where a seed is missing for that reason."""
    return 'diverged' if self.status == 'ok' and self.diverged else self.status

  @functools.cached_property
  def sampling(self) -> statistics.Sampling:
    return statistics.sampling(self.units, self.settings)

  @functools.cached_property
  def decoders(self) -> tuple[str, ...]:
    """In the order of the settings, or else of the rows."""
    found = dict.fromkeys(row.decoder for row in self.rows)
    planned = [d for d in self.settings.get('decoders') or () if d in found]
    return tuple(dict.fromkeys([*planned, *found]))

  @functools.cached_property
  def cells(self) -> Mapping[tuple[str, str, str], tuple[Row, ...]]:
    """(split, metric, decoder) -> its rows."""
    cells: dict[tuple[str, str, str], list[Row]] = {}
    for row in self.rows:
      cells.setdefault((row.split, row.metric, row.decoder), []).append(row)
    return {key: tuple(rows) for key, rows in cells.items()}

  def values(self, decoder: str, metric: str, split: str) -> dict[Unit, float]:
    """The defined values of a cell by (seed, fold), diverged ones left out."""
    return {
      (row.seed, row.fold): row.value
      for row in self.cells.get((split, metric, decoder), ())
      if math.isfinite(row.value) and (row.seed, row.fold) not in self.diverged
    }

  def interval(
    self, decoder: str, metric: str, split: str
  ) -> statistics.Interval:
    """Mean and interval of a cell, in the unit of results.csv."""
    values = list(self.values(decoder, metric, split).values())
    return statistics.t_interval(values, overlap=self.sampling.overlap)


def labels(records: Sequence[Record]) -> dict[str, str]:
  """run_id -> the name of the run in tables: its method.

  Where a method occurs twice on a data set, the name says in brackets what
  differs, so that numbers of different settings are never taken for one. An
  option that a run does not state has its default.
  """
  names = {}
  for record in records:
    same = [
      r
      for r in records
      if (r.dataset, r.method) == (record.dataset, record.method)
    ]
    # A run without settings, one that failed early, tells nothing apart.
    facts = [_facts(r) for r in same if r.settings]
    mine = _facts(record)
    differs = [
      key
      for key in dict.fromkeys([*mine, *(k for fact in facts for k in fact)])
      if _differs(key, facts)
    ]
    said = ', '.join(
      f'{key}={mine.get(key, "default")}'
      for key in differs
      if key in mine or (record.settings and '.' in key)
    )
    names[record.run_id] = (
      f'{record.method} ({said})' if said else record.method
    )
    if len(same) > 1 and not said:
      names[record.run_id] += f' ({record.run_id})'
  return names


def results_csv(records: Sequence[Record]) -> str:
  """results.csv: one row a number, not rounded; `nan` where it is undefined.

  For how many rows or labels a metric is undefined stands in summary.csv. A
  diverged seed has `nan` too, whatever its last parameters gave.
  """
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(RESULTS_COLUMNS)
  names = labels(records)
  for r in records:
    kept = (r.study, r.dataset, names[r.run_id], r.encoder, r.head, r.loss)
    for row in r.rows:
      lost = (row.seed, row.fold) in r.diverged
      value = math.nan if lost else row.value
      place = (row.decoder, row.seed, row.fold, row.split, row.metric)
      writer.writerow((*kept, *place, repr(value)))
  return text.getvalue()


def _differs(key: str, facts: Sequence[Mapping[str, str]]) -> bool:
  """Whether runs differ in a fact, as far as it is known of them."""
  values = {fact.get(key) for fact in facts}
  if key in _KNOWN_AFTERWARDS:
    values -= {None, 'auto'}
  return len(values) > 1


def _facts(record: Record) -> dict[str, str]:
  """What may tell two runs of a method apart."""
  facts = {'encoder': record.encoder, 'head': record.head, 'loss': record.loss}
  facts.update(
    (key, str(value))
    for key, value in record.settings.items()
    if key not in (*_WHO, *facts)
  )
  facts['study'] = record.study
  return {key: value for key, value in facts.items() if value}
