"""Small training sets with rare labels."""

from collections.abc import Callable

import numpy as np
import pytest

from mlc.data.resampling import Rows


@pytest.fixture
def draw() -> Callable[..., Rows]:
  """Rows of random features, and labels of the given shares."""

  def make(
    seed: int,
    shares=(0.6, 0.4, 0.3, 0.08, 0.05),
    n: int = 200,
    unknown: float = 0.0,
    one_label: bool = False,
  ) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    y = (rng.random((n, len(shares))) < shares).astype(np.uint8)
    if one_label:
      chosen = rng.choice(len(shares), n, p=np.divide(shares, sum(shares)))
      y = np.eye(len(shares), dtype=np.uint8)[chosen]
    where = None
    if unknown:
      where = rng.random(y.shape) >= unknown
      y = y * where.astype(np.uint8)
    return Rows(x, y, where)

  return make
