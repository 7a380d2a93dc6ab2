"""The decision that the F-measure by example asks for."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc import distribution
from mlc.base import (
  Decoder,
  Exactness,
  Head,
  Key,
  MissingCapabilityError,
  Params,
)
from mlc.decoding import fit
from mlc.expected_f import (
  decision,
  product_decision,
  sample_decision,
  values,
)
from mlc.rules import Rules, best_of_table, worst

# q + r of beta^2 = q / r up to which marginals are enough for independent
# labels: 2 for beta = 1, 5 for 2 and for 0.5.
_MOST_PLACES = 20


def expected_f(beta: float = 1.0, *, num_samples: int = 1000) -> Decoder:
  """The label vector of largest expected F-measure.

      d = argmax_d sum_y p(y | h) F(y, d),  F(0, 0) = 1
      F(y, d) = (1 + beta^2) sum_j y_j d_j / (beta^2 |y| + |d|)

  Found among all 2^L vectors: from the marginals where labels are independent,
  else from P(y_j = 1, |y| = s | h), exact as far as these are. A head that
  cannot tell them is asked for its table, and failing that for samples. See
  `mlc.expected_f` for all three.

  Args:
    beta: weight of recall beside precision, > 0.
    num_samples: draws a row, where there is no other way.

  Returns:
    The decoder, named `f_beta` for beta = 1, else `f_beta_<beta>`. It needs
    `marginals` of independent labels, or one of `cardinality_marginals`,
    `joint`, `sample`. Without a key it draws the same samples each time.

  Raises:
    ValueError: beta is not a positive number, or num_samples is below 1.

  References:
    Waegeman, Dembczynski, Jachnik, Cheng, Hullermeier, On the Bayes-optimality
    of F-measure maximizers, JMLR 15, 2014, algorithm 1.
  """
  if not (beta > 0 and math.isfinite(beta)):
    raise ValueError(f'expected_f: beta is {beta}, expected a number > 0.')
  if num_samples < 1:
    raise ValueError(
      f'expected_f: num_samples is {num_samples}, expected at least 1.'
    )
  name = 'f_beta' if beta == 1.0 else f'f_beta_{beta:g}'
  squared = Fraction(str(beta)) ** 2
  few = squared.numerator + squared.denominator <= _MOST_PLACES

  def decide(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    state: tuple[()] = (),
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    del state
    source = _source(head, name, few)
    if source == 'marginals':
      p = head.marginals(params, h, key=key)
      return product_decision(p, squared)[0]
    if source == 'sample':
      return sample_decision(drawn(head, params, h, key), beta)[0]
    marginals, p_empty = by_size(head, params, h, key)
    return decision(marginals, p_empty, beta)[0]

  def drawn(head, params, h, key):
    key = jax.random.key(0) if key is None else key
    return head.sample(params, key, h, num_samples)

  def by_size(head, params, h, key):
    """P(y_j = 1, |y| = s | h) and P(y = 0 | h)."""
    source = _source(head, name, False)
    if source == 'cardinality_marginals':
      marginals = head.cardinality_marginals(params, h)
      return marginals, _p_empty(head, params, h, marginals)
    if source == 'joint':
      table = head.joint(params, h)
      marginals = distribution.table_cardinality_marginals(table)
      return marginals, jnp.exp(table[:, 0])
    samples = drawn(head, params, h, key)
    marginals = distribution.sample_cardinality_marginals(samples)
    return marginals, jnp.mean(jnp.all(samples == 0, axis=-1), axis=0)

  def exactness(head: Head) -> Exactness:
    source = _source(head, name, few)
    return 'estimated' if source == 'sample' else head.exactness[source]

  def within(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    state: tuple[()],
    rules: Rules,
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    del state
    marginals, p_empty = by_size(head, params, h, key)
    return best_of_table(rules, values(marginals, p_empty, beta))

  def within_exactness(head: Head) -> Exactness:
    _refuse_many(head, name)
    return worst(exactness(head), 'enumerated')

  return Decoder(name, fit.nothing, decide, exactness, within, within_exactness)


def _refuse_many(head: Head, name: str) -> None:
  most = distribution.MAX_TABLE_LABELS
  if head.num_labels > most:
    raise MissingCapabilityError(
      f'decoder {name} within constraints tries all decisions, which is '
      f'possible up to {most} labels; head {head.name} has {head.num_labels}. '
      'Repair its decisions instead (--constraints=repair).'
    )


def _source(head: Head, name: str, few: bool) -> str:
  """The cheapest of the most exact of what the head can tell."""
  if few and head.independent and head.marginals is not None:
    return 'marginals'
  for capability in ('cardinality_marginals', 'joint', 'sample'):
    if getattr(head, capability) is not None:
      return capability
  raise MissingCapabilityError(
    f'decoder {name} needs `cardinality_marginals`, `joint` or `sample`, and '
    f'head {head.name} with {head.num_labels} labels has none of them. Choose '
    'another head or another decoder.'
  )


def _p_empty(
  head: Head,
  params: Params,
  h: Float[Array, 'batch *dim'],
  cardinality_marginals: Float[Array, 'batch labels sizes'],
) -> Float[Array, ' batch']:
  """P(y = 0 | h), from log_prob where the head has it.

  The other way, 1 - sum_js P(y_j = 1, |y| = s) / s, is a difference of numbers
  near 1: in float32 it is off by up to 2e-6 at 983 labels, ten to forty times
  as much as log_prob.
  """
  batch, num_labels, _ = cardinality_marginals.shape
  if head.log_prob is not None:
    empty = jnp.zeros((batch, num_labels), cardinality_marginals.dtype)
    return jnp.exp(head.log_prob(params, h, empty))
  size = jnp.arange(1, num_labels + 1, dtype=cardinality_marginals.dtype)
  some = jnp.sum(cardinality_marginals, axis=-2) / size[None, :]
  return jnp.clip(1.0 - jnp.sum(some, axis=-1), 0.0, 1.0)
