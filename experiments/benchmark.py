"""How fast mlc is beside what one would write without it, in one run.

    pip install -e '.[benchmark]'
    python -m experiments.benchmark

A suite puts a question and times its contestants in turn (A B A B), so that
all meet the same machine. The first is mlc; a ratio says how many times its
seconds another takes, round by round. Compiling is timed apart. What each
contestant reached stands beside (mean loss in nats, or log p of the decisions):
a ratio compares equal work only where these agree. The data are drawn, as large
as yeast: 2,417 rows, 103 features, 14 labels.

Suite `thresholds` fits every threshold rule to as many rows and labels as the
training part of delicious has: 12,920 and 983.

Suite `heads` is apart, and only run when named: it times a training step and
the decisions of every method for 14, 100 and 1,000 labels and says with which
power of L the time grows. It takes ten minutes.

JAX and scikit-learn take the threads that they choose. PyTorch is timed with
one thread and with as many as there are cores: for small nets one is often
faster. On a busy machine the numbers mean little, and threads that wait for
each other suffer most, so the load before the start is printed.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import logging
import os
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import rich.box
from absl import flags
from rich.console import Console
from rich.table import Table

from experiments import edge
from experiments import flags as experiment_flags
from experiments.contestants import decisions, thresholds, training
from experiments.contestants.heads import measure_heads, show_heads
from experiments.contestants.task import Outcome, Sizes, Task, Work, draw
from experiments.flags import Option
from mlc.base import lookup
from mlc.run_directory import environment

_log = logging.getLogger(__name__)

FLAGS = flags.FLAGS

# What may be missing: modules, and the packages of the extra `benchmark`.
_EXTRA = {'torch': 'torch', 'sklearn': 'scikit-learn'}
_INSTALL = "pip install -e '.[benchmark]'"
_CORES = os.cpu_count() or 1


class Contestant(NamedTuple):
  """One way to do the work of a suite.

  Attributes:
    name: in the table.
    prepare: (task) -> work; see `contestants`.
  """

  name: str
  prepare: Callable[[Task], Work]


class Suite(NamedTuple):
  """A question, and who answers it.

  Attributes:
    question: what is done; fields of `Sizes` may stand in braces.
    contestants: whoever stands first is the 1 of the ratios.
  """

  question: str
  contestants: Sequence[Contestant]


def _threads(count: int) -> str:
  return f'{count} thread{"s" if count > 1 else ""}'


SUITES: Mapping[str, Suite] = {
  'training': Suite(
    '{seeds} seeds of an MLP of width {width}, {epochs} epochs of AdamW, '
    'batches of {batch_size}',
    [
      Contestant('mlc, one program', training.mlc_training),
      *(
        Contestant(f'torch {name}, {_threads(n)}', partial(way, threads=n))
        for name, way in (
          ('loop', training.torch_loop),
          ('batched', training.torch_batched),
        )
        for n in sorted({1, _CORES})
      ),
    ],
  ),
  'convex': Suite(
    '{seeds} seeds of a linear chain at its optimum (L2, C = 1)',
    [
      Contestant('mlc L-BFGS, one program', training.mlc_convex),
      Contestant('scikit-learn chain', training.sklearn_convex),
    ],
  ),
  'greedy': Suite(
    'greedy decisions of a chain, {rows} rows, {labels} labels',
    [
      Contestant('mlc', decisions.mlc_greedy),
      Contestant('scikit-learn predict', decisions.sklearn_greedy),
    ],
  ),
  'exact': Suite(
    'joint modes of a chain, {rows} rows, 2^{labels} label vectors',
    [
      Contestant('mlc, prefix tree', decisions.mlc_exact),
      Contestant('every vector alone', decisions.exact_vectors),
    ],
  ),
  'many_labels': Suite(
    'greedy decisions of a chain, {rows} rows, {many_labels} labels',
    [
      Contestant('mlc, blocks of labels', decisions.mlc_many_labels),
      Contestant('label by label', decisions.label_by_label),
    ],
  ),
  'thresholds': Suite(
    'thresholds of {threshold_labels} labels by every rule, on '
    '{threshold_rows} rows',
    [
      Contestant('mlc, one program', thresholds.mlc_together),
      Contestant('mlc, a program a rule', thresholds.mlc_apart),
      Contestant('scikit-learn, F1 and J alone', thresholds.sklearn_curves),
    ],
  ),
}

# A suite of its own kind, which has no contestants.
HEADS = 'heads'

OPTIONS = (
  Option(
    'suite',
    tuple[str, ...],
    tuple(SUITES),
    f'what is measured: some of {", ".join(SUITES)}; or {HEADS}.',
  ),
  Option('repeats', int, 5, 'rounds in which every contestant works once.'),
  experiment_flags.HOST_DEVICES._replace(default=1),
  Option('out', str, '', 'JSON file for all that was measured.'),
)


def measure(suite: Suite, task: Task, repeats: int) -> list[dict[str, Any]]:
  """Times the contestants of a suite in turn, `repeats` times.

  Returns:
    For each contestant its name and what `summary` says, or why it is
    `left_out`, as JSON.
  """
  ready: dict[str, Work] = {}
  left_out: dict[str, str] = {}
  for name, prepare in suite.contestants:
    try:
      ready[name] = prepare(task)
    except ModuleNotFoundError as error:
      package = _EXTRA.get((error.name or '').partition('.')[0])
      if package is None:
        raise
      left_out[name] = f'{package} is not installed ({_INSTALL})'
  rounds: dict[str, list[Outcome]] = {name: [] for name in ready}
  for repeat in range(repeats):
    for name, work in ready.items():
      _log.info('round %d of %d: %s', repeat + 1, repeats, name)
      rounds[name].append(work())
  first = rounds[suite.contestants[0].name]
  return [
    {'name': name, 'left_out': left_out[name]}
    if name in left_out
    else {'name': name, **summary(rounds[name], first)}
    for name, _ in suite.contestants
  ]


def summary(
  outcomes: Sequence[Outcome], first: Sequence[Outcome]
) -> dict[str, Any]:
  """Medians of a contestant over its rounds, beside those of the first.

  `ratio` is the median of its seconds over those of the first in the same
  round; for `ratio_with_compile` both had to compile, without any cache.
  """
  pairs = list(zip(outcomes, first, strict=True))
  cold, cold_first = outcomes[0].compile_seconds, first[0].compile_seconds
  return {
    'seconds': statistics.median(o.seconds for o in outcomes),
    'ratio': statistics.median(o.seconds / f.seconds for o, f in pairs),
    'ratio_with_compile': statistics.median(
      (o.seconds + cold) / (f.seconds + cold_first) for o, f in pairs
    ),
    'reached': outcomes[-1].reached,
    'recompiled': sum(o.recompiled for o in outcomes),
    'rounds': [o._asdict() for o in outcomes],
  }


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
  """Prints a suite; below a median stand the fastest and the slowest round."""
  there = [row for row in rows if 'left_out' not in row]
  unit, scale = ('ms', 1e3) if there[0]['seconds'] < 0.1 else ('s', 1.0)

  def number(seconds):
    value = scale * seconds
    return f'{value:.0f}' if value >= 100 else f'{value:.3g}'

  reached = list(there[0]['reached'])
  table = Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
  table.add_column('', no_wrap=True)
  titles = (f'{unit}\n(range)', 'ratio\n(+compile)', 'compile\n(cached)')
  for column in (*titles, *reached):
    table.add_column(column, justify='right', no_wrap=True)
  for row in there:
    seconds = [outcome['seconds'] for outcome in row['rounds']]
    compiling = [outcome['compile_seconds'] for outcome in row['rounds']]
    compiled = f'{compiling[0]:.2f} s'
    if compiling[-1] < compiling[0]:
      compiled += f'\n[dim]({compiling[-1]:.2f} s)'
    table.add_row(
      row['name'],
      f'{number(row["seconds"])}\n'
      f'[dim]({number(min(seconds))}-{number(max(seconds))})',
      f'{row["ratio"]:.2f}\n[dim]({row["ratio_with_compile"]:.2f})',
      compiled if compiling[0] else '-',
      *(f'{row["reached"][name]:.3f}' for name in reached),
    )
  print(f'\n{title}')
  Console(highlight=False).print(table)
  for row in rows:
    if 'left_out' in row:
      print(f'Left out: {row["name"]}; {row["left_out"]}')


def run(
  names: Sequence[str], sizes: Sizes, repeats: int
) -> dict[str, list[dict[str, Any]]]:
  """Measures and prints suites; returns them as JSON, by name."""
  known = {**SUITES, HEADS: None}
  suites = {name: lookup(name, known, 'suite') for name in names}
  results = {}
  if HEADS in suites:
    del suites[HEADS]
    results[HEADS] = measure_heads(sizes, repeats)
    rows = f'{sizes.rows} rows, {sizes.features} features'
    show_heads(
      f'{HEADS}: ms a step of {sizes.batch_size} rows, and to decide {rows}',
      results[HEADS],
    )
  task = draw(sizes) if suites else None
  for name, suite in suites.items():
    assert task is not None
    results[name] = measure(suite, task, repeats)
    question = suite.question.format_map(dataclasses.asdict(sizes))
    show(f'{name}: {question}', results[name])
  return results


def machine() -> dict[str, Any]:
  """What the numbers hold for: cores, versions, and how busy it was."""
  found = environment()
  for module, package in _EXTRA.items():
    if importlib.util.find_spec(module):
      found['versions'][package] = importlib.metadata.version(package)
  return {**found, 'load_before': os.getloadavg()[0]}


def main(argv: Sequence[str]) -> int:
  edge.no_arguments(argv)
  options = experiment_flags.options_of(Sizes)
  sizes = Sizes(**{o.name: getattr(FLAGS, o.name) for o in options})
  if FLAGS.repeats < 1:
    raise ValueError(f'repeats is {FLAGS.repeats}; give at least 1.')
  edge.make_devices(FLAGS.host_devices)
  before = machine()
  versions = ', '.join(f'{k} {v}' for k, v in before['versions'].items())
  print(
    f'{_CORES} cores ({before["machine"]}, {before["system"]}), load before '
    f'{before["load_before"]:.2f}; JAX sees {before["device_count"]} '
    f'{before["platform"]} device(s); Python {before["python"]}, {versions}'
  )
  if before['load_before'] > _CORES / 2:
    print('This machine is busy: measure again when it is quiet.')
  # A cache of its own, so that the first round compiles all.
  with tempfile.TemporaryDirectory() as cache:
    jax.config.update('jax_compilation_cache_dir', cache)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
    suites = run(FLAGS.suite, sizes, FLAGS.repeats)
  if FLAGS.out:
    found = {
      'machine': before,
      'sizes': dataclasses.asdict(sizes),
      'suites': suites,
    }
    pathlib.Path(FLAGS.out).write_text(json.dumps(found, indent=2) + '\n')
  rows = [row for suite in suites.values() for row in suite]
  again = [row['name'] for row in rows if row.get('recompiled')]
  print(f'Compiled after the first epoch: {", ".join(again) or "nothing"}.')
  return 1 if again else 0


def parse(argv: Sequence[str]) -> list[str]:
  for option in (*OPTIONS, *experiment_flags.options_of(Sizes)):
    experiment_flags.define(option, FLAGS)
  return FLAGS(list(argv))


if __name__ == '__main__':
  sys.exit(edge.start(main, parse))
