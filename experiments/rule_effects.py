"""Which rules the predictions break, and which predictions a rule changed.

A changed label is held by those rules that the new decision would break if the
label were put back. What is changed without such a rule follows from the other
changes, or from probabilities that were conditioned on the rules.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mlc import rules as rule_set
from mlc.data.dataset import Dataset
from mlc.report.answers import signed
from mlc.report.vocabulary import measure
from mlc.rules import Rule

# What a way of keeping rules adds to the name of a decoder.
_WAYS = ('', '_repair', '_decode', '_condition')
# Numbers of a block of changed rows by labels: 32 MiB in float32.
_BLOCK = 2**23
# What a note says of the cost, as far as it was measured.
_TOLD = ('accuracy', 'subset_accuracy', 'hamming_loss', 'f1_example')


class Change(NamedTuple):
  """A label that a constraint changed in one row of one run."""

  run: int
  row: int
  decoder: str
  label: int
  before: int
  rules: tuple[int, ...]


class Effects(NamedTuple):
  """What the rules did on the test rows.

  Attributes:
    sets: the rules of each run.
    source: constrained decoder -> the decoder without rules.
    inconsistent: decoder -> [runs], the share of rows that break a rule.
    breaks: decoder -> for each run [rules], the rows that break each.
    truth: for each run [2, rules], training and test rows whose truth breaks
      each; rows with an unknown label are left out.
    truth_rows: [runs, 2], how many rows these are out of, and
    truth_broken: [runs, 2], how many break some rule.
    changes: label by label.
    never: for each run the labels that no allowed vector has on.
  """

  sets: Sequence[Sequence[Rule]]
  source: Mapping[str, str]
  inconsistent: Mapping[str, np.ndarray]
  breaks: Mapping[str, Sequence[np.ndarray]]
  truth: Sequence[np.ndarray]
  truth_rows: np.ndarray
  truth_broken: np.ndarray
  changes: Sequence[Change]
  never: Sequence[Sequence[str]]


def of_decisions(
  sets: Sequence[Sequence[Rule]],
  arrays: Mapping[str, np.ndarray],
  dataset: Dataset,
  plain: Sequence[str],
) -> Effects:
  """Counts what breaks the rules, and finds what they changed.

  Args:
    sets: the rules of each run.
    arrays: of predictions.npz.
    dataset: for its labels.
    plain: the decoders that know no rules.
  """
  ordered = [(base, f'{base}{way}') for base in plain for way in _WAYS]
  decisions = {
    name: arrays[f'decision_{name}']
    for _, name in ordered
    if f'decision_{name}' in arrays
  }
  source = {
    name: base for base, name in ordered if name in decisions and name != base
  }
  compiled = [rule_set.compiled(rules, dataset.num_labels) for rules in sets]
  kept = [row >= 0 for row in arrays['row']]
  broken = {
    name: [
      rule_set.violations(compiled[run], d[run][kept[run]].astype(np.float32))
      for run in range(len(sets))
    ]
    for name, d in decisions.items()
  }
  truths = [
    [_truth(dataset, rows[rows >= 0], compiled[run]) for rows in parts]
    for run, parts in enumerate(
      zip(arrays['train_row'], arrays['row'], strict=True)
    )
  ]
  return Effects(
    sets,
    source,
    {
      name: np.array([b.any(axis=1).mean() for b in each])
      for name, each in broken.items()
    },
    {name: [b.sum(axis=0) for b in each] for name, each in broken.items()},
    [np.stack([b.sum(axis=0) for b in parts]) for parts in truths],
    np.array([[len(b) for b in parts] for parts in truths]),
    np.array([[b.any(axis=1).sum() for b in parts] for parts in truths]),
    [
      change
      for name, base in source.items()
      for run in range(len(sets))
      for change in _changes(
        run, name, decisions[base][run], decisions[name][run], kept, compiled
      )
    ],
    [_never(rules, dataset.label_names) for rules in sets],
  )


def _truth(dataset, rows, rules):
  """[rows with every label known, rules] what their truth breaks."""
  if dataset.where is not None:
    rows = rows[dataset.where[rows].all(axis=1)]
  return rule_set.violations(rules, dataset.y[rows].astype(np.float32))


def _never(rules, names):
  return tuple(names[j] for j in rule_set.never_on(rules, len(names)))


def _changes(run, name, before, after, kept, compiled) -> Iterable[Change]:
  rules = compiled[run]
  place, label = np.nonzero((before != after) & kept[run][:, None])
  step = max(1, _BLOCK // max(1, rules.matrix.shape[1] + len(rules.low)))
  for start in range(0, len(place), step):
    rows, labels = place[start : start + step], label[start : start + step]
    back = after[rows].astype(np.float32)
    back[np.arange(len(rows)), labels] = before[rows, labels]
    holding = rule_set.violations(rules, back)
    for i, (row, j) in enumerate(zip(rows, labels, strict=True)):
      held = tuple(np.flatnonzero(holding[i]).tolist())
      yield Change(run, int(row), name, int(j), int(before[row, j]), held)


# What is said, and what is written.


def notes_of(
  effects: Effects, rows: Sequence[Mapping[str, Any]], empirical: bool
) -> list[str]:
  """What a user must know, in sentences."""
  counts = [len(rules) for rules in effects.sets]
  number = f'{min(counts)}'
  if max(counts) > min(counts):
    number += f' to {max(counts)}'
  where = ' mined from the training rows of each run, so empirical' * empirical
  share = effects.truth_broken.sum(0) / np.maximum(effects.truth_rows.sum(0), 1)
  notes = [
    f'{number} rules{where}: the truth of {_percent(share[0])} of the training '
    f'rows and of {_percent(share[1])} of the test rows breaks one or more'
  ]
  never = sorted({name for labels in effects.never for name in labels})
  if never:
    some = ', '.join(never[:5]) + (', ...' if len(never) > 5 else '')
    notes.append(f'the rules never allow {len(never)} labels: {some}')
  for name, share in effects.inconsistent.items():
    if name in effects.source:
      notes.append(_note_of_change(effects, rows, name))
      continue
    most = _most(effects, zip(effects.sets, effects.breaks[name], strict=True))
    notes.append(
      f'{name} without rules: {_percent(share.mean())} of the test rows break '
      f'one{most}'
    )
  return notes


def _note_of_change(effects, rows, name):
  mine = [change for change in effects.changes if change.decoder == name]
  touched = len({(change.run, change.row) for change in mine})
  held = [np.zeros(len(rules)) for rules in effects.sets]
  for change in mine:
    held[change.run][list(change.rules)] += 1
  most = _most(effects, zip(effects.sets, held, strict=True))
  base = effects.source[name]
  costs = []
  for metric in _TOLD:
    pairs = _pairs(rows, base, name, metric)
    if pairs:
      shown = measure(metric)
      mean = shown.scale * float(np.mean([b - a for a, b in pairs]))
      costs.append(f'{shown.title} {signed(mean)}')
  told = f'; against {base}, in points: {", ".join(costs)}' if costs else ''
  return (
    f'{name}: {len(mine)} labels changed in {touched} test rows of all seeds '
    f'and folds{most}{told}'
  )


def _most(effects, counted):
  """The rule that was counted most often, over all runs."""
  total: dict[str, float] = {}
  for rules, counts in counted:
    for rule, count in zip(rules, counts, strict=True):
      total[rule.text] = total.get(rule.text, 0) + count
  text = max(total, key=lambda key: total[key], default='')
  if not text or not total[text]:
    return ''
  return f', most often `{text}` ({total[text]:.0f})'


def _pairs(rows, base, name, metric, split='test'):
  """(without rules, with them) of each seed and fold."""
  of: dict[str, dict[tuple[int, int], float]] = {base: {}, name: {}}
  for row in rows:
    if (row['metric'], row['split']) == (metric, split):
      of.get(row['decoder'], {})[row['seed'], row['fold']] = row['value']
  return [(of[base][u], of[name][u]) for u in of[base] if u in of[name]]


def tables(
  effects: Effects,
  rows: Sequence[Mapping[str, Any]],
  arrays: Mapping[str, np.ndarray],
) -> dict[str, str]:
  """File name -> content, as CSV.

  `changes.csv` has a line for each label that was changed, `rules.csv` one for
  each rule and decoder, `cost.csv` one for each metric, with and without rules.
  """
  return {
    'changes.csv': _csv(
      'decoder seed fold row label before after marginal rules',
      _change_lines(effects, arrays),
    ),
    'rules.csv': _csv(
      'seed fold rule source decoder predictions_breaking labels_changed '
      'truth_train truth_test',
      _rule_lines(effects, arrays),
    ),
    'cost.csv': _csv(
      'decoder without seed fold split metric unconstrained constrained '
      'difference',
      _cost_lines(effects, rows),
    ),
  }


def _csv(header: str, lines: Iterable[Sequence[Any]]) -> str:
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(header.split())
  writer.writerows(lines)
  return text.getvalue()


def _change_lines(effects, arrays):
  for change in effects.changes:
    run, row = change.run, change.row
    yield (
      change.decoder,
      arrays['seed'][run],
      arrays['fold'][run],
      arrays['row'][run, row],
      arrays['label_names'][change.label],
      change.before,
      1 - change.before,
      f'{arrays["marginals"][run, row, change.label]:.4g}',
      '; '.join(effects.sets[run][r].text for r in change.rules),
    )


def _rule_lines(effects, arrays):
  changed: dict[tuple[int, str, int], int] = {}
  for change in effects.changes:
    for r in change.rules:
      key = change.run, change.decoder, r
      changed[key] = changed.get(key, 0) + 1
  for run, rules in enumerate(effects.sets):
    for r, rule in enumerate(rules):
      for name, breaks in effects.breaks.items():
        yield (
          arrays['seed'][run],
          arrays['fold'][run],
          rule.text,
          rule.source,
          name,
          breaks[run][r],
          changed.get((run, name, r), 0),
          *effects.truth[run][:, r],
        )


def _cost_lines(effects, rows):
  values = {
    (
      row['decoder'],
      row['seed'],
      row['fold'],
      row['split'],
      row['metric'],
    ): row['value']
    for row in rows
  }
  for (decoder, *place), value in values.items():
    base = effects.source.get(decoder)
    before = values.get((base, *place))
    if base is not None and before is not None:
      yield (decoder, base, *place, before, value, value - before)


def _percent(share) -> str:
  return f'{100.0 * float(share):.1f} %'
