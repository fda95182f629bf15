"""`python -m launch.local`, and what programs import of it: `launch.local.train`."""
