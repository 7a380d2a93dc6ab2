"""What each loss gains over cross-entropy, metric by metric."""

import math
from collections.abc import Sequence

from experiments.findings.findings import Figure, Findings
from experiments.studies.losses import BASELINE, METRICS
from mlc.report.answers import amount
from mlc.report.comparison import datasets, difference, of_dataset, shared
from mlc.report.dot_panels import dot_panels
from mlc.report.records import Record
from mlc.report.statistics import Interval
from mlc.report.vocabulary import measure

_FAMILIES = {
  'rarity weighs': ('logit_adjusted', 'ldam', 'distribution_balanced'),
  'what is easy is forgotten': ('focal', 'asymmetric'),
  'overlap': ('soft_f1', 'soft_f1_macro', 'soft_jaccard'),
  'order': (
    'zlpr',
    'lsep',
    'approx_ndcg',
    'approx_mrr',
    'listnet',
    'pairwise_logistic',
  ),
}
# Their logits are only compared with each other: neither 0.5 nor a calibration
# means anything for them.
ORDER_ONLY = {
  'lsep',
  'approx_ndcg',
  'approx_mrr',
  'listnet',
  'pairwise_logistic',
}
FIXED, TUNED = 'threshold 0.5', 'thresholds tuned'
DECODERS = {FIXED: 'hamming', TUNED: 'tuned_f1'}
NEEDS_HALF = {'f1_macro', 'f1_example', 'hamming_loss', 'ece_label'}


def _name(record: Record) -> str:
  """The loss, and its options where they are not the default."""
  given = [
    str(value)
    for key, value in record.settings.items()
    if key.startswith('loss.')
  ]
  return ', '.join([record.loss, *given])


def _groups(
  records: Sequence[Record],
) -> list[tuple[str, Record, list[Record]]]:
  """(what, run of cross-entropy, runs of the other losses), of those done."""
  groups = []
  for dataset in datasets(records):
    mine = [r for r in of_dataset(records, dataset) if r.status == 'ok']
    for method in dict.fromkeys(record.method for record in mine):
      same = [record for record in mine if record.method == method]
      base = [record for record in same if _name(record) == BASELINE]
      if base and len(same) > 1:
        several = len({record.method for record in mine}) > 1
        what = f'{dataset} ({method})' if several else dataset
        groups.append((what, base[0], [r for r in same if r is not base[0]]))
  return groups


def _family(name: str) -> str:
  loss = name.partition(',')[0]
  if name != loss:
    return 'rarity weighs'
  found = (family for family, of in _FAMILIES.items() if loss in of)
  return next(found, 'cross-entropy')


def _gain(record: Record, base: Record, metric: str, by: str) -> Interval:
  """Over cross-entropy with the same decoder, in points; more is better."""
  if record.loss in ORDER_ONLY and by == FIXED and metric in NEEDS_HALF:
    return Interval(math.nan, None, 0, 'the loss only orders labels')
  decoder = DECODERS[by]
  return difference((record, decoder), (base, decoder), measure(metric), 'test')


def _figures(records: Sequence[Record]) -> list[Figure]:
  """What each loss gains over cross-entropy, metric by metric."""
  figures = []
  for what, base, others in _groups(records):
    panels = []
    for metric in METRICS:
      same = shared(base, measure(metric), 'test')
      kinds = [*DECODERS][: 1 if same else None]
      # Cross-entropy itself: the line that the others are held against.
      dots = {BASELINE: {by: (0.0, 0.0, 0.0) for by in kinds}}
      for record in others:
        of_one = {by: _gain(record, base, metric, by) for by in kinds}
        dots[_name(record)] = {
          by: (gain.mean, gain.mean - half, gain.mean + half)
          for by, gain in of_one.items()
          for half in [gain.half_width or 0.0]
          if gain.n
        }
      panels.append((measure(metric).title, dots))
    names = [BASELINE, *(_name(record) for record in others)]
    figure = dot_panels(
      [panels[:3], panels[3:]],
      x='gain, points (right is better)',
      families={name: _family(name) for name in names},
    )
    title = f'What each loss gains over cross-entropy on {what}'
    figures.append((title, figure, _caption(base)))
  return figures


