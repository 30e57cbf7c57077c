"""Experiments that cost minutes: each measures what a lesson tells and stores its numbers in the course's package.

One module an experiment. Its docstring says what is asked and how it is decided; `run()` gives a dictionary of plain
numbers, lists and texts, seeds among them. `make experiments ONLY=name` runs one and writes
`definebyrun_course/measured/name.json`; a lesson reads it with `definebyrun_course.measured.stored("name")`, and a
test repeats a part of it.
"""
