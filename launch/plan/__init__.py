"""What a run needs before it starts: what fits and how fast it is (`plan`), its config (`config`), and what is wrong with a
config (`preflight`). Arithmetic and files, no GPT-NeoX; starting anything does not belong here."""

from launch.plan.planner import Plan, plan

__all__ = ["Plan", "plan"]
