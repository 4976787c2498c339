"""A study: how the loss after a short flow depends on the number of layers."""

import numpy as np

import mfpde
from mfpde.studies import Report, Task, Variable, Verdict


@mfpde.register
class FinalLoss:
    """The loss at s = 0.1 of networks of some depths."""

    name = "final_loss"
    title = "Loss after a short flow"
    defaults = {"depths": [2, 4], "n_particles": 3}

    def problems(self, config):
        bad = [depth for depth in config["depths"] if depth < 1]
        return [f"`depths` must be at least 1, got {bad}."] if bad else []

    def axes(self, config):
        return {"depth": config["depths"]}

    def variables(self, config):
        return {"loss": Variable(("depth",), "loss at the end")}

    def references(self, config):
        return {}

    def tasks(self, config):
        return [Task({"depth": depth}) for depth in config["depths"]]

    def measure(self, task, config, references):
        grid = mfpde.DepthGrid.euler(task.coordinates["depth"])
        problem = mfpde.MeanFieldProblem([0.0, 1.0], [1.0, 2.0], mfpde.blocks.Bias(1))
        law = mfpde.laws.Gaussian(np.zeros(1), 1.0)
        start = law.sample(grid, config["n_particles"], seed=0)
        return {"loss": mfpde.solve(problem, grid, start, s_end=0.1).loss[-1]}

    def analyse(self, table, config):
        found = float(np.max(table["loss"]))
        verdict = Verdict("the loss is finite", 1.0, found, None, "confirmed", "finite")
        return Report([verdict], [], {})
