"""The leaderboard's figures, from what a model answered to one number and its standard error.

Multiple choice: acc (largest log-likelihood), acc_norm (largest per character of the choice: characters, not bytes or
tokens), and for tasks with fixed labels balanced accuracy, Matthews correlation and macro F1, all between 0 and 1.
JSQuAD: exact match and F1 over MeCab's words, in percent.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import string
import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from haigo.cli import HaigoError

BOOTSTRAP_ITERS = 100_000
_CHUNK = 1000  # jp-stable seeds its generator anew for every thousand resamples
_PUNCTUATION = frozenset(
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."
    + string.punctuation
)
_PICTURES = re.compile("[\U0001f600-\U0001f64f\U0001f300-\U0001f5ff\U0001f680-\U0001f6ff\U0001f1e0-\U0001f1ff✂-➰]+")

_LATIN_1 = dict.fromkeys(range(128, 256))
_NOT_WORD = re.compile(r"\W")


def picks(scores: Sequence[float], choices: Sequence[str]) -> tuple[int, int]:
    """The choice with the largest log-likelihood, and with the largest one per character; the first on ties.

    Args:
        scores: summed log-likelihoods, in nats.
        choices: the strings they belong to.
    """
    values = np.asarray(scores, dtype=float)
    lengths = np.array([float(len(choice)) for choice in choices])
    return int(np.argmax(values)), int(np.argmax(values / lengths))


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


def mean_stderr(values: Sequence[float]) -> float | None:
    """Sample standard deviation over the root of n; None for a single value."""
    if len(values) < 2:
        return None
    middle = mean(values)
    return math.sqrt(sum((v - middle) ** 2 for v in values) / (len(values) - 1)) / math.sqrt(len(values))


def confusion(golds: Sequence[int], answers: Sequence[int]) -> np.ndarray:
    """Counts with one row a right answer and one column a given answer, shape (classes, classes)."""
    classes = max(max(golds), max(answers)) + 1
    table = np.zeros((classes, classes))
    np.add.at(table, (np.asarray(golds), np.asarray(answers)), 1)
    return table


def balanced_accuracy(golds: Sequence[int], answers: Sequence[int]) -> float:
    """Mean, over the classes that occur, of the share of each class that was answered right."""
    table = confusion(golds, answers)
    totals = table.sum(axis=1)
    return float(np.mean([table[i, i] / totals[i] for i in range(len(table)) if totals[i]]))


def matthews(table: np.ndarray) -> np.ndarray:
    """Matthews correlation of confusion tables, shape (..., classes, classes) -> (...); 0 where it is undefined."""
    given, right = table.sum(axis=-2), table.sum(axis=-1)
    total, correct = table.sum(axis=(-1, -2)), np.trace(table, axis1=-2, axis2=-1)
    top = correct * total - (given * right).sum(-1)
    below = (total**2 - (given**2).sum(-1)) * (total**2 - (right**2).sum(-1))
    return np.where(below > 0, top / np.sqrt(np.where(below > 0, below, 1.0)), 0.0)


def mcc(golds: Sequence[int], answers: Sequence[int]) -> float:
    """Matthews correlation of several classes (Gorodkin 2004)."""
    return float(matthews(confusion(golds, answers)))


def macro_f1(golds: Sequence[int], answers: Sequence[int]) -> float:
    """Mean F1 of the classes that occur among the right or the given answers."""
    table = confusion(golds, answers)
    right, given, hits = table.sum(axis=1), table.sum(axis=0), np.diag(table)
    return float(np.mean([2 * hits[i] / (right[i] + given[i]) for i in range(len(table)) if right[i] + given[i]]))


def mcc_stderr(golds: Sequence[int], answers: Sequence[int], iters: int = BOOTSTRAP_ITERS) -> float | None:
    """jp-stable's bootstrap of the Matthews correlation, resample for resample, in seconds instead of minutes.

    It draws with `random.Random(chunk).choices`; numpy's RandomState seeded with a list gives the same numbers.
    """
    size, count = min(_CHUNK, iters), len(golds)
    if iters < 2 or count < 2:
        return None
    classes = max(max(golds), max(answers)) + 1
    cells = (np.asarray(golds) * classes + np.asarray(answers)).astype(np.int32)
    found = []
    for chunk in range(iters // size):
        generator = np.random.RandomState([chunk])
        # a block of resamples at a time keeps the memory below about 50 MB
        block = max(1, 2_000_000 // count)
        for start in range(0, size, block):
            rows = min(block, size - start)
            drawn = cells[(generator.random_sample((rows, count)) * count).astype(np.int64)]
            drawn = drawn + (np.arange(rows, dtype=np.int64) * classes**2)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=rows * classes**2)
            found.append(matthews(counts.reshape(rows, classes, classes).astype(float)))
    return float(np.std(np.concatenate(found), ddof=1))


def rouge2(answer: Sequence[str], gold: Sequence[str]) -> float:
    """F1 of the pairs of neighbouring pieces (ROUGE-2, Lin 2004), between 0 and 1."""
    given, wanted = (Counter(itertools.pairwise(pieces)) for pieces in (answer, gold))
    common = sum((given & wanted).values())
    if not common:
        return 0.0
    precision, recall = common / max(given.total(), 1), common / max(wanted.total(), 1)
    return 2 * precision * recall / (precision + recall)


def bootstrap_middle(values: Sequence[float], seed: int = 1234, iters: int = 1000) -> float:
    """The median of the means of resamples, which jp-stable reports for Rouge instead of the mean (rouge_score's
    BootstrapAggregator after `numpy.random.seed(1234)`)."""
    generator, numbers = np.random.RandomState(seed), np.asarray(values, dtype=float)
    order = np.arange(len(numbers))
    means = [np.mean(numbers[generator.choice(order, size=len(order))]) for _ in range(iters)]
    return float(np.percentile(means, 50))


def need_japanese() -> None:
    """Raise at once, before any model runs, when the packages of JSQuAD's metric are not there.

    Raises:
        HaigoError: names the missing package.
    """
    for name in ("emoji", "neologdn", "fugashi", "unidic_lite"):
        try:
            __import__(name)
        except ImportError:
            raise HaigoError(
                f"JSQuAD's metric needs the package {name.replace('_', '-')}, which is not installed.",
                "pip install haigo[ja]",
            ) from None


def normalise(text: str) -> str:
    """An answer as it is compared: pictures dropped, neologdn's normalisation, single blanks. Punctuation stays."""
    import emoji
    import neologdn

    kept = "".join(letter for letter in text if not emoji.is_emoji(letter))
    return " ".join(neologdn.normalize(_PICTURES.sub("", kept)).split())


