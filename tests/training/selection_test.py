"""Which parameters count and when a run stops, from losses as in a script."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.base import Batch, TrainState
from mlc.training import selection
from mlc.training.options import TrainOptions
from mlc.training.runs import Runs
from mlc.training.state import RunState

NAN, INF = float('nan'), float('inf')


def play(options, losses, diverged_at=0):
  """The states after each epoch; the parameter is the number of the epoch."""
  inf = jnp.asarray(INF)
  zero, no = jnp.zeros((), jnp.int32), jnp.asarray(False)
  now = RunState(
    train=TrainState(zero, jnp.asarray(0), (), jax.random.key(0)),
    best=jnp.asarray(0),
    best_epoch=zero,
    best_loss=inf,
    reference=inf,
    waited=zero,
    limit=inf,
    train_loss=inf,
    validation_loss=inf,
    stopped=no,
    diverged=no,
    converged=no,
  )
  states = []
  for epoch, loss in enumerate(losses, 1):
    if now.stopped or now.diverged:
      break
    now = now._replace(
      train=now.train._replace(params=jnp.asarray(epoch)),
      validation_loss=jnp.asarray(loss),
      diverged=jnp.asarray(epoch == diverged_at),
    )
    now = selection.keep_best(options, now, jnp.asarray(epoch, jnp.int32))
    states.append(now)
  return states


@pytest.mark.parametrize(
  ('patience', 'min_delta', 'losses', 'best', 'stops_after'),
  [
    (2, 0.0, [3.0, 1.0, 2.0, 0.5, 2.0, 3.0, 0.1], 4, 6),
    (3, 0.0, [3.0, 1.0, 2.0, 0.5, 2.0, 3.0, 0.1], 7, None),
    # Off: the last parameters count, whatever the losses.
    (0, 0.0, [3.0, 1.0, 2.0], 3, None),
    # Falling by less than min_delta an epoch: the best goes on being kept,
    # patience is renewed when the falls add up to min_delta.
    (2, 1.0, [5.0, 4.6, 4.2, 0.0], 3, 3),
    (3, 1.0, [5.0, 4.6, 4.2, 3.9, 3.8, 3.7, 3.6, 0.0], 7, 7),
    # Equal is not better: of two epochs with one loss the earlier is kept.
    (5, 0.0, [1.0, 1.0, 1.0], 1, None),
    # Without validation rows.
    (2, 0.0, [NAN, NAN, NAN, NAN], 4, None),
    # A loss that is infinite until it is not decides nothing before.
    (2, 0.0, [INF, INF, INF, INF], 4, None),
    (2, 0.0, [INF, INF, INF, 3.0, 4.0, NAN, 0.0], 4, 6),
  ],
)
def test_patience(patience, min_delta, losses, best, stops_after):
  options = TrainOptions(patience=patience, min_delta=min_delta)
  states = play(options, losses)
  assert states[-1].best == states[-1].best_epoch == best
  np.testing.assert_equal(
    np.float32(states[-1].best_loss), np.float32(losses[best - 1])
  )
  assert len(states) == (stops_after or len(losses))
  assert bool(states[-1].stopped) == (stops_after is not None)


def test_lbfgs_is_asked_for_its_optimum():
  options = TrainOptions(optimizer='lbfgs', patience=1)
  assert play(options, [1.0, 2.0, 3.0])[-1].best == 3


@pytest.mark.parametrize('patience', [0, 2])
def test_what_diverges_is_not_chosen(patience):
  options = TrainOptions(patience=patience)
  last = play(options, [3.0, 2.0, 1.0], diverged_at=3)[-1]
  assert last.best == last.best_epoch == 2
  last = play(options, [1.0], diverged_at=1)[-1]
  assert last.best == 1 and last.best_epoch == 0


@pytest.mark.parametrize('size', [3, 100])
def test_validation_loss_is_the_mean_over_real_rows(size):
  x = jnp.arange(10.0)[:, None]
  data = Batch(x.at[9].set(jnp.nan), jnp.zeros((10, 1)))
  one = jnp.ones(())
  run = Runs(
    key=jax.random.key(0),
    learning_rate=one,
    l2=one,
    train=jnp.arange(5),
    train_weight=jnp.ones(5),
    validation=jnp.asarray([5, 6, 7, 8, 9]),
    validation_weight=jnp.asarray([1.0, 1.0, 1.0, 1.0, 0.0]),
  )

  def loss(params, batch, *, key):
    assert key is None
    return params * batch.x[:, 0]

  options = TrainOptions(batch_size=size)
  got = selection.validation_loss(loss, options, data, run, jnp.asarray(2.0))
  assert got == 2.0 * (5 + 6 + 7 + 8) / 4
  none = run._replace(
    validation=run.validation[:0], validation_weight=run.validation_weight[:0]
  )
  assert jnp.isnan(
    selection.validation_loss(loss, options, data, none, jnp.asarray(2.0))
  )
