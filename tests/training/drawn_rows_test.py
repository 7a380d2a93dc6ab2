"""Training on rows that every epoch draws anew."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.training import runs as training_runs
from mlc.training.loop import TrainOptions, fit

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('compiled_once')]

ADAMW = TrainOptions(epochs=4, batch_size=32, strategy='map')
LBFGS = TrainOptions(optimizer='lbfgs', tolerance=1e-4)


class Memory:
  """Checkpoints in memory; the process dies after the second."""

  def __init__(self):
    self.saved = {}

  def save(self, step, state):
    self.saved[step] = jax.tree.map(jnp.copy, state)
    if step == 2 and len(self.saved) == 2:
      raise KeyboardInterrupt

  maybe_save = save

  def restore(self, abstract_state):
    del abstract_state
    step = max(self.saved, default=0)
    return (step, self.saved[step]) if step else None


def drawing(setting, count):
  random = np.random.default_rng(1)
  splits = setting.splits(count)
  shares = [random.exponential(size=len(split.train)) for split in splits]
  made, _ = training_runs.from_splits(splits, [0.05], [1e-3], shares=shares)
  return made


def train(setting, options, made, **kwargs):
  model = setting.model(noise=0.3)
  return fit(model.init, model.loss, setting.data(), made, options, **kwargs)


def test_resume_and_company_change_no_bit(setting, same_bits, pick):
  made = drawing(setting, 3)
  whole = train(setting, ADAMW, made)
  memory = Memory()
  with pytest.raises(KeyboardInterrupt):
    train(setting, ADAMW, made, checkpoints=memory)
  resumed = train(setting, ADAMW, made, checkpoints=memory)
  assert same_bits(whole.params, resumed.params)
  alone = train(setting, ADAMW, pick(made, [1]))
  assert same_bits(pick(whole.params, [1]), alone.params)


def test_lbfgs_weighs_rows_as_often_as_they_are_drawn(setting):
  """Whole shares are the same as clones, but for the size of the penalty."""
  splits = setting.splits(1)
  times = np.random.default_rng(2).integers(0, 4, len(splits[0].train))
  weighted, _ = training_runs.from_splits(
    splits, [0.0], [1.0], shares=[times.astype(float)]
  )
  clones = [splits[0]._replace(train=np.repeat(splits[0].train, times))]
  # N in the penalty is the number of rows before and after cloning.
  l2 = times.sum() / len(times)
  cloned, _ = training_runs.from_splits(clones, [0.0], [l2])
  a, b = (train(setting, LBFGS, made) for made in (weighted, cloned))
  assert a.converged.all() and b.converged.all()
  w = lambda fitted: np.asarray(fitted.params['head']['kernel'])
  np.testing.assert_allclose(w(a), w(b), atol=2e-3)
