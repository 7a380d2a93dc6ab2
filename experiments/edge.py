"""Where a process begins: parsing, JAX's settings, and errors as sentences."""

import logging
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import rich.box
from absl import app, flags
from absl import logging as absl_logging
from rich import progress
from rich.console import Console
from rich.table import Table

from mlc import sweep
from mlc.base import MissingCapabilityError
from mlc.data.dataset import DatasetError
from mlc.run_directory import RunDirectory, RunDirectoryError

FLAGS = flags.FLAGS

# What a user can mend: shown as one sentence, without a traceback.
_MENDABLE = (
  DatasetError,
  MissingCapabilityError,
  RunDirectoryError,
  FileNotFoundError,
  ValueError,
)


def start(
  main: Callable[[Sequence[str]], int],
  parse: Callable[[Sequence[str]], list[str]],
) -> int:
  """Runs a program: flags, settings, main; returns its exit code."""

  def guarded(argv: Sequence[str]) -> int:
    configure(FLAGS.workdir)
    try:
      return main(argv)
    except _MENDABLE as error:
      if os.environ.get('MLC_TRACEBACK'):
        raise
      print(f'{os.path.basename(sys.argv[0])}: error: {error}', file=sys.stderr)
      return 1
    except KeyboardInterrupt:
      print('interrupted; the same command continues.', file=sys.stderr)
      return 130

  def parsed(argv: Sequence[str]) -> list[str]:
    app.define_help_flags()
    try:
      return parse(argv)
    except ValueError as error:
      raise flags.Error(str(error)) from error

  return app.run(guarded, flags_parser=lambda argv: _parsed(parsed, argv)) or 0


def _parsed(parse, argv):
  try:
    return parse(argv)
  except flags.Error as error:
    print(f'{os.path.basename(argv[0])}: error: {error}', file=sys.stderr)
    print('Pass --helpshort to see the flags that apply.', file=sys.stderr)
    sys.exit(2)


def configure(workdir: str) -> None:
  """Sets up logging and the persistent compilation cache."""
  absl_logging.use_python_logging(quiet=True)
  logging.basicConfig(
    level=logging.WARNING,
    format='%(asctime)s %(levelname).1s %(message)s',
    datefmt='%H:%M:%S',
    stream=sys.stderr,
    force=True,
  )
  for ours in ('mlc', 'experiments', '__main__'):
    logging.getLogger(ours).setLevel(logging.INFO)
  for chatty in ('jax', 'absl', 'matplotlib', 'fontTools'):
    logging.getLogger(chatty).setLevel(logging.ERROR)
  if not jax.config.jax_compilation_cache_dir:
    cache = os.path.join(os.path.abspath(workdir), '.cache', 'xla')
    jax.config.update('jax_compilation_cache_dir', cache)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)


def no_arguments(argv: Sequence[str]) -> None:
  """Refuses what is neither a flag nor a value of one."""
  if len(argv) > 1:
    raise ValueError(
      f'{argv[1]!r} is not a flag; write --name=value. Pass --helpshort to see '
      'the flags that apply.'
    )


def show(directory: RunDirectory) -> None:
  """Prints what a finished run found on the test rows."""
  results = directory.read_results()
  title = f'{results["method"]} on {results["dataset"]}'
  show_rows(title, results['rows'])
  lost = sum(run['diverged'] for run in results['runs'])
  if lost:
    print(f'{lost} of {len(results["runs"])} runs diverged and are left out.')
  print(f'Results  {os.path.relpath(directory.results_path)}')


def show_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
  """Prints rows of results.json: metric by decoder, means over the runs."""
  values: dict[tuple[str, str], list[float]] = {}
  for row in rows:
    if row['split'] == 'test' and row['value'] is not None:
      key = (row['metric'], row['decoder'])
      values.setdefault(key, []).append(row['value'])
  decoders = list(dict.fromkeys(decoder for _, decoder in values))
  table = Table(title=f'{title}, test rows', box=rich.box.SIMPLE_HEAD)
  table.add_column('metric')
  for decoder in decoders:
    table.add_column(decoder, justify='right')
  for metric in dict.fromkeys(metric for metric, _ in values):
    table.add_row(
      metric, *(_mean(values.get((metric, decoder))) for decoder in decoders)
    )
  Console(highlight=False).print(table)


def _mean(values: Sequence[float] | None) -> str:
  return f'{statistics.fmean(values):.4f}' if values else '-'


class SweepDisplay:
  """Progress of a sweep: a bar on a terminal, a line an event elsewhere."""

  def __init__(self, jobs: Sequence[sweep.Job]):
    self._total = len(jobs)
    self._bar: Any = None

  def __enter__(self) -> 'SweepDisplay':
    if sys.stdout.isatty():
      self._bar = progress.Progress(
        progress.TextColumn('{task.description}'),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn('{task.fields[left]}'),
        progress.TimeElapsedColumn(),
        transient=True,
      )
      self._bar.start()
      self._task = self._bar.add_task('starting', total=self._total, left='')
    return self

  def __exit__(self, *error: object) -> None:
    if self._bar is not None:
      self._bar.stop()

  def on_event(self, event: sweep.Event) -> None:
    """What `sweep.run_local` calls when a job starts or ends."""
    left = ''
    if event.remaining_seconds is not None and event.ended < event.total:
      left = f'about {_duration(event.remaining_seconds)} left'
    if self._bar is not None:
      self._bar.update(
        self._task,
        completed=event.ended,
        description=event.job.run_id,
        left=left,
      )
    if event.kind == 'started':
      return
    line = (
      f'[{event.ended}/{event.total}] {event.job.run_id} {event.kind} in '
      f'{_duration(event.seconds)}'
    )
    print(f'{line}; {left}' if left else line, flush=True)
    if event.kind == 'failed':
      print(f'  {event.message.splitlines()[-1]}')
      print(f'  log: {os.path.relpath(event.job.log)}', flush=True)


def _duration(seconds: float) -> str:
  minutes, rest = divmod(round(seconds), 60)
  return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'
