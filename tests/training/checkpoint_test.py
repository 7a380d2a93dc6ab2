import hashlib
import json
import logging
import os
import pathlib
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.run_directory import (
  ConfigChangedError,
  RunDirectoryError,
  StorageError,
)
from mlc.training.checkpoint import CheckpointError, Checkpoints

CONFIG = {'dataset': 'yeast', 'train': {'lr': 0.1}}


class State(NamedTuple):
  params: dict
  key: jax.Array
  step: jax.Array
  nothing: tuple = ()


def state_at(step: int) -> State:
  """A state with all that is hard to store."""
  normal = jax.random.normal(jax.random.key(step), (3, 20, 10))
  return State(
    params={
      'head': {
        'kernel': normal,
        'a/b.c': jnp.zeros((0, 4)),
        'table': jnp.arange(5, dtype=jnp.int8),
      },
      'half': jnp.bfloat16(1.5) * jnp.ones((2, 2), jnp.bfloat16),
      'odd': jnp.array([-0.0, jnp.nan, jnp.inf, -jnp.inf]),
      'zeros': jnp.full((4, 4), -0.0),
      'known': jnp.array([True, False]),
    },
    key=jax.random.split(jax.random.key(7), 3),
    step=jnp.int32(step),
  )


def same(a: State, b: State) -> bool:
  """Equal in every bit."""
  flat_a, tree_a = jax.tree.flatten(a)
  flat_b, tree_b = jax.tree.flatten(b)
  plain = lambda x: (
    jax.random.key_data(x)
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    else x
  )
  return tree_a == tree_b and all(
    x.dtype == y.dtype
    and x.shape == y.shape
    and np.asarray(plain(x)).tobytes() == np.asarray(plain(y)).tobytes()
    for x, y in zip(flat_a, flat_b, strict=True)
  )


def abstract() -> State:
  return jax.eval_shape(lambda: state_at(0))


def opened(path: pathlib.Path, **options) -> Checkpoints:
  return Checkpoints(path / 'checkpoints', CONFIG, **options)


def trained(path: pathlib.Path, steps=(1, 2), **options) -> Checkpoints:
  checkpoints = opened(path, **options)
  assert checkpoints.restore(abstract()) is None
  for step in steps:
    checkpoints.save(step, state_at(step))
  return checkpoints


def names(path: pathlib.Path) -> list[str]:
  return sorted(os.listdir(path / 'checkpoints'))


def tree_of(path: pathlib.Path) -> dict:
  return {
    str(p.relative_to(path)): p.read_bytes()
    for p in path.rglob('*')
    if p.is_file()
  }


@pytest.fixture(scope='module')
def two(tmp_path_factory) -> pathlib.Path:
  """A run with checkpoints of steps 1 and 2; to be copied, not touched."""
  path = tmp_path_factory.mktemp('two')
  trained(path)
  return path


@pytest.fixture
def run(two, tmp_path) -> pathlib.Path:
  shutil.copytree(two / 'checkpoints', tmp_path / 'checkpoints')
  return tmp_path


def newest(run: pathlib.Path) -> pathlib.Path:
  return run / 'checkpoints' / names(run)[-1]


# There and back.


def test_nothing_saved_is_none(tmp_path):
  assert opened(tmp_path).restore(abstract()) is None
  assert not (tmp_path / 'checkpoints').exists()


@pytest.mark.slow
@pytest.mark.parametrize('like', [abstract, lambda: state_at(0)])
def test_every_bit_comes_back(run, like):
  step, state = opened(run).restore(like())
  assert step == 2
  assert same(state, state_at(2))
  assert not same(state, state_at(1))
  assert state.key.dtype == state_at(2).key.dtype


@pytest.mark.slow
def test_restored_arrays_do_not_compile_anew(run):
  traced = []
  step = jax.jit(lambda kernel: traced.append(1) or kernel + 1)
  step(state_at(2).params['head']['kernel'])
  _, state = opened(run).restore(state_at(0))
  kernel = state.params['head']['kernel']
  assert not kernel.committed
  step(kernel)
  assert step._cache_size() == 1
  assert traced == [1]


