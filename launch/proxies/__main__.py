"""`python -m launch.proxies`; see `launch.proxies.command`."""

from haigo import cli
from launch.proxies.command import main

if __name__ == "__main__":
    raise SystemExit(cli.run(main))
