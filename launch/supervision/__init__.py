"""The supervised run: a keeper process, the watcher, what a log says, restarts, signals, the record of the data. What a user
calls is `launch.deepy` and `launch.runs`."""
