"""How large the house is: code lines of each room, long functions, import circles, longest chains, owners of each artefact.

    python benchmarks/house_size.py

A line counts as code when it holds something besides blanks, comments and docstrings. An import inside a function counts for
circles as any other; one under `if TYPE_CHECKING:` does not. Owners are modules that spell an artefact's file name or marks.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("haigo", "neox_configs", "preprocess", "mixer", "eval_harness", "launch", "examples", "benchmarks", "tests")
LINES, PARAMETERS = 80, 8
# what stands for an artefact or fact in the code of whoever reads or writes it
MARKS = {
    "mixture.yml": ("mixture.yml",),
    "ratios.csv": ("ratios.csv",),
    "metrics.csv": ("metrics.csv",),
    "supply.csv": ("supply.csv",),
    "tokenizer folder": ("spm.model",),
    "end of document": ("<|endoftext|>",),
    "indexed dataset": ("MMIDIDX",),
    "GPT-NeoX's log lines": ("iteration\\s", "lm_loss", "samples/sec"),
    "-100 label": ("-100",),
    "free memory": ("MemAvailable", "memory.max"),
    "free port": (".bind((",),
}


def code_lines(source: str, tree: ast.Module) -> set[int]:
    """The numbers of the lines of `source` that hold code."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in skipped
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def parsed(room: str) -> dict[str, tuple[Path, str, ast.Module]]:
    """Modules of a room: dotted name -> (path, source, tree)."""
    modules = {}
    for path in sorted((ROOT / room).rglob("*.py")):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        source = path.read_text(encoding="utf-8")
        modules[name] = (path, source, ast.parse(source))
    return modules


def big_functions(tree: ast.Module) -> list[tuple[str, int, int]]:
    """(name, lines, parameters) of every function beyond a limit; `self` and `cls` are no parameters."""
    big = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            every = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            parameters = len([name for name in every if name not in ("self", "cls")])
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LINES or parameters > PARAMETERS:
                big.append((node.name, lines, parameters))
    return big


def imports(name: str, path: Path, tree: ast.Module, known: set[str]) -> set[str]:
    """The modules of the house that a module imports, also inside functions, other than for types alone."""
    typing = {
        id(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for each in ast.walk(node)
    }
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            for each in node.names:
                names.add(f"{base}.{each.name}" if f"{base}.{each.name}" in known else base)
    return {each for each in names if each in known and each != name}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                found.append(sorted(component))

    sys.setrecursionlimit(10_000)
    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def longest(graph: dict[str, set[str]], room: str) -> list[str]:
    """The longest chain of imports inside a room; a circle counts as one step."""
    inside = {name: {other for other in others if other.split(".")[0] == room} for name, others in graph.items()}
    member = {name: tuple(component) for component in circles(inside) for name in component}

    @cache
    def chain(name: str) -> tuple[str, ...]:
        group = member.get(name, (name,))
        below: list[tuple[str, ...]] = [
            chain(other) for each in group for other in sorted(inside[each]) if other not in group
        ]
        below_it: tuple[str, ...] = max(below, key=len, default=())
        return (name, *below_it)

    chains = [chain(name) for name in sorted(inside) if name.split(".")[0] == room]
    deepest: tuple[str, ...] = max(chains, key=len, default=())
    return list(deepest)


def house() -> tuple[dict[str, tuple[Path, str, ast.Module]], dict[str, set[str]]]:
    """All modules of the house outside tests, examples and benchmarks, and what each imports."""
    modules = {name: each for room in ROOMS[:6] for name, each in parsed(room).items()}
    graph = {name: imports(name, path, tree, set(modules)) for name, (path, _, tree) in modules.items()}
    return modules, graph


def main() -> None:
    columns = ("lines", "files", "long", "wide", "data")
    print(f"{'room':14}{'code':>8}" + "".join(f"{each:>8}" for each in columns))
    total: Counter[str] = Counter()
    beyond = []
    for room in ROOMS:
        counted: Counter[str] = Counter()
        for name, (_, source, tree) in parsed(room).items():
            counted["code"] += len(code_lines(source, tree))
            counted["lines"] += len(source.splitlines())
            counted["files"] += 1
            for function, lines, parameters in big_functions(tree):
                counted["long"] += lines > LINES
                counted["wide"] += parameters > PARAMETERS
                if room != "tests":
                    beyond.append(f"{name}.{function} ({lines} lines, {parameters} parameters)")
        data = [
            path
            for path in (ROOT / room).rglob("*")
            if path.is_file() and path.suffix in (".yml", ".csv", ".html", ".txt", ".tsv", ".json")
        ]
        row = (counted["code"], counted["lines"], counted["files"], counted["long"], counted["wide"], len(data))
        print(f"{room:14}" + "".join(f"{each:8,}" for each in row))
        if room != "tests":
            total.update(counted)
    print(f"{'without tests':14}" + "".join(f"{total[each]:8,}" for each in ("code", "lines", "files", "long", "wide")))
    print(f"long: functions over {LINES} lines; wide: over {PARAMETERS} parameters")
    modules, graph = house()
    print("\nimport circles:", *(f"\n  {len(each)}: {', '.join(each)}" for each in circles(graph)))
    print("\nlongest import chain inside a room:")
    for room in ROOMS[:6]:
        chain = longest(graph, room)
        print(f"  {len(chain):3} {' > '.join(name.partition('.')[2] or name for name in chain)}")
    print("\nmodules that spell an artefact or fact:")
    for artefact, marks in MARKS.items():
        owners = [name for name, (_, source, _) in modules.items() if any(mark in source for mark in marks)]
        print(f"  {len(owners):3} {artefact}: {', '.join(owners[:12])}{' …' if len(owners) > 12 else ''}")
    print("\nfunctions beyond a limit, without tests:", *(f"\n  {each}" for each in beyond))


if __name__ == "__main__":
    main()
