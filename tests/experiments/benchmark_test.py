"""The benchmark on sizes that take seconds: who is compared, and with what."""

import dataclasses
import getpass
import json
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import benchmark
from experiments.benchmark import Contestant, Suite, measure
from experiments.contestants import decisions, training
from experiments.contestants.task import Outcome, Sizes, draw
from mlc.heads.classifier_chain import classifier_chain

SIZES = Sizes(
  rows=240,
  features=6,
  labels=4,
  width=8,
  epochs=20,
  batch_size=32,
  seeds=2,
  many_labels=12,
  threshold_rows=60,
  threshold_labels=5,
)


@pytest.fixture(scope='module')
def task():
  return draw(SIZES)


@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
  """Most tests train the same program: it is compiled once for all of them."""
  names = (
    'jax_compilation_cache_dir',
    'jax_persistent_cache_min_compile_time_secs',
  )
  before = [getattr(jax.config, name) for name in names]
  for name, value in zip(
    names, (str(tmp_path_factory.mktemp('jit')), 0.0), strict=True
  ):
    jax.config.update(name, value)
  yield
  for name, value in zip(names, before, strict=True):
    jax.config.update(name, value)


@pytest.fixture(autouse=True)
def once(monkeypatch):
  monkeypatch.setattr(decisions, '_LEAST_SECONDS', 0.0)


def only(name, *functions):
  """A suite with those contestants alone whose functions are named."""
  suite = benchmark.SUITES[name]
  kept = [c for c in suite.contestants if c.prepare in functions]
  assert len(kept) == len(functions)
  return Suite(suite.question, kept)


def reached(rows):
  return [row['reached'] for row in rows]


@pytest.mark.slow
def test_training_compiles_before_the_second_epoch_only(task):
  (row,) = measure(only('training', training.mlc_training), task, 1)
  assert row['recompiled'] == 0
  assert row['rounds'][0]['compile_seconds'] > 0
  # Better than saying 0.5 of every label.
  assert row['reached']['held out'] < SIZES.labels * np.log(2)
  json.dumps(row)


@pytest.mark.slow
def test_compiling_between_epochs_is_seen(task, monkeypatch):
  real = training.fit

  def fit(*args, on_epoch, **kwargs):
    def compiling(record):
      jax.jit(lambda x: x + record['epoch'])(jnp.ones(())).block_until_ready()
      on_epoch(record)

    return real(*args, on_epoch=compiling, **kwargs)

  monkeypatch.setattr(training, 'fit', fit)
  outcome = training.mlc_training(task)()
  assert outcome.recompiled >= SIZES.epochs - 1


@pytest.mark.slow
@pytest.mark.parametrize('way', [training.torch_loop, training.torch_batched])
def test_torch_does_the_same_work(task, way):
  pytest.importorskip('torch', reason='PyTorch is in the extra `benchmark`')
  ours = training.mlc_training(task)().reached
  theirs = way(task, threads=1)().reached
  assert theirs == pytest.approx(ours, rel=0.1)


@pytest.mark.slow
def test_sklearn_reaches_the_same_optimum(task):
  pytest.importorskip('sklearn')
  suite = benchmark.SUITES['convex']
  rows = measure(suite, task, 1)
  ours, theirs = reached(rows)
  assert theirs == pytest.approx(ours, abs=1e-3)


@pytest.mark.parametrize(
  'name',
  [
    *('greedy', 'exact', 'many_labels'),
    pytest.param('thresholds', marks=pytest.mark.slow),
  ],
)
def test_decisions_are_the_same(task, name):
  pytest.importorskip('sklearn')
  ours, *others = reached(measure(benchmark.SUITES[name], task, 1))
  assert others
  for theirs in others:
    assert theirs == pytest.approx(ours, abs=1e-5)


