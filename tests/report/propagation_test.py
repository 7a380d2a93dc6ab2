"""The figure of propagation: a panel for what there is."""

import numpy as np
import pytest

from mlc.report.figures import saved
from mlc.report.propagation import Matrix, propagation_figure

NAMES = ['first', 'second', 'a name that is much too long for an axis']


@pytest.mark.slow
def test_a_panel_for_everything_that_is_known():
  matrix = Matrix('Moved', np.full((3, 3), 0.2), signed=True)
  lines = {'teacher forced': np.ones((2, 3)), 'free running': np.eye(3)[:2]}
  bars = {'greedy': 0.5, 'beam_2': 0.01}
  text = saved(propagation_figure(NAMES, lines, [matrix], bars))['svg'].decode()
  for said in ('Moved', 'teacher forced', 'beam 2', '50.0%', '1.0%', 'second'):
    assert said in text
  assert NAMES[2] not in text
  alone = propagation_figure(NAMES, {}, [matrix], {})
  text = saved(alone)['svg'].decode()
  assert 'Moved' in text and 'greedy' not in text


def test_nothing_moved_and_nothing_known_are_drawn_too():
  values = np.eye(3)
  values[0, 1] = np.nan
  for signed in (True, False):
    matrix = Matrix('Nothing', values, signed)
    assert saved(propagation_figure(NAMES, {}, [matrix], {}))['svg']
