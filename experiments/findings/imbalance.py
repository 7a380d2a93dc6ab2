"""F1 by label frequency under every remedy."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.findings.findings import Figure, Findings
from experiments.studies.imbalance import FAMILIES, PLAIN
from mlc.report.answers import amount
from mlc.report.dot_panels import dot_panels
from mlc.report.label_frequency import by_frequency, label_f1
from mlc.report.records import Record, Unit
from mlc.report.statistics import Interval, t_interval

FAMILY = {name: family for family, of in FAMILIES.items() for name in of}
# Decision, by the name that results have for it -> what the figure calls it.
FIXED, FITTED = 'hamming', 'tuned_f1'
THRESHOLDS = {FIXED: 'threshold 0.5', FITTED: 'fitted thresholds'}


class Found(NamedTuple):
  """What is known of one condition on one data set.

  Attributes:
    record: the run directory.
    f1: decoder -> group -> seed and fold -> mean F1 of the labels, in points.
    positives: training rows of each label, mean over seeds and folds.
    unseen: labels without a positive test row in some seed or fold.
  """

  record: Record
  f1: Mapping[str, Mapping[str, Mapping[Unit, float]]]
  positives: np.ndarray
  unseen: int

  def interval(self, decoder: str, group: str) -> Interval:
    values = list(self.f1[decoder][group].values())
    return t_interval(values, overlap=self.record.sampling.overlap)

  def gain(
    self, decoder: str, other: 'Found', of_other: str, group: str
  ) -> Interval:
    """F1 minus that of another condition, paired by seed and fold."""
    mine, theirs = self.f1[decoder][group], other.f1[of_other][group]
    values = [mine[unit] - theirs[unit] for unit in mine if unit in theirs]
    return t_interval(values, overlap=self.record.sampling.overlap)

  def on_validation(self, decoder: str) -> float:
    """Macro F1 of the validation rows; -1 where it is not known."""
    found = self.record.interval(decoder, 'f1_macro', 'validation')
    return found.mean if found.n else -1.0


def condition_of(record: Record) -> str:
  """The name of the condition under which a run was made; '' if of none."""
  stated = {
    key: record.settings.get(key)
    for key, default in (('loss', 'nll'), ('resampling', 'none'))
    if record.settings.get(key, default) != default
  }
  named = {name: of[name] for of in FAMILIES.values() for name in of}
  return next((name for name, of in named.items() if of == stated), '')


def found_in(record: Record) -> Found | None:
  """Per-label F1 of a run; None where it has none."""
  arrays = record.predictions
  decisions = [name for name in THRESHOLDS if f'decision_{name}' in arrays]
  if FIXED not in decisions or 'train_positives' not in arrays:
    return None
  positives = arrays['train_positives'].mean(axis=0)
  groups = by_frequency(positives)
  f1: dict[str, dict[str, dict[Unit, float]]] = {
    name: {group: {} for group in groups} for name in decisions
  }
  unseen = np.zeros(len(positives), bool)
  units = zip(arrays['seed'], arrays['fold'], strict=True)
  for i, (seed, fold) in enumerate(units):
    unit = (int(seed), int(fold))
    here = arrays['row'][i] >= 0
    where = arrays['where'][i][here] if 'where' in arrays else None
    y = arrays['y'][i][here]
    for name in decisions:
      of_label = label_f1(y, arrays[f'decision_{name}'][i][here], where)
      unseen |= np.isnan(of_label)
      for group, members in groups.items():
        values = of_label[members]
        values = values[~np.isnan(values)]
        if len(values) and unit not in record.diverged:
          f1[name][group][unit] = float(100.0 * values.mean())
  return Found(record, f1, positives, int(unseen.sum()))


def _settings(
  records: Sequence[Record],
) -> dict[str, dict[str, Found]]:
  """Data set (and method) -> condition -> what was found, plain first."""
  several = len({record.method for record in records}) > 1
  found: dict[str, dict[str, Found]] = {}
  for record in records:
    name, here = condition_of(record), found_in(record)
    if name and here is not None:
      place = record.dataset + (f', {record.method}' if several else '')
      found.setdefault(place, {})[name] = here
  ordered = {
    place: {name: of[name] for name in FAMILY if name in of}
    for place, of in found.items()
  }
  # Without plain training there is nothing to compare with.
  return {place: of for place, of in ordered.items() if PLAIN in of}


def _figures(records: Sequence[Record]) -> list[Figure]:
  """F1 by label frequency of every condition."""
  settings = _settings(records)
  grid, captions = [], []
  for place, of in settings.items():
    groups = by_frequency(of[PLAIN].positives)
    panels = []
    for group, members in groups.items():
      rows = of[PLAIN].positives[members]
      title = f'{place}, {group}: {rows.min():,.0f} to {rows.max():,.0f} rows'
      panels.append((title, {n: _dots(f, group) for n, f in of.items()}))
    grid.append(panels)
    unseen = max(f.unseen for f in of.values())
    captions.append(
      f'{place}: thirds of {len(of[PLAIN].positives)} labels by the training '
      'rows that have them'
      + (f', {unseen} left out where no test row has them.' if unseen else '.')
    )
  if not grid:
    return []
  figure = dot_panels(grid, x='F1, points', families=FAMILY)
  caption = (
    'Mean F1 of the labels of each third on test rows, with 95 % intervals; '
    'lines mark plain training. ' + ' '.join(captions)
  )
  return [('Rare labels under every remedy', figure, caption)]


def _dots(found: Found, group: str) -> dict[str, tuple[float, float, float]]:
  """Threshold -> mean, low, high."""
  dots = {}
  for decoder in found.f1:
    interval = found.interval(decoder, group)
    if interval.n:
      half = interval.half_width or 0.0
      dots[THRESHOLDS[decoder]] = (
        interval.mean,
        interval.mean - half,
        interval.mean + half,
      )
  return dots


def _conclusion(records: Sequence[Record]) -> list[str]:
  """Three sentences: the tail, the tail with thresholds, and the head."""
  settings = _settings(records)
  if not settings:
    return []
  tail, remains, head = [], [], []
  for place, of in settings.items():
    groups = list(of[PLAIN].f1[FIXED])
    base = of[PLAIN].interval(FIXED, groups[-1]).mean
    tail.append(f'on {place} (F1 {base:.1f}) {_gains(of, FIXED, groups[-1])}')
    remains.append(f'on {place} {_gains(of, FITTED, groups[-1])}')
    base = of[PLAIN].interval(FIXED, groups[0]).mean
    head.append(f'on {place} (F1 {base:.1f}) {_gains(of, FIXED, groups[0])}')
  return [
    'At a threshold of 0.5 the rarest third of the labels gains over plain '
    f'training, in points of F1: {"; ".join(tail)}.',
    'Where plain training has fitted thresholds too, the same third gains: '
    f'{"; ".join(remains)}.',
    f'The most frequent third gains at a threshold of 0.5: {"; ".join(head)}.',
  ]


def _gains(of: Mapping[str, Found], decoder: str, group: str) -> str:
  """What the best of each family gains over plain training, in words."""
  plain = of[PLAIN]
  said = [
    f'{_said(found.gain(decoder, plain, decoder, group))} by {family}'
    + (f' ({name})' if name != family else '')
    for family, name, found in _best(of, decoder)
  ]
  if decoder == FIXED and FITTED in plain.f1:
    alone = plain.gain(FITTED, plain, FIXED, group)
    said.append(f'{_said(alone)} by fitted thresholds')
  return ', '.join(said) or 'nothing was measured'


def _best(
  of: Mapping[str, Found], decoder: str
) -> list[tuple[str, str, Found]]:
  """Of each family the condition of the best macro F1 on validation rows."""
  chosen = []
  for family in FAMILIES:
    mine = [
      name
      for name, found in of.items()
      if FAMILY[name] == family != PLAIN and decoder in found.f1
    ]
    if mine and decoder in of[PLAIN].f1:
      name = max(mine, key=lambda name: of[name].on_validation(decoder))
      chosen.append((family, name, of[name]))
  return chosen


def _said(gain: Interval) -> str:
  """A gain with its interval, in points."""
  return amount(gain, '') if gain.n else 'an unknown amount'


FINDINGS = Findings(_figures, _conclusion)
