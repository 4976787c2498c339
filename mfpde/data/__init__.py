"""Data sets: generators, files, and their preparation for a mean-field problem.

Two steps. A source gives raw samples: `spirals`, `rings`, `moons`, `curve`,
`teacher`, `gaussian`, `digits`, `mnist5000`, `from_csv`, `from_npy` or `from_npz`. Then
`prepare` splits, standardises, projects and encodes them into a `Dataset`, whatever is
fitted being fitted on the training samples alone. `load` does both from the ``[data]``
table of a configuration, and `SOURCES` lists what that table may hold.

Examples
--------
>>> from mfpde import data
>>> x, labels = data.spirals(200, seed=1)
>>> dataset = data.prepare(x, labels, test_fraction=0.25, pad_to=3)
>>> dataset.x.shape, dataset.y.shape, dataset.x_test.shape
((150, 3), (150, 2), (50, 3))
"""

from mfpde.data.files import from_csv, from_npy, from_npz
from mfpde.data.generators import curve, gaussian, moons, rings, spirals, teacher
from mfpde.data.images import digits, digits_path, mnist5000
from mfpde.data.joining import Table
from mfpde.data.kinds import Option, source
from mfpde.data.kinds import check_of as check_of
from mfpde.data.preparation import Dataset, prepare
from mfpde.data.preprocessing import (
    inverse_transform,
    inverse_transform_targets,
    principal_components,
    standardisation,
    transform,
)
from mfpde.data.sources import (
    SOURCES,
    check_description,
    encoding_of,
    load,
    task_problems,
)
from mfpde.data.splitting import split
from mfpde.data.targets import one_hot, signs

__all__ = [
    "SOURCES",
    "Dataset",
    "Option",
    "Table",
    "check_description",
    "curve",
    "digits",
    "digits_path",
    "encoding_of",
    "from_csv",
    "from_npy",
    "from_npz",
    "gaussian",
    "inverse_transform",
    "inverse_transform_targets",
    "load",
    "mnist5000",
    "moons",
    "one_hot",
    "prepare",
    "principal_components",
    "rings",
    "signs",
    "source",
    "spirals",
    "split",
    "standardisation",
    "task_problems",
    "teacher",
    "transform",
]