def test_the_labels_are_a_draw_from_the_world(task):
  head = classifier_chain(SIZES.labels)
  expected = head.logits(task.world, task.data.x, task.data.y)
  residual = np.asarray(task.data.y - jax.nn.sigmoid(expected))
  # Means of 240 Bernoulli residuals.
  assert np.abs(residual.mean(axis=0)).max() < 4 * 0.5 / np.sqrt(SIZES.rows)


def test_ratios_are_of_the_same_round_and_compile_apart(task):
  def contestant(name, *outcomes):
    left = iter(outcomes)
    return Contestant(name, lambda task: lambda: next(left))

  rows = measure(
    Suite(
      '',
      [
        contestant('a', *(Outcome(s, {}, 3.0) for s in (1.0, 2.0, 4.0))),
        contestant('b', *(Outcome(s, {}) for s in (3.0, 4.0, 20.0))),
      ],
    ),
    task,
    3,
  )
  assert [row['ratio'] for row in rows] == [1.0, 3.0]
  assert [row['seconds'] for row in rows] == [2.0, 4.0]
  assert rows[1]['ratio_with_compile'] == pytest.approx(4.0 / 5.0)


def test_contestants_take_turns(task):
  turns = []

  def contestant(name):
    return Contestant(
      name, lambda task: lambda: turns.append(name) or Outcome(1.0, {})
    )

  measure(Suite('', [contestant('a'), contestant('b')]), task, 2)
  assert turns == ['a', 'b', 'a', 'b']


@pytest.mark.slow
@pytest.mark.parametrize(
  ('module', 'name', 'package'),
  [('torch', 'training', 'torch'), ('sklearn', 'greedy', 'scikit-learn')],
)
def test_a_missing_package_is_named(monkeypatch, capsys, module, name, package):
  for loaded in [m for m in sys.modules if m.startswith(f'{module}.')]:
    monkeypatch.delitem(sys.modules, loaded)
  # None is how Python marks a module that cannot be imported.
  monkeypatch.setitem(sys.modules, module, None)
  rows = benchmark.run([name], SIZES, 1)[name]
  suite = benchmark.SUITES[name]
  assert [row['name'] for row in rows] == [c.name for c in suite.contestants]
  assert 'seconds' in rows[0]
  assert all(package in row['left_out'] for row in rows[1:])
  printed = capsys.readouterr().out
  for row in rows[1:]:
    assert f'Left out: {row["name"]}; {package} is not installed' in printed
  assert "pip install -e '.[benchmark]'" in printed


def test_another_missing_module_is_no_secret(task):
  def prepare(task):
    raise ModuleNotFoundError('No module named mlc.typo', name='mlc.typo')

  with pytest.raises(ModuleNotFoundError, match='typo'):
    measure(Suite('', [Contestant('broken', prepare)]), task, 1)


def test_unknown_suite():
  with pytest.raises(ValueError, match="Did you mean 'training'"):
    benchmark.run(['trainign'], SIZES, 1)


def test_sizes_are_positive():
  with pytest.raises(ValueError, match='epochs is 0; give at least 1'):
    Sizes(epochs=0)


def test_the_machine_has_no_name():
  found = json.dumps(benchmark.machine())
  assert benchmark.machine()['cpu_count'] >= 1
  assert platform.node() not in found
  assert f'"{getpass.getuser()}"' not in found


@pytest.mark.slow
def test_the_command(tmp_path):
  out = tmp_path / 'found.json'
  sizes = {**dataclasses.asdict(SIZES), 'rows': 60, 'seeds': 1}
  command = [sys.executable, '-m', 'experiments.benchmark', '--repeats=1']
  command += ['--suite=many_labels', f'--out={out}']
  command += [f'--{name}={value}' for name, value in sizes.items()]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  assert 'label by label' in done.stdout
  found = json.loads(out.read_text())
  assert found['sizes'] == sizes
  assert [row['name'] for row in found['suites']['many_labels']] == [
    c.name for c in benchmark.SUITES['many_labels'].contestants
  ]
