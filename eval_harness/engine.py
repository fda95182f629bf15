"""The leaderboard's tasks inside lm-eval's evaluator.

lm-eval (0.4.13) collects the requests, calls the model, brings the answers back to their documents and aggregates; this
module gives it documents in jp-stable's order, contexts with jp-stable's shots, and takes the figures from `Rules`.
Import it only where a model is about to run: it brings in lm-eval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task, TaskConfig
from lm_eval.evaluator import evaluate

from eval_harness import fewshot
from eval_harness.model import LeaderboardLM, quiet
from eval_harness.sources import Source
from eval_harness.tasks.base import END_OF_TEXT, Rules, Score, Scores


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A task with the documents it will score and the context of each."""

    rules: Rules
    docs: list[dict[str, Any]]
    contexts: list[str]
    shots: int
    available: int
    """How many documents the data file holds."""
    fewer_shots: int = 0
    """How many documents got fewer shots than asked for, because the context would have been too long."""
    too_long: int = 0
    """How many documents are too long even without shots; jp-stable stops with an error there."""


def prepare(source: Source, seed: int = fewshot.LEADERBOARD_SEED, model: LeaderboardLM | None = None) -> Prepared:
    """Shuffle, limit, draw and write the contexts of one task.

    Args:
        model: whose tokenizer and length decide, for rules that `needs_model`.
    """
    rules, docs, pool, shots = source.rules, source.docs, source.pool_docs, source.shots
    if rules.first_shots:
        return _in_order(source, model)
    order, generator = fewshot.shuffled(docs, seed)
    kept = fewshot.take(order, source.limit)
    if model is None or not rules.needs_model:
        stratum = rules.target if rules.stratified else None
        drawn = list(fewshot.draws(len(kept), pool, shots, generator, stratum))
        contexts = [rules.context(doc, examples) for doc, examples in zip(kept, drawn, strict=True)]
        return Prepared(rules=rules, docs=kept, contexts=contexts, shots=shots, available=len(docs))
    encode, length = model.encode, model.room

    def fits(number: int, examples: list[dict[str, Any]]) -> bool:
        room = rules.room(kept[number], encode, length)
        return room is None or len(encode(rules.context(kept[number], examples))) <= room

    fitted = list(fewshot.draws_that_fit(len(kept), pool, shots, generator, fits))
    contexts = [rules.context(doc, examples) for doc, (examples, _) in zip(kept, fitted, strict=True)]
    return Prepared(
        rules=rules,
        docs=kept,
        contexts=[rules.trim(c, doc, encode, model.decode, length) for c, doc in zip(contexts, kept, strict=True)],
        shots=shots,
        available=len(docs),
        fewer_shots=sum(len(examples) < shots for examples, _ in fitted),
        too_long=sum(not fit for _, fit in fitted),
    )


def _in_order(source: Source, model: LeaderboardLM | None) -> Prepared:
    """The documents in their file's order, with the same shots before each."""
    rules, docs = source.rules, fewshot.take(source.docs, source.limit)
    examples = source.pool_docs[: source.shots]
    contexts = [rules.context(doc, examples) for doc in docs]
    rooms = [model and rules.room(doc, model.encode, model.room) for doc in docs]
    return Prepared(
        rules=rules,
        docs=docs,
        contexts=contexts,
        shots=source.shots,
        available=len(source.docs),
        too_long=sum(
            bool(model and room is not None and len(model.encode(context)) > room)
            for context, room in zip(contexts, rooms, strict=True)
        ),
    )


def requests(prepared: Prepared, doc_id: int, model: LeaderboardLM) -> Iterator[Instance]:
    """What a model is asked of one document, in lm-eval's form."""
    doc, context = prepared.docs[doc_id], prepared.contexts[doc_id]
    for index, request in enumerate(prepared.rules.requests(doc, model.encode)):
        kind: Any
        arguments: tuple[Any, ...]
        if isinstance(request, Score):
            kind, arguments = "loglikelihood", (context, request.choice)
        else:
            stops = [model.end_of_text if stop == END_OF_TEXT else stop for stop in request.stops]
            kind, arguments = "generate_until", (context, {"until": stops, "max_gen_toks": request.max_new_tokens})
        metadata = (prepared.rules.name, doc_id, 1)
        yield Instance(request_type=kind, doc=doc, arguments=arguments, idx=index, metadata=metadata)


class LeaderboardTask(Task):
    """`Prepared` behind lm-eval's Task interface."""

    OUTPUT_TYPE = "multiple_choice"

    def __init__(self, prepared: Prepared, model: LeaderboardLM, bootstrap_iters: int) -> None:
        self.prepared, self.rules = prepared, prepared.rules
        self.rules.pieces = model.pieces
        self.model = model
        self.bootstrap_iters = bootstrap_iters
        super().__init__()
        self.VERSION = float(self.rules.version)
        self._config = TaskConfig(task=self.rules.name, num_fewshot=prepared.shots)

    def download(self, *args: Any, **kwargs: Any) -> None:
        """The documents are local files that were read before."""

    def has_training_docs(self) -> bool:
        return False

    def has_validation_docs(self) -> bool:
        return True

    def has_test_docs(self) -> bool:
        return False

    def validation_docs(self) -> list[dict[str, Any]]:
        return self.prepared.docs

    def doc_to_text(self, doc: Mapping[str, Any]) -> str:
        return self.rules.prompt.text(doc)

    def doc_to_target(self, doc: Mapping[str, Any]) -> str:
        return self.rules.target(doc)

    def build_all_requests(self, *, rank: int = 0, world_size: int = 1, **_: Any) -> None:
        """All contexts exist already, so every process of a data-parallel run has the same draws."""
        self._instances = [
            instance
            for doc_id, _ in self.doc_iterator(rank=rank, world_size=world_size)
            for instance in requests(self.prepared, doc_id, self.model)
        ]

    def construct_requests(self, doc: dict[str, Any], ctx: str, **_: Any) -> list[Instance]:
        raise NotImplementedError("contexts and requests are made together in build_all_requests")

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any]:
        return {"row": self.rules.judge(doc, results)}

    def aggregation(self) -> dict[str, Any]:
        return {"row": lambda rows: self.rules.aggregate(rows, self.bootstrap_iters)}

    def higher_is_better(self) -> dict[str, bool]:
        return self.rules.higher_is_better


def score(
    model: LeaderboardLM, prepared: Sequence[Prepared], bootstrap_iters: int
) -> dict[str, tuple[Scores, list[dict[str, Any]]]]:
    """Run the tasks through lm-eval's evaluator.

    Returns:
        task id -> (figures in the leaderboard's names and order, one row a document in scoring order).
    """
    with quiet():
        tasks = {each.rules.name: LeaderboardTask(each, model, bootstrap_iters) for each in prepared}
        # standard errors come from Rules.aggregate: lm-eval would bootstrap other figures with other generators
        outcome = evaluate(lm=model, task_dict={"tasks": tasks, "groups": {}}, bootstrap_iters=0, log_samples=True)
    scored = {}
    for each in prepared:
        name = each.rules.name
        samples = sorted(outcome["samples"][name], key=lambda sample: sample["doc_id"])
        rows = [
            {
                "doc_id": s["doc_id"],
                "id": s["doc"]["id"],
                "context": model.shown(each.contexts[s["doc_id"]]),
                **s["row"],
            }
            for s in samples
        ]
        scored[name] = (outcome["results"][name]["row,none"], rows)
    return scored
