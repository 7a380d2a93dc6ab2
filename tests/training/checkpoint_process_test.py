"""Checkpoints and what disks and processes do to them."""

import os
import pathlib
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.training.checkpoint import Checkpoints

SETUP = """
  import os, resource, signal, sys
  import jax, jax.numpy as jnp, numpy as np
  from mlc.run_directory import RunDirectoryError
  from mlc.training.checkpoint import Checkpoints
  path = sys.argv[1]
  like = {'x': np.zeros((50, 400)), 'step': np.int32(0)}
  def opened():
    return Checkpoints(
      path + '/checkpoints', {'a': 1}, log=path + '/metrics.jsonl'
    )
  def state(step):
    rng = np.random.default_rng(step)
    return {'x': rng.random((50, 400)), 'step': np.int32(step)}
"""


def python(code: str, *argv: object, **env: str):
  return subprocess.run(
    [
      *(sys.executable, '-W', 'error', '-c', textwrap.dedent(code)),
      *(str(argument) for argument in argv),
    ],
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', **env},
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )


@pytest.mark.slow
def test_other_devices_than_before(tmp_path):
  code = """
    import sys
    import jax, jax.numpy as jnp, numpy as np
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    from mlc.training.checkpoint import Checkpoints
    mesh = jax.make_mesh((4,), ('run',), axis_types=(AxisType.Auto,))
    spread = NamedSharding(mesh, P('run'))
    state = {
      'x': jnp.arange(8.0).reshape(4, 2),
      'key': jax.random.split(jax.random.key(0), 4),
    }
    state = jax.device_put(state, spread)
    like = jax.tree.map(
      lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding),
      state,
    )
    checkpoints = Checkpoints(sys.argv[1], {})
    checkpoints.restore(like)
    checkpoints.save(1, state)
    _, back = Checkpoints(sys.argv[1], {}).restore(like)
    assert back['x'].sharding == spread
    assert len(back['key'].sharding.device_set) == 4
    assert (back['x'] == state['x']).all()
    assert (back['key'] == state['key']).all()
  """
  child = python(
    code, tmp_path, XLA_FLAGS='--xla_force_host_platform_device_count=4'
  )
  assert child.returncode == 0, child.stderr
  like = {'x': jnp.zeros((4, 2)), 'key': jax.random.split(jax.random.key(1), 4)}
  _, back = Checkpoints(tmp_path, {}).restore(like)
  np.testing.assert_array_equal(back['x'], np.arange(8.0).reshape(4, 2))
  assert (back['key'] == jax.random.split(jax.random.key(0), 4)).all()


@pytest.mark.slow
@pytest.mark.parametrize('limit', [0, 300, 5000, 100_000])
def test_a_full_disk_is_one_error_and_space_mends_it(tmp_path, limit):
  code = (
    SETUP
    + """
  checkpoints = opened()
  assert checkpoints.restore(like) is None
  checkpoints.save(1, state(1))
  before = sorted(os.listdir(checkpoints.directory))
  limit = (int(sys.argv[2]), resource.RLIM_INFINITY)
  resource.setrlimit(resource.RLIMIT_FSIZE, limit)
  try:
    checkpoints.save(2, state(2))
  except RunDirectoryError as error:
    print(type(error).__name__, error)
  assert sorted(os.listdir(checkpoints.directory)) == before
  resource.setrlimit(
    resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
  )
  step, back = opened().restore(like)
  assert step == 1 and (back['x'] == state(1)['x']).all()
  checkpoints.save(2, state(2))
  assert opened().restore(like)[0] == 2
"""
  )
  child = python(code, tmp_path, limit)
  assert child.returncode == 0, child.stderr
  assert child.stdout.startswith(f'StorageError cannot write {tmp_path}')
  assert 'File too large' in child.stdout
  assert child.stdout.count('\n') == 1
  assert child.stderr == ''


