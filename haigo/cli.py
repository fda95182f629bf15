"""How every Haigo command starts and ends: a sentence for the problem, one for the fix, an honest exit code.

    0 done    2 bad usage or input    3 refused by a check    4 what was started failed    70 an internal error: ours
    130 interrupted    143 terminated (SIGTERM, as batch systems send it)

A command is a module with `main(argv) -> int | None`, started by `raise SystemExit(cli.run(main))`.
A traceback is shown only with `--debug`.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from haigo import shown

OK, BAD_INPUT, REFUSED, FAILED, INTERNAL, INTERRUPTED, TERMINATED = 0, 2, 3, 4, 70, 130, 143


MOST = 10**15
"""No number of ours is larger."""
_NO_ROOM = re.compile(r"can't allocate memory|out of memory|not enough memory", re.IGNORECASE)
_ROOMS = ("haigo", "neox_configs", "preprocess", "mixer", "launch", "eval_harness", "examples")


class HaigoError(Exception):
    """A problem that the user can understand and mend.

    Args:
        problem: one sentence that names the file or option concerned.
        fix: one sentence that says what to do about it; may be empty.
        option: the field, or fields, of an options class that the sentences speak of, as `--text-key`; who has another name for
            it (a key of a run file) says that instead: `spelled`.
    """

    code = BAD_INPUT

    def __init__(self, problem: str, fix: str = "", option: str | tuple[str, ...] = ()) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix
        self.options = (option,) if isinstance(option, str) else option

    def __reduce__(self) -> tuple[type[HaigoError], tuple[str, str, tuple[str, ...]]]:
        # so that an error raised in a worker process arrives whole in its parent
        return type(self), (self.problem, self.fix, self.options)

    def spelled(self, name: Callable[[str], str | None]) -> HaigoError:
        """The same error with every option under the name that `name` gives it; None leaves it as it is."""
        problem, fix = self.problem, self.fix
        for option in self.options:
            if (key := name(option)) is not None:
                flag = re.compile(rf"`?--{re.escape(option).replace('_', '[-_]')}`?(?![\w-])")
                problem, fix = flag.sub(f"'{key}'", problem), flag.sub(f"'{key}'", fix)
        return type(self)(problem, fix, self.options)

    def __str__(self) -> str:
        return f"{self.problem}\n  fix: {self.fix}" if self.fix else self.problem


class Refused(HaigoError):
    """A check says no: going on would give a wrong or useless result."""

    code = REFUSED


class Failed(HaigoError):
    """Something that was started (a training run, a job) did not end well."""

    code = FAILED


class Internal(Exception):
    """What nobody foresaw in another process, where its traceback ends: in a sentence, and as that traceback for `--debug`."""

    def __init__(self, sentence: str, trace: str) -> None:
        super().__init__(sentence, trace)
        self.told = sentence
        self.trace = trace

    def __str__(self) -> str:
        return f"{self.told}\n\nin the process that raised it:\n{self.trace}"


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for a mistyped name, or an empty string when nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        flags = [flag for action in self._actions for flag in action.option_strings]
        hint = ""
        if "unrecognized arguments: " in message:
            hint = nearest(message.split(": ", 1)[1].split()[0].split("=")[0], flags)
        raise HaigoError(f"{message}.{hint}", f"see `{self.prog} --help`")


verb: str | None = None
"""The command that runs, once its options are asked for; None where functions are called without one."""

kept = True
"""Whether the command leaves what it has done so far to the next call when it is stopped; `keeps_nothing` says it does not."""


def keeps_nothing() -> None:
    """Say, from a command's `main`, that it writes its answer at the end and has nothing before that."""
    global kept
    kept = False


