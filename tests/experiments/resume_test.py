"""Killed at any moment, the same command ends with the very same results."""

import os
import pathlib
import random
import signal
import subprocess
import time
from collections.abc import Callable

import numpy as np
import pytest
from orbax.checkpoint import v1

from experiments.flags import flags_of
from experiments.selected_model import MODEL
from mlc.run_directory import RunDirectory

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def arrays(run: RunDirectory) -> dict[str, np.ndarray]:
  """The parameters that training selected, read without our own reader."""
  (path,) = (run.checkpoints_path / MODEL).glob('[0-9]*')
  return {
    name: np.asarray(array) for name, array in v1.load(path / 'arrays').items()
  }


def assert_same(one: RunDirectory, other: RunDirectory) -> None:
  """Bit for bit, but for how long it took."""
  assert one.metrics_path.read_bytes() == other.metrics_path.read_bytes()
  a, b = arrays(one), arrays(other)
  assert a.keys() == b.keys()
  assert a
  for name, array in a.items():
    assert array.dtype == b[name].dtype
    assert array.tobytes() == b[name].tobytes(), name
  first, second = one.read_results(), other.read_results()
  assert first.pop('seconds').keys() == second.pop('seconds').keys()
  assert first['rows']
  assert first == second
  a, b = one.read_predictions(), other.read_predictions()
  assert a.keys() == b.keys()
  for name, array in a.items():
    assert array.tobytes() == b[name].tobytes(), name


def count_epochs(run: RunDirectory) -> int:
  return len(run.read_metrics())


# When to kill: as soon as this is true, and a random instant later.
MOMENTS: dict[str, Callable[[RunDirectory], bool]] = {
  'before anything': lambda run: run.path.exists(),
  'first epoch': lambda run: count_epochs(run) >= 1,
  'first checkpoint': lambda run: any(run.checkpoints_path.glob('[0-9]*')),
  'third epoch': lambda run: count_epochs(run) >= 3,
  'last epoch': lambda run: count_epochs(run) >= 6,
  'selected parameters': lambda run: any(
    (run.checkpoints_path / MODEL).glob('.tmp-*')
  ),
  'predictions': lambda run: run.predictions_path.exists(),
  'results': lambda run: run.results_path.exists(),
}


@pytest.mark.parametrize(
  'changes',
  [
    {'method': 'classifier_chain', 'epochs': 6, 'learning_rates': (0.1, 0.01)},
    {
      'method': 'ensemble_of_chains',
      'optimizer': 'lbfgs',
      'max_iterations': 120,
      'tolerance': 1e-9,
      'options': {'model.members': 2},
    },
  ],
  ids=['adamw', 'lbfgs'],
)
def test_training_goes_on_where_it_was_killed(
  changes, tiny, tmp_path, command_line, environment
):
  experiment = tiny(**changes, decoders=('subset', 'hamming'))

  def start(workdir: str, devices: int = 1) -> subprocess.Popen:
    line = command_line('train.py', *flags_of(experiment))
    places = f'--workdir={tmp_path / workdir}', f'--host_devices={devices}'
    with open(tmp_path / 'errors', 'w') as errors:
      return subprocess.Popen(
        [*line, *places],
        # Without optimisations bits may depend on the number of devices.
        env={**environment, 'XLA_FLAGS': ''},
        stdout=subprocess.DEVNULL,
        stderr=errors,
      )

  assert start('whole').wait() == 0, (tmp_path / 'errors').read_text()
  (path,) = (tmp_path / 'whole' / 'single').iterdir()
  wanted = RunDirectory(path)
  run = RunDirectory(tmp_path / 'killed' / 'single' / wanted.run_id)
  instant = random.Random(0)
  killed = 0
  # On one device and on two in turn.
  for i, moment in enumerate(MOMENTS.values()):
    process = start('killed', 1 + i % 2)
    while process.poll() is None and not moment(run):
      time.sleep(0.002)
    time.sleep(instant.uniform(0.0, 0.2))
    process.send_signal(signal.SIGKILL)
    killed += process.wait() == -signal.SIGKILL
  # A moment may pass before it is seen, but not many.
  assert killed >= len(MOMENTS) - 3
  assert start('killed').wait() == 0, (tmp_path / 'errors').read_text()
  assert run.is_done
  assert_same(run, wanted)


STUDY = (
  '--study=regret',
  '--datasets=synthetic:chain,labels=3,examples=200,features=3',
  '--methods=binary_relevance,classifier_chain',
  '--seeds=2',
  '--optimizer=adamw',
  '--epochs=20',
  '--patience=0',
  '--learning_rates=0.01',
  '--save_interval_secs=0',
  '--max_parallel=2',
)


def test_a_killed_study_goes_on(tmp_path, command_line, environment, process):
  whole = process('launch.py', *STUDY, f'--workdir={tmp_path / "whole"}')
  assert whole.code == 0, whole.err
  names = [
    path.parent.name
    for path in (tmp_path / 'whole' / 'regret').glob('*/config.json')
  ]
  assert len(names) == 2
  study = tmp_path / 'killed' / 'regret'
  runs = [RunDirectory(study / name) for name in names]
  line = command_line('launch.py', *STUDY, f'--workdir={tmp_path / "killed"}')
  for epochs in (1, 6):
    launcher = subprocess.Popen(
      line,
      cwd=ROOT,
      env=environment,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    while launcher.poll() is None and not any(
      count_epochs(run) >= epochs for run in runs
    ):
      time.sleep(0.005)
    launcher.send_signal(signal.SIGKILL)
    assert launcher.wait() == -signal.SIGKILL
    # Its children end with it, so that nobody holds the locks of their runs.
    deadline = time.monotonic() + 20
    while any(run.status().state == 'running' for run in runs):
      assert time.monotonic() < deadline
      time.sleep(0.05)
  assert not all(run.is_done for run in runs)
  again = process('launch.py', *STUDY, f'--workdir={tmp_path / "killed"}')
  assert again.code == 0, again.err
  for run in runs:
    assert_same(run, RunDirectory(tmp_path / 'whole' / 'regret' / run.run_id))
  for name in ('results.csv', 'summary.csv'):
    wanted = (tmp_path / 'whole' / 'regret' / name).read_bytes()
    assert (study / name).read_bytes() == wanted
  before = {run.run_id: stamps(run) for run in runs}
  idle = process('launch.py', *STUDY, f'--workdir={tmp_path / "killed"}')
  assert idle.code == 0
  assert 'All 2 runs are done; nothing to train.' in idle.out
  assert {run.run_id: stamps(run) for run in runs} == before


def test_an_interrupted_study_says_how_to_go_on(
  tmp_path, command_line, environment
):
  launcher = subprocess.Popen(
    command_line('launch.py', *STUDY, f'--workdir={tmp_path / "runs"}'),
    cwd=ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  study = tmp_path / 'runs' / 'regret'
  while launcher.poll() is None and not any(study.glob('*/metrics.jsonl')):
    time.sleep(0.01)
  launcher.send_signal(signal.SIGINT)
  _, err = launcher.communicate(timeout=60)
  assert launcher.returncode == 130
  assert 'the same command continues' in err
  assert 'Traceback' not in err
  for path in study.glob('*/config.json'):
    assert RunDirectory(path.parent).status().state in ('partial', 'done')


def stamps(run: RunDirectory) -> dict[str, int]:
  return {
    name: os.stat(run.path / name).st_mtime_ns for name in os.listdir(run.path)
  }
