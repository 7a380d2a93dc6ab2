"""What each rule gains, and what of it is left on new rows."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.findings.findings import Figure, Findings
from mlc.report.answers import amount, signed
from mlc.report.comparison import datasets, of_dataset
from mlc.report.dot_panels import dot_panels
from mlc.report.records import Record
from mlc.report.threshold_curves import Panel, curve_of, threshold_curves
from mlc.report.threshold_gain import (
  ALL,
  BASELINE,
  GAIN,
  OVERFIT,
  Measured,
  f1_of,
  groups_of,
  mean_points,
  measured_gains,
  rows_of,
  rules_of,
  threshold_of,
)

# Rules by what they are after.
_FAMILIES = {
  'F1': ('tuned_f1', 'micro_f1', 'pooled_f1'),
  'both errors alike': ('youden',),
  'as many as there are': ('pcut', 'rcut'),
  'scores alone': ('otsu', 'mcut'),
  'cost': ('cost', 'tuned_cost'),
}


def _done(records: Sequence[Record]) -> list[tuple[str, Record]]:
  """(what, run) of the runs that have test rows and the threshold 0.5."""
  found = []
  for dataset in datasets(records):
    mine = [
      record
      for record in of_dataset(records, dataset)
      if record.status == 'ok'
      and {'y', 'marginals', f'decision_{BASELINE}'}
      <= record.predictions.keys()
      and len(record.predictions['y'])
    ]
    several = len(mine) > 1
    found += [
      (f'{dataset} ({r.method})' if several else dataset, r) for r in mine
    ]
  return found


def _figures(records: Sequence[Record]) -> list[Figure]:
  """Curves with what was chosen, and gain and overfit, of each data set."""
  figures = []
  for what, record in _done(records):
    figures += [_curves(what, record), _dots(what, record)]
  return figures


def _curves(what: str, record: Record) -> Figure:
  """Of a label of each group, of the first seed."""
  arrays, panels = record.predictions, []
  rows = {part: rows_of(record, part, 0) for part in ('test', 'validation')}
  for group, labels in groups_of(record, 0).items():
    with_any = [j for j in labels if rows['test']['y'][:, j].any()]
    if not with_any:
      continue
    # The one in the middle of its group.
    j = with_any[len(with_any) // 2]
    curves = {
      part: curve_of(of['p'][:, j], of['y'][:, j])
      for part, of in rows.items()
      if of and of['y'][:, j].any()
    }
    share = rows['test']['y'][:, j].mean()
    name = f'{arrays["label_names"][j]} ({group}, {100 * share:.1f} %)'
    panels.append(Panel(name, curves, _chosen(record, j)))
  caption = (
    'One label of each third by frequency (with its share of test rows), one '
    'seed. A point is the threshold that a rule chose on validation rows, on '
    'the curve of test rows; bars are 95 % of the thresholds of bootstrap '
    'resamples. Thresholds stand by their log odds, those beyond 0.001 and '
    '0.99 at the edge.'
  )
  return f'What each rule chose on {what}', threshold_curves(panels), caption


def _chosen(
  record: Record, label: int
) -> dict[str, tuple[float, float, float]]:
  """Rule -> its threshold for a label in the first run, and its interval."""
  arrays, chosen = record.predictions, {}
  for rule in rules_of(record):
    threshold = threshold_of(record, rule, 0)
    if threshold is None:
      continue
    low, high = (
      float(arrays[key][0, label]) if key in arrays else math.nan
      for key in (f'threshold_low_{rule}', f'threshold_high_{rule}')
    )
    chosen[rule] = (float(threshold[label]), low, high)
  return chosen


def _dots(what: str, record: Record) -> Figure:
  # A promise may be worth more than F1, and shows nothing of it here.
  rules = [r for r in rules_of(record) if not r.startswith('target')]
  measured = {rule: measured_gains(record, rule) for rule in rules}
  panels = []
  for group in groups_of(record, 0):
    dots = {}
    for rule in rules:
      numbers = {}
      for kind in (GAIN, OVERFIT):
        found = measured[rule][group, kind]
        if found.n:
          half = found.half_width or 0.0
          numbers[kind] = (found.mean, found.mean - half, found.mean + half)
      dots[rule] = numbers
    panels.append((f'{group} labels', dots))
  figure = dot_panels(
    [panels],
    x='F1, points',
    families={rule: _family(rule) for rule in rules},
  )
  base = mean_points(
    np.stack(
      [
        f1_of(record, BASELINE, 'test', run)
        for run in range(len(record.predictions['y']))
      ]
    )
  )
  caption = (
    'Means over the labels of a third and over seeds, with 95 % intervals over '
    f'seeds. The threshold 0.5 has a macro F1 of {base:.1f} on test rows. '
    'Rules that are no threshold of a label (rcut, mcut) have no overfit here, '
    'and what the costs (cost, tuned_cost) are after is not F1.'
  )
  return f'Gain and overfit of each rule on {what}', figure, caption


def _family(rule: str) -> str:
  found = (family for family, of in _FAMILIES.items() if rule in of)
  return next(found, 'threshold 0.5' if rule == BASELINE else 'other')


def _conclusion(records: Sequence[Record]) -> list[str]:
  """What gains, what of it is overfit, what is stable and kept."""
  done = _done(records)
  if not done:
    return []

  def on(clauses: Sequence[str]) -> str:
    parts = zip([what for what, _ in done], clauses, strict=True)
    return '; '.join(f'on {what} {clause}' for what, clause in parts)

  found = [
    {rule: measured_gains(record, rule) for rule in rules_of(record)}
    for _, record in done
  ]
  return [
    'Over the threshold 0.5 macro F1 gains most '
    f'{on([_most_gained(measured) for measured in found])}.',
    'Where its threshold was chosen a rule looks better than on new rows '
    f'{on([_most_overfit(measured) for measured in found])}.',
    f'Of the thresholds themselves, '
    f'{on([_stability(record) for _, record in done])}.',
  ]


def _most_gained(measured: Mapping[str, Measured]) -> str:
  """The rule of the largest gain, and of whose labels it is."""
  others = {
    rule: of
    for rule, of in measured.items()
    if rule != BASELINE and of[ALL, GAIN].n
  }
  if not others:
    return 'by a rule that was not measured'
  best = max(others, key=lambda rule: others[rule][ALL, GAIN].mean)
  of = others[best]
  thirds = ', '.join(
    f'{signed(interval.mean, 1)} on the {group}'
    for (group, what), interval in of.items()
    if what == GAIN and group != ALL and interval.n
  )
  return f'by {best} ({amount(of["all", GAIN], "points")}: {thirds})'


def _most_overfit(measured: Mapping[str, Measured]) -> str:
  """The rule that overfits most, beside 0.5, which was not fitted."""
  overfit = {
    rule: of[ALL, OVERFIT]
    for rule, of in measured.items()
    if of[ALL, OVERFIT].n
  }
  if len(overfit) < 2 or BASELINE not in overfit:
    return 'nothing was measured'
  most = max(overfit, key=lambda rule: overfit[rule].mean)
  thirds = ', '.join(
    f'{signed(interval.mean, 1)} on the {group}'
    for (group, what), interval in measured[most].items()
    if what == OVERFIT and group != ALL and interval.n
  )
  return (
    f'by {amount(overfit[most], "points")} of F1 at most, with {most} '
    f'({thirds}), where 0.5, which nothing chose, has '
    f'{signed(overfit[BASELINE].mean, 1)}'
  )


def _stability(record: Record) -> str:
  """Widths of intervals by group, and how far promises were kept."""
  arrays = record.predictions
  said = []
  low, high = (
    arrays.get(f'threshold_{end}_tuned_f1') for end in ('low', 'high')
  )
  if low is not None and high is not None:
    width = np.clip(high, 0.0, 1.0) - np.clip(low, 0.0, 1.0)
    groups = groups_of(record, 0)
    wide = ' and '.join(
      f'{np.median(width[:, groups[group]]):.2f} on the {group}'
      for group in ('head', 'tail')
      if group in groups
    )
    said.append(
      f'95 % of the resampled thresholds of tuned_f1 span a median of {wide}'
    )
  said += _kept(record)
  return ', '.join(said) or 'nothing was measured'


def _kept(record: Record) -> list[str]:
  """For how many labels a precision was promised, and where it was broken."""
  arrays = record.predictions
  before = 'never_target_precision_'
  names = [key for key in arrays if key.startswith(before)]
  if not names:
    return []
  target = names[0].removeprefix(before)
  made = ~arrays[names[0]]
  decided = arrays[f'decision_target_precision_{target}'] > 0
  decided &= (arrays['row'] >= 0)[:, :, None]
  hits = (decided & (arrays['y'] > 0)).sum(axis=1)
  broken = made & (hits < float(target) * decided.sum(axis=1))
  return [
    f'and a precision of {target} can be promised for {made.sum()} of '
    f'{made.size} labels and seeds, {broken.sum()} of which fall below it on '
    'test rows'
  ]


FINDINGS = Findings(_figures, _conclusion)
