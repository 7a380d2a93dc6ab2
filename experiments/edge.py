"""Where a process begins: parsing, JAX's settings, and errors as sentences."""

import contextlib
import gc
import logging
import os
import signal
import statistics
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import rich.box
from absl import app, flags
from absl import logging as absl_logging
from rich import progress
from rich.console import Console
from rich.table import Table

from mlc import side_by_side, sweep
from mlc.base import MissingCapabilityError
from mlc.data.dataset import DatasetError
from mlc.run_directory import RunDirectory, RunDirectoryError

FLAGS = flags.FLAGS
# What these log is shown; of others only what they warn of.
LOGGERS = ('mlc', 'experiments', '__main__')
_ERROR = ': error: '
_UNDEFINED = 'undefined'
_FORCED, _MOST_DEVICES = 'xla_force_host_platform_device_count', 8
_LINE, _TIME = '%(asctime)s %(levelname).1s %(message)s', '%H:%M:%S'


class Refusal(ValueError):
  """What was asked for cannot be done; nothing was begun."""


@contextlib.contextmanager
def refusing() -> Iterator[None]:
  """Around all that looks at what was asked for, before anything is done.

  A ValueError is then the user's to mend. After that it is a fault of the
  program, and keeps its traceback.
  """
  try:
    yield
  except MENDABLE:
    raise
  except ValueError as error:
    raise Refusal(str(error)) from error


# What a user can mend: shown as one sentence, without a traceback.
MENDABLE = (
  DatasetError,
  MissingCapabilityError,
  OSError,
  Refusal,
  RunDirectoryError,
)


def start(
  main: Callable[[Sequence[str]], int],
  parse: Callable[[Sequence[str]], list[str]],
) -> int:
  """Runs a program: flags, settings, main; returns its exit code."""
  sweep.exit_with_launcher()
  # Tracing makes millions of objects and few cycles, for which Python would
  # look a tenth of the time.
  gc.set_threshold(50_000, 20, 20)

  def guarded(argv: Sequence[str]) -> int:
    configure(FLAGS.workdir if 'workdir' in FLAGS else '')
    try:
      return main(argv)
    except BrokenPipeError:
      return _nobody_reads()
    except MENDABLE as error:
      if os.environ.get('MLC_TRACEBACK'):
        raise
      _say(error)
      return 1
    except KeyboardInterrupt:
      print('interrupted; the same command continues.', file=sys.stderr)
      return 130

  return app.run(guarded, flags_parser=lambda argv: _parsed(parse, argv)) or 0


def _parsed(
  parse: Callable[[Sequence[str]], list[str]], argv: Sequence[str]
) -> list[str]:
  app.define_help_flags()
  try:
    return parse(argv)
  except (flags.Error, ValueError) as error:
    _say(error)
    print('Pass --helpshort to see the flags that apply.', file=sys.stderr)
    sys.exit(2)
  except BrokenPipeError:
    sys.exit(_nobody_reads())
  except SystemExit:
    # A help flag, after it has printed: to ask is no failure.
    sys.exit(0)


def _say(error: Exception) -> None:
  print(f'{os.path.basename(sys.argv[0])}{_ERROR}{error}', file=sys.stderr)


def _nobody_reads() -> int:
  """The exit code when the output went into a pipe that was closed."""
  # Python flushes at its end, which would fail again.
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  return 128 + signal.SIGPIPE


def configure(workdir: str) -> None:
  """Sets up logging and, in the workdir, the persistent compilation cache."""
  absl_logging.use_python_logging(quiet=True)
  handler = logging.StreamHandler(sys.stderr)
  handler.setFormatter(logging.Formatter(_LINE, _TIME))
  # basicConfig would close absl's handler, and that the stream it writes to.
  logging.root.handlers[:] = [handler]
  logging.root.setLevel(logging.WARNING)
  for ours in LOGGERS:
    logging.getLogger(ours).setLevel(logging.INFO)
  for chatty in ('jax', 'absl', 'matplotlib', 'fontTools'):
    logging.getLogger(chatty).setLevel(logging.ERROR)
  if workdir and not jax.config.values['jax_compilation_cache_dir']:
    cache = os.path.join(os.path.abspath(workdir), '.cache', 'xla')
    jax.config.update('jax_compilation_cache_dir', cache)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


def make_devices(count: int) -> None:
  """Makes JAX see so many devices in the CPU; 0 for `spare_devices`.

  Unless the environment says how many, or they are in use already.
  """
  if count < 0:
    raise Refusal(f'host_devices is {count}; give 0 or more.')
  stated = jax.config.values['jax_num_cpu_devices'] > 0
  stated |= _FORCED in os.environ.get('XLA_FLAGS', '')
  count = count or spare_devices()
  if not stated and count > 1:
    with contextlib.suppress(RuntimeError):
      jax.config.update('jax_num_cpu_devices', count)


