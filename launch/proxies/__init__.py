"""Swarms and screens, behind `launch.proxies` and `launch.screen`: a table of mixtures becomes a table of losses.

Here belongs what is about many small models at once: who trains which row, with which seed and how much of each corpus,
what became of it, and how results of several machines become one table. How one model is trained is `launch.engine`'s
(or GPT-NeoX's) business; what the numbers say is `mixer`'s.
"""

from launch.proxies.command import main
from launch.proxies.state import Summary, proxy_config
from launch.proxies.table import read_ratios
from launch.proxies.train import run

__all__ = ["Summary", "main", "proxy_config", "read_ratios", "run"]
