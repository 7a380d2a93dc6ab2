"""Runs a study: every method on every data set, then tables and a report.

    python launch.py                        # the study `dependence`
    python launch.py --study=classic --data_dir=DIR --datasets=emotions,scene
    python launch.py --dry_run              # says what would be run
    python launch.py --status               # says how far it is

A configuration that is done is skipped, a partial one continued, and a failed
one does not stop the others. Any flag of experiments/train.py overrides the
study's own value for every configuration. Results are in
`<workdir>/<study>/`: results.csv, summary.csv, report.html and figures as PDF.
"""

import sys

from experiments import edge, sweep

if __name__ == '__main__':
  sys.exit(edge.start(sweep.main, sweep.parse))
