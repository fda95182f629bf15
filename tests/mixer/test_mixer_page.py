"""The page of a recommendation in a real browser: the law computed there is Python's, sliders do what they should, names cannot
become markup."""

from __future__ import annotations

import json
from pathlib import Path

import browser
import numpy as np
import pytest
from mixer_worlds import world
from page_texts import english

from haigo import cli, yamlfile
from mixer import figures, law_file, page, report, search
from mixer.laws_exp import ExponentialLaw
from mixer.laws_nested import NestedShareLaw
from mixer.laws_repeat import RepeatedShareLaw
from mixer.laws_share import EffectiveShareLaw
from mixer.optimise import minimise
from mixer.proxies import read as read_table
from mixer.supply import Constraints

HOSTILE = "</script><img src=x onerror='window.hacked=1'>\u2028{{7*7}}"


@pytest.fixture(scope="module")
def shown():
    with browser.started() as made:
        yield made


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    table = world(folder)
    rows = zip(table.corpora, (40, 12, 8, 20, 10, 10), ("ja", "ja", "", "", "", ""), strict=True)
    (folder / "supply.csv").write_text(
        "corpus,tokens,max,group\n" + "".join(f"{c},{n}e9,0.7,{g}\n" for c, n, g in rows), encoding="utf-8"
    )
    words = [
        *table.write(),
        "--objective",
        "news_bpb,code_bpb=0.5",
        "--bootstrap",
        "20",
        "--supply",
        str(folder / "supply.csv"),
    ]
    limits = ["--target-tokens", "30e9", "--group", "ja=0.1:0.6", "--ceiling", "wiki_bpb=+2%", "--held-out", "p00"]
    out = folder / "mixture.yml"
    assert cli.run(search.main, [*words, *limits, "--output", str(out)]) == 0
    for language in ("en", "ja"):
        assert cli.run(report.main, [str(out), "--html", str(folder / f"{language}.html"), "--lang", language]) == 0
    return folder


def test_the_page_in_japanese_holds_no_english_sentence(made):
    assert english(made / "ja.html") == [] and len(english(made / "en.html")) > 20


@pytest.fixture(scope="module")
def law(made):
    return json.loads(law_file.path(made / "mixture.yml").read_text(encoding="utf-8"))


def javascript(shown, given, expression):
    """An expression with `law`, the functions of law.js for the file `given`."""
    source = (page.HERE / "law.js").read_text(encoding="utf-8")
    shown.open("about:blank#x") if shown.run("location.href") != "about:blank#x" else None
    return shown.run(f"(() => {{ {source}; const law = Law({json.dumps(given)}); return {expression}; }})()")


def kinds():
    place, share = np.array([0, 0, 1, 2, 3, 3]), np.array([0.75, 0.25, 1.0, 1.0, 0.5, 0.5])
    passes = np.array([0.2, 9.0, 30.0, 0.0, 3.0, 12.0])
    return {
        "share": EffectiveShareLaw(seed=1),
        "exponential": ExponentialLaw(seed=1),
        "groups": NestedShareLaw(place, share, seed=1),
        "repeated": RepeatedShareLaw(passes, passes > 1, seed=1),
    }


@pytest.mark.parametrize("kind", kinds())
def test_the_formula_in_the_page_is_pythons(shown, made, law, kind):
    table = read_table(made / "ratios.csv", made / "metrics.csv", None)
    fitted = kinds()[kind].fit(table.weights, table.losses)
    named = law_file._named(fitted, fitted.theta_[None], 12)
    given = {**law, "r_star": None, "law": {"near": named, "all": named, "draws": named}}
    if kind == "groups":
        given["law"]["groups"] = {"place": fitted.place.tolist(), "share": fitted.share.tolist()}
    if kind == "repeated":
        given["law"]["passes"] = fitted.passes.tolist()
    mixtures = np.random.default_rng(3).dirichlet(np.full(6, 0.5), 20)
    mixtures[0] = [0, 0, 1, 0, 0, 0]
    here = javascript(
        shown, given, f"{json.dumps(mixtures.tolist())}.map(w => [0, 1, 2, 3].map(m => law.fitted(w, m)))"
    )
    assert np.abs(np.array(here) - fitted.predict(mixtures)).max() < 1e-6


