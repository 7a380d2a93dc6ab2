"""The likeliest label vector that keeps the rules, of any head."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import (
  Exactness,
  Head,
  Key,
  MissingCapabilityError,
  Params,
  require,
)
from mlc.rules.rule import Rules, consistent
from mlc.rules.search import best, best_of_table, nearest

# Draws that a search may take its answer from.
_DRAWS = 64


def likeliest(
  head: Head,
  params: Params,
  h: Float[Array, 'batch *dim'],
  rules: Rules,
  *,
  key: Key | None = None,
) -> Float[Array, 'batch labels']:
  """argmax of p(y | h) over the label vectors that keep the rules.

  Exact from the table of the head, for classes, and for independent labels,
  whose log p is linear in y. Of other heads it is the likeliest of these: the
  vector nearest to the mode, the best one for independent labels of the same
  marginals, and those of 64 draws that keep the rules.
  """
  if head.joint is not None:
    return best_of_table(rules, head.joint(params, h))
  p = require(head, 'marginals', 'the likeliest consistent vector')(params, h)
  if head.one_hot:
    return _likeliest_class(rules, p)
  as_if = best(rules, _log_odds(p))
  if head.independent:
    return as_if
  score = require(head, 'log_prob', 'the likeliest consistent vector')
  candidates = [as_if]
  if head.mode is not None:
    candidates.append(nearest(rules, head.mode(params, h), p))
  if head.sample is not None:
    key = jax.random.key(0) if key is None else key
    draws = head.sample(params, key, h, _DRAWS)
    keeps = consistent(rules, draws)[..., None]
    candidates += list(jnp.where(keeps, draws, as_if[None]))
  tried = jnp.stack(candidates)
  values = jax.lax.map(lambda y: score(params, h, y), tried)
  top = jnp.argmax(values, axis=0)[None, :, None]
  return jnp.take_along_axis(tried, top, axis=0)[0]


def likeliest_exactness(head: Head) -> Exactness:
  """How `likeliest` obtains its answer.

  Branch and bound enumerates what it does not exclude: it is `enumerated` too.

  Raises:
    MissingCapabilityError: the head tells too little.
  """
  if head.joint is not None:
    return 'enumerated'
  if head.marginals is None:
    raise MissingCapabilityError(
      f'the likeliest vector that keeps the rules needs `joint`, or '
      f'`marginals`, and head {head.name} with {head.num_labels} labels has '
      'neither. Choose another head.'
    )
  if head.one_hot or head.independent:
    return worst(head.exactness['marginals'], 'enumerated')
  require(head, 'log_prob', 'the likeliest consistent vector')
  return 'searched'


def optimality_gap(
  head: Head,
  params: Params,
  h: Float[Array, 'batch *dim'],
  decision: Float[Array, 'batch labels'],
) -> Float[Array, ' batch']:
  """How much likelier, in nats, a consistent vector could be at most.

      log p(mode | h) - log p(decision | h)

  No vector is likelier than the mode; where that is itself searched, this is
  a bound only as far as the search was right.
  """
  mode = require(head, 'mode', 'the optimality gap')(params, h)
  score = require(head, 'log_prob', 'the optimality gap')
  return score(params, h, mode) - score(params, h, decision)


def worst(*words: Exactness) -> Exactness:
  """Of several words the one that promises least."""
  order: tuple[Exactness, ...] = (
    'closed-form',
    'enumerated',
    'searched',
    'estimated',
  )
  return max(words, key=order.index)


def _log_odds(p):
  # In float32 a p that is rounded to 1 has no finite odds.
  least = jnp.finfo(p.dtype).eps / 2
  p = jnp.clip(p, jnp.finfo(p.dtype).tiny, 1.0 - least)
  return jnp.log(p) - jnp.log1p(-p)


def _likeliest_class(rules, p):
  """The likeliest class that keeps the rules; without any, what `best` says."""
  classes = jnp.eye(p.shape[-1], dtype=p.dtype)
  kept = jnp.where(consistent(rules, classes)[None, :], p, -1.0)
  chosen = classes[jnp.argmax(kept, axis=-1)]
  some = jnp.max(kept, axis=-1, keepdims=True) >= 0.0
  return jnp.where(some, chosen, best(rules, p - 0.5))
