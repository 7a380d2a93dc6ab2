"""Stacked binary relevance: a second level reads what a first one predicts."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from mlc.base import Head
from mlc.heads import chain_inference
from mlc.heads.product import product
from mlc.numerics import log_bernoulli, masked_sum


def stacked(
  num_labels: int,
  *,
  kind: Literal['meta', 'dependent', 'nested'] = 'meta',
  folds: int = 5,
  feed: Literal['probability', 'decision'] = 'probability',
) -> Head:
  """Logistic regressions on h and on first predictions of the labels.

      P(y_j = 1 | h) = sigmoid(w_j . h + b_j + sum_i v_ij m_i(h))

  where i runs over the labels that kind lets j read:

      meta       all labels; m is binary relevance
      dependent  all but j; m is binary relevance, and in training the true y
      nested     those before j in the data's order; m is a chain of the same
                 form that reads its own m_i in place of true labels

  Predictions that a model makes of the rows it was trained on are too good to
  learn from. For meta and nested there are therefore `folds` first models, all
  in one array. Model k is trained on rows with fold(row) != k, fold being a
  hash of the row's position in the data set. A training row is given the m of
  the one model that has not seen it, a new row the mean over the models. (Only
  the first level is so divided: an encoder that is trained along sees all
  rows.) A dependent second level needs none of this, and one first model.

  Both levels are trained together by `objective`, the sum of their
  cross-entropies over known labels, in which m is a constant: no gradient goes
  from the second level to the first. It is not the gradient of one function,
  so train with adamw; a line search may stall. An unknown label is given to a
  dependent second level as its prediction.

  Given h the labels are independent: the second level sharpens marginals, as
  label attention does. `log_prob` is the likelihood of the final product; it
  is not what `objective` minimises, and as the loss `nll` it would train both
  levels end to end, without folds, as one network.

  Args:
    num_labels: L.
    kind: what the second level reads.
    folds: number of first models, at least 2; `dependent` takes no notice.
    feed: whether m is a probability or the decision at one half.

  Returns:
    A head; every capability is closed-form. Parameters: `first` (`kernel`
    [folds, D, L], `bias` [folds, L], for nested `links` [folds, L, L]),
    `kernel` [D, L], `bias` [L] and `links` [L, L], of which entry [i, j] counts
    where label j may read label i.

  Raises:
    ValueError: for an unknown option, or fewer than 2 folds; by `objective`,
      for a batch without `row` where there are folds.

  References:
    Godbole, Sarawagi, Discriminative methods for multi-labeled classification,
    PAKDD 2004 (meta).
    Montanes, Senge, Barranquero, Quevedo, del Coz, Hullermeier, Dependent
    binary relevance models for multi-label classification, Pattern Recognition
    47, 2014 (dependent).
    Senge, del Coz, Hullermeier, Rectifying classifier chains for multi-label
    classification, LWA 2013 (nested stacking).
    Wolpert, Stacked generalization, Neural Networks 5, 1992 (folds).
  """
  _check_options(kind, folds, feed)
  models = 1 if kind == 'dependent' else folds

  def init(key, h, y, *, where=None, weight=None):
    del y, where, weight
    first_key, second_key = jax.random.split(key)
    kernel = jax.nn.initializers.lecun_normal()
    shape = (h.shape[-1], num_labels)
    first = {
      'kernel': jax.vmap(lambda key: kernel(key, shape, h.dtype))(
        jax.random.split(first_key, models)
      ),
      'bias': jnp.zeros((models, num_labels), h.dtype),
    }
    if kind == 'nested':
      first['links'] = jnp.zeros((models, num_labels, num_labels), h.dtype)
    return {
      'first': first,
      'kernel': kernel(second_key, shape, h.dtype),
      'bias': jnp.zeros(num_labels, h.dtype),
      'links': jnp.zeros((num_labels, num_labels), h.dtype),
    }

  def apply(params, h, *, key=None):
    del key
    base = _base(params['first'], h)
    m = _predictions(kind, feed, params['first'], base)
    return _second_level(kind, params, h, jnp.mean(m, axis=0))

  head = product('stacked', num_labels, init, apply)
  return head._replace(objective=_objective(kind, feed))


def _objective(kind, feed):
  """Both levels' cross-entropies, what they read being constant."""

  def objective(params, h, batch, *, key=None):
    del key
    base = _base(params['first'], h)
    constant = jax.lax.stop_gradient((params['first'], base))
    m = _predictions(kind, feed, *constant)
    first = base
    if kind == 'nested':
      first = base + jnp.einsum('mbi,mij->mbj', m, _links(params['first']))
    seen = jnp.ones(m.shape[:2], bool)
    if kind == 'dependent':
      m = _where_unknown(m[0], batch)
    else:
      seen = _seen(batch, len(m))
      m = jnp.sum(jnp.where(seen[:, :, None], 0.0, m), axis=0)
    second = _second_level(kind, params, h, m)
    y = jnp.broadcast_to(batch.y[None], first.shape)
    of_first = jnp.where(seen[:, :, None], log_bernoulli(first, y), 0.0)
    total = jnp.sum(of_first, axis=0) + log_bernoulli(second, batch.y)
    return -masked_sum(total, batch.where)

  return objective


