"""The pipeline behind `launch.pipeline`: the run file, the stages, what each does."""
