"""A run from its start to DONE, and what is written of it."""

import getpass
import json
import os
import socket

import numpy as np
import pytest

from mlc import run_directory
from mlc.run_directory import (
  ConfigChangedError,
  RunDirectoryError,
  environment,
)


def test_states_of_a_run(run, config, finish):
  assert run.status() == ('absent', 'never started')
  with run.open(config):
    assert run.status().state == 'running'
    assert f'process {os.getpid()} on {socket.gethostname()}' in (
      run.status().reason
    )
  assert run.status() == ('partial', 'not finished')
  assert not run.is_done
  finish(run)
  assert run.status() == ('done', 'DONE')
  assert run.is_done


def test_files_come_back(run, config, finish):
  finish(run)
  assert run.read_config() == config
  assert run.flags_path.read_text() == '--method=chain\n'
  assert run.read_metrics() == [{'epoch': 1}, {'epoch': 2}]
  assert run.last_metrics() == {'epoch': 2}
  assert run.read_results() == {'rows': [1.5]}
  np.testing.assert_array_equal(run.read_predictions()['y'], np.eye(3))


def test_opening_a_done_run_leaves_it_done(run, config, finish, snapshot):
  finish(run)
  before = snapshot(run.path)
  with run.open(config):
    pass
  after = snapshot(run.path)
  del before['lock'], after['lock']
  assert after == before
  assert run.is_done


def test_done_needs_results(run, config):
  with run.open(config):
    with pytest.raises(RunDirectoryError, match=r'results\.json'):
      run.mark_done()
    assert not run.done_path.exists()


@pytest.mark.parametrize('name', ['results.json', 'predictions.npz'])
@pytest.mark.parametrize('damage', ['remove', 'shorten'])
def test_done_with_results_missing_is_not_done(
  run, name, damage, caplog, config, finish
):
  finish(run)
  path = run.path / name
  if damage == 'remove':
    path.unlink()
  else:
    path.write_bytes(path.read_bytes()[:-1])
  assert run.status().state == 'partial'
  assert name in run.status().reason
  with run.open(config):
    assert not run.done_path.exists()
  assert name in caplog.text
  finish(run)
  assert run.is_done


def test_one_changed_byte_of_the_results_is_noticed(run, finish):
  finish(run)
  content = run.results_path.read_bytes()
  run.results_path.write_bytes(content.replace(b'1.5', b'2.5'))
  assert run.status().state == 'partial'


@pytest.mark.parametrize(
  'content', [b'', b'{}', b'[]', b'{"files": {}}', b'{"files": {"x": 1}}']
)
def test_a_damaged_done_is_not_done(run, content, finish):
  finish(run)
  run.done_path.write_bytes(content)
  assert run.status().state == 'partial'


def test_a_failure_is_noted_and_forgotten_on_retry(run, config):
  error = ValueError('the label is gone')
  error.hint = 'bring it back'
  with pytest.raises(ValueError), run.open(config):
    raise error
  assert run.status() == ('failed', 'ValueError: the label is gone')
  failure = run.read_failure()
  assert failure['hint'] == 'bring it back'
  assert failure['traceback'][-1].startswith('directory_test.py:')
  with run.open(config):
    assert not run.failed_path.exists()
  assert run.status().state == 'partial'


def test_an_interruption_is_not_a_failure(run, config):
  with pytest.raises(KeyboardInterrupt), run.open(config):
    raise KeyboardInterrupt
  assert run.status().state == 'partial'


def test_a_changed_config_is_refused_with_a_diff(run, config, snapshot):
  with run.open(config):
    run.append_metrics({'epoch': 1})
  before = snapshot(run.path)
  changed = {**config, 'train': {'epochs': 5}}
  with (
    pytest.raises(ConfigChangedError, match=r'train\.epochs: 3 -> 5') as error,
    run.open(changed),
  ):
    pass
  assert str(run.path) in str(error.value)
  assert snapshot(run.path) == before


def test_a_damaged_config_is_refused(run, config, snapshot):
  with run.open(config):
    pass
  run.config_path.write_text('{"dataset": ')
  before = snapshot(run.path)
  with (
    pytest.raises(ConfigChangedError, match=r'config\.json is damaged'),
    run.open(config),
  ):
    pass
  assert snapshot(run.path) == before


def test_numbers_that_json_lacks_are_null(run, config):
  with run.open(config):
    run.append_metrics(
      {
        'loss': np.array([1.0, np.nan], np.float32),
        'best': float('inf'),
        'on': np.bool_(True),
      }
    )
    run.write_results({'value': (np.float32(0.5), float('-inf'))})
  assert run.read_metrics() == [{'loss': [1.0, None], 'best': None, 'on': True}]
  assert run.read_results() == {'value': [0.5, None]}


def test_predictions_hold_no_objects(run, config):
  with run.open(config), pytest.raises(ValueError, match='object array'):
    run.write_predictions(y=np.array([{}]))


def test_the_environment_names_no_user_and_no_place(run, config):
  with run.open(config):
    pass
  text = run.env_path.read_text()
  seen = json.loads(text)
  assert seen['device_count'] >= 1
  assert seen['versions']['jax'] != 'absent'
  assert socket.gethostname() not in text
  assert '/' not in text
  assert f'"{getpass.getuser()}"' not in text


def test_a_changed_environment_is_said(run, caplog, monkeypatch, config):
  with run.open(config):
    pass
  assert not caplog.text
  other = {**environment(), 'device_count': 9}
  monkeypatch.setattr(run_directory.directory, 'environment', lambda: other)
  with run.open(config):
    pass
  assert 'device_count: ' in caplog.text
  assert json.loads(run.env_path.read_text()) == other


def test_reading_a_run_directory_does_not_import_jax(tmp_path, python):
  code = """
    import sys
    from mlc import sweep
    sweep.rows(sys.argv[1], ['a-b-c'])
    print('jax' in sys.modules, 'orbax' in sys.modules)
  """
  assert python(code, tmp_path).communicate()[0] == 'False False\n'
