"""One run: specification, loop, recording, solution."""
