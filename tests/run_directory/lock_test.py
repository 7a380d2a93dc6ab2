"""One process at a time."""

import errno
import fcntl
import os
import shutil
import signal
import socket
import threading
import time

import pytest

from mlc.run_directory import (
  HeldError,
  RunDirectoryError,
  StorageError,
)

HOLD = """
  import sys, time
  from mlc.run_directory import RunDirectory, directory
  directory.environment = dict
  config = {'dataset': 'yeast', 'method': 'chain', 'train': {'epochs': 3}}
  with RunDirectory(sys.argv[1]).open(config):
    print('held', flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_is_not(
  run, config, finish, snapshot, python
):
  other = python(HOLD, run.path)
  try:
    assert other.stdout.readline() == 'held\n'
    before = snapshot(run.path)
    began = time.monotonic()
    with pytest.raises(HeldError) as error, run.open(config):
      pass
    assert time.monotonic() - began < 1
    assert f'process {other.pid} on {socket.gethostname()}' in str(error.value)
    assert run.status().state == 'running'
    assert snapshot(run.path) == before
    assert not run.failed_path.exists()
  finally:
    other.kill()
    other.communicate()
  # The lock file still names the dead process, but nobody holds it.
  assert str(other.pid) in run.lock_path.read_text()
  assert run.status().state == 'partial'
  finish(run)


def test_a_signal_leaves_the_run_partial(run, python):
  other = python(HOLD, run.path)
  assert other.stdout.readline() == 'held\n'
  other.send_signal(signal.SIGTERM)
  other.communicate()
  assert run.status().state == 'partial'


@pytest.mark.slow
def test_of_processes_that_start_at_once_one_wins(run, tmp_path, python):
  code = """
    import os, sys, time
    from mlc.run_directory import HeldError, RunDirectory, directory
    directory.environment = dict
    config = {'dataset': 'yeast', 'method': 'chain', 'train': {'epochs': 3}}
    open(sys.argv[2] + '/' + str(os.getpid()), 'w').close()
    while not os.path.exists(sys.argv[2] + '/go'):
      time.sleep(0.001)
    try:
      with RunDirectory(sys.argv[1]).open(config):
        time.sleep(1)
        print('won')
    except HeldError:
      print('refused')
  """
  gate = tmp_path / 'gate'
  gate.mkdir()
  others = [python(code, run.path, gate) for _ in range(5)]
  deadline = time.monotonic() + 30
  while len(list(gate.iterdir())) < 5 and time.monotonic() < deadline:
    time.sleep(0.01)
  (gate / 'go').touch()
  said = sorted(other.communicate()[0].strip() for other in others)
  assert said == ['refused'] * 4 + ['won']
  assert run.status().state == 'partial'


def test_asking_for_the_status_does_not_refuse_a_starter(run, config):
  with run.open(config):
    pass
  # What `status` does for an instant, for longer than that.
  asking = os.open(run.lock_path, os.O_RDONLY)
  fcntl.flock(asking, fcntl.LOCK_SH | fcntl.LOCK_NB)
  answer = threading.Timer(0.1, os.close, [asking])
  answer.start()
  with run.open(config):
    assert not answer.is_alive()


def test_a_directory_replaced_while_starting_is_not_shared(
  run, monkeypatch, config
):
  with run.open(config):
    pass
  flock = fcntl.flock

  def replace_first(descriptor, operation):
    monkeypatch.setattr(fcntl, 'flock', flock)
    shutil.rmtree(run.path)
    run.path.mkdir()
    flock(descriptor, operation)

  monkeypatch.setattr(fcntl, 'flock', replace_first)
  with run.open(config):
    assert run.status().state == 'running'


def test_a_file_system_without_locks_is_named(run, monkeypatch, config):
  def flock(descriptor, operation):
    raise OSError(errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(fcntl, 'flock', flock)
  with pytest.raises(RunDirectoryError, match='NFS') as error, run.open(config):
    pass
  assert '--workdir' in str(error.value)
  assert not run.config_path.exists()
  assert run.status().state == 'absent'


def test_a_holder_whose_directory_is_gone_cannot_write(run, config):
  with pytest.raises(StorageError, match='No such file'), run.open(config):
    run.path.rename(run.path.with_name('moved'))
    run.write_results({})
  assert not run.path.exists()
