"""The pairwise conditional random field: an Ising model given h."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc import distribution
from mlc.base import Batch, Head
from mlc.heads import chain_inference
from mlc.heads.enumerated import enumerated
from mlc.numerics import log_bernoulli, masked_sum

# Coordinate ascent ends long before; rounding must not keep it turning.
_MAX_ASCENTS = 100


def ising(
  num_labels: int,
  *,
  inference: Literal['gibbs', 'mean_field'] = 'gibbs',
  chains: int = 4,
  burn_in: int = 20,
  sweeps: int = 50,
) -> Head:
  """Every pair of labels attracts or repels; h says where each is drawn.

      p(y | h) = exp(f . y + 1/2 y' J y) / Z(h),     f = W h + b
      P(y_j = 1 | h, y without j) = sigmoid(f_j + sum_{i != j} J_ij y_i)

  J is symmetric, its diagonal 0 and the same for every h: how strongly two
  labels go together does not depend on the input, how often each occurs does.
  At J = 0, where training starts, this is binary relevance.

  Up to `distribution.MAX_TABLE_LABELS` labels Z is a sum over all 2^L vectors:
  everything is exact, and `objective` is -log p of the known labels. Beyond, Z
  is out of reach: there is no `log_prob`, and `objective` is Besag's
  pseudo-likelihood, each label given the true others,

      loss_b = -sum_{j known} log P(y_j | h, y without j),

  consistent, but not on the scale of -log p: never compare the two. With all
  labels known both are convex in W, b and J. An unknown label stands as 0 among
  the others there. `logits` are the log-odds of each label given the others at
  any L, so that the loss sigmoid_cross_entropy is the pseudo-likelihood.

  Beyond the table, marginals and `partial` are estimated: by the mean of
  P(y_j = 1 | h, y without j) along Gibbs chains, the known labels held fixed;
  or by naive mean field, m_j = sigmoid(f_j + sum_i J_ij m_i), which is faster
  and biased. The mode is searched by coordinate ascent (iterated conditional
  modes) from f > 0, from the empty vector, from mean field and from where each
  Gibbs chain ends: no single flip improves on it. Strong attraction makes modes
  between which a chain does not move within a few sweeps; then all of these
  are wrong together, and the draws of `sample` too.

  Args:
    num_labels: L.
    inference: of marginals and `partial` beyond the table.
    chains: Gibbs chains run side by side, for marginals and starts of the mode.
      `sample` runs as many and gives the states after each sweep: draws of one
      chain are dependent.
    burn_in: sweeps over all labels before the first that counts.
    sweeps: sweeps that count; steps of mean field.

  Returns:
    A head. Parameters: `kernel` [D, L], `bias` [L] and `links` [L, L], of which
    the part above the diagonal counts, J = links + links'. `conditional` is
    closed-form at any L.

  Raises:
    ValueError: for an unknown inference or a count out of range.

  References:
    Ghamrawi, McCallum, Collective multi-label classification, CIKM 2005
    (its collective multi-label classifier).
    Besag, Statistical analysis of non-lattice data, The Statistician 24, 1975.
    Besag, On the statistical analysis of dirty pictures, JRSS B 48, 1986,
    section 2.5 (iterated conditional modes).
    Geman, Geman, Stochastic relaxation, Gibbs distributions, and the Bayesian
    restoration of images, PAMI 6, 1984.
  """
  _check_options(inference, chains, burn_in, sweeps)

  def init(key, h, y, *, where=None, weight=None):
    del y, where, weight
    kernel = jax.nn.initializers.lecun_normal()
    return {
      'kernel': kernel(key, (h.shape[-1], num_labels), h.dtype),
      'bias': jnp.zeros(num_labels, h.dtype),
      'links': jnp.zeros((num_labels, num_labels), h.dtype),
    }

  if num_labels <= distribution.MAX_TABLE_LABELS:
    return _with_table(num_labels, init)
  return _without_table(num_labels, init, inference, chains, burn_in, sweeps)


def _with_table(num_labels, init) -> Head:
  head = enumerated('ising', num_labels, init, _joint)
  return head._replace(
    exactness={**head.exactness, 'conditional': 'closed-form'},
    logits=_logits,
    log_prob=_log_prob,
    conditional=_conditional,
    objective=_negative_log_likelihood,
  )


def _without_table(
  num_labels, init, inference, chains, burn_in, sweeps
) -> Head:
  def partial(params, h, y, known, *, key=None):
    if inference == 'mean_field':
      return _mean_field(params, h, y, known, sweeps)
    key = jax.random.key(0) if key is None else key
    return _gibbs_mean(params, key, h, y, known, chains, burn_in, sweeps)

  def marginals(params, h, *, key=None):
    nothing = jnp.zeros((len(h), num_labels), h.dtype)
    return partial(params, h, nothing, nothing > 0, key=key)

  def sample(params, key, h, n):
    side_by_side = min(chains, n)
    repeats = -(-n // side_by_side)
    y = _gibbs_draws(params, key, h, side_by_side, burn_in, repeats)
    return y.reshape(-1, *y.shape[2:])[:n]

  def mode(params, h):
    return _searched_mode(params, h, chains, burn_in, sweeps)

  return Head(
    name='ising',
    num_labels=num_labels,
    exactness={
      'marginals': 'estimated',
      'mode': 'searched',
      'conditional': 'closed-form',
      'partial': 'estimated',
    },
    init=init,
    logits=_logits,
    marginals=marginals,
    sample=sample,
    mode=mode,
    conditional=_conditional,
    partial=partial,
    objective=_negative_pseudo_likelihood,
  )


def _from_features(params, h):
  return h @ params['kernel'] + params['bias'][None, :]


def _couplings(params):
  """J: symmetric, its diagonal 0."""
  upper = jnp.triu(params['links'], 1)
  return upper + upper.T


def _logits(params, h, y, *, key=None):
  """Log-odds of each label given the others: J_jj = 0 leaves y_j out."""
  del key
  return _from_features(params, h) + y @ _couplings(params)


def _conditional(params, h, y):
  return jax.nn.sigmoid(_logits(params, h, y))


# With a table.


def _score(params, h, y):
  """f . y + 1/2 y' J y, which is log p up to log Z(h)."""
  pairs = 0.5 * (y @ _couplings(params)) * y
  return jnp.sum(_from_features(params, h) * y + pairs, axis=-1)


def _scores(params, h):
  """The score of every label vector, [B, 2^L]."""
  vectors = distribution.label_vectors(params['links'].shape[0])
  pairs = 0.5 * jnp.sum((vectors @ _couplings(params)) * vectors, axis=-1)
  return _from_features(params, h) @ vectors.T + pairs[None, :]


def _joint(params, h):
  return jax.nn.log_softmax(_scores(params, h))


def _log_prob(params, h, y, *, key=None):
  del key
  log_z = jax.nn.logsumexp(_scores(params, h), axis=-1)
  return _score(params, h, y) - log_z


def _negative_log_likelihood(params, h, batch: Batch, *, key=None):
  if batch.where is None:
    return -_log_prob(params, h, batch.y, key=key)
  # What is known of y has the probability of all vectors that agree with it.
  scores = _scores(params, h)
  vectors = distribution.label_vectors(batch.y.shape[-1])
  on, off = batch.where * batch.y, batch.where * (1.0 - batch.y)
  agrees = on @ (1.0 - vectors).T + off @ vectors.T == 0
  log_known = jax.nn.logsumexp(scores, axis=-1, where=agrees)
  return jax.nn.logsumexp(scores, axis=-1) - log_known


# Without one.


def _negative_pseudo_likelihood(params, h, batch: Batch, *, key=None):
  y = batch.y if batch.where is None else batch.where * batch.y
  values = log_bernoulli(_logits(params, h, y, key=key), batch.y)
  return -masked_sum(values, batch.where)


def _sweep(
  f: Float[Array, 'rows labels'],
  couplings: Float[Array, 'labels labels'],
  y: Float[Array, 'rows labels'],
  threshold: Float[Array, 'rows labels'],
) -> tuple[Float[Array, 'rows labels'], Float[Array, 'rows labels']]:
  """Decides label after label given the newest state of all the others.

  In a sweep the labels behind are the old ones, which is known before it
  starts, and those before are the new: a pass through a chain whose links are
  the upper triangle of J.
  """
  behind = f + y @ jnp.tril(couplings, -1)
  return chain_inference.one_pass(behind, jnp.triu(couplings, 1), threshold)


def _gibbs(params, key, h, y, known, chains, burn_in):
  """The state of Gibbs chains after their burn-in, and one more sweep of them.

  Rows of the chains stand one after another: [chains * B, L].
  """
  couplings = _couplings(params)
  start_key, burn_key = jax.random.split(key)
  f = jnp.tile(_from_features(params, h), (chains, 1))
  y, known = jnp.tile(y, (chains, 1)), jnp.tile(known, (chains, 1))
  # A known label stays whatever the others say.
  held = jnp.where(y > 0, -jnp.inf, jnp.inf)

  def draw(state, key):
    noise = jax.random.logistic(key, f.shape, f.dtype)
    state, z = _sweep(f, couplings, state, jnp.where(known, held, noise))
    return state, jax.nn.sigmoid(z)

  start = jax.random.bernoulli(start_key, jax.nn.sigmoid(f)).astype(f.dtype)
  start = jnp.where(known, y, start)
  keys = jax.random.split(burn_key, burn_in)
  state, _ = jax.lax.scan(
    lambda state, key: (draw(state, key)[0], None), start, keys
  )
  return state, draw


def _gibbs_mean(params, key, h, y, known, chains, burn_in, sweeps):
  """The mean of P(y_j = 1 | h, y without j) along the chains."""
  burn_key, key = jax.random.split(key)
  state, draw = _gibbs(params, burn_key, h, y, known, chains, burn_in)

  def add(carry, key):
    state, total = carry
    state, p = draw(state, key)
    return (state, total + p), None

  carry = state, jnp.zeros_like(state)
  (_, total), _ = jax.lax.scan(add, carry, jax.random.split(key, sweeps))
  mean = jnp.mean(total.reshape(chains, *y.shape), axis=0) / sweeps
  return jnp.where(known, y, mean)


def _gibbs_draws(params, key, h, chains, burn_in, repeats):
  """States after each of `repeats` sweeps, [repeats, chains * B, L]."""
  burn_key, key = jax.random.split(key)
  nothing = jnp.zeros((len(h), params['links'].shape[0]), h.dtype)
  state, draw = _gibbs(
    params, burn_key, h, nothing, nothing > 0, chains, burn_in
  )

  def step(state, key):
    state, _ = draw(state, key)
    return state, state

  _, y = jax.lax.scan(step, state, jax.random.split(key, repeats))
  return y.reshape(repeats, chains, *nothing.shape)


def _mean_field(
  params,
  h,
  y: Float[Array, 'batch labels'],
  known: Bool[Array, 'batch labels'],
  steps: int,
):
  """Damped steps of m = sigmoid(f + m J) towards its fixed point."""
  f, couplings = _from_features(params, h), _couplings(params)

  def step(m, _):
    new = jax.nn.sigmoid(f + m @ couplings)
    # Undamped, labels that repel each other swing for ever.
    return jnp.where(known, y, 0.5 * (m + new)), None

  m = jnp.where(known, y, jax.nn.sigmoid(f))
  return jax.lax.scan(step, m, length=steps)[0]


def _searched_mode(params, h, chains, burn_in, steps):
  """The best of the local maxima that coordinate ascent reaches."""
  f, couplings = _from_features(params, h), _couplings(params)
  nothing = jnp.zeros_like(f)
  mean = _mean_field(params, h, nothing, nothing > 0, steps)
  key = jax.random.key(0)
  drawn = _gibbs_draws(params, key, h, chains, burn_in, 1)[0]
  own = jnp.stack([f > 0, nothing > 0, mean > 0.5]).astype(f.dtype)
  starts = jnp.concatenate([own, drawn])
  copies = len(starts)
  f_all = jnp.tile(f, (copies, 1))
  zero = jnp.zeros_like(f_all)

  def ascend(carry):
    y, _, count = carry
    new, _ = _sweep(f_all, couplings, y, zero)
    return new, jnp.any(new != y), count + 1

  def moves(carry):
    return carry[1] & (carry[2] < _MAX_ASCENTS)

  carry = starts.reshape(zero.shape), jnp.bool_(True), jnp.int32(0)
  y = jax.lax.while_loop(moves, ascend, carry)[0].reshape(starts.shape)
  scores = jax.lax.map(lambda y: _score(params, h, y), y)
  best = jnp.argmax(scores, axis=0)[None, :, None]
  return jnp.take_along_axis(y, best, axis=0)[0]


def _check_options(inference, chains, burn_in, sweeps):
  if inference not in ('gibbs', 'mean_field'):
    raise ValueError(
      f"ising got inference={inference!r}; it takes 'gibbs' or 'mean_field'."
    )
  for name, value, least in (
    ('chains', chains, 1),
    ('burn_in', burn_in, 0),
    ('sweeps', sweeps, 1),
  ):
    if value < least:
      raise ValueError(
        f'ising got {name}={value}; it takes an integer from {least} on.'
      )