def test_numpy_leaves_stay_numpy(tmp_path):
  checkpoints = opened(tmp_path)
  checkpoints.restore({'x': np.zeros(3)})
  checkpoints.save(1, {'x': np.arange(3.0)})
  _, state = opened(tmp_path).restore({'x': np.zeros(3)})
  assert type(state['x']) is np.ndarray
  np.testing.assert_array_equal(state['x'], [0.0, 1.0, 2.0])


def test_only_the_newest_stay(tmp_path):
  trained(tmp_path, (1, 2, 3, 10), keep=3)
  assert [int(name.split('-')[0]) for name in names(tmp_path)] == [2, 3, 10]
  one = opened(tmp_path, keep=1)
  one.restore(abstract())
  one.save(11, state_at(11))
  assert [int(name.split('-')[0]) for name in names(tmp_path)] == [11]


def test_saves_by_the_clock(tmp_path):
  checkpoints = opened(tmp_path, interval_secs=1000)
  checkpoints.restore(abstract())
  assert not checkpoints.maybe_save(1, state_at(1))
  assert not (tmp_path / 'checkpoints').exists()
  checkpoints = opened(tmp_path, interval_secs=0)
  checkpoints.restore(abstract())
  assert checkpoints.maybe_save(1, state_at(1))
  assert len(names(tmp_path)) == 1


def test_the_same_state_is_not_written_twice(run):
  before = tree_of(run)
  checkpoints = opened(run)
  step, state = checkpoints.restore(abstract())
  checkpoints.save(step, state)
  assert tree_of(run) == before


def test_another_state_of_the_same_step_supersedes(run):
  checkpoints = opened(run)
  checkpoints.restore(abstract())
  other = state_at(5)
  checkpoints.save(2, other)
  assert [int(name.split('-')[0]) for name in names(run)] == [1, 2]
  step, state = opened(run).restore(abstract())
  assert step == 2
  assert same(state, other)


def test_saving_over_unseen_checkpoints_is_refused(run):
  before = tree_of(run)
  with pytest.raises(CheckpointError, match='call restore'):
    opened(run).save(1, state_at(9))
  assert tree_of(run) == before


def test_discarded(run):
  checkpoints = opened(run)
  checkpoints.discard()
  assert names(run) == []
  checkpoints.save(1, state_at(1))
  assert len(names(run)) == 1


@pytest.mark.parametrize('leaf', [3, 1.5, 'x'])
def test_a_state_is_arrays_only(tmp_path, leaf):
  with pytest.raises(ValueError, match='leaf a/0 of the state is a'):
    opened(tmp_path).save(1, {'a': [leaf]})
  assert not (tmp_path / 'checkpoints').exists()


def test_at_least_one_has_to_stay(tmp_path):
  with pytest.raises(ValueError, match='keep is 0'):
    opened(tmp_path, keep=0)


def test_a_read_only_place_is_one_error(tmp_path):
  (tmp_path / 'checkpoints').write_text('a file')
  with pytest.raises(StorageError, match='checkpoints'):
    opened(tmp_path).save(1, state_at(1))


# Damage.