def test_the_page_promises_what_mixture_yml_does(shown, made, law):
    document = yamlfile.read(made / "mixture.yml")
    here = javascript(shown, law, f"[law.predict({law['chosen']}), law.predict({law['reference']['weights']})]")
    for number, metric in enumerate(law["metrics"]):
        said, (chosen, reference) = document["prediction"][metric], (one["metrics"][number] for one in here)
        assert [chosen["mean"], chosen["low"], chosen["high"]] == pytest.approx(
            [said["mean"], *said["interval"]], rel=5e-5
        )
        there = [said["token_share"], *said["token_share_interval"]]
        assert [reference["mean"], reference["low"], reference["high"]] == pytest.approx(there, rel=5e-5)
    assert here[0]["gain"] == pytest.approx(document["gain"]["mean"], abs=2e-4)
    assert here[1]["gain"] == 0 and law["objective"]["unit"] == 1.0


def test_repeated_tokens_count_as_in_the_search(shown, made, law):
    supply, target = np.array(law["supply"]), law["target_tokens"]
    constraints = Constraints(corpora=law["corpora"], supply=supply, target_tokens=target)
    mixtures = np.random.default_rng(5).dirichlet(np.full(6, 0.3), 10)
    table = read_table(made / "ratios.csv", made / "metrics.csv", None)
    fitted = EffectiveShareLaw(seed=1).fit(table.weights, table.losses)
    given = {**law, "law": {**law["law"], "near": law_file._named(fitted, fitted.theta_[None], 12)}}
    here = javascript(
        shown, given, f"{json.dumps(mixtures.tolist())}.map(w => [0, 1, 2, 3].map(m => law.fitted(w, m)))"
    )
    effective = constraints.effective(mixtures)[0]
    assert (effective < mixtures - 1e-4).any()
    assert (
        np.abs(np.array(here) - fitted.values(fitted.theta_, fitted.features(effective), fitted.scale_).T).max() < 1e-6
    )


def test_the_best_for_one_metric_is_what_the_exact_search_finds(shown, made, law):
    for metric, name in enumerate(law["metrics"]):
        here = javascript(shown, law, f"law.least(w => law.fitted(w, {metric}), {law['chosen']})")
        allowed = excess(law, np.array(here))
        assert allowed < 1e-6, name
        near = {key: np.array(value) for key, value in law["law"]["near"].items()}
        supply, target = np.array(law["supply"]), law["target_tokens"]
        constraints = Constraints(
            corpora=law["corpora"], supply=supply, target_tokens=target, upper=np.full(6, 0.7),
            groups={"ja": (law["corpora"][:2], 0.1, 0.6)}, tested=np.array(law["limits"]["lower"]),
        )  # fmt: skip

        def value(w, metric=metric, near=near, constraints=constraints):
            u, slope = constraints.effective(np.maximum(w, 1e-12))
            a, g = near["a"][metric, 0], near["g"][metric, 0]
            inner = near["e"][metric, 0] + (a * u**g).sum()
            alpha, b = near["alpha"][metric, 0], near["b"][metric, 0]
            rise = -alpha * b * inner ** (-alpha - 1) * a * g * u ** (g - 1) * slope
            return near["c"][metric, 0] + b * inner**-alpha, rise

        exact = minimise(value, constraints.limits(), [np.array(law["chosen"])])
        assert value(np.array(here))[0] - value(exact)[0] < 2e-4


def excess(law, w):
    limits = law["limits"]
    worst = max(np.max(np.array(limits["lower"]) - w), np.max(w - np.array(limits["upper"])), abs(w.sum() - 1))
    return max([worst, *(np.array(each["row"]) @ w - each["bound"] for each in limits["groups"])])