def parser(module: str, doc: str | None) -> argparse.ArgumentParser:
    """An argument parser whose help is the module's own docstring, with `--debug` already there.

    Args:
        module: what stands after `python -m`, e.g. "mixer.search".
        doc: the module docstring, shown as it is written.
    """
    global verb
    if verb is not None:
        verb = module
    built = _Parser(prog=f"python -m {module}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    built.add_argument("--debug", action="store_true", help="show the traceback when something goes wrong")
    return built


def show(result: Any, text: Callable[[Any], str], as_json: bool) -> None:
    """Print a result as JSON, or as `text` makes it readable: how a command with `--json` ends."""
    print(json.dumps(result, ensure_ascii=False, indent=2) if as_json else text(result))


def number(text: str) -> float:
    """An argument that is a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text:.40} is not a number") from None


def whole(text: str) -> int:
    """An argument that is a whole number, also written as `50_000` or `5e4`."""
    try:
        value = float(text) if re.search("[.eE]", text) else int(text)
        whole = int(value)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text:.40} is not a whole number") from None
    if whole != value:
        raise argparse.ArgumentTypeError(f"{text:.40} is not a whole number")
    return whole


class Terminated(KeyboardInterrupt):
    """SIGTERM came: everything is left as after Ctrl-C, only the exit code differs."""


@contextlib.contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that workers are ended and temporary files removed; a main of its own is left be."""

    def unwind(number: int, frame: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: tidying up must not be broken off
        raise Terminated

    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def run(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> int:
    """Call `main` and turn whatever happens into a printed sentence and an exit code."""
    global kept
    kept = True
    with acting(""), shown.filtered():  # what a terminal would obey is written out, whoever prints it
        return _run(main, argv)


@contextlib.contextmanager
def acting(command: str) -> Iterator[None]:
    """Within it, what is made is `command`'s; "" is the one whose `parser` is asked for next."""
    global verb
    before, verb = verb, command
    try:
        yield
    finally:
        verb = before


def _run(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    # Text is Japanese: a C locale or a pipe must not turn it into an encoding error.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        with _sigterm_unwinds():
            code = main(words) or OK
            sys.stdout.flush()  # `> FILE` on a full disk is told, not found out by nobody at the end of Python
            return code
    except HaigoError as error:
        if debug:
            raise
        print(f"haigo: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt as error:
        if debug:
            raise
        terminated = isinstance(error, Terminated)
        then = "The same command goes on from here." if kept else "Nothing was kept: the same command begins anew."
        print(f"haigo: {'terminated' if terminated else 'interrupted'}. {then}", file=sys.stderr)
        return TERMINATED if terminated else INTERRUPTED
    except OSError as error:
        if debug:
            raise
        print(f"haigo: {os_problem(error)}", file=sys.stderr)
        return BAD_INPUT
    except MemoryError:
        if debug:
            raise
        print("haigo: out of memory.\n  fix: use fewer --workers or a smaller input", file=sys.stderr)
        return FAILED
    except Exception as error:
        if debug:
            raise
        known = foreseen(error)
        print(f"haigo: {known or internal(error)}", file=sys.stderr)
        return known.code if known else INTERNAL


def foreseen(error: Exception) -> HaigoError | None:
    """What an error of the library means that has one meaning wherever it comes from; None for all others."""
    if isinstance(error, UnicodeDecodeError) and (file := _whence(error)[1]):
        return HaigoError(f"{file} is not UTF-8 text.", "save it as UTF-8")
    if isinstance(error, UnicodeEncodeError):  # bytes of an option that are no UTF-8, "\\ud800" in JSON
        file = _whence(error)[1]
        return HaigoError(f"a text{f' of {file}' if file else ''} or an option holds half a character.", "take it out")
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):
        return HaigoError(f"{str(error).partition(' from ')[2]} is a link that leads to itself.", "name a file")
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return HaigoError(
            "a path holds a NUL, which no file's name has.", "look at the names in the file that was read"
        )
    if isinstance(error, ValueError) and "has an empty name" in str(error):
        return HaigoError("a path is empty where a file is to be named.", "name a file in the options")
    if isinstance(error, RuntimeError) and _NO_ROOM.search(str(error)):  # torch's own words for a MemoryError
        return Failed("out of memory.", "use a smaller model or batch, fewer --workers, or a smaller input")
    if isinstance(error, subprocess.TimeoutExpired):
        words = [error.cmd] if isinstance(error.cmd, str) else list(map(str, error.cmd))
        return Failed(
            f"{words[0]} did not answer within {error.timeout:g} s.", f"try it by hand: {' '.join(words)[:200]}"
        )
    return None


def internal(error: Exception) -> str:
    """One sentence for what nobody foresaw: what it was, where in our code, and the file that was being read."""
    if isinstance(error, Internal):
        return error.told
    place, file = _whence(error)
    words = " ".join(str(error).split())[:200]
    return (
        f"an internal error{f' at {place}' if place else ''}{f' with {file}' if file else ''}:"
        f" {type(error).__name__}{f': {words}' if words else ''}.\n"
        f"  fix: {f'look whether {file} is as it should be; ' if file else ''}--debug shows the rest; please report it"
    )


def _whence(error: Exception) -> tuple[str, str]:
    """(place in our code, file that was being read) of an error, as far as its traceback knows them."""
    place, file, elsewhere, trace = "", "", "", error.__traceback__
    while trace is not None:  # outermost first: the innermost that is known stays
        name = trace.tb_frame.f_globals.get("__name__", "")
        held = list(trace.tb_frame.f_locals.values())
        held += [field for each in held for field in list(getattr(each, "__dict__", {}).values())[:20]]
        path_held = next((path for each in held if (path := _file(each))), "")
        if name.split(".")[0] in _ROOMS:
            place, file = f"{name}:{trace.tb_lineno}", path_held or file
        else:
            elsewhere = path_held or elsewhere  # of a library: its own files too
        trace = trace.tb_next
    return place, file or elsewhere


def _file(value: object) -> str:
    """The path that a variable holds, where it is a file's; empty otherwise."""
    try:
        path = os.fsdecode(value) if isinstance(value, str | os.PathLike) else ""
        return path if os.path.isfile(path) and not path.endswith((".py", ".pyc", ".so")) else ""
    except ValueError:  # a text with a NUL
        return ""


_OS_PROBLEMS: tuple[tuple[int | type[OSError], str, str], ...] = (
    (errno.ENOSPC, "no space left on the disk while writing {}.", "free some space and run the same command again"),
    (errno.EDQUOT, "the disk quota is used up while writing {}.", "free some space and run the same command again"),
    (
        errno.EFBIG,
        "{} would become larger than a file may be here.",
        "raise the limit (ulimit -f), and run the same command again",
    ),
    (errno.ENAMETOOLONG, "the name {} is too long for this disk.", "give a shorter one"),
    (FileNotFoundError, "{} does not exist.", "check the path"),
    (IsADirectoryError, "{} is a folder, not a file.", "name a file in it"),
    (errno.EROFS, "{} cannot be written: its disk is read-only.", "name a folder on another disk"),
    (FileExistsError, "{} is a file, and a folder is wanted there.", "name another place, or move the file away"),
    (NotADirectoryError, "{} would lie below a file, which is no folder.", "check the path"),
    (PermissionError, "{} may not be read or written.", "check its owner and permissions"),
)
"""What the operating system refuses (its number, or Python's class of it), and the fix."""


def os_problem(error: OSError) -> str:
    """One sentence and a fix for what the operating system refused."""
    name = error.filename if error.filename is not None else "a file"
    for kind, problem, fix in _OS_PROBLEMS:
        if isinstance(error, kind) if isinstance(kind, type) else error.errno == kind:
            return f"{problem.format(name)}\n  fix: {fix}"
    return f"{name}: {error.strerror or error}.\n  fix: see the message, or run again with --debug"
