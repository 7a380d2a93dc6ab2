"""Inference in any head that says y one symbol after another.

A chain says a bit for each label, a label sequence the labels themselves and a
stop. One pass, one beam and one tree serve both, whatever carries the prefix;
where links are linear, `chain_inference` is faster.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlc import distribution
from mlc.base import Key

# Estimates draw this many paths at a time.
PATHS_AT_A_TIME = 8
# Prefixes of all examples that a tree holds at a time.
_NODES_AT_A_TIME = 2**16

State = Any


class Law(NamedTuple):
  """p(s_1 .. s_T | h) = prod_t P(s_t | h, s_1 .. s_{t-1}), for B examples.

  A state stands for the prefixes: its leaves are [B, K, ...], K an example.

  Attributes:
    steps: what is known of each step beforehand, a pytree of [T, ...].
    start: the state of the empty prefix, [B, 1, ...].
    log_probs: (state, step) -> log P(s_t | h, prefix) [B, K, symbols].
    advance: (state, step, symbol [B, K]) -> state.
  """

  steps: Any
  start: State
  log_probs: Callable[..., Array]
  advance: Callable[..., State]


def draw(
  key: Key, log_weights: Float[Array, '*dims symbols']
) -> Int[Array, '*dims']:
  """A symbol with probability proportional to exp(log_weights).

  By inverting the distribution function: one random number a draw, where
  Gumbel noise would take one a symbol. A weight of 0 is never drawn.
  """
  top = jnp.max(log_weights, axis=-1, keepdims=True)
  mass = jnp.cumsum(jnp.exp(log_weights - top), axis=-1)
  shape = log_weights.shape[:-1]
  level = jax.random.uniform(key, shape, mass.dtype) * mass[..., -1]
  return jnp.sum(mass <= level[..., None], axis=-1)


def one_pass(
  law: Law,
  paths: int = 1,
  *,
  key: Key | None = None,
  look: Callable[..., Any] | None = None,
  seen: Any = None,
) -> tuple[Int[Array, 'batch paths steps'], State, Any]:
  """Says symbol after symbol, each given those before it.

  Args:
    law: what to say.
    paths: passes an example.
    key: for draws from p(. | h); without it each symbol is the likeliest.
    look: (seen, step, log_probs, symbol) -> seen, called at every step.
    seen: what `look` starts from.

  Returns:
    The symbols, the state behind them, and what was seen on the way.
  """

  def say(carry, inputs):
    state, seen = carry
    step, key = inputs
    log_probs = law.log_probs(state, step)
    if key is None:
      symbol = jnp.argmax(log_probs, axis=-1)
    else:
      symbol = draw(key, log_probs)
    if look is not None:
      seen = look(seen, step, log_probs, symbol)
    return (law.advance(state, step, symbol), seen), symbol

  if key is not None:
    key = jax.random.split(key, len(jax.tree.leaves(law.steps)[0]))
  start = _spread(law.start, paths)
  (state, seen), symbols = jax.lax.scan(say, (start, seen), (law.steps, key))
  return jnp.moveaxis(symbols, 0, -1), state, seen


def beam_search(
  law: Law, width: int
) -> tuple[Int[Array, 'batch width steps'], Float[Array, 'batch width'], State]:
  """The best sequences found with `width` prefixes kept at each step.

  The first place is kept for the greedy prefix, which a plain beam may drop
  halfway and end below; the others go to the likeliest prefixes.

  Args:
    law: what to search.
    width: prefixes kept; 1 is the greedy pass.

  Returns:
    The sequences, all different, the greedy one first; their log-probabilities
    in nats (-inf in places left over); and the state behind them.

  References:
    Kumar, Vembu, Menon, Elkan, Beam search algorithms for multilabel learning,
    Machine Learning 92, 2013.
  """

  def extend(carry, step):
    state, score = carry
    log_probs = law.log_probs(state, step)
    batch, _, symbols = log_probs.shape
    total = score[..., None] + log_probs
    likeliest = jnp.argmax(log_probs[:, 0], axis=-1)
    first = total.at[jnp.arange(batch), 0, likeliest].set(jnp.inf)
    _, came = jax.lax.top_k(first.reshape(batch, -1), width)
    score = jnp.take_along_axis(total.reshape(batch, -1), came, axis=1)
    parent, symbol = came // symbols, came % symbols
    state = law.advance(_pick(state, parent), step, symbol)
    return (state, score), (parent, symbol)

  def trace(place, came):
    parent, symbol = (jnp.take_along_axis(x, place, axis=1) for x in came)
    return parent, symbol

  start = _spread(law.start, width)
  batch, dtype = _leaf(start).shape[0], _leaf(start).dtype
  score = jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf).astype(dtype)
  score = jnp.broadcast_to(score[None], (batch, width))
  (state, score), came = jax.lax.scan(extend, (start, score), law.steps)
  place = jnp.broadcast_to(jnp.arange(width)[None], (batch, width))
  _, symbols = jax.lax.scan(trace, place, came, reverse=True)
  return jnp.moveaxis(symbols, 0, -1), score, state


def prefix_tree(
  start: State, extend: Callable[..., Any], num_labels: int
) -> tuple[Float[Array, 'batch vectors'], State]:
  """Doubles the prefixes label by label: each is visited once.

  Args:
    start: the state before the first label, [B, 1, ...].
    extend: (state, k) -> (log p of y_k = 0 and of y_k = 1, the state after
      each of them), for the label at position k, over K = 2^k prefixes.
    num_labels: L.

  Returns:
    The sum of these log p for every label vector, [B, 2^L] in the order of
    `distribution.label_vectors` with bit k for position k, and their states.
  """
  leaf = _leaf(start)
  log_prob, state = jnp.zeros(leaf.shape[:2], leaf.dtype), start
  # Levels differ in shape, so this loop is unrolled: log2 of the table.
  for k in range(num_labels):
    off, on, after_off, after_on = extend(state, k)
    log_prob = jnp.concatenate([log_prob + off, log_prob + on], axis=1)
    state = jax.tree.map(
      lambda a, b: jnp.concatenate([a, b], axis=1), after_off, after_on
    )
  return log_prob, state


def table(
  tree: Callable[..., Array],
  h: Float[Array, 'batch dim'],
  rank: Int[Array, ' labels'],
) -> Float[Array, 'batch vectors']:
  """The joint in the data set's label order, some rows at a time.

  Args:
    tree: h -> [B, 2^L] with bit k for the label at position k.
    h: features.
    rank: the position of each label.
  """
  num_labels = len(rank)
  rows = min(len(h), max(1, _NODES_AT_A_TIME >> num_labels))
  found = jax.lax.map(lambda one: tree(one[None])[0], h, batch_size=rows)
  vectors = distribution.label_vectors(num_labels).astype(rank.dtype)
  return found[:, vectors @ (1 << rank)]


def estimate(
  one: Callable[[Key], Array], num_samples: int, key: Key | None
) -> Array:
  """The mean of `one(key)` over enough keys for `num_samples` paths."""
  keys = jax.random.split(
    jax.random.key(0) if key is None else key,
    -(-num_samples // PATHS_AT_A_TIME),
  )
  shape = jax.eval_shape(one, keys[0])
  zeros = jnp.zeros(shape.shape, shape.dtype)
  total, _ = jax.lax.scan(
    lambda total, key: (total + one(key), None), zeros, keys
  )
  return total / len(keys)


def _leaf(state):
  return jax.tree.leaves(state)[0]


def _spread(state, copies):
  return jax.tree.map(lambda leaf: jnp.repeat(leaf, copies, axis=1), state)


def _pick(state, place):
  """The states in `place` [B, K]."""
  rows = jnp.arange(len(place))[:, None]
  return jax.tree.map(lambda leaf: leaf[rows, place], state)
