"""How metrics and inference are named, signed and scaled on a page."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

Need = Literal['decisions', 'scores', 'log_prob']


class Measure(NamedTuple):
  """How a metric is shown.

  Attributes:
    name: as in the rows.
    title: for people, without unit.
    better: which direction is better; None when not known, and then nothing
      is marked best and no gain is computed.
    scale: factor from the value to the number shown; 100 makes points of a
      share.
    needs: `decisions` differ by decoder, `scores` and `log_prob` do not.
  """

  name: str
  title: str
  better: Literal['higher', 'lower'] | None
  scale: float = 100.0
  needs: Need = 'decisions'

  @property
  def sign(self) -> float:
    """+1 or -1, so that sign * (a - b) > 0 says that a is better."""
    return -1.0 if self.better == 'lower' else 1.0

  @property
  def arrow(self) -> str:
    return {'higher': '↑', 'lower': '↓', None: ''}[self.better]

  @property
  def averages(self) -> Literal['row', 'label', 'value']:
    """What the metric is a mean of, one of which may be undefined."""
    if self.name == 'map' or self.name.endswith(('_macro', '_label')):
      return 'label'
    return 'value' if self.name.endswith('_micro') else 'row'

  @property
  def unit(self) -> str:
    """The unit of a difference."""
    if self.scale == 100.0:
      return 'points'
    return 'nats' if self.needs == 'log_prob' else ''


_KNOWN = (
  Measure('accuracy', 'accuracy', 'higher'),
  Measure('subset_accuracy', 'subset accuracy', 'higher'),
  Measure('hamming_loss', 'Hamming loss', 'lower'),
  Measure('hamming_accuracy', 'Hamming accuracy', 'higher'),
  Measure('jaccard_example', 'Jaccard by example', 'higher'),
  Measure('precision_example', 'precision by example', 'higher'),
  Measure('recall_example', 'recall by example', 'higher'),
  Measure('f1_example', 'F1 by example', 'higher'),
  Measure('inconsistency', 'rows breaking a rule', 'lower'),
  Measure('precision_micro', 'micro precision', 'higher'),
  Measure('recall_micro', 'micro recall', 'higher'),
  Measure('f1_micro', 'micro F1', 'higher'),
  Measure('precision_macro', 'macro precision', 'higher'),
  Measure('recall_macro', 'macro recall', 'higher'),
  Measure('f1_macro', 'macro F1', 'higher'),
  Measure('map', 'mAP', 'higher', 100.0, 'scores'),
  Measure('lrap', 'LRAP', 'higher', 100.0, 'scores'),
  Measure('auc_macro', 'macro AUC', 'higher', 100.0, 'scores'),
  Measure('coverage_error', 'coverage', 'lower', 1.0, 'scores'),
  Measure('ranking_loss', 'ranking loss', 'lower', 100.0, 'scores'),
  Measure('one_error', 'one-error', 'lower', 100.0, 'scores'),
  Measure('reciprocal_rank', 'MRR', 'higher', 100.0, 'scores'),
  Measure('mode_certified', 'modes proved', 'higher', 100.0, 'scores'),
  Measure('nll', 'joint NLL', 'lower', 1.0, 'log_prob'),
  Measure('ece', 'ECE', 'lower', 100.0, 'scores'),
  Measure('ece_label', 'ECE by label', 'lower', 100.0, 'scores'),
  Measure('brier_label', 'Brier by label', 'lower', 100.0, 'scores'),
  # Of the probability of the decision.
  Measure('ece_set', 'ECE of the set', 'lower'),
)
MEASURES: Mapping[str, Measure] = {m.name: m for m in _KNOWN}

_AT_K = (
  (r'precision_at_(\d+)', 'P@{}'),
  (r'recall_at_(\d+)', 'R@{}'),
  (r'map_at_(\d+)', 'mAP@{}'),
  (r'ndcg_at_(\d+)', 'nDCG@{}'),
  (r'ps_precision_at_(\d+)', 'PSP@{}'),
  (r'ps_ndcg_at_(\d+)', 'PSnDCG@{}'),
  (r'top_(\d+)_accuracy', 'top-{} accuracy'),
)

# As evaluation takes a regret apart: `regret_METRIC_PART`.
REGRET_PARTS = ('decoding', 'calibration', 'threshold', 'model')

# What a page shows when it is not told otherwise, as far as the rows have it.
DEFAULT_METRICS = (
  'accuracy',
  'subset_accuracy',
  'f1_example',
  'hamming_loss',
  'jaccard_example',
  'f1_micro',
  'f1_macro',
  'map',
  'lrap',
  'nll',
  'ece',
)
# The marks of Exactness; an exact number carries none.
MARKS: Mapping[str, str] = {'searched': '†', 'estimated': '~'}
MEANINGS: Mapping[str, str] = {
  'closed-form': 'exact, by a closed form',
  'enumerated': 'exact, by enumeration of all label vectors',
  'searched': 'the decision is the best that a search found, not proved best',
  'estimated': 'computed from samples of the distribution',
}


def measure(name: str) -> Measure:
  """How the metric `name` is shown; an unknown one is shown unsigned."""
  if name in MEASURES:
    return MEASURES[name]
  for pattern, title in _AT_K:
    found = re.fullmatch(pattern, name)
    if found:
      text = title.format(found.group(1))
      return Measure(name, text, 'higher', 100.0, 'scores')
  before = 'uncalibrated_'
  if name.startswith(before):
    of = measure(name.removeprefix(before))
    return of._replace(name=name, title=f'{of.title} before calibration')
  if name.startswith('regret_'):
    part = next((p for p in REGRET_PARTS if name.endswith(f'_{p}')), '')
    of = measure(name.removeprefix('regret_').removesuffix(f'_{part}'))
    title = f'regret in {of.title}' + (f', {part}' if part else '')
    return Measure(name, title, 'lower', of.scale, of.needs)
  return Measure(name, name.replace('_', ' '), None, 1.0)


def vacancy(metric: Measure, counts: Iterable[int]) -> str:
  """For how many rows or labels a metric is undefined: `1 to 3 labels`.

  Empty where it never is.
  """
  found = sorted(counts)
  if not found or not found[-1]:
    return ''
  some = f'{found[0]} to ' if found[0] < found[-1] else ''
  return f'{some}{found[-1]} {metric.averages}' + 's' * (found[-1] > 1)


def mark(exactness: str) -> str:
  """The mark beside a number; a word that is not known marks itself."""
  if exactness in MARKS:
    return MARKS[exactness]
  return '' if exactness in MEANINGS or not exactness else f'[{exactness}]'
