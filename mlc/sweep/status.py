"""How far the runs of a study are, read from their directories."""

import collections
import datetime
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mlc.run_directory import RunDirectory, RunDirectoryError, holder
from mlc.run_directory.directory import State

_HEADER = ('run', 'state', 'epoch', 'time', '')


class Row(NamedTuple):
  """How far a run is.

  Attributes:
    run_id: name of its directory.
    dataset: name of the data set.
    method: name of the method.
    state: absent, partial, running, failed or done.
    epoch: last one of which metrics.jsonl tells; None before the first.
    total: epochs at most; None when nobody says.
    seconds: that it took (done) or takes so far (running), else None.
    message: why it failed, what is missing, or who is running it.
  """

  run_id: str
  dataset: str
  method: str
  state: State
  epoch: int | None
  total: int | None
  seconds: float | None
  message: str


def rows(
  directory: str | os.PathLike[str], run_ids: Iterable[str]
) -> list[Row]:
  """A row a run; nothing is written and no running process is disturbed.

  Args:
    directory: `<workdir>/<study>/`.
    run_ids: which runs, in order.
  """
  return [
    _row(RunDirectory(pathlib.Path(directory) / name)) for name in run_ids
  ]


def _row(run: RunDirectory) -> Row:
  state, reason = run.status()
  config = _config(run)
  named = [*run.run_id.split('-'), '', ''][:2]
  last = run.last_metrics() or {}
  return Row(
    run_id=run.run_id,
    dataset=str(config.get('dataset', named[0])),
    method=str(config.get('method', named[1])),
    state=state,
    epoch=last.get('epoch'),
    total=last.get('epochs', _find(config, 'epochs')),
    seconds=_seconds(run, state),
    message='' if state == 'done' else reason,
  )


def _config(run: RunDirectory) -> Mapping[str, Any]:
  try:
    return run.read_config()
  except RunDirectoryError:
    return {}


def _find(config: Mapping[str, Any], key: str) -> Any:
  """The value of a key, wherever in the config it stands."""
  if key in config:
    return config[key]
  inner = (v for v in config.values() if isinstance(v, dict))
  return next((f for v in inner if (f := _find(v, key)) is not None), None)


def _seconds(run: RunDirectory, state: State) -> float | None:
  if state == 'done':
    try:
      seconds = run.read_results()['seconds']
      parts = (seconds[k] for k in ('compile', 'train', 'evaluate'))
      return float(seconds['total'] if 'total' in seconds else sum(parts))
    except (RunDirectoryError, KeyError, TypeError, ValueError):
      return None
  who = holder(run.lock_path) if state == 'running' else None
  if who is None or not who.since:
    return None
  since = datetime.datetime.fromisoformat(who.since)
  return (datetime.datetime.now(datetime.UTC) - since).total_seconds()


def table(found: Sequence[Row]) -> str:
  """The rows as text, one line each, and a last line that counts states."""
  lines = [_HEADER]
  for row in found:
    epoch = '' if row.epoch is None else f'{row.epoch}/{row.total or "?"}'
    seconds = '' if row.seconds is None else f'{row.seconds:.0f} s'
    message = ' '.join(row.message.split())
    lines.append((row.run_id, row.state, epoch, seconds, message))
  widths = [max(len(line[i]) for line in lines) for i in range(4)]
  text = [
    '  '.join(
      [*(c.ljust(w) for c, w in zip(line, widths, strict=False)), line[4]]
    ).rstrip()
    for line in lines
  ]
  count = collections.Counter(row.state for row in found)
  text.append(
    f'{len(found)} runs: '
    + ', '.join(f'{number} {state}' for state, number in count.items())
  )
  return '\n'.join(text)
