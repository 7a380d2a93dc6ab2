"""The positive labels, said one after another until a stop."""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from mlc import distribution
from mlc.base import Exactness, Head
from mlc.heads import autoregressive, gru
from mlc.heads.enumerated import enumerated
from mlc.numerics import log_bernoulli


def label_sequence(
  num_labels: int,
  *,
  order: Literal['frequency', 'free'] = 'frequency',
  width: int = 32,
  max_length: int = 32,
  num_samples: int = 100,
  beam_width: int = 10,
) -> Head:
  """A decoder that names the labels of an example, then says stop.

      s_1 = tanh(A h + a),   s_{t+1} = GRU(s_t, e_{l_t})
      P(l_t = j | h, l_1 .. l_{t-1}) = softmax_j(W h + b + U s_t + I_t)

  over the L labels and a stop; the mask I_t is -inf for what may not come. It
  takes `max_length` steps and not one for each label that could be: made for
  thousands of labels of which an example has a few.

  'frequency' says labels from the most to the least frequent one, and I_t rules
  out all that stand before the last one said. A label set then has exactly one
  sequence, p(y | h) is a distribution over the 2^L label vectors, and training
  minimises -log p(y | h).

  'free' lets labels come in any order, I_t rules out repetition alone, and
  p(y | h) is a sum over |y|! sequences: `log_prob` is None. Training draws one
  of them from the model itself, held to the labels of y, and minimises

      - sum_t log P(l_t in y | h, l_1 .. l_{t-1}) - log P(stop | h, all of y)

  where any label of y not said yet is right (exp of minus this is an unbiased
  estimate of p(y | h)). By Jensen its mean over the draws is an upper bound of
  -log p(y | h), tight when all orders give the same value; draws are not
  differentiated, which leaves the gradient of that bound for a fixed law of the
  draws. Without a key the draws are the same each time.

  After `max_length` = T labels without a stop, the rest comes in one step and
  no row is cut: each label j that may still come is in y with the odds that it
  had against the stop, P(l = j) / P(l = stop), independently of the others.
  This is as proper a distribution; T >= L makes it a sequence to the end.

  Args:
    num_labels: L.
    order: 'frequency' (in the run's training rows) or 'free'.
    width: of the state and of an embedding.
    max_length: T, the steps that training and decoding take; 0 means L.
    num_samples: paths drawn for estimated marginals, rounded up to a multiple
      of 8.
    beam_width: sequences that the search for the mode keeps.

  Returns:
    A head. By frequency, up to `distribution.MAX_TABLE_LABELS` labels all 2^L
    vectors are enumerated; beyond, the mode is searched by a beam and never
    less likely than the greedy decision, and marginals are the mean over
    sampled paths of P(y_j = 1 | h, the labels of y before j). In free order
    marginals are shares of draws, and the mode is the set whose kept sequences
    (each with its likeliest rest) weigh most together. Either way the standard
    error of marginals is at most 0.5 / sqrt(num_samples). Parameters: `kernel`
    [D, L+1] and `bias` [L+1] (W and b, the stop last), `readout` (U)
    [L+1, width], `embedding` (e) [L, width], `start` (A and a), `gru`, and
    `frozen`: `rank` [L], the place of each label in the order of frequency.

  Raises:
    ValueError: for an unknown order, a size below 1 or a negative length; from
      `objective`, for a batch with unknown labels.

  References:
    Yang, Sun, Li, Ma, Wu, Wang, SGM: sequence generation model for multi-label
    classification, COLING 2018, section 2.2 (decoder, mask and order; its
    attention and its global embedding are not part of this).
    Nam, Loza Mencia, Kim, Furnkranz, Maximizing subset accuracy with recurrent
    neural networks in multi-label classification, NIPS 2017 (RNN^m).
    Qin, Li, Pavlu, Aslam, Adapting RNN sequence prediction model to multi-label
    set prediction, NAACL 2019 (the probability of a set as a sum over orders).
  """
  _check_options(order, max_length, width, num_samples, beam_width)
  length = min(max_length or num_labels, num_labels)
  kind = _Kind(num_labels, length, order == 'free')

  def init(key, h, y, *, where=None, weight=None):
    rank = jnp.arange(num_labels)
    if order == 'frequency':
      rank = _rank_by_frequency(y, where, weight)
    params = gru.init(key, h, width, num_labels + 1, (num_labels,))
    return {**params, 'frozen': {'rank': rank}}

  log_prob = None if kind.free else functools.partial(_log_prob, kind)
  if num_labels <= distribution.MAX_TABLE_LABELS and not kind.free:
    joint = functools.partial(_joint, kind)
    head = enumerated('label_sequence', num_labels, init, joint)
  else:
    how: dict[str, Exactness] = {'marginals': 'estimated', 'mode': 'searched'}
    conditional = None
    if log_prob is not None:
      how['conditional'] = 'closed-form'
      conditional = distribution.conditional_from_log_prob(log_prob)
    head = Head(
      name='label_sequence',
      num_labels=num_labels,
      exactness=how,
      init=init,
      marginals=functools.partial(_estimated_marginals, kind, num_samples),
      mode=functools.partial(_searched_mode, kind, beam_width),
      conditional=conditional,
    )
  return head._replace(
    log_prob=log_prob,
    sample=functools.partial(_sample, kind),
    greedy=functools.partial(_greedy, kind),
    objective=functools.partial(_objective, kind),
  )


