"""One training run of GPT-NeoX: where it stands, started, watched, and started again until it is finished or fails for good.

GPT-NeoX runs under a process of its own (`runner`), its output goes to a file, and the run watches that file. So a killed
watcher costs nothing: the training goes on, and the same command finds it and watches on. With `--no-supervise` (and for other
scripts than train.py) it is run once, its output on the terminal, and nothing is kept.
"""

from __future__ import annotations

import contextlib
import enum
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from haigo import cli, files
from haigo.cli import Failed, HaigoError, Refused
from haigo.progress import clock
from launch.neox import checkpoints, every_node, hostfile, milestones, ports
from launch.neox import log as neox_log
from launch.train import causes, exclusive, process, rank_logs, record, resume, status_display
from launch.train import nodes as node_starts
from launch.train.event_log import note
from launch.train.loss_guard import Alarm
from launch.train.options import DeepyOptions
from launch.train.outcome import Seen, unfinished
from launch.train.process import Child, Ending
from launch.train.restarts import Budget
from launch.train.stopping import Stop, Stopping
from launch.train.watcher import HUNG, Watcher
from neox_configs import derive, reader

_POLL_S = 0.4
_SHOWN_LINES = 20


class State(enum.Enum):
    """Where a run stands."""

    NEW = "no checkpoint of it is there"
    RUNNING = "it trains, left behind by a watcher that was killed"
    RESUMABLE = "it goes on from a checkpoint"
    FINISHED = "its last checkpoint is there and whole"


