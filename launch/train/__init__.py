"""Supervised runs: a runner process that outlives its watcher, the watch, restarts, signals, the record of the data. What a
user calls is `launch.deepy` and `launch.runs`."""