class _Kind(NamedTuple):
  """What is fixed when the head is made."""

  num_labels: int
  length: int
  free: bool


def _rank_by_frequency(y, where, weight):
  """The place of each label; of equally frequent ones the first comes first."""
  known = jnp.ones_like(y) if where is None else where.astype(y.dtype)
  if weight is not None:
    known = known * (weight > 0)[:, None]
  share = jnp.sum(known * y, axis=0) / jnp.maximum(jnp.sum(known, axis=0), 1.0)
  return jnp.argsort(jnp.argsort(-share))


# From here on labels stand in the order of frequency; symbol L is the stop.


def _law(kind, params, h):
  """A state is that of the GRU and which symbols may come next."""
  symbols = jnp.append(jnp.argsort(params['frozen']['rank']), kind.num_labels)
  base = gru.outputs(params, h)[:, symbols]
  readout = params['readout'][symbols].T
  pushed = gru.push(params)[symbols[:-1]]
  # What the stop pushes is never read.
  pushed = jnp.pad(pushed, [(0, 1), (0, 0)])
  place = jnp.arange(len(symbols))[None, None, :]
  allowed = jnp.ones((len(h), 1, len(symbols)), bool)

  def log_probs(state, step):
    del step
    s, allowed = state
    z = base[:, None, :] + s @ readout
    return jax.nn.log_softmax(jnp.where(allowed, z, -jnp.inf))

  def advance(state, step, symbol):
    del step
    s, allowed = state
    said = symbol[..., None]
    keep = place > said
    if kind.free:
      keep = (place != said) & (said < kind.num_labels)
    allowed = (allowed & keep) | (place == kind.num_labels)
    return gru.step(params, s, pushed[symbol]), allowed

  return autoregressive.Law(
    steps=jnp.arange(kind.length),
    start=(gru.start(params, h)[:, None, :], allowed),
    log_probs=log_probs,
    advance=advance,
  )


def _rest(kind, law, state):
  """Log-odds [B, K, L] of the labels after the last step, -inf for no label.

  None where the last step leaves nothing open. After a stop all are -inf.
  """
  if kind.length == kind.num_labels:
    return None
  log_probs = law.log_probs(state, None)
  return log_probs[..., :-1] - log_probs[..., -1:]


def _log_rest(odds, y):
  """log prod_j P(y_j) over the labels that may still come, [B, K]."""
  may = jnp.isfinite(odds)
  each = log_bernoulli(jnp.where(may, odds, 0.0), y)
  return jnp.sum(jnp.where(may, each, 0.0), axis=-1)


