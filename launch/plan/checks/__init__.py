"""The checks of `launch.preflight`: what lies on the disk, what the place offers."""
