"""The label vector as a whole: its mode, exact or greedy."""

from jaxtyping import Array, Float

from mlc.base import Decoder, Exactness, Head, Key, Params, require
from mlc.decoding import fit
from mlc.rules import Rules, likeliest, likeliest_exactness


def joint_mode() -> Decoder:
  """The most probable label vector.

      d = argmax_y p(y | h)

  No decision has a larger expected subset accuracy. For a head over one-hot
  vectors it is the most probable class. Under constraints it is the most
  probable of the allowed vectors, see `rules.likeliest`.

  Returns:
    The decoder, named `subset`. It needs `mode`.

  References:
    Dembczynski, Waegeman, Cheng, Hullermeier, On label dependence and loss
    minimization in multi-label classification, Machine Learning 88, 2012,
    section 4.2.
  """

  def decide(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    state: tuple[()] = (),
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    del state, key
    return require(head, 'mode', 'decoder subset')(params, h)

  def exactness(head: Head) -> Exactness:
    require(head, 'mode', 'decoder subset')
    return head.exactness['mode']

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
    return likeliest(head, params, h, rules, key=key)

  return Decoder(
    'subset', fit.nothing, decide, exactness, within, likeliest_exactness
  )


def greedy() -> Decoder:
  """One pass over the labels in the head's order, each given those before it.

      d_j = 1 iff P(y_j = 1 | h, y_i = d_i for i before j) > 0.5

  The prediction of the original classifier chain: a search for the joint mode
  that looks at one label at a time, and optimal for no loss in general.

  Returns:
    The decoder, named `greedy`. It needs `greedy`. Where the head's pass is its
    mode (independent labels), its word is that of the mode, else `searched`.

  References:
    Read, Pfahringer, Holmes, Frank, Classifier chains for multi-label
    classification, Machine Learning 85, 2011, figure 2.
  """

  def decide(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    state: tuple[()] = (),
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    del state, key
    return require(head, 'greedy', 'decoder greedy')(params, h)

  def exactness(head: Head) -> Exactness:
    one_pass = require(head, 'greedy', 'decoder greedy')
    return head.exactness['mode'] if one_pass is head.mode else 'searched'

  return Decoder('greedy', fit.nothing, decide, exactness)
