"""Panels as data, and the pages that are drawn from them."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import LogNorm

from mfpde.figures import Image, Panel, Series
from mfpde.plotting import panels as drawing
from mfpde.plotting import save

WIDTHS = [8, 16, 32, 64]
ERRORS = np.array([0.4, 0.2, 0.1, 0.05])


def lines_panel(**options):
    series = [
        Series(WIDTHS, ERRORS, "measured", ERRORS / 2, 1.5 * ERRORS, group=0),
        Series(WIDTHS, ERRORS, "fit", style="line", group=0),
        Series(WIDTHS, None, "band", 0.8 * ERRORS, 1.25 * ERRORS, "band", group=1),
    ]
    return Panel("Error", "width M", "error", series, note="slope -1", **options)


def heat_panel(values=None, **options):
    values = np.outer([1.0, 2.0, 0.5], ERRORS) if values is None else values
    image = Image(values, WIDTHS, ["path", "tied", "layer"], "rms error", **options)
    return Panel("Map", "width M", "coupling", kind="heat", image=image)


def test_a_panel_shows_its_series():
    figure = drawing.page([lines_panel()], title="A study")
    (ax,) = figure.axes
    assert ax.get_title(loc="left") == "Error"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width M", "error")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["8", "16", "32", "64"]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(labels) == ["band", "fit", "measured"]
    assert figure.get_suptitle() == "A study"
    assert "slope -1" in [text.get_text() for text in ax.texts]
    points = ax.containers[0]
    assert np.allclose(points.lines[0].get_ydata(), ERRORS)
    ends = points.lines[2][0].get_segments()
    assert np.allclose(
        [each[:, 1] for each in ends], [[e / 2, 1.5 * e] for e in ERRORS]
    )


def test_groups_share_a_look_and_differ_from_each_other_without_colour():
    points = [Series(WIDTHS, ERRORS * k, f"{k}") for k in range(1, 9)]
    lines = [Series(WIDTHS, ERRORS, style="line", group=k) for k in range(5)]
    ax = drawing.draw(Panel("", "", "", [*points, *lines]))
    drawn = [container.lines[0] for container in ax.containers]
    looks = {
        (line.get_marker(), line.get_markerfacecolor() == "white") for line in drawn
    }
    assert len(looks) == 8
    colours = [line.get_color() for line in drawn]
    assert len(set(colours)) == 8
    own = [line for line in ax.lines if line not in drawn][-5:]
    assert [line.get_color() for line in own] == colours[:5]
    assert len({str(line._dash_pattern) for line in own}) == 5


def test_unsorted_lines_are_drawn_from_left_to_right():
    ax = drawing.draw(Panel("", "", "", [Series([3, 1, 2], [9, 1, 4], style="line")]))
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert ax.lines[0].get_ydata().tolist() == [1, 4, 9]


def test_a_heat_map_has_a_number_in_every_cell():
    values = np.outer([1.0, 2.0, 0.5], ERRORS)
    values[0, 1], values[2, 3] = np.nan, np.inf
    ax = drawing.draw(heat_panel(values))
    texts = [text.get_text() for text in ax.texts]
    assert texts == [
        *("0.4", "–", "0.1", "0.05"),
        *("0.8", "0.4", "0.2", "0.1"),
        *("0.2", "0.1", "0.05", "–"),
    ]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["path", "tied", "layer"]
    assert isinstance(ax.images[0].norm, LogNorm)
    assert ax.images[0].get_clim() == (0.05, 0.8)
    # Nothing, or one value, can be drawn, too.
    for same in (np.full((3, 4), np.nan), np.ones((3, 4)), np.zeros((3, 4))):
        drawing.draw(heat_panel(same))
        drawing.draw(heat_panel(same, scale="linear"))


@pytest.mark.parametrize("n_series", [2, 6, 8])
def test_the_legend_lies_on_no_point(n_series):
    series = [Series(WIDTHS, ERRORS * k, f"L = {k}") for k in range(1, n_series + 1)]
    figure = drawing.page([Panel("Error", "M", "error", series)])
    figure.canvas.draw()
    (ax,) = figure.axes
    box = ax.get_legend().get_window_extent()
    points = np.concatenate([c.lines[0].get_xydata() for c in ax.containers])
    places = ax.transData.transform(points)
    assert not any(box.contains(*place) for place in places)
    others = [ax.xaxis.label, *ax.get_xticklabels()]
    assert not any(box.overlaps(each.get_window_extent()) for each in others)


def test_a_page_is_written_and_leaves_matplotlib_as_it_was(tmp_path):
    before = dict(mpl.rcParams)
    linear = lines_panel(xscale="linear", yscale="linear")
    for n in (1, 2, 4, 7):
        figure = drawing.page(([linear, heat_panel()] * 4)[:n])
        n_panels = sum(ax.get_label() != "<colorbar>" for ax in figure.axes)
        assert n_panels == n
    save(figure, tmp_path / "page.png", dpi=40)
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before
    with pytest.raises(ValueError, match="`panels` must hold at least one"):
        drawing.page([])


def test_panels_that_make_no_sense_are_refused():
    cases = {
        "`style` must be one of": lambda: Series([1], [1], style="dots"),
        "`low` and `high` must be given together": lambda: Series([1], [1], low=[0]),
        "`low` and `high` are required": lambda: Series([1], None, style="band"),
        "`y` is required": lambda: Series([1], None),
        r"must have one shape \(n,\)": lambda: Series([1, 2], [1]),
        r"must have shape .* = \(1, 2\), got \(2,\)": lambda: Image(
            [1, 2], [1, 2], [1]
        ),
        "`scale` must be one of": lambda: Image([[1]], [1], [1], scale="ln"),
        "`image` belongs to": lambda: Panel("", "", "", kind="heat"),
        "`xscale` must be one of": lambda: Panel("", "", "", xscale="ln"),
        "`kind` must be one of": lambda: Panel("", "", "", kind="pie"),
    }
    for message, make in cases.items():
        with pytest.raises(ValueError, match=message):
            make()


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    from matplotlib import pyplot

    pyplot.close("all")
