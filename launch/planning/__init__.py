"""The numbers behind `launch.plan`: memory, speed, layouts, measured runs. Pure arithmetic, no GPT-NeoX. Commands and files of
other rooms do not belong here."""