SLIDE = """(j => value => { const s = document.getElementById('weight' + j); s.value = value;
  s.dispatchEvent(new Event('input', {bubbles: true})); return mixer.weights; })"""


def test_sliders_keep_the_sum_the_ratio_the_limits_and_what_is_locked(shown, made, law):
    shown.open((made / "en.html").as_uri())
    start = np.array(shown.run("mixer.weights"))
    assert start == pytest.approx(law["chosen"])
    before = shown.run("document.querySelector('#metrics').innerText")
    moved = np.array(shown.run(f"{SLIDE}(3)({start[3] + 0.03})"))
    assert moved[3] == pytest.approx(start[3] + 0.03) and excess(law, moved) < 1e-6
    low, high = (np.array(law["limits"][end]) for end in ("lower", "upper"))
    free = [j for j in (0, 1, 2, 4, 5) if low[j] + 1e-6 < moved[j] < high[j] - 1e-6]
    ratio = moved[free] / start[free]
    assert len(free) > 1 and ratio == pytest.approx(ratio[0], rel=1e-6)
    assert shown.run("document.querySelector('#metrics').innerText") != before
    shown.run("document.querySelector('[aria-label=\"lock web\"]').click()")
    held = shown.run("mixer.weights")[0]
    for corpus, value in ((1, 0.69), (2, 0.0), (5, 1.0), (4, 0.3), (1, 0.0)):
        now = np.array(shown.run(f"{SLIDE}({corpus})({value})"))
        assert now[0] == pytest.approx(held, abs=1e-9) and excess(law, now) < 1e-6
    assert shown.run("document.getElementById('weight0').disabled")
    shown.run(f"{SLIDE}(5)(1)")
    assert "stops at" in shown.run("document.getElementById('binds').textContent")
    for button in ("reference", "even", "chosen"):
        shown.run(f"document.querySelector('[data-to={button}]').click()")
        assert excess(law, np.array(shown.run("mixer.weights"))) < 1e-6
    assert shown.run("mixer.weights") == pytest.approx(law["chosen"])
    assert shown.complaints() == []


def test_units_are_told_from_whole_names():
    known = {"weights": {"arxiv": 1.0}, "prediction": {"metric/the_pile_arxiv_val_loss": {}, "news_bpb": {}}}
    assert figures.units_of(known) == {"arxiv": "loss", "news_bpb": "bits per byte"}


def test_it_says_where_nothing_was_tried(shown, made, law):
    shown.open((made / "en.html").as_uri())
    assert shown.run("document.querySelectorAll('#metrics .over').length") == 0  # of the search's own answer
    assert "does not ask for the ceilings" in shown.run("document.querySelector('.trade').innerText")
    assert shown.run("document.getElementById('verdict').className") in ("inside", "edge")
    shown.run(
        "document.getElementById('best').value = 2; document.getElementById('best').dispatchEvent(new Event('change'))"
    )
    far = shown.run("mixer.law.times(mixer.weights)")
    word = "inside" if far <= 1.1 else "edge" if far <= 2 else "outside"
    assert shown.run("document.getElementById('verdict').className") == word
    corner = json.dumps([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    assert shown.run(f"mixer.law.times({corner})") > shown.run("mixer.law.times(mixer.file.proxies.weights[0])")
    assert [row[0] for row in shown.run("mixer.file.metrics.map(x => [x])")] == law["metrics"]


def test_the_trade_off_between_any_two_metrics(shown, made, law):
    shown.open((made / "en.html").as_uri())
    across, up = (shown.run(f"document.getElementById('{name}').value") for name in ("across", "up"))
    assert (law["metrics"][int(across)], law["metrics"][int(up)]) == ("news_bpb", "code_bpb")
    first = shown.run("document.querySelector('#trade path.line').getAttribute('d')")
    shown.run(
        "document.getElementById('up').value = 3; document.getElementById('up').dispatchEvent(new Event('change'))"
    )
    assert shown.run("document.querySelector('#trade path.line').getAttribute('d')") != first
    assert "talk_bpb (bits per byte)" in shown.run("document.getElementById('trade').textContent")
    curve = np.array(shown.run("mixer.law.tradeOff(0, 3).map(one => one.pair)"))
    assert (np.diff(curve[:, 0]) > -1e-5).all() and (np.diff(curve[:, 1]) < 1e-5).all()
    shown.run("document.querySelectorAll('#trade .pick')[10].dispatchEvent(new Event('click'))")
    assert shown.run("mixer.law.fitted(mixer.weights, 3)") == pytest.approx(curve[-1, 1])


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1500, 480])
def test_it_stands_in_every_window_and_asks_nobody(shown, made, language, dark, width):
    file = (made / f"{language}.html").as_uri()
    shown.open(file, width=width, dark=dark)
    assert shown.complaints() == [] and shown.asked_for() == [file] and shown.overflow() == 0
    light = shown.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, light[4:-1].split(","))) < 200) == dark
    assert shown.run("document.documentElement.lang") == language
    title = shown.run("document.querySelector('#mixer h2').textContent")
    assert title == {"en": "The mixer", "ja": "ミキサー"}[language]
    small = "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1"
    assert shown.run(f"{small} && !e.closest('.wide, pre')).length") == 0


