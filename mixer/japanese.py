"""A recommendation's words in Japanese: headings, the report's sentences, and the notes, which mixture.yml holds in English."""

from __future__ import annotations

import re
from collections.abc import Callable

WORDS = {
    "corpus": "コーパス", "weight": "重み", "90 % interval": "90 % 区間", "near-optimal": "準最適範囲", "epochs": "エポック",
    "token share": "トークン比", "uniform": "一様", "prior": "事前の配合", "metric": "指標", "predicted": "予測",
    "left-out Spearman": "除外検証の順位相関", "left-out R2": "除外検証の R2", "held-out Spearman": "検証用プロキシの順位相関",
    "held-out R2": "検証用プロキシの R2", "method": "方法", "objective": "目的関数", "gain by this law": "この法則での改善",
    "gain by a GP": "ガウス過程での改善", "picked proxy loses": "選ぶプロキシの損失",
    "Mixture": "配合", "Predictions": "予測", "What binds": "効いている制約", "Fit": "当てはまり",
    "Methods compared": "方法の比較", "Notes": "注意", "Nothing binds.": "効いている制約はありません。",
    "standard deviations over the proxies": "プロキシ間の標準偏差", "sum": "合計", "0.01 of weight": "重み 0.01",
    "1 % of the ceiling": "上限の 1 %", "raised": "上げる", "lowered": "下げる", "by their tokens": "トークン数に応じて",
    "in the ratio of the runs": "プロキシでの比に応じて",
    "The limits ask for less of a corpus than any proxy had: the prediction there is extrapolation.":
        "制約はどのプロキシよりも小さい重みを求めています。そこでの予測は外挿です。",
    "More proxies of the same kind would hardly lower it: try larger ones, or mixtures nearer to this one.":
        "同じ種類のプロキシを増やしてもほとんど下がりません。より大きなプロキシか、この配合に近い配合を試してください。",
}  # fmt: skip

