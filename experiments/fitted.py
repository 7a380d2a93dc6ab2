"""What is kept and said of what decoders learn on validation rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# Thresholds with their intervals, labels that fell back, what is promised.
_PROMISED = ('reached', 'least', 'rows')
_KEPT = (
  *('threshold', 'threshold_low', 'threshold_high'),
  *('pooled', 'expected', 'never', 'always'),
  *_PROMISED,
)
# Why a label has no threshold of its own, and what it does then.
_FEW = 'have too few positives among the validation rows of some seed or fold'
_FELL_BACK = {
  'pooled': f'{_FEW}; there they take the threshold that is best for all '
  'labels pooled',
  'expected': f'{_FEW}; there they take the threshold of least expected cost',
  'never': 'have no threshold of which the validation rows of some seed or '
  'fold prove the precision; there they are never predicted',
  'always': f'{_FEW} to prove the recall of any threshold; there they are '
  'always predicted',
}


def thresholds_of(states: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Fitted thresholds, by the names that predictions.npz has for them.

  Of a decoder that keeps rules only what it promises of its own.
  """
  found = {}
  for name, state in states.items():
    keeps_rules = isinstance(state, dict) and 'fitted' in state
    inner = state['fitted'] if keeps_rules else state
    kept = _PROMISED if keeps_rules else _KEPT
    if isinstance(inner, dict):
      for what in kept:
        if what in inner:
          found[f'{what}_{name}'] = np.asarray(inner[what])
  return found


def notes_of(arrays: Mapping[str, np.ndarray]) -> list[str]:
  """What a user must know of fitted thresholds and of calibration."""
  notes = []
  kept = arrays.get('calibration_kept', np.zeros((0, 0), bool))
  if kept.any():
    notes.append(
      f'calibration: {_named(arrays, kept)} have no '
      'positive or no negative among the validation rows of some seed or fold; '
      'there their probabilities stay as they were'
    )
  for key, labels in arrays.items():
    for what, said in _FELL_BACK.items():
      name = key.removeprefix(f'{what}_')
      if name != key and labels.any():
        notes.append(f'decoder {name}: {_named(arrays, labels)} {said}')
  return [*notes, *_not_promised(arrays), *_not_stable(arrays)]


def _not_promised(arrays: Mapping[str, np.ndarray]) -> list[str]:
  """Where a risk could not be controlled, and at which level it could."""
  notes = []
  for key, reached in arrays.items():
    name = key.removeprefix('reached_')
    if name == key or reached.all():
      continue
    least = arrays[f'least_{name}'][~reached].max()
    rows = arrays[f'rows_{name}'][~reached].min()
    notes.append(
      f'decoder {name} promises nothing in {(~reached).sum()} of '
      f'{reached.size} seeds and folds: with {rows:.0f} validation rows it '
      f'could for alpha from {least:.3g} on. More rows, or a larger '
      '--decoder.alpha, give a promise'
    )
  return notes


def _named(
  arrays: Mapping[str, np.ndarray], found: np.ndarray, most: int = 5
) -> str:
  """How many labels are true in some run, and which, in words."""
  names = arrays['label_names'][found.any(axis=0)]
  some = ', '.join(names[:most]) + (', ...' if len(names) > most else '')
  return f'{len(names)} of {found.shape[1]} labels ({some})'


def _not_stable(arrays: Mapping[str, np.ndarray]) -> list[str]:
  """How far thresholds move over resamples, and whose the most."""
  notes = []
  for key in arrays:
    name = key.removeprefix('threshold_low_')
    if name == key:
      continue
    ends = np.stack([arrays[key], arrays[f'threshold_high_{name}']])
    # A label that is always predicted has a threshold below 0.
    low, high = np.clip(ends, 0.0, 1.0).mean(axis=1)
    widest = np.argsort(low - high, kind='stable')[:3]
    some = ', '.join(
      f'{arrays["label_names"][j]} {low[j]:.2f} to {high[j]:.2f}'
      for j in widest
    )
    notes.append(
      f'decoder {name}: 95 % of the thresholds of bootstrap resamples lie '
      f'within {np.median(high - low):.2f} for the median label; the least '
      f'stable are {some}'
    )
  return notes
