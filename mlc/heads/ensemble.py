"""Several heads of one kind, averaged."""

import jax
import jax.numpy as jnp

from mlc import distribution
from mlc.base import Exactness, Head


def ensemble(head: Head, n: int) -> Head:
  """The equal mixture of n copies of a head, each with its own parameters.

      p(y | h) = 1/n sum_m p_m(y | h)

  The members differ by the key of their initialisation: chains by their order
  when it is 'random'. Trained with `per_member(loss)` they never see each
  other; trained with a plain likelihood they become a mixture model.

  Args:
    head: of the members.
    n: how many members.

  Returns:
    A head with `member=head`, whose parameters are those of the members,
    stacked on the leading axis. Marginals, joint and cardinality marginals are
    means over the members and as exact as theirs; the mode is enumerated
    where the members' joint is, and else searched: the likeliest, under the
    mixture, of the members' modes and of the rounded mean marginals. Draws are
    stratified: the members serve in random order, each as often as the others
    (up to one draw). `logits` and `greedy` are None: a mixture has neither.

  Raises:
    ValueError: for n < 1, or a head that is an ensemble already.

  References:
    Read, Pfahringer, Holmes, Frank, Classifier chains for multi-label
    classification, Machine Learning 85, 2011 (whose ensemble votes on greedy
    decisions and also resamples the training rows).
  """
  if n < 1 or head.member is not None:
    raise ValueError(
      f'ensemble got n={n} members of head {head.name}; it takes at least 1 '
      'member, and a head that is not an ensemble itself.'
    )
  log_prob = _log_prob(head)
  marginals = _mean(head.marginals)
  return Head(
    name=f'ensemble_{head.name}',
    num_labels=head.num_labels,
    exactness=_exactness(head),
    init=_init(head, n),
    log_prob=log_prob,
    marginals=marginals,
    sample=_sample(head),
    mode=_mode(head, log_prob, marginals),
    conditional=_conditional(log_prob),
    joint=_joint(head),
    cardinality_marginals=_mean(head.cardinality_marginals),
    support=head.support,
    one_hot=head.one_hot,
    member=head,
  )


def _exactness(head: Head) -> dict[str, Exactness]:
  mode: Exactness = 'searched'
  if head.one_hot:
    mode = 'closed-form'
  elif head.joint is not None:
    mode = 'enumerated'
  return {**head.exactness, 'mode': mode, 'conditional': 'closed-form'}


def _init(head, n):
  def init(key, h, y, *, where=None, weight=None):
    def member(key):
      return head.init(key, h, y, where=where, weight=weight)

    return jax.vmap(member)(jax.random.split(key, n))

  return init


def _size(params):
  return len(jax.tree.leaves(params)[0])


def _keys(key, params):
  """A key for each member; None stays None."""
  return None if key is None else jax.random.split(key, _size(params))


def _log_prob(head):
  if head.log_prob is None:
    return None

  def log_prob(params, h, y, *, key=None):
    def member(params, key):
      return head.log_prob(params, h, y, key=key)

    each = jax.vmap(member)(params, _keys(key, params))
    return jax.nn.logsumexp(each, axis=0) - jnp.log(len(each))

  return log_prob


def _conditional(log_prob):
  if log_prob is None:
    return None
  return distribution.conditional_from_log_prob(log_prob)


def _mean(function):
  """The mean over the members of what `function` gives for each."""
  if function is None:
    return None

  def mean(params, h, *, key=None):
    def member(inputs):
      params, key = inputs
      return function(params, h, **({} if key is None else {'key': key}))

    # One after another: each may hold a table of 2^L.
    members = (params, _keys(key, params))
    one = jax.eval_shape(member, jax.tree.map(lambda leaf: leaf[0], members))
    total, _ = jax.lax.scan(
      lambda total, inputs: (total + member(inputs), None),
      jnp.zeros(one.shape, one.dtype),
      members,
    )
    return total / _size(params)

  return mean


def _joint(head):
  if head.joint is None:
    return None

  def joint(params, h):
    def add(total, params):
      return jnp.logaddexp(total, head.joint(params, h)), None

    nothing = jnp.full((len(h), 2**head.num_labels), -jnp.inf, h.dtype)
    total, _ = jax.lax.scan(add, nothing, params)
    return total - jnp.log(_size(params))

  return joint


def _sample(head):
  if head.sample is None:
    return None

  def sample(params, key, h, n):
    size = _size(params)
    each = -(-n // size)
    draw_key, order_key = jax.random.split(key)

    def member(inputs):
      params, key = inputs
      return head.sample(params, key, h, each)

    draws = jax.lax.map(member, (params, jax.random.split(draw_key, size)))
    served = jax.random.permutation(order_key, size * each)[:n]
    return draws.reshape(size * each, *draws.shape[2:])[served]

  return sample


def _mode(head, log_prob, marginals):
  if head.one_hot:
    return lambda params, h: _likeliest_class(marginals(params, h))
  joint = _joint(head)
  if joint is not None:
    return lambda params, h: distribution.table_mode(joint(params, h))
  if head.mode is None or log_prob is None:
    return None

  def mode(params, h):
    modes = jax.lax.map(lambda params: head.mode(params, h), params)
    p = marginals(params, h)
    rounded = (p > 0.5).astype(modes.dtype)
    candidates = jnp.concatenate([modes, rounded[None]])
    scores = jax.lax.map(lambda y: log_prob(params, h, y), candidates)
    best = jnp.argmax(scores, axis=0)[None, :, None]
    return jnp.take_along_axis(candidates, best, axis=0)[0]

  return mode


def _likeliest_class(p):
  return jax.nn.one_hot(jnp.argmax(p, axis=-1), p.shape[-1], dtype=p.dtype)
