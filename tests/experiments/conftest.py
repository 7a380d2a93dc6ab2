"""The command lines of experiments/, in this process or in one of their own."""

import fcntl
import json
import logging
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
import pytest
from absl import app, flags

from experiments import compare, edge, evaluate, explain, sweep, train
from experiments.config import (
  DataOptions,
  Experiment,
  Search,
  TrainOptions,
)
from experiments.flags import resolved
from mlc.run_directory import RunDirectory

ROOT = pathlib.Path(__file__).parents[2]
SYNTHETIC = 'synthetic:chain,labels=4,examples=200,features=4'
_PROGRAMS = {
  'train.py': train,
  'launch.py': sweep,
  'evaluate.py': evaluate,
  'compare.py': compare,
  'explain.py': explain,
}


class Outcome(NamedTuple):
  """How a command ended; `seconds` are those of its thread, without imports."""

  code: int
  out: str
  err: str
  seconds: float


@pytest.fixture(scope='session')
def shared(tmp_path_factory) -> pathlib.Path:
  """A folder that all workers of a test session have in common."""
  base = tmp_path_factory.getbasetemp()
  if 'PYTEST_XDIST_WORKER' in os.environ:
    base = base.parent
  (base / 'experiments').mkdir(exist_ok=True)
  return base / 'experiments'


@pytest.fixture(scope='session', autouse=True)
def _compilation_cache(shared) -> Iterator[None]:
  """What one test has compiled no other compiles again."""
  names = (
    'jax_compilation_cache_dir',
    'jax_persistent_cache_min_compile_time_secs',
  )
  before = {name: jax.config.values[name] for name in names}
  cache = before['jax_compilation_cache_dir'] or str(shared / 'xla')
  jax.config.update('jax_compilation_cache_dir', cache)
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  yield
  for name, value in before.items():
    jax.config.update(name, value)


@pytest.fixture
def environment() -> dict[str, str]:
  """The environment of a process that shares our compilation cache."""
  return {
    **os.environ,
    'JAX_COMPILATION_CACHE_DIR': jax.config.values['jax_compilation_cache_dir'],
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }


@pytest.fixture
def command(monkeypatch, capsys) -> Iterator[Callable[..., Outcome]]:
  """Runs a program in this process, from its command line to its exit."""
  root = logging.getLogger()
  handlers = root.handlers[:]
  loggers = [root, *map(logging.getLogger, edge.LOGGERS)]
  levels = [logger.level for logger in loggers]

  def call(program: str, *arguments: str) -> Outcome:
    module = _PROGRAMS[program]
    monkeypatch.setattr(sys, 'argv', [program, *arguments])
    app.define_help_flags()
    defined = set(flags.FLAGS)
    capsys.readouterr()
    began = time.thread_time()
    try:
      code = edge.start(module.main, module.parse)
    except SystemExit as stop:
      code = stop.code
    finally:
      for name in set(flags.FLAGS) - defined:
        delattr(flags.FLAGS, name)
      flags.FLAGS.unparse_flags()
    seconds = time.thread_time() - began
    return Outcome(int(code or 0), *capsys.readouterr(), seconds)

  yield call
  root.handlers[:] = handlers
  for logger, level in zip(loggers, levels, strict=True):
    logger.setLevel(level)


@pytest.fixture
def process(environment) -> Callable[..., Outcome]:
  """Runs a program in a process of its own."""

  def call(program: str, *arguments: str) -> Outcome:
    began = time.perf_counter()
    done = subprocess.run(
      argv(program, *arguments),
      cwd=ROOT,
      env=environment,
      capture_output=True,
      text=True,
      check=False,
    )
    seconds = time.perf_counter() - began
    return Outcome(done.returncode, done.stdout, done.stderr, seconds)

  return call


def argv(program: str, *arguments: str) -> list[str]:
  if program == 'launch.py':
    return [sys.executable, 'launch.py', *arguments]
  module = f'experiments.{program.removesuffix(".py")}'
  return [sys.executable, '-m', module, *arguments]


@pytest.fixture
def command_line() -> Callable[..., list[str]]:
  """The arguments of a process that runs a program."""
  return argv


