"""What the run's page shows, read from the files that its stages left; nothing is computed anew but the figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from haigo import digests, files, page, shapes
from haigo.cli import HaigoError
from haigo.formats import mixture as mixtures
from haigo.formats.dataset import manifest
from launch.pipeline import domains, runfile
from launch.pipeline import summary as summaries
from launch.pipeline.page import drawn, trained
from launch.pipeline.page.html import known, label, template
from launch.pipeline.summary import require_trained
from mixer import figures as mixture_figures
from mixer import law_file
from mixer import page as mixture_page

_SHOWN = 5  # documents of each domain
_CARD = {"spearman": float, "r2": float, "rmse": float}
_MIXTURE = {
    "token_share": {str: float},
    "interval?": {str: [float, float]},
    "epochs?": {str: float},
    "binding?": [{"constraint": str, "price": float}],
    "objective?": {"ceilings": {str: (str, float)}},
    "fit": {"cross_validation": {"metrics": {str: _CARD}}},
    "provenance?": {},
}
_PLAN = {
    **dict.fromkeys(("model", "layout", "file"), str),
    "nodes": int,
    **dict.fromkeys(("memory_gb", "epochs"), float),
    "tokens_per_s": [float, float],
    "days": [float, float],
}
_PLANS = {"configs": [_PLAN], "tokens": float, "cluster": str, "notes?": [str]}
_ENVIRONMENT = {"platform": str, "cores": int, "packages": {str: (str, None)}}
_TOKENIZER = {
    "corpora": {str: {"characters_per_token": float, "documents?": int, "lossless?": int}},
    "vocab_size?": int,
    "compared?": {
        "tokenizers": {
            str: {"vocab_size": int, "corpora": {str: {"characters_per_token": float, "bytes_per_token": float}}}
        },
    },
}
_CARD_FILE = {"title?": str, "origin?": str, "licences?": {str: int}}
_CLEAN = {
    **dict.fromkeys(("documents_in", "documents_out", "characters_in", "characters_out"), int),
    "rules": {str: {"documents": int, "characters": int, "samples?": [object]}},
}
_SIDE = {"corpus": str, "text": str}
_DEDUP = {
    **dict.fromkeys(("documents_in", "documents_out"), int),
    "corpora": {
        str: {**dict.fromkeys(("documents_in", "exact_duplicate", "near_duplicate"), int), "repeats_of": {str: int}}
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


def write(root: Path, run: runfile.RunFile, language: str | None = None) -> Path:
    """Write `report.html`, and its figures as files in `figures/`; the path of the page.

    Args:
        language: "en" or "ja"; the run file's when None.
    """
    language = language or run.language
    summary = summaries.read(root)
    mixture = mixtures.read(root / "mixture.yml")
    if (wrong := shapes.unlike(mixture, _MIXTURE)) is not None:
        raise HaigoError(f"{root / 'mixture.yml'} is damaged: {wrong}.", "run the pipeline again")
    require_trained(root, mixture["weights"])
    models = summary["models"]
    share = models.get("token_share", {}).get("weights") or mixture["token_share"]
    names = [f"{weight:g} × {metric}" if weight != 1 else metric for metric, weight in run.objective.metrics.items()]
    columns, proxies = _proxies(root)
    law = law_file.read(root / "search" / "mixture.yml", mixture["weights"])
    searched = mixture_figures.read(root / "search", mixture)
    about = mixture_page.about(mixture, law, language, searched)
    curves, errors = trained.curves(root, run, models), trained.errors(root, models)
    changes = trained.changes(models, errors)
    say = page.speaker(language, known)
    if len(names) > 1:
        names = [say("the mean of {first} and {last}", first=", ".join(names[:-1]), last=names[-1])]
    given = {
        "run": run,
        "title": say(run.title),
        "goal": names[0],
        "summary": summary,
        "models": models,
        "m": about,
        "searched": searched,
        "mixture_weights": mixture["weights"],
        "share": share,
        "domains": parted(root, run),
        "text": {"corpora": _corpora(root, run), "dedup": dedup(root, run), "contaminated": contaminated(root, run)},
        "tokenizer": _tokenizer(root, run),
        "columns": columns,
        "proxies": proxies,
        "curves": {metric: trained.series(lines, say) for metric, lines in curves.items()},
        "legend": [(number, say(label(name))) for number, name in enumerate(models)],
        "changes": changes,
        "against": "token_share",
        "over": trained.over(changes, mixture["objective"]["ceilings"]) if "objective" in mixture else [],
        "errors": errors,
        "board": trained.board(root, models, language),
        "own": trained.scores(models),
        "answers": trained.answers(root, models),
        "plans": files.read_record(root / "configs" / "plan.json", _PLANS),
        "environment": files.read_record(root / "env.json", _ENVIRONMENT),
        "command": files.read_text(root / "command.txt").strip(),
        "digests": _digests(root),
    }
    given["places"] = _places(given, say)
    text = template("page.html", language).render(**given, scripts=mixture_page.SCRIPTS if law else [])
    drawn.write(root / drawn.FOLDER, mixture, law, searched, curves, changes, language)
    files.write_text(root / "report.html", text)
    return root / "report.html"


def _places(given: dict[str, Any], say: Callable[..., str]) -> list[tuple[str, str]]:
    """What the page's menu leads to: id and name of each section."""
    found = [
        ("mixture", say("The mixture"), True),
        ("mixer", say("The mixer") if given["m"]["law"] else say("What is predicted"), given["m"]["prediction"]),
        ("models", say("The trained models"), True),
        ("scores", say("Scores"), given["board"] or given["own"]),
        ("evidence", say("How good the evidence is"), True),
        ("domains", say("The domains"), given["domains"]),
        ("text", say("What went in"), True),
        ("plan", say("The real training"), True),
        ("reproduce", say("Where this comes from"), True),
    ]
    return [(place, name) for place, name, there in found if there]