def _caption(base: Record) -> str:
  """Where cross-entropy stands."""
  said = []
  for metric in METRICS:
    known = measure(metric)
    numbers = {
      by: base.interval(decoder, metric, 'test').scaled(known.scale)
      for by, decoder in DECODERS.items()
    }
    if shared(base, known, 'test'):
      numbers = {'': numbers[FIXED]}
    level = ', '.join(
      f'{found.mean:.1f} {by}'.strip()
      for by, found in numbers.items()
      if found.n
    )
    if level:
      said.append(f'{known.title} {level}')
  return (
    'Paired over the same seeds, with 95 % intervals. mAP, LRAP and '
    'calibration do not depend on the threshold; for losses that only order '
    'labels (lsep, approx_ndcg) neither 0.5 nor a calibration means anything, '
    f'and is left out. Cross-entropy itself: {"; ".join(said)}.'
  )


def _conclusion(records: Sequence[Record]) -> list[str]:
  """At 0.5; with tuned thresholds; the ranking, and what it costs."""
  groups = _groups(records)
  if not groups:
    return []
  fixed = [_best(group, 'f1_macro', FIXED) for group in groups]
  tuned = [_tuned(group) for group in groups]
  ranking = [
    f'{_best(group, "map", FIXED)} in mAP and {_best(group, "lrap", FIXED)} in '
    f'LRAP, while in calibration {_worse(group, "ece_label")}'
    for group in groups
  ]
  whats = [group[0] for group in groups]

  def on(clauses: Sequence[str]) -> str:
    parts = zip(whats, clauses, strict=True)
    return '; '.join(f'on {what} {clause}' for what, clause in parts)

  return [
    f'At the threshold 0.5 the largest gain in macro F1 over cross-entropy is '
    f'{on(fixed)}.',
    f'With thresholds tuned on validation for both, {on(tuned)}.',
    f'Of what no threshold touches, the largest gain is {on(ranking)}.',
  ]


def _ranked(
  group: tuple[str, Record, list[Record]], metric: str, by: str
) -> list[tuple[Record, Interval]]:
  """The losses by their gain, the largest first."""
  _, base, others = group
  found = [(record, _gain(record, base, metric, by)) for record in others]
  there = [pair for pair in found if pair[1].n and math.isfinite(pair[1].mean)]
  return sorted(there, key=lambda pair: -pair[1].mean)


def _best(group: tuple[str, Record, list[Record]], metric: str, by: str) -> str:
  ranked = _ranked(group, metric, by)
  if not ranked:
    return 'not measured'
  record, gain = ranked[0]
  return f'that of {_name(record)} ({amount(gain, "points")})'


def _tuned(group: tuple[str, Record, list[Record]]) -> str:
  """How many losses gain still, and by how much the best of 0.5 does."""
  ranked = _ranked(group, 'f1_macro', TUNED)
  before = _ranked(group, 'f1_macro', FIXED)
  if not ranked or not before:
    return 'nothing was measured'
  gained = sum(gain.side > 0 for _, gain in before)
  still = sum(gain.side > 0 for _, gain in ranked)
  first = before[0][0]
  left = next((gain for record, gain in ranked if record is first), None)
  words = (
    f'{still} of {len(ranked)} losses gain clearly, where {gained} of '
    f'{len(before)} did at 0.5'
  )
  if left is not None:
    words += f', and {_name(first)} is left with {amount(left, "points")}'
  if ranked[0][0] is not first:
    words += f' (largest: {_best(group, "f1_macro", TUNED)})'
  return words


def _worse(group: tuple[str, Record, list[Record]], metric: str) -> str:
  ranked = _ranked(group, metric, FIXED)
  if not ranked:
    return 'nothing was measured'
  worse = sum(gain.side < 0 for _, gain in ranked)
  record, loss = ranked[-1]
  return (
    f'{worse} of {len(ranked)} losses are clearly worse, {_name(record)} most '
    f'({amount(loss, "points")})'
  )


FINDINGS = Findings(_figures, _conclusion)
