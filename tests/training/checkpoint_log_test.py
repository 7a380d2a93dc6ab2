"""The file that grows beside the checkpoints is cut to the one restored."""

import pathlib

import jax
import jax.numpy as jnp
import pytest

from mlc.training.checkpoint import CheckpointError, Checkpoints


def state_at(step: int) -> dict[str, jax.Array]:
  return {'x': jnp.full(3, step, jnp.float32)}


def abstract() -> dict[str, jax.ShapeDtypeStruct]:
  return jax.eval_shape(lambda: state_at(0))


def opened(path: pathlib.Path, **options) -> Checkpoints:
  return Checkpoints(path / 'checkpoints', {'dataset': 'yeast'}, **options)


def grow(log: pathlib.Path, epoch: int) -> None:
  with open(log, 'a') as file:
    file.write(f'{{"epoch": {epoch}}}\n')


@pytest.fixture
def logged(tmp_path) -> pathlib.Path:
  log = tmp_path / 'metrics.jsonl'
  checkpoints = opened(tmp_path, log=log)
  checkpoints.restore(abstract())
  for step in (1, 2):
    grow(log, step)
    checkpoints.save(step, state_at(step))
  grow(log, 3)
  return tmp_path


def test_the_log_is_cut_to_its_checkpoint(logged):
  log = logged / 'metrics.jsonl'
  opened(logged).restore(abstract())
  assert log.read_text().count('\n') == 3
  assert opened(logged, log=log).restore(abstract())[0] == 2
  assert log.read_text() == '{"epoch": 1}\n{"epoch": 2}\n'


def test_the_log_follows_the_older_checkpoint(logged):
  log = logged / 'metrics.jsonl'
  newest = max((logged / 'checkpoints').iterdir())
  (newest / 'manifest.json').unlink()
  assert opened(logged, log=log).restore(abstract())[0] == 1
  assert log.read_text() == '{"epoch": 1}\n'


def test_a_newer_checkpoint_of_another_copy_is_passed_over(logged, caplog):
  log = logged / 'metrics.jsonl'
  log.write_text('{"epoch": 1}\n{"epoch": 2, "other": 1}\n')
  assert opened(logged, log=log).restore(abstract())[0] == 1
  assert 'another copy of the run' in caplog.text
  assert log.read_text() == '{"epoch": 1}\n'


def test_a_lost_log_is_refused(logged):
  log = logged / 'metrics.jsonl'
  log.unlink()
  with pytest.raises(CheckpointError, match=r'metrics\.jsonl does not begin'):
    opened(logged, log=log).restore(abstract())


def test_a_log_without_checkpoint_starts_anew_and_says_so(tmp_path, caplog):
  log = tmp_path / 'metrics.jsonl'
  grow(log, 1)
  assert opened(tmp_path, log=log).restore(abstract()) is None
  assert log.read_bytes() == b''
  assert 'dropping 13 bytes' in caplog.text
