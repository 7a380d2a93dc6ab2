"""What `fit` promises: exactness, independence of runs, one compilation."""

import dataclasses
import logging

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.base import SparseRows
from mlc.training.checkpoint import Checkpoints
from mlc.training.loop import TrainOptions, fit

pytestmark = pytest.mark.usefixtures('compiled_once')

ADAMW = TrainOptions(epochs=6, batch_size=32, patience=3, warmup_epochs=1.0)
LBFGS = TrainOptions(optimizer='lbfgs', max_iterations=60, tolerance=0.0)
BOTH = pytest.mark.parametrize(
  'options', [ADAMW, LBFGS], ids=['adamw', 'lbfgs']
)


class Memory:
  """Checkpoints in memory: the contract, and nothing that can fail."""

  def __init__(self, kill_after: int = 10**9):
    self.saved = {}
    self.kill_after = kill_after

  def maybe_save(self, step, state):
    self.save(step, state)

  def save(self, step, state):
    self.saved[step] = jax.tree.map(jnp.copy, state)
    if step == self.kill_after:
      raise KeyboardInterrupt

  def restore(self, abstract_state):
    if not self.saved:
      return None
    step = max(self.saved)
    shapes = jax.tree.map(lambda a: (a.shape, a.dtype), self.saved[step])
    wanted = jax.tree.map(lambda a: (a.shape, a.dtype), abstract_state)
    assert shapes == wanted
    return step, self.saved[step]


def result(fitted):
  """What must not depend on anything but the run."""
  return (
    fitted.params,
    fitted.best_epoch,
    fitted.best_validation_loss,
    fitted.last_train_loss,
    fitted.diverged,
    fitted.steps,
  )


def run(setting, options, runs, **kwargs):
  model = setting.model(noise=0.3)
  return fit(model.init, model.loss, setting.data(), runs, options, **kwargs)


@pytest.fixture(scope='module', params=[ADAMW, LBFGS], ids=['adamw', 'lbfgs'])
def whole(request, setting, compiled_once):
  """A fit of five runs without interruption: options, result, records."""
  records = []
  options = dataclasses.replace(request.param, strategy='map')
  fitted = run(setting, options, setting.runs(5), on_epoch=records.append)
  return options, fitted, records


@pytest.mark.slow
def test_resume_is_bit_for_bit(setting, same_bits, whole):
  options, expected, uninterrupted = whole
  records, memory = [], Memory(kill_after=1)
  with pytest.raises(KeyboardInterrupt):
    run(
      setting,
      options,
      setting.runs(5),
      checkpoints=memory,
      on_epoch=records.append,
    )
  assert len(records) == 1 < expected.epochs_run
  memory.kill_after = -1
  actual = run(
    setting,
    options,
    setting.runs(5),
    checkpoints=memory,
    on_epoch=records.append,
  )
  assert same_bits(result(expected), result(actual))
  for a, b in zip(uninterrupted, records, strict=True):
    assert a['epoch'] == b['epoch']
    for name in ('train_loss', 'validation_loss', 'stopped', 'active'):
      np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.slow
def test_resume_and_reread_from_the_disk(setting, same_bits, whole, tmp_path):
  options, expected, _ = whole

  def again(records):
    return run(
      setting,
      options,
      setting.runs(5),
      checkpoints=Checkpoints(tmp_path, {}, interval_secs=0.0),
      on_epoch=records.append,
    )

  class Killed(list):
    def append(self, record):
      super().append(record)
      if record['epoch'] == 2:
        raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    again(Killed())
  rest = []
  assert same_bits(result(expected), result(again(rest)))
  assert [r['epoch'] for r in rest] == [*range(2, expected.epochs_run + 1)]
  # What is finished is read, and nothing is trained.
  rest.clear()
  assert same_bits(result(expected), result(again(rest)))
  assert not rest


@pytest.mark.slow
def test_map_gives_a_run_the_bits_it_has_alone(setting, same_bits, pick, whole):
  options, together, _ = whole
  assert len(set(together.last_train_loss.tolist())) == 5
  for index in ([3], [1, 3])[: 2 if options.optimizer == 'adamw' else 1]:
    alone = run(setting, options, pick(setting.runs(5), index))
    assert same_bits(pick(result(together), index), result(alone))


@pytest.mark.slow
@pytest.mark.parametrize(
  'change', [{'strategy': 'vmap'}, {'compilation': 'quick'}], ids=str
)
def test_other_programs_give_the_same(setting, whole, change):
  options, one, _ = whole
  options = dataclasses.replace(options, **change)
  other = run(setting, options, setting.runs(5))
  if options.optimizer == 'adamw':
    np.testing.assert_array_equal(one.best_epoch, other.best_epoch)
  for a, b in zip(
    jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)


@pytest.mark.slow
def test_a_stopped_run_costs_nothing(setting, pick):
  """The loss of a run is not even called once the run has stopped."""
  options = dataclasses.replace(ADAMW, strategy='map')
  model, calls = setting.model(), []

  def loss(params, batch, *, key=None):
    jax.debug.callback(lambda: calls.append(1))
    return model.loss(params, batch, key=key)

  def count(runs):
    calls.clear()
    fit(model.init, loss, setting.data(), runs, options)
    jax.effects_barrier()
    return len(calls)

  runs = setting.runs(2)
  broken = runs._replace(learning_rate=jnp.asarray([0.05, jnp.nan]))
  # The first batch of run 1, and its 41 validation rows in batches of 32.
  assert count(broken) == count(pick(runs, [0])) + 1 + 2