def test_a_page_is_the_same_again_and_belongs_to_its_mixture(made, tmp_path, capsys):
    again = tmp_path / "again.html"
    assert cli.run(report.main, [str(made / "mixture.yml"), "--html", str(again)]) == 0
    assert again.read_bytes() == (made / "en.html").read_bytes()
    text = (made / "mixture.yml").read_text(encoding="utf-8")
    other = tmp_path / "mixture.yml"
    other.write_text(text, encoding="utf-8")
    assert cli.run(report.main, [str(other), "--html", str(tmp_path / "bare.html")]) == 0
    bare = (tmp_path / "bare.html").read_text(encoding="utf-8")
    assert "<script" not in bare and "What is predicted" in bare
    law_file.path(other).write_text("{}", encoding="utf-8")
    assert cli.run(report.main, [str(other), "--html", str(tmp_path / "bare.html")]) == 2
    assert "mixture.law.json" in capsys.readouterr().err
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    assert cli.run(report.main, [str(made / "mixture.yml"), "--html", str(mine)]) == 3 and mine.read_text() == "mine"


def test_names_and_notes_cannot_become_markup(shown, made, law, tmp_path):
    document = yamlfile.read(made / "mixture.yml")

    def hostile(value):
        if isinstance(value, dict):
            return {hostile(key): hostile(each) for key, each in value.items()}
        if isinstance(value, list):
            return [hostile(each) for each in value]
        return value + HOSTILE if value in ("news", "news_bpb", "p010", "token share") else value

    document, given = hostile(document), hostile(law)
    document["notes"] = [HOSTILE]
    document["provenance"]["command"] = HOSTILE
    given["doubts"] = [{"run": HOSTILE, "metric": HOSTILE, "measured": 1.0, "expected": 2.0}]
    for language in ("en", "ja"):
        file = tmp_path / f"{language}.html"
        file.write_text(page.render(document, given, language, HOSTILE), encoding="utf-8")
        shown.open(file.as_uri())
        assert shown.run("document.querySelectorAll('img').length") == 0 and shown.run("window.hacked") is None
        assert shown.complaints() == [] and shown.asked_for() == [file.as_uri()]
        text = shown.run("document.body.innerText")
        assert "onerror=" in text and "{{7*7}}" in text and "49" not in Path(file).name
        assert "onerror" in shown.run("document.querySelector('#sliders').textContent")
        assert shown.run("document.querySelectorAll('script:not([type])').length") == 2


def test_the_policy_lets_no_other_script_run(shown, made, tmp_path):
    file = tmp_path / "changed.html"
    text = (made / "en.html").read_text(encoding="utf-8")
    file.write_text(text.replace("</main>", "<script>window.hacked = 1</script></main>"), encoding="utf-8")
    shown.open(file.as_uri())
    assert shown.run("window.hacked") is None and shown.complaints()