class TrainingRun(contextlib.ExitStack):
    """One config from its first step to its last. Entered, it lets go of the run's folders at its end.

    Args:
        options: of `launch.deepy`.
        root: GPT-NeoX's checkout.
        configs: the config files.
        nodes: where every node is started by itself, and this is the first.

    Raises:
        HaigoError: they are no config.
    """

    def __init__(
        self, options: DeepyOptions, root: Path, configs: Sequence[Path], nodes: every_node.Nodes | None = None
    ) -> None:
        super().__init__()
        self.options, self.root, self.configs, self.nodes = options, root, list(configs), nodes
        self.config = reader.load(configs)
        self.save = root / str(self.config["save"]) if self.config.get("save") else None
        self.folder = self._folder()
        self.log = Path(options.log).resolve() if options.log else self.folder / "output.log"
        self.gpus, self.batch = self._sizes()
        self.state = State.NEW
        self.child: Child | None = None
        self.resume = resume.Resume()
        self.port: int | None = None
        self.restarts = 0
        self._owned = False
        self.stopping = Stopping(options, self.config, root, self.gpus)
        self.budget = Budget(options.max_restarts, options.restart_wait)
        self.display = status_display.Display(self.configs[0].stem, int(reader.value(self.config, "seq_length") or 0))

    def _folder(self) -> Path:
        if self.options.run_folder:
            return Path(self.options.run_folder).resolve()
        return (self.save / "haigo" if self.save else self.configs[0].parent / "runs" / self.configs[0].stem).resolve()

    def _sizes(self) -> tuple[int | None, int | None]:
        """(all GPUs, global batch in samples); None for what nothing tells."""
        world, batch = None, self.config.get("train_batch_size")
        with contextlib.suppress(HaigoError):
            world = hostfile.world_size(self.config, self.options.hostfile, self.options.gpus)[0]
            batch = derive.batch(self.config, world).train if world else batch
        return world, batch if isinstance(batch, int) else None

    # -- where it stands

    def survey(self) -> State:
        """Find out where the run stands; no checkpoint is changed.

        Raises:
            Refused: no checkpoint is good, or the save folder is another run's.
            HaigoError: another watcher has this run.
        """
        dry = self.options.dry_run
        if not dry and self.save is not None and self.save.exists():  # else no reason to make folders before the checks
            self._own()
        self.child = process.running(self.folder, tidy=not dry)
        if self.child is None:
            self._inspect(deep=not dry)
        else:
            self.state = State.RUNNING
        return self.state

    def _inspect(self, deep: bool = True, poisoned_from: int | None = None) -> None:
        self.resume = resume.choose(self.config, self.root, self.gpus, poisoned_from, deep)
        done = self.resume.finished(self.config) and self.options.iteration is None
        self.state = State.FINISHED if done else State.RESUMABLE if self.resume.choice.tag else State.NEW

    def _own(self) -> None:
        if not self._owned:
            self.enter_context(exclusive.alone(self.folder, self.config, self.root))
            self._owned = True

    def prepare(self) -> None:
        """Do what going on from the chosen checkpoint needs: `latest` names it, newer ones are moved aside."""
        for line in resume.prepare(self.resume):
            note(self.folder, "mended", told=line)
            self.display.say(f"haigo: {line}")
        tag = self.resume.choice.tag
        self.resume = replace(self.resume, choice=replace(self.resume.choice, named=tag), newer=[])

    def check_finished(self) -> None:
        """A new mixture in a config of an old name must not be taken for the run that is there: it was never trained.

        Raises:
            Refused: the finished run was trained on other data.
        """
        known = record.read(self.save) if self.save else None
        if known is None or self.options.other_data:
            return
        try:
            now = record.stream(self.config, self.root, self.batch)
        except HaigoError:  # the data of a finished run may be gone
            return
        if differences := record.differences(known["stream"], now):
            raise Refused(
                f"{self.save} holds a finished run ({self.resume.choice.tag}) on another stream of data: "
                f"{record.summary(differences)}.",
                "name another save folder in the config to train this one, or restore the config",
            )

    def start_files(self) -> list[Path]:
        """The config files of the next start: one changed file where the run goes on and the given ones would begin anew
        (finetuning), or need another port; else those that were given."""
        changes = {**self.resume.changes, **({} if self.port is None else {"master_port": self.port})}
        return [resume.changed(self.config, changes, self.configs[0], self.folder)] if changes else self.configs

    # -- the whole run

    def run(self, python: str, environment: Mapping[str, str]) -> int:
        """Train until the end.

        Args:
            python: GPT-NeoX's interpreter.
            environment: of the child.

        Returns:
            0, or the exit code of what was started, or 128 + a signal.

        Raises:
            Failed: it ended with 0 and had not arrived, hung for good, or its loss went wrong.
            Refused: see `resume.choose` and `record.check`.
        """
        if not self.options.supervised:
            return self._once(python, environment)
        if not self._owned:
            self._own()
            self.survey()
        self.display.plan = status_display.plan_of(self.config, self.root, self.gpus)
        with self.stopping.caught():
            try:
                while True:
                    if self.state is State.FINISHED:
                        # it ended while this watcher still looked at the config; GPT-NeoX would save once more in place
                        self.display.say(f"haigo: this run is finished: {self.save} holds {self.resume.choice.tag}.")
                        return cli.OK
                    if self.child is not None:
                        self.display.say(f"haigo: this run still trains (pid {self.child.pid}); watching it from here.")
                        note(self.folder, "found", pid=self.child.pid)
                        self.log = self.child.log
                    child, self.child = self.child or self._start(python, environment), None
                    like = {"restarts": int, "offset": int, "step": int, "ranks": ([str], type(None))}
                    try:
                        begun = files.read_record(self.folder / "start.json", like)
                    except HaigoError as error:
                        raise HaigoError(
                            error.problem,
                            f"the training goes on unwatched: let it end, or stop it with `kill -TERM -- -{child.pid}`; the "
                            "same command then goes on from its last checkpoint",
                        ) from None
                    self.restarts = begun["restarts"]
                    self._keep()
                    watcher = Watcher(child, begun, self.options, self.config, self.stopping, self.display, self._keep)
                    end = watcher.watch()
                    self._keep()
                    if isinstance(end, Alarm):
                        raise self._went_wrong(end)
                    if self._arrived(end, watcher.seen, begun["step"]):
                        return cli.OK
            except Stop as stop:
                note(self.folder, "stopped", code=stop.code, why=stop.problem)
                if stop.code == cli.FAILED:
                    raise Failed(stop.problem, stop.fix) from None
                self.display.say(f"haigo: {stop.problem}" + (f"\n  fix: {stop.fix}" if stop.fix else ""))
                return stop.code

    def _keep(self) -> None:
        """Keep the milestones that are there; a full or foreign disk is said, and ends nothing."""
        if self.save is None:
            return
        try:
            kept = milestones.keep(self.save, self.config, self.gpus)
        except (HaigoError, OSError) as error:
            kept = [f"milestones could not be kept: {error}"]
        for line in kept:
            self.display.say(f"haigo: {line}")
            note(self.folder, "milestone", told=line)

    def _once(self, python: str, environment: Mapping[str, str]) -> int:
        seen = Seen()
        command = [python, "deepy.py", self.options.user_script, *map(str, self.configs), *self.options.words()]
        ending = process.foreground(command, self.root, environment, self.options.log, seen.take)
        if ending.code != 0:
            print(f"haigo: GPT-NeoX ended with {ending.code}: {causes.in_words(ending.code)}", file=sys.stderr)
        trains = ending.code == 0 and Path(self.options.user_script).name == "train.py"
        if trains and (cause := unfinished(ending, seen, self.config, self.save)):
            raise Failed(cause.sentence, cause.fix)
        return ending.code

    # -- one start

    def _start(self, python: str, environment: Mapping[str, str]) -> Child:
        self.prepare()
        step = self.resume.step
        now = record.stream(self.config, self.root, self.batch)
        remarks = record.check(self.save, now, step, self.options.other_data) if self.save else []
        for line in remarks:
            self.display.say(f"haigo: other data: {line}")
        if self.port is not None and "MASTER_PORT" in environment:  # srun's and mpirun's ranks take it from there
            environment = {**environment, "MASTER_PORT": str(self.port)}
        own, ranks = self.folder / "ranks", None
        script = ["deepy.py"]
        if self._ranks_can_be_told_apart():
            script = [str(Path(rank_logs.__file__).resolve()), str(own), "deepy.py"]
            ranks = sorted(rank_logs.Gatherer(own, self.log).names())
        again = self.resume.changes or self.restarts
        words = self.options.words(without=("iteration",) if again else ())
        command = [python, *script, self.options.user_script, *map(str, self.start_files()), *words]
        port = self.port or (self.nodes.port if self.nodes else 0)
        if self.nodes is not None:
            environment = every_node.cleared(environment)
            keys = self.options.overwrites()
            keys = {key: value for key, value in keys.items() if key != "iteration"} if again else keys
            words = every_node.script(every_node.arguments(self.start_files(), keys, environment, self.nodes.world))
            command = every_node.command(self.nodes, 0, python, words, port)
        offset = self.log.stat().st_size if self.log.exists() else 0
        begun = {"step": step, "offset": offset, "ranks": ranks, "at": time.time(), "restarts": self.restarts}
        files.write_json(self.folder / "start.json", begun)
        if self.save is not None:
            record.note_start(self.save, now, step, self.gpus, command, remarks)
        files.remove(self.folder / "places.json")
        if self.nodes is not None and self.nodes.count > 1:
            node_starts.announce(self.folder, "start", words, port)
        child = process.start(command, self.root, environment, self.folder, self.log)
        where = f"from step {step:,}" if step else "from the beginning"
        self.display.say(f"haigo: started {where} (pid {child.pid}); GPT-NeoX's output: {self.log}")
        note(self.folder, "started", pid=child.pid, step=step, command=shlex.join(command))
        return child

    def _ranks_can_be_told_apart(self) -> bool:
        several = self.options.hostfile or reader.value(self.config, "hostfile") or os.environ.get("DLTS_HOSTFILE")
        remote = any(reader.value(self.config, key) for key in ("force_multi", "deepspeed_slurm", "deepspeed_mpi"))
        return not (self.options.no_rank_logs or several or remote or self.nodes) and (self.gpus or 1) > 1

    # -- after an end

    def _went_wrong(self, alarm: Alarm) -> Stop:
        """The run was stopped for good: `latest` names the last good checkpoint before that."""
        # no good loss since this start: it went on from weights that were bad already, saved before the last watcher saw it
        healthy = alarm.healthy or max((step for step, _ in neox_log.losses(self.log)), default=0)
        try:
            self._inspect(poisoned_from=healthy + 1)
            self.prepare()
            at = f"The last good checkpoint before it is {self.resume.choice.tag} (in {self.save}), and `latest` names it."
            if self.resume.choice.tag is None:
                at = "There is no checkpoint before it."
        except HaigoError as error:
            at = f"There is no good checkpoint before it ({error.problem})"
        return Stop(cli.FAILED, f"{alarm.sentence} {at}", "start again with a lower lr, or with other data")

    def _arrived(self, ending: Ending, seen: Seen, began_at: int) -> bool:
        """Whether the run is finished; otherwise all is ready for the next start.

        Raises:
            Stop: there is none.
        """
        code, say = ending.code, self.display.say
        if ending.escaped:
            several = ending.escaped > 1
            say(f"haigo: {ending.escaped} process{'es' * several} that had left the run's session still ran and "
                f"{'were' if several else 'was'} stopped.")  # fmt: skip
            note(self.folder, "escaped", count=ending.escaped)
        problem = causes.cause(code, list(seen.tail))
        if code == HUNG:
            problem = causes.Cause("it hung and was stopped.", "see the last lines of its log", causes.TRANSIENT)
        if code == 0:
            whole = partial(checkpoints.problem, self.config, self.gpus)
            trouble = unfinished(ending, seen, self.config, self.save, self.options.nan == "stop", whole)
            if trouble is None:
                spent = f", {self.restarts} restart{'s' * (self.restarts != 1)}" if self.restarts else ""
                loss = f", loss {seen.loss:.4f}" if seen.loss is not None else ""
                say(f"haigo: finished: step {seen.iteration or 0:,}{loss}{spent}.")
                note(self.folder, "finished", step=seen.iteration, loss=seen.loss, restarts=self.restarts)
                return True
            if self.stopping.signal is not None:
                raise self.stopping.stopped(seen.iteration)
            problem = trouble
        lied = code in (0, HUNG)
        say(f"haigo: {problem.sentence}" if lied else f"haigo: GPT-NeoX ended with {code}: {problem.sentence}")
        # a checkpoint that looks whole and cannot be loaded
        unreadable = problem.kind == causes.TORN and code != 0 and not seen.stepped
        if self.save is not None:
            self._inspect()
        if unreadable and (self.save is None or self.resume.step == began_at):
            problem = replace(problem, kind=causes.LASTING)
        decision = self.budget.after(problem, seen.stepped, self.save is not None and self.resume.step > began_at)
        note(self.folder, "ended", code=code, cause=problem.sentence, step=seen.iteration, again=decision.again)
        why = "" if decision.again else decision.why
        if self.save is None:
            why = "the config has no save folder, so that all would be done again"
        elif self.resume.finished(self.config):
            why = f"{self.resume.choice.tag} is whole, and nothing is left to train"
        if why:
            for line in list(seen.tail)[-_SHOWN_LINES:]:
                say(f"  | {line[:300]}")
            if lied:
                raise Stop(cli.FAILED, f"{problem.sentence} Not started again: {why}.", problem.fix)
            raise Stop(code, f"not started again: {why}.", problem.fix)
        self.restarts += 1
        if decision.new_port:
            self.port = ports.free()
        where = self.resume.choice.tag or "the beginning"
        say(f"haigo: starting again from {where} in {clock(decision.wait_s)} (restart {self.restarts}).")
        end = time.monotonic() + decision.wait_s
        while time.monotonic() < end:
            if self.stopping.signal is not None:
                raise self.stopping.stopped(seen.iteration)
            time.sleep(min(_POLL_S, max(0.0, end - time.monotonic())))
        return False
