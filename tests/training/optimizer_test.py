"""Schedule and AdamW against optax and the formula."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

from mlc.training import optimizer
from mlc.training.options import TrainOptions


@pytest.mark.parametrize('schedule', ['constant', 'cosine'])
@pytest.mark.parametrize('warmup', [0.0, 2.0, 10.0])
def test_schedule_is_that_of_optax(schedule, warmup):
  steps = 70
  options = TrainOptions(epochs=10, schedule=schedule, warmup_epochs=warmup)
  up = round(steps * warmup / 10)
  if schedule == 'constant':
    after = optax.constant_schedule(1.0)
  else:
    after = optax.cosine_decay_schedule(1.0, max(steps - up, 1))
  expected = after
  if up:
    expected = optax.join_schedules(
      [optax.linear_schedule(0.0, 1.0, up), after], [up]
    )
  at = jnp.arange(steps)
  got = jax.vmap(lambda step: optimizer.schedule(step / steps, options))(at)
  np.testing.assert_allclose(got, jax.vmap(expected)(at), atol=1e-6)


@pytest.mark.slow
def test_decay_spares_biases():
  w = {'kernel': jnp.full((2, 2), 3.0), 'bias': jnp.full(2, 3.0)}
  flat = jax.tree.map(jnp.zeros_like, w)
  rule = optimizer.adamw(jnp.asarray(0.1), jnp.asarray(0.5), TrainOptions())
  change, _ = rule.update(flat, rule.init(w), w)
  np.testing.assert_allclose(change['kernel'], -0.1 * 0.5 * 3.0, rtol=1e-6)
  np.testing.assert_array_equal(change['bias'], 0.0)


def test_clipping_bounds_the_gradient_that_adam_sees():
  options = TrainOptions(gradient_clip=1.0)
  w = {'kernel': jnp.zeros((1, 2))}
  gradient = {'kernel': jnp.asarray([[30.0, 40.0]])}
  rule = optimizer.adamw(jnp.asarray(0.1), jnp.asarray(0.0), options)
  _, state = rule.update(gradient, rule.init(w), w)
  mean = optax.tree.get(state, 'mu')['kernel']
  np.testing.assert_allclose(mean, 0.1 * np.asarray([[0.6, 0.8]]), rtol=1e-5)


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('epochs', 0, 'epochs is 0; give at least 1'),
    ('batch_size', -1, 'batch_size is -1'),
    ('tolerance', float('nan'), 'tolerance is nan; give 0 or more'),
    ('patience', -1, 'patience is -1'),
  ],
)
def test_options_that_make_no_sense_are_refused(field, value, message):
  with pytest.raises(ValueError, match=message):
    TrainOptions(**{field: value})


@pytest.mark.parametrize('field', ['optimizer', 'schedule', 'strategy'])
def test_unknown_choices_are_refused(field):
  # By the type checker in tests, by the class itself elsewhere.
  with pytest.raises((ValueError, jaxtyping.TypeCheckError)):
    TrainOptions(**{field: 'nothing'})


def test_rounds_cover_the_iterations():
  assert TrainOptions(epochs=7).rounds == 7
  assert TrainOptions(optimizer='lbfgs', max_iterations=41).rounds == 3


def test_a_group_decays_by_a_strength_of_its_own():
  """Beside optax's own AdamW, leaf by leaf, over several steps."""
  rng = np.random.default_rng(0)
  w = {
    name: jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)
    for name in ('kernel', 'links')
  }
  rate, options = jnp.asarray(0.1), TrainOptions()
  strength = {'kernel': 0.5, 'links': 2.0}
  own = {'links': jnp.asarray(strength['links'])}
  rule = optimizer.adamw(rate, jnp.asarray(strength['kernel']), options, own)
  state = rule.init(w)
  alone = {
    name: optax.adamw(0.1, weight_decay=l2) for name, l2 in strength.items()
  }
  states = {name: alone[name].init(w[name]) for name in w}
  expected = dict(w)
  for _ in range(3):
    gradient = {
      name: jnp.asarray(rng.normal(size=(2, 3)), jnp.float32) for name in w
    }
    change, state = rule.update(gradient, state, w)
    w = optax.apply_updates(w, change)
    for name, value in expected.items():
      change, states[name] = alone[name].update(
        gradient[name], states[name], value
      )
      expected[name] = optax.apply_updates(value, change)
  for name in w:
    np.testing.assert_allclose(w[name], expected[name], rtol=1e-5)
