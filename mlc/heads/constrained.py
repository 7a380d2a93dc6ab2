"""A head that knows what must hold between labels."""

import jax
import jax.numpy as jnp
import numpy as np

from mlc.base import FROZEN, Head, MissingCapabilityError
from mlc.heads.enumerated import enumerated
from mlc.rules import (
  Rules,
  allowed,
  consistent,
  likeliest,
  likeliest_exactness,
)

# Draws that are made at a time.
_AT_A_TIME = 50


def constrained(head: Head, rules: Rules, *, num_samples: int = 1000) -> Head:
  """The distribution of a head, conditioned on rules between labels.

      p'(y | h) = p(y | h) [y keeps the rules] / P(the rules are kept | h)

  A head with a `joint` is conditioned exactly: its table is cut to the vectors
  that are allowed, and every answer follows by enumeration. Where it gives none
  of them any probability, they are all alike.

  Any other head is conditioned by rejection: of `num_samples` draws those count
  that keep the rules, and `keeping` tells how many do. A row none of whose
  draws is accepted is answered as if there were no rules.

  Args:
    head: of the labels.
    rules: that some label vector keeps.
    num_samples: draws a row where the head is conditioned by rejection, rounded
      up to a multiple of 50.

  Returns:
    A head whose parameters are {'head': those of the head, 'frozen': {'rules':
    the rules}}, so that each run may have rules of its own. From a table it has
    all that `enumerated` gives; else `marginals` and `sample` (estimated),
    `mode` (see `rules.likeliest`) and `conditional` (exact where the head's
    is). `support` tells the rows that the rules allow.

  Raises:
    ValueError: num_samples is below 1.
    MissingCapabilityError: the head has neither `joint` nor `sample`.
  """
  if num_samples < 1:
    raise ValueError(
      f'constrained got num_samples={num_samples}; it takes 1 or more.'
    )
  if head.joint is None and head.sample is None:
    raise MissingCapabilityError(
      f'conditioning on rules needs `joint` or `sample`, and head {head.name} '
      f'with {head.num_labels} labels has neither. Take --constraints=repair '
      'or decode, or another head.'
    )

  def init(key, h, y, *, where=None, weight=None):
    params = head.init(key, h, y, where=where, weight=weight)
    return with_rules(params, Rules(*map(jnp.asarray, rules)))

  def support(y):
    kept = consistent(Rules(*map(np.asarray, rules)), y)
    return kept if head.support is None else kept & head.support(y)

  name = f'constrained_{head.name}'
  if head.joint is None:
    made = _by_rejection(name, head, init, num_samples)
  else:
    made = enumerated(name, head.num_labels, init, _cut(head))
  return made._replace(support=support, one_hot=head.one_hot)


def with_rules(params, rules: Rules):
  """The parameters of `constrained(head, rules)`, from those of the head."""
  return {'head': params, FROZEN: {'rules': rules}}


def keeping(head: Head, params, h, rules: Rules, *, key=None, num_samples=1000):
  """P(the rules are kept | h) of a head that knows none: the acceptance rate.

  Args:
    head: not constrained.
    params: its parameters.
    h: rows.
    rules: of the run.
    key: for draws.
    num_samples: draws a row, where there is no table.

  Returns:
    [batch]; enumerated from a `joint`, estimated otherwise.
  """
  if head.joint is not None:
    table = jnp.where(allowed(rules)[None, :], head.joint(params, h), -jnp.inf)
    return jnp.exp(jax.nn.logsumexp(table, axis=-1))
  accepted, _, drawn = _accepted(head, params, h, rules, key, num_samples)
  return accepted / drawn


def _split(params):
  return params['head'], Rules(*params[FROZEN]['rules'])


def _cut(head):
  def joint(params, h):
    params, rules = _split(params)
    kept = allowed(rules)[None, :]
    table = jnp.where(kept, head.joint(params, h), -jnp.inf)
    top = jnp.max(table, axis=-1, keepdims=True)
    # The double where keeps the gradient of the branch not taken finite.
    possible = jnp.isfinite(top)
    values = jnp.where(kept & possible, table, jnp.where(kept, 0.0, -jnp.inf))
    return jax.nn.log_softmax(values, axis=-1)

  return joint


def _accepted(head, params, h, rules, key, num_samples):
  """How many draws keep the rules [batch], their sum [batch, labels], of how
  many."""
  key = jax.random.key(0) if key is None else key
  repeats = -(-num_samples // _AT_A_TIME)

  def add(total, key):
    y = head.sample(params, key, h, _AT_A_TIME)
    keeps = consistent(rules, y).astype(y.dtype)
    count, ones = total
    ones = ones + jnp.einsum('nb,nbl->bl', keeps, y)
    return (count + jnp.sum(keeps, axis=0), ones), None

  zeros = jnp.zeros((len(h), head.num_labels), jnp.float32)
  total, _ = jax.lax.scan(
    add, (zeros[:, 0], zeros), jax.random.split(key, repeats)
  )
  return *total, repeats * _AT_A_TIME


def _by_rejection(name, head, init, num_samples):
  def marginals(params, h, *, key=None):
    params, rules = _split(params)
    count, ones, _ = _accepted(head, params, h, rules, key, num_samples)
    some = count[:, None] > 0
    p = ones / jnp.where(some, count[:, None], 1.0)
    if head.marginals is None:
      return jnp.where(some, p, 0.5)
    return jnp.where(some, p, head.marginals(params, h, key=key))

  def sample(params, key, h, n):
    """Those of n draws that are accepted, in turn, until there are n."""
    params, rules = _split(params)
    y = head.sample(params, key, h, n)
    keeps = consistent(rules, y)
    first = jnp.argsort(~keeps, axis=0, stable=True)
    count = jnp.maximum(jnp.sum(keeps, axis=0), 1)
    turn = jnp.arange(n)[:, None] % count[None, :]
    served = jnp.take_along_axis(first, turn, axis=0)
    return jnp.take_along_axis(y, served[:, :, None], axis=0)

  def mode(params, h):
    params, rules = _split(params)
    return likeliest(head, params, h, rules)

  def conditional(params, h, y):
    params, rules = _split(params)
    eye = jnp.eye(y.shape[-1], dtype=y.dtype)[None]
    on = consistent(rules, jnp.maximum(y[:, None, :], eye))
    off = consistent(rules, y[:, None, :] * (1.0 - eye))
    p = head.conditional(params, h, y)
    return jnp.where(on & off, p, jnp.where(on == off, 0.5, on.astype(p.dtype)))

  exactness = {'marginals': 'estimated', 'mode': likeliest_exactness(head)}
  if head.conditional is not None:
    exactness['conditional'] = head.exactness['conditional']
  return Head(
    name=name,
    num_labels=head.num_labels,
    exactness=exactness,
    init=init,
    marginals=marginals,
    sample=sample,
    mode=mode,
    conditional=None if head.conditional is None else conditional,
  )
