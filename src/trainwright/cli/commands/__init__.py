"""The commands of `runs`, a module each: EXAMPLES, KEYS, add_arguments(parser), execute(arguments).

A new one is a module here and a line in the table of `trainwright.cli.runs`.
"""
