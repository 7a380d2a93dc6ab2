"""Full disks, torn files and kills at any moment."""

import errno
import os

import pytest

from mlc.run_directory import (
  StorageError,
  files,
)


def full(*_):
  raise OSError(errno.ENOSPC, 'No space left on device')


def test_a_full_disk_leaves_the_old_file(run, monkeypatch, finish, snapshot):
  finish(run)
  before = snapshot(run.path)
  with pytest.raises(StorageError) as error, monkeypatch.context() as patch:
    patch.setattr(os, 'fsync', full)
    files.write_atomic(run.results_path, b'new')
  assert 'No space left on device' in str(error.value)
  assert str(run.results_path) in str(error.value)
  assert snapshot(run.path) == before


def test_a_full_disk_fails_the_run_and_space_mends_it(run, config, finish):
  with (
    pytest.raises(StorageError),
    pytest.MonkeyPatch.context() as patch,
    run.open(config),
  ):
    run.append_metrics({'epoch': 1})
    patch.setattr(os, 'fsync', full)
    run.write_results({})
  finish(run)
  assert run.is_done


def test_a_write_that_stops_halfway_leaves_no_half_line(
  run, monkeypatch, config
):
  with run.open(config):
    run.append_metrics({'epoch': 1})
    write = os.write

    def half(descriptor, data):
      if len(data) < 3:
        full()
      return write(descriptor, data[: len(data) // 2])

    with pytest.raises(StorageError) as error, monkeypatch.context() as patch:
      patch.setattr(os, 'write', half)
      run.append_metrics({'epoch': 2})
    assert 'metrics.jsonl' in str(error.value)
    assert run.metrics_path.read_text() == '{"epoch": 1}\n'


def test_a_torn_line_is_read_over_and_dropped(run, config):
  with run.open(config):
    run.append_metrics({'epoch': 1})
  with open(run.metrics_path, 'a') as file:
    file.write('{"epoch": 2, "train')
  assert run.read_metrics() == [{'epoch': 1}]
  assert run.last_metrics() == {'epoch': 1}
  with run.open(config):
    run.append_metrics({'epoch': 2})
  assert run.read_metrics() == [{'epoch': 1}, {'epoch': 2}]


def test_the_last_line_of_a_long_file(run, config):
  with run.open(config):
    run.append_metrics(*({'epoch': i, 'x': 'y' * 99} for i in range(2000)))
  assert run.last_metrics() == {'epoch': 1999, 'x': 'y' * 99}


def test_truncated_metrics(run, config):
  with run.open(config):
    run.truncate_metrics(1)
    run.append_metrics(
      *({'epoch': i, 'run': r} for i in (1, 2) for r in (0, 1))
    )
    run.truncate_metrics(1)
    assert run.read_metrics() == [{'epoch': 1, 'run': r} for r in (0, 1)]
    run.truncate_metrics(0)
    assert run.metrics_path.read_bytes() == b''


# One script lives through a whole run and is killed at its n-th operation on
# the file system, for every n; the same command then has to finish the run.
KILLED = """
  import os, signal, sys
  from mlc.run_directory import RunDirectory, directory
  directory.environment = lambda: {'jax': '1'}
  config = {'dataset': 'yeast', 'method': 'chain', 'train': {'epochs': 3}}
  EVENTS = ('open', 'os.', 'fcntl.', 'shutil.')

  def live(path):
    run = RunDirectory(path)
    if run.is_done:
      return
    with run.open(config, flags='--x'):
      run.truncate_metrics(0)
      for epoch in (1, 2):
        run.append_metrics({'epoch': epoch})
      run.write_predictions(y=[1, 2])
      run.write_results({'rows': [1]})
      run.mark_done()

  def killed_at(n, path):
    count = 0
    def operation(torn=None):
      nonlocal count
      count += 1
      if count == n:
        if torn is not None:
          write(torn[0], torn[1][: len(torn[1]) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    write, fsync = os.write, os.fsync
    os.write = lambda fd, data: (operation((fd, data)), write(fd, data))[1]
    os.fsync = lambda fd: (operation(), fsync(fd))[1]
    sys.addaudithook(
      lambda event, _: operation() if event.startswith(EVENTS) else None
    )
    live(path)

  n = survived = 0
  while not survived:
    n += 1
    path = f'{sys.argv[1]}/{n}'
    child = os.fork()
    if child == 0:
      killed_at(n, path)
      os._exit(0)
    survived = os.waitpid(child, 0)[1] == 0
    run = RunDirectory(path)
    state = run.status().state
    assert state in ('absent', 'partial', 'done'), (n, state)
    if state == 'done':
      assert run.read_results() == {'rows': [1]}, n
    for leftover in (run.config_path, run.results_path):
      assert not leftover.exists() or b'}' in leftover.read_bytes(), n
    live(path)
    assert run.is_done, (n, run.status())
    assert run.read_config() == config
    assert run.metrics_path.read_text() == '{"epoch": 1}\\n{"epoch": 2}\\n', n
    assert run.read_predictions()['y'].tolist() == [1, 2]
    assert run.flags_path.read_text() == '--x'
    assert not [p for p in os.listdir(path) if p.startswith('.')], n
  print(n)
"""


@pytest.mark.slow
def test_killed_between_any_two_operations(tmp_path, python):
  child = python(KILLED, tmp_path)
  out, err = child.communicate(timeout=60)
  assert child.returncode == 0, err
  assert int(out) > 40
