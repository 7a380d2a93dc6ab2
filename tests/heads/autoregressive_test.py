"""Pass, beam and draws against a walk whose sequences can all be listed."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.heads import autoregressive

ROWS, STEPS, SYMBOLS = 40, 5, 3
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


@pytest.fixture(scope='module')
def tables():
  """log P(next | last symbol) of every row and step."""
  z = np.random.default_rng(0).normal(size=(STEPS, ROWS, SYMBOLS, SYMBOLS))
  z = 2.0 * z
  return np.float32(z - np.log(np.exp(z).sum(-1, keepdims=True)))


def walk(tables):
  """The state is the last symbol, from 0 on, as a number."""
  rows = jnp.arange(ROWS)[:, None]
  return autoregressive.Law(
    steps=jnp.asarray(tables),
    start=jnp.zeros((ROWS, 1)),
    log_probs=lambda state, step: step[rows, state.astype(int)],
    advance=lambda state, step, symbol: symbol.astype(state.dtype),
  )


def score_of(tables, row, sequence):
  before = (0, *sequence[:-1])
  return sum(
    float(tables[t, row, last, symbol])
    for t, (last, symbol) in enumerate(zip(before, sequence, strict=True))
  )


def test_without_a_key_a_pass_is_greedy(tables):
  ask = quick_jit(lambda t: autoregressive.one_pass(walk(t))[:2])
  symbols, state = jax.device_get(ask(tables))
  for row in range(ROWS):
    last = 0
    for t in range(STEPS):
      last = tables[t, row, last].argmax()
      assert symbols[row, 0, t] == last
  np.testing.assert_array_equal(state[:, 0], symbols[:, 0, -1])


@pytest.mark.parametrize('width', [1, 4, 81])
def test_beam(tables, width):
  ask = quick_jit(lambda t: autoregressive.beam_search(walk(t), width))
  symbols, score, state = jax.device_get(ask(tables))
  every = [*itertools.product(range(SYMBOLS), repeat=STEPS)]
  found_best = []
  for row in range(ROWS):
    last, greedy = 0, []
    for t in range(STEPS):
      last = int(tables[t, row, last].argmax())
      greedy.append(last)
    assert symbols[row, 0].tolist() == greedy
    assert len({*map(tuple, symbols[row].tolist())}) == width
    mine = [score_of(tables, row, s) for s in symbols[row].tolist()]
    np.testing.assert_allclose(score[row], mine, rtol=1e-4, atol=1e-4)
    best = max(score_of(tables, row, s) for s in every)
    found_best.append(score[row].max() > best - 1e-3)
  np.testing.assert_array_equal(state, symbols[..., -1])
  assert all(found_best) or width < 81
  # On this walk the greedy path is not enough, or the test would show nothing.
  assert not all(found_best) or width > 1


def test_draws_follow_their_weights_and_never_the_impossible():
  p = np.array([0.0, 0.2, 0.0, 0.7, 0.1, 0.0])
  with np.errstate(divide='ignore'):
    log_weights = jnp.asarray(np.log(p) + 3.0, jnp.float32)
  n = 20_000
  many = jnp.broadcast_to(log_weights[None], (n, 6))
  drawn = autoregressive.draw(jax.random.key(0), many)
  share = np.bincount(np.asarray(drawn), minlength=6) / n
  assert (share[p == 0] == 0).all()
  assert np.abs(share - p).max() < 4 * 0.5 / np.sqrt(n)
