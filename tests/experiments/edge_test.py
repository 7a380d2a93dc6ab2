"""Where a process begins and ends."""

import os
import pathlib
import subprocess
import sys

import pytest

from experiments import edge, train
from experiments.flags import flags_of
from mlc import side_by_side
from mlc.data.dataset import DatasetError

ROOT = pathlib.Path(__file__).parents[2]


class TestGist:
  def test_our_error_and_all_of_it(self):
    output = (
      'exit code 1\n12:00:00 I note\ntrain.py: error: config changed:\n'
      '  epochs: 3 -> 2\nNothing was written.'
    )
    assert edge.gist(output) == (
      'config changed:\n  epochs: 3 -> 2\nNothing was written.'
    )

  def test_of_a_traceback_the_last_line(self):
    output = 'exit code 1\nTraceback ...\n  File "x"\nKeyError: 3'
    assert edge.gist(output) == 'KeyError: 3'

  def test_of_a_signal_the_signal(self):
    assert edge.gist('ended by signal SIGKILL') == 'ended by signal SIGKILL'


def test_what_was_asked_for_is_refused_without_a_traceback():
  with pytest.raises(edge.Refusal, match='no such thing'), edge.refusing():
    raise ValueError('no such thing')
  with pytest.raises(DatasetError), edge.refusing():
    raise DatasetError('kept as it is')
  with pytest.raises(KeyError), edge.refusing():
    raise KeyError('a fault')


def test_a_fault_of_the_program_keeps_its_traceback(
  command, tiny, tmp_path, monkeypatch
):
  def fault(*arguments):
    raise ValueError('a fault')

  monkeypatch.setattr(train, 'train', fault)
  with pytest.raises(ValueError, match='a fault'):
    command('train.py', *flags_of(tiny()), f'--workdir={tmp_path}')
  (failed,) = tmp_path.glob('single/*/FAILED')
  assert 'ValueError: a fault' in failed.read_text()


def test_mlc_traceback_shows_where_a_refusal_comes_from(command, monkeypatch):
  monkeypatch.setenv('MLC_TRACEBACK', '1')
  with pytest.raises(DatasetError):
    command('train.py', '--dataset=nothing')


@pytest.mark.slow
def test_output_that_nobody_reads_is_no_fault(command_line, environment):
  with subprocess.Popen(
    command_line('launch.py', '--helpshort'),
    env=environment,
    cwd=pathlib.Path(__file__).parents[2],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  ) as process:
    process.stdout.close()
    assert process.stderr.read() == b''
  assert process.returncode == 128 + 13


@pytest.mark.parametrize(
  ('asked', 'environment', 'seen'),
  [
    (3, {}, 3),
    (0, {}, min(side_by_side.cores(), 8)),
    (3, {'XLA_FLAGS': '--xla_force_host_platform_device_count=2'}, 2),
    (3, {'JAX_NUM_CPU_DEVICES': '4'}, 4),
  ],
)
def test_devices_are_as_many_as_asked_for(asked, environment, seen):
  code = f"""
import jax
from experiments import edge
edge.make_devices({asked})
print(len(jax.devices()))
edge.make_devices(5)  # They are in use: nothing changes, and nothing fails.
"""
  done = subprocess.run(
    [sys.executable, '-c', code],
    env={**os.environ, 'XLA_FLAGS': '', 'JAX_PLATFORMS': 'cpu', **environment},
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout == f'{seen}\n'


def test_runs_beside_each_other_share_the_cores(monkeypatch):
  monkeypatch.setattr(side_by_side, 'cores', lambda: 20)
  wanted = {1: 8, 4: 5, 7: 2, 20: 1, 64: 1}
  assert {runs: edge.spare_devices(runs) for runs in wanted} == wanted


def test_fewer_than_no_devices_are_refused(command):
  done = command('train.py', '--host_devices=-1')
  assert done.code == 1
  assert 'host_devices is -1; give 0 or more' in done.err
