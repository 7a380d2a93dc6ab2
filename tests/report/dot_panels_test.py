"""Dots stand where their numbers are, in the row of their contender."""

import numpy as np

from mlc.report.dot_panels import dot_panels


def test_dots_rings_and_lines():
  dots = {
    'plain': {'a': (1.0, 0.5, 1.5), 'b': (2.0, 2.0, 2.0)},
    'new_one': {'a': (3.0, 2.0, 5.0)},
  }
  figure = dot_panels(
    [[('left', dots), ('right', {})], [('below', dots)]],
    x='points',
    families={'plain': 'old', 'new_one': 'new'},
  )
  left, right, below, empty = figure.axes
  found = {}
  for container in left.containers:
    line = container.lines[0]
    (x,), (y,) = line.get_xdata(), line.get_ydata()
    filled = line.get_markerfacecolor() != 'white'
    found[round(y), filled] = x
  assert found == {(0, True): 1.0, (0, False): 2.0, (1, True): 3.0}
  spans = [
    segment
    for container in left.containers
    for segment in container.lines[2][0].get_segments()
  ]
  np.testing.assert_allclose(sorted(s[0][0] for s in spans), [0.5, 2.0, 2.0])
  np.testing.assert_allclose(sorted(s[1][0] for s in spans), [1.5, 2.0, 5.0])
  upright = [
    line.get_xdata()[0]
    for line in left.lines
    if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2
  ]
  assert sorted(upright) == [1.0, 2.0]
  assert [t.get_text() for t in left.get_yticklabels()] == ['plain', 'new one']
  # The first row reads downwards.
  assert left.get_ylim()[0] > left.get_ylim()[1]
  assert not right.containers
  assert below.get_title() == 'below'
  assert not empty.axison
  (legend,) = figure.legends
  words = [text.get_text() for text in legend.get_texts()]
  assert words == ['old', 'new', 'a', 'b']
