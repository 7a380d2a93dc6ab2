"""Rows of logits and labels, and heads whose logits they are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.base import Batch
from mlc.heads.product import product

ROWS, LABELS = 8, 5


def given(num_labels):
  """A head whose logits are h itself, labels independent given it."""
  return product(
    'given', num_labels, lambda *_, **__: {}, lambda params, h, key=None: h
  )


def of_scores(num_labels):
  """A head of one class an example whose scores are h itself."""

  def logits(params, h, y=None, *, key=None):
    others = ~np.eye(num_labels, dtype=bool)[None]
    nothing = jnp.asarray(jnp.finfo(h.dtype).min / 4, h.dtype)
    rest = jnp.where(others, h[:, None, :], nothing)
    return h - jax.nn.logsumexp(rest, axis=-1)

  return given(num_labels)._replace(name='scores', logits=logits, one_hot=True)


def apply(loss, logits, y, where=None, weight=None, *, classes=False):
  """The loss of rows, told the counts of these very rows where it asks."""
  head = (of_scores if classes else given)(logits.shape[-1])
  state = ()
  if loss.fit is not None:
    state = loss.fit(y, where=where, weight=weight)
  return loss.apply(
    head, {}, logits, Batch(logits, y, where, weight), state=state
  )


@pytest.fixture(name='apply', scope='session')
def _apply():
  return apply


@pytest.fixture(scope='session')
def quick_jit():
  return functools.partial(
    jax.jit, compiler_options={'xla_backend_optimization_level': 0}
  )


@pytest.fixture(scope='session')
def rows():
  """Logits and labels; the first row has no label, the second has all."""
  rng = np.random.default_rng(0)
  logits = 3.0 * rng.normal(size=(ROWS, LABELS))
  y = rng.random((ROWS, LABELS)) < 0.4
  y[0], y[1] = False, True
  return jnp.asarray(logits, jnp.float32), jnp.asarray(y, jnp.float32)


@pytest.fixture(scope='session')
def one_hot_rows(rows):
  """The same logits, and one class a row; some classes are frequent."""
  classes = jnp.asarray([0, 1, 0, 3, 0, 3, 0, 4])
  return rows[0], jax.nn.one_hot(classes, LABELS)