@pytest.mark.slow
@pytest.mark.parametrize(
  'strategy', ['map', pytest.param('vmap', marks=pytest.mark.slow)]
)
def test_divergence_stays_with_its_run(setting, same_bits, pick, strategy):
  options = dataclasses.replace(ADAMW, strategy=strategy)
  runs = setting.runs(4)
  bad = runs.learning_rate.at[1].set(1e10).at[2].set(jnp.nan)
  records = []
  fitted = run(
    setting, options, runs._replace(learning_rate=bad), on_epoch=records.append
  )
  np.testing.assert_array_equal(fitted.diverged, [False, True, True, False])
  assert records[0]['diverged'][2] and not records[0]['stopped'][2]
  assert not records[1]['active'][2]
  assert all(
    bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(fitted.params)
  )
  without = run(setting, options, pick(runs, [0, 3]))
  if strategy == 'map':
    assert same_bits(pick(result(fitted), [0, 3]), result(without))
  for a, b in zip(
    jax.tree.leaves(pick(fitted.params, [0, 3])),
    jax.tree.leaves(without.params),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)


@pytest.mark.slow
@BOTH
def test_rows_that_are_not_a_number_diverge_alone(
  setting, same_bits, pick, options, caplog
):
  options = dataclasses.replace(options, strategy='map')
  runs = setting.runs(3)
  # A row that only run 1 trains on or validates on.
  others = np.concatenate([runs.train[0], runs.train[2]])
  others = np.concatenate([others, runs.validation[0], runs.validation[2]])
  row = np.setdiff1d(runs.train[1], others)[0]
  model, data = setting.model(), setting.data()
  broken = data._replace(x=data.x.at[row].set(jnp.nan))
  with caplog.at_level(logging.WARNING):
    fitted = fit(model.init, model.loss, broken, runs, options)
  np.testing.assert_array_equal(fitted.diverged, [False, True, False])
  assert '1 of 3 runs (1) diverged' in caplog.text
  clean = fit(model.init, model.loss, data, runs, options)
  assert same_bits(pick(result(fitted), [0, 2]), pick(result(clean), [0, 2]))


@pytest.mark.slow
@pytest.mark.parametrize('strategy', ['map', 'vmap'])
def test_compiles_once(setting, strategy):
  options = dataclasses.replace(ADAMW, strategy=strategy, patience=0)
  model, traced, compiled = setting.model(), [], []

  def loss(params, batch, *, key=None):
    traced.append(1)
    return model.loss(params, batch, key=key)

  def listen(event, duration, **kwargs):
    if 'backend_compile' in event:
      compiled.append(event)

  counts = []
  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    fit(
      model.init,
      loss,
      setting.data(),
      setting.runs(3),
      options,
      on_epoch=lambda record: counts.append((len(traced), len(compiled))),
    )
  finally:
    jax.monitoring.clear_event_listeners()
  # Once for the gradient and once for the validation; the scan of one batch
  # and the scan of the other are traced twice at most.
  assert 0 < counts[0][0] <= 4
  assert set(counts[1:]) == {counts[0]}


@pytest.mark.slow
def test_sparse_rows_train_like_dense_ones(setting):
  data, runs = setting.data(), setting.runs(2)
  columns = jnp.arange(data.x.shape[1], dtype=jnp.int32)[None, :]
  sparse = data._replace(
    x=SparseRows(
      jnp.broadcast_to(columns, data.x.shape), data.x, data.x.shape[1]
    )
  )

  def init(key, rows):
    shape = (data.x.shape[1], rows.y.shape[1])
    return {'kernel': 0.1 * jax.random.normal(key, shape)}

  def loss(params, batch, *, key=None):
    x = batch.x
    if isinstance(x, SparseRows):
      f = jnp.einsum('bt,bto->bo', x.values, params['kernel'][x.indices])
    else:
      f = x @ params['kernel']
    return jnp.sum(jax.nn.softplus(f) - batch.y * f, axis=-1)

  a = fit(init, loss, data, runs, ADAMW)
  b = fit(init, loss, sparse, runs, ADAMW)
  np.testing.assert_allclose(
    a.params['kernel'], b.params['kernel'], rtol=0, atol=2e-5
  )


@pytest.mark.slow
def test_frozen_leaves_stay(setting):
  runs, data = setting.runs(2), setting.data()
  fitted = run(setting, ADAMW, runs)
  for i in range(2):
    real = runs.train[i][runs.train_weight[i] > 0]
    np.testing.assert_allclose(
      fitted.params['encoder']['frozen']['mean'][i],
      data.x[real].mean(axis=0),
      atol=1e-6,
    )


def test_rows_that_the_data_lack_are_refused(setting):
  runs = setting.runs(2)
  wrong = runs._replace(validation=runs.validation + 100)
  with pytest.raises(ValueError, match='but the data have rows 0 to 199'):
    run(setting, ADAMW, wrong)


@pytest.mark.slow
def test_estimate_counts_the_epochs_left(setting):
  records = []
  options = dataclasses.replace(ADAMW, patience=0)
  run(setting, options, setting.runs(2), on_epoch=records.append)
  assert [r['epoch'] for r in records] == [1, 2, 3, 4, 5, 6]
  assert all(r['epochs'] == 6 for r in records)
  seconds = np.cumsum([r['seconds'] for r in records])
  expected = [seconds[e] / (e + 1) * (5 - e) for e in range(6)]
  np.testing.assert_allclose(
    [r['remaining_seconds'] for r in records], expected
  )
