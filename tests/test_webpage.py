"""The page on what studies found, and the claims that it tells of."""

import dataclasses
import re
import urllib.parse
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from command_cases import TINY
from test_studies_experiments import PAIR, Euler

from mfpde.cli import main
from mfpde.commands import FAILED, SUCCESS, WRONG_CALL
from mfpde.commands.decisions import Decisions, Found, overview, page_of
from mfpde.describe import register
from mfpde.papers.claims import CLAIMS
from mfpde.papers.names import ALL
from mfpde.report.page import write_page
from mfpde.studies import resolve
from mfpde.studies.claims import decide, reasons
from mfpde.studies.collection import Collection, parts_of, run_parts
from mfpde.studies.judging import judge


class Tree(HTMLParser):
    """Fails where tags do not match; keeps ids, links and sources."""

    VOID = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.sources = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        self.sources += [attrs["src"]] if "src" in attrs else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    parts = parts_of(PAIR, resolve(PAIR, PAIR.quick), folder)
    return [Found(part, outcome) for part, outcome in run_parts(parts)]


def page(found, folder):
    return write(found, folder, title="A < B", command="mfpde study x").read_text()


def write(found, folder, **options):
    shown = page_of(Decisions(found, known=CLAIMS), folder, wall_time_s=3.0, **options)
    return write_page(folder / "report.html", shown)


def test_the_page_holds_all_it_shows(found, tmp_path):
    text = page(found, tmp_path)
    tree = Tree(text)
    assert len(tree.ids) == len(set(tree.ids))
    inner = [link[1:] for link in tree.links if link.startswith("#")]
    assert set(inner) <= set(tree.ids)
    assert len(tree.sources) == 2
    assert all(s.startswith("data:image/svg+xml;base64,") for s in tree.sources)
    assert "http" not in re.sub(r'src="[^"]*"', "", text)
    assert "A &lt; B" in text
    assert "depths = [4, 8]" in text
    assert "Euler 1748" in text
    for link in tree.links:
        if not link.startswith("#"):
            assert (tmp_path / link).exists()


EVIL = """</title><script>alert('1')</script> & "a' onerror="alert(2)" ]]> `<b>`"""


class Texts(Tree):
    """Also what a reader sees, and every attribute but the sources."""

    def __init__(self, text):
        self.seen, self.tags, self.attributes = [], set(), []
        super().__init__(text)

    def handle_starttag(self, tag, attrs):
        super().handle_starttag(tag, attrs)
        self.tags.add(tag)
        self.attributes += [(name, value) for name, value in attrs if name != "src"]

    def handle_data(self, data):
        self.seen.append(data)


class Named(Euler):
    """Of a study whose names and texts are as bad as can be."""

    name = EVIL.replace("/", "|")
    title = description = limitations = EVIL


def evil(found):
    """The first study with `EVIL` in every text."""
    first = found[0]
    study = Named()
    report = first.outcome.report
    panels = next(iter(report.figures.values()))
    panel = dataclasses.replace(
        panels[0], title=EVIL, xlabel=EVIL, ylabel=EVIL, note=EVIL
    )
    verdict = dataclasses.replace(
        report.verdicts[0], claim=EVIL, expected=EVIL, rule=EVIL, note=EVIL, row=None
    )
    report = dataclasses.replace(
        report,
        verdicts=[*report.verdicts, verdict],
        texts=[EVIL],
        figures={EVIL.replace("/", "|"): [panel]},
    )
    outcome = dataclasses.replace(
        first.outcome, report=report, message=EVIL, path=Path("a b%20?#<i>&.h5")
    )
    paper = Collection("both", EVIL, (PAIR,), paper=EVIL)
    part = dataclasses.replace(first.part, study=study, of=(paper,))
    return Found(part, outcome, [Path("<img src=x>.png"), Path("javascript:alert(3)")])


def test_nothing_of_a_study_is_taken_for_html(found, tmp_path):
    path = write([evil(found)], tmp_path, title=EVIL, command=EVIL)
    text = path.read_text("utf-8")
    tree = Texts(text)
    assert not tree.tags & {"script", "i"}
    assert {name for name, _ in tree.attributes} <= {
        *("id", "class", "href", "alt", "lang", "charset"),
    }
    seen = "".join(tree.seen)
    # Title, heading, command, texts, labels, captions, verdicts: as they were given.
    assert seen.count("<script>alert('1')</script>") >= 10
    assert '"a\' onerror="alert(2)" ]]>' in seen
    assert len(tree.ids) == len(set(tree.ids))
    for link in tree.links:
        assert ":" not in link
        if link.startswith("#"):
            assert urllib.parse.unquote(link[1:]) in tree.ids
    files = {urllib.parse.unquote(link).rsplit("/", 1)[1] for link in tree.links[-3:]}
    assert files == {"a b%20?#<i>&.h5", "<img src=x>.png", "javascript:alert(3)"}
    for source in tree.sources:
        kind, _, picture = source.partition(",")
        assert kind == "data:image/svg+xml;base64"
        names = {each.tag for each in ElementTree.fromstring(b64decode(picture)).iter()}
        assert not any(name.endswith("script") for name in names)


