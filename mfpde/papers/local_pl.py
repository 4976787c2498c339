"""Zero loss under the local Polyak-Lojasiewicz (PL) condition (5.8, row 13).

With D = -dE/ds the condition is D >= mu E. By Eq. (27) the largest mu for all residuals
is 2 lambda_min(K), K the tangent kernel: the PL constant, at the start and on the way.
"""

from __future__ import annotations

import numpy as np

from mfpde.analysis import bootstrap
from mfpde.analysis.asymptotic import bent_interval
from mfpde.arrays import evenly_spaced
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.papers.ends import finished
from mfpde.papers.marion import COMMON, Preset
from mfpde.run.solver import solve
from mfpde.studies.curves import centre, curves, traces
from mfpde.studies.judging import judge, judge_above, judge_all, judge_below, neighbours
from mfpde.studies.orders import judge_order, resolved_if_all
from mfpde.studies.report import Report
from mfpde.studies.study import Variable
from mfpde.theory.tangent import late_rate, tangent_kernel

SEEN = 1e-12
"""Share of the first loss down to which rates are read off: the rest is rounding."""
ROUNDING = 1e-9
"""Of ratios of a PL constant, and of one that is zero in theory to others."""


def pl_constant(problem, grid, theta):
    """2 lambda_min of the tangent kernel, Eq. (27), for theta (J, M, k)."""
    return late_rate(tangent_kernel(problem, grid, ParticleEnsemble(theta)))


