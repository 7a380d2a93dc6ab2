"""A directory that is held, and a run that is not what it was."""

import json
import re

import numpy as np
import pytest

from experiments import train
from experiments.flags import flags_of
from mlc.run_directory import RunDirectory, exclusive

SYNTHETIC = '--dataset=synthetic:chain,labels=4,examples=200,features=4'


class TestHeldDirectories:
  @pytest.mark.slow
  def test_a_run_that_another_process_writes(
    self, command, finished, tmp_path, contents, compiled, check_error
  ):
    held = tmp_path / 'runs' / 'single' / finished.run_id
    held.mkdir(parents=True)
    with exclusive(held / 'lock'):
      before, count = contents(tmp_path), len(compiled)
      outcome = command(
        'train.py',
        f'--flagfile={finished.flags_path}',
        f'--workdir={tmp_path / "runs"}',
      )
      assert contents(tmp_path) == before
    check_error(outcome, 'train.py', ['is being written by process'])
    assert outcome.seconds < 1.0
    assert len(compiled) == count

  def test_a_study_that_another_process_runs(
    self, command, tmp_path, contents, check_error
  ):
    study = tmp_path / 'runs' / 'regret'
    study.mkdir(parents=True)
    with exclusive(study / 'lock'):
      before = contents(tmp_path)
      outcome = command(
        'launch.py', '--study=regret', f'--workdir={tmp_path / "runs"}'
      )
      assert contents(tmp_path) == before
    check_error(outcome, 'launch.py', ['is being written by process'])

  def test_a_workdir_that_cannot_be_made(self, command, tmp_path, check_error):
    (tmp_path / 'file').write_text('')
    for program in ('train.py', 'launch.py'):
      arguments = [SYNTHETIC] if program == 'train.py' else []
      outcome = command(
        program, *arguments, f'--workdir={tmp_path / "file" / "runs"}'
      )
      check_error(outcome, program, ['cannot write', 'Not a directory'])


class TestChanges:
  """Something is not what it was when the run was begun."""

  @pytest.fixture
  def partial(self, write_arff, sample, tiny, tmp_path, monkeypatch, command):
    """A run on a file, interrupted after its last epoch."""
    x, y = sample
    y = np.column_stack([y, np.ones(len(y), int)])
    data_dir = write_arff('mine', x, y)
    with monkeypatch.context() as patched:
      patched.setattr(train, 'conclude', _interrupt)
      outcome = command(
        'train.py',
        *flags_of(tiny(dataset='mine')),
        f'--data_dir={data_dir}',
        f'--workdir={tmp_path / "runs"}',
      )
    assert outcome.code == 130
    assert 'the same command continues' in outcome.err
    (path,) = (tmp_path / 'runs' / 'single').iterdir()
    return RunDirectory(path)

  @pytest.mark.slow
  def test_the_data(self, partial, command, tmp_path, contents, compiled):
    assert partial.status().state == 'partial'
    file = tmp_path / 'data' / 'mine' / 'mine.arff'
    file.write_text(re.sub(r'\n[^\n]+\n$', '\n', file.read_text()))
    before, count = contents(tmp_path), len(compiled)
    outcome = command('train.py', f'--flagfile={partial.flags_path}')
    assert outcome.code == 1
    assert 'content_hash: ' in outcome.err
    assert 'Nothing was written' in outcome.err
    assert 'Traceback' not in outcome.err
    assert contents(tmp_path) == before
    assert len(compiled) == count
    assert outcome.seconds < 1.0

  @pytest.mark.slow
  def test_a_constant_label_is_allowed_and_reported(self, partial):
    assert re.search(
      r'note: 1 of 4 labels are always 1 .* y3', partial.log_path.read_text()
    )

  @pytest.mark.slow
  def test_the_config(self, partial, command, tmp_path, contents):
    config = partial.read_config()
    partial.config_path.write_text(json.dumps({**config, 'epochs': 3}))
    before = contents(tmp_path)
    outcome = command('train.py', f'--flagfile={partial.flags_path}')
    assert outcome.code == 1
    assert 'epochs: 3 -> 2' in outcome.err
    assert contents(tmp_path) == before

  @pytest.mark.slow
  def test_the_config_of_the_checkpoint(
    self, partial, command, tmp_path, contents
  ):
    """Both files agree with the command line, the checkpoint does not."""
    for path in partial.checkpoints_path.glob('*/manifest.json'):
      manifest = json.loads(path.read_text())
      manifest['config']['epochs'] = 3
      path.write_text(json.dumps(manifest))
    before = contents(partial.checkpoints_path)
    metrics = partial.metrics_path.read_bytes()
    outcome = command('train.py', f'--flagfile={partial.flags_path}')
    assert outcome.code == 1
    assert 'Traceback' not in outcome.err
    assert contents(partial.checkpoints_path) == before
    assert partial.metrics_path.read_bytes() == metrics
    assert partial.status().state == 'failed'


def _interrupt(*arguments) -> None:
  raise KeyboardInterrupt