def test_indices_are_those_of_formulas(found, tmp_path):
    title = "E_s, lambda_min of signed_squared_relu"
    path = write(found, tmp_path, title=title, command="")
    shown = "E<sub>s</sub>, lambda<sub>min</sub> of signed_squared_relu"
    assert f"<h1>{shown}</h1>" in path.read_text()


def test_a_claim_is_as_good_as_its_worst_verdict():
    good = judge("a", 1.0, 1.0, (0.9, 1.1), 0.1)
    unclear = judge("b", 1.0, 1.0, (-9.0, 9.0), 0.1, note="Few draws.")
    bad = judge("c", 1.0, 2.0, (1.9, 2.1), 0.1)
    assert decide([good, good]) == "confirmed"
    assert decide([good, unclear]) == "not resolved"
    assert decide([good, unclear, bad]) == "contradicted"
    assert decide([]) == "not resolved"
    assert reasons([good, unclear]) == ["b: not resolved. Few draws."]
    assert "No experiment" in reasons([])[0]


def test_a_study_without_verdicts_is_told(found):
    """What failed cannot confirm, even where another experiment does."""
    outcome = dataclasses.replace(found[1].outcome, report=None, message="It broke.")
    broken = [found[0], dataclasses.replace(found[1], outcome=outcome)]
    assert Decisions(found, known=CLAIMS).on(CLAIMS[0]) == ("confirmed", [])
    verdict, why = Decisions(broken, known=CLAIMS).on(CLAIMS[0])
    assert verdict == "not resolved"
    assert why == ["pair.other: It broke."]
    assert "1 not resolved" in overview(Decisions(broken, known=CLAIMS))


def test_what_was_not_run_is_told(found):
    """A claim that others decide as well is decided in part; all are listed."""
    decisions = Decisions(
        found, {1: ["pair.euler", "more.cases"]}, CLAIMS, are_all=True
    )
    verdict, (why,) = decisions.on(CLAIMS[0])
    assert verdict == "confirmed"
    assert why == "In part: it also takes more.cases, not run here."
    text = overview(decisions)
    counts = "20 claims: 1 confirmed, 19 not resolved, 0 contradicted (in part: 1)."
    assert counts in text


def test_every_claim_is_decided_by_some_study():
    parts = parts_of(ALL, resolve(ALL, {}), Path())
    rows = {row for part in parts for row in part.study.claims}
    assert rows == {claim.number for claim in CLAIMS}
    assert [claim.number for claim in CLAIMS] == list(range(1, 21))


def test_the_command_writes_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    both = Collection("both", "All of it", (PAIR,), whole="all")
    register(both, kind="study", name="both")
    arguments = ["study", "both", "--quick", "--jobs", "1"]
    assert main(arguments) == SUCCESS
    out = capsys.readouterr().out
    assert "1  confirmed     Training is a gradient-flow PDE" in out
    assert "1 claim: 1 confirmed, 0 not resolved, 0 contradicted (in part: 1)." in out
    text = (tmp_path / "both" / "report.html").read_text()
    tree = Tree(text)
    assert "pair/euler/study.h5" in tree.links
    assert "pair/euler/euler.png" in tree.links
    # Again: nothing is computed, the page is the same but for the time it took.
    assert main([*arguments, "--set", "pair.euler.tolerance=0.3"]) == SUCCESS
    assert "0.3" in (tmp_path / "both" / "report.html").read_text()


def test_a_failure_is_the_status_of_all(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def broken(self, at, config, references):
        raise OSError("no disk")

    monkeypatch.setattr(Euler, "cell", broken)
    register(PAIR, kind="study", name="pair")
    # One thread: in this process, where the change is known.
    monkeypatch.setattr("mfpde.commands.study.n_threads", lambda: 1)
    assert main(["study", "pair"]) == FAILED
    assert "no disk" in capsys.readouterr().err
    assert "pair.euler" in (tmp_path / "pair" / "report.html").read_text()


def test_a_page_of_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    title = 'title = "a <b>x</b> & y"'
    Path("tiny.toml").write_text(TINY.replace('title = "Tiny"', title))
    assert main(["run", "tiny.toml", "--quiet", "--no-plot"]) == SUCCESS
    assert main(["plot", "tiny.h5", "--out", "tiny.html"]) == SUCCESS
    text = Path("tiny.html").read_text("utf-8")
    tree = Texts(text)
    assert "<h1>a &lt;b&gt;x&lt;/b&gt; &amp; y</h1>" in text
    assert "b" not in tree.tags
    (source,) = tree.sources
    assert source.startswith("data:image/svg+xml;base64,")
    seen = "".join(tree.seen)
    assert "How far this can be trusted" in seen
    assert "mfpde run tiny.toml" in seen or "command" in seen
    assert "s_end = 0.2" in seen
    # One of ours is replaced, a page of another origin is not.
    assert main(["plot", "tiny.h5", "--out", "tiny.html"]) == SUCCESS
    Path("other.html").write_text("no page of ours")
    assert main(["plot", "tiny.h5", "--out", "other.html"]) == WRONG_CALL
    assert "was not written by mfpde" in capsys.readouterr().err