class LongTime(Preset):
    """Zero loss at long times: D/E along s, and the PL constant on the way."""

    name = "long-time"
    title = "The loss falls exponentially at a rate that does not depend on L"
    description = (
        "ln E falls linearly, at a rate independent of L; D/E stays above the PL "
        "constant 2 lambda_min(K) taken along the flow, which does not fall to zero."
    )
    limitations = "Labels are small: far from the start nothing is promised."
    claims = (11, 13)
    defaults = {
        "presets": ["zero-loss"],
        "activations": ["gelu", "tanh"],
        "depths": [2, 4, 8, 16, 32, 64],
        "labels": 0.1,
        "folds": 20.0,
        "longest": 2e4,
        "fall": 1e-6,
        "records": 40,
        "kernels": 4,
        "most_outputs": 100,
        **COMMON,
        "seeds": 8,
    }
    quick = {"depths": [4, 8, 16]}
    grid = {"preset": "presets", "activation": "activations"}
    grid |= {"depth": "depths", "seed": "seeds"}
    measured = {
        "loss": Variable(("share",), "loss"),
        "ratio": Variable(("share",), "D/E"),
        "constant": Variable(("kernel",), "PL constant"),
        "late": "rate of ln E in the second half of its fall",
        "largest": "largest distance of neighbouring layers along the flow",
        "end": "training time at the end",
    }
    positive = ("depths", "labels", "folds", "longest", "fall", "records", "kernels")
    least = {"depths": 3}

    def further_axes(self, config):
        """Return shares of the training time: of records, and of kernels."""
        n = config["records"]
        shares = np.arange(n + 1) / n
        chosen = evenly_spaced(n + 1, config["kernels"])
        return {"share": shares.tolist(), "kernel": shares[chosen].tolist()}

    def cell(self, at, config, references):
        """Train one network for long."""
        setting, grid = self.setting(at), DepthGrid.euler(at["depth"])
        problem = setting.problem(at["seed"], labels=config["labels"])
        axes, start = self.further_axes(config), setting.start(grid, "tied", at["seed"])
        has_kernel = problem.n_samples * problem.q <= config["most_outputs"]
        s_end = setting.s_end
        if has_kernel:
            # Without a PL constant, as for M < N, nothing else would end it.
            least = config["folds"] / config["longest"]
            constant = pl_constant(problem, grid, start.theta)
            s_end = config["folds"] / max(constant, least)
        record, snapshots = (s_end * np.array(each) for each in axes.values())
        flow = {"stepper": "auto", "rtol": 1e-6, "atol": 1e-14}
        flow |= {"s_end": s_end, "record": record, "snapshots": snapshots}
        found = finished(solve.quietly(problem, grid, start, **flow))
        ratio = found.dissipation / found.loss
        seen = np.flatnonzero(found.loss > SEEN * found.loss[0])
        half = seen[len(seen) // 2 :]
        row = {
            "loss": found.loss,
            "ratio": np.where(found.loss > SEEN * found.loss[0], ratio, np.nan),
            "late": -np.polyfit(found.s[half], np.log(found.loss[half]), 1)[0],
            "largest": found.scalars["depth_roughness"].max() / at["depth"],
            "end": s_end,
        }
        if has_kernel:
            row["constant"] = [pl_constant(problem, grid, each) for each in found.theta]
        return row

    def analyse(self, table, config):
        """Judge rates against L, zero loss, and D/E against the PL constant."""
        depths, verdicts, panels = table.axes["depth"], [], []
        for label, _, part in self.lines(table, "preset", "activation"):
            least = np.nanmin(part["ratio"], axis=-1)
            cases = {
                "least D/E along s": (0.0, least, 13),
                "late rate of ln E": (0.0, part["late"], 13),
                "largest |theta[l+1] - theta[l]| along s": (1.0, part["largest"], 11),
            }
            for what, (expected, values, row) in cases.items():
                claim = f"Decay in L, {label}: {what}"
                verdicts.append(
                    judge_order(claim, expected, depths, values, config, row=row)[0]
                )
            share = part["loss"][..., -1] / part["loss"][..., 0]
            is_whole = part["end"] < config["longest"]
            claim = f"{label}: E falls below {config['fall']:g} of the first"
            falls = share[is_whole] < config["fall"]
            verdicts.append(judge_all(claim, falls, row=13))
            verdicts += self.constants(label, part, is_whole.all(axis=0), config)
            x = np.array(table.axes["share"])
            curve = {
                f"L = {depth}": (x, *centre(np.moveaxis(part["loss"][i], 0, -1)))
                for i, depth in list(enumerate(depths))[:: max(1, len(depths) - 1)]
            }
            panels.append(traces(label, "s / s_end", "E", curve, xscale="linear"))
            rates = {
                "least D/E": least,
                "late rate": part["late"],
                "least 2 lambda_min(K)": part["constant"].min(axis=-1),
            }
            entries = {name: (depths, centre(each)[0]) for name, each in rates.items()}
            # Quartiles of one say enough of all.
            entries["least D/E"] = (depths, *centre(least))
            title = f"{label}: medians, quartiles"
            panels.append(curves(title, "L", "rate in s", entries, yscale="linear"))
        n_cut = int(np.sum(table["end"] >= config["longest"]))
        text = (
            "An adaptive stepper in place of iterations, to s_end = "
            f"{config['folds']:g} / (PL constant at s = 0) for every seed, at most "
            f"{config['longest']:g}; {n_cut} of {table['end'].size} ended there, of "
            "whose last loss nothing is claimed. Settings: "
        )
        texts = [text + each for each in self.time_maps(config)]
        return Report(verdicts, texts, {self.name: panels})

    def constants(self, label, part, chosen, config):
        """Judge the PL constant along the flow for chosen seeds (S,), if measured."""
        constant = part["constant"][:, chosen]
        if np.isnan(constant).all():
            return []
        records = evenly_spaced(config["records"] + 1, config["kernels"])
        ratio = part["ratio"][:, chosen][..., records]
        # Where the loss is rounding there is no ratio.
        is_less = ratio < (1.0 - ROUNDING) * constant
        holds = ~is_less.any(axis=-1)
        kept = np.min(constant / constant[..., :1], axis=(0, -1))
        value, interval = bootstrap(np.median, kept, confidence=config["confidence"])
        claim = f"{label}: least PL constant along s, of that at s = 0, all L"
        return [
            judge_all(f"{label}: D/E >= PL constant along s", holds, row=13),
            judge_above(claim, 0.5, value, interval, row=13),
        ]


class Width(Preset):
    """The PL constant at the start against samples and width."""

    name = "width"
    title = "M ~ N keeps the PL constant"
    description = (
        "2 lambda_min(K) at s = 0 for d ~ N: with M = c N, c fixed, it keeps its share "
        "of the wide limit, and falls far slower than the bound 1/(N^(3/2) d)."
    )
    limitations = "It is the start, where V = 0 and the constant does not depend on L."
    claims = (13,)
    defaults = {
        "presets": ["zero-loss"],
        "activations": ["gelu", "tanh"],
        "samples": [8, 16, 32],
        "widths_per_sample": [0.5, 1.0, 2.0, 4.0, 8.0, 16.0],
        "width_judged": 4.0,
        "depth": 1,
        **COMMON,
        "seeds": 64,
        "tolerance": 0.2,
    }
    quick = {"activations": ["gelu"], "seeds": 24}
    grid = {"preset": "presets", "activation": "activations", "n": "samples"}
    grid |= {"ratio": "widths_per_sample", "seed": "seeds"}
    measured = {"constant": "PL constant at s = 0"}
    positive = ("samples", "widths_per_sample", "depth")
    least = {"samples": 2, "widths_per_sample": 2}
    analysis_keys = ("confidence", "tolerance", "width_judged")

    def problems(self, config):
        """Return a sentence for everything that is wrong with the configuration."""
        ratios = config["widths_per_sample"]
        found = super().problems(config)
        if config["width_judged"] not in ratios[:-1] or ratios != sorted(ratios):
            found.append(
                "`widths_per_sample` must increase and hold `width_judged` = "
                f"{config['width_judged']:g} before its last entry, got {ratios}."
            )
        return found

    def cost(self, at, config):
        """Return samples times particles."""
        return at["n"] ** 2 * at["ratio"]

    def cell(self, at, config, references):
        """Measure one start: twice as many inputs as samples, one output."""
        n, width = at["n"], max(1, round(at["ratio"] * at["n"]))
        sizes = {"d": 2 * n + 1, "n_outputs": 1, "n_samples": n, "n_particles": width}
        setting, grid = self.setting(at, **sizes), DepthGrid.euler(config["depth"])
        start = setting.start(grid, "tied", at["seed"])
        problem = setting.problem(at["seed"])
        return {"constant": pl_constant(problem, grid, start.theta)}

    def analyse(self, table, config):
        """Judge the share of the wide limit, and the exponents in N."""
        n, ratios = table.axes["n"], np.array(table.axes["ratio"])
        verdicts, panels = [], []
        for label, _, part in self.lines(table, "preset", "activation"):
            constant, shown = part["constant"], ratios >= 1.0
            verdicts += self.judgements(label, n, ratios, constant, config)
            entries = {
                f"N = {size}": (ratios[shown], *centre(each[shown]))
                for size, each in zip(n, constant, strict=True)
            }
            panels.append(curves(label, "M / N", "2 lambda_min(K) at s = 0", entries))
        text = "Sizes are N, M = c N, d = 2 N + 1; other settings: "
        texts = [text + each for each in self.time_maps(config)]
        return Report(verdicts, texts, {self.name: panels})

    def judgements(self, label, n, ratios, constant, config):
        """Judge PL constants (N, M / N, S) by their medians over seeds."""
        column, wide = list(ratios).index(config["width_judged"]), ratios >= 1.0
        log_n, medians = np.log(n), np.median(constant, axis=-1)

        def share(middle):
            return np.min(middle[:, column] / middle[:, -1])

        def decay(middle, least=0):
            logs = np.log(middle[:, column])
            return -np.polyfit(log_n[least:], logs[least:], 1)[0]

        def width(middle, least=0):
            shares, known = middle[:, wide] / middle[:, -1:], np.log(ratios[wide])
            half = [np.interp(0.5, each, known) for each in shares]
            return np.polyfit(log_n[least:], (log_n + half)[least:], 1)[0]

        def measured(statistic):
            runs, confidence = np.moveaxis(constant, -1, 0), config["confidence"]
            return bootstrap(
                lambda some: statistic(np.median(some, axis=0)),
                runs,
                confidence=confidence,
            )

        def exponent(statistic):
            value, own = measured(statistic)
            if len(n) < 3:
                return value, own
            moved = statistic(medians, 1) - value
            return value, bent_interval(own, value, moved)

        name = f"{label}, M = {config['width_judged']:g} N"
        share_claim = f"{name}: least share of the PL constant at {ratios[-1]:g} N"
        decay_claim = f"{name}, d ~ N: decay of the PL constant in N, bound 5/2"
        width_claim = f"{label}: exponent in N of the width with half the PL constant"
        found = [
            judge_above(share_claim, 0.25, *measured(share), row=13),
            judge_below(decay_claim, 2.5, *exponent(decay), row=13),
        ]
        # Beside the claim: that M ~ N suffices is the share above.
        beside = {"tolerance": config["tolerance"], "rivals": neighbours(1.0)}
        found.append(judge(width_claim, 1.0, *exponent(width), **beside))
        # A half that lies below the widths tried is not known.
        least, most = medians[:, wide][:, [0, -1]].T
        found[-1] = resolved_if_all(found[-1], least < 0.5 * most)
        if not wide.all():
            few = constant[:, ~wide] < ROUNDING * constant[:, -1:]
            claim = f"{label}: no PL constant at s = 0 if M < N"
            found.append(judge_all(claim, few, row=13))
        return found
