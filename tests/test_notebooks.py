"""Figures in a real notebook, executed by nbclient in a kernel of its own."""

import nbclient
import nbformat
import pytest

CELLS = {
    "page first": """
from types import SimpleNamespace
import numpy as np
from mfpde import plotting
columns = {name: np.array([3.0, 2.0, 1.0]) for name in ("loss", "objective")}
run = {"s": np.arange(3.0), "dissipation": np.ones(3), **columns}
source = SimpleNamespace(s=run["s"], scalars=run)
plotting.summary(source)
""",
    "ours": "plotting.loss(run)",
    "ours again": "plotting.loss(run);",
    "ours kept": "kept = plotting.loss(run)",
    "the user's own": """
from matplotlib import pyplot
pyplot.plot([1, 2]);
""",
    "both": """
plotting.loss(run)
pyplot.figure()
pyplot.plot([1, 2]);
""",
    "ours in the user's": """
figure, ax = pyplot.subplots()
plotting.loss(run, ax=ax);
""",
    "failed": """
try:
    plotting.loss({"s": np.arange(3.0)})
except ValueError as error:
    print("refused")
""",
    "page": "plotting.summary(source)",
    "page kept": "kept = plotting.summary(source)",
    "left": """
from matplotlib import rcParams
print(pyplot.get_fignums(), pyplot.isinteractive(), rcParams["figure.dpi"],
      rcParams["axes.spines.top"])
""",
}
IMAGES = {
    **{"page first": 1, "ours": 1, "ours again": 1, "ours kept": 1},
    **{"the user's own": 1, "both": 2, "ours in the user's": 1, "failed": 0},
    **{"page": 1, "page kept": 0, "left": 0},
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Outputs of each cell."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(text) for text in CELLS.values()]
    )
    folder = tmp_path_factory.mktemp("notebook")
    client = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return {
        name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)
    }


@pytest.mark.parametrize("name", IMAGES)
def test_every_figure_is_shown_once(outputs, name):
    images = [each for each in outputs[name] if "image/png" in each.get("data", {})]
    assert len(images) == IMAGES[name], outputs[name]


def test_settings_of_the_notebook_stay(outputs):
    assert outputs["failed"][0].text == "refused\n"
    (left,) = outputs["left"]
    assert left.text == "[] True 100.0 True\n"