def positions(size: int) -> list[int]:
  spread = np.random.default_rng(size).integers(0, size, 4).tolist()
  return sorted({0, size // 2, size - 1, *spread})


def damages(path: pathlib.Path):
  """Every file of a checkpoint, damaged in every way, one at a time."""
  for file in sorted(p for p in path.rglob('*') if p.is_file()):
    content = file.read_bytes()
    for at in positions(len(content)) if content else []:
      for bit in (0, 7):
        flipped = bytearray(content)
        flipped[at] ^= 1 << bit
        yield f'{file} byte {at} bit {bit}', file, content, bytes(flipped)
    if content:
      yield f'{file} short', file, content, content[:-1]
      yield f'{file} empty', file, content, b''
    yield f'{file} longer', file, content, content + b'\0'
    yield f'{file} missing', file, content, None


@pytest.mark.slow
def test_any_damage_falls_back_to_the_older(run, caplog):
  caplog.set_level(logging.WARNING)
  seen = set()
  for what, file, content, damaged in damages(newest(run)):
    if damaged is None:
      file.unlink()
    else:
      file.write_bytes(damaged)
    caplog.clear()
    step, state = opened(run).restore(abstract())
    assert step == 1, what
    assert same(state, state_at(1)), what
    assert newest(run).name in caplog.text, what
    assert 'is passed over' in caplog.text, what
    file.write_bytes(content)
    seen.add(file.name)
  assert 'manifest.json' in seen
  assert len(seen) > 5
  assert opened(run).restore(abstract())[0] == 2


def test_damage_that_sha_of_files_would_miss(run, caplog):
  """An array that is not the one saved, in files that are as written."""
  path = newest(run)
  manifest = json.loads((path / 'manifest.json').read_bytes())
  manifest['leaves'][0]['sha256'] = '0' * 64
  reseal(path, manifest)
  step, _ = opened(run).restore(abstract())
  assert step == 1
  assert 'the bytes of params/half are not those saved' in caplog.text


def reseal(path: pathlib.Path, manifest: dict) -> None:
  """Writes a manifest whose own digest is right."""
  del manifest['digest']
  text = lambda: json.dumps(manifest, sort_keys=True, separators=(',', ':'))
  manifest['digest'] = hashlib.sha256(text().encode()).hexdigest()
  (path / 'manifest.json').write_text(text())


def test_none_to_be_trusted_is_refused(run):
  for name in names(run):
    (run / 'checkpoints' / name / 'manifest.json').write_bytes(b'{}')
  before = tree_of(run)
  with pytest.raises(CheckpointError) as error:
    opened(run).restore(abstract())
  text = str(error.value)
  assert all(name in text for name in names(run))
  assert 'not started from zero' in text
  assert str(run / 'checkpoints') in text
  assert tree_of(run) == before


def test_training_goes_on_from_the_older(run):
  shutil.rmtree(newest(run) / 'arrays')
  damaged = newest(run).name
  checkpoints = opened(run)
  assert checkpoints.restore(abstract())[0] == 1
  checkpoints.save(2, state_at(2))
  assert opened(run).restore(abstract())[0] == 2
  assert f'rejected-{damaged}' in names(run)
  checkpoints.save(3, state_at(3))
  assert opened(run).restore(abstract())[0] == 3


def test_a_damaged_newer_one_does_not_push_out_good_ones(tmp_path):
  trained(tmp_path, (1, 50))
  (newest(tmp_path) / 'manifest.json').unlink()
  checkpoints = opened(tmp_path)
  assert checkpoints.restore(abstract())[0] == 1
  for step in (2, 3):
    checkpoints.save(step, state_at(step))
  kept = [name for name in names(tmp_path) if name[0].isdigit()]
  assert [int(name.split('-')[0]) for name in kept] == [2, 3]


def test_only_rejected_ones_left_is_refused(run):
  for name in names(run):
    path = run / 'checkpoints' / name
    path.rename(path.with_name(f'rejected-{name}'))
  with pytest.raises(CheckpointError, match='passed over by an earlier start'):
    opened(run).restore(abstract())


def test_a_renamed_checkpoint_is_passed_over(run, caplog):
  path = newest(run)
  path.rename(path.with_name('00000099-' + path.name.split('-')[1]))
  assert opened(run).restore(abstract())[0] == 1
  assert 'it was renamed' in caplog.text


def test_half_made_ones_are_ignored_and_swept(run):
  (run / 'checkpoints' / '.tmp-00000003-01234567' / 'arrays').mkdir(
    parents=True
  )
  (run / 'checkpoints' / '.trash-00000000-01234567').mkdir()
  checkpoints = opened(run)
  assert checkpoints.restore(abstract())[0] == 2
  assert len(names(run)) == 4
  checkpoints.save(3, state_at(3))
  assert [int(name.split('-')[0]) for name in names(run)] == [2, 3]


# Another config, another code.


def test_a_changed_config_is_refused_with_a_diff(run):
  before = tree_of(run)
  changed = {**CONFIG, 'train': {'lr': 0.5}}
  with pytest.raises(ConfigChangedError, match=r'train\.lr: 0\.1 -> 0\.5'):
    Checkpoints(run / 'checkpoints', changed).restore(abstract())
  assert tree_of(run) == before


def test_a_changed_state_is_refused_with_a_diff(run):
  now = state_at(0)
  del now.params['half']
  now.params['odd'] = jnp.zeros(5)
  with pytest.raises(RunDirectoryError) as error:
    opened(run).restore(now)
  text = str(error.value)
  assert 'params/half: "bfloat16[2, 2]" -> (absent)' in text
  assert 'params/odd: "float32[4]" -> "float32[5]"' in text