_PATTERNS: list[tuple[str, str]] = [
    (r"(?P<a>.+) is worth (?P<b>\S+) in (?P<c>[^(]+) \((?P<d>.+)\)\.", "{a} あたり {b} の価値（単位: {c}。{d}）。"),
    (
        r"Predicted gain over (?P<a>.+): (?P<b>\S+) \((?P<c>[^()]+)\) in (?P<d>.+); better with probability (?P<e>\S+)\. "
        r"Expected loss from what the proxies do not tell: (?P<f>\S+)\.",
        "{a}に対する改善の予測: {b}（{c}、単位: {d}）。改善する確率 {e}。プロキシから分からないことによる損失の期待値: {f}。",
    ),
    (r"About (?P<a>\d+) more proxies of the same kind would halve it\.", "同じ種類のプロキシをあと約 {a} 本増やすと半分になります。"),
    (
        r"(?P<a>.+): (?P<b>\d+) run\(s\) did not sum to exactly 1 and were scaled \((?P<c>.+)\)\.",
        "{a}: {b} 本の重みの和が 1 でなかったため、比例して調整しました（{c}）。",
    ),
    (r"(?P<b>\d+) run\(s\) are not in (?P<a>.+) and were left out: (?P<c>.+)\.", "{b} 本は {a} にないため除きました: {c}。"),
    (r"Left out: (?P<text>.+)", "除きました: {text}"),
    (r"(?P<a>.+): '(?P<b>.+)' is the same in every run and was left out\.", "{a}: '{b}' は全プロキシで同じ値なので除きました。"),
    (
        r"(?P<a>.+): '(?P<b>.+)' has the same weight in every run; nothing can be learned about it\.",
        "{a}: '{b}' の重みは全プロキシで同じです。このコーパスについては何も分かりません。",
    ),
    (
        r"(?P<a>.+): (?P<b>\d+) run\(s\) are copies of another and count twice \((?P<c>.+)\)\.",
        "{a}: {b} 本は他のプロキシの複製で、二重に数えられます（{c}）。",
    ),
    (
        r"(?P<a>.+): (?P<b>\d+) run\(s\) were trained several times and count as their means; what their seeds do is the "
        r"least noise of a run\.",
        "{a}: {b} 本は複数回訓練されており、平均を使います。シードによる差を 1 回の訓練の雑音の下限とします。",
    ),
    (
        r"(?P<a>.+): (?P<b>\d+) run\(s\) were trained several times and count as their means; that is too little to know the "
        r"noise of a run \((?P<c>\d+) degrees of freedom are needed\)\.",
        "{a}: {b} 本は複数回訓練されており、平均を使います。1 回の訓練の雑音を知るには足りません（自由度 {c} が必要です）。",
    ),
    (
        r"(?P<a>.+): the run '(?P<b>.+)' does not fit the others \((?P<text>.+)\) and counts next to nothing there: look at its "
        r"log, and drop or repeat it\.",
        "{a}: '{b}' は他のプロキシと合わず（{text}）、ほとんど数えません。ログを確かめ、除くか訓練し直してください。",
    ),
    (
        r"'(?P<a>.+)' gets worse the more of '(?P<b>.+)' a run has \(rank correlation (?P<c>\S+)\): check that it is meant to be "
        r"(?P<d>\S+)\.",
        "'{b}' が多いほど '{a}' が悪くなります（順位相関 {c}）。この指標を{d}のが正しいか確かめてください。",
    ),
    (
        r"(?P<a>.+): (?P<b>\S+) varies by (?P<c>\S+) over the proxies, of which (?P<d>\d+) items alone explain (?P<e>\S+); a loss "
        r"on the same task says more\.",
        "{a}: {b} のプロキシ間のばらつきは {c} で、{d} 問という数だけで {e} を説明します。同じ課題の損失のほうが多くを語ります。",
    ),
    (
        r"(?P<a>.+): (?P<b>\S+) is at chance \((?P<c>\S+)\) for most proxies: larger proxies, or a loss on the same task, are "
        r"needed\.",
        "{a}: {b} はほとんどのプロキシで当て推量の水準（{c}）です。より大きなプロキシか、同じ課題の損失が必要です。",
    ),
    (
        r"The ceiling on (?P<a>.+) rests on a law that left-out runs do not confirm\.",
        "{a} の上限は、除外検証で確かめられない法則に基づいています。",
    ),
    (r"Forced: (?P<text>.+)", "検査に反して続けました: {text}"),
    (
        r"the fit is no better than taking the mean of the proxies \(left-out runs: R2 (?P<a>\S+), Spearman (?P<b>\S+) for "
        r"(?P<c>.+)\)\.",
        "当てはまりはプロキシの平均をとるより良くありません（除外検証: R2 {a}、順位相関 {b}、{c}）。",
    ),
    (
        r"Screen of (?P<a>\d+) n-gram mixtures; its rank correlation with the proxies: (?P<b>.+); (?P<c>\d+) metric\(s\) were not "
        r"screened\.",
        "n-gram による選別 {a} 配合。プロキシとの順位相関: {b}。{c} 個の指標は選別にありません。",
    ),
    (
        r"Screen of (?P<a>\d+) n-gram mixtures; its rank correlation with the proxies: (?P<b>.+)\.",
        "n-gram による選別 {a} 配合。プロキシとの順位相関: {b}。",
    ),
    (
        r"Recalibrated to the target's scale with (?P<a>\d+) runs; intervals include what that leaves open\.",
        "目標の規模へ {a} 本で較正しました。それで決まらない分は区間に含まれます。",
    ),
    (
        r"Left-out runs of the target's scale: mean Spearman (?P<a>\S+), median R2 (?P<b>\S+) over metrics\.",
        "目標の規模での除外検証: 順位相関の平均 {a}、R2 の中央値 {b}（全指標）。",
    ),
    (
        r"Gone since the earlier swarms, kept in the fit at weight 0: (?P<a>.+)\.",
        "以前の表にあり今はないコーパス（重み 0 で当てはめに残す）: {a}。",
    ),
    (r"(?P<a>\d+) runs of (?P<b>.+) are used too\.", "{b} の {a} 本も使います。"),
    (
        r"(?P<a>.+): (?P<b>\d+) run\(s\) of (?P<c>.+) are too few to use and were left out\.",
        "{a}: {c} の {b} 本は少なすぎるため除きました。",
    ),
    (
        r"(?P<a>.+): (?P<b>\d+) runs of (?P<c>.+) count (?P<d>\S+) of a run each\.",
        "{a}: {c} の {b} 本は 1 本あたり {d} 本分に数えます。",
    ),
    (
        r"(?P<a>.+): the proxies repeat their corpora as a run of (?P<b>\S+) tokens would, and the target run has (?P<c>\S+): "
        r"what they say of repetition holds for the former\.",
        "{a}: プロキシの反復は {b} トークンの訓練に合わせてあり、目標は {c} トークンです。反復の影響は前者のものです。",
    ),
    (
        r"(?P<a>.+): the proxies repeat their corpora as the target run will, so repetition is not discounted again\.",
        "{a}: プロキシは目標と同じだけコーパスを反復しているので、反復を重ねて割り引きません。",
    ),
    (
        r"(?P<a>.+) never vary apart in the runs, so that nothing can tell them apart: together they get (?P<b>\S+) "
        r"\((?P<c>.+)\), split (?P<d>[^;]+); any other split is as good as far as the runs say, and the ranges of each say so\.",
        "{a} はプロキシで常に一緒に変わるため区別できません。合わせて {b}（{c}）とし、{d}分けました。"
        "他の分け方もプロキシからは同じで、各範囲がそれを示します。",
    ),
    (
        r"(?P<a>.+) never vary apart in the runs, and their limits differ too much for one split: what the answer gives each of "
        r"them is a guess, only their sum is known\.",
        "{a} はプロキシで常に一緒に変わり、制約が違いすぎて一つにまとめられません。各々の重みは推測で、分かるのは和だけです。",
    ),
    (
        r"The runs vary (?P<a>.+) only together \(the weights of some decide the others\): what the answer gives each of them is "
        r"a guess, only what they do together is known\.",
        "{a} はプロキシで一緒にしか変わりません（一部の重みが他を決めます）。各々の重みは推測で、分かるのは合わせた効果だけです。",
    ),
    # parts of sentences, and cells of tables
    (r"at (?P<a>.+)", r"{a}での予測"),
    (r"(?P<a>.+) \(breaks a ceiling\)", "{a}（上限を超える）"),
    (r"(?P<a>\S+) to (?P<b>\S+)", "{a} 〜 {b}"),
    (r"one more epoch of (?P<a>.+)", "{a} をもう 1 エポック"),
    (r"ceiling on (?P<a>.+)", "{a} の上限"),
    (r"(?P<a>.+) at most (?P<b>\S+) epochs \(weight <= (?P<c>\S+)\)", "{a} は最大 {b} エポック（重み <= {c}）"),
    (r"(?P<a>.+) \(least weight of any proxy\)", "{a}（全プロキシの最小の重み）"),
    (r"group (?P<a>.+ [<>]= \S+)", "グループ {a}"),
]  # fmt: skip
_COMPILED = [(re.compile(pattern), made) for pattern, made in _PATTERNS]

Say = Callable[[str], str]
"""What says an English word or sentence in the report's language."""


def say(text: str) -> str:
    """A word or sentence of the report in Japanese; as it is where this page does not know it."""
    if text in WORDS:
        return WORDS[text]
    for pattern, made in _COMPILED:
        if match := pattern.fullmatch(text):
            return made.format(**{name: say(part) for name, part in match.groupdict().items()})
    return text
