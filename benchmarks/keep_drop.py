"""Precision and recall: what each profile of cleaning, and HojiChar's chain, keep of documents labelled keep or drop.

    python benchmarks/keep_drop.py [--sets FILE...] [--errors PROFILE] [--fit [--write]] [--json]

Every `keep_drop/*.jsonl` beside this script is a set of its own: `{"id", "text", "label": "keep"|"drop", "kind", "language"}` a
line. Documents of Debian's, where /usr/share/doc has them, are another: `keep_drop/debian.csv` labels them by their kind.
Precision is the share of what was kept that was labelled keep, recall the share of what was labelled keep that was kept; a
profile is judged on the documents of its language (manual: on manuals among those to be kept). --errors lists what a profile
got wrong. --fit prints the weights of `preprocess/rules/wording.yml` as a logistic regression finds them on the sets given
(never on `held_out.jsonl`, which is to judge them) and on good texts of HAIGO_CORPORA, with the figures of documents left
out in tenths and, harder, of whole kinds left out; --write puts them into the file.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import os
import random
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _measure import ROOT, parser, show
from _texts import add_corpora

os.environ["HAIGO_QUIET"] = "1"
SETS = ROOT / "benchmarks" / "keep_drop"
DEBIAN, EACH, MOST_CHARS = Path("/usr/share/doc"), 15, 6000
PROFILES = ("auto", "web", "manual", "encyclopaedia", "news", "literature", "english")
MANUALS = frozenset(
    {"manual", "manual_howto", "option_table", "tech_ja", "technical", "reference", "faq", "release_notes"}
)
HELD_OUT = "held_out"
"""The set that judges, by another hand than the rules': it was opened when they were done, and nothing is fitted on it."""
REAL = {
    "wiki_ja/kyoto.jsonl.zst": 150, "news/wikinews-ja.jsonl.gz": 150, "diet/speech_pages": 100,
    "literature/aozora-sjis.tar.xz": 60,
}  # fmt: skip
GOAL = (0.95, 0.90)
LIMIT = 1.2
"""So far above even odds a page is dropped only: a good one that goes is not seen again."""


@dataclass(frozen=True)
class Labelled:
    """A document and what is to become of it."""

    name: str
    text: str
    keep: bool
    kind: str
    language: str


