"""Order of the blocks (theory, 1.4 and 5.8, rows 8 to 10; Lu et al. 2020).

Rows 8 and 10 are in `landscape` and `reordering`, shuffles in `shuffling`.
"""

from __future__ import annotations

import numpy as np

from mfpde.analysis.asymptotic import refinement_interval
from mfpde.analysis.resampling import bootstrap
from mfpde.blocks import Perceptron
from mfpde.depth import DepthGrid
from mfpde.papers.block_cases import COMMON, COMMUTING, ROUNDING, CaseExperiment
from mfpde.papers.ends import finished
from mfpde.papers.landscape import Landscape
from mfpde.papers.reordering import Commuting, Reordering
from mfpde.papers.shuffling import Shuffles
from mfpde.studies.cases import build_case
from mfpde.studies.collection import Collection
from mfpde.studies.curves import centre, curves, scatter
from mfpde.studies.judging import judge, judge_all
from mfpde.studies.orders import judge_order
from mfpde.studies.report import Report
from mfpde.studies.study import Variable
from mfpde.theory.joint import JointScheme, sample_joint, solve_joint
from mfpde.theory.joint.lesions import block_check
from mfpde.theory.shallow import compare_flows, scaled


class Commutators(CaseExperiment):
    """Row 9: blocks deleted and exchanged by hand, against Eqs. (5) and (20)."""

    name = "commutators"
    title = "Deleting and exchanging blocks of a trained network"
    description = (
        "How well the first variation (5) tells what deleting a block changes, and the "
        "commutator (20) what exchanging neighbours does; the error falls like 1/n."
    )
    limitations = (
        "Small data. One network is trained up to s and its blocks are divided, so "
        "that all n follow the same fields; none is trained at each n. Random orders "
        "of all blocks that do not commute are in `shuffles`."
    )
    claims = (9,)
    defaults = COMMON | {
        "used": ["spirals", "digits", "diagonal"],
        "blocks": [64, 128, 256, 512],
        "seeds": 24,
        "s": 1.0,
        "ds": 0.1,
        "commuting": COMMUTING,
        "exact": ["diagonal"],
        "tolerance": 0.1,
    }
    quick = {"blocks": [64, 128, 256]}
    analysis_keys = ("confidence", "tolerance", "exact")
    grid = {"case": "used", "n": "blocks", "seed": "seeds"}
    measured = {
        "exchange_error": "rms error of the commutator for n^2 (change of E), relative",
        "lesion_error": "rms error of the first variation, relative",
        "change": "change of E by many exchanges at once",
        "predicted": "the same by the sum of commutators, Eq. (20)",
        "shuffle": "|change of E| by a random order, relative to E",
    }
    positive, least = ("s", "ds", "blocks"), {"blocks": 3}

    def problems(self, config):
        """Also of depths, which are those of one network with its blocks divided."""
        found, blocks = super().problems(config), config["blocks"]
        if not found and any(n % blocks[0] for n in blocks):
            found.append(f"`blocks` must be multiples of the first, got {blocks}.")
        return found

    def cell(self, at, config, references):
        """Train a network a little, divide its blocks, delete and exchange some."""
        case, n = build_case(config, at["case"]), min(config["blocks"])
        block = case.problem.block
        start = sample_joint(case.law, n, seed=at["seed"], block=block)
        options = {"s_end": config["s"], "ds": config["ds"]}
        scheme = JointScheme(velocity="fixed")
        found = finished(
            solve_joint.quietly(case.problem, start, scheme=scheme, **options)
        )
        return block_check(case.problem, found.ensemble, at["n"] // n, seed=at["seed"])

    def analyse(self, table, config):
        """Orders in 1 / n, and the ratio of measured to predicted."""
        n, options = table.axes["n"], {"confidence": config["confidence"]}
        verdicts, fits, errors, changes = [], {}, {}, {}
        for name in table.axes["case"]:
            part = table.select(case=name)
            for kind, label in (("exchange", "exchanged"), ("lesion", "deleted")):
                if name in config["commuting"] and kind == "exchange":
                    continue
                values = part[f"{kind}_error"]
                key = f"{name}, {label}"
                claim = f"{key} blocks: order of the error in 1/n"
                verdict, fits[key] = judge_order(claim, 1.0, n, values, config, row=9)
                verdicts.append(verdict)
                errors[key] = (n, *centre(values))
            if name in config["commuting"]:
                if name not in config["exact"]:
                    continue
                holds = part["shuffle"] < ROUNDING
                claim = f"{name}: shuffling blocks that commute changes nothing"
                verdicts.append(judge_all(claim, holds, row=9))
                continue
            change, predicted = part["change"], part["predicted"]
            changes[name] = (1e6 * predicted[-1], 1e6 * change[-1])
            claim = f"{name}: change of E by many exchanges at once / Eq. (20)"
            found = _limit_of_slope(n, change, predicted, options)
            verdicts.append(judge(claim, 1.0, *found, config["tolerance"], row=9))
        title = "One block deleted, or one pair exchanged"
        panels = [curves(title, "blocks n", "relative error", errors, fits=fits)]
        if changes:
            title = f"Many pairs exchanged at once, n = {n[-1]}"
            labels = ("10^6 times change of E by Eq. (20)", "10^6 times change of E")
            ends = np.sort(np.concatenate([x for x, _ in changes.values()]))[[0, -1]]
            line = {"equal": (ends, ends)}
            panels.append(scatter(title, *labels, changes, bounds=line))
        return Report(verdicts, figures={self.name: panels})


def _limit_of_slope(n, y, x, options):
    """Slope of y over x (n, S), by least squares, for n -> inf, and its interval."""
    steps = 1.0 / np.array(n)[::-1]

    def limits(runs):
        slopes = np.sum(runs[..., 0] * runs[..., 1], axis=0)
        return _limits(steps, slopes / np.sum(runs[..., 1] ** 2, axis=0))

    runs = np.stack([y[::-1].T, x[::-1].T], axis=-1)
    value, chance = bootstrap(lambda drawn: limits(drawn)[0], runs, **options)
    reach = refinement_interval(*limits(runs))
    return value, (min(*chance, *reach), max(*chance, *reach))


def _limits(steps, values):
    """Limits for steps -> 0 of values that tend to one linearly, finer and coarser.

    By the lines through the two least steps, which increase, and through the next two.
    """
    ends = (slice(i, i + 2) for i in (0, 1))
    return [float(np.polyfit(steps[two], values[two], 1)[1]) for two in ends]


class ShallowEnsemble(CaseExperiment):
    """Row 9: f times eps against the two-layer network on the same particles."""

    name = "shallow"
    title = "Small blocks against the two-layer network"
    description = (
        "The gap between the outputs of residual and two-layer network, trained "
        "from the same particles up to s of order 1/eps, falls like eps^2."
    )
    limitations = (
        "The sharp constant is judged at s = 0, for particles constant in depth; later "
        "the order is. Only tanh, for which (21) has its constant."
    )
    claims = (9,)
    defaults = COMMON | {
        "used": ["spirals", "digits"],
        "eps": [0.0125, 0.025, 0.05, 0.1],
        "seeds": 12,
        "times": [0.0, 0.5, 1.0, 2.0],
        "n_particles": 16,
        "n_nodes": 3,
        "tolerance": 0.1,
        "tolerance_constant": 0.01,
    }
    quick = {"eps": [0.025, 0.05, 0.1]}
    grid = {"case": "used", "eps": "eps", "seed": "seeds"}
    analysis_keys = ("confidence", "tolerance", "tolerance_constant")
    measured = {
        "gap": Variable(("time",), "rms gap of z(1) to the two-layer flow"),
        "ratio": "rms gap at s = 0 over eps^2 times that of T8",
        "share": Variable(("time",), "largest gap over the bound (21)"),
    }
    positive = ("eps", "n_particles", "n_nodes")
    least, times = {"eps": 3}, ("times",)

    def problems(self, config):
        """Also of blocks: the constants of (21) and T8 are known for one of them."""
        found = super().problems(config)
        for name in config["used"] if not found else ():
            block = build_case(config, name).problem.block
            if not isinstance(block, Perceptron) or block.activation != "tanh":
                found.append(
                    f"`used` must name cases whose block is a perceptron with tanh, "
                    f"got {name!r} with {block!r}."
                )
        return found

    def further_axes(self, config):
        """Training times, in units of 1 / eps."""
        return {"time": config["times"]}

    def cell(self, at, config, references):
        """Train both networks from the same particles."""
        case = build_case(config, at["case"])
        problem = scaled(case.problem, at["eps"])
        grid, m = DepthGrid.gauss(config["n_nodes"]), config["n_particles"]
        start = case.law.sample(grid, m, coupling="tied", seed=at["seed"])
        found = compare_flows(
            problem, grid, start, np.array(config["times"]) / at["eps"]
        )
        gap, first = found.flow_gap, found.measures[0]
        limit = np.sqrt(np.mean(first.limit**2))
        share = [np.max(each.gap / each.bound) for each in found.measures]
        return {"gap": gap, "ratio": gap[0] / limit, "share": share}

    def analyse(self, table, config):
        """Order in eps at every time, the constant at s = 0, and the bound."""
        eps, verdicts, panels = table.axes["eps"], [], []
        inverse = 1.0 / np.array(eps)[::-1]
        for name in table.axes["case"]:
            part, shown, fits = table.select(case=name), {}, {}
            for i, time in enumerate(config["times"]):
                values = part["gap"][::-1, :, i]
                label = f"s = {time:g}/eps" if time else "s = 0"
                claim = f"{name}: order of the gap in eps at {label}"
                verdict, fits[label] = judge_order(
                    claim, 2.0, inverse, values, config, row=9
                )
                verdicts.append(verdict)
                shown[label] = (inverse, *centre(values))
            ends = _limits(eps, part["ratio"].mean(axis=1))
            claim = f"{name}: gap / (eps^2 |dF F| / 2) as eps -> 0, s = 0 (T8)"
            sure = refinement_interval(*ends), config["tolerance_constant"]
            verdicts.append(judge(claim, 1.0, ends[0], *sure, row=9))
            claim = f"{name}: the gap is not above (21)"
            verdicts.append(judge_all(claim, part["share"] <= 1.0, row=9))
            panels.append(
                curves(name, "1 / eps", "rms gap of outputs", shown, fits=fits)
            )
        return Report(verdicts, figures={self.name: panels})


STUDY = Collection(
    "reorder",
    "Order of the blocks, shallow ensembles and the landscape",
    (
        Commutators(),
        Shuffles(),
        ShallowEnsemble(),
        Reordering(),
        Commuting(),
        Landscape(),
    ),
    "Lu, Ma, Lu, Lu, Ying 2020, arXiv:2003.05508",
    whole="all",
)
