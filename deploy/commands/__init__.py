"""The commands of `keras-tree`, one file each, with the same names in every file.

`SUMMARY` (one line for the list of commands), `USAGE`, `DESCRIPTION`, `EPILOG` (examples) and
`add_arguments` are what the help shows; `run(arguments, say)` does the work and returns the exit
code. A command never prints: it hands lines to `say`. What a command needs is imported when it
runs, so that `keras-tree --help` and a misspelt option answer at once.
"""