def _log_prob_said(kind, params, h, y, key):
  """The log-probability of what is said, held to the labels of y, [B].

  By frequency one symbol is right at each step; in free order any label that
  is left, of which one is drawn.
  """
  law = _law(kind, params, h)
  y = y[:, None, jnp.argsort(params['frozen']['rank'])]

  def say(carry, inputs):
    state, total = carry
    step, key = inputs
    left = (y > 0) & state[1][..., :-1]
    right = jnp.append(left, ~jnp.any(left, axis=-1, keepdims=True), axis=-1)
    log_probs = law.log_probs(state, step)
    if kind.free:
      log_probs = jnp.where(right, log_probs, -jnp.inf)
      symbol = autoregressive.draw(key, jax.lax.stop_gradient(log_probs))
      gained = jax.nn.logsumexp(log_probs, axis=-1)
    else:
      symbol = jnp.argmax(right, axis=-1)
      gained = jnp.take_along_axis(log_probs, symbol[..., None], axis=-1)
      gained = gained[..., 0]
    return (law.advance(state, step, symbol), total + gained), None

  keys = jax.random.split(key, kind.length) if kind.free else None
  # What a step computes has L entries a row: better twice than kept T times.
  say = jax.checkpoint(say, prevent_cse=False)
  start = law.start, jnp.zeros((len(h), 1), h.dtype)
  (state, total), _ = jax.lax.scan(say, start, (law.steps, keys))
  odds = _rest(kind, law, state)
  if odds is not None:
    total = total + _log_rest(odds, y)
  return total[:, 0]


def _log_prob(kind, params, h, y, *, key=None):
  del key
  return _log_prob_said(kind, params, h, y, None)


def _objective(kind, params, h, batch, *, key=None):
  if batch.where is not None:
    raise ValueError(
      'label_sequence got a batch with unknown labels (`where` is given); a '
      'sequence needs every label. Choose a head with `logits`, such as '
      'binary_relevance, and the loss sigmoid_cross_entropy.'
    )
  key = jax.random.key(0) if key is None else key
  return -_log_prob_said(kind, params, h, batch.y, key)


def _vectors(kind, params, symbols, rest):
  """Label vectors in the data set's order from what was said, [B, K, L]."""
  batch, paths, _ = symbols.shape
  rows, columns = jnp.arange(batch), jnp.arange(paths)
  y = jnp.zeros((batch, paths, kind.num_labels + 1), params['bias'].dtype)
  y = y.at[rows[:, None, None], columns[None, :, None], symbols].set(1.0)
  y = y[..., :-1]
  if rest is not None:
    y = jnp.maximum(y, rest.astype(y.dtype))
  return y[..., params['frozen']['rank']]


def _greedy(kind, params, h):
  law = _law(kind, params, h)
  symbols, state, _ = autoregressive.one_pass(law)
  odds = _rest(kind, law, state)
  rest = None if odds is None else odds > 0
  return _vectors(kind, params, symbols, rest)[:, 0]


def _paths(kind, params, key, h, n, look=None, seen=None):
  """n draws [B, n, L], the odds of the rest and what was seen."""
  law = _law(kind, params, h)
  key, rest_key = jax.random.split(key)
  symbols, state, seen = autoregressive.one_pass(
    law, n, key=key, look=look, seen=seen
  )
  odds, rest = _rest(kind, law, state), None
  if odds is not None:
    rest = jax.random.bernoulli(rest_key, jax.nn.sigmoid(odds))
  return _vectors(kind, params, symbols, rest), odds, seen


def _sample(kind, params, key, h, n):
  return jnp.moveaxis(_paths(kind, params, key, h, n)[0], 1, 0)


def _estimated_marginals(kind, num_samples, params, h, *, key=None):
  n = autoregressive.PATHS_AT_A_TIME

  def shares(key):
    return jnp.mean(_paths(kind, params, key, h, n)[0], axis=1)

  def expected(key):
    seen = jnp.zeros((len(h), kind.num_labels), h.dtype)
    _, odds, seen = _paths(kind, params, key, h, n, _look, seen)
    if odds is not None:
      seen = seen + jnp.mean(jax.nn.sigmoid(odds), axis=1)
    return seen[:, params['frozen']['rank']]

  one = shares if kind.free else expected
  return autoregressive.estimate(one, num_samples, key)


