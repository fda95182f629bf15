"""The leaderboard's table on a page: `scores.html` has the table, which the run report shows too."""

from pathlib import Path

HERE = Path(__file__).parent
