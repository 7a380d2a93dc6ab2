"""Runs over several devices: the layout, and the same bits as on one."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from mlc.training import mesh

EIGHT = r"""
import os, sys
import jax
import numpy as np
sys.path.insert(0, os.path.dirname(sys.argv[1]))
import conftest
from mlc.training import mesh
from mlc.training.loop import TrainOptions, fit

assert len(jax.devices()) == int(sys.argv[2])
setting = conftest.Setting()
model, data = setting.model(noise=0.3), setting.data()


class Memory:
  def restore(self, abstract_state):
    return self.kept
  def maybe_save(self, step, state):
    self.kept = step, jax.device_get(state._replace(
      train=state.train._replace(key=jax.random.key_data(state.train.key))))
  save = maybe_save


# Of copies as large as 8 bytes each, 24 bytes hold three.
enough, mesh._COPIES = mesh._COPIES, 24
assert mesh.layout(11, np.zeros(1)).mesh.size == min(3, int(sys.argv[2]))
assert mesh.layout(11, np.zeros(9)).mesh.size == 1
mesh._COPIES = enough

out = {}
for name, options in {
  'adamw': TrainOptions(epochs=4, batch_size=32, patience=2),
  'lbfgs': TrainOptions(optimizer='lbfgs', max_iterations=40),
}.items():
  memory = Memory()
  memory.kept = None
  fitted = fit(
    model.init, model.loss, data, setting.runs(11), options,
    checkpoints=memory,
  )
  for i, leaf in enumerate(jax.tree.leaves((fitted[:7], memory.kept))):
    out[f'{name}-{i}'] = np.asarray(leaf)
np.savez(sys.argv[3], **out)
"""


@pytest.mark.parametrize('num_runs', [1, 2, 7])
def test_every_run_has_a_slot(num_runs):
  where = mesh.layout(num_runs)
  np.testing.assert_array_equal(where.slots[where.place], np.arange(num_runs))
  assert where.real.sum() == num_runs
  assert where.real[where.place].all()
  assert where.mesh.axis_types == (jax.sharding.AxisType.Auto,)


@pytest.mark.parametrize('strategy', ['map', 'vmap'])
def test_spread_and_collect_are_inverse(strategy):
  where = mesh.layout(5)
  values = {'a': np.arange(10.0).reshape(5, 2)}
  double = mesh.over_runs(
    lambda of_run, shared: {'a': shared * of_run['a']}, where, strategy
  )
  got = mesh.collector(where)(double(mesh.spread(values, where), 2.0))
  np.testing.assert_array_equal(got['a'], 2.0 * values['a'])


@pytest.mark.slow
def test_eight_devices_give_the_bits_of_one(tmp_path):
  """Eleven runs on eight devices, what a checkpoint would hold included."""
  here = os.path.abspath(__file__)
  results = []
  for count in (1, 8):
    path = str(tmp_path / f'{count}.npz')
    flags = f'--xla_force_host_platform_device_count={count}'
    subprocess.run(
      [sys.executable, '-W', 'error', '-c', EIGHT, here, str(count), path],
      env={**os.environ, 'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
      cwd=os.path.dirname(os.path.dirname(os.path.dirname(here))),
      check=True,
    )
    results.append(dict(np.load(path)))
  one, eight = results
  assert one.keys() == eight.keys() and len(one) > 25
  for name in one:
    np.testing.assert_array_equal(one[name], eight[name], err_msg=name)
