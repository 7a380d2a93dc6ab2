"""How the children of one parent depend on each other, given that it is on."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mlc.heads.label_dag import Dag, has_parents, parents_on, to_parents


class Siblings(NamedTuple):
  """A distribution over the vectors of a hierarchy, as a log-linear model.

      log p(y | f) = sum_k features(y)_k scores(f)_k,   where y is possible

  Attributes:
    features: y [..., L] -> [..., K].
    scores: f [..., L] -> [..., K].
    possible: y [..., L] -> [...], True where p(y | f) > 0; of numpy or jax
      arrays.
    log_on: f -> log P(y_j = 1 | f, parents on) [..., L].
    below: (f, value [..., L]) -> [..., L], log P of the likeliest children of
      each label that is on, where to turn child j on is worth value_j more.
    choose: (f, none) -> bool [..., L], the likeliest for labels whose parents
      are on; `none` is added to what a group without a label scores.
    noise: (key, shape [..., L], dtype) -> what to add to f, and `none`, that
      make of `choose` a draw.
  """

  features: Callable[..., Array]
  scores: Callable[..., Array]
  possible: Callable[..., Array]
  log_on: Callable[..., Array]
  below: Callable[..., Array]
  choose: Callable[..., Array]
  noise: Callable[..., tuple[Array, Array | float]]


def independent(graph: Dag) -> Siblings:
  """P(y_j = 1 | f, parents on) = sigmoid(f_j), whatever the siblings."""

  def features(y):
    active = parents_on(y, graph)
    return jnp.concatenate([active * y, active * (1.0 - y)], axis=-1)

  def scores(f):
    both = [jax.nn.log_sigmoid(f), jax.nn.log_sigmoid(-f)]
    return jnp.concatenate(both, axis=-1)

  def possible(y):
    return has_parents(y, graph)

  def below(f, value):
    best = jax.nn.log_sigmoid(-f) + jax.nn.relu(f + value)
    return to_parents(best, graph, jax.ops.segment_sum)

  def choose(f, none=0.0):
    del none
    return f > 0

  def noise(key, shape, dtype):
    return jax.random.logistic(key, shape, dtype), 0.0

  return Siblings(
    features=features,
    scores=scores,
    possible=possible,
    log_on=jax.nn.log_sigmoid,
    below=below,
    choose=choose,
    noise=noise,
  )


def exclusive(graph: Dag) -> Siblings:
  """At most one child of each parent: a softmax with the outcome `none`.

      P(y_j = 1 | f, parent on) = exp(f_j) / (1 + sum_{k in the group} exp f_k)

  Labels without a parent are a group too. For forests only.
  """
  num_labels = graph.num_labels
  # A group for each parent, empty ones included; that of the roots comes last.
  group = np.full(num_labels, num_labels)
  group[graph.child] = graph.parent
  filled, starts = np.unique(np.sort(group), return_index=True)
  members = (group[:, None] == filled[None, :]).astype(np.float32)

  def over_groups(values, reduce):
    by_label = jnp.moveaxis(values, -1, 0)
    reduced = reduce(by_label, group, num_segments=num_labels + 1)
    return jnp.moveaxis(reduced, 0, -1)

  def log_total(f):
    """log(1 + sum_{k in the group} exp f_k), [..., groups]."""
    top = jax.nn.relu(over_groups(f, jax.ops.segment_max))
    top = jax.lax.stop_gradient(top)
    total = over_groups(jnp.exp(f - top[..., group]), jax.ops.segment_sum)
    return top + jnp.log(jnp.exp(-top) + total)

  def log_on(f):
    return f - log_total(f)[..., group]

  def features(y):
    parents = jnp.concatenate([y, jnp.ones_like(y[..., :1])], axis=-1)
    none = parents * (1.0 - over_groups(y, jax.ops.segment_sum))
    return jnp.concatenate([y, none], axis=-1)

  def scores(f):
    return jnp.concatenate([log_on(f), -log_total(f)], axis=-1)

  def possible(y):
    single = (y @ members <= 1.0).all(axis=-1)
    return has_parents(y, graph) & single

  def below(f, value):
    best = over_groups(f + value, jax.ops.segment_max)
    return (jax.nn.relu(best) - log_total(f))[..., :num_labels]

  def choose(f, none=0.0):
    # Sorted by group, and within by score: the best of each comes first.
    groups, labels = (
      jnp.broadcast_to(jnp.expand_dims(i, range(f.ndim - 1)), f.shape)
      for i in (group, np.arange(num_labels))
    )
    _, loss, label = jax.lax.sort((groups, -f, labels), num_keys=2)
    wins = -loss[..., starts] > none
    off = jnp.zeros(f.shape, bool)
    return jnp.put_along_axis(
      off, label[..., starts], wins, axis=-1, inplace=False
    )

  def noise(key, shape, dtype):
    label_key, none_key = jax.random.split(key)
    none_shape = (*shape[:-1], len(starts))
    return (
      jax.random.gumbel(label_key, shape, dtype),
      jax.random.gumbel(none_key, none_shape, dtype),
    )

  return Siblings(
    features=features,
    scores=scores,
    possible=possible,
    log_on=log_on,
    below=below,
    choose=choose,
    noise=noise,
  )
