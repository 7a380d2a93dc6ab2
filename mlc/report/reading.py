"""From the run directories of a study to its records.

A run directory is read when it is done. What the pages read of `results.json`:
`study run_id dataset method encoder head loss settings rows runs profile
dependence notes parameters seconds`; of `settings` they interpret `split`
(given, holdout or kfold), `folds` and `test_fraction`, which decide the
intervals.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlc.report.records import Candidate, Curve, Record, Row
from mlc.run_directory import RunDirectory, RunDirectoryError


def read(
  study_dir: str | os.PathLike, run_ids: Sequence[str]
) -> tuple[Record, ...]:
  """Reads the run directories of a study, in the order given.

  Args:
    study_dir: `<workdir>/<study>`.
    run_ids: names of run directories in it, as the manifest lists them.

  Returns:
    One record a run: what cannot be read is a record that says why, never a
    gap.
  """
  directory = pathlib.Path(study_dir)
  return tuple(_read_run(directory / run_id) for run_id in run_ids)


def _read_run(path: pathlib.Path) -> Record:
  directory = RunDirectory(path)
  state, reason = directory.status()
  if state == 'done':
    try:
      return _read_results(directory)
    except (RunDirectoryError, ValueError, KeyError, TypeError) as error:
      return dataclasses.replace(
        _nameplate(directory),
        error=f'results.json cannot be read: {type(error).__name__}: {error}',
        hint='Delete DONE in the run directory and start the study again.',
      )
  who = _nameplate(directory)
  if state == 'failed':
    failure = directory.read_failure()
    hint = str(failure.get('hint') or '')
    return dataclasses.replace(who, error=str(failure['error']), hint=hint)
  return dataclasses.replace(
    who,
    status='unfinished',
    error=f'The run is {state}: {reason}.',
    hint='Start the same command again: it goes on where the run stopped.',
  )


def _read_results(directory: RunDirectory) -> Record:
  given = directory.read_results()
  parameters = given.get('parameters')
  return Record(
    study=str(given['study']),
    run_id=directory.run_id,
    dataset=str(given['dataset']),
    method=str(given['method']),
    encoder=str(given.get('encoder', '')),
    head=str(given.get('head', '')),
    loss=str(given.get('loss', '')),
    settings=_settings(directory, given),
    rows=tuple(_row(row) for row in given['rows']),
    candidates=tuple(_candidate(run) for run in given.get('runs') or ()),
    profile=dict(given.get('profile') or {}),
    dependence=dict(given.get('dependence') or {}),
    notes=tuple(str(note) for note in given.get('notes') or ()),
    parameters=None if parameters is None else int(parameters),
    seconds={
      str(key): float(value)
      for key, value in (given.get('seconds') or {}).items()
      if value is not None
    },
    curves=_read_curves(directory.read_metrics()),
    path=directory.path,
  )


def _settings(
  directory: RunDirectory, given: Mapping[str, Any]
) -> dict[str, Any]:
  """The settings, with `split` as it came out when it was left open.

  Test rows that are the same for every seed are those of a given split.
  """
  settings = dict(given.get('settings') or {})
  if settings.get('split') == 'auto' and directory.predictions_path.exists():
    with np.load(directory.predictions_path, allow_pickle=False) as arrays:
      row = arrays['row'] if 'row' in arrays else np.zeros((0, 0))
    if len(row) > 0:
      fixed = bool((row == row[:1]).all())
      settings['split'] = 'given' if fixed else 'holdout'
  return settings


def _row(given: Mapping[str, Any]) -> Row:
  counted = given.get('undefined')
  return Row(
    decoder=str(given.get('decoder') or ''),
    seed=int(given['seed']),
    fold=int(given.get('fold', -1)),
    split=str(given['split']),
    metric=str(given['metric']),
    value=_number(given['value']),
    exactness=str(given.get('exactness') or ''),
    reason=str(given.get('reason') or ''),
    undefined=None if counted is None else int(counted),
  )


def _candidate(given: Mapping[str, Any]) -> Candidate:
  names = ('learning_rate', 'l2', 'best_epoch', 'link_l2')
  rate, l2, best, link = (given.get(name) for name in names)
  return Candidate(
    seed=int(given['seed']),
    fold=int(given.get('fold', -1)),
    learning_rate=None if rate is None else float(rate),
    l2=None if l2 is None else float(l2),
    best_epoch=None if best is None else int(best),
    validation_loss=_number(given.get('validation_loss')),
    diverged=bool(given.get('diverged', False)),
    selected=bool(given.get('selected', True)),
    link_l2=None if link is None else float(link),
  )


def _read_curves(lines: Sequence[Mapping[str, Any]]) -> dict[int, Curve]:
  """The curves in metrics.jsonl.

  A line holds one run (`run` and two numbers) or all of them (two lists, in
  the order of the run axis); lines without losses are passed over.
  """
  points: dict[int, dict[int, tuple[float, float]]] = {}
  for line in lines:
    if 'epoch' not in line or 'train_loss' not in line:
      continue
    train, validation = line['train_loss'], line.get('validation_loss')
    if not isinstance(train, list):
      train, validation = [train], [validation]
    first, epoch = int(line.get('run') or 0), int(line['epoch'])
    validation = validation or [None] * len(train)
    for i, pair in enumerate(zip(train, validation, strict=False)):
      numbers = (_number(pair[0]), _number(pair[1]))
      points.setdefault(first + i, {})[epoch] = numbers
  return {run: _curve(by_epoch) for run, by_epoch in sorted(points.items())}


def _curve(by_epoch: Mapping[int, tuple[float, float]]) -> Curve:
  epochs = sorted(by_epoch)
  losses = np.array([by_epoch[epoch] for epoch in epochs], np.float64)
  return Curve(np.array(epochs), losses[:, 0], losses[:, 1])


def _number(value: Any) -> float:
  return math.nan if value is None else float(value)


def _nameplate(directory: RunDirectory) -> Record:
  """A run without results, known by its config or else by its name."""
  parts = directory.run_id.rsplit('-', 2)
  named = parts if len(parts) == 3 else [directory.run_id, 'unknown', '']
  try:
    config = directory.read_config()
    dataset = config.get('dataset') or config.get('data', {}).get('dataset')
  except (RunDirectoryError, AttributeError):
    config, dataset = {}, None
  return Record(
    study=str(config.get('study') or directory.path.parent.name),
    run_id=directory.run_id,
    dataset=str(dataset or named[0]),
    method=str(config.get('method') or named[1]),
    encoder=str(config.get('encoder') or ''),
    loss=str(config.get('loss') or ''),
    status='failed',
  )
