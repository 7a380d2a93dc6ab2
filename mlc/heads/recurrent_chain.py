"""A chain whose links are a recurrent network over the decisions."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from mlc import distribution
from mlc.base import Head
from mlc.heads import autoregressive, gru
from mlc.heads.enumerated import enumerated
from mlc.numerics import log_bernoulli


def recurrent_chain(
  num_labels: int,
  *,
  order: Literal['natural', 'random'] = 'natural',
  width: int = 32,
  scheduled_sampling: float = 0.0,
  num_samples: int = 100,
  beam_width: int = 10,
) -> Head:
  """Each label is given h and a state that has read the labels before it.

      p(y | h) = prod_k P(y_k | h, y_1 .. y_{k-1})        (k in chain order)
      P(y_k = 1 | ...) = sigmoid(w_k . h + b_k + u_k . s_k)
      s_1 = tanh(A h + a),   s_{k+1} = GRU(s_k, e_k[y_k])

  Where the classifier chain has L^2 / 2 linear links, here two embeddings a
  label drive one network: parameters grow with L, a prefix may act in any way
  (an exclusive or, say, which linear links cannot), and it acts together with
  h. With u = 0, where training starts, this is binary relevance.

  Training feeds the true labels (teacher forcing). With `scheduled_sampling` =
  e > 0 and a key, as training gives, each fed label is with probability e one
  drawn from the model itself: what is minimised is then no likelihood, but
  every capability without a key is that of the same p(y | h).

  Up to `distribution.MAX_TABLE_LABELS` labels all 2^L vectors are enumerated.
  Beyond, the mode is searched by a beam and never less likely than the greedy
  decision; marginals are estimated as the mean of P(y_k = 1 | h, y before k)
  along sampled paths, with a standard error of at most
  0.5 / sqrt(num_samples).

  Args:
    num_labels: L. A pass takes L steps that wait for each other.
    order: 'natural' is the data set's own; 'random' draws one for each run
      from its key.
    width: of the state and of an embedding.
    scheduled_sampling: e, in [0, 1].
    num_samples: paths drawn for estimated marginals, rounded up to a multiple
      of 8.
    beam_width: prefixes that the search for the mode keeps.

  Returns:
    A head. Parameters: `kernel` [D, L] and `bias` [L], those of binary
    relevance, `readout` (u) [L, width], `embedding` (e) [L, 2, width], `start`
    (A and a), `gru`, and `frozen`: `rank` [L], the position of each label in
    the chain. `conditional` past the table costs 2 L passes.

  Raises:
    ValueError: for an unknown order, a share outside [0, 1], or a size below 1.

  References:
    Nam, Loza Mencia, Kim, Furnkranz, Maximizing subset accuracy with recurrent
    neural networks in multi-label classification, NIPS 2017 (its network of
    binary decisions, RNN^b).
    Bengio, Vinyals, Jaitly, Shazeer, Scheduled sampling for sequence prediction
    with recurrent neural networks, NIPS 2015, section 2.4.
  """
  _check_options(order, scheduled_sampling, width, num_samples, beam_width)

  def init(key, h, y, *, where=None, weight=None):
    del y, where, weight
    rank = jnp.arange(num_labels)
    key, order_key = jax.random.split(key)
    if order == 'random':
      rank = jax.random.permutation(order_key, rank)
    params = gru.init(key, h, width, num_labels, (num_labels, 2))
    return {**params, 'frozen': {'rank': rank}}

  if num_labels <= distribution.MAX_TABLE_LABELS:
    head = enumerated('recurrent_chain', num_labels, init, _joint)
  else:
    head = Head(
      name='recurrent_chain',
      num_labels=num_labels,
      exactness={
        'marginals': 'estimated',
        'mode': 'searched',
        'conditional': 'closed-form',
      },
      init=init,
      marginals=functools.partial(_estimated_marginals, num_samples),
      mode=functools.partial(_searched_mode, beam_width),
      conditional=distribution.conditional_from_log_prob(
        functools.partial(_log_prob, 0.0)
      ),
    )
  return head._replace(
    logits=functools.partial(_logits, scheduled_sampling),
    log_prob=functools.partial(_log_prob, scheduled_sampling),
    sample=_sample,
    greedy=_greedy,
  )


def _law(params, h):
  """The chain as symbols 0 and 1, a step a label, in chain order."""
  order = jnp.argsort(params['frozen']['rank'])
  pushed = gru.push(params)[order]

  def log_probs(state, step):
    z = _logit(state, step)
    return jnp.stack([jax.nn.log_sigmoid(-z), jax.nn.log_sigmoid(z)], axis=-1)

  return autoregressive.Law(
    steps={
      'position': jnp.arange(len(order)),
      'base': gru.outputs(params, h).T[order],
      'readout': params['readout'][order],
      'off': pushed[:, 0],
      'change': pushed[:, 1] - pushed[:, 0],
    },
    start=gru.start(params, h)[:, None, :],
    log_probs=log_probs,
    advance=functools.partial(_advance, params),
  )


def _logit(state, step):
  """z_k of every prefix, [B, K]."""
  return step['base'][:, None] + state @ step['readout']


def _advance(params, state, step, y):
  change = y[..., None].astype(state.dtype) * step['change'][None, None, :]
  pushed = step['off'][None, None, :] + change
  return gru.step(params, state, pushed)


def _logits(scheduled_sampling, params, h, y, *, key=None):
  law, rank = _law(params, h), params['frozen']['rank']
  if key is not None:
    key = jax.random.split(key, len(rank)) if scheduled_sampling > 0 else None

  def read(state, inputs):
    step, y, key = inputs
    z, fed = _logit(state, step), y[:, None]
    if key is not None:
      own_key, which_key = jax.random.split(key)
      own = jax.random.bernoulli(own_key, jax.nn.sigmoid(z)).astype(z.dtype)
      which = jax.random.bernoulli(which_key, scheduled_sampling, z.shape)
      fed = jnp.where(which, own, fed)
    return law.advance(state, step, fed), z[:, 0]

  in_chain_order = y.T[jnp.argsort(rank)]
  _, z = jax.lax.scan(read, law.start, (law.steps, in_chain_order, key))
  return z[rank].T


def _log_prob(scheduled_sampling, params, h, y, *, key=None):
  z = _logits(scheduled_sampling, params, h, y, key=key)
  return jnp.sum(log_bernoulli(z, y), axis=-1)


def _in_data_order(params, h, symbols):
  return symbols[..., params['frozen']['rank']].astype(h.dtype)


def _greedy(params, h):
  symbols, _, _ = autoregressive.one_pass(_law(params, h))
  return _in_data_order(params, h, symbols[:, 0])


def _sample(params, key, h, n):
  symbols, _, _ = autoregressive.one_pass(_law(params, h), n, key=key)
  return jnp.moveaxis(_in_data_order(params, h, symbols), 1, 0)


def _searched_mode(beam_width, params, h):
  symbols, score, _ = autoregressive.beam_search(_law(params, h), beam_width)
  best = jnp.argmax(score, axis=-1)[:, None, None]
  symbols = jnp.take_along_axis(symbols, best, axis=1)
  return _in_data_order(params, h, symbols[:, 0])


def _estimated_marginals(num_samples, params, h, *, key=None):
  law, rank = _law(params, h), params['frozen']['rank']

  def look(seen, step, log_probs, symbol):
    del symbol
    on = jnp.mean(jnp.exp(log_probs[..., 1]), axis=-1)
    return seen.at[step['position']].set(on)

  def one(key):
    seen = jnp.zeros_like(law.steps['base'])
    _, _, seen = autoregressive.one_pass(
      law, autoregressive.PATHS_AT_A_TIME, key=key, look=look, seen=seen
    )
    return seen[rank].T

  return autoregressive.estimate(one, num_samples, key)


def _joint(params, h):
  rank = params['frozen']['rank']

  def tree(h):
    law = _law(params, h)

    def extend(state, k):
      step = jax.tree.map(lambda leaf: leaf[k], law.steps)
      z, symbol = _logit(state, step), jnp.ones(state.shape[:2], state.dtype)
      on = jax.nn.log_sigmoid(z)
      after_off = law.advance(state, step, 0.0 * symbol)
      return on - z, on, after_off, law.advance(state, step, symbol)

    return autoregressive.prefix_tree(law.start, extend, len(rank))[0]

  return autoregressive.table(tree, h, rank)


def _check_options(order, scheduled_sampling, width, num_samples, beam_width):
  if order not in ('natural', 'random'):
    raise ValueError(
      f'recurrent_chain got order={order!r}; '
      "it takes 'natural' (the data set's) or 'random' (one drawn by each run)."
    )
  if not 0.0 <= scheduled_sampling <= 1.0:
    raise ValueError(
      f'recurrent_chain got scheduled_sampling={scheduled_sampling}; it takes '
      'a probability in [0, 1].'
    )
  for name, value in (
    ('width', width),
    ('num_samples', num_samples),
    ('beam_width', beam_width),
  ):
    if value < 1:
      raise ValueError(
        f'recurrent_chain got {name}={value}; it takes an integer from 1 on.'
      )
