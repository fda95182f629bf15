"""The report's section on the text: what every stage read, kept and removed, with examples."""

from __future__ import annotations

from pathlib import Path

from haigo import files
from haigo.formats.dataset import manifest
from haigo.shown import html
from launch.pipeline import runfile
from launch.pipeline.page.html import table

_TOKENIZER = {"corpora": {str: {"characters_per_token": float}}}
_RULE = {"documents": int, "characters": int, "samples?": [object]}
_CLEAN = {
    **dict.fromkeys(("documents_in", "documents_out", "characters_in", "characters_out"), int),
    "rules": {str: _RULE},
}
_SIDE = {"corpus": str, "text": str}
_DEDUP = {
    "documents_in": int,
    "documents_out": int,
    "corpora": {
        str: {"documents_in": int, "exact_duplicate": int, "near_duplicate": int, "repeats_of": {str: int}},
    },
    "samples": [{"rule": str, "similarity": float, "removed": _SIDE, "kept": _SIDE}],
}
_ITEMS = {
    "tasks": {str: dict.fromkeys(("items", "searched", "found", "found_in_training"), int)},
    "corpora": {
        str: {"documents_in": int, "contaminated": dict.fromkeys(("train", "valid", "test"), int), "tasks": {str: int}},
    },
    "samples": [{"task": str, "item": object, "item_text": str, **_SIDE}],
    "against": [object],
}


def text(root: Path, run: runfile.RunFile) -> str:
    """The section on the text: what was read, kept and removed, corpus by corpus."""
    rows, removed = [], []
    compression = files.read_record(root / "tokenizer" / "meta.json", _TOKENIZER)["corpora"]
    for name in run.corpora:
        clean = files.read_record(root / run.text_folder() / name / "clean.json", _CLEAN)
        tokens = manifest.read(root / "data" / name / "train_text_document")["tokens"]
        rows.append(
            [
                name,
                f"{clean['documents_in']:,}",
                f"{clean['documents_out']:,}",
                f"{clean['characters_in'] / 1e6:.2f} M",
                f"{clean['characters_out'] / 1e6:.2f} M",
                f"{tokens / 1e6:.2f} M",
                f"{compression[name]['characters_per_token']:.2f}",
            ]
        )
        for rule, report in clean["rules"].items():
            if report["documents"]:
                sample = report.get("samples") or [""]
                first = sample[0] if isinstance(sample[0], str) else str(sample[0])
                removed.append([name, rule, f"{report['documents']:,}", f"{report['characters']:,}", first[:80]])
    head = ["corpus", "documents read", "kept", "characters read", "kept", "training tokens", "characters a token"]
    cleaned = table(["corpus", "rule", "documents", "characters", "for example"], removed, text_columns=(0, 1, 4))
    return (
        f"<section><h2>The text</h2>{table(head, rows)}<details><summary>What cleaning removed or changed</summary>"
        f"{cleaned}</details>{_repeated(root, run)}{_evaluation(root, run)}</section>"
    )


def _repeated(root: Path, run: runfile.RunFile) -> str:
    """What dedup took out; nothing where it is off."""
    if run.dedup.method == "none":
        return ""
    found = files.read_record(root / "dedup" / "dedup.json", _DEDUP)
    rows = [
        [
            name,
            f"{row['documents_in']:,}",
            f"{row['exact_duplicate']:,}",
            f"{row['near_duplicate']:,}",
            ", ".join(f"{other} {count:,}" for other, count in row["repeats_of"].items()),
        ]
        for name, row in found["corpora"].items()
    ]
    shown = [
        [
            sample["rule"].replace("_", " "),
            f"{sample['similarity']:.3f}",
            *(f"{sample[side]['corpus']}: {sample[side]['text'][:80]}" for side in ("removed", "kept")),
        ]
        for sample in found["samples"]
    ]
    examples = table(["rule", "similarity", "removed", "kept"], shown, text_columns=(0, 2, 3))
    counts = table(["corpus", "documents", "equal to another", "nearly so", "of"], rows, text_columns=(0, 4))
    gone = found["documents_in"] - found["documents_out"]
    return (
        f"<h3>Repeated documents</h3><p>{gone:,} of {found['documents_in']:,} documents were taken out because another"
        f" that stays is equal or nearly so.</p>{counts}"
        + (f"<details><summary>Examples</summary>{examples}</details>" if shown else "")
    )


def _evaluation(root: Path, run: runfile.RunFile) -> str:
    """What decontamination found and took out; nothing where it is off."""
    if not run.decontaminate.against:
        return ""
    found = files.read_record(root / "decontaminate" / "decontaminate.json", _ITEMS)
    tasks = [
        [task, *(f"{row[key]:,}" for key in ("items", "searched", "found", "found_in_training"))]
        for task, row in found["tasks"].items()
    ]
    corpora = [
        [
            name,
            f"{row['documents_in']:,}",
            *(f"{row['contaminated'][split]:,}" for split in ("train", "valid", "test")),
            ", ".join(f"{task} {count:,}" for task, count in row["tasks"].items()),
        ]
        for name, row in found["corpora"].items()
    ]
    shown = [
        [each["task"], each["item"], each["item_text"][:80], f"{each['corpus']}: {each['text'][:80]}"]
        for each in found["samples"]
    ]
    examples = table(["task", "item", "its text", "found in"], shown, text_columns=(0, 1, 2, 3))
    what = {
        "document": "The documents that hold one were taken out.",
        "paragraph": "The lines that hold one were taken out.",
        "none": "Nothing was taken out.",
    }[run.decontaminate.remove]
    return (
        f"<h3>Evaluation items in the text</h3><p>Looked for in {len(found['against'])} files. {html(what)}</p>"
        + table(["task", "items", "long enough to look for", "found", "found in training documents"], tasks)
        + table(["corpus", "documents", "train", "valid", "test", "with items of"], corpora, text_columns=(0, 5))
        + (f"<details><summary>Examples</summary>{examples}</details>" if shown else "")
    )
