"""An epoch of AdamW against a plain loop, and what padding may not change."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc.training import optimizer, state, step
from mlc.training.options import TrainOptions

OPTIONS = TrainOptions(
  epochs=3, batch_size=32, warmup_epochs=1.0, gradient_clip=0.5
)


def begin(setting, runs):
  """The state of the first run before training."""
  model, data = setting.model(noise=0.2), setting.data()
  return state.start(
    model.init,
    functools.partial(optimizer.init, options=OPTIONS),
    data,
    jax.tree.map(lambda leaf: leaf[0], runs),
    jnp.asarray(False),
  )


def epochs(setting, runs, count=3, now=None):
  """`count` epochs of the first run."""
  model, data = setting.model(noise=0.2), setting.data()
  run = jax.tree.map(lambda leaf: leaf[0], runs)
  now = begin(setting, runs) if now is None else now
  advance = jax.jit(functools.partial(step.adamw_epoch, model.loss, OPTIONS))
  for epoch in range(1, count + 1):
    now = advance(data, run, now, jnp.asarray(epoch))
  return now


@pytest.mark.slow
@pytest.mark.usefixtures('compiled_once')
def test_an_epoch_is_a_plain_loop(setting):
  runs = setting.runs(1)
  got = epochs(setting, runs)
  model, data, run = setting.model(noise=0.2), setting.data(), setting.splits(1)
  key, train = jax.random.key(0), run[0].train
  fold = jax.random.fold_in
  everything = data._replace(x=data.x[train], y=data.y[train])
  params = model.init(fold(fold(key, 0), state.INIT), everything)
  head, mean = params['head'], params['encoder']
  per_epoch = -(-len(train) // 32)
  rule = optax.chain(
    optax.clip_by_global_norm(0.5),
    optax.adamw(
      optax.warmup_cosine_decay_schedule(
        0.0, 0.05, per_epoch, 3 * per_epoch, 0.0
      ),
      weight_decay=1e-3,
      mask={'kernel': True, 'bias': False},
    ),
  )

  @jax.jit
  def update(head, memory, full, count, noise):
    def mean_loss(head):
      batch = data._replace(x=data.x[full], y=data.y[full])
      values = model.loss({'encoder': mean, 'head': head}, batch, key=noise)
      return jnp.sum(jnp.where(jnp.arange(32) < count, values, 0.0)) / count

    value, gradient = jax.value_and_grad(mean_loss)(head)
    change, memory = rule.update(gradient, memory, head)
    return optax.apply_updates(head, change), memory, value * count

  memory, time, losses = rule.init(head), 0, []
  for epoch in (1, 2, 3):
    losses.clear()
    bits = jax.random.bits(fold(fold(key, epoch), state.ORDER), (len(train),))
    order = np.argsort(np.asarray(bits) >> 1, kind='stable')
    for rows in np.split(train[order], range(32, len(train), 32)):
      # The noise has the shape of the batch, the last one being filled up.
      full = np.concatenate([rows, np.repeat(rows[-1:], 32 - len(rows))])
      noise = fold(fold(key, time), state.NOISE)
      head, memory, value = update(head, memory, full, len(rows), noise)
      losses.append(value)
      time += 1
  assert got.train.step == time == 3 * per_epoch
  assert not got.diverged
  np.testing.assert_allclose(
    got.train_loss, sum(losses) / len(train), rtol=1e-5
  )
  for name in head:
    np.testing.assert_allclose(
      got.train.params['head'][name], head[name], atol=2e-5
    )


@pytest.mark.slow
@pytest.mark.usefixtures('compiled_once')
def test_padding_changes_no_bit_of_an_epoch(setting, same_bits):
  runs = setting.runs(1)
  more = runs._replace(
    train=jnp.pad(runs.train, ((0, 0), (0, 90)), mode='edge'),
    train_weight=jnp.pad(runs.train_weight, ((0, 0), (0, 90))),
  )
  first = begin(setting, runs)
  a, b = (epochs(setting, either, now=first) for either in (runs, more))
  assert a.train.step == 15
  assert same_bits(a, b)


@pytest.mark.slow
@pytest.mark.parametrize('rate', [1e10, np.inf, np.nan])
@pytest.mark.usefixtures('compiled_once')
def test_divergence_keeps_the_last_finite_parameters(setting, rate):
  runs = setting.runs(1)
  bad = runs._replace(learning_rate=jnp.full_like(runs.learning_rate, rate))
  got = epochs(setting, bad, count=2)
  assert got.diverged
  # The warm-up begins at 0: the first update changes nothing, a later one
  # blows up and is not taken.
  assert got.train.step < 5
  for leaf in jax.tree.leaves((got.train.params, got.train.opt_state)):
    assert jnp.isfinite(leaf).all()
