"""SVG that stands in a page: one palette, identifiers of its own, no script."""

import html
import re
import zlib
from collections.abc import Mapping

# Name of the CSS variable -> colour on paper. Blue and orange stay apart for
# every common kind of colour blindness.
COLOURS: Mapping[str, str] = {
  'ink': '#1f2431',
  'muted': '#667086',
  'line': '#d5d9e1',
  'good': '#0b6bb9',
  'bad': '#b8500c',
}
_INCH = 96.0  # CSS pixels
_GROWTH = 1.25  # of a panel at most, where the screen has room


def for_page(svg: str, text: str = '', *, themed: bool = True) -> str:
  """An SVG made fit to stand in a page.

  The prolog and metadata go, identifiers get a prefix of their own, so that
  two figures do not share them, the fixed size becomes a greatest width, and
  the colours of `COLOURS` become CSS variables.

  Args:
    svg: of matplotlib or another source that is trusted.
    text: what it shows, for those who cannot see it.
    themed: whether colours become variables; else they stay as on paper.

  Raises:
    ValueError: it is no SVG, or holds a script.
  """
  body = re.search(r'<svg\b.*</svg>', svg, re.DOTALL)
  if not body or re.search(r'<script|\son\w+\s*=|javascript:', svg, re.I):
    raise ValueError(
      'a figure of a report must be an <svg> element without scripts, given: '
      f'{svg[:60]!r}. Save it with matplotlib as SVG.'
    )
  out = re.sub(r'<metadata>.*?</metadata>', '', body.group(), flags=re.DOTALL)
  prefix = f'f{zlib.crc32(out.encode()):08x}-'
  out = re.sub(r'\bid="', f'id="{prefix}', out)
  out = re.sub(r'url\(#', f'url(#{prefix}', out)
  out = re.sub(r'href="#', f'href="#{prefix}', out)
  out = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", 'system-ui, sans-serif', out)
  for name, colour in COLOURS.items() if themed else ():
    out = out.replace(colour, f'var(--{name}, {colour})')
  return re.sub(
    r'<svg\b[^>]*>', lambda m: _opening(m.group(), text), out, count=1
  )


def _opening(tag: str, text: str) -> str:
  """The <svg ...> tag with a greatest width in place of a size."""
  box = re.search(r'viewBox="([^"]*)"', tag)
  if not box:
    return tag
  width = float(box.group(1).split()[2]) * _INCH / 72.0 * _GROWTH
  label = html.escape(text)
  return (
    f'<svg xmlns="http://www.w3.org/2000/svg" '
    f'xmlns:xlink="http://www.w3.org/1999/xlink" {box.group()} role="img" '
    f'aria-label="{label}" style="width:100%;max-width:{width:.0f}px">'
  )
