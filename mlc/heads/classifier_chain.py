"""The (probabilistic) classifier chain with linear links."""

import functools
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from mlc import distribution
from mlc.base import Head
from mlc.heads import chain_inference, chain_order
from mlc.numerics import log_bernoulli

# Monte Carlo marginals draw this many paths at a time.
_PATHS_AT_A_TIME = 8

Order = Literal['natural', 'random', 'frequency', 'mutual_information']


def classifier_chain(
  num_labels: int,
  *,
  order: Order = 'natural',
  num_samples: int = 100,
  beam_width: int = 10,
) -> Head:
  """Each label is given h and the labels before it in an order.

      p(y | h) = prod_j P(y_j | h, y_i for all i before j)
      P(y_j = 1 | ...) = sigmoid(w_j . h + b_j + sum_{i before j} y_i v_ij)

  By the product rule a chain can represent any dependence, but these links are
  linear in the labels, so that the order matters. Fitted by maximum likelihood
  it is L logistic regressions on h and the true labels before (teacher
  forcing), all in one matmul, and convex.

  Up to `distribution.MAX_TABLE_LABELS` labels all 2^L vectors are enumerated:
  marginals and mode are exact. Beyond, the mode is searched by a beam and is
  never less likely than the greedy decision; marginals are estimated as the
  mean of P(y_j = 1 | h, y before j) along sampled paths, whose standard error
  is at most 0.5 / sqrt(num_samples) (Rao-Blackwell: never more than that of
  counting the draws).

  Args:
    num_labels: L.
    order: 'natural' is the data set's own; 'random' draws one for each run
      from its key; 'frequency' puts rare labels last; 'mutual_information'
      each label behind one that tells much of it (see chain_order). The last
      two are read off the run's training rows.
    num_samples: paths drawn for estimated marginals, rounded up to a multiple
      of 8.
    beam_width: prefixes that the search for the mode keeps.

  Returns:
    A head. Parameters: `kernel` [D, L], `bias` [L], `links` [L, L] of which
    entry [i, j] counts where label i stands before label j, and `frozen`:
    `rank` [L], the position of each label in the chain. `conditional` is
    closed-form for any L.

  Raises:
    ValueError: for an unknown order, or a count below 1.

  References:
    Read, Pfahringer, Holmes, Frank, Classifier chains for multi-label
    classification, Machine Learning 85, 2011 (`greedy`).
    Dembczynski, Cheng, Hullermeier, Bayes optimal multilabel classification
    via probabilistic classifier chains, ICML 2010 (`log_prob`, `joint`).
    Kumar, Vembu, Menon, Elkan, Beam search algorithms for multilabel learning,
    Machine Learning 92, 2013 (`mode`).
    Dembczynski, Waegeman, Hullermeier, An analysis of chaining in multi-label
    classification, ECAI 2012 (`sample`: Monte Carlo inference).
  """
  _check_options(order, num_samples, beam_width)
  small = num_labels <= distribution.MAX_TABLE_LABELS

  def init(key, h, y, *, where=None, weight=None):
    kernel_key, order_key = jax.random.split(key)
    kernel = jax.nn.initializers.lecun_normal()
    rank = jnp.arange(num_labels)
    if order == 'random':
      rank = jax.random.permutation(order_key, rank)
    elif order == 'frequency':
      rank = chain_order.by_frequency(y, where=where, weight=weight)
    elif order == 'mutual_information':
      rank = chain_order.by_information(y, where=where, weight=weight)
    return {
      'kernel': kernel(kernel_key, (h.shape[-1], num_labels), h.dtype),
      'bias': jnp.zeros(num_labels, h.dtype),
      # Weight decay leaves the links that point backwards at 0.
      'links': jnp.zeros((num_labels, num_labels), h.dtype),
      'frozen': {'rank': rank},
    }

  return Head(
    name='classifier_chain',
    num_labels=num_labels,
    exactness={
      'marginals': 'enumerated' if small else 'estimated',
      'mode': 'enumerated' if small else 'searched',
      'conditional': 'closed-form',
      'joint': 'enumerated',
      'cardinality_marginals': 'enumerated',
      'partial': 'enumerated',
    },
    init=init,
    logits=_logits,
    log_prob=_log_prob,
    marginals=(
      _enumerated_marginals
      if small
      else functools.partial(_estimated_marginals, num_samples)
    ),
    sample=_sample,
    mode=(
      _enumerated_mode
      if small
      else functools.partial(_searched_mode, beam_width)
    ),
    mode_certificate=(
      None if small else functools.partial(_mode_certificate, beam_width)
    ),
    greedy=_greedy,
    conditional=_conditional,
    joint=_joint if small else None,
    cardinality_marginals=_cardinality_marginals if small else None,
    partial=_partial if small else None,
  )


def _forward_links(params):
  """Links of which the source stands before the target, 0 elsewhere."""
  rank = params['frozen']['rank']
  before = rank[:, None] < rank[None, :]
  return jnp.where(before, params['links'], 0.0)