@pytest.mark.slow
def test_orbax_is_quiet_and_leaves_the_loggers_alone(tmp_path):
  code = (
    """
  import logging
  logging.getLogger('absl').setLevel(logging.DEBUG)
"""
    + SETUP
    + """
  handlers = list(logging.root.handlers)
  checkpoints = opened()
  checkpoints.restore(like)
  checkpoints.save(1, state(1))
  opened().restore(like)
  assert logging.root.handlers == handlers
  assert not logging.getLogger('absl').filters
  import threading, time
  deadline = time.monotonic() + 10
  while threading.active_count() > 1:
    assert time.monotonic() < deadline, threading.enumerate()
    time.sleep(0.01)
"""
  )
  child = python(code, tmp_path)
  assert (child.returncode, child.stdout, child.stderr) == (0, '', '')


def test_orbax_is_imported_when_it_is_used():
  code = """
    import sys
    from mlc.training import checkpoint
    print('orbax' in sys.modules)
  """
  assert python(code).stdout == 'False\n'


# Trains three epochs and is killed at its n-th operation on the file system;
# the same command then has to end with the same bytes as an uninterrupted one.
KILLED = (
  SETUP
  + """
  import warnings
  warnings.simplefilter('ignore')
  from orbax.checkpoint import v1
  from mlc.run_directory import append
  import pathlib
  EVENTS = ('open', 'os.', 'shutil.')
  root, first, stride = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

  def train():
    checkpoints = opened()
    found = checkpoints.restore(like)
    done, x = (0, np.zeros((50, 400))) if found is None else (
      found[0], found[1]['x']
    )
    for step in range(done + 1, 4):
      x = x * 1.5 + np.random.default_rng(step).random((50, 400))
      append(pathlib.Path(path, 'metrics.jsonl'), b'%d %f\\n' % (step, x[0, 0]))
      checkpoints.save(step, {'x': x, 'step': np.int32(step)})
    _, end = opened().restore(like)
    return end['x'].tobytes(), open(path + '/metrics.jsonl', 'rb').read()

  def in_child(function):
    child = os.fork()
    if child == 0:
      try:
        function()
      except BaseException as error:
        sys.__stderr__.write(f'{path}: {error!r}\\n')
        os._exit(1)
      os._exit(0)
    return os.waitpid(child, 0)[1]

  def killed_at(n):
    count = 0
    def operation(event, _):
      nonlocal count
      if event.startswith(EVENTS):
        count += 1
        if count == n:
          os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(operation)
    train()

  path = root + '/whole'
  os.mkdir(path)
  def keep():
    x, lines = train()
    pathlib.Path(root, 'x').write_bytes(x)
    pathlib.Path(root, 'lines').write_bytes(lines)
  assert in_child(keep) == 0
  wanted = [pathlib.Path(root, name).read_bytes() for name in ('x', 'lines')]

  def check():
    assert list(train()) == wanted
    assert not [n for n in os.listdir(path + '/checkpoints') if '.tmp' in n]

  n, ended = first, 1
  while ended:
    path = f'{root}/{n}'
    os.mkdir(path)
    ended = in_child(lambda: killed_at(n))
    assert ended in (0, signal.SIGKILL), (n, ended)
    assert in_child(check) == 0, n
    n += stride
  print(n)
"""
)


def killed(path: pathlib.Path, first: int, stride: int) -> int:
  child = subprocess.run(
    [
      *(sys.executable, '-c', textwrap.dedent(KILLED)),
      *(str(path), str(first), str(stride)),
    ],
    capture_output=True,
    text=True,
    timeout=900,
    check=False,
  )
  assert child.returncode == 0, child.stderr
  return int(child.stdout)


@pytest.mark.slow
def test_killed_at_some_operations(tmp_path):
  assert killed(tmp_path, 7, 37) > 100


@pytest.mark.slow
def test_killed_at_many_operations(tmp_path):
  assert killed(tmp_path, 1, 5) > 100