def _look(seen, step, log_probs, symbol):
  """Adds P(y_j = 1 | the labels of y before j) for the labels just passed.

  To say symbol l is to decide every label from the last one to l:
  P(y_j = 1 | ...) = P(l = j) / P(l >= j).
  """
  del step
  places = jnp.arange(log_probs.shape[-1])[None, None, :]
  p = jnp.exp(log_probs)
  reached = jnp.flip(jnp.cumsum(jnp.flip(p, -1), axis=-1), -1)
  passed = (places <= symbol[..., None]) & (p > 0)
  share = jnp.where(passed, p / jnp.where(passed, reached, 1.0), 0.0)
  return seen + jnp.mean(share[..., :-1], axis=1)


def _searched_mode(kind, beam_width, params, h):
  law = _law(kind, params, h)
  symbols, score, state = autoregressive.beam_search(law, beam_width)
  odds, rest = _rest(kind, law, state), None
  if odds is not None:
    rest = odds > 0
    score = score + _log_rest(odds, rest.astype(score.dtype))
  y = _vectors(kind, params, symbols, rest)
  if kind.free:
    size = jnp.sum(y, axis=-1)
    shared = jnp.einsum('bkl,bml->bkm', y, y)
    same = size[:, :, None] + size[:, None, :] == 2.0 * shared
    each = jnp.where(same, score[:, None, :], -jnp.inf)
    score = jax.nn.logsumexp(each, axis=-1)
  best = jnp.argmax(score, axis=-1)[:, None, None]
  return jnp.take_along_axis(y, best, axis=1)[:, 0]


def _joint(kind, params, h):
  """A tree over the labels in which "not this one" costs nothing.

  What a set weighs is what its labels were said with, times the stop.
  """
  last = kind.num_labels - 1

  def decide(state, k, otherwise):
    """log p of y_k = 0 and 1; `otherwise` is what not saying k costs."""
    _, log_probs, size = state
    odds = log_probs[..., k] - log_probs[..., -1]
    resting = size >= kind.length
    off = jnp.where(resting, jax.nn.log_sigmoid(-odds), otherwise)
    on = jnp.where(resting, jax.nn.log_sigmoid(odds), log_probs[..., k])
    return off, on

  def tree(h):
    law = _law(kind, params, h)

    def extend(state, k):
      inner, _, size = state
      moved = law.advance(inner, None, jnp.full(size.shape, k))
      after = moved, law.log_probs(moved, None), size + 1
      resting = functools.partial(_unless, size >= kind.length)
      after = jax.tree.map(resting, state, after)
      return *decide(state, k, 0.0), state, after

    size = jnp.zeros((len(h), 1), jnp.int32)
    start = law.start, law.log_probs(law.start, None), size
    log_prob, state = autoregressive.prefix_tree(start, extend, last)
    # Behind the last label stands nothing but the stop, so it saves half.
    off, on = decide(state, last, state[1][..., -1])
    return jnp.concatenate([log_prob + off, log_prob + on], axis=1)

  return autoregressive.table(tree, h, params['frozen']['rank'])


def _unless(stay, old, new):
  return jnp.where(jnp.expand_dims(stay, range(2, new.ndim)), old, new)


def _check_options(order, max_length, width, num_samples, beam_width):
  if order not in ('frequency', 'free'):
    raise ValueError(
      f'label_sequence got order={order!r}; '
      "it takes 'frequency' or 'free' (any order)."
    )
  for name, value, least in (
    ('max_length', max_length, 0),
    ('width', width, 1),
    ('num_samples', num_samples, 1),
    ('beam_width', beam_width, 1),
  ):
    if value < least:
      raise ValueError(
        f'label_sequence got {name}={value}; it takes an integer from {least} '
        'on.'
      )
