"""Studies: many runs, one table, and a verdict on every claim.

A study is an object with tasks, a measurement for each task, and an analysis of all;
see `Study`. `run_study` does what is missing in a folder, through any executor of
`mfpde.executors`, and `open_study` reads the result.
"""

from mfpde.figures import Image, Panel, Series
from mfpde.studies.assemble import AssembledStudy, open_study
from mfpde.studies.configuration import load_study, resolve, resolved_text
from mfpde.studies.engine import Outcome, run_study
from mfpde.studies.report import Report, Verdict, verdict_table
from mfpde.studies.study import Study, Task, Variable
from mfpde.studies.table import Table

__all__ = [
    "AssembledStudy",
    "Image",
    "Outcome",
    "Panel",
    "Report",
    "Series",
    "Study",
    "Table",
    "Task",
    "Variable",
    "Verdict",
    "load_study",
    "open_study",
    "resolve",
    "resolved_text",
    "run_study",
    "verdict_table",
]