def read(path: Path) -> list[Labelled]:
    """The documents of one set."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        Labelled(row["id"], row["text"], row["label"] == "keep", row.get("kind", ""), row.get("language", "ja"))
        for row in rows
    ]


def debian() -> list[Labelled]:
    """Documents that Debian's packages bring along, a few of each kind, spread over the packages."""
    found = []
    for row in csv.DictReader(io.StringIO((SETS / "debian.csv").read_text(encoding="utf-8"))):
        paths = sorted(path for path in DEBIAN.glob(row["pattern"]) if path.is_file() and not path.is_symlink())
        for path in paths[:: max(1, len(paths) // EACH)][:EACH]:
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            text = data.decode("utf-8", "replace")[:MOST_CHARS]
            found.append(Labelled(str(path), text, row["label"] == "keep", row["kind"], row["language"]))
    return found


def judged_by(profile: str) -> Callable[[Iterable[Labelled]], list[bool]]:
    """Whether a profile of ours keeps each."""
    from haigo.formats.documents import Document
    from preprocess import cleaner
    from preprocess.options import CleanOptions

    options = CleanOptions(profile=profile)
    return lambda rows: [bool(cleaner.clean_lot(options, [Document(row.name, row.text, {})]).kept) for row in rows]


def hojichar() -> Callable[[Iterable[Labelled]], list[bool]]:
    """The same for the chain that is usual for Japanese pages."""
    from clean_speed import hojichar_chain
    from hojichar import Compose, Document

    chain = Compose(hojichar_chain(True)[1:-1])
    return lambda rows: [not chain.apply(Document(row.text)).is_rejected for row in rows]


def rates(rows: list[Labelled], kept: list[bool]) -> dict[str, Any]:
    """Precision, recall and the counts behind them."""
    right = sum(row.keep for row, stays in zip(rows, kept, strict=True) if stays)
    good = sum(row.keep for row in rows)
    return {
        "documents": len(rows), "good": good, "kept": sum(kept), "precision": round(right / max(1, sum(kept)), 3),
        "recall": round(right / max(1, good), 3),
    }  # fmt: skip


def of_profile(profile: str, rows: list[Labelled]) -> list[Labelled]:
    """Those that a profile is judged on."""
    language = "en" if profile == "english" else "ja"
    own = [row for row in rows if row.language == language or profile == "auto"]
    return [row for row in own if profile != "manual" or not row.keep or row.kind in MANUALS]


# --- fitting


def fitted(rows: list[Labelled], corpora: Path) -> tuple[dict[str, float], float, list[str]]:
    """Weights, the limit, and lines about how good they are."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import StandardScaler

    from preprocess.rules import wording

    measured, real = wording.web(), _real(corpora)
    names = measured.names
    values = measured.features(wording.Joined([_as_read(text) for text in [*(row.text for row in rows), *real]]))
    scaler = StandardScaler().fit(values)
    scaled = scaler.transform(values)
    bad = np.array([not row.keep for row in rows] + [False] * len(real))
    weight = np.array([1.0] * len(rows) + [0.3] * len(real))
    every, own = np.arange(len(bad)), np.arange(len(rows))

    def model(train: Any) -> Any:
        return LogisticRegression(C=0.1, max_iter=5000).fit(scaled[train], bad[train], weight[train])

    kinds = np.array([row.kind for row in rows])
    tenths = [test for _, test in KFold(10, shuffle=True, random_state=0).split(own)]
    said = []
    for about, parts in (("a tenth", tenths), ("each kind", [own[kinds == kind] for kind in sorted(set(kinds))])):
        kept = np.zeros(len(rows), bool)
        for test in parts:
            kept[test] = model(np.setdiff1d(every, test)).decision_function(scaled[test]) < -LIMIT
        said.append(f"leaving out {about}: {rates(rows, kept.tolist())}")
    whole = model(every)
    wrong = float((whole.decision_function(scaled[len(rows) :]) > -LIMIT).mean()) if real else 0.0
    said.append(f"of {len(real)} good texts of the corpora {wrong:.4f} would go")
    raw = whole.coef_[0] / scaler.scale_
    limit = float(whole.intercept_[0] - (raw * scaler.mean_).sum() + LIMIT)
    return {name: float(f"{value:.4g}") for name, value in zip(names, raw, strict=True) if value}, limit, said


def _as_read(text: str) -> str:
    """A text as the rules find it, before they take lines out of it."""
    from haigo.formats.documents import Document
    from preprocess import rules
    from preprocess.account import Account
    from preprocess.rules import domains, normalise

    document = Document("x", text, {})
    account = Account()
    text = rules.apply(document, rules.MARKUPS[rules.markup_of(document)], account).text
    return rules.run(text, normalise.steps(domains.table()["web"].normalise), account)


def _real(corpora: Path) -> list[str]:
    """Pieces of good texts of 200 to 1,500 characters."""
    from preprocess import sources

    rng, found = random.Random(1), []
    for name, count in REAL.items():
        if (corpora / name).exists():
            texts = [document.text for document in sources.read([corpora / name])]
            for text in rng.sample(texts, min(count, len(texts))):
                start = rng.randrange(max(1, len(text) - 800))
                found.append(text[start : start + rng.randint(200, 1500)])
    return found


def fit(given: Any, rows: list[Labelled]) -> int:
    """Print the weights, or write them."""
    weights, limit, said = fitted([row for row in rows if row.language == "ja"], given.corpora)
    block = (
        "weights:\n" + "".join(f"  {name}: {value:g}\n" for name, value in weights.items()) + f"limit: {limit:.4g}\n"
    )
    print("\n".join(said))
    path = ROOT / "preprocess" / "rules" / "wording.yml"
    if given.write:
        path.write_text(
            re.sub(r"^weights:.*", "", path.read_text(encoding="utf-8"), flags=re.M | re.S) + block, encoding="utf-8"
        )
    else:
        print(block)
    return 0


def main() -> int:
    """Print a table for every set."""
    words = parser(__doc__)
    add_corpora(words)
    words.add_argument("--sets", type=Path, nargs="+", help="files (default: all of benchmarks/keep_drop)")
    words.add_argument("--errors", metavar="PROFILE", help="what this profile got wrong")
    words.add_argument("--fit", action="store_true")
    words.add_argument("--write", action="store_true", help="with --fit: into wording.yml")
    words.add_argument("--json", action="store_true")
    given = words.parse_args()
    sets = {path.stem: read(path) for path in given.sets or sorted(SETS.glob("*.jsonl"))}
    if given.fit:
        return fit(given, [row for name, rows in sets.items() if name != HELD_OUT for row in rows])
    if DEBIAN.is_dir() and not given.sets:
        sets["debian"] = debian()
    contenders: dict[str, Any] = {profile: partial(judged_by, profile) for profile in PROFILES}
    if importlib.util.find_spec("hojichar"):
        contenders["hojichar"] = hojichar
    table: dict[str, Any] = {}
    for name, rows in sets.items():
        for profile, make in contenders.items():
            own = of_profile(profile, rows)
            if not own:
                continue
            kept = make()(own)
            table.setdefault(name, {})[profile] = rates(own, kept)
            if profile == given.errors:
                wrong = [(row, stays) for row, stays in zip(own, kept, strict=True) if stays != row.keep]
                for row, stays in wrong:
                    print(f"{name} {profile} {'kept' if stays else 'dropped'}: {row.kind} {row.name}", file=sys.stderr)
    if given.json:
        show(table, True)
        return 0
    for name, profiles in table.items():
        for profile, row in profiles.items():
            goal = all(row[key] >= least for key, least in zip(("precision", "recall"), GOAL, strict=True))
            mark = ("  goal reached" if goal else "  goal NOT reached") if profile == "web" else ""
            counts = f"{row['kept']:4} of {row['documents']:4} kept, {row['good']:4} good"
            print(f"{name:8} {profile:14} precision {row['precision']:.3f}  recall {row['recall']:.3f}  {counts}{mark}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