def _seen(batch, folds):
  """Whether a model is trained on a row, [folds, B]."""
  if batch.row is None:
    raise ValueError(
      f'head stacked with folds={folds} got a batch without `row`; it tells by '
      'it which rows a model has seen.'
    )
  return fold_of(batch.row, folds)[None, :] != jnp.arange(folds)[:, None]


def _where_unknown(m, batch):
  """The true labels, and predictions of those that are unknown."""
  return batch.y if batch.where is None else jnp.where(batch.where, batch.y, m)


def fold_of(row: Int[Array, ' batch'], folds: int) -> Int[Array, ' batch']:
  """The fold of each row: a hash of its position, modulo the folds.

  Neighbours and every n-th row of a file may be alike; the hash does not care.
  """
  # lowbias32 of https://github.com/skeeto/hash-prospector, public domain.
  x = row.astype(jnp.uint32)
  x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
  x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
  return ((x ^ (x >> 16)) % folds).astype(jnp.int32)


def _base(first, h):
  """What h alone says at the first level, [models, B, L]."""
  base = jnp.einsum('bd,mdl->mbl', h, first['kernel'])
  return base + first['bias'][:, None, :]


def _links(first):
  return jnp.triu(first['links'], 1)


def _predictions(kind, feed, first, base):
  """What the second level is fed, [models, B, L]."""
  soft = feed == 'probability'
  if kind != 'nested':
    return jax.nn.sigmoid(base) if soft else (base > 0).astype(base.dtype)

  def one_chain(base, links):
    zeros = jnp.zeros_like(base)
    return chain_inference.one_pass(base, links, zeros, soft=soft)[0]

  return jax.vmap(one_chain)(base, _links(first))


def _second_level(kind, params, h, m):
  links = params['links']
  if kind == 'dependent':
    links = links * (1.0 - jnp.eye(len(links), dtype=links.dtype))
  elif kind == 'nested':
    links = jnp.triu(links, 1)
  return h @ params['kernel'] + params['bias'][None, :] + m @ links


def _check_options(kind, folds, feed):
  if kind not in ('meta', 'dependent', 'nested'):
    raise ValueError(
      f"stacked got kind={kind!r}; it takes 'meta', 'dependent' or 'nested'."
    )
  if folds < 2:
    raise ValueError(
      f'stacked got folds={folds}; with fewer than 2 every first model has '
      'seen every row.'
    )
  if feed not in ('probability', 'decision'):
    raise ValueError(
      f"stacked got feed={feed!r}; it takes 'probability' or 'decision'."
    )
