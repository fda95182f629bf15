"""One supervised run: starts GPT-NeoX under its keeper, watches its log, and decides what comes after each end."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from haigo import cli, files
from haigo.cli import Failed, HaigoError
from haigo.formats.tokenizer import load
from haigo.progress import clock
from launch.neox import log as neox_log
from launch.neox import ports
from launch.train import causes, options, rank_logs, resume, stopping
from launch.train import exclusive as one_run
from launch.train import outcome as deepy_run
from launch.train import process as children
from launch.train import record as run_record
from launch.train import status_display as lives
from launch.train.event_log import note
from launch.train.loss_guard import LossGuard, Rule
from launch.train.process import Child, Ending
from launch.train.restarts import Budget
from launch.train.stopping import Stop, Stopping
from launch.train.watchdog import Patience, Watchdog
from neox_configs import reader

_POLL_S = 0.4
_SHOWN_LINES = 20


@dataclass
class _Seen:
    """What one start of the run has shown so far."""

    outcome: deepy_run.Outcome = field(default_factory=deepy_run.Outcome)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=causes.TAIL_LINES))
    stepped: bool = False
    step_at: float = 0.0
    saving_since: float | None = None
    save_s: float = 0.0


class Supervisor:
    """One run of one config until it is finished, fails for good, or is stopped.

    Args:
        args: the parsed options.
        root: GPT-NeoX's checkout.
        configs: the config files.
        config: what they say together.
        python: GPT-NeoX's interpreter.
        words: options that are handed on to deepy.py.
        environment: of the child.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        root: Path,
        configs: Sequence[Path],
        config: Mapping[str, Any],
        python: str,
        words: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        self.args, self.root, self.configs, self.config = args, root, list(configs), dict(config)
        self.python, self.words, self.environment = python, list(words), dict(environment)
        self.folder = options.folder(args, config, configs, root)
        self.log = Path(args.log).resolve() if args.log else self.folder / "output.log"
        self.gpus = options.gpus(args, config)
        self.port: int | None = None
        self.stopping = Stopping(args, self.config, root, self.gpus)
        self.budget = Budget(args.max_restarts, args.restart_wait)
        self.restarts = 0
        self.live = lives.Live(configs[0].stem, int(reader.value(config, "seq_length") or 0), self._plan())

    def _plan(self) -> lives.Planned | None:
        vocab = self.config.get("vocab_file")
        if not (vocab and self.config.get("peak_theoretical_tflops")):
            return None
        with contextlib.suppress(HaigoError):
            return lives.planned(self.config, self.gpus, load(self.root / vocab).vocab_size)
        return None

    # -- the whole run

    def run(self) -> int:
        """Supervise until the end.

        Returns:
            0, or the exit code of what was started, or 128 + a signal.

        Raises:
            Failed: it ended with 0 and had not arrived, hung for good, or its loss went wrong.
            Refused: see `resume.look` and `run_record.check`.
        """
        with one_run.alone(self.folder, self.config, self.root), self.stopping.caught():
            child = children.running(self.folder)
            made = resume.look(self.config, self.root, self.gpus) if child is None else None
            try:
                if child is not None:
                    self.live.say(f"haigo: this run still trains (pid {child.pid}); watching it from here.")
                    note(self.folder, "found", pid=child.pid)
                    self.log = child.log
                while True:
                    if child is None:
                        assert made is not None
                        if made.finished(self.config) and self.args.iteration is None:
                            # it ended while this watcher still looked at the config; GPT-NeoX would save once more in place
                            self.live.say(f"haigo: this run is finished: {made.save} holds {made.choice.tag}.")
                            return 0
                        child = self._start(made)
                    begun = self._begun(child)
                    seen = _Seen()
                    ending = self._watch(child, seen, begun)
                    made = self._after(ending, seen, begun)
                    if made is None:
                        return 0
                    child = None
            except Stop as stop:
                note(self.folder, "stopped", code=stop.code, why=stop.problem)
                if stop.code == cli.FAILED:
                    raise Failed(stop.problem, stop.fix) from None
                self.live.say(f"haigo: {stop.problem}" + (f"\n  fix: {stop.fix}" if stop.fix else ""))
                return stop.code

    # -- one start

    def _start(self, made: resume.Resume) -> Child:
        for line in resume.prepare(made):
            note(self.folder, "mended", told=line)
            self.live.say(f"haigo: {line}")
        batch = options.batch(self.config, self.gpus)
        now = run_record.stream(self.config, self.root, batch)
        remarks: list[str] = []
        words = self.words
        if made.save is not None:
            remarks = run_record.check(made.save, now, made.step, self.args.other_data)
            for line in remarks:
                self.live.say(f"haigo: other data: {line}")
        if "--iteration" in words and (made.changes or self.restarts):
            at = words.index("--iteration")
            words = words[:at] + words[at + 2 :]
        changes, environment = dict(made.changes), self.environment
        if self.port is not None:
            changes["master_port"] = self.port
            if "MASTER_PORT" in environment:  # srun's and mpirun's ranks take it from there
                environment = {**environment, "MASTER_PORT": str(self.port)}
        configs = self.configs
        if changes:
            configs = [resume.changed(self.config, changes, self.configs[0], self.folder)]
        script = ["deepy.py"]
        ranks = self.folder / "ranks"
        gather = self._ranks_can_be_told_apart()
        if gather:
            script = [str(Path(rank_logs.__file__).resolve()), str(ranks), "deepy.py"]
        command = [self.python, *script, self.args.user_script, *map(str, configs), *words]
        offset = self.log.stat().st_size if self.log.exists() else 0
        known = sorted(rank_logs.Gatherer(ranks, self.log).names()) if gather else None
        begun = {"step": made.step, "offset": offset, "ranks": known, "at": time.time(), "restarts": self.restarts}
        files.write_json(self.folder / "start.json", begun)
        if made.save is not None:
            run_record.note_start(made.save, now, made.step, self.gpus, command, remarks)
        files.remove(self.folder / "places.json")
        child = children.start(command, self.root, environment, self.folder, self.log)
        where = f"from step {made.step:,}" if made.step else "from the beginning"
        self.live.say(f"haigo: started {where} (pid {child.pid}); GPT-NeoX's output: {self.log}")
        note(self.folder, "started", pid=child.pid, step=made.step, command=shlex.join(command))
        return child

    def _ranks_can_be_told_apart(self) -> bool:
        several = self.args.hostfile or reader.value(self.config, "hostfile") or os.environ.get("DLTS_HOSTFILE")
        remote = any(reader.value(self.config, key) for key in ("force_multi", "deepspeed_slurm", "deepspeed_mpi"))
        return not (self.args.no_rank_logs or several or remote) and (self.gpus or 1) > 1

    def _begun(self, child: Child) -> dict[str, Any]:
        like = {"restarts": int, "offset": int, "step": int, "ranks": ([str], type(None))}
        try:
            begun = files.read_record(self.folder / "start.json", like)
        except HaigoError as error:
            raise HaigoError(
                error.problem,
                f"the training goes on unwatched: let it end, or stop it with `kill -TERM -- -{child.pid}`; the same command "
                "then goes on from its last checkpoint",
            ) from None
        self.restarts = begun["restarts"]
        return dict(begun)

    # -- watching

    def _watch(self, child: Child, seen: _Seen, begun: Mapping[str, Any]) -> Ending:
        args = self.args
        follower = children.Follower(self.log, int(begun["offset"]))
        gatherer = None
        if begun["ranks"] is not None:
            gatherer = rank_logs.Gatherer(self.folder / "ranks", self.log, set(begun["ranks"]))
            with contextlib.suppress(HaigoError, OSError):
                gatherer.places = files.read_record(self.folder / "places.json", {str: int})
        patience = Patience(args.hang_factor, args.hang_seconds, args.hang_pause)
        dog = Watchdog(patience, time.monotonic(), int(reader.value(self.config, "log_interval")))
        guard = LossGuard(
            Rule(args.nan, args.spike, args.spike_window, args.spike_sigma, args.spike_rise, args.spike_patience)
        )
        goal: int | None = None
        deadline = 0.0
        answered = 0
        noted = time.monotonic()
        while True:
            ending = child.ending()
            behind = False
            if gatherer is not None:
                with contextlib.suppress(OSError):  # a full disk must not end the watch
                    behind = gatherer.gather(end=ending is not None)
                    if time.monotonic() - noted > 5:
                        noted = time.monotonic()
                        files.write_json(self.folder / "places.json", gatherer.places)
            # a slice at a time: however much a run prints, signals and a hang are answered between two slices
            for raw in follower.within(_POLL_S, end=ending is not None and not behind):
                # whatever a line holds, it must not end the watch
                with contextlib.suppress(ArithmeticError, LookupError, TypeError, ValueError):
                    self._line(neox_log.readable(raw), seen, dog, guard, child)
            behind = behind or follower.behind
            if ending is not None:
                if behind and self.stopping.signals == answered:
                    continue
                # a run that has ended well by itself is judged as always: nothing is left to be queued again
                if self.stopping.signal is not None and ending.code != 0:
                    raise self.stopping.stopped(seen.outcome.iteration)
                return ending
            self.live.show(dog.phase)
            hung = dog.hung(time.monotonic())
            if hung:
                self.live.say(f"haigo: {hung}")
                note(self.folder, "hung", told=hung)
                child.stop()
                return Ending(-1)
            if self.stopping.signals > answered:
                again, answered = answered > 0, self.stopping.signals
                goal = None if again else self._goal(seen)
                deadline = time.monotonic() + self.stopping.grace - stopping.RESERVE_S
                if goal is None:
                    child.stop(self.stopping.for_ranks)
                    raise self.stopping.stopped(seen.outcome.iteration)
                number = self.stopping.signal
                self.live.say(f"haigo: signal {number}: waiting for the checkpoint of step {goal:,}, then stopping.")
            if goal is not None and (time.monotonic() > deadline or self.stopping.saved(goal)):
                child.stop()
                raise self.stopping.stopped(seen.outcome.iteration)
            time.sleep(0 if behind else _POLL_S)

    def _line(self, text: str, seen: _Seen, dog: Watchdog, guard: LossGuard, child: Child) -> None:
        seen.tail.append(text)
        now = time.monotonic()
        one = neox_log.step(text)
        if one is None:
            kind = neox_log.sign_of_life(text)
            if kind == "saving":
                seen.saving_since = seen.saving_since or now
            if kind is not None:
                dog.other(kind, now)
            return
        if seen.saving_since is not None:
            seen.save_s, seen.saving_since = now - seen.saving_since, None
        seen.stepped, seen.step_at = True, now
        seen.outcome.read(text)
        dog.step(one, now)
        self.live.see(one)
        alarm = guard.see(one)
        if alarm is None:
            return
        note(self.folder, alarm.kind, told=alarm.sentence, step=alarm.step)
        if not alarm.stop:
            self.live.say(f"haigo: warning: {alarm.sentence}")
            return
        child.stop()
        # no good loss since this start: it went on from weights that were bad already, saved before the last watcher saw it
        self._went_wrong(alarm.sentence, alarm.healthy or neox_log.last_good(self.log))

    def _went_wrong(self, sentence: str, healthy: int) -> None:
        """Stop for good after a NaN or a spike, `latest` naming the last good checkpoint before it."""
        fix = "start again with a lower lr, or with other data"
        try:
            made = resume.look(self.config, self.root, self.gpus, poisoned_from=healthy + 1)
            for line in resume.prepare(made):
                note(self.folder, "mended", told=line)
                self.live.say(f"haigo: {line}")
            at = f"The last good checkpoint before it is {made.choice.tag} (in {made.save}), and `latest` names it."
            if made.choice.tag is None:
                at = "There is no checkpoint before it."
        except HaigoError as error:
            at = f"There is no good checkpoint before it ({error.problem})"
        raise Stop(cli.FAILED, f"{sentence} {at}", fix)

    def _goal(self, seen: _Seen) -> int | None:
        return self.stopping.goal(seen.outcome.iteration, seen.step_at, self.live.step_s, seen.save_s)

    # -- after an end

    def _after(self, ending: Ending, seen: _Seen, begun: Mapping[str, Any]) -> resume.Resume | None:
        """None when the run is finished; else what the next start begins with."""
        code = ending.code
        if ending.escaped:
            told = (
                f"{ending.escaped} process{'es' * (ending.escaped > 1)} that had left the run's session still ran and "
            )
            self.live.say(f"haigo: {told}{'were' if ending.escaped > 1 else 'was'} stopped.")
            note(self.folder, "escaped", count=ending.escaped)
        hung = code == -1
        problem = causes.cause(code, list(seen.tail))
        if hung:
            problem = causes.Cause("it hung and was stopped.", "see the last lines of its log", causes.TRANSIENT)
        if code == 0:
            trouble = self._not_arrived(ending, seen)
            if trouble is None:
                return None
            if self.stopping.signal is not None:
                raise self.stopping.stopped(seen.outcome.iteration)
            problem = trouble
        say = self.live.say
        if hung or code == 0:
            say(f"haigo: {problem.sentence}")
        else:
            say(f"haigo: GPT-NeoX ended with {code}: {problem.sentence}")
        failed = Stop(cli.FAILED if hung or code == 0 else code, problem.sentence, problem.fix)
        # a checkpoint that looks whole and cannot be loaded: now every byte is read
        unreadable = problem.kind == causes.TORN and code != 0 and not seen.stepped
        made = resume.look(self.config, self.root, self.gpus, deep=unreadable) if self.config.get("save") else None
        if unreadable and (made is None or made.step == int(begun["step"])):
            problem = replace(problem, kind=causes.LASTING)
        progressed = made is not None and made.step > int(begun["step"])
        decision = self.budget.after(problem, seen.stepped, progressed)
        note(self.folder, "ended", code=code, cause=problem.sentence, step=seen.outcome.iteration, again=decision.again)
        if made is None:
            decision = replace(
                decision, again=False, why="the config has no save folder, so that all would be done again"
            )
        elif made.finished(self.config):
            decision = replace(decision, again=False, why=f"{made.choice.tag} is whole, and nothing is left to train")
        if not decision.again:
            self._show_tail(seen)
            if failed.code == cli.FAILED:
                failed.problem += f" Not started again: {decision.why}."
            else:
                failed.problem = f"not started again: {decision.why}."
            raise failed
        assert made is not None
        self.restarts += 1
        if decision.new_port:
            self.port = ports.free()
        where = made.choice.tag or "the beginning"
        say(f"haigo: starting again from {where} in {clock(decision.wait_s)} (restart {self.restarts}).")
        end = time.monotonic() + decision.wait_s
        while time.monotonic() < end:
            if self.stopping.signal is not None:
                raise self.stopping.stopped(seen.outcome.iteration)
            time.sleep(min(_POLL_S, max(0.0, end - time.monotonic())))
        return made

    def _not_arrived(self, ending: Ending, seen: _Seen) -> causes.Cause | None:
        seen.outcome.orphans = ending.orphans
        try:
            nan = seen.outcome.nan_at
            if self.args.nan != "stop":
                seen.outcome.nan_at = None
            deepy_run.judge(seen.outcome, self.config, self.root)
            seen.outcome.nan_at = nan
            iterations = self.config.get("train_iters")
            if self.config.get("save") and isinstance(iterations, int) and not self.config.get("exit_interval"):
                one = resume.whole(
                    self.root / str(self.config["save"]), self.config, self.gpus, f"global_step{iterations}"
                )
                trouble = "is not there" if one is None else one.problem
                if trouble:
                    return causes.Cause(
                        f"GPT-NeoX ended with 0, but global_step{iterations} {trouble}.", "", causes.TORN
                    )
        except Failed as error:
            return causes.Cause(error.problem, error.fix)
        spent = f", {self.restarts} restart{'s' * (self.restarts != 1)}" if self.restarts else ""
        loss = f", loss {seen.outcome.loss:.4f}" if seen.outcome.loss is not None else ""
        self.live.say(f"haigo: finished: step {seen.outcome.iteration or 0:,}{loss}{spent}.")
        note(self.folder, "finished", step=seen.outcome.iteration, loss=seen.outcome.loss, restarts=self.restarts)
        return None

    def _show_tail(self, seen: _Seen) -> None:
        for line in list(seen.tail)[-_SHOWN_LINES:]:
            self.live.say(f"  | {line[:300]}")
