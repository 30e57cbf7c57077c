"""What the lessons of Define by Run need besides the recorder: exercises with their checks, shared pieces, plots."""
