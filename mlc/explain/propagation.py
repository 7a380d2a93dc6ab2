"""How an error in one label comes to others.

A chain is trained on the true labels and decides on its own: what it has
decided wrongly, the labels behind it hear. Here a wrong decision is followed
through a head: where accuracy is lost along the chain, which label moves which,
and what another order would have decided.

Every question is asked of (head, params) and gives what `rows.over_rows` counts
in a block of rows, so that several go through the rows together. A label that
is unknown counts as 0 for the labels that hear it, and is itself not counted.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mlc.base import FROZEN, Head, Params, require
from mlc.explain.rows import Count, mean


class Positions(NamedTuple):
  """Share of rows in which each label is decided rightly, [L].

  Attributes:
    teacher_forced: given the true labels that its logit hears.
    free_running: given the decisions before it, as in use; NaN, like the
      other, for a label that is known nowhere.
  """

  teacher_forced: Float[Array, '*runs labels']
  free_running: Float[Array, '*runs labels']


class Flips(NamedTuple):
  """What decision j does when decision i is forced, [L, L], entry [i, j].

  Attributes:
    change: share of rows in which j differs between i = 0 and i = 1; 1 on the
      diagonal.
    harm: by how much j is less often right when i is wrong than when i is
      right; 1 on the diagonal.
  """

  change: Float[Array, '*runs labels labels']
  harm: Float[Array, '*runs labels labels']


class Influence(NamedTuple):
  """P(y_j = 1 | y_i = 1, ..) - P(y_j = 1 | y_i = 0, ..) at [i, j] of [L, L].

  Attributes:
    size: mean over rows of its absolute value.
    effect: mean over rows, with its sign.
  """

  size: Float[Array, '*runs labels labels']
  effect: Float[Array, '*runs labels labels']


class Orders(NamedTuple):
  """What the order of a chain decides, told by chains of several orders.

  Attributes:
    accuracy: free-running share of right decisions of each chain, [M, L].
    subset_accuracy: of each chain, [M].
    disagreement: for each label the share of (row, pair of chains) in which
      the two decide otherwise, [L].
  """

  accuracy: Float[Array, '*runs members labels']
  subset_accuracy: Float[Array, '*runs members']
  disagreement: Float[Array, '*runs labels']


def rank_of(params: Params) -> Int[Array, '*runs labels'] | None:
  """The position of each label in a chain; None for a head without order."""
  frozen = params.get(FROZEN, {}) if isinstance(params, dict) else {}
  return frozen.get('rank')


def free_run(
  head: Head,
  params: Params,
  h: Float[Array, 'batch *dim'],
  value: Float[Array, 'batch labels'],
  held: Bool[Array, 'batch labels'],
) -> Float[Array, 'batch labels']:
  """The greedy decisions of a chain in which some are held to a value.

      y_j = value_j if held_j, else [logit_j(h, y before j) > 0]

  Solved for all labels at once: y is put into the logits until it no longer
  changes. After t rounds the first t labels of the chain are right, so that L
  rounds suffice; there are as many as the longest run of decisions in which
  each overturns the next.

  References:
    Song, Meng, Liao, Ermon, Accelerating feedforward computation via parallel
    nonlinear equation solving, ICML 2021, algorithm 1 (Jacobi).
  """
  logits = require(head, 'logits', 'free_run')

  def decide(y):
    decided = (logits(params, h, y) > 0).astype(value.dtype)
    return jnp.where(held, value, decided)

  def unfinished(carry):
    y, before, rounds = carry
    return jnp.any(y != before) & (rounds < head.num_labels)

  def again(carry):
    y, _, rounds = carry
    return decide(y), y, rounds + 1

  start = jnp.where(held, value, 0.0)
  first = (decide(start), start, jnp.ones((), jnp.int32))
  y, _, _ = jax.lax.while_loop(unfinished, again, first)
  return y


def positions(head: Head, params: Params) -> Count:
  """Teacher-forced against free-running accuracy of each label: `Positions`.

  Their difference is what a label loses to the errors before it.
  """
  logits = require(head, 'logits', 'positions')
  greedy = require(head, 'greedy', 'positions')

  def count(h, y, known, weight):
    del weight
    decided = (logits(params, h, y) > 0).astype(y.dtype)
    return Positions(
      mean(decided == y, known), mean(greedy(params, h) == y, known)
    )

  return count


def flips(head: Head, params: Params) -> Count:
  """Which decisions move when one is forced, the flip-propagation matrix.

  For heads whose logits hear the labels before, and no others (see
  `free_run`), or none at all; 2 L forced passes over the rows give `Flips`.
  """
  require(head, 'logits', 'flips')

  def count(h, y, known, weight):
    def force(i):
      held = jnp.broadcast_to(jnp.arange(y.shape[-1]) == i, y.shape)
      on = free_run(head, params, h, jnp.ones_like(y), held)
      off = free_run(head, params, h, jnp.zeros_like(y), held)
      is_on = y[:, i, None] == 1
      right = (jnp.where(is_on, on, off) == y).astype(y.dtype)
      wrong = (jnp.where(is_on, off, on) == y).astype(y.dtype)
      both = known * (known[:, i, None] > 0)
      return Flips(mean(on != off, weight[:, None]), mean(right - wrong, both))

    return jax.lax.map(force, jnp.arange(y.shape[-1]))

  return count


def influence(
  head: Head, params: Params, *, given_others: bool = True
) -> Count:
  """How label i moves the probability of label j, in any kind of head.

  Args:
    head: with `conditional`, or `partial` where the others are not given.
    params: of the head.
    given_others: all labels but i and j are the true ones, so that the
      influence is direct; else they are unknown, so that it is all there is,
      whatever way it takes.

  Returns:
    What counts an `Influence`. On the diagonal it is 0 given the others, since
    label i is asked without itself, and else 1.
  """
  capability = 'conditional' if given_others else 'partial'
  ask = require(head, capability, 'influence')

  def count(h, y, known, weight):
    del known

    def force(i):
      is_i = jnp.broadcast_to(jnp.arange(y.shape[-1]) == i, y.shape)
      more = () if given_others else (is_i,)
      on = ask(params, h, jnp.where(is_i, 1.0, y), *more)
      off = ask(params, h, jnp.where(is_i, 0.0, y), *more)
      row = weight[:, None]
      return Influence(mean(jnp.abs(on - off), row), mean(on - off, row))

    return jax.lax.map(force, jnp.arange(y.shape[-1]))

  return count


def orders(head: Head, params: Params) -> Count:
  """How far chains agree that differ in nothing but their order: `Orders`.

  Args:
    head: of one chain, as `Head.member` of an ensemble.
    params: of M chains, stacked.
  """
  greedy = require(head, 'greedy', 'orders')
  members = len(jax.tree.leaves(params)[0])
  pairs = max(1.0, members * (members - 1) / 2.0)

  def count(h, y, known, weight):
    decided = jax.lax.map(lambda member: greedy(member, h), params)
    right = decided == y[None]
    ones = jnp.sum(decided, axis=0)
    differing = ones * (members - ones) / pairs
    in_full = jnp.where(jnp.all(known > 0, axis=-1), weight, 0.0)
    return Orders(
      jax.vmap(lambda one: mean(one, known))(right),
      jax.vmap(lambda one: mean(jnp.all(one, axis=-1), in_full))(right),
      mean(differing, weight[:, None]),
    )

  return count


def of_members(
  question: Callable[[Head, Params], Count], head: Head, params: Params
) -> Count:
  """Asks each of several heads, stacked on the leading axis of `params`."""

  def count(h, y, known, weight):
    def one(member):
      return question(head, member)(h, y, known, weight)

    return jax.lax.map(one, params)

  return count