@pytest.fixture(scope='session')
def tiny() -> Callable[..., Experiment]:
  """An experiment that takes seconds, with some values changed."""

  def make(method: str = 'binary_relevance', **changes) -> Experiment:
    parts = {
      'data': (DataOptions, {'dataset': SYNTHETIC, 'stratify': False}),
      'search': (Search, {'seeds': 2}),
      'train': (TrainOptions, {'epochs': 2, 'save_interval_secs': 0.0}),
    }
    made = {}
    for name, (cls, values) in parts.items():
      fields = cls.__dataclass_fields__
      mine = {key: changes.pop(key) for key in list(changes) if key in fields}
      made[name] = cls(**{**values, **mine})
    return resolved(Experiment(method=method, **made, **changes))

  return make


@pytest.fixture(scope='session')
def finished(shared, tiny) -> RunDirectory:
  """A finished run that tests only read."""
  with open(shared / 'finished.lock', 'w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    return train.run(
      tiny(decoders=('hamming', 'f_beta')), workdir=str(shared / 'finished')
    )


@pytest.fixture
def write_arff(tmp_path) -> Callable[..., pathlib.Path]:
  """Writes features and labels as a data set of a data_dir."""

  def write(name: str, x, y, *, train_rows: int | None = None) -> pathlib.Path:
    folder = tmp_path / 'data' / name
    folder.mkdir(parents=True)
    columns = [f'@attribute x{d} numeric' for d in range(len(x[0]))]
    labels = [f'@attribute y{j} {{0,1}}' for j in range(len(y[0]))]
    rows = [
      ','.join([*map(_cell, a), *map(_cell, b)])
      for a, b in zip(x, y, strict=True)
    ]
    head = [
      f"@relation '{name}: -C -{len(labels)}'",
      *columns,
      *labels,
      '@data',
    ]
    parts = {'': rows}
    if train_rows is not None:
      parts = {'-train': rows[:train_rows], '-test': rows[train_rows:]}
    for part, kept in parts.items():
      text = '\n'.join([*head, *kept]) + '\n'
      (folder / f'{name}{part}.arff').write_text(text)
    return folder.parent

  return write


def _cell(value) -> str:
  if isinstance(value, str):
    return value
  return f'{value:g}'


@pytest.fixture
def sample() -> tuple[np.ndarray, np.ndarray]:
  """Features [60,3] and labels [60,3] of a small multi-label set."""
  generator = np.random.default_rng(0)
  x = generator.normal(size=(60, 3)).round(3)
  y = (x + generator.normal(size=x.shape) > 0).astype(int)
  return x, y


@pytest.fixture
def contents() -> Callable[[pathlib.Path], dict[str, bytes]]:
  """Every file below a folder with its bytes, to see that nothing changed."""

  def read(folder: pathlib.Path) -> dict[str, bytes]:
    return {
      str(path.relative_to(folder)): path.read_bytes()
      for path in sorted(folder.rglob('*'))
      if path.is_file()
    }

  return read


@pytest.fixture
def rows_of() -> Callable[[RunDirectory], list[dict]]:
  """Rows of results.json, exactly as they are written."""
  return lambda run: json.loads(run.results_path.read_text())['rows']


@pytest.fixture(scope='session')
def compiled() -> list[str]:
  """Grows with every compilation in this process."""
  events: list[str] = []

  def listen(event: str, duration_secs: float, **kwargs) -> None:
    del duration_secs, kwargs
    if event.endswith('backend_compile_duration'):
      events.append(event)

  jax.monitoring.register_event_duration_secs_listener(listen)
  return events


@pytest.fixture
def check_error() -> Callable[..., None]:
  """Checks that an outcome is one error, which says what it has to."""

  def check(outcome: Outcome, program: str, says) -> None:
    assert outcome.code in (1, 2)
    assert 'Traceback' not in outcome.err
    lines = outcome.err.splitlines()
    assert lines[0].startswith(f'{program}: error: ')
    assert outcome.err.count('error:') == 1
    # What cannot be parsed is also told where to find the flags.
    assert len(lines) == outcome.code
    for words in says:
      assert words in lines[0]

  return check
