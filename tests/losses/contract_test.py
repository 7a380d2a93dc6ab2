"""What every loss of logits must do: masks, limits, extreme logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import losses
from mlc.methods import LOSSES

# By another way than logits; see losses_test.py.
OTHERS = {'nll', 'own'}
WITH_OPTIONS = {
  'balanced': losses.sigmoid_cross_entropy(
    class_weight='balanced', positive_weight=2.0, label_smoothing=0.1
  ),
  'positive': losses.sigmoid_cross_entropy(class_weight='positive'),
  'focal_half': losses.focal(gamma=0.5),
  'asymmetric_half': losses.asymmetric(
    gamma_positive=1.0, gamma_negative=0.5, reduction='mean'
  ),
  'class_balanced_focal': losses.class_balanced(gamma=2.0),
  'distribution_balanced_focal': losses.distribution_balanced(gamma=2.0),
  'softmax_smoothed': losses.softmax_cross_entropy(
    label_smoothing=0.1, class_weight='balanced'
  ),
  'softmax_class_balanced_focal': losses.softmax_class_balanced(gamma=0.5),
  'approx_ndcg_sharp': losses.approx_ndcg(temperature=0.1),
  'soft_f1_macro_steep': losses.soft_f1_macro(slope=3.0, offset=1.0),
}
ALL = {
  name: make() for name, make in LOSSES.items() if name not in OTHERS
} | WITH_OPTIONS


@pytest.fixture(scope='module')
def everything(apply, quick_jit):
  """(logits, y, where, weight) -> name -> (values [B], gradient [B,L]).

  All losses in one program, which compiles faster than each in its own.
  """

  def of_each(logits, y, where, weight):
    found = {}
    for name, loss in ALL.items():

      def total(z, loss=loss, name=name):
        classes = name.startswith('softmax')
        values = apply(loss, z, y, where, weight, classes=classes)
        return jnp.sum(values.astype(jnp.float32)), values

      gradient, values = jax.grad(total, has_aux=True)(logits)
      found[name] = values, gradient
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), found)

  compiled = quick_jit(of_each)
  return lambda *rows: jax.device_get(compiled(*rows))


@pytest.mark.slow
def test_masked_is_absent(everything, rows):
  """The value, and the gradient, are those of the known labels alone."""
  logits, y = rows
  known = np.asarray([True, False, True, True, False])
  where = jnp.broadcast_to(jnp.asarray(known), y.shape)
  weight = jnp.ones(len(y))
  # What stands in a masked place says nothing.
  masked = everything(logits, jnp.where(where, y, 1.0 - y), where, weight)
  alone = everything(
    logits[:, known], y[:, known], jnp.ones((len(y), 3), bool), weight
  )
  for name, (values, gradient) in masked.items():
    expected, slope = alone[name]
    assert values.shape == (len(y),), name
    np.testing.assert_allclose(values, expected, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(
      gradient[:, known], slope, rtol=1e-4, atol=1e-6, err_msg=name
    )
    # Of softmax what cancels does so but for rounding.
    atol = 1e-6 if name.startswith('softmax') else 0.0
    np.testing.assert_allclose(
      gradient[:, ~known], 0.0, atol=atol, err_msg=name
    )


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.slow
def test_no_value_and_no_gradient_is_nan(everything, dtype):
  """Huge logits, rows with no, one and all labels, and with nothing known."""
  y = [[0] * 5, [1] * 5, [0, 1, 0, 0, 1], [1, 0, 1, 1, 0]]
  y += [[0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0] * 5, [1, 0, 0, 1, 1]]
  y = jnp.asarray(y, dtype)
  size = jnp.asarray([0.0, 1.0, -1.0, 1e4, -1e4], dtype)
  logits = jnp.tile(size[None], (len(y), 1))
  known = np.arange(len(y)) < 6
  where = jnp.broadcast_to(jnp.asarray(known)[:, None], y.shape)
  # A row of weight 0 is padding.
  weight = jnp.ones(len(y), dtype).at[2].set(0.0)
  for name, (values, gradient) in everything(logits, y, where, weight).items():
    assert np.isfinite(values).all(), name
    assert np.isfinite(gradient).all(), name
    assert not gradient[~known].any(), name
    # Rows share the value of their batch there.
    if not name.startswith('soft_f1_macro'):
      assert not values[~known].any(), name


def test_where_nothing_is_known_there_is_nothing_to_lose(everything, rows):
  logits, y = rows
  found = everything(logits, y, jnp.zeros(y.shape, bool), jnp.ones(len(y)))
  for name, (values, gradient) in found.items():
    assert not values.any(), name
    assert not gradient.any(), name
