"""The leaderboard's table on a page: `scores.html` has the table, which the run report shows too."""

from pathlib import Path

from haigo import phrases

HERE = Path(__file__).parent
TABLE = HERE / "japanese.yml"
say = phrases.sayer(TABLE)
