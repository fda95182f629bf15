"""The report in Japanese says what the English one says: every number, every name, no sentence left in English."""

from __future__ import annotations

import re

import pytest
from mixer_worlds import world

from mixer import japanese, report

NOTES = [
    "r.csv: 3 run(s) did not sum to exactly 1 and were scaled (p000, p001 ...).",
    "2 run(s) are not in m.csv and were left out: p003, p004.",
    "m.csv: 'x_bpb' is the same in every run and was left out.",
    "r.csv: 'news' has the same weight in every run; nothing can be learned about it.",
    "r.csv: 1 run(s) are copies of another and count twice (p005 = p004).",
    "m.csv: 4 run(s) were trained several times and count as their means; what their seeds do is the least noise of a run.",
    "m.csv: the run 'p007' does not fit the others (news_bpb 9.9 where the other runs expect 1.2, 40 times as far off as good "
    "runs are) and counts next to nothing there: look at its log, and drop or repeat it.",
    "'news_bpb' gets worse the more of 'news' a run has (rank correlation 0.61): check that it is meant to be lowered.",
    "The ceiling on code_bpb rests on a law that left-out runs do not confirm.",
    "The ceiling of code_bpb holds with probability 0.24, and 0.9 is wanted.",
    "Forced: the fit is no better than taking the mean of the proxies (left-out runs: R2 -0.38, Spearman -0.06 for a_bpb).",
    "Recalibrated to the target's scale with 8 runs; intervals include what that leaves open.",
    "m.csv: how often each corpus was repeated is not known: nothing is learnt of repetition (give --supply).",
    "m.csv: 6 held-out run(s) of another scale than the proxies' judge nothing.",
    "The method gp learns nothing of repetition.",
    "No corpus has more than 2 epochs in 3 runs: nothing is learnt of repetition.",
    "A law that knows epochs is not clearly better (left-out error 0.314 standard deviations of the objective, 0.321 without): "
    "the plain one is used.",
    "What repetition does is learnt from the runs (left-out error 0.11 standard deviations of the objective, 0.162 without).",
    "Repeating news (up to 34 epochs in the runs): R* 9.02 (7.58 to 11.7; 15.39 where nothing says otherwise), and 16 epochs "
    "cost 0.00718 (0.00151 to 0.0105) news_bpb.",
    "Hardly repeated by any run, so that R* 15.39 stands for it: wiki, code.",
    "The small runs alone rank 12 runs of the largest scale with Spearman 0.81 for the objective.",
    "Error of differences between mixtures on 8 runs of the target scale, left out: 0.12 with weights that move "
    "with the scale, 0.34 with one order at all scales: the weights move with the scale.",
    "Moving the weights with the scale is worth 0.12 (0.05 to 0.2) in standard deviations over the proxies at the target's "
    "scale, against the mixture that the small runs alone would choose.",
    "No level of a loss is said: the target is 45 times the largest seen. Its mixture is given, ranking assumed "
    "to transfer; --force says levels too.",
    "a and b never vary apart in the runs, so that nothing can tell them apart: together they get 12.0% (3.0% to 20.0%), split "
    "by their tokens; any other split is as good as far as the runs say, and the ranges of each say so.",
]


@pytest.mark.parametrize("note", NOTES)
def test_every_note_keeps_its_numbers_and_names(note):
    said = japanese.say(note)
    assert re.search("[ぁ-ん]", said)
    for part in re.findall(r"-?\d+(?:\.\d+)?%?|[a-z]+_bpb|p00\d", note.replace("R2", "")):
        assert part in said


def test_the_whole_report_is_japanese(tmp_path):
    table = world(tmp_path, 16)
    (tmp_path / "supply.csv").write_text(
        "corpus,tokens\n" + "".join(f"{c},{n}e6\n" for n, c in enumerate(table.corpora, 5))
    )
    more = ["--supply", str(tmp_path / "supply.csv"), "--target-tokens", "60e6", "--compare", "--ceiling", "*_bpb=+2%"]
    document = table.search([*more, "--force"])
    english, made = (report.text(document, language=language) for language in ("en", "ja"))
    assert sorted(re.findall(r"\d+\.\d+", english)) == sorted(re.findall(r"\d+\.\d+", made))
    # what is left in Latin letters: names of corpora, metrics and methods
    known = {*table.corpora, *table.metrics, "R2", "auto", "law", "explaw", "lightgbm", "gp", "regmix", "token_share"}
    known |= {"temperature", "unimax", "uniform", "quadratic", "kernel_ridge"}
    words = set(re.findall(r"[A-Za-z][A-Za-z_0-9]+", made))
    assert words <= known
