"""Coherent predictions on a hierarchy: no label without its parents."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from mlc import distribution
from mlc.base import Head
from mlc.heads import siblings as families
from mlc.heads.enumerated import enumerated
from mlc.heads.label_dag import dag, to_parents, upwards
from mlc.numerics import log1mexp, masked_sum


def hierarchical(
  num_labels: int,
  hierarchy: np.ndarray | None,
  *,
  kind: Literal['max_constraint', 'conditional'] = 'max_constraint',
  siblings: Literal['independent', 'exclusive'] = 'independent',
) -> Head:
  """Labels on a directed acyclic graph, with f(h) = W h + b.

  'max_constraint' makes the marginals coherent: a label is as likely as the
  likeliest of D(j), which is j and its descendants.

      P(y_j = 1 | h) = max_{k in D(j)} sigmoid(f_k)                      (MCM)
      objective = - sum_j y_j log max_{k in D(j)} y_k sigmoid(f_k)
                  - sum_j (1 - y_j) log (1 - P(y_j = 1 | h))          (MCLoss)

  A positive label may lean on a positive descendant only; where labels are the
  other way about, plain cross-entropy of the maximum would reward a wrong one.
  There is no joint: any decision by one threshold is coherent.

  'conditional' makes the joint coherent, and `objective` is -log p(y | h):

      p(y | h) = prod_j P(y_j | h, parents of j),  y_j = 0 if a parent is off
      P(y_j = 1 | h, all parents on) = sigmoid(f_j),   siblings='independent'
                   exp(f_j) / (1 + sum_{k sibling or j} exp f_k), 'exclusive'

  so that its support are the vectors with every ancestor of every label, and
  with exclusive siblings (labels without a parent are siblings too) the paths
  from a root downwards. Marginals are products along the ancestors, whatever
  the graph. The mode is found leaves first; where a label has two parents, the
  same pass counts it once for each, and beyond 16 labels that is a search.

  Args:
    num_labels: L.
    hierarchy: bool [L, L], entry [child, parent].
    kind: what is made coherent.
    siblings: of 'conditional', whether children of one parent exclude each
      other; each label has one parent at most then.

  Returns:
    A head. 'max_constraint' gives `logits` (those of the marginals),
    `marginals` and `objective`; 'conditional' gives all, `partial` and
    `cardinality_marginals` up to 16 labels, where they are enumerated. Its
    `logits` are the log-odds of the marginals. Parameters: `kernel` [D, L],
    `bias` [L].

  Raises:
    ValueError: no hierarchy, one with a cycle or of another size, exclusive
      siblings of several parents or without a joint.

  References:
    Giunchiglia, Lukasiewicz, Coherent hierarchical multi-label classification
    networks, NeurIPS 2020, section 3 (MCM, MCLoss).
    Redmon, Farhadi, YOLO9000, CVPR 2017, section 4 (softmax over siblings;
    here with one more outcome, none of them).
    Cesa-Bianchi, Gentile, Zaniboni, Incremental algorithms for hierarchical
    classification, JMLR 7, 2006, section 2 (P(y_j | parent on)).
  """
  _check_options(kind, siblings)
  graph = dag(num_labels, hierarchy)
  if kind == 'max_constraint':
    return _max_constraint(graph)
  if siblings == 'independent':
    return _conditional(graph, families.independent(graph))
  if not graph.is_forest:
    raise ValueError(
      'hierarchical got siblings=exclusive and labels with several parents; '
      'take siblings=independent, or leave each label one parent.'
    )
  return _conditional(graph, families.exclusive(graph))


def _scores(params, h):
  return h @ params['kernel'] + params['bias'][None, :]


def _init(num_labels):
  def init(key, h, y, *, where=None, weight=None):
    del y, where, weight
    kernel = jax.nn.initializers.lecun_normal()
    return {
      'kernel': kernel(key, (h.shape[-1], num_labels), h.dtype),
      'bias': jnp.zeros(num_labels, h.dtype),
    }

  return init


# The max constraint: marginals.


def _max_constraint(graph):
  def highest(f):
    """max_{k in D(j)} f_k."""

    def step(values):
      below = to_parents(values, graph, jax.ops.segment_max)
      return jnp.maximum(values, below)

    return upwards(step, f, graph)

  def logits(params, h, y=None, *, key=None):
    del y, key
    return highest(_scores(params, h))

  def marginals(params, h, *, key=None):
    return jax.nn.sigmoid(logits(params, h, key=key))

  def objective(params, h, batch, *, key=None):
    del key
    f, positive = _scores(params, h), batch.y > 0
    # Finite, for the gradient of the maximum of labels that are all off.
    least = jnp.finfo(f.dtype).min
    leaning_on = highest(jnp.where(positive, f, least))
    z = jnp.where(positive, leaning_on, -highest(f))
    return -masked_sum(jax.nn.log_sigmoid(z), batch.where)

  return Head(
    name='hierarchical_max_constraint',
    num_labels=graph.num_labels,
    exactness={'marginals': 'closed-form'},
    init=_init(graph.num_labels),
    logits=logits,
    marginals=marginals,
    objective=objective,
  )


# The conditional kind: a joint.


def _conditional(graph, family):
  num_labels = graph.num_labels

  def log_p(f, y):
    value = jnp.sum(family.features(y) * family.scores(f), axis=-1)
    return jnp.where(family.possible(y), value, -jnp.inf)

  def log_prob(params, h, y, *, key=None):
    del key
    return log_p(_scores(params, h), y)

  def log_marginals(params, h):
    # A label is on when it and all above it would be if they could.
    return family.log_on(_scores(params, h)) @ graph.ancestors.T

  def marginals(params, h, *, key=None):
    del key
    return jnp.exp(log_marginals(params, h))

  def logits(params, h, y=None, *, key=None):
    del y, key
    on = log_marginals(params, h)
    on = jnp.minimum(on, -jnp.finfo(on.dtype).tiny)
    return on - log1mexp(on)

  def conditional(params, h, y):
    each = distribution.conditional_from_log_prob(lambda f, _, y: log_p(f, y))
    return each(_scores(params, h), None, y)

  def objective(params, h, batch, *, key=None):
    if batch.where is not None:
      raise ValueError(
        'hierarchical with kind=conditional got a batch with unknown labels '
        '(`where` is given); it needs every label. Choose '
        'kind=max_constraint, which sums over the known ones.'
      )
    return -log_prob(params, h, batch.y, key=key)

  sample, greedy, mode = _decisions(graph, family, log_p)
  head = Head(
    name='hierarchical_conditional',
    num_labels=num_labels,
    exactness={
      'marginals': 'closed-form',
      'mode': 'closed-form' if graph.is_forest else 'searched',
      'conditional': 'closed-form',
    },
    init=_init(num_labels),
    logits=logits,
    log_prob=log_prob,
    marginals=marginals,
    sample=sample,
    mode=mode,
    greedy=greedy,
    conditional=conditional,
    objective=objective,
    support=family.possible,
  )
  if num_labels > distribution.MAX_TABLE_LABELS:
    return head
  return _with_table(head, graph, family)


def _decisions(graph, family, log_p):
  """`sample`, `greedy` and `mode`: each chooses, then closes upwards."""

  def closed(chosen, f):
    """The labels that are chosen with all above them."""
    off = (1.0 - chosen.astype(f.dtype)) @ graph.ancestors.T
    return (off == 0).astype(f.dtype)

  def sample(params, key, h, n):
    f = _scores(params, h)
    noise, none = family.noise(key, (n, *f.shape), f.dtype)
    return closed(family.choose(f[None] + noise, none), f)

  def greedy(params, h):
    f = _scores(params, h)
    return closed(family.choose(f), f)

  def mode(params, h):
    f = _scores(params, h)
    start = family.below(f, jnp.full_like(f, -jnp.inf))
    value = upwards(lambda value: family.below(f, value), start, graph)
    best = closed(family.choose(f + value), f)
    if graph.is_forest:
      return best
    short = closed(family.choose(f), f)
    better = log_p(f, short) > log_p(f, best)
    return jnp.where(better[:, None], short, best)

  return sample, greedy, mode


def _with_table(head, graph, family):
  """The head, and what few labels allow by enumeration."""

  def joint(params, h):
    vectors = distribution.label_vectors(head.num_labels)
    table = family.scores(_scores(params, h)) @ family.features(vectors).T
    return jnp.where(family.possible(vectors)[None, :], table, -jnp.inf)

  table = enumerated(head.name, head.num_labels, head.init, joint)
  own = dict(head.exactness)
  if not graph.is_forest:
    del own['mode']
  return head._replace(
    exactness={**table.exactness, **own},
    joint=joint,
    mode=head.mode if graph.is_forest else table.mode,
    partial=table.partial,
    cardinality_marginals=table.cardinality_marginals,
  )


def _check_options(kind, siblings):
  if kind not in ('max_constraint', 'conditional'):
    raise ValueError(
      f'hierarchical got kind={kind!r}; it takes '
      "'max_constraint' (coherent marginals) or 'conditional' (a joint)."
    )
  if siblings not in ('independent', 'exclusive'):
    raise ValueError(
      f"hierarchical got siblings={siblings!r}; it takes 'independent' or "
      "'exclusive'."
    )
  if siblings == 'exclusive' and kind == 'max_constraint':
    raise ValueError(
      'hierarchical got siblings=exclusive and kind=max_constraint, which has '
      'no joint that could exclude. Choose kind=conditional.'
    )