def _from_features(params, h):
  return h @ params['kernel'] + params['bias'][None, :]


def _logits(params, h, y, *, key=None):
  del key
  return _from_features(params, h) + y @ _forward_links(params)


def _log_prob(params, h, y, *, key=None):
  return jnp.sum(log_bernoulli(_logits(params, h, y, key=key), y), axis=-1)


# From here to `_joint`: inference, in chain order and back.


def _in_chain_order(params, h):
  """What every algorithm of chain_inference asks: logits and links."""
  order = jnp.argsort(params['frozen']['rank'])
  links = _forward_links(params)[order[:, None], order[None, :]]
  return _from_features(params, h)[:, order], links


def _in_data_order(params, y):
  return y[..., params['frozen']['rank']]


def _greedy(params, h):
  base, links = _in_chain_order(params, h)
  y, _ = chain_inference.one_pass(base, links, jnp.zeros_like(base))
  return _in_data_order(params, y)


def _paths(params, key, h, n):
  """n draws and the P(y_j = 1 | h, y before j) along them, [n, B, L] each."""
  base, links = _in_chain_order(params, h)
  shape = (n, *base.shape)
  base = jnp.broadcast_to(base[None], shape).reshape(-1, shape[-1])
  noise = jax.random.logistic(key, base.shape, base.dtype)
  y, z = chain_inference.one_pass(base, links, noise)
  y, p = y.reshape(shape), jax.nn.sigmoid(z).reshape(shape)
  return _in_data_order(params, y), _in_data_order(params, p)


def _sample(params, key, h, n):
  return _paths(params, key, h, n)[0]


def _estimated_marginals(num_samples, params, h, *, key=None):
  key = jax.random.key(0) if key is None else key

  def add(total, key):
    _, p = _paths(params, key, h, _PATHS_AT_A_TIME)
    return total + jnp.mean(p, axis=0), None

  repeats = -(-num_samples // _PATHS_AT_A_TIME)
  zeros = jnp.zeros_like(_from_features(params, h))
  total, _ = jax.lax.scan(add, zeros, jax.random.split(key, repeats))
  return total / repeats


def _searched_mode(beam_width, params, h):
  base, links = _in_chain_order(params, h)
  kept, _, _ = chain_inference.beam_search(base, links, beam_width)
  best, greedy = _in_data_order(params, kept[:, 0]), _greedy(params, h)
  # A beam may drop the greedy path halfway and end below it.
  better = _log_prob(params, h, greedy) > _log_prob(params, h, best)
  return jnp.where(better[:, None], greedy, best)


def _mode_certificate(beam_width, params, h):
  base, links = _in_chain_order(params, h)
  _, score, bound = chain_inference.beam_search(base, links, beam_width)
  greedy = _log_prob(params, h, _greedy(params, h))
  return jnp.maximum(score[:, 0], greedy) >= bound


def _tree(params, h):
  return chain_inference.prefix_tree(*_in_chain_order(params, h))


def _enumerated_marginals(params, h, *, key=None):
  del key
  marginals = distribution.table_marginals(_tree(params, h))
  return _in_data_order(params, marginals)


def _enumerated_mode(params, h):
  return _in_data_order(params, distribution.table_mode(_tree(params, h)))


def _joint(params, h):
  rank = params['frozen']['rank']
  # Bit j of a vector's code is bit rank[j] of its code in chain order.
  vectors = distribution.label_vectors(len(rank)).astype(rank.dtype)
  return _tree(params, h)[:, vectors @ (1 << rank)]


def _cardinality_marginals(params, h):
  # |y| does not ask for the order: only the labels go back to theirs.
  by_size = distribution.table_cardinality_marginals(_tree(params, h))
  return by_size[:, params['frozen']['rank']]


def _partial(params, h, y, known):
  return distribution.table_partial(_joint(params, h), y, known)


def _conditional(params, h, y):
  """Flipping label j moves its own factor and those behind it.

  log-odds_j = z_j + sum_{k after j} (log P(y_k | z_k with y_j = 1)
                                      - log P(y_k | z_k with y_j = 0))
  """
  links, z = _forward_links(params), _logits(params, h, y)

  def log_odds(j):
    link, y_j = links[j][None, :], y[:, j, None]
    on = log_bernoulli(z + (1.0 - y_j) * link, y)
    off = log_bernoulli(z - y_j * link, y)
    return z[:, j] + jnp.sum(on - off, axis=-1)

  odds = jax.lax.map(log_odds, jnp.arange(z.shape[-1]), batch_size=16)
  return jax.nn.sigmoid(odds.T)


def _check_options(order, num_samples, beam_width):
  if order not in get_args(Order):
    raise ValueError(
      f'classifier_chain got order={order!r}; '
      f'it takes one of {", ".join(get_args(Order))}.'
    )
  for name, value in (('num_samples', num_samples), ('beam_width', beam_width)):
    if value < 1:
      raise ValueError(
        f'classifier_chain got {name}={value}; it takes an integer from 1 on.'
      )
