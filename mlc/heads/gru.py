"""A gated recurrent decoder as plain functions: state in, state out.

    r = sigmoid(p_r + U_r s),   u = sigmoid(p_u + U_u s)
    n = tanh(p_n + r (U_n s + c))
    s' = (1 - u) n + u s

p = W x + b is what an input pushes onto the gates. Where inputs come from a
table of embeddings it is taken out of the loop: the table is pushed once.

Reference: Cho et al., Learning phrase representations using RNN
encoder-decoder for statistical machine translation, EMNLP 2014, eq. 5-8 (the
reset gate after the matmul, as in cuDNN and Flax).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Key, Params


def init(
  key: Key,
  h: Float[Array, 'rows dim'],
  width: int,
  num_outputs: int,
  embeddings: tuple[int, ...],
) -> Params:
  """Parameters of a decoder that starts from h and reads embeddings.

  Args:
    key: for all that is drawn.
    h: rows of features, of which only the shape is read.
    width: of the state and of an embedding.
    num_outputs: logits that are read off the state, and off h directly.
    embeddings: shape of the table of embeddings, without its width.

  Returns:
    `kernel` [D, outputs] and `bias` [outputs], as of a linear model, `readout`
    [outputs, width] (0, so that this is what it starts as), `embedding`,
    `start` (from h to the first state) and `gru`.
  """
  keys = jax.random.split(key, 5)
  kernel = jax.nn.initializers.lecun_normal()
  return {
    'kernel': kernel(keys[0], (h.shape[-1], num_outputs), h.dtype),
    'bias': jnp.zeros(num_outputs, h.dtype),
    'readout': jnp.zeros((num_outputs, width), h.dtype),
    'embedding': jax.random.normal(keys[1], (*embeddings, width), h.dtype),
    'start': {
      'kernel': kernel(keys[2], (h.shape[-1], width), h.dtype),
      'bias': jnp.zeros(width, h.dtype),
    },
    'gru': {
      'input': kernel(keys[3], (width, 3 * width), h.dtype),
      'state': kernel(keys[4], (width, 3 * width), h.dtype),
      'bias': jnp.zeros(3 * width, h.dtype),
      'state_bias': jnp.zeros(width, h.dtype),
    },
  }


def outputs(
  params: Params, h: Float[Array, 'batch dim']
) -> Float[Array, 'batch outputs']:
  """What h says of each output directly."""
  return h @ params['kernel'] + params['bias'][None, :]


def start(
  params: Params, h: Float[Array, 'batch dim']
) -> Float[Array, 'batch width']:
  """The state before the first step, tanh(A h + a)."""
  weights = params['start']
  return jnp.tanh(h @ weights['kernel'] + weights['bias'][None, :])


def push(params: Params) -> Float[Array, '*embeddings gates']:
  """What each embedding adds to the gates: r, u, n side by side, 3 width."""
  weights, x = params['gru'], params['embedding']
  bias = jnp.expand_dims(weights['bias'], range(x.ndim - 1))
  return x @ weights['input'] + bias


def step(
  params: Params,
  state: Float[Array, '*dims width'],
  pushed: Float[Array, '*#dims gates'],
) -> Float[Array, '*dims width']:
  """The next state."""
  weights, width = params['gru'], state.shape[-1]
  own = state @ weights['state']
  gates = jax.nn.sigmoid(pushed[..., : 2 * width] + own[..., : 2 * width])
  reset, update = gates[..., :width], gates[..., width:]
  bias = jnp.expand_dims(weights['state_bias'], range(state.ndim - 1))
  new = pushed[..., 2 * width :] + reset * (own[..., 2 * width :] + bias)
  return (1.0 - update) * jnp.tanh(new) + update * state
