"""What the lessons build and use again, one module a piece: written out in its lesson, and held equal to it by a test.

Nothing here is needed to record or to draw; a lesson or an exercise imports the piece that it needs.
"""