def _digests(root: Path) -> list[tuple[str, str]]:
    """What identifies the run: mixture, tokenizer, the proxies' tables, every dataset and trained model."""
    paths = [root / name for name in ("run.yml", "mixture.yml", "design/ratios.csv", "supply.csv")]
    paths += [each for name in ("spm.model", "tokenizer.json") if (each := root / "tokenizer" / name).is_file()][:1]
    paths += sorted((root / "models").glob("*/model/*.safetensors"))
    found = [(str(path.relative_to(root)), digests.sha256(path)) for path in paths if path.is_file()]
    for path in sorted((root / "data").glob("*/*_text_document.json")):
        known = manifest.read(path.with_suffix(""))
        found.append((f"{path.relative_to(root).with_suffix('')}.bin", known.get("bin_sha256", "")))
    return found


def _tokenizer(root: Path, run: runfile.RunFile) -> dict[str, Any]:
    """Size, digest, and per corpus what a token holds and how many documents came back unchanged."""
    found = files.read_record(root / "tokenizer" / "meta.json", _TOKENIZER)
    rows = {}
    for name in run.corpora:
        row = found["corpora"][name]
        clean = files.read_record(root / run.text_folder() / name / "clean.json", _CLEAN)
        wide = clean.get("bytes_out", 0) / max(1, clean["characters_out"])
        whole = row.get("documents")
        rows[name] = {
            "characters_per_token": row["characters_per_token"],
            "bytes_per_token": row["characters_per_token"] * wide or None,
            "lossless": f"{row['lossless']:,} / {whole:,}" if whole else "",
        }
    others = found.get("compared", {}).get("tokenizers", {})
    return {
        "vocab_size": found.get("vocab_size", 0),
        "sha256": str(found.get("sha256", "")),
        "corpora": rows,
        "compared": others if len(others) > 1 else {},
    }


def _corpora(root: Path, run: runfile.RunFile) -> dict[str, Any]:
    """Corpus -> what cleaning says of it, and what its tokens are."""
    parts = domains.parts(root, run)
    compression = files.read_record(root / "tokenizer" / "meta.json", _TOKENIZER)["corpora"]
    return {
        name: {
            "clean": files.read_record(root / run.text_folder() / name / "clean.json", _CLEAN),
            "tokens": sum(
                manifest.read(root / "data" / part / "train_text_document")["tokens"]
                for part, corpus in parts.items()
                if corpus == name
            ),
            "characters_per_token": compression[name]["characters_per_token"],
            **_origin(root, run.corpora[name].files),
        }
        for name in run.corpora
    }


def _origin(root: Path, paths: str | list[str]) -> dict[str, Any]:
    """Where a corpus was fetched from and under which licences, as the data card beside its files says; else its files."""
    given = [paths] if isinstance(paths, str) else paths
    for path in given:
        place = Path(path.replace("{prepared}", str(root / "raw")))
        for folder in (place, place.parent):
            if (folder / "DATA_CARD.json").is_file():
                card = files.read_record(folder / "DATA_CARD.json", _CARD_FILE)
                return {"origin": card.get("origin", ""), "licences": list(card.get("licences", {}))}
    return {"origin": ", ".join(path.replace("{prepared}/", "") for path in given), "licences": []}


def parted(root: Path, run: runfile.RunFile) -> dict[str, dict[str, Any]]:
    """Corpus -> part -> what it holds, of those that are parted."""
    from preprocess.domains import describe

    return {name: describe(root / domains.FOLDER / name, _SHOWN)["domains"] for name in domains.parted(run)}


def dedup(root: Path, run: runfile.RunFile) -> Any:
    """What dedup took out; None where it is off."""
    return None if run.dedup.method == "none" else files.read_record(root / "dedup" / "dedup.json", _DEDUP)


def contaminated(root: Path, run: runfile.RunFile) -> Any:
    """What decontamination found; None where it is off."""
    path = root / "decontaminate" / "decontaminate.json"
    return files.read_record(path, _ITEMS) if run.decontaminate.against else None


def _proxies(root: Path) -> tuple[list[str], list[list[str]]]:
    """The table of all proxies: its columns and rows."""
    import pandas as pd

    paths = root / "proxies" / "metrics.csv", root / "design" / "ratios.csv"
    try:
        metrics, ratios = map(pd.read_csv, paths)
        both = ratios.merge(metrics, on="run", how="left").drop(columns="seed", errors="ignore")
    except (ValueError, KeyError) as error:
        told = f"{paths[0]} and {paths[1]} do not belong together: {error}"
        raise HaigoError(told, "run the pipeline again") from None
    rows = both.itertuples(index=False, name=None)
    return list(map(str, both)), [[f"{x:.4g}" if isinstance(x, float) else str(x) for x in row] for row in rows]