def spare_devices(runs: int = 1) -> int:
  """One for each core that each of some runs can have to itself; 8 at most."""
  return max(1, min(side_by_side.cores() // runs, _MOST_DEVICES))


@contextlib.contextmanager
def logged(directory: RunDirectory) -> Iterator[None]:
  """What is logged inside also goes to the log.txt of an open run."""
  root = logging.getLogger()
  if _is_open_as(sys.stderr, directory.log_path):
    # A sweep has sent all output there already.
    yield
    return
  handler = logging.FileHandler(directory.log_path)
  handler.setFormatter(logging.Formatter(_LINE, _TIME))
  root.addHandler(handler)
  try:
    yield
  finally:
    root.removeHandler(handler)
    handler.close()


def _is_open_as(stream: Any, path: os.PathLike[str]) -> bool:
  try:
    return os.path.samestat(os.fstat(stream.fileno()), os.stat(path))
  except (OSError, ValueError):
    return False


def no_arguments(argv: Sequence[str]) -> None:
  """Refuses what is neither a flag nor a value of one."""
  if len(argv) > 1:
    raise Refusal(
      f'{argv[1]!r} is not a flag; write --name=value. Pass --helpshort to see '
      'the flags that apply.'
    )


def show(directory: RunDirectory) -> None:
  """Prints what a finished run found on the test rows."""
  results = directory.read_results()
  lost = sum(run['diverged'] for run in results['runs'])
  if lost:
    print(f'{lost} of {len(results["runs"])} runs diverged and are left out.')
  if results['rows']:
    title = f'{results["method"]} on {results["dataset"]}'
    show_rows(title, results['rows'])
  print(f'Results  {os.path.relpath(directory.results_path)}')


def show_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
  """Prints rows of results.json: metric by decoder, means over the runs."""
  values: dict[tuple[str, str], list[float]] = {}
  for row in rows:
    if row['split'] == 'test' and row['value'] is not None:
      key = (row['metric'], row['decoder'])
      values.setdefault(key, []).append(row['value'])
  decoders = list(dict.fromkeys(decoder for _, decoder in values))
  metrics = list(dict.fromkeys(metric for metric, _ in values))
  console = Console(highlight=False)
  print(f'{title}, means over the test rows of all seeds and folds')
  vacant = {metric: _vacant(rows, metric) for metric in metrics}
  left_column = 4 + max(map(len, metrics))
  if any(vacant.values()):
    left_column += 3 + max(map(len, (_UNDEFINED, *vacant.values())))
  shown = {key: _mean(found) for key, found in values.items()}
  for some in _side_by_side(decoders, shown, console.width - left_column):
    table = Table('metric', box=rich.box.SIMPLE_HEAD)
    for decoder in some:
      table.add_column(decoder, justify='right')
    if any(vacant.values()):
      table.add_column(_UNDEFINED, style='dim')
    for metric in metrics:
      cells = [shown.get((metric, d), '-') for d in some]
      cells += [vacant[metric]] if any(vacant.values()) else []
      table.add_row(metric, *cells)
    console.print(table)
  if any(vacant.values()):
    print(
      'undefined: for so many rows or labels, which count what '
      '--metric_convention says'
    )


def _vacant(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
  """For how many rows or labels a metric is undefined: `1 to 3`."""
  counts = sorted(
    row.get('undefined') or 0
    for row in rows
    if row['split'] == 'test' and row['metric'] == metric
  )
  if not counts or not counts[-1]:
    return ''
  some = f'{counts[0]} to ' if counts[0] < counts[-1] else ''
  return f'{some}{counts[-1]}'


def _side_by_side(
  decoders: Sequence[str], shown: Mapping[tuple[str, str], str], width: int
) -> list[list[str]]:
  """The decoders in groups whose columns fit into a width."""
  groups: list[list[str]] = []
  left = 0
  for decoder in decoders:
    mine = [text for (_, name), text in shown.items() if name == decoder]
    needed = max(map(len, [decoder, *mine])) + 3
    if not groups or needed > left:
      groups.append([])
      left = width
    groups[-1].append(decoder)
    left -= needed
  return groups


def _mean(values: Sequence[float]) -> str:
  return f'{statistics.fmean(values):.4f}'


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
      print(textwrap.indent(gist(event.message), '  '))
      print(f'  log: {os.path.relpath(event.job.log)}', flush=True)


def gist(message: str) -> str:
  """Of the end of an output what matters: our error, or else the last line."""
  lines = message.splitlines()
  for i, line in reversed(list(enumerate(lines))):
    program, found, error = line.partition(_ERROR)
    if found and ' ' not in program:
      return '\n'.join([error, *lines[i + 1 :]])
  return lines[-1]


def _duration(seconds: float) -> str:
  minutes, rest = divmod(round(seconds), 60)
  return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'
