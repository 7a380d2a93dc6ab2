"""What helps rare labels: other losses, other rows, or other thresholds?

    python launch.py --study=imbalance
    python launch.py --study=imbalance --datasets=emotions,birds --data_dir=DIR

One model, logistic regressions, under twelve conditions: plain likelihood; four
losses that re-weigh labels or examples; logit adjustment; and six ways to
resample the training rows. Each is decided by a threshold of 0.5 and by
thresholds fitted for each label on validation rows, so that what a threshold is
worth is never booked as the gain of a loss. F1 is averaged over thirds of the
labels, by their training rows: head, middle, tail.

On yeast expect that fitted thresholds are worth as much as any remedy: the tail
goes from 0 at 0.5 to 16.6 by thresholds, 16.6 by the asymmetric loss, 17.3 by
logit adjustment and 4.6 by class-aware sampling; with fitted thresholds on both
sides no remedy differs clearly from plain training (-0.9 to +1.0), and the head
pays 3.9 for logit adjustment. On movies plain training goes from 2.4 to 19.6 by
thresholds, to 17.2 by the asymmetric loss; of the other conditions only focal
and class-balanced have been measured there. The first 16 of the 24 runs (all of
yeast, 4 of movies) took 4 CPU minutes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.config import Experiment
from experiments.studies.study import Figure, Study, experiment
from mlc.report.answers import amount
from mlc.report.dot_panels import dot_panels
from mlc.report.label_frequency import by_frequency, label_f1
from mlc.report.records import Record, Unit
from mlc.report.statistics import Interval, t_interval

PLAIN = 'plain'
# Family -> its conditions: a name, and what differs from plain training.
FAMILIES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
  PLAIN: {PLAIN: {}},
  're-weighting': {
    name: {'loss': name}
    for name in (
      'focal',
      'asymmetric',
      'class_balanced',
      'distribution_balanced',
    )
  },
  'logit adjustment': {'logit_adjusted': {'loss': 'logit_adjusted'}},
  'resampling': {
    name: {'resampling': name}
    for name in (
      'ml_ros',
      'ml_rus',
      'mlsmote',
      'remedial',
      'class_aware',
      'square_root',
    )
  },
}
FAMILY = {name: family for family, of in FAMILIES.items() for name in of}
# Decision, by the name that results have for it -> what the figure calls it.
FIXED, FITTED = 'hamming', 'tuned_f1'
THRESHOLDS = {FIXED: 'threshold 0.5', FITTED: 'fitted thresholds'}


def _conditions(dataset: str, method: str) -> list[Experiment]:
  movies = dataset == 'movies'
  common: dict[str, Any] = {
    'decoders': ('hamming', 'tuned_f'),
    'regrets': False,
    # Dividing by its deviation would make each rare token a large number.
    'standardize': not movies,
    'seeds': 3 if movies else 5,
    'learning_rates': (3e-2,) if movies else (1e-2,),
    'l2s': (0.1, 0.3) if movies else (1.0, 3.0),
    'epochs': 6 if movies else 30,
    'batch_size': 256 if movies else 64,
    'patience': 6,
  }
  return [
    experiment(dataset, method, **{**common, **changes})
    for of in FAMILIES.values()
    for changes in of.values()
  ]


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


IMBALANCE = Study(
  question='What helps rare labels: other losses, other rows, or thresholds?',
  datasets=('yeast', 'movies'),
  methods=('binary_relevance',),
  conditions=_conditions,
  metrics=(
    'f1_macro',
    'f1_micro',
    'f1_example',
    'recall_macro',
    'map',
    'hamming_loss',
  ),
  figures=_figures,
  conclusion=_conclusion,
)