@functools.cache
def _splitter() -> Callable[[str], str]:
    from fugashi import Tagger

    parse: Callable[[str], str] = Tagger("-Owakati").parse
    return parse


def words(text: str) -> list[str]:
    """MeCab's words of the normalised text, without those that are one listed punctuation mark."""
    return [word for word in _splitter()(normalise(text)).split() if word not in _PUNCTUATION]


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """1.0 when the normalised answer equals any normalised right answer."""
    given = normalise(answer)
    return float(any(given == normalise(gold) for gold in golds))


def answer_f1(answer: str, golds: Sequence[str]) -> float:
    """The best F1 of the answer's words against those of any right answer, between 0 and 1."""
    given = words(answer)
    best = 0.0
    for gold in golds:
        wanted = words(gold)
        common = sum((Counter(given) & Counter(wanted)).values())
        if common:
            precision, recall = common / len(given), common / len(wanted)
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


def token_sort_ratio(first: str, second: str) -> int:
    """fuzzywuzzy's token_sort_ratio (0.18 with Levenshtein), which llm-jp-eval calls char_f1: twice the longest common
    subsequence of both texts' sorted words over their lengths, as a whole percentage. Words hold letters and digits alone, in
    lower case; U+0080 to U+00FF are left out first."""
    one, two = (
        " ".join(sorted(_NOT_WORD.sub(" ", text.translate(_LATIN_1)).lower().split())) for text in (first, second)
    )
    if one == two:
        return 100
    if not one or not two:
        return 0
    row = [0] * (len(two) + 1)
    for character in one:
        diagonal = 0
        for at, other in enumerate(two, start=1):
            diagonal, row[at] = row[at], diagonal + 1 if character == other else max(row[at], row[at - 1])
    whole = len(one) + len(two)
    return round(100 * (1 - (whole - 2 * row[-1]) / whole))


def set_f1(answer: str, gold: str) -> float:
    """F1 of the lines of an answer; repeated right lines count in the recall's denominator, as in llm-jp-eval."""
    given, right = {line.strip() for line in answer.split("\n")}, [line.strip() for line in gold.split("\n")]
    hits = sum(line in right for line in given)
    precision, recall = hits / len(given), hits / len(right)
    return 2 * (precision * recall) / (precision + recall) if hits else 0.0


def number_in(text: str) -> float | None:
    """The number that a text is."""
    try:
        return float(text)
    except ValueError:
        return None


def digits_in(text: str) -> float:
    """The number that the digits and points of a text make; -2 where they make none, as in llm-jp-eval."""
    number = number_in(re.sub(r"[^0-9.]", "", text))
    return -2.0 if number is None else number


def correlation(name: str, golds: Sequence[float], answers: Sequence[float]) -> float:
    """`pearson` or `spearman`; 0 where one side is always the same, as in llm-jp-eval."""
    from scipy.stats import pearsonr, spearmanr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant values; the answer is NaN then
        found = float((pearsonr if name == "pearson" else spearmanr)(golds, answers)[0])
    return 0.0 if math.isnan(found) else found
